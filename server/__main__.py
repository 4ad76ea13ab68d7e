"""The composition root: starts and stops the long-running programs, and nothing else.

The console script's local commands call `serve`, `reconcile`, `standin` and `selftest`; each
returns the process's exit code. Programs that do one thing and end are in `server.upkeep`.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from server.app import App, open_core, utc_now
from server.demo import (
    DEMO_DEFAULTS,
    demo_database,
    demo_engines,
    demo_settings_of,
    show_first_tenant,
)
from server.executor.clock import CommonClock
from server.greeting import database_options, greeting
from server.logs import configure_logging
from server.program import (
    EXIT_DONE,
    EXIT_NOT_WELL,
    EXIT_WRONG_USE,
    announce,
    complain,
    on_second_interrupt,
    report,
    run,
    stop_signals,
    takes_no_options,
)
from server.settings import load_engines, load_settings, read_secret_file
from server.webhook import Courier, WebhookTarget

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from reconciler.healer import LocalHealer
    from server.app import Core
    from server.settings import Settings
    from server.store.database import Database


def serve(
    *,
    config: Path | None,
    overrides: Mapping[str, str],
    with_reconciler: bool,
    demo: bool,
) -> int:
    """Serve until SIGTERM, SIGINT or SIGHUP, then drain.

    Args:
        config: The settings file, or None.
        overrides: Settings given as options.
        with_reconciler: Whether to heal in the same process.
        demo: Whether to start a stand-in ERPNext and provision a first tenant before the reader's
            eyes; this also heals, and keeps nothing.

    Returns:
        The process's exit code (`server.program`).
    """
    return run(lambda: _serve(config, overrides, with_reconciler=with_reconciler, demo=demo))


def reconcile(
    *,
    config: Path | None,
    overrides: Mapping[str, str],
    once: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Find stuck tenants and drive them on, in a process of its own.

    Args:
        config: The settings file, or None.
        overrides: Settings given as options.
        once: Make one sweep, and report what came of it.
        dry_run: Make one sweep that writes nothing, and report it.
        as_json: Report as JSON.

    Returns:
        The process's exit code (`server.program`); what was found does not change it.
    """
    return run(
        lambda: _reconcile(config, overrides, once=once or dry_run, dry=dry_run, as_json=as_json),
        as_json=as_json,
    )


def standin(*, listen: str, latency: str, site: str) -> int:
    """Serve a stand-in ERPNext until it is told to stop.

    Args:
        listen: Where, as host:port; port 0 lets the system choose one.
        latency: "none" to answer at once, "recorded" to take as long as ERPNext does.
        site: The name of the site.

    Returns:
        The process's exit code: EXIT_WRONG_USE if it can't listen there.
    """
    from server.standin.app import run  # noqa: PLC0415 - only this command needs it

    def started(url: str) -> None:
        announce(f"Stand-in ERPNext {site} answers at {url}; its documents: {url}/standin/state")

    try:
        asyncio.run(run(listen, latency, site, started=started))
    except (ValueError, OSError) as error:
        complain(f"The stand-in can't listen at {listen}: {error}")
        return EXIT_WRONG_USE
    return EXIT_DONE


def selftest(*, patience_seconds: float, as_json: bool) -> int:
    """Plant stuck tenants in a throwaway database, and report whether and how fast they healed.

    Args:
        patience_seconds: The longest to wait for one kind.
        as_json: Report as JSON.

    Returns:
        The process's exit code: EXIT_NOT_WELL if a kind was not healed.
    """
    from reconciler import selftest as program  # noqa: PLC0415 - only this command needs it

    async def trial() -> int:
        # Its workers and sweeps would log what they do for tenants that nobody has.
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
        done = await program.selftest(patience_seconds=patience_seconds)
        report(program.as_facts(done), program.as_text(done), as_json=as_json)
        return EXIT_DONE if done.passed else EXIT_NOT_WELL

    return run(trial, as_json=as_json)


