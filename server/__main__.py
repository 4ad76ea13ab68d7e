"""The composition root: starts and stops the programs, and nothing else.

`serve`, `reconcile`, `standin`, `selftest`, `db_upgrade` and `db_check` are what the console
script's local commands call; each returns the process's exit code.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import shutil
import signal
import sys
import tempfile
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import structlog

from server.app import App, build_engine, open_core, utc_now
from server.erpnext.check import engine_facts, engine_table
from server.erpnext.client import ErpNextEngine
from server.errors import ProvisionerError, SettingsError, StoreUnavailable
from server.greeting import database_options, greeting
from server.logs import configure_logging
from server.model.actor import LOCAL
from server.settings import (
    EngineConfig,
    EnginesConfig,
    load_engines,
    load_settings,
    read_secret_file,
)
from server.store import schema
from server.store.database import Database
from server.webhook import Courier, WebhookTarget

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from reconciler.healer import LocalHealer
    from server.app import Core
    from server.commands import SiteInQuestion
    from server.settings import Settings

EXIT_DONE = 0
EXIT_NOT_WELL = 1
EXIT_WRONG_USE = 2
EXIT_NOT_REACHABLE = 3

_DEMO_COMPANY = "Mama Njeri Traders"
# `make run` shows the old clients' API too; settings given elsewhere count more.
_DEMO_DEFAULTS = {"auth": "off", "compat": "on"}


def serve(
    *,
    config: Path | None,
    overrides: Mapping[str, str],
    with_reconciler: bool,
    demo: bool,
) -> int:
    """Serve until SIGTERM or SIGINT, then drain.

    Args:
        config: The settings file, or None.
        overrides: Settings given as options.
        with_reconciler: Whether to heal in the same process.
        demo: Whether to bring a stand-in ERPNext and provision a first tenant before the
            reader's eyes; heals too, and keeps nothing.
    """
    return _run(lambda: _serve(config, overrides, with_reconciler=with_reconciler, demo=demo))


def reconcile(
    *,
    config: Path | None,
    overrides: Mapping[str, str],
    once: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Find stuck tenants and drive them on, as a process of its own.

    Args:
        config: The settings file, or None.
        overrides: Settings given as options.
        once: Make one sweep and say what came of it.
        dry_run: Make one sweep that writes nothing.
        as_json: Say it as JSON.
    """
    return _run(
        lambda: _reconcile(config, overrides, once=once or dry_run, dry=dry_run, as_json=as_json)
    )


def standin(*, listen: str, latency: str, site: str) -> int:
    """Serve a stand-in ERPNext until SIGTERM or SIGINT."""
    from server.standin.app import run  # noqa: PLC0415 - only this command needs it

    def started(url: str) -> None:
        _say(f"Stand-in ERPNext {site} answers at {url}; its documents: {url}/standin/state")

    try:
        asyncio.run(run(listen, latency, site, started=started))
    except (ValueError, OSError) as error:
        _complain(f"The stand-in can't listen at {listen}: {error}")
        return EXIT_WRONG_USE
    return EXIT_DONE


def accept_site(
    engine: str,
    *,
    config: Path | None,
    overrides: Mapping[str, str],
    reason: str,
    confirm: Callable[[Mapping[str, object]], Awaitable[bool]],
    dry_run: bool,
    as_json: bool,
) -> int:
    """Accept the site of an engine as it is (`server.commands.sites`), once `confirm` says so."""

    async def accept() -> int:
        settings = load_settings(config=config, overrides=overrides, environ=os.environ)
        # To stderr: with --json, stdout holds JSON only.
        configure_logging(settings.log_format, quiet=False)
        async with AsyncExitStack() as stack:
            core = await open_core(settings, load_engines(settings), stack, register=False)
            seen = await core.commands.look_at_site(LOCAL, engine)
            if not await confirm(_site_facts(seen)):
                _report(_site_facts(seen), "Nothing was changed.", as_json=as_json)
                return EXIT_DONE if dry_run else EXIT_WRONG_USE
            done = await core.commands.accept_site(LOCAL, engine, reason=reason)
        _report(
            _site_facts(done),
            f"{done.site} is accepted as it is. Its gate opens within 15 s if nothing else is "
            "wrong. Tenants that are held stay held: provisioner list --held, then continue each.",
            as_json=as_json,
        )
        return EXIT_DONE

    return _run(accept)


