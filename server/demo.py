"""What `serve --demo` (`make run`) adds: a stand-in site, a temporary database, a first tenant."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from typing import TYPE_CHECKING

from server.greeting import address_option, called
from server.program import announce
from server.settings import EngineConfig, EnginesConfig

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AsyncExitStack

    from server.settings import Address

# So that the old clients' API is shown, too; settings given elsewhere take precedence.
DEMO_DEFAULTS = {"auth": "off", "compat": "on"}

_TLS = "PROVISIONER_TLS_"
_COMPANY = "Mama Njeri Traders"


def demo_settings_of(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without a real service's certificates, and say what was left out.

    The demo is for this machine only, and its first caller would not trust the certificate.
    """
    left_out = sorted(name for name in environ if name.upper().startswith(_TLS) and environ[name])
    if left_out:
        announce(
            f"The demo speaks without TLS, on this machine only: {', '.join(left_out)} not used."
        )
    return {name: value for name, value in environ.items() if name not in left_out}


def demo_database(stack: AsyncExitStack) -> str:
    """Return the url of a database in a new folder, which `stack` removes.

    It is used whatever the environment says.
    """
    folder = tempfile.mkdtemp(prefix="provisioner-demo-")
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    return f"sqlite+aiosqlite:///{folder}/provisioner.db"


async def demo_engines(stack: AsyncExitStack) -> EnginesConfig:
    """Start a stand-in site, which `stack` stops, and return it as the only engine."""
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


async def show_first_tenant(stack: AsyncExitStack, address: Address) -> None:
    """Provision a first tenant before the reader's eyes, as a caller would: by the command line.

    Args:
        stack: Ends the command if it is still under way.
        address: Where the server really listens.
    """
    announce(f"\nA first tenant: provisioner start '{_COMPANY}' --watch{address_option(address)}\n")
    watching = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "clients.cli",
        "start",
        _COMPANY,
        "--till-user",
        "till@example.com",
        "--watch",
        "--address",
        called(address),
        stdin=asyncio.subprocess.DEVNULL,
        env=_nobodys_environment(),
    )

    async def end() -> None:
        if watching.returncode is None:
            watching.terminate()
        await watching.wait()

    stack.push_async_callback(end)


def _nobodys_environment() -> dict[str, str]:
    """Return the environment without a sign-in: one kept for another server would be in the way."""
    unwanted = {
        "PROVISIONER_TOKEN",
        "PROVISIONER_TLS_CA",
        "PROVISIONER_CLIENT_CERT",
        "PROVISIONER_CLIENT_KEY",
    }
    environ = {name: value for name, value in os.environ.items() if name not in unwanted}
    return {**environ, "PROVISIONER_PROFILE": "make run"}
