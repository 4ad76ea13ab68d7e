"""Orders and statuses over a real connection."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc.aio
import pytest
from structlog.testing import capture_logs

from clients.sdk import ProvisionerClient, Unreachable
from provisioner.v1 import provisioning_pb2 as pb
from provisioner.v1 import tenant_pb2
from provisioner.v1.tenant_pb2 import TenantSpec
from server.errors import StoreUnavailable
from server.rpc import answering, by_token
from tests.server.access.rooms import opened
from tests.server.rpc.failing import failure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.server.rpc.conftest import Rig

TENANT = "01900000-0000-7000-8000-000000000001"
METHOD = "/provisioner.v1.ProvisioningService/"


async def test_start_registers_a_tenant_and_answers_with_its_whole_status(rig: Rig) -> None:
    status = await rig.start("Acme", tenant_id=TENANT)
    assert status.tenant_id == TENANT
    assert status.run_id
    assert status.revision == 1
    assert status.state == tenant_pb2.TENANT_STATE_IN_PROGRESS
    assert (status.current_step, status.steps_completed, status.total_steps) == (
        "step_0_noop",
        0,
        10,
    )
    assert [(step.key, step.title, step.required) for step in status.steps][:2] == [
        ("step_0_noop", "No-op 0", True),
        ("step_1_noop", "No-op 1", True),
    ]
    assert {step.state for step in status.steps} == {tenant_pb2.STEP_STATE_PENDING}
    assert status.waiting_for.code == "WORKER"
    assert not status.waiting_for.HasField("until")
    assert not status.errors
    assert not status.HasField("hold")
    assert not status.HasField("started_at")
    assert not status.HasField("estimated_completion_at")
    assert (status.spec.country_code, status.spec.currency) == ("KE", "KES")
    assert status.spec.pos_store_enabled
    assert not status.spec.HasField("till_user")
    assert list(status.spec.payment_methods) == ["Cash", "M-Pesa"]
    seen = await rig.stub.GetStatus(pb.GetStatusRequest(tenant_id=TENANT.upper()))
    assert seen.status == status


async def test_a_field_that_is_not_sent_gets_its_default_and_one_that_is_sent_stays(
    rig: Rig,
) -> None:
    answer = await rig.stub.StartProvisioning(
        pb.StartProvisioningRequest(
            spec=TenantSpec(
                company_name="Acme", pos_store_enabled=False, country_code="ug", opening_amount=0
            )
        )
    )
    assert not answer.status.spec.pos_store_enabled
    assert (answer.status.spec.country_code, answer.status.spec.currency) == ("UG", "UGX")


async def test_a_repeated_order_is_the_same_order(rig: Rig) -> None:
    first = await rig.start("Acme", request_id="order-1")
    counts = rig.row_counts()
    again = await rig.start("Acme", request_id="order-1")
    assert again == first
    assert rig.row_counts() == counts


async def test_a_request_id_used_for_another_order_is_refused_and_writes_nothing(
    rig: Rig,
) -> None:
    await rig.start("Acme", request_id="order-1")
    counts = rig.row_counts()
    failed = await failure(rig.start("Other", request_id="order-1"))
    assert failed.code is grpc.StatusCode.INVALID_ARGUMENT
    assert (failed.reason, failed.domain) == ("REQUEST_ID_REUSED", "provisioner")
    assert failed.fields == ("request_id",)
    assert rig.row_counts() == counts


def start(**fields: object) -> Callable[[Rig], Awaitable[object]]:
    return lambda rig: rig.stub.StartProvisioning(pb.StartProvisioningRequest(**fields))  # type: ignore[arg-type]  # a table


def started(**fields: object) -> Callable[[Rig], Awaitable[object]]:
    return start(spec=TenantSpec(**({"company_name": "New"} | fields)))  # type: ignore[arg-type]  # a table


BAD = [
    pytest.param(start(), "spec", id="no spec"),
    pytest.param(start(spec=TenantSpec()), "spec.company_name", id="no name"),
    pytest.param(started(company_name="a<b"), "spec.company_name", id="name"),
    pytest.param(started(company_name="x" * 128), "spec.company_name", id="long name"),
    pytest.param(started(country_code="XX"), "spec.country_code", id="country"),
    pytest.param(started(currency="ABC"), "spec.currency", id="currency"),
    pytest.param(started(chart_template="\0"), "spec.chart_template", id="chart"),
    pytest.param(started(till_user="nobody"), "spec.till_user", id="till user"),
    pytest.param(started(engine_id="other"), "spec.engine_id", id="engine"),
    pytest.param(started(payment_methods=["Cash", "Cash"]), "spec.payment_methods", id="pay"),
    pytest.param(started(opening_amount=-1.0), "spec.opening_amount", id="negative"),
    pytest.param(started(opening_amount=float("nan")), "spec.opening_amount", id="nan"),
    pytest.param(
        start(spec=TenantSpec(company_name="New"), tenant_id="1"), "tenant_id", id="no UUID"
    ),
    pytest.param(
        start(spec=TenantSpec(company_name="New"), request_id="\n"), "request_id", id="request"
    ),
    pytest.param(
        lambda rig: rig.stub.GetStatus(pb.GetStatusRequest(tenant_id="acme")), "tenant_id", id="get"
    ),
    pytest.param(
        lambda rig: rig.stub.Continue(pb.ContinueRequest(tenant_id=TENANT, expected_revision=0)),
        "expected_revision",
        id="revision",
    ),
    pytest.param(
        lambda rig: rig.stub.Retry(pb.RetryRequest(tenant_id=TENANT, reason="x" * 501)),
        "reason",
        id="reason",
    ),
    pytest.param(
        lambda rig: rig.stub.Retry(pb.RetryRequest(tenant_id=TENANT, step_key="step_99")),
        "step_key",
        id="step",
    ),
]


@pytest.mark.parametrize(("call", "field"), BAD)
async def test_a_wrong_field_is_named_and_nothing_is_written(
    rig: Rig, call: Callable[[Rig], Awaitable[object]], field: str
) -> None:
    await rig.start("Acme", tenant_id=TENANT)
    counts = rig.row_counts()
    failed = await failure(call(rig))
    assert failed.code is grpc.StatusCode.INVALID_ARGUMENT
    assert failed.fields == (field,)
    assert failed.reason == "INVALID_INPUT"
    assert failed.retry_seconds is None
    assert rig.row_counts() == counts


async def test_every_wrong_field_of_a_request_is_named_at_once(rig: Rig) -> None:
    failed = await failure(
        rig.stub.StartProvisioning(
            pb.StartProvisioningRequest(
                tenant_id="x", request_id="\t", spec=TenantSpec(country_code="é" * 3000)
            )
        )
    )
    assert set(failed.fields) == {
        "spec.company_name",
        "spec.country_code",
        "tenant_id",
        "request_id",
    }


async def test_what_does_not_fit_the_tenants_state_has_a_code_of_its_own(rig: Rig) -> None:
    await rig.start("Acme", tenant_id=TENANT)
    counts = rig.row_counts()
    other = "01900000-0000-7000-8000-000000000002"
    expected: dict[grpc.StatusCode, Awaitable[object]] = {
        grpc.StatusCode.NOT_FOUND: rig.stub.GetStatus(pb.GetStatusRequest(tenant_id=other)),
        grpc.StatusCode.ALREADY_EXISTS: rig.start("ácme"),
        grpc.StatusCode.FAILED_PRECONDITION: rig.stub.Continue(
            pb.ContinueRequest(tenant_id=TENANT)
        ),
        grpc.StatusCode.ABORTED: rig.stub.Retry(
            pb.RetryRequest(tenant_id=TENANT, expected_revision=7)
        ),
    }
    reasons = {}
    for code, call in expected.items():
        failed = await failure(call)
        assert failed.code is code
        assert failed.message
        reasons[code.name] = failed.reason
    assert reasons == {
        "NOT_FOUND": "TENANT_NOT_FOUND",
        "ALREADY_EXISTS": "COMPANY_NAME_TAKEN",
        "FAILED_PRECONDITION": "TENANT_IN_MOTION",
        "ABORTED": "REVISION_CHANGED",
    }
    assert rig.row_counts() == counts


async def test_what_an_order_would_do_is_told_of_the_revision_it_judged_only(rig: Rig) -> None:
    started = await rig.start("Acme")
    foreseen: dict[str, Any] = {
        "tenant_id": started.tenant_id,
        "validate_only": True,
        "expected_revision": started.revision + 1,
    }
    for call in (
        rig.stub.Deprovision(pb.DeprovisionRequest(**foreseen)),
        rig.stub.AdoptCompany(pb.AdoptCompanyRequest(**foreseen)),
        rig.stub.Release(pb.ReleaseRequest(**foreseen)),
    ):
        told = await failure(call)
        assert (told.code, told.reason) == (grpc.StatusCode.ABORTED, "REVISION_CHANGED")
    foreseen["expected_revision"] = started.revision
    shown = await rig.stub.Deprovision(pb.DeprovisionRequest(**foreseen))
    assert shown.status.revision == started.revision


async def test_continue_answers_with_the_status_after_it(rig: Rig) -> None:
    first = await rig.start("Acme", tenant_id=TENANT)
    rig.damage("UPDATE runs SET state = 'FAILED'")
    rig.damage("UPDATE tenants SET state = 'FAILED', hold_reason = 'why', hold_by = 'run'")
    stopped = (await rig.stub.GetStatus(pb.GetStatusRequest(tenant_id=TENANT))).status
    assert stopped.state == tenant_pb2.TENANT_STATE_FAILED
    assert stopped.hold.by == "run"
    assert stopped.errors
    assert stopped.next_command == f"provisioner continue {TENANT}"
    driven = await rig.stub.Continue(
        pb.ContinueRequest(tenant_id=TENANT, expected_revision=stopped.revision, reason="mended")
    )
    assert driven.status.state == tenant_pb2.TENANT_STATE_IN_PROGRESS
    assert driven.status.run_id != first.run_id
    assert driven.status.revision > stopped.revision
    assert not driven.status.HasField("hold")


async def test_retry_opens_a_run_that_looks_at_every_step_again(rig: Rig) -> None:
    first = await rig.start("Acme", tenant_id=TENANT)
    rig.damage("UPDATE runs SET state = 'COMPLETED'")
    rig.damage("UPDATE steps SET state = 'COMPLETED'")
    again = (await rig.stub.Retry(pb.RetryRequest(tenant_id=TENANT))).status
    assert again.run_id != first.run_id
    assert again.steps_completed == 0


async def test_a_record_damaged_by_hand_is_answered_not_an_internal_error(rig: Rig) -> None:
    await rig.start("Acme", tenant_id=TENANT)
    rig.damage("DELETE FROM steps WHERE position > 3")
    rig.damage("UPDATE steps SET state = 'BROKEN', tries = 99999999999")
    rig.damage("UPDATE runs SET state = 'PARTIAL'")
    rig.damage("UPDATE tenants SET state = 'NONSENSE', spec = ?", '{"company_name": "\\ud800"}')
    status = (await rig.stub.GetStatus(pb.GetStatusRequest(tenant_id=TENANT))).status
    assert status.state == tenant_pb2.TENANT_STATE_PARTIAL
    assert [error.code for error in status.errors] == ["STEP_RECORD_LOST"]
    assert status.total_steps == 10
    assert status.spec.company_name == "\N{REPLACEMENT CHARACTER}"
    assert status.next_command == f"provisioner diagnose {TENANT}"


async def raw(rig: Rig, method: str, body: bytes) -> object:
    channel: Any = rig.channel  # typed by its serializers, of which a raw call has none
    return await channel.unary_unary(METHOD + method)(body)


@pytest.mark.parametrize("body", [b"\x0a\x02\xff\xfe", b"\xff\xff\xff", b"\x0a\xff"])
@pytest.mark.parametrize("method", ["StartProvisioning", "GetStatus", "Continue", "Retry"])
async def test_bytes_that_are_no_message_are_an_invalid_argument(
    rig: Rig, method: str, body: bytes
) -> None:
    failed = await failure(raw(rig, method, body))
    assert failed.code is grpc.StatusCode.INVALID_ARGUMENT
    assert failed.reason == "MALFORMED_MESSAGE"


async def test_a_message_beyond_the_limit_is_refused_and_the_next_one_is_answered(
    rig: Rig,
) -> None:
    failed = await failure(rig.start("x" * 2_000_000))
    assert failed.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    failed = await failure(rig.start("\u00e9" * 500_000))  # just within
    assert failed.code is grpc.StatusCode.INVALID_ARGUMENT
    assert (await rig.start("Acme")).tenant_id


async def test_a_store_that_does_not_answer_is_unavailable_with_a_pause(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_answer(*_: object) -> None:
        raise StoreUnavailable("The database can't be read now: disk I/O error")

    monkeypatch.setattr(rig.database.glances, "mark", no_answer)
    failed = await failure(rig.stub.GetStatus(pb.GetStatusRequest(tenant_id=TENANT)))
    assert failed.code is grpc.StatusCode.UNAVAILABLE
    assert (failed.reason, failed.retry_seconds) == ("STORE_UNAVAILABLE", 1.0)


async def test_a_bug_is_internal_logged_once_and_tells_the_caller_nothing_of_itself(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise ValueError("api_key=hunter2")

    monkeypatch.setattr(rig.database.glances, "mark", broken)
    with capture_logs() as logged:
        failed = await failure(rig.stub.GetStatus(pb.GetStatusRequest(tenant_id=TENANT)))
    assert failed.code is grpc.StatusCode.INTERNAL
    assert failed.reason == "INTERNAL"
    assert "hunter2" not in failed.message
    assert [(entry["event"], entry["method"]) for entry in logged] == [("rpc.failed", "GetStatus")]


async def test_a_caller_who_did_not_sign_in_is_told_the_remedy_and_changes_nothing(
    unserved: Rig,
) -> None:
    access = await opened(unserved.database, unserved.file)
    await unserved.serve(identify=by_token(access.authenticator))
    counts = unserved.row_counts()
    failed = await failure(unserved.start("Acme"))
    assert failed.code is grpc.StatusCode.UNAUTHENTICATED
    assert failed.reason == "NOT_SIGNED_IN"
    assert "provisioner login" in failed.message
    assert unserved.row_counts() == counts
    await unserved.close()


async def test_a_call_whose_deadline_is_over_begins_nothing(rig: Rig) -> None:
    class Late:
        """A call's context at the moment its deadline is over, before gRPC cancels it."""

        code: grpc.StatusCode

        def time_remaining(self) -> float:
            return 0.0

        async def abort(self, code: grpc.StatusCode, *_: object, **__: object) -> None:
            self.code = code
            raise grpc.aio.AbortError

    counts, context = rig.row_counts(), Late()
    request = pb.StartProvisioningRequest(spec=TenantSpec(company_name="Acme"))
    with pytest.raises(grpc.aio.AbortError):
        await rig.service.StartProvisioning(request, context)  # type: ignore[arg-type]  # a stand-in
    assert context.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert rig.row_counts() == counts