def _site_facts(seen: SiteInQuestion) -> dict[str, object]:
    return {
        "engine": seen.engine_id,
        "site": seen.site,
        "gate": seen.gate.value,
        "gate_code": seen.code,
        "gate_message": seen.message,
        "held_tenants": seen.held_tenants,
        "accepted": seen.accepted,
    }


def selftest(*, patience_seconds: float, as_json: bool) -> int:
    """Plant stuck tenants in a throwaway database, and say whether and how fast they healed."""
    from reconciler import selftest as program  # noqa: PLC0415 - only this command needs it

    async def run() -> int:
        # Its workers and sweeps would say what they do for tenants that nobody has.
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
        report = await program.selftest(patience_seconds=patience_seconds)
        _report(program.as_facts(report), program.as_text(report), as_json=as_json)
        return EXIT_DONE if report.passed else 1

    return _run(run)


def db_upgrade(*, config: Path | None, overrides: Mapping[str, str], as_json: bool) -> int:
    """Bring the database's schema to this version's."""

    async def upgrade() -> int:
        settings = load_settings(config=config, overrides=overrides, environ=os.environ)
        database = Database(settings.database_url)
        try:
            before = await database.administer(schema.current)
            after = await database.administer(schema.upgrade)
        finally:
            await database.dispose()
        _report(
            {"database": settings.safe_database_url, "before": before, "schema": after},
            f"{settings.safe_database_url}: schema {before or 'none'} -> {after}",
            as_json=as_json,
        )
        return EXIT_DONE

    return _run(upgrade)


def db_check(*, config: Path | None, overrides: Mapping[str, str], as_json: bool) -> int:
    """Tell whether the database has the schema this version needs."""

    async def check() -> int:
        settings = load_settings(config=config, overrides=overrides, environ=os.environ)
        file = settings.database_file
        if file is not None and not file.exists():
            raise StoreUnavailable(
                f"There is no database at {file}. `provisioner serve` makes it, or: "
                "provisioner db upgrade"
            )
        database = Database(settings.database_url)
        try:
            found = await database.administer(schema.current)
        finally:
            await database.dispose()
        wanted = schema.head()
        fits = found == wanted
        text = (
            f"{settings.safe_database_url}: schema {found or 'none'}, this version needs {wanted}"
        )
        _report(
            {"database": settings.safe_database_url, "schema": found, "needs": wanted, "ok": fits},
            text if fits else f"{text}. Run: provisioner db upgrade",
            as_json=as_json,
        )
        return EXIT_DONE if fits else 1

    return _run(check)


def db_backup(
    target: Path, *, config: Path | None, overrides: Mapping[str, str], as_json: bool
) -> int:
    """Copy the database whole into a file, also while it is used."""

    async def copy() -> int:
        from server.store.backup import copy_sqlite  # noqa: PLC0415 - this command's

        settings = load_settings(config=config, overrides=overrides, environ=os.environ)
        file = settings.database_file
        if file is None:
            raise SettingsError(
                "PostgreSQL is backed up with its own tools: pg_dump, or a base backup with its "
                "log. After a restore: provisioner db restored"
            )
        if not file.exists():
            raise StoreUnavailable(f"There is no database at {file}.")
        size = await asyncio.to_thread(copy_sqlite, file, target)
        _report(
            {"database": settings.safe_database_url, "backup": str(target), "bytes": size},
            f"{target}: {size} bytes, whole and checked. After a restore: provisioner db restored",
            as_json=as_json,
        )
        return EXIT_DONE

    return _run(copy)


