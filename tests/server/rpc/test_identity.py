"""Who calls is asked again in mid-stream, of what was kept when the call began."""

from __future__ import annotations

from typing import Any, cast

from server.rpc.identity import Introduction, origin_of


class EndingContext:
    """A call that may be looked at while it begins, and not later."""

    over = False

    def peer(self) -> str:
        assert not self.over
        return "ipv4:10.0.0.1:50000"

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        assert not self.over
        return (("authorization", "Bearer of tidings"),)


def test_an_introduction_outlives_its_call() -> None:
    context = EndingContext()
    kept = Introduction.of(cast("Any", context))
    context.over = True
    assert origin_of(kept) == "grpc 10.0.0.1"
    assert kept.peer() == "ipv4:10.0.0.1:50000"
    assert dict(kept.invocation_metadata()) == {"authorization": "Bearer of tidings"}
