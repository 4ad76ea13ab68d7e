"""The webhook: signed, at least once, with an id that stays, and pauses that grow."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import ssl
import threading
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from structlog.testing import capture_logs

from server.errors import SettingsError
from server.settings import load_settings
from server.store.operations import OutboxRow, SweepOperation
from server.store.outbox import Outbox
from server.webhook import Courier, WebhookTarget
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from sqlalchemy import Connection

    from server.store.database import Database

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
SECRET = "a-secret-nobody-may-see"


@dataclass
class Receiver:
    """A loopback server that answers what the test wrote down."""

    port: int = 0
    answers: list[int] = field(default_factory=list)
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if ": " in line)
        body = await reader.readexactly(int(headers["content-length"]))
        self.got.append((headers, body))
        status = self.answers.pop(0) if self.answers else 204
        if status:
            answer = f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            writer.write(answer.encode())
            await writer.drain()
        writer.close()


@asynccontextmanager
async def receiving(*answers: int) -> AsyncIterator[Receiver]:
    receiver = Receiver(answers=list(answers))
    async with await asyncio.start_server(receiver.serve, "127.0.0.1", 0) as server:
        receiver.port = server.sockets[0].getsockname()[1]
        yield receiver


class Clock:
    def __init__(self) -> None:
        self.time = NOON

    def __call__(self) -> datetime:
        return self.time


async def write(database: Database, *ids: str) -> None:
    """Write messages as a sweep does, with the sweep that they tell of."""
    await database.submit(
        SweepOperation(
            id=f"sweep-{ids[0]}",
            started_at=NOON,
            finished_at=NOON,
            observed=1,
            acted=1,
            skipped_passes=0,
            findings=(),
            outbox=tuple(
                OutboxRow(
                    id=own_id,
                    kind="needs_person",
                    body={"id": own_id, "company": "Café"},
                    created_at=NOON,
                )
                for own_id in ids
            ),
        )
    )


def courier(database: Database, port: int, clock: Clock, path: str = "/hook") -> Courier:
    target = WebhookTarget(url=f"http://127.0.0.1:{port}{path}", secret=SecretStr(SECRET))
    return Courier(database.outbox, target, now=clock, first_pause_seconds=5.0)


async def waiting(database: Database) -> list[tuple[int, str]]:
    def read(connection):  # type: ignore[no-untyped-def]  # SQLAlchemy's connection
        rows = connection.execute(
            text("SELECT tries, last_error FROM outbox WHERE delivered_at IS NULL ORDER BY id")
        )
        return [tuple(row) for row in rows]

    return await database.in_transaction(read)


async def test_a_message_arrives_signed_and_once(database: Database) -> None:
    await write(database, "m1")
    async with receiving() as receiver:
        first, second = (courier(database, receiver.port, Clock()) for _ in range(2))
        arrived = await asyncio.gather(first.deliver_due(), second.deliver_due())
        await first.deliver_due()
    assert sorted(arrived) == [0, 1], "two couriers share the work"
    ((headers, body),) = receiver.got
    assert json.loads(body) == {"id": "m1", "company": "Café"}
    assert headers["provisioner-delivery"] == "m1"
    assert headers["provisioner-event"] == "needs_person"
    signed = headers["provisioner-timestamp"].encode() + b"." + body
    expected = hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
    assert headers["provisioner-signature"] == f"v1={expected}"
    assert await waiting(database) == []


async def test_what_was_not_taken_is_sent_again_with_the_same_id_after_a_pause_that_grows(
    database: Database,
) -> None:
    await write(database, "m1")
    clock = Clock()
    async with receiving(500, 302, 0) as receiver:
        sender = courier(database, receiver.port, clock)
        for pause in (0.0, 5.0, 10.0, 20.0):
            clock.time += timedelta(seconds=pause / 2 - 0.1 if pause else 0)
            early = len(receiver.got)
            await sender.deliver_due()
            assert pause == 0 or len(receiver.got) == early, "no sooner than half the pause"
            clock.time += timedelta(seconds=pause)
            await sender.deliver_due()
    assert [headers["provisioner-delivery"] for headers, _ in receiver.got] == ["m1"] * 4
    assert await waiting(database) == []


async def test_a_receiver_that_takes_nothing_is_asked_a_few_times_and_given_up_in_the_end(
    database: Database,
) -> None:
    await write(database, *(f"m{number:02}" for number in range(25)))
    clock = Clock()
    async with receiving(*[500] * 40) as receiver:
        sender = courier(database, receiver.port, clock)
        assert await sender.deliver_due() == 0
        assert len(receiver.got) == 10, "in one look"
    clock.time += timedelta(days=29)
    await sender.forget_old()
    kept = len(await waiting(database))
    clock.time += timedelta(days=2)
    with capture_logs() as logs:
        await sender.forget_old()

    assert kept == 25
    assert await waiting(database) == []
    assert [log["event"] for log in logs] == ["webhook.given_up"] * 25


async def test_the_pause_has_an_end_however_often_it_was_tried(database: Database) -> None:
    await write(database, "m1")
    await database.in_transaction(
        lambda connection: connection.exec_driver_sql("UPDATE outbox SET tries = 5000")
    )
    clock = Clock()
    async with receiving(500) as receiver:
        sender = courier(database, receiver.port, clock)
        assert await sender.deliver_due() == 0
        clock.time += timedelta(hours=1)
        assert await sender.deliver_due() == 1


async def test_a_courier_that_died_lets_go_of_what_it_took(database: Database) -> None:
    await write(database, "m1")
    clock = Clock()
    await database.outbox.claim(
        clock(), hold=timedelta(seconds=60), longest=timedelta(hours=2), limit=10
    )
    async with receiving() as receiver:
        sender = courier(database, receiver.port, clock)
        assert await sender.deliver_due() == 0
        clock.time += timedelta(seconds=61)
        assert await sender.deliver_due() == 1


async def test_a_message_put_off_by_a_clock_that_was_set_back_since_is_sent(
    database: Database,
) -> None:
    """It would have waited until the wrong time came, and have been given up before that."""
    await write(database, "claimed", "put off")
    clock = Clock()
    clock.time += timedelta(days=3650)
    async with receiving(500) as receiver:
        await database.outbox.claim(
            clock(), hold=timedelta(minutes=2), longest=timedelta(hours=2), limit=1
        )
        sender = courier(database, receiver.port, clock)
        assert await sender.deliver_due() == 0
        clock.time = NOON
        await write(database, "of now")
        assert await sender.deliver_due() == 3
    sent = [headers["provisioner-delivery"] for headers, _ in receiver.got]
    assert (sent[0], sorted(sent[1:])) == ("put off", ["claimed", "of now", "put off"])
    assert await waiting(database) == []


async def test_a_pause_as_long_as_any_is_kept(database: Database) -> None:
    await write(database, "m1")
    longest = NOON + timedelta(hours=1)
    await database.outbox.failed("m1", due_at=longest, error="answered 500")
    clock = Clock()
    async with receiving() as receiver:
        sender = courier(database, receiver.port, clock)
        assert await sender.deliver_due() == 0
        clock.time = longest
        assert await sender.deliver_due() == 1


async def test_what_no_certificate_can_be_read_for_waits_its_pause_and_says_why(
    database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Held as if it were out, each ten messages would come two minutes late, without a word."""
    await write(database, *(f"m{number:02}" for number in range(12)))
    broken = tmp_path / "authorities.pem"
    broken.write_text("no certificate")
    monkeypatch.setenv("SSL_CERT_FILE", str(broken))
    target = WebhookTarget(url=f"https://127.0.0.1:9/hook?token={SECRET}", secret=SecretStr(SECRET))
    clock = Clock()
    sender = Courier(database.outbox, target, now=clock, first_pause_seconds=5.0)
    with capture_logs() as logs:
        assert await sender.deliver_due() == 0
    assert [log["event"] for log in logs] == ["webhook.not_delivered"] * 10
    rows = await waiting(database)
    assert [error for _, error in rows if "certificates to trust" in error] != []
    assert SECRET not in repr((rows, logs))

    monkeypatch.delenv("SSL_CERT_FILE")
    clock.time += timedelta(seconds=5)
    async with receiving() as receiver:
        assert await courier(database, receiver.port, clock).deliver_due() == 12