def db_restored(*, config: Path | None, overrides: Mapping[str, str], as_json: bool) -> int:
    """Do what a database needs that was restored from a backup, before anybody drives on it."""

    async def settle() -> int:
        from server.restored import as_facts, as_text  # noqa: PLC0415 - this command's

        settings = load_settings(config=config, overrides=overrides, environ=os.environ)
        configure_logging(settings.log_format, quiet=True)
        async with AsyncExitStack() as stack:
            core = await open_core(settings, load_engines(settings), stack, register=False)
            lock = core.database.driver_lock
            if lock is not None and not lock.acquire():
                raise StoreUnavailable(
                    "A server drives on this database. Stop every server, then repeat this."
                )
            restored = await core.commands.after_restore(LOCAL)
        _report(as_facts(restored), as_text(restored), as_json=as_json)
        return EXIT_DONE

    return _run(settle)


def import_legacy(
    *,
    source: str,
    engine: str,
    quiet_minutes: float,
    dry_run: bool,
    config: Path | None,
    overrides: Mapping[str, str],
    as_json: bool,
) -> int:
    """Import the tenants of the system before this one.

    Args:
        source: URL of its database, which is only read.
        engine: Id of the engine its tenants live on; "" for the default one.
        quiet_minutes: How long it must not have touched a tenant that it calls running.
        dry_run: Look, and say what would be; write nothing.
        config: The settings file, or None.
        overrides: Settings given as options.
        as_json: Say it as JSON.

    Returns:
        0; 1 where a person must look at one of them.
    """

    async def work() -> int:
        from server.legacy import Importer, as_facts, as_text  # noqa: PLC0415 - this command's
        from server.store.legacy import read_legacy  # noqa: PLC0415 - likewise

        settings = load_settings(config=config, overrides=overrides, environ=os.environ)
        configure_logging(settings.log_format, quiet=True)
        engines = load_engines(settings)
        wanted = engine or engines.default
        if wanted not in engines.engines:
            raise SettingsError(
                f"No engine {wanted!r} is configured, so nobody can look at the tenants. Name one "
                "with --engine, or set PROVISIONER_ENGINES_FILE."
            )
        tenants = await read_legacy(source)
        async with AsyncExitStack() as stack:
            core = await open_core(settings, engines, stack, register=not dry_run)
            importer = Importer(
                core.database,
                core.prober,
                engines=core.entries,
                engine_id=wanted,
                now=utc_now,
                quiet=timedelta(minutes=quiet_minutes),
            )
            done = await importer.run(tenants, dry_run=dry_run)
        _report(as_facts(done, dry_run=dry_run), as_text(done, dry_run=dry_run), as_json=as_json)
        return 1 if any(each.needs_a_person for each in done) else EXIT_DONE

    return _run(work)


def engines_check(
    *, config: Path | None, overrides: Mapping[str, str], name: str, country: str, as_json: bool
) -> int:
    """Look at everything one engine must have, and say what mends what is missing."""

    async def check() -> int:
        settings = load_settings(config=config, overrides=overrides, environ=os.environ)
        engines = load_engines(settings)
        if name not in engines.engines:
            known = ", ".join(sorted(engines.engines))
            where = f"known are {known}" if known else "none is configured"
            raise SettingsError(
                f"There is no engine {name!r}: {where}. Set PROVISIONER_ENGINES_FILE or "
                "--engines-file to the file that has it."
            )
        if len(country) != 2 or not country.isalpha():  # noqa: PLR2004 - ISO 3166-1 alpha-2
            raise SettingsError(f"--country {country!r} must be a code of two letters, such as KE.")
        engine = build_engine(engines.engines[name])
        try:
            if not isinstance(engine, ErpNextEngine):
                raise SettingsError(f"Engine {name!r} does nothing ({engine.blueprint_name}).")
            checked = await engine.check_all(country.upper())
        finally:
            await engine.close()
        _report(engine_facts(name, engine.site, checked), engine_table(checked), as_json=as_json)
        if not checked.reachable:
            return EXIT_NOT_REACHABLE
        return EXIT_DONE if checked.ready else EXIT_NOT_WELL

    return _run(check)


