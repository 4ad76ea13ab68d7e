"""The client for programs without an event loop: the same methods, but each waits for its answer.

A thin wrapper around `ProvisionerClient` that runs each call on an event loop of its own. Do not
use it inside a running loop, nor from several threads at once: open one per thread.

    with BlockingClient("127.0.0.1:50051") as client:
        status = client.start_provisioning(TenantSpec(company_name="Acme Ltd"))
        for entry in client.stream_logs(status.tenant_id, follow=True):
            print(entry.message)
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec, Protocol, Self, TypeVar

from clients.sdk.client import (
    DEFAULT_ADDRESS,
    DEFAULT_TIMEOUT_SECONDS,
    ProvisionerClient,
    not_open,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
    from types import TracebackType
    from typing import Any

    from clients.sdk.channel import Tls

P = ParamSpec("P")
Answer = TypeVar("Answer")
Item_co = TypeVar("Item_co", covariant=True)
# Marks the end of a stream: StopAsyncIteration would not get through the loop.
_END = object()


class _Stream(Protocol[Item_co]):
    """What the client's streams have in common."""

    def __aiter__(self) -> AsyncIterator[Item_co]: ...

    async def aclose(self) -> None: ...


def _waits(
    method: Callable[Concatenate[ProvisionerClient, P], Coroutine[Any, Any, Answer]],
) -> Callable[Concatenate[BlockingClient, P], Answer]:
    """Turn an async method of the client into one that waits for its answer."""

    @wraps(method)
    def call(self: BlockingClient, /, *args: P.args, **kwargs: P.kwargs) -> Answer:
        # Checked before the runner makes a loop that nobody would close.
        if not self._client.is_open:
            raise not_open()
        return self._runner.run(method(self._client, *args, **kwargs))

    return call


def _iterates(
    method: Callable[Concatenate[ProvisionerClient, P], _Stream[Item_co]],
) -> Callable[Concatenate[BlockingClient, P], Iterator[Item_co]]:
    """Turn a stream of the client into a plain iterator; leaving its loop early closes it."""

    @wraps(method)
    def call(self: BlockingClient, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[Item_co]:
        if not self._client.is_open:
            raise not_open()
        with self._open(method(self._client, *args, **kwargs)) as stream:
            items = stream.__aiter__()
            while True:
                item = self._runner.run(_next(items))
                if item is _END:
                    return
                yield item  # type: ignore[misc]  # not the end, so an item

    return call


class BlockingClient:
    """A connection to the service, used as a context manager, in one thread.

    Every method raises `clients.sdk.errors.ProvisionerError` or one of its subclasses, and
    RuntimeError outside the context manager.
    """

    start_provisioning = _waits(ProvisionerClient.start_provisioning)
    get_status = _waits(ProvisionerClient.get_status)
    list_tenants = _waits(ProvisionerClient.list_tenants)
    continue_ = _waits(ProvisionerClient.continue_)
    retry = _waits(ProvisionerClient.retry)
    skip_step = _waits(ProvisionerClient.skip_step)
    cancel = _waits(ProvisionerClient.cancel)
    deprovision = _waits(ProvisionerClient.deprovision)
    adopt_company = _waits(ProvisionerClient.adopt_company)
    release = _waits(ProvisionerClient.release)
    diagnose = _waits(ProvisionerClient.diagnose)
    plan = _waits(ProvisionerClient.plan)
    verify = _waits(ProvisionerClient.verify)
    sign_in = _waits(ProvisionerClient.sign_in)
    get_caller = _waits(ProvisionerClient.get_caller)
    accept_site = _waits(ProvisionerClient.accept_site)
    sweep = _waits(ProvisionerClient.sweep)
    list_sweeps = _waits(ProvisionerClient.list_sweeps)
    list_findings = _waits(ProvisionerClient.list_findings)
    list_engines = _waits(ProvisionerClient.list_engines)
    healing_report = _waits(ProvisionerClient.healing_report)
    carry_out = _waits(ProvisionerClient.carry_out)
    tenants = _iterates(ProvisionerClient.tenants)
    watch_status = _iterates(ProvisionerClient.watch_status)
    stream_logs = _iterates(ProvisionerClient.stream_logs)

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        token: str = "",
        tls: Tls | None = None,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
    ) -> None:
        """Name the service to talk to; no connection is opened yet.

        Args:
            address: `host:port`, or any gRPC target.
            token: A user's access token or a machine's key; "" for none.
            tls: Whom to trust, if TLS is to be spoken; None for plain text.
            timeout_seconds: The longest a call may take, including its repetitions; at most a
                day.

        Raises:
            ValueError: `timeout_seconds` is not a time that a call can have.
        """
        self._client = ProvisionerClient(
            address, token=token, tls=tls, timeout_seconds=timeout_seconds
        )
        self._runner = asyncio.Runner()

    @classmethod
    def of(cls, client: ProvisionerClient) -> Self:
        """Wrap a client that was made with further options and is not open yet.

        From then on it belongs to the wrapper, which opens and closes it.
        """
        made = cls(client.address)
        made._client = client
        return made

    def __enter__(self) -> Self:
        self._runner.__enter__()
        self._runner.run(self._client.__aenter__())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._runner.run(self._client.__aexit__(kind, error, trace))
        self._runner.close()

    @contextmanager
    def _open(self, stream: _Stream[Item_co]) -> Iterator[_Stream[Item_co]]:
        try:
            yield stream
        finally:
            self._runner.run(stream.aclose())


async def _next(items: AsyncIterator[object]) -> object:
    return await anext(items, _END)