@pytest.mark.parametrize(
    ("began_with", "left", "has_time"),
    [
        (10.0, 9.99, True),
        (10.0, 7.0, True),
        (10.0, 6.0, True),
        # It took four: after gRPC's pause there is no time for four more.
        (9.0, 5.0, False),
        (4.5, 0.5, False),
        (0.5, 0.499, True),
        (None, None, True),
    ],
)
async def test_a_call_that_took_long_is_repeated_only_if_there_is_the_time(
    began_with: float | None, left: float | None, has_time: bool
) -> None:
    class Asked:
        def time_remaining(self) -> float | None:
            return left

    assert answering._has_time(Asked(), began_with) is has_time  # type: ignore[arg-type]  # a stand-in


@pytest.mark.parametrize(("has_time", "tries"), [(True, 4), (False, 1)])
async def test_who_has_no_time_to_be_told_so_again_hears_why_and_not_that_his_time_is_over(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, has_time: bool, tries: int
) -> None:
    """Behind a locked table each of gRPC's tries waits for seconds."""

    async def locked(*_: object, **__: object) -> None:
        raise StoreUnavailable("Another transaction holds a lock.")

    monkeypatch.setattr(rig.commands, "start", locked)
    monkeypatch.setattr(answering, "_has_time", lambda *_: has_time)
    before = rig.service.calls["StartProvisioning", "UNAVAILABLE"]
    async with ProvisionerClient(f"127.0.0.1:{rig.server.port}") as client:
        with pytest.raises(Unreachable, match="holds a lock") as told:
            await client.start_provisioning(TenantSpec(company_name="Acme"))
    assert told.value.reason == "STORE_UNAVAILABLE"
    assert rig.service.calls["StartProvisioning", "UNAVAILABLE"] == before + tries