def _run(program: Callable[[], Awaitable[int]]) -> int:
    """Run a program; an error raised on purpose is a message and an exit code."""

    async def body() -> int:
        return await program()

    try:
        return asyncio.run(body())
    except StoreUnavailable as error:
        _complain(error.message)
        return EXIT_NOT_REACHABLE
    except ProvisionerError as error:
        _complain(error.message)
        return EXIT_WRONG_USE


async def _serve(
    config: Path | None, overrides: Mapping[str, str], *, with_reconciler: bool, demo: bool
) -> int:
    async with AsyncExitStack() as stack:
        if demo:
            overrides = {**_DEMO_DEFAULTS, "database_url": _demo_database(stack), **overrides}
        settings = load_settings(config=config, overrides=overrides, environ=os.environ)
        configure_logging(settings.log_format, quiet=demo)
        engines = await _demo_engines(stack) if demo else load_engines(settings)
        stopping = _stop_signals()
        healers: list[LocalHealer] = []
        app = await stack.enter_async_context(
            App(settings, engines, healer_of=_healer_of(settings, healers))
        )
        if with_reconciler or demo:
            await _start_reconciler(stack, app.core.database, healers[0], settings)
        settle_memory()
        lines = greeting(
            settings,
            engines,
            grpc_port=app.grpc_port,
            http_port=app.http_port,
            has_users=bool(await app.access.users.all()),
            database_options=database_options(config, overrides, settings),
            demo=demo,
        )
        _say("\n".join(lines))
        if demo:
            await _show_first_tenant(stack, app)
        await stopping.wait()
        _say("Stopping: no more orders are taken, answers under way are waited for.")
    return EXIT_DONE


def settle_memory() -> None:
    """Keep the collector's hands off what lives as long as the process, and let it come less.

    A line that goes to 500 followers makes thousands of short-lived objects; a full
    collection in the middle of it would hold up the last of them.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


async def _reconcile(
    config: Path | None, overrides: Mapping[str, str], *, once: bool, dry: bool, as_json: bool
) -> int:
    from reconciler.report import as_facts, as_text  # noqa: PLC0415 - `serve` alone needs none

    settings = load_settings(config=config, overrides=overrides, environ=os.environ)
    configure_logging(settings.log_format, quiet=False)
    file = settings.database_file
    if once and file is not None and not file.exists():
        # An empty database made on the spot would say "all clear" about the wrong one.
        raise StoreUnavailable(
            f"There is no database at {file}. Set PROVISIONER_DATABASE_URL to the server's."
        )
    async with AsyncExitStack() as stack:
        core = await open_core(settings, load_engines(settings), stack, register=not dry)
        if once:
            report = await _healer(core, settings).sweeper.sweep(dry_run=dry)
            _report(as_facts(report), as_text(report), as_json=as_json)
            return EXIT_DONE
        stopping = _stop_signals()
        await _start_reconciler(stack, core.database, _healer(core, settings), settings)
        _say(f"Sweeping every {settings.sweep_seconds:g} s. Stop with Ctrl-C.")
        await stopping.wait()
    return EXIT_DONE


async def _start_reconciler(
    stack: AsyncExitStack, database: Database, healer: LocalHealer, settings: Settings
) -> None:
    from reconciler.schedule import Schedule  # noqa: PLC0415 - `serve` alone does not need it

    schedule = Schedule(
        healer.sweeper.sweep,
        seconds=settings.sweep_seconds,
        # A sweep that takes longer than several intervals hangs; it is cut and counted.
        timeout_seconds=max(60.0, 4 * settings.sweep_seconds),
    )
    healer.schedule = schedule
    schedule.start()
    stack.push_async_callback(schedule.stop)
    if settings.webhook_url is not None and settings.webhook_secret_file is not None:
        courier = Courier(
            database.outbox,
            WebhookTarget(
                url=settings.webhook_url.get_secret_value(),
                secret=read_secret_file(
                    settings.webhook_secret_file, "PROVISIONER_WEBHOOK_SECRET_FILE"
                ),
            ),
            now=utc_now,
        )
        courier.start()
        stack.push_async_callback(courier.stop)


def _healer_of(settings: Settings, made: list[LocalHealer]) -> Callable[[Core], LocalHealer]:
    """Return what makes the server's healer, and keeps it where this module finds it."""

    def make(core: Core) -> LocalHealer:
        made.append(_healer(core, settings))
        return made[-1]

    return make


