"""ListTenants over the wire: pages, tokens, and what is refused."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import TYPE_CHECKING

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from provisioner.v1 import listing_pb2, tenant_pb2
from provisioner.v1 import provisioning_pb2 as pb
from server.model.actor import Actor, Role
from tests.server.rpc.failing import failure

if TYPE_CHECKING:
    from server.rpc.identity import Identify, Introduced
    from tests.server.rpc.conftest import Rig

TENANT = "01900000-0000-7000-8000-000000000001"
NAMES = ("Zebra Foods", "Café Acme", "acme tools")


async def names(rig: Rig, **fields: object) -> list[str]:
    """The companies of all pages."""
    request = pb.ListTenantsRequest(page_size=2, **fields)  # type: ignore[arg-type]  # any field
    found: list[str] = []
    while True:
        page = await rig.stub.ListTenants(request)
        found += [tenant.company_name for tenant in page.tenants]
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


async def test_tenants_are_listed_page_by_page_in_the_order_asked_for(rig: Rig) -> None:
    started = [await rig.start(name) for name in NAMES]
    by_id = [name for _, name in sorted((s.tenant_id, s.spec.company_name) for s in started)]
    # All were made at the same time, so the id decides.
    assert await names(rig) == by_id[::-1]
    assert await names(rig, order_by=listing_pb2.LIST_ORDER_OLDEST) == by_id
    by_name = ["acme tools", "Café Acme", "Zebra Foods"]
    assert await names(rig, order_by=listing_pb2.LIST_ORDER_NAME) == by_name


async def test_a_summary_says_what_a_status_says(rig: Rig) -> None:
    status = await rig.start("Acme")
    (summary,) = (await rig.stub.ListTenants(pb.ListTenantsRequest())).tenants
    for field in (
        "tenant_id",
        "run_id",
        "revision",
        "state",
        "current_step",
        "progress_percent",
        "steps_completed",
        "total_steps",
    ):
        assert getattr(summary, field) == getattr(status, field), field
    assert (summary.company_name, summary.engine_id) == ("Acme", "main")
    assert not summary.HasField("hold")
    assert summary.HasField("unsettled_since")


async def test_filters_are_carried_out_together(rig: Rig) -> None:
    for name in NAMES:
        await rig.start(name)
    done = await rig.start("Acme Done")
    await rig.write(done.tenant_id, "over", rest=True)
    rig.damage("UPDATE tenants SET hold_reason = 'gone' WHERE company_name = 'acme tools'")
    rig.damage("UPDATE tenants SET unsettled_since = NULL WHERE company_name = 'Zebra Foods'")
    in_progress = [tenant_pb2.TENANT_STATE_IN_PROGRESS]
    an_hour = Duration(seconds=3600)
    assert sorted(await names(rig, text="ACMÉ")) == ["Acme Done", "Café Acme", "acme tools"]
    assert sorted(await names(rig, text="acme", states=in_progress)) == ["Café Acme", "acme tools"]
    assert await names(rig, text="acme", states=in_progress, held=False) == ["Café Acme"]
    assert await names(rig, held=True) == ["acme tools"]
    # Nobody knows since when, which is long enough.
    assert await names(rig, stuck_longer_than=an_hour) == ["Zebra Foods"]
    assert await names(rig, engine_id="other") == []
    assert await names(rig, text=done.tenant_id) == ["Acme Done"]
    assert await names(rig, text=done.tenant_id[:20]) == ["Acme Done"]


def called_by(name: str, role: Role) -> Identify:
    async def identify(_context: Introduced) -> Actor:
        return Actor(name=name, role=role)

    return identify


async def test_a_page_token_is_good_for_its_own_list_only(rig: Rig) -> None:
    for name in NAMES:
        await rig.start(name)
    token = (await rig.stub.ListTenants(pb.ListTenantsRequest(page_size=1))).next_page_token
    other = pb.ListTenantsRequest(page_token=token, order_by=listing_pb2.LIST_ORDER_NAME)
    rig.service._identify = called_by("local", Role.VIEWER)
    assert (await rig.stub.ListTenants(pb.ListTenantsRequest(page_token=token))).tenants
    for request in (
        other,
        pb.ListTenantsRequest(page_token=token, text="acme"),
        pb.ListTenantsRequest(page_token=token + "x"),
        pb.ListTenantsRequest(page_token="é"),
        pb.ListTenantsRequest(page_token="bnVsbA"),
        # Deeper than JSON is read.
        pb.ListTenantsRequest(page_token=base64.urlsafe_b64encode(b"[" * 100_000).decode()),
    ):
        refused = await failure(rig.stub.ListTenants(request))
        assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
        assert set(refused.fields) == {"page_token"}
    rig.service._identify = called_by("somebody else", Role.ADMIN)
    refused = await failure(rig.stub.ListTenants(pb.ListTenantsRequest(page_token=token)))
    assert "as the same caller" in refused.message


@pytest.mark.parametrize("time", ["0001-01-01T00:00+23:59", "9999-12-31T23:59-23:59"])
async def test_a_page_token_with_a_time_beyond_the_calendar_is_none_of_ours(
    rig: Rig, time: str
) -> None:
    for name in NAMES:
        await rig.start(name)
    rig.damage("UPDATE tenants SET unsettled_since = '2020-01-01 00:00:00.000000+00:00'")
    request = pb.ListTenantsRequest(page_size=1, stuck_longer_than=Duration(seconds=1))
    token = (await rig.stub.ListTenants(request)).next_page_token
    *place, stuck_before = json.loads(base64.urlsafe_b64decode(f"{token}=="))
    assert stuck_before
    request.page_token = base64.urlsafe_b64encode(json.dumps([*place, time]).encode()).decode()
    refused = await failure(rig.stub.ListTenants(request))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert set(refused.fields) == {"page_token"}


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.ListTenantsRequest(page_size=-1), "page_size"),
        (pb.ListTenantsRequest(text="***"), "text"),
        (pb.ListTenantsRequest(text="a" * 200), "text"),
        (pb.ListTenantsRequest(engine_id="a\x00b"), "engine_id"),
        (pb.ListTenantsRequest(states=[99]), "states"),  # type: ignore[list-item]  # no such state
        (pb.ListTenantsRequest(states=[tenant_pb2.TENANT_STATE_UNSPECIFIED]), "states"),
        (pb.ListTenantsRequest(order_by=99), "order_by"),  # type: ignore[arg-type]  # likewise
        (pb.ListTenantsRequest(stuck_longer_than=Duration(seconds=-5)), "stuck_longer_than"),
    ],
)
async def test_what_is_wrong_is_named(
    rig: Rig, request_: pb.ListTenantsRequest, field: str
) -> None:
    refused = await failure(rig.stub.ListTenants(request_))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert set(refused.fields) == {field}


async def test_a_page_is_never_longer_than_five_hundred(rig: Rig) -> None:
    await rig.start()
    columns = "company_name, company_fold, spec, engine_id, site, fencing_token, log_seq, revision"
    rig.damage(
        f"INSERT INTO tenants (id, state, created_at, updated_at, {columns}) "  # noqa: S608 - words of ours
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 600) "
        f"SELECT id || i, 'PENDING', created_at, updated_at, {columns} FROM tenants, n"
    )
    page = await rig.stub.ListTenants(pb.ListTenantsRequest(page_size=10_000))
    assert len(page.tenants) == 500
    assert len((await rig.stub.ListTenants(pb.ListTenantsRequest())).tenants) == 50


async def test_a_span_of_millennia_finds_only_what_has_no_time(rig: Rig) -> None:
    await rig.start("Acme")
    longest = Duration(seconds=int(timedelta(days=3_650_000).total_seconds()))
    assert await names(rig, stuck_longer_than=longest) == []


async def test_a_member_lists_his_own_tenants_and_no_other(rig: Rig) -> None:
    mine, *_ = [await rig.start(name) for name in NAMES]
    member = Actor(name="m@example.com", role=Role.VIEWER, tenants={mine.tenant_id: Role.VIEWER})

    async def identify(_context: object) -> Actor:
        return member

    rig.service._identify = identify
    assert await names(rig) == ["Zebra Foods"]
    assert await names(rig, text="acme") == []
    assert await names(rig, states=[tenant_pb2.TENANT_STATE_IN_PROGRESS]) == ["Zebra Foods"]
    other = await failure(rig.stub.GetStatus(pb.GetStatusRequest(tenant_id=TENANT)))
    assert other.reason == "TENANT_NOT_FOUND"


@pytest.mark.parametrize(
    "column",
    ["company_name", "engine_id", "current_step", "error_code", "run_id", "hold_reason", "hold_by"],
)
async def test_bytes_in_one_tenants_row_hide_no_other_tenant(rig: Rig, column: str) -> None:
    """SQLite takes them in any column."""
    for name in NAMES:
        await rig.start(name)
    rig.damage("UPDATE tenants SET hold_reason = 'gone' WHERE company_name = 'acme tools'")
    rig.damage(
        f"UPDATE tenants SET {column} = x'6fff64' WHERE company_name = 'acme tools'"  # noqa: S608 - our own words
    )
    page = await rig.stub.ListTenants(pb.ListTenantsRequest())
    held = next(tenant for tenant in page.tenants if tenant.HasField("hold"))
    owner = held.hold if column.startswith("hold_") else held
    assert getattr(owner, column.removeprefix("hold_")) == "o\ufffdd"
    assert len(page.tenants) == len(NAMES)
