"""One caller in a loop is told to wait, by gRPC and HTTP; the others are not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from clients.sdk import ProvisionerClient, ProvisionerError
from server.access.call_rate import CallRate
from server.app import App
from server.errors import Throttled
from server.limits import BURST_SECONDS
from server.model.actor import ANONYMOUS, LOCAL, Actor, Role
from server.settings import Address, EnginesConfig, Settings
from tools.plain_http import plain_client

if TYPE_CHECKING:
    from pathlib import Path

JANE = Actor(name="jane@example.com", role=Role.VIEWER, origin="grpc 10.0.0.1")
UNKNOWN = "01900000-0000-7000-8000-000000000000"
_FREE = Address(host="127.0.0.1", port=0)


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def take(rate: CallRate, actor: Actor, count: int) -> int:
    """Take up to `count` calls; return how many there were."""
    for taken in range(count):
        try:
            rate.take(actor)
        except Throttled:
            return taken
    return count


def test_a_caller_may_use_up_a_minute_at_once_and_then_the_rate() -> None:
    clock = Clock()
    rate = CallRate(2.0, clock)
    most = int(2 * BURST_SECONDS)
    assert take(rate, JANE, most + 10) == most
    with pytest.raises(Throttled) as refused:
        rate.take(JANE)
    assert refused.value.code == "TOO_MANY_CALLS"
    assert refused.value.retry_after_seconds >= 1
    assert "jane@example.com may make 2 a second" in refused.value.message
    clock.seconds += 3
    assert take(rate, JANE, 100) == 6
    clock.seconds += 3600
    assert take(rate, JANE, most + 10) == most


def test_each_caller_has_his_own_and_people_without_a_name_their_address() -> None:
    rate = CallRate(0.1, Clock())
    assert take(rate, JANE, 10) == 6
    other_address = Actor(name=JANE.name, role=Role.VIEWER, origin="http 10.0.0.9")
    assert take(rate, other_address, 10) == 0
    for name in (LOCAL.name, ANONYMOUS):
        for address in ("http 10.0.0.1", "http 10.0.0.2"):
            nobody = Actor(name=name, role=Role.VIEWER, origin=f"{address} {name}")
            assert take(rate, nobody, 10) == 6


def test_zero_is_no_limit() -> None:
    assert take(CallRate(0, Clock()), JANE, 100_000) == 100_000


def test_whoever_was_not_seen_for_long_is_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.access.call_rate._MAX_CALLERS", 2)
    rate = CallRate(0.1, Clock())
    names = [Actor(name=f"{n}@example.com", role=Role.VIEWER) for n in range(3)]
    assert [take(rate, actor, 10) for actor in names[:2]] == [6, 6]
    # Who comes again and again, even in vain, is not the one.
    assert take(rate, names[0], 10) == 0
    assert take(rate, names[2], 10) == 6
    assert [take(rate, actor, 10) for actor in (names[0], names[2])] == [0, 0]
    assert take(rate, names[1], 10) == 6


async def test_grpc_and_http_say_when_to_come_again(tmp_path: Path) -> None:
    settings = Settings(
        database_url=f"sqlite+aiosqlite:///{tmp_path / 'provisioner.db'}",
        grpc_address=_FREE,
        http_address=_FREE,
        auth=False,
        compat=True,
        # Two calls at once, and the next one in half a minute.
        calls_per_second=2 / BURST_SECONDS,
    )
    async with App(settings, EnginesConfig()) as app:
        async with ProvisionerClient(f"127.0.0.1:{app.grpc_port}") as client:
            for _ in range(2):
                await client.get_caller()
            with pytest.raises(ProvisionerError) as refused:
                await client.get_caller()
        assert refused.value.code == "RESOURCE_EXHAUSTED"
        assert refused.value.reason == "TOO_MANY_CALLS"
        assert 20 < (refused.value.retry_delay_seconds or 0) <= 30
        base = f"http://127.0.0.1:{app.http_port}"
        async with plain_client(base_url=base, trust_env=False, timeout=60) as web:
            path = f"/provisioning/tenants/{UNKNOWN}/status"
            for _ in range(2):
                assert (await web.get(path)).status_code == 200
            for each in (path, f"/api{path}", f"/v1/tenants/{UNKNOWN}", "/iam/tenants"):
                answer = await web.get(each)
                assert answer.status_code == 429, each
                assert 20 < int(answer.headers["retry-after"]) <= 30
                assert "may make" in answer.text
            # Whether it is there can always be asked.
            assert (await web.get("/health")).status_code == 200