def _healer(core: Core, settings: Settings) -> LocalHealer:
    from reconciler.drift import DriftCheck  # noqa: PLC0415 - other programs need none
    from reconciler.healer import LocalHealer  # noqa: PLC0415 - likewise
    from reconciler.sweep import Sweeper  # noqa: PLC0415 - likewise

    def skipped() -> int:
        return 0 if healer.schedule is None else healer.schedule.skipped_passes

    drift = DriftCheck(
        core.database,
        core.prober,
        sites={entry.site for entry in core.entries.values()},
        now=utc_now,
        limit=settings.drift_per_sweep,
        period=timedelta(days=settings.drift_days),
        notify=settings.webhook_url is not None,
    )
    healer = LocalHealer(
        Sweeper(
            core.database,
            core.commands,
            engines=core.entries,
            now=utc_now,
            lease_seconds=settings.lease_seconds,
            window_seconds=settings.sweep_seconds,
            notify=settings.webhook_url is not None,
            skipped_passes=skipped,
            drift=drift,
        ),
        drift,
    )
    return healer


def _demo_database(stack: AsyncExitStack) -> str:
    """Keep the demo's records in a folder that goes with it, whatever the environment says."""
    folder = tempfile.mkdtemp(prefix="provisioner-demo-")
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    return f"sqlite+aiosqlite:///{folder}/provisioner.db"


async def _demo_engines(stack: AsyncExitStack) -> EnginesConfig:
    from pydantic import SecretStr  # noqa: PLC0415 - only the demo makes keys up

    from server.model.identifiers import SiteKey  # noqa: PLC0415 - likewise
    from server.standin.app import StandIn  # noqa: PLC0415 - only the demo brings one

    site = await stack.enter_async_context(StandIn(latency="recorded"))
    engine = EngineConfig(
        id="standin",
        blueprint="erpnext",
        site=SiteKey(site.url),
        url=site.url,
        api_key=SecretStr("demo-key"),
        api_secret=SecretStr("demo-secret"),
    )
    return EnginesConfig(default="standin", engines={"standin": engine})


async def _show_first_tenant(stack: AsyncExitStack, app: App) -> None:
    """Provision a first tenant before the reader's eyes, as a caller would."""
    _say(f"\nA first tenant: provisioner start '{_DEMO_COMPANY}' --watch\n")
    watching = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "clients.cli",
        "start",
        _DEMO_COMPANY,
        "--till-user",
        "till@example.com",
        "--watch",
        "--address",
        f"127.0.0.1:{app.grpc_port}",
        stdin=asyncio.subprocess.DEVNULL,
        env=_nobodys_environment(),
    )

    async def end() -> None:
        if watching.returncode is None:
            watching.terminate()
        await watching.wait()

    stack.push_async_callback(end)


def _nobodys_environment() -> dict[str, str]:
    """Return the environment without a sign-in: one kept for a server of before is in the way."""
    unwanted = {"PROVISIONER_TOKEN", "PROVISIONER_TLS_CA"}
    environ = {name: value for name, value in os.environ.items() if name not in unwanted}
    return {**environ, "PROVISIONER_PROFILE": "make run"}


def _stop_signals() -> asyncio.Event:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stopping.set)
    return stopping


def _report(facts: Mapping[str, Any], text: str, *, as_json: bool) -> None:
    _say(json.dumps(facts, ensure_ascii=False, default=str) if as_json else text)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _complain(text: str) -> None:
    sys.stderr.write(f"provisioner: {text}\n")


if __name__ == "__main__":
    sys.exit(serve(config=None, overrides={}, with_reconciler=True, demo=False))
