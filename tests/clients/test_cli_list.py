"""The command `list`: what it asks for, and how it shows what came."""

from __future__ import annotations

from collections import deque
from datetime import timedelta
from typing import TYPE_CHECKING

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from clients.cli import listing
from provisioner.v1 import listing_pb2, tenant_pb2
from provisioner.v1 import provisioning_pb2 as pb
from tests.clients.builders import EPOCH, TENANT, moment
from tests.clients.fake_service import FakeService, Fault, Serving
from tests.clients.processes import run

if TYPE_CHECKING:
    from clients.sdk import ProvisionerClient


def summary(number: int = 1, **fields: object) -> listing_pb2.TenantSummary:
    values: dict[str, object] = {
        "tenant_id": TENANT[:-1] + str(number),
        "company_name": f"Shop {number}",
        "state": tenant_pb2.TENANT_STATE_FAILED,
        "steps_completed": 2,
        "total_steps": 10,
        "error_code": "COMPANY_NOT_OURS",
        "state_since": moment(-60),
        "unsettled_since": moment(-7300),
        **fields,
    }
    return listing_pb2.TenantSummary(**values)  # type: ignore[arg-type]  # any field


def page(*numbers: int, token: str = "") -> pb.ListTenantsResponse:
    return pb.ListTenantsResponse(
        tenants=[summary(number) for number in numbers], next_page_token=token
    )


async def test_every_filter_is_sent(service: FakeService, server: Serving) -> None:
    result = await run(
        *("list", "acme", "--state", "failed", "--state", "PARTIAL", "--engine", "main", "--held"),
        *("--stuck", "1.5h", "--order", "name", "--limit", "7", "--page-token", "abc", "--json"),
        PROVISIONER_GRPC_ADDRESS=server.address,
    )
    assert (result.code, result.document) == (0, {"tenants": [], "next_page_token": ""})
    assert service.requests["ListTenants"] == [
        pb.ListTenantsRequest(
            page_size=7,
            page_token="abc",
            states=[tenant_pb2.TENANT_STATE_FAILED, tenant_pb2.TENANT_STATE_PARTIAL],
            engine_id="main",
            text="acme",
            held=True,
            stuck_longer_than=Duration(seconds=5400),
            order_by=listing_pb2.LIST_ORDER_NAME,
        )
    ]


async def test_pages_are_asked_for_until_there_are_enough(
    service: FakeService, server: Serving
) -> None:
    service.pages = deque([page(1, token="a"), page(token="b"), page(2, 3, token="c")])
    result = await run("list", "--limit", "3", "--address", server.address)
    assert result.code == 0
    assert [line.split()[4:6] for line in result.out.splitlines()[1:]] == [
        ["Shop", str(number)] for number in (1, 2, 3)
    ]
    assert "more follow" in result.err
    asked = service.requests["ListTenants"]
    assert [(one.page_token, one.page_size) for one in asked] == [("", 3), ("a", 2), ("b", 2)]


async def test_json_holds_all_fields_and_where_to_go_on(
    service: FakeService, server: Serving
) -> None:
    service.pages = deque([page(1, token="next")])
    result = await run("list", "--limit", "1", "--json", "--address", server.address)
    (tenant,) = result.document["tenants"]
    assert tenant["state"] == "FAILED"
    assert tenant["hold"] is None
    assert set(tenant) == set(listing_pb2.TenantSummary.DESCRIPTOR.fields_by_name)
    assert result.document["next_page_token"] == "next"


async def test_no_tenant_is_no_failure(service: FakeService, server: Serving) -> None:
    result = await run("list", "nobody", "--address", server.address)
    assert (result.code, result.out) == (0, "")
    assert "No tenant fits." in result.err


async def test_a_refused_filter_is_named_as_it_was_typed(
    service: FakeService, server: Serving
) -> None:
    refused = Fault(
        code=grpc.StatusCode.INVALID_ARGUMENT,
        reason="INVALID_INPUT",
        fields={"page_token": "is of another list."},
    )
    service.faults["ListTenants"].append(refused)
    result = await run("list", "--page-token", "x", "--address", server.address)
    assert result.code == 2
    assert "--page-token (page_token): is of another list." in result.err


