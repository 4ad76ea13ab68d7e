"""Programs that do one thing to the database or at an engine, and end; they need no server.

One of the console script's local commands calls each of them; each returns the exit code
(`server.program`), and has reported by then, on stdout or as an error. In all of them `config` is
the settings file or None, `overrides` are settings given as options, and `as_json` is whether to
report as JSON.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from server.access.signing_key import key_beside
from server.app import build_engine, open_core, utc_now
from server.erpnext.check import engine_facts, engine_table
from server.erpnext.client import ErpNextEngine
from server.errors import ProvisionerError, SettingsError, StoreUnavailable
from server.logs import configure_logging
from server.model.actor import LOCAL
from server.program import (
    EXIT_DONE,
    EXIT_NOT_REACHABLE,
    EXIT_NOT_WELL,
    EXIT_WRONG_USE,
    plain,
    report,
    run,
    say,
)
from server.settings import ensure_database_directory, load_engines, load_settings
from server.store import backup, schema
from server.store.database import Database
from server.store.failures import refusals

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping
    from pathlib import Path

    from server.commands import SiteInQuestion
    from server.legacy import Imported
    from server.settings import Settings


def db_upgrade(*, config: Path | None, overrides: Mapping[str, str], as_json: bool) -> int:
    """Upgrade the database's schema to that of this version; an empty database is set up.

    It is refused while a server drives on a database of an older schema.
    """

    async def upgrade() -> int:
        settings = load_settings(config=config, overrides=overrides, environ=os.environ)
        # Logs go to stderr: with --json, stdout must have only JSON.
        configure_logging(settings.log_format, quiet=True)
        ensure_database_directory(settings)
        database = Database(settings.database_url)
        try:
            before = await database.administer(schema.current)
            # A server's memory, and what it writes, would still have the old schema.
            if before not in {None, schema.head()} and await _is_driven(database):
                raise StoreUnavailable(
                    "A server drives on this database, or did until a moment ago. Stop every "
                    "server and reconciler, then repeat this."
                )
            after = await database.administer(schema.upgrade, slow=True)
        finally:
            await database.dispose()
        report(
            {"database": settings.safe_database_url, "before": before, "schema": after},
            f"{settings.safe_database_url}: schema {before or 'none'} -> {after}",
            as_json=as_json,
        )
        return EXIT_DONE

    return run(upgrade, as_json=as_json)


def db_check(*, config: Path | None, overrides: Mapping[str, str], as_json: bool) -> int:
    """Report whether the database has the schema that this version needs, and takes writes.

    Returns:
        EXIT_NOT_WELL if the schema is another one; EXIT_NOT_REACHABLE if there is no database, or
        it takes no writes.
    """

    async def check() -> int:
        settings = load_settings(config=config, overrides=overrides, environ=os.environ)
        file = settings.database_file
        if file is not None and not file.exists():
            raise StoreUnavailable(
                f"There is no database at {file}. If there was one, put it back before anything "
                "makes an empty one in its place. A new one is made by `provisioner serve`, or: "
                "provisioner db upgrade"
            )
        database = Database(settings.database_url)
        try:
            found = await database.administer(schema.current)
            wanted = schema.head()
            fits = found == wanted
            if fits:
                with refusals(f"The database {settings.safe_database_url} can't be written"):
                    await database.in_transaction(schema.try_to_write)
        finally:
            await database.dispose()
        text = (
            f"{settings.safe_database_url}: schema {found or 'none'}, this version needs {wanted}"
        )
        report(
            {"database": settings.safe_database_url, "schema": found, "needs": wanted, "ok": fits},
            text if fits else f"{text}. {schema.remedy(found)}",
            as_json=as_json,
        )
        return EXIT_DONE if fits else EXIT_NOT_WELL

    return run(check, as_json=as_json)


def db_backup(
    target: Path, *, config: Path | None, overrides: Mapping[str, str], as_json: bool
) -> int:
    """Copy the whole database into a file, even while it is in use.

    Args:
        target: The file to make, which must not exist; readable by its owner alone.
        config: The settings file, or None.
        overrides: Settings given as options; they must name an SQLite file.
        as_json: Report as JSON.
    """

    async def copy() -> int:
        settings = load_settings(config=config, overrides=overrides, environ=os.environ)
        file = settings.database_file
        if file is None:
            raise SettingsError(
                "PostgreSQL is backed up with its own tools: pg_dump, or a base backup with its "
                "log. After a restore: provisioner db restored"
            )
        if not file.exists():
            raise StoreUnavailable(f"There is no database at {file}.")
        size = await asyncio.to_thread(backup.copy_sqlite, file, target)
        report(
            {"database": settings.safe_database_url, "backup": str(target), "bytes": size},
            f"{target}: {size} bytes, whole and checked. After a restore: provisioner db restored",
            as_json=as_json,
        )
        return EXIT_DONE

    return run(copy, as_json=as_json)


def db_move(to: str, *, config: Path | None, overrides: Mapping[str, str], as_json: bool) -> int:
    """Move everything from an SQLite file to an empty PostgreSQL, while no server runs.

    Args:
        to: The url of the PostgreSQL.
        config: The settings file, or None.
        overrides: Settings given as options; they must name an SQLite file.
        as_json: Report as JSON.
    """

    async def move() -> int:
        from server.store import moving  # noqa: PLC0415 - this command's

        settings = load_settings(config=config, overrides=overrides, environ=os.environ)
        # Logs go to stderr: with --json, stdout must have only JSON.
        configure_logging(settings.log_format, quiet=True)
        with _of_the_target():
            there = load_settings(
                config=config, overrides={**overrides, "database_url": to}, environ=os.environ
            )
        file = settings.database_file
        if file is None or there.database_file is not None:
            raise SettingsError(
                "Only SQLite is moved like this, and only to PostgreSQL: --to must be "
                "postgresql+asyncpg://user@host/database. PostgreSQL moves with pg_dump and "
                "pg_restore, and SQLite to another host as a file (docs/operations.md, Another "
                "database, or another host)."
            )
        if not file.exists():
            raise StoreUnavailable(f"There is no database at {file}.")
        source, target = Database(settings.database_url), Database(there.database_url)
        rows: dict[str, int] = {}

        def tell(table: str, moved: int) -> None:
            rows[table] = moved
            if moved and not as_json:
                say(f"{table}: {moved} rows")

        try:
            found = await source.administer(schema.current)
            if found != schema.head():
                raise StoreUnavailable(schema.told(found))
            if await _is_driven(source):
                raise StoreUnavailable(
                    "A server drives on this database. Stop every server and reconciler, then "
                    "repeat this."
                )
            with moving.SqliteSource.taken(file) as taken:
                with _of_the_target():
                    await target.administer(
                        lambda connection: moving.move(taken, connection, tell),
                        slow=True,
                        done="filled",
                    )
                taken.mark()
        finally:
            await source.dispose()
            await target.dispose()
        report(
            {"from": settings.safe_database_url, "to": there.safe_database_url, "rows": rows},
            f"Everything is in {there.safe_database_url} now: {sum(rows.values())} rows, "
            f"{rows['tenants']} tenants. No server starts on {file} any more.\n"
            f"Before you start one: set PROVISIONER_DATABASE_URL to the new url, and "
            f"{_key_to_name(settings, file)}.",
            as_json=as_json,
        )
        return EXIT_DONE

    return run(move, as_json=as_json)


@contextmanager
def _of_the_target() -> Iterator[None]:
    """Say what is wrong with the new database by the option that names it.

    The setting names the old one, in which an operator would look in vain.
    """
    try:
        yield
    except (SettingsError, StoreUnavailable) as error:
        message = error.message.replace("PROVISIONER_DATABASE_URL", "--to")
        raise type(error)(message.replace("--database-url", "--to")) from error


def _key_to_name(settings: Settings, file: Path) -> str:
    """Say how the servers on PostgreSQL get the key that signed what people hold."""
    key = settings.jwt_key_file or key_beside(file)
    if key.exists():
        return f"PROVISIONER_JWT_KEY_FILE to {key}, so that everybody stays signed in"
    return "PROVISIONER_JWT_KEY_FILE to a key for signing tokens, as every server needs there"


def db_restored(*, config: Path | None, overrides: Mapping[str, str], as_json: bool) -> int:
    """Prepare a database that was restored from a backup, before anything drives runs on it.

    It is refused while a server drives on it. It may be repeated: what it raises is raised again.
    """

    async def settle() -> int:
        from server.restored import as_facts, as_text  # noqa: PLC0415 - this command's

        settings = load_settings(config=config, overrides=overrides, environ=os.environ)
        configure_logging(settings.log_format, quiet=True)
        async with AsyncExitStack() as stack:
            core = await open_core(
                settings, load_engines(settings), stack, register=False, existing=True
            )
            if await _is_driven(core.database):
                raise StoreUnavailable(
                    "A server drives on this database, or did until a moment ago. Stop every "
                    "server, then repeat this."
                )
            restored = await core.commands.after_restore(LOCAL)
        report(as_facts(restored), as_text(restored), as_json=as_json)
        return EXIT_DONE

    return run(settle, as_json=as_json)


async def _is_driven(database: Database) -> bool:
    if database.driver_lock is not None:
        return not database.driver_lock.acquire()
    return await database.administer(backup.is_driven)


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
    """Import the tenants of the old system.

    Args:
        source: The url of its database, which is only read.
        engine: The id of the engine that its tenants live on; "" for the default one.
        quiet_minutes: How many minutes it must have left a tenant alone that it calls running.
        dry_run: Look, and report what would be imported; write nothing.
        config: The settings file, or None.
        overrides: Settings given as options.
        as_json: Report as JSON.

    Returns:
        0; 1 if a person must look at one of them; 2 or more for an error.
    """

    async def work() -> int:
        from server.legacy import Importer  # noqa: PLC0415 - this command's
        from server.store.legacy import read_legacy  # noqa: PLC0415 - likewise

        settings = load_settings(config=config, overrides=overrides, environ=os.environ)
        configure_logging(settings.log_format, quiet=True)
        engines = load_engines(settings)
        wanted = engine or engines.default
        if wanted not in engines.engines:
            raise SettingsError(
                f"{f'No engine {wanted!r}' if wanted else 'No engine'} is configured, so the "
                "tenants can't be looked up. Name one with --engine, or set "
                "PROVISIONER_ENGINES_FILE."
            )
        tenants = await read_legacy(source)
        told = _ImportTold(of=len(tenants), dry_run=dry_run, as_json=as_json)
        async with AsyncExitStack() as stack:
            core = await open_core(settings, engines, stack, register=not dry_run, existing=dry_run)
            importer = Importer(
                core.database,
                core.prober,
                engines=core.entries,
                engine_id=wanted,
                now=utc_now,
                quiet=timedelta(minutes=quiet_minutes),
            )
            try:
                await importer.run(tenants, dry_run=dry_run, on_done=told.add)
            except asyncio.CancelledError:  # Ctrl-C
                told.conclude()
                raise
            except ProvisionerError:
                # With --json, the error is the one document.
                if not as_json:
                    told.conclude()
                raise
        told.conclude()
        return EXIT_NOT_WELL if any(each.needs_a_person for each in told.done) else EXIT_DONE

    return run(work, as_json=as_json)


class _ImportTold:
    """Tells what became of each tenant: people at once, scripts in one document at the end."""

    def __init__(self, *, of: int, dry_run: bool, as_json: bool) -> None:
        self.done: list[Imported] = []
        self._of = of
        self._dry_run = dry_run
        self._as_json = as_json

    def add(self, each: Imported) -> None:
        from server.legacy import paragraph  # noqa: PLC0415 - this command's

        self.done.append(each)
        if not self._as_json:
            say(plain(paragraph(each, number=len(self.done), of=self._of)))

    def conclude(self) -> None:
        from server.legacy import as_facts, totals  # noqa: PLC0415 - this command's

        facts = as_facts(self.done, of=self._of, dry_run=self._dry_run)
        text = totals(self.done, of=self._of, dry_run=self._dry_run)
        report(facts, text, as_json=self._as_json)


def engines_check(
    *, config: Path | None, overrides: Mapping[str, str], name: str, country: str, as_json: bool
) -> int:
    """Check everything that an engine must have, and report how to fix what is wrong.

    Args:
        config: The settings file, or None.
        overrides: Settings given as options.
        name: The engine's id in the engines file.
        country: An alpha-2 code, in any case of letters: its charts of accounts are looked up.
        as_json: Report as JSON.

    Returns:
        EXIT_NOT_WELL if something is wrong, EXIT_NOT_REACHABLE if it could not be asked.
    """

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
        report(engine_facts(name, engine.site, checked), engine_table(checked), as_json=as_json)
        if not checked.reachable:
            return EXIT_NOT_REACHABLE
        return EXIT_DONE if checked.ready else EXIT_NOT_WELL

    return run(check, as_json=as_json)


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
    """Accept the site of an engine as it is (`server.commands.sites`), once `confirm` says so.

    Args:
        engine: The engine's id in the engines file.
        config: The settings file, or None.
        overrides: Settings given as options.
        reason: Why, for the record.
        confirm: Is given the facts about the site, and returns whether to go on.
        dry_run: Whether a no is what was wanted: the exit code is then EXIT_DONE.
        as_json: Report as JSON.
    """

    async def accept() -> int:
        settings = load_settings(config=config, overrides=overrides, environ=os.environ)
        # Logs go to stderr: with --json, stdout must have only JSON.
        configure_logging(settings.log_format, quiet=False)
        async with AsyncExitStack() as stack:
            core = await open_core(
                settings, load_engines(settings), stack, register=False, existing=True
            )
            seen = await core.commands.look_at_site(LOCAL, engine)
            if not await confirm(_site_facts(seen)):
                report(_site_facts(seen), "Nothing was changed.", as_json=as_json)
                return EXIT_DONE if dry_run else EXIT_WRONG_USE
            done = await core.commands.accept_site(LOCAL, engine, reason=reason)
        # Continue does not make a Company that is gone: the third such tenant would shut the gate
        # again.
        then = "diagnose" if done.code == "COMPANIES_VANISHED" else "continue"
        report(
            _site_facts(done),
            f"{done.site} is accepted as it is. Its gate opens within 15 s if nothing else is "
            f"wrong. Held tenants stay held: provisioner list --held, then {then} each.",
            as_json=as_json,
        )
        return EXIT_DONE

    return run(accept, as_json=as_json)


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
