"""A JSON request that is no message of its rpc: which fields are wrong, and how to correct them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from provisioner.v1 import provisioning_pb2 as pb
from server.rest.misfits import misfits

if TYPE_CHECKING:
    from tests.server.rest.conftest import Rig

NAMES = [
    *(field.name for field in pb.StartProvisioningRequest.DESCRIPTOR.fields),
    *(field.json_name for field in pb.StartProvisioningRequest.DESCRIPTOR.fields),
    *(field.name for field in pb.StartProvisioningRequest().spec.DESCRIPTOR.fields),
    "misspelt",
]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=5), VALUES, max_size=4))
def test_a_field_is_named_for_whatever_the_parser_refuses(sent: dict[str, object]) -> None:
    try:
        json_format.ParseDict(sent, pb.StartProvisioningRequest())
    except (json_format.ParseError, ValueError):
        assert misfits(pb.StartProvisioningRequest, sent)
    else:
        assert misfits(pb.StartProvisioningRequest, sent) == ()


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (
            {"spek": {}, "tenant_id": 7},
            [
                ("spek", "is no field here. Did you mean spec?"),
                ("tenant_id", "must be text, in quotes."),
            ],
        ),
        (
            {"spec": {"companyNam": "A", "posStoreEnabled": "yes", "opening_amount": "x"}},
            [
                ("spec.companyNam", "is no field here. Did you mean company_name?"),
                ("spec.pos_store_enabled", "must be true or false."),
                ("spec.opening_amount", "must be a number."),
            ],
        ),
        (
            {"spec": {"payment_methods": "Cash"}},
            [("spec.payment_methods", "must be a list, in square brackets.")],
        ),
        (
            {"spec": {"payment_methods": ["Cash", 7]}},
            [("spec.payment_methods[1]", "must be text, in quotes.")],
        ),
        ({"spec": 7}, [("spec", "must be an object, in braces.")]),
        (
            {"a\nb": 1},
            [("'a\\nb'", "is no field here. Known are: tenant_id, spec, request_id.")],
        ),
    ],
)
async def test_each_wrong_field_is_named_with_its_remedy(
    open_rig: Rig, sent: dict[str, object], said: list[tuple[str, str]]
) -> None:
    answer = await open_rig.post("/v1/tenants", json=sent)
    assert answer.status_code == 400
    info, bad = answer.json()["details"]
    assert info["reason"] == "MALFORMED_MESSAGE"
    assert [(each["field"], each["description"]) for each in bad["field_violations"]] == said
    assert answer.json()["message"] == "; ".join(f"{field}: {what}" for field, what in said)


async def test_a_field_in_both_spellings_is_refused_and_nothing_is_ordered(
    open_rig: Rig,
) -> None:
    """One of the two values was taken, and nobody was told which."""
    spec = {"company_name": "Acme", "companyName": "Other", "country_code": "KE"}
    sent = {"spec": spec, "requestId": "a", "request_id": "b"}
    answer = await open_rig.post("/v1/tenants", json=sent)
    assert answer.status_code == 400
    _, bad = answer.json()["details"]
    assert {each["field"]: each["description"] for each in bad["field_violations"]} == {
        "spec.company_name": "is also sent as companyName. Send it once.",
        "request_id": "is also sent as requestId. Send it once.",
    }
    assert (await open_rig.get("/v1/tenants")).json().get("tenants", []) == []


async def test_a_name_without_end_is_not_repeated_whole(open_rig: Rig) -> None:
    body = json.dumps({"x" * 100_000: 1, "\ud800": 1}).encode()
    answer = await open_rig.post("/v1/tenants", content=body)
    assert answer.status_code == 400
    assert len(answer.text) < 1000


async def test_a_wrong_value_of_a_query_is_named_likewise(open_rig: Rig) -> None:
    answer = await open_rig.get("/v1/tenants?page_size=9e9&states=UNHEARD")
    fields = {
        each["field"]: each["description"]
        for each in answer.json()["details"][1]["field_violations"]
    }
    assert fields["page_size"].startswith("must be a whole number")
    assert "TENANT_STATE_COMPLETED" in fields["states[0]"]
