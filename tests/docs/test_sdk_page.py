"""docs/sdk.md: every example runs, every method is on the page and has a blocking twin."""

from __future__ import annotations

import inspect
from collections import deque
from typing import TYPE_CHECKING

import pytest

from clients.sdk import BlockingClient, ProvisionerClient
from provisioner.v1 import listing_pb2, provisioning_pb2, tenant_pb2
from tests.clients import builders
from tests.clients.builders import TENANT
from tests.clients.fake_service import FakeService, serving
from tests.clients.processes import run_python
from tests.docs.pages import ROOT, blocks, inline_code

if TYPE_CHECKING:
    from tests.docs.pages import Block

_PAGE = ROOT / "docs" / "sdk.md"
_SHOWN = [block for block in blocks(_PAGE) if block.language == "python"]


def _methods(kind: type) -> set[str]:
    return {
        name for name, _ in inspect.getmembers(kind, inspect.isfunction) if not name.startswith("_")
    }


@pytest.mark.parametrize("shown", _SHOWN, ids=range(len(_SHOWN)))
async def test_an_example_runs(shown: Block) -> None:
    service = FakeService()
    done = builders.status(10, tenant_pb2.TENANT_STATE_COMPLETED)
    service.statuses = deque([done])
    service.log = builders.entries(1, 2)
    service.pages = deque(
        [
            provisioning_pb2.ListTenantsResponse(
                tenants=[listing_pb2.TenantSummary(tenant_id=TENANT, company_name="Acme")]
            )
        ]
    )
    async with serving(service) as server:
        told = await run_python(shown.text.replace("127.0.0.1:50051", server.address))
    assert told.code == 0, told.err
    assert told.out


def test_every_method_is_on_the_page() -> None:
    assert _methods(ProvisionerClient) <= set(inline_code(_PAGE)) | {"carry_out"}


def test_every_method_has_a_blocking_twin() -> None:
    assert _methods(ProvisionerClient) == _methods(BlockingClient) - {"of"}