@contextlib.asynccontextmanager
async def answering(head: bytes, more: bytes, *, pause: float = 0) -> AsyncIterator[int]:
    """Give the port of a receiver whose answer never ends; afterwards its one caller is gone."""
    hung_up = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, EOFError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(head)
            while not writer.is_closing():
                writer.write(more)
                await writer.drain()
                await asyncio.sleep(pause)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        hung_up.set()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]
        await hung_up.wait()


@pytest.mark.parametrize("answer", [b"HTTP/1.1 20", b"HTTP/1.1 500 X\r\nX-Long: "])
async def test_an_answer_that_comes_a_byte_at_a_time_holds_nobody_up(
    database: Database, answer: bytes
) -> None:
    """No single read takes long, so no time limit of one would end it."""
    await write(database, "m1")

    async with answering(answer, b"0", pause=0.02) as port:
        target = WebhookTarget(url=f"http://127.0.0.1:{port}", secret=SecretStr(SECRET))
        sender = Courier(database.outbox, target, now=Clock(), timeout_seconds=0.3)
        async with asyncio.timeout(30):
            assert await sender.deliver_due() == 0
    ((tries, error),) = await waiting(database)
    assert (tries, error.endswith("at 127.0.0.1")) == (1, True)


async def test_the_body_of_an_answer_is_not_waited_for(database: Database) -> None:
    await write(database, "m1")

    head = b"HTTP/1.1 200 X\r\nContent-Length: 999999999999\r\n\r\n"
    async with answering(head, b"0" * 65536) as port:
        async with asyncio.timeout(30):
            assert await courier(database, port, Clock()).deliver_due() == 1
    assert await waiting(database) == []


