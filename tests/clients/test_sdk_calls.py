"""What the client promises about orders: repeated as one order, and errors in full."""

from __future__ import annotations

import asyncio
from collections import deque

import grpc
import pytest

from clients.sdk import (
    AlreadyExists,
    BlockingClient,
    Conflict,
    CursorOutOfRange,
    CursorTooOld,
    FailedPrecondition,
    FieldViolation,
    InvalidArgument,
    LogStream,
    NotAllowed,
    NotFound,
    PermissionDenied,
    ProvisionerClient,
    ProvisionerError,
    RevisionChanged,
    Unauthenticated,
    Unreachable,
)
from provisioner.v1.diagnosis_pb2 import Remedy
from provisioner.v1.tenant_pb2 import TenantSpec
from tests.clients import builders
from tests.clients.fake_service import FakeService, Fault, Hang, Serving
from tests.support.waiting import until

UNAVAILABLE = Fault(code=grpc.StatusCode.UNAVAILABLE)
# How gRPC ends a call that a service which is being stopped had not taken up yet.
STOPPED = Fault(code=grpc.StatusCode.CANCELLED)
SPEC = TenantSpec(company_name="Acme Ltd", pos_store_enabled=False, payment_methods=["Cash"])


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf"), 1e300])
def test_a_time_that_no_call_can_have_is_not_told_of_as_a_service_that_is_away(
    seconds: float,
) -> None:
    with pytest.raises(ValueError, match="timeout_seconds"):
        ProvisionerClient(timeout_seconds=seconds)


async def _all_of(stream: LogStream) -> None:
    async with stream as entries:
        async for _ in entries:
            pass


async def test_a_client_that_is_not_open_says_how_to_open_it(server: Serving) -> None:
    client = ProvisionerClient(server.address)

    async def each_is_told() -> None:
        for call in (
            client.get_status(builders.TENANT),
            client.list_engines(),
            client.get_caller(),
            _all_of(client.stream_logs(builders.TENANT)),
        ):
            with pytest.raises(RuntimeError, match="async with ProvisionerClient"):
                await call

    await each_is_told()
    async with client:
        # An inner block would close it for the outer one.
        with pytest.raises(RuntimeError, match="open already"):
            await client.__aenter__()
        await client.list_tenants()
    await each_is_told()
    async with client:
        await client.list_tenants()


def test_a_blocking_client_that_is_not_open_says_how_to_open_it(server: Serving) -> None:
    client = BlockingClient(server.address)
    with pytest.raises(RuntimeError, match="`with` for a BlockingClient"):
        client.get_status(builders.TENANT)
    with pytest.raises(RuntimeError, match="`with` for a BlockingClient"):
        next(client.stream_logs(builders.TENANT))


async def test_start_sends_the_spec_as_it_is_and_gives_the_status(
    client: ProvisionerClient, service: FakeService
) -> None:
    service.statuses = deque([builders.status(0)])
    status = await client.start_provisioning(SPEC, tenant_id=builders.TENANT, request_id="mine")
    assert status == builders.status(0)
    (request,) = service.requests["StartProvisioning"]
    assert request.spec == SPEC
    assert not request.spec.HasField("currency")
    assert (request.tenant_id, request.request_id) == (builders.TENANT, "mine")


async def test_a_start_without_a_tenant_id_leaves_it_to_the_service(
    client: ProvisionerClient, service: FakeService
) -> None:
    await client.start_provisioning(SPEC)
    assert not service.requests["StartProvisioning"][0].HasField("tenant_id")


async def test_continue_and_retry_send_what_they_were_given(
    client: ProvisionerClient, service: FakeService
) -> None:
    await client.continue_("a", reason="because", expected_revision=0, request_id="c")
    await client.retry("b", step_key="step_2_company", request_id="r")
    (order,) = service.requests["Continue"]
    assert (order.tenant_id, order.reason, order.request_id) == ("a", "because", "c")
    assert order.HasField("expected_revision")
    (again,) = service.requests["Retry"]
    assert (again.tenant_id, again.step_key, again.request_id) == ("b", "step_2_company", "r")
    assert not again.HasField("expected_revision")