@pytest.mark.parametrize("span", ["2", "h", "2 hours", "-1h", "1w"])
async def test_a_span_that_is_none_is_wrong_use(server: Serving, span: str) -> None:
    result = await run("list", f"--stuck={span}", "--address", server.address)
    assert result.code == 2
    assert "must be like 90s" in result.err


HOLD = tenant_pb2.Hold(reason="gone", by="reconciler", since=moment())


@pytest.mark.parametrize("width", [1, 20, 40, 60, 80, 100, 200])
def test_a_table_fits_the_terminal(width: int) -> None:
    tenants = [
        summary(1, company_name="株式会社サンプル" * 6),
        summary(2, hold=HOLD),
        summary(3, company_name="a\x1b[31mb\nc", state=tenant_pb2.TENANT_STATE_COMPLETED),
    ]
    lines = list(listing.table(tenants, now=EPOCH, width=width))
    assert all(line.cell_len <= width for line in lines)
    assert all("\x1b" not in line.plain and "\n" not in line.plain for line in lines)


@pytest.mark.parametrize(("width", "lines_each"), [(40, 3), (60, 3), (80, 2), (120, 1), (200, 1)])
def test_ids_and_reasons_are_whole_however_narrow_the_terminal_is(
    width: int, lines_each: int
) -> None:
    """At 80 columns a reason was "COMPANY…", and below 66 columns there was none."""
    tenants = [summary(1, company_name="Mama Njeri Traders of Nairobi"), summary(2, hold=HOLD)]
    heading, *shown = (line.plain for line in listing.table(tenants, now=EPOCH, width=width))
    assert heading.split()[:3] == ["STATE", "STEPS", "SINCE"]
    shown = shown[lines_each - 1 :]  # the rest of the heading
    assert len(shown) == 2 * lines_each
    for at, tenant in enumerate(tenants):
        of_one = shown[at * lines_each : (at + 1) * lines_each]
        assert of_one[0].startswith("FAILED")
        assert all(line.startswith("  ") for line in of_one[1:])
        assert tenant.tenant_id in "\n".join(of_one)
        assert of_one[-1].endswith("COMPANY_NOT_OURS")
    assert "held by reconciler, COMPANY_NOT_OURS" in "\n".join(shown)


def test_a_tenant_without_a_reason_takes_no_line_for_it() -> None:
    lines = list(listing.table([summary(1, error_code="")], now=EPOCH, width=60))
    assert [line.plain.split()[0] for line in lines] == [
        *("STATE", "TENANT", "WHY"),
        *("FAILED", TENANT),
    ]


def test_a_table_in_a_pipe_is_not_cut() -> None:
    (_, line) = listing.table([summary(company_name="x" * 120)], now=EPOCH, width=None)
    assert line.plain.split() == [
        *("FAILED", "2/10", "2h", TENANT, "x" * 120),
        "COMPANY_NOT_OURS",
    ]


@pytest.mark.parametrize(
    ("span", "shown"),
    [(-5, "0s"), (59, "59s"), (60, "1m"), (7199, "1h"), (86400 * 3 + 5, "3d")],
)
def test_ages_are_short(span: float, shown: str) -> None:
    assert listing.age(timedelta(seconds=span).total_seconds()) == shown


async def test_the_client_gives_tenants_across_pages(
    service: FakeService, client: ProvisionerClient
) -> None:
    service.pages = deque([page(1, 2, token="a"), page(token="b"), page(3)])
    asked = pb.ListTenantsRequest(text="shop")
    found = [tenant.company_name async for tenant in client.tenants(asked)]
    assert found == ["Shop 1", "Shop 2", "Shop 3"]
    assert asked == pb.ListTenantsRequest(text="shop")


def test_what_a_tenant_under_way_waits_for_is_its_reason_if_it_has_no_error() -> None:
    down = tenant_pb2.WaitingFor(code="ENGINE_DOWN", message="It does not answer.")
    tenants = [
        summary(1, state=tenant_pb2.TENANT_STATE_IN_PROGRESS, error_code="", waiting_for=down),
        summary(2, state=tenant_pb2.TENANT_STATE_DEPROVISIONING, waiting_for=down),
    ]
    _, first, second = (line.plain for line in listing.table(tenants, now=EPOCH, width=None))
    assert first.rstrip().endswith("waits for ENGINE_DOWN")
    assert second.rstrip().endswith("COMPANY_NOT_OURS")