async def test_no_secret_is_in_a_log_line_or_a_row(database: Database) -> None:
    await write(database, "m1", "m2")
    async with receiving(503) as receiver:
        port = receiver.port
        with capture_logs() as lines:
            await courier(database, port, Clock(), f"/hook?token={SECRET}").deliver_due()
    with capture_logs() as more:
        gone = Clock()
        gone.time += timedelta(hours=1)
        await courier(database, port, gone, f"/hook?token={SECRET}").deliver_due()
    assert [line["event"] for line in (*lines, *more)] == ["webhook.not_delivered"] * 2
    assert SECRET not in repr((lines, more))
    rows = await waiting(database)
    assert SECRET not in repr(rows)
    assert "ConnectError at 127.0.0.1" in repr(rows)


async def test_it_goes_on_by_itself_until_it_is_stopped(database: Database) -> None:
    async with receiving() as receiver:
        sender = Courier(
            database.outbox,
            WebhookTarget(url=f"http://127.0.0.1:{receiver.port}", secret=SecretStr(SECRET)),
            now=Clock(),
            poll_seconds=0.01,
        )
        sender.start()

        async def all_arrived() -> bool:
            return await waiting(database) == []

        for own_id in ("m1", "m2"):
            await write(database, own_id)
            await until(all_arrived)
        await sender.stop()
        assert [json.loads(body)["id"] for _, body in receiver.got] == ["m1", "m2"]
        assert not [task for task in asyncio.all_tasks() if task.get_name() == "webhook"]