async def test_an_order_is_carried_out_though_its_caller_left(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitted, written = asyncio.Event(), asyncio.Event()
    go_on = asyncio.Event()
    commit = rig.database._writer._commit

    async def slow(batch: object) -> object:
        submitted.set()
        await go_on.wait()
        outcomes = await commit(batch)  # type: ignore[arg-type]  # passed on as it came
        written.set()
        return outcomes

    monkeypatch.setattr(rig.database._writer, "_commit", slow)
    call = rig.stub.StartProvisioning(
        pb.StartProvisioningRequest(tenant_id=TENANT, spec=TenantSpec(company_name="Acme"))
    )
    await asyncio.wait_for(submitted.wait(), 10)
    call.cancel()
    go_on.set()
    await asyncio.wait_for(written.wait(), 10)
    status = (await rig.stub.GetStatus(pb.GetStatusRequest(tenant_id=TENANT))).status
    assert status.state == tenant_pb2.TENANT_STATE_IN_PROGRESS


async def test_a_step_that_a_cancelled_run_broke_off_is_not_under_way(rig: Rig) -> None:
    """Begun, and between two tries: the run that it belongs to goes on no more."""
    await rig.start("Acme", tenant_id=TENANT)
    begun = "UPDATE steps SET state = 'RUNNING', started_at = ? WHERE key = 'step_0_noop'"
    rig.damage(begun, "2026-11-24 12:00:00.000000+00:00")
    answer = await rig.stub.Cancel(pb.CancelRequest(tenant_id=TENANT))
    assert answer.status.state == tenant_pb2.TENANT_STATE_CANCELLED
    assert {step.state for step in answer.status.steps} == {tenant_pb2.STEP_STATE_PENDING}
    assert not any(step.HasField("started_at") for step in answer.status.steps)
