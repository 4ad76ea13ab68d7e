"""How a stand-in site is named as an engine, what it is told to do wrong, and what it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from server.model.identifiers import SiteKey
from server.settings import EngineConfig, EnginesConfig
from tools.plain_http import plain_client

if TYPE_CHECKING:
    from collections.abc import Mapping


def engines_at(url: str) -> EnginesConfig:
    """Name a site as the one engine, "main"; a stand-in takes any key."""
    engine = EngineConfig(
        id="main",
        blueprint="erpnext",
        site=SiteKey(url),
        url=url,
        api_key=SecretStr("key"),
        api_secret=SecretStr("secret"),
    )
    return EnginesConfig(default="main", engines={"main": engine})


async def set_faults(url: str, *faults: Mapping[str, object], **more: object) -> None:
    """Let requests go wrong from now on; without arguments nothing does."""
    body = {**more, "faults": list(faults)} if faults else more
    async with plain_client() as client:
        answer = await client.post(f"{url}/standin/faults", json=body)
        assert answer.status_code == 200, answer.text


async def look(url: str) -> dict[str, Any]:
    """Return what the stand-in holds, and what it was asked for."""
    async with plain_client() as client:
        answer = await client.get(f"{url}/standin/state")
        assert answer.status_code == 200, answer.text
        seen: dict[str, Any] = answer.json()
        return seen