async def test_a_look_that_finds_nothing_loads_no_certificates(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks every two seconds, and to load them takes as long as fifty calls."""
    loaded_by: list[int] = []
    load = ssl.SSLContext.load_verify_locations

    def counted(context: ssl.SSLContext, *arguments: Any, **named: Any) -> None:
        loaded_by.append(threading.get_ident())
        load(context, *arguments, **named)

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", counted)
    target = WebhookTarget(url="https://127.0.0.1:9/hook", secret=SecretStr(SECRET))
    sender = Courier(database.outbox, target, now=Clock())
    assert await sender.deliver_due() == 0
    assert loaded_by == []
    await write(database, "m1")
    assert await sender.deliver_due() == 0
    assert loaded_by, "nobody is believed without them"
    assert threading.get_ident() not in loaded_by, "the loop answers meanwhile"


@pytest.mark.parametrize(("soon", "times"), [({"first_forgetting_seconds": 0.0}, 1), ({}, 0)])
async def test_it_looks_for_what_is_old_once_an_hour_and_not_at_its_start(
    database: Database, monkeypatch: pytest.MonkeyPatch, soon: dict[str, float], times: int
) -> None:
    """It reads all messages of thirty days; and a host's clock may not be corrected yet."""
    looks: list[str] = []

    def counting(name: str) -> None:
        really = getattr(Outbox, name)

        async def counted(own: Outbox, *arguments: Any, **named: Any) -> Any:
            looks.append(name)
            return await really(own, *arguments, **named)

        monkeypatch.setattr(Outbox, name, counted)

    counting("claim")
    counting("forget")
    sender = Courier(
        database.outbox,
        WebhookTarget(url="http://127.0.0.1:9/hook", secret=SecretStr(SECRET)),
        now=Clock(),
        poll_seconds=0.01,
        **soon,
    )
    sender.start()

    async def looked_often() -> bool:
        return looks.count("claim") >= 5

    await until(looked_often)
    await sender.stop()
    assert looks.count("forget") == times


async def test_a_receiver_away_for_weeks_leaves_messages_that_are_deleted_in_pages(
    database: Database,
) -> None:
    """On SQLite, every order and step waits for the transaction that deletes them."""
    await write(database, *(f"m{number}" for number in range(1300)))
    half = "UPDATE outbox SET delivered_at = :at WHERE id < 'm3'"
    at = {"at": "2026-05-04 12:00:00.000000+00:00"} if database.is_sqlite else {"at": NOON}
    await database.in_transaction(lambda connection: connection.execute(text(half), at))
    deleted: list[int] = []

    async def in_transaction(work: Callable[[Connection], Any]) -> Any:
        def counting(connection: Connection) -> Any:
            count = text("SELECT count(*) FROM outbox")
            before = connection.execute(count).scalar_one()
            result = work(connection)
            deleted.append(before - connection.execute(count).scalar_one())
            return result

        return await database.in_transaction(counting)

    target = WebhookTarget(url="http://127.0.0.1:9/hook", secret=SecretStr(SECRET))
    sender = Courier(Outbox(in_transaction), target, now=lambda: NOON + timedelta(days=31))
    with capture_logs() as logs:
        await sender.forget_old()
    assert sum(deleted) == 1300
    assert max(deleted) <= 500
    given_up = [log["delivery"] for log in logs if log["event"] == "webhook.given_up"]
    assert len(set(given_up)) == len(given_up) == 1300 - 523
    assert await waiting(database) == []


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"webhook_url": "https://a.example/x"}, "go together"),
        ({"webhook_secret_file": "s"}, "go together"),
        ({"webhook_url": "ftp://a.example", "webhook_secret_file": "s"}, "https://"),
        ({"webhook_url": "https://", "webhook_secret_file": "s"}, "name a host"),
    ],
)
def test_a_half_or_wrong_setting_is_refused_with_the_remedy(
    given: dict[str, str], says: str
) -> None:
    with pytest.raises(SettingsError, match=says):
        load_settings(config=None, overrides=given, environ={})


def test_the_url_may_hold_a_token_and_is_not_shown() -> None:
    given = {"webhook_url": f"https://a.example/{SECRET}", "webhook_secret_file": "s"}
    settings = load_settings(config=None, overrides=given, environ={})
    assert SECRET not in repr(settings)