@pytest.mark.parametrize(
    ("remedy", "said"),
    [
        (
            Remedy(
                call="provisioner.v1.FleetService/AcceptSite",
                request='{"engine_id": "main"}',
                command="provisioner accept-site main",
            ),
            "remedy out: provisioner accept-site main",
        ),
        (Remedy(says="Mend the engines file."), "Mend the engines file."),
    ],
)
async def test_a_remedy_that_no_order_to_a_tenant_carries_out_is_told_in_words(
    client: ProvisionerClient, service: FakeService, remedy: Remedy, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        await client.carry_out(remedy)
    assert not service.requests


async def test_each_order_gets_a_request_id_of_its_own(
    client: ProvisionerClient, service: FakeService
) -> None:
    await client.continue_("a")
    await client.continue_("a")
    first, second = (request.request_id for request in service.requests["Continue"])
    assert first
    assert second
    assert first != second


@pytest.mark.parametrize("away", [UNAVAILABLE, STOPPED])
async def test_an_order_repeated_after_an_outage_keeps_its_request_id(
    client: ProvisionerClient, service: FakeService, away: Fault
) -> None:
    service.faults["StartProvisioning"].extend([away] * 3)
    await client.start_provisioning(SPEC)
    requests = service.requests["StartProvisioning"]
    assert len(requests) == 4
    assert len({request.request_id for request in requests}) == 1


async def test_an_order_is_given_up_after_four_tries(
    client: ProvisionerClient, service: FakeService
) -> None:
    service.faults["Continue"].extend([UNAVAILABLE] * 5)
    with pytest.raises(Unreachable):
        await client.continue_("a")
    assert len(service.requests["Continue"]) == 4


async def test_a_service_that_is_stopped_before_it_answers_is_unreachable(
    client: ProvisionerClient, service: FakeService
) -> None:
    """Not a refusal: the order may have been carried out, and is to be given again."""
    service.faults["Continue"].extend([STOPPED] * 4)
    with pytest.raises(Unreachable, match="stopped before it answered") as caught:
        await client.continue_("a")
    assert caught.value.code == "CANCELLED"


async def test_a_call_that_its_caller_cancels_is_neither_repeated_nor_an_outage(
    client: ProvisionerClient, service: FakeService
) -> None:
    service.faults["Continue"].append(Hang())
    order = asyncio.create_task(client.continue_("a"))
    await until(lambda: service.requests["Continue"])
    order.cancel()
    with pytest.raises(asyncio.CancelledError):
        await order
    await client.get_status("a")
    assert len(service.requests["Continue"]) == 1


async def test_an_order_that_was_refused_is_not_repeated(
    client: ProvisionerClient, service: FakeService
) -> None:
    service.faults["Continue"].append(Fault(code=grpc.StatusCode.FAILED_PRECONDITION))
    with pytest.raises(FailedPrecondition):
        await client.continue_("a")
    assert len(service.requests["Continue"]) == 1


async def test_a_call_without_an_answer_ends_with_its_deadline(
    server: Serving, service: FakeService
) -> None:
    service.faults["GetStatus"].append(Hang())
    async with ProvisionerClient(server.address, timeout_seconds=0.2) as client:
        with pytest.raises(Unreachable) as caught:
            await client.get_status("a")
    assert caught.value.code == "DEADLINE_EXCEEDED"


async def test_a_service_that_is_not_there_is_unreachable(server: Serving) -> None:
    await server.stop()
    async with ProvisionerClient(server.address) as client:
        with pytest.raises(Unreachable) as caught:
            await client.get_status("a")
    assert caught.value.code == "UNAVAILABLE"
    assert caught.value.reason == ""


@pytest.mark.parametrize(
    ("code", "kind", "parent"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, InvalidArgument, ProvisionerError),
        (grpc.StatusCode.OUT_OF_RANGE, CursorOutOfRange, InvalidArgument),
        (grpc.StatusCode.DATA_LOSS, CursorTooOld, ProvisionerError),
        (grpc.StatusCode.ALREADY_EXISTS, AlreadyExists, Conflict),
        (grpc.StatusCode.FAILED_PRECONDITION, FailedPrecondition, Conflict),
        (grpc.StatusCode.ABORTED, RevisionChanged, Conflict),
        (grpc.StatusCode.NOT_FOUND, NotFound, ProvisionerError),
        (grpc.StatusCode.UNAUTHENTICATED, Unauthenticated, NotAllowed),
        (grpc.StatusCode.PERMISSION_DENIED, PermissionDenied, NotAllowed),
        (grpc.StatusCode.DEADLINE_EXCEEDED, Unreachable, ProvisionerError),
        (grpc.StatusCode.INTERNAL, ProvisionerError, Exception),
        (grpc.StatusCode.UNIMPLEMENTED, ProvisionerError, Exception),
    ],
)
async def test_each_code_of_the_service_has_its_error(
    client: ProvisionerClient,
    service: FakeService,
    code: grpc.StatusCode,
    kind: type[ProvisionerError],
    parent: type[Exception],
) -> None:
    service.faults["GetStatus"].append(Fault(code=code, reason="WHY", message="in plain words"))
    with pytest.raises(kind) as caught:
        await client.get_status("a")
    assert type(caught.value) is kind
    assert isinstance(caught.value, parent)
    assert (caught.value.code, caught.value.reason) == (code.name, "WHY")
    assert caught.value.message == str(caught.value) == "in plain words"


async def test_the_details_of_an_error_arrive_in_full(
    client: ProvisionerClient, service: FakeService
) -> None:
    service.faults["StartProvisioning"].append(
        Fault(
            code=grpc.StatusCode.INVALID_ARGUMENT,
            reason="INVALID_INPUT",
            fields={"spec.country_code": "no such country", "spec.currency": "no such currency"},
            retry_delay_seconds=1.5,
            metadata={"next_command": "provisioner start --help"},
        )
    )
    with pytest.raises(InvalidArgument) as caught:
        await client.start_provisioning(SPEC)
    assert caught.value.field_violations == (
        FieldViolation(field="spec.country_code", description="no such country"),
        FieldViolation(field="spec.currency", description="no such currency"),
    )
    assert caught.value.retry_delay_seconds == 1.5
    assert caught.value.metadata == {"next_command": "provisioner start --help"}


@pytest.mark.parametrize("raw", [b"", b"\xff\xff\xff"])
async def test_an_error_without_readable_details_keeps_its_code_and_message(
    client: ProvisionerClient, service: FakeService, raw: bytes
) -> None:
    service.faults["GetStatus"].append(
        Fault(code=grpc.StatusCode.NOT_FOUND, message="No tenant.", raw_details=raw)
    )
    with pytest.raises(NotFound) as caught:
        await client.get_status("a")
    assert (caught.value.reason, caught.value.message) == ("", "No tenant.")
    assert caught.value.field_violations == ()
    assert caught.value.retry_delay_seconds is None
