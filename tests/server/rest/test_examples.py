"""The examples of the description are true: they have the shapes that are really answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf import json_format
from google.protobuf.message_factory import GetMessageClass
from pydantic import TypeAdapter

from server.model.states import GateState
from server.rest import documented, examples, examples_v1
from server.rest.routes_v1 import routes_of
from tests.server.rest.conftest import ADMIN, NEW_TENANT

if TYPE_CHECKING:
    from tests.server.rest.conftest import Rig


def shape(value: Any) -> Any:  # Any: JSON
    """Return a document with its leaves replaced by their kinds; of a list the first item's."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value[:1]]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return "number"
    return type(value).__name__


def test_every_example_of_the_old_api_fits_its_shape() -> None:
    assert len(documented.EXAMPLES) > 12
    for kind, example in documented.EXAMPLES:
        TypeAdapter(kind).validate_python(example, strict=True, extra="forbid")


@pytest.mark.parametrize("rpc", [*examples_v1.ANSWERS, *examples_v1.REQUESTS])
def test_every_example_of_v1_is_a_message_of_the_contract(rpc: str) -> None:
    route = next(
        each for each in routes_of({"ProvisioningService", "FleetService"}) if each.rpc == rpc
    )
    if rpc in examples_v1.ANSWERS:
        answer = GetMessageClass(route.method.output_type)()
        json_format.ParseDict(examples_v1.ANSWERS[rpc], answer)
    if rpc in examples_v1.REQUESTS:
        json_format.ParseDict(examples_v1.REQUESTS[rpc], route.request())


async def test_the_examples_have_the_fields_of_real_answers_in_their_order(rig: Rig) -> None:
    made = (await rig.post("/iam/tenants", json={**NEW_TENANT, "description": "Shop"})).json()
    assert shape(made) == shape(examples.CREATED)
    assert list(made) == list(examples.CREATED)
    tenant_id = made["tenant"]["id"]
    path = f"/provisioning/tenants/{tenant_id}"
    running = (await rig.get(f"{path}/status")).json()
    assert (shape(running), list(running)) == (shape(examples.RUNNING), list(examples.RUNNING))
    rig.ended(tenant_id, "PARTIAL", done=8, error="disabled", key="step_9_pos_session")
    stopped = (await rig.get(f"{path}/status")).json()
    assert shape(stopped) == shape(examples.STOPPED)
    lines = (await rig.get(f"{path}/logs")).json()
    assert shape(lines) == shape(examples.LOG_LINES)
    owner = {"email": "owner@example.com", "password": "a long password"}
    signed = (await rig.post("/auth/login", json=owner)).json()
    assert (shape(signed), list(signed)) == (shape(examples.SIGNED_IN), list(examples.SIGNED_IN))
    bearer = {"Authorization": f"Bearer {signed['access_token']}"}
    member = (await rig.get("/auth/me/memberships", headers=bearer)).json()
    assert shape(member) == shape(examples.MEMBER_OF)
    boss = await rig.signed_in(**ADMIN)
    listed = (await rig.get("/iam/tenants", headers=boss)).json()
    assert shape(listed) == shape(examples.LISTED)
    await rig.gate(GateState.UP)
    engine = (await rig.get("/erpnext/health", headers=boss)).json()
    assert shape(engine) == shape(examples.ENGINE)


async def test_the_example_of_a_status_has_the_fields_that_v1_answers(open_rig: Rig) -> None:
    tenant_id = await open_rig.begun()
    said = (await open_rig.get(f"/v1/tenants/{tenant_id}")).json()["status"]
    example = examples_v1.ANSWERS["GetStatus"]["status"]
    assert set(said) - set(example) == {"waiting_for"}
    # What is unset is not there: no run has begun yet.
    assert set(example) - set(said) == {"started_at"}
    listed = (await open_rig.get("/v1/tenants")).json()
    (line,) = examples_v1.ANSWERS["ListTenants"]["tenants"]
    assert set(listed["tenants"][0]) - set(line) == {"unsettled_since", "waiting_for"}
    logs = (await open_rig.get(f"/v1/tenants/{tenant_id}/logs")).json()
    assert set(logs["entries"][0]) == set(examples_v1.ANSWERS["StreamLogs"]["entries"][0])


async def test_the_description_shows_the_examples(rig: Rig) -> None:
    document = (await rig.get("/openapi.json")).json()
    start = document["paths"]["/v1/tenants"]["post"]
    sent = start["requestBody"]["content"]["application/json"]["example"]
    assert sent == examples_v1.REQUESTS["StartProvisioning"]
    created = document["paths"]["/iam/tenants"]["post"]["responses"]["200"]
    assert created["content"]["application/json"]["example"] == examples.CREATED
