"""The application is built at the first request that needs it, and once."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import httpx
from starlette.responses import PlainTextResponse

from server.rest.lazy import LazyApp

if TYPE_CHECKING:
    from starlette.types import ASGIApp


async def test_health_needs_no_application_and_all_others_wait_for_one() -> None:
    built: list[str] = []

    def build() -> ASGIApp:
        built.append(threading.current_thread().name)
        return PlainTextResponse("here")

    app = LazyApp(build)
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        for path in ("/health", "/api/health"):
            answer = await client.get(path)
            assert answer.content == b'{"status":"healthy"}'
            assert answer.headers["content-type"] == "application/json"
        assert built == []
        answers = await asyncio.gather(*(client.get("/docs") for _ in range(5)))
        assert {answer.text for answer in answers} == {"here"}
        assert (await client.get("/health")).text == "here"
    # Once, and not on the thread that drives tenants.
    assert len(built) == 1
    assert built[0] != threading.main_thread().name


async def test_a_page_of_another_origin_gets_the_applications_answer() -> None:
    app = LazyApp(lambda: PlainTextResponse("here"))
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        answer = await client.get("/health", headers={"Origin": "http://localhost:3000"})
        assert answer.text == "here"