async def _serve(
    config: Path | None, overrides: Mapping[str, str], *, with_reconciler: bool, demo: bool
) -> int:
    async with AsyncExitStack() as stack:
        if demo:
            overrides = {**DEMO_DEFAULTS, "database_url": demo_database(stack), **overrides}
        environ = demo_settings_of(os.environ) if demo else os.environ
        settings = load_settings(config=config, overrides=overrides, environ=environ)
        configure_logging(settings.log_format, quiet=demo)
        engines = await demo_engines(stack) if demo else load_engines(settings)
        stopping = stop_signals()
        healers: list[LocalHealer] = []
        app = await stack.enter_async_context(
            App(settings, engines, healer_of=_healer_of(settings, healers))
        )
        if with_reconciler or demo:
            await _start_reconciler(stack, app.core.database, healers[0], settings)
        settle_memory()
        settle_threads()
        lines = greeting(
            settings,
            engines,
            grpc_port=app.grpc_port,
            http_port=app.http_port,
            has_users=bool(await app.access.users.all()),
            database_options=database_options(config, overrides, settings),
            demo=demo,
        )
        announce("\n".join(lines))
        if demo:
            await show_first_tenant(stack, replace(settings.grpc_address, port=app.grpc_port))
        await stopping.wait()
        on_second_interrupt(app.hurry)
        announce(
            "Stopping: taking no more orders, and waiting up to "
            f"{settings.drain_seconds:g} s for ERPNext's answers. Ctrl-C again stops the wait."
        )
    return EXIT_DONE


def settle_threads() -> None:
    """Let the event loop run again sooner while SQLite's writer computes on its thread.

    Each read on the loop gives up the interpreter several times, and waits up to this interval to
    get it back: 5 ms by default, which a status would have to wait four times.
    """
    sys.setswitchinterval(0.001)


def settle_memory() -> None:
    """Exempt what lives as long as the process from garbage collection, and collect less often.

    A line that goes to 500 followers makes thousands of short-lived objects; a full collection in
    the middle of that would hold up the last followers.
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
    async with AsyncExitStack() as stack:
        core = await open_core(
            settings, load_engines(settings), stack, register=not dry, existing=once
        )
        if once:
            done = await _healer(core, settings).sweeper.sweep(dry_run=dry)
            report(as_facts(done), as_text(done), as_json=as_json)
            return EXIT_DONE
        stopping = stop_signals()
        await _start_reconciler(stack, core.database, _healer(core, settings), settings)
        announce(f"Sweeping every {settings.sweep_seconds:g} s. Stop with Ctrl-C.")
        await stopping.wait()
    return EXIT_DONE


async def _start_reconciler(
    stack: AsyncExitStack, database: Database, healer: LocalHealer, settings: Settings
) -> None:
    from reconciler.schedule import Schedule  # noqa: PLC0415 - `serve` alone does not need it

    schedule = Schedule(
        healer.sweeper.sweep,
        seconds=settings.sweep_seconds,
        # A sweep that takes longer than several intervals is stuck; it is cut off and counted.
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
            # Of several hosts, one whose clock is off must not send what another put off.
            now=healer.sweeper.clock,
        )
        courier.start()
        stack.push_async_callback(courier.stop)


def _healer_of(settings: Settings, made: list[LocalHealer]) -> Callable[[Core], LocalHealer]:
    """Return a function that makes the server's healer, and also puts it into `made`."""

    def make(core: Core) -> LocalHealer:
        made.append(_healer(core, settings))
        return made[-1]

    return make


def _healer(core: Core, settings: Settings) -> LocalHealer:
    from reconciler.drift import DriftCheck  # noqa: PLC0415 - other programs need none
    from reconciler.healer import LocalHealer  # noqa: PLC0415 - likewise
    from reconciler.sweep import Sweeper  # noqa: PLC0415 - likewise

    # One for all parts: of several hosts, one whose clock is off must judge as the others do.
    now = CommonClock(utc_now)

    def skipped() -> int:
        return 0 if healer.schedule is None else healer.schedule.skipped_passes

    drift = DriftCheck(
        core.database,
        core.prober,
        sites={entry.site for entry in core.entries.values()},
        now=now,
        limit=settings.drift_per_sweep,
        period=timedelta(days=settings.drift_days),
        notify=settings.webhook_url is not None,
    )
    healer = LocalHealer(
        Sweeper(
            core.database,
            core.commands,
            engines=core.entries,
            now=now,
            lease_seconds=settings.lease_seconds,
            window_seconds=settings.sweep_seconds,
            notify=settings.webhook_url is not None,
            skipped_passes=skipped,
            drift=drift,
        ),
        drift,
    )
    return healer


if __name__ == "__main__":
    sys.exit(
        takes_no_options(sys.argv[1:], "provisioner serve")
        or serve(config=None, overrides={}, with_reconciler=True, demo=False)
    )
