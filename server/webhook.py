"""Delivers messages to a webhook: signed, at least once, with growing pauses.

A message is first a row (in `outbox`, written together with what it reports) and then sent, so none
is lost with a process. It may arrive twice, with the same id each time. The signature, HMAC-SHA256
of `timestamp.body` with the shared secret, tells a receiver that we sent it, and when. The secret,
and credentials in the url, are in no log line and no row.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import random
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
import structlog

from server.erpnext.address import tls_context
from server.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from pydantic import SecretStr

    from server.store.outbox import Message, Outbox

_log = structlog.get_logger(__name__)

POLL_SECONDS = 2.0
# A claim lasts longer than delivering a whole batch can take.
_BATCH = 10
_TIMEOUT_SECONDS = 10.0
_HOLD = timedelta(seconds=(_BATCH + 2) * _TIMEOUT_SECONDS)
# Tries follow after 5 s, 10 s, 20 s, …, at most an hour; for thirty days.
_FIRST_PAUSE_SECONDS = 5.0
_LONGEST_PAUSE_SECONDS = 3600.0
# No message is put off for longer than a pause and a claim together.
_LONGEST = timedelta(seconds=_LONGEST_PAUSE_SECONDS) + _HOLD
_KEPT = timedelta(days=30)
# Rarely, because it reads all messages: no index has the delivered ones.
_FORGET_SECONDS = 3600.0
# Not at once: by the clock of a host that is a month ahead, and not corrected yet, all is old.
_FIRST_FORGETTING_SECONDS = 60.0
# The pause is at its longest by then, and 2 to the power of a thousand or so overflows a float.
_MOST_DOUBLINGS = 20
_OK = range(200, 300)

ID_HEADER = "Provisioner-Delivery"
KIND_HEADER = "Provisioner-Event"
TIME_HEADER = "Provisioner-Timestamp"
SIGNATURE_HEADER = "Provisioner-Signature"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookTarget:
    """Where messages go, and the secret they are signed with.

    Attributes:
        url: May hold credentials; never shown.
        secret: Shared with the receiver.
    """

    url: str
    secret: SecretStr


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """Return the value of the signature header; a receiver computes the same and compares.

    It is HMAC-SHA256 (RFC 2104) in hexadecimal, after "v1=".

    Args:
        secret: The shared secret.
        timestamp: The time header's value: seconds since 1970, as text.
        body: The body exactly as it is sent.
    """
    signed = timestamp.encode() + b"." + body
    return "v1=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


class Courier:
    """Sends what waits in one store's outbox, until it is stopped."""

    def __init__(
        self,
        outbox: Outbox,
        target: WebhookTarget,
        *,
        now: Callable[[], datetime],
        poll_seconds: float = POLL_SECONDS,
        first_pause_seconds: float = _FIRST_PAUSE_SECONDS,
        timeout_seconds: float = _TIMEOUT_SECONDS,
        first_forgetting_seconds: float = _FIRST_FORGETTING_SECONDS,
    ) -> None:
        """Take what to send, and where.

        Args:
            outbox: The messages.
            target: The webhook.
            now: The clock.
            poll_seconds: The time from one look for messages to the next.
            first_pause_seconds: The pause after the first failure; it doubles with each.
            timeout_seconds: The time limit for a whole delivery.
            first_forgetting_seconds: The time from the start to the first look for old messages.
        """
        self._outbox = outbox
        self._target = target
        self._now = now
        self._poll_seconds = poll_seconds
        self._first_pause_seconds = first_pause_seconds
        self._timeout_seconds = timeout_seconds
        self._first_forgetting_seconds = first_forgetting_seconds
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start looking for messages; needs a running event loop."""
        self._task = asyncio.create_task(self._run(), name="webhook")

    async def stop(self) -> None:
        """Stop; the next courier sends again what was being sent."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def deliver_due(self) -> int:
        """Send what is due now; return how many messages arrived.

        Raises:
            StoreUnavailable: the outbox can't be read or written.
        """
        messages = await self._claim()
        if not messages:
            return 0
        # Made anew each time, because an operator may have replaced the trusted certificates; in a
        # thread, because it takes as long as fifty calls.
        try:
            context = await asyncio.to_thread(tls_context, self._target.url)
        except OSError as error:
            # The error names files, never the url. The claimed messages are put off, because under
            # a claim they would come two minutes late, and the next look would claim others in
            # vain.
            await self._put_all_off(messages, f"the certificates to trust can't be read: {error}")
            return 0
        arrived = 0
        # No redirects: they would take a signed message to anybody they name.
        async with httpx.AsyncClient(
            timeout=self._timeout_seconds, follow_redirects=False, verify=context
        ) as client:
            while messages:
                taken = [await self._deliver(client, message) for message in messages]
                arrived += sum(taken)
                if not any(taken):
                    break  # nothing is accepted: the other messages wait for the next look
                messages = await self._claim()
        return arrived

    async def forget_old(self) -> None:
        """Delete what arrived long ago, and give up what was not accepted for that long.

        Raises:
            StoreUnavailable: the outbox can't be written.
        """
        before = self._now() - _KEPT
        after: str | None = ""
        while after is not None:
            page = await self._outbox.forget(before, after=after)
            for message_id, error in page.given_up:
                # What it reported is still in `findings`.
                _log.warning("webhook.given_up", delivery=message_id, error=error)
            after = page.after

    async def _claim(self) -> Sequence[Message]:
        return await self._outbox.claim(self._now(), hold=_HOLD, longest=_LONGEST, limit=_BATCH)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        next_forgetting = loop.time() + self._first_forgetting_seconds
        while True:
            try:
                await self.deliver_due()
                if loop.time() >= next_forgetting:
                    await self.forget_old()
                    next_forgetting = loop.time() + _FORGET_SECONDS
            except StoreUnavailable as error:
                _log.warning("webhook.store_unavailable", error=error.message)
            except Exception:  # noqa: BLE001 - nobody would send any more; recorded
                _log.exception("webhook.bug")
            await asyncio.sleep(self._poll_seconds)

    async def _deliver(self, client: httpx.AsyncClient, message: Message) -> bool:
        try:
            error = await self._send(client, message)
        except (AttributeError, TypeError, ValueError) as damaged:
            # Its row does not hold a message; those after it are sent all the same.
            error = f"its row in outbox is damaged ({type(damaged).__name__})"
        if error:
            await self._put_off(message, error)
            return False
        await self._outbox.delivered(message.id, self._now())
        return True

    async def _put_all_off(self, messages: Sequence[Message], error: str) -> None:
        for message in messages:
            await self._put_off(message, error)

    async def _put_off(self, message: Message, error: str) -> None:
        """Record why a message did not arrive, and make it due again after its pause."""
        pause = min(
            self._first_pause_seconds * 2.0 ** min(message.tries - 1, _MOST_DOUBLINGS),
            _LONGEST_PAUSE_SECONDS,
        )
        # Half of it is jitter, so that many messages are not sent again at once.
        pause *= 0.5 + random.random() / 2  # noqa: S311 - jitter, no secret
        due_at = self._now() + timedelta(seconds=pause)
        await self._outbox.failed(message.id, due_at=due_at, error=error)
        _log.warning(
            "webhook.not_delivered",
            delivery=message.id,
            kind=message.kind,
            tries=message.tries,
            error=error,
            again_in_seconds=round(pause, 1),
        )

    async def _send(self, client: httpx.AsyncClient, message: Message) -> str:
        """Send one message; return why it did not arrive, "" if it did."""
        body = message.body.encode()
        timestamp = str(int(self._now().timestamp()))
        secret = self._target.secret.get_secret_value()
        headers = {
            "Content-Type": "application/json",
            ID_HEADER: message.id,
            KIND_HEADER: message.kind,
            TIME_HEADER: timestamp,
            SIGNATURE_HEADER: signature(secret, timestamp, body),
        }
        try:
            # The client's own time limit is for each read: an answer that comes a byte at a time
            # would hold up all messages, and outlast the claim. Nobody needs its body, so it is
            # not read.
            async with (
                asyncio.timeout(self._timeout_seconds),
                client.stream("POST", self._target.url, content=body, headers=headers) as answer,
            ):
                status = answer.status_code
        except (httpx.HTTPError, TimeoutError) as error:
            # The error's text may contain the url, and that a token.
            host = urlsplit(self._target.url).hostname
            return f"{type(error).__name__} at {host}"
        return "" if status in _OK else f"answered {status}"
