"""Starts our server and a bare one, and has both called in turn."""

from __future__ import annotations

import contextlib
import json
import statistics
from typing import TYPE_CHECKING, Any

import grpc

from benchmarks.rows import Row
from benchmarks.run import beside, ours

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from benchmarks.run import Program

STATUS = "/provisioner.v1.ProvisioningService/GetStatus"
LOGS = "/provisioner.v1.ProvisioningService/StreamLogs"


def slices(number: int, *, quick: bool) -> tuple[object, ...]:
    """Return how many slices each side has (`in_turn`), and how many seconds each takes.

    Args:
        number: The slices of a whole run, which take as long as `pair` has it.
        quick: Whether it is a short run, which has two short ones.

    Returns:
        Options for `benchmarks.programs.pair`.
    """
    return ("--slices", 2, "--seconds", 0.2) if quick else ("--slices", number)


@contextlib.contextmanager
def our_server(url: str, place: Path, *more: object) -> Iterator[Program]:
    """Run our server; its token is in the file `token` of the folder.

    Args:
        url: The database.
        place: The folder, which also keeps the key that signs tokens.
        more: Further options of `benchmarks.programs.serve_ours`.

    Yields:
        The program; its `facts` have ports, process id, tenants and the token.
    """
    key = place / "jwt.key"
    if not key.exists():
        key.write_bytes(b"k" * 64)
        key.chmod(0o600)
    with beside("serve_ours", "--url", url, "--key-file", key, *more) as program:
        (place / "token").write_text(program.facts["token"])
        yield program


def answers(shop: Program, method: str, request: bytes) -> list[bytes]:
    """Call our server once; return the messages of its answer.

    Args:
        shop: What `our_server` yields.
        method: `STATUS` or `LOGS`.
        request: The bytes of the request.

    Raises:
        grpc.RpcError: the call failed.
    """
    metadata = (("authorization", f"Bearer {shop.facts['token']}"),)
    with grpc.insecure_channel(f"127.0.0.1:{shop.facts['port']}") as channel:
        # Untyped: ready bytes go out and come back.
        once: Any = channel.unary_unary(method)
        stream: Any = channel.unary_stream(method)
        if method == STATUS:
            return [once(request, metadata=metadata)]
        return list(stream(request, metadata=metadata))


@contextlib.contextmanager
def bare_server(place: Path, answer: bytes, messages: int = 0) -> Iterator[Program]:
    """Run a bare grpc.aio server that answers these bytes, once or repeatedly in a stream.

    Args:
        place: A folder for the bytes.
        answer: The bytes of one message.
        messages: How many of them a stream has.
    """
    (place / "answer").write_bytes(answer)
    with beside("echo", "--answer", place / "answer", "--entries", messages) as program:
        yield program


def in_turn(
    shop: Program,
    bare: Program,
    place: Path,
    requests: Sequence[bytes],
    *more: object,
    port: str = "port",
) -> dict[str, Any]:
    """Have both called in turn by one client (`benchmarks.programs.pair`).

    Args:
        shop: What `our_server` yields.
        bare: The program it is compared with, which also tells ports and process id.
        place: The folder of `our_server`.
        requests: The bytes of requests, which are sent in turn.
        more: Further options of `benchmarks.programs.pair`.
        port: Which of the ports to call: "port" for gRPC, "http" for HTTP.

    Returns:
        What `benchmarks.programs.pair` prints: `facts` of each side.
    """
    (place / "requests").write_text(json.dumps([each.hex() for each in requests]))
    got: dict[str, Any] = ours(
        "pair",
        "--port", shop.facts[port], "--pid", shop.facts["pid"],
        "--echo-port", bare.facts[port], "--echo-pid", bare.facts["pid"],
        "--token-file", place / "token", "--requests", place / "requests",
        *more,
    )  # fmt: skip
    return got


def beside_bare(
    name: str,
    unit: str,
    got: dict[str, Any],
    *,
    goal: float | None,
    scale: tuple[float, float] = (1.0, 1.0),
    note: str = "",
) -> Row:
    """Make a row from alternating slices: the median of the ratios of neighbours.

    Args:
        name: The row's name.
        unit: The unit of the rates.
        got: What `in_turn` returned.
        goal: The goal for the ratio.
        scale: What one message counts for, ours and theirs.
        note: How to read the row.
    """
    mine = [rate * scale[0] for rate in got["ours"]["rates"]]
    other = [rate * scale[1] for rate in got["theirs"]["rates"]]
    ratios = [one / two for one, two in zip(mine, other, strict=True)]
    processor = [
        got[each]["cpu_us"] / by for each, by in zip(("ours", "theirs"), scale, strict=True)
    ]
    took = f"server's processor: {processor[0]:.0f} µs each, the bare one's {processor[1]:.0f} µs"
    return Row(
        name=name,
        unit=unit,
        ours=round(statistics.median(mine), 1),
        theirs=round(statistics.median(other), 1),
        ratio=round(statistics.median(ratios), 2),
        goal=goal,
        spread=(round(min(mine), 1), round(max(mine), 1)),
        note=f"{note}; {took}" if note else took,
    )
