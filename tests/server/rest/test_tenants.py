"""Sign-up, list and invitation, as the old scripts and suites call them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from server.model.states import GateState
from tests.server.rest.conftest import ADMIN, NEW_TENANT

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from server.store.operations import TenantOperation
    from tests.server.rest.conftest import Rig

UNKNOWN = "01900000-0000-7000-8000-000000000000"
UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
CODE = r"[0-9A-HJKMNP-TV-Z]{5}"


@pytest.mark.parametrize("prefix", ["", "/api"])
async def test_a_sign_up_answers_byte_for_byte_what_scripts_cut(rig: Rig, prefix: str) -> None:
    answer = await rig.post(f"{prefix}/iam/tenants", json={**NEW_TENANT, "description": "Shop"})
    assert answer.status_code == 200
    person = rf'{{"code":"USR-KE-\d\d-{CODE}","email":"owner@example\.com","role":"%s"}}'
    assert re.fullmatch(
        rf'{{"message":"Tenant created successfully","tenant":{{"id":"{UUID}",'
        rf'"code":"TEN-KE-\d\d-{CODE}","name":"Kijani Stores","category":"Enterprise",'
        r'"description":"Shop","engine":"erpnext"},'
        rf'"owner":{person % "OWNER"},"admin":{person % "ADMIN"},'
        r'"company":{"created":false,"name":"Kijani Stores",'
        r'"message":"Company will be created by provisioning"},'
        r'"provisioning":{"status":"IN_PROGRESS","progress":0,'
        r'"current_step":"step_0_engine_check","steps_completed":0,"total_steps":10,'
        r'"message":"Provisioning started in background"}}',
        answer.text,
    )
    # What the grep script does: every id of the text is taken for the tenant's.
    ids = re.findall(r'"id":"([^"]*)"', answer.text)
    assert len(ids) == 1
    look = await rig.get(f"/provisioning/tenants/{ids[0]}/status")
    assert look.json()["status"] == "IN_PROGRESS"


@pytest.mark.parametrize("engine", ["erpnext", "odoo"])
async def test_a_sign_up_is_whole_at_its_first_commit(rig: Rig, engine: str) -> None:
    """Whoever dies after it leaves no tenant that is nobody's, with its name taken."""
    seen: list[object] = []

    def look(operation: TenantOperation, _outcome: object) -> None:
        if operation.create is not None:
            seen.extend(
                rig.sql(
                    "SELECT email, m.role FROM memberships m JOIN users ON users.id = m.user_id"
                    " WHERE tenant_id = ?",
                    operation.tenant_id,
                )
            )

    rig.database.on_applied(look)
    answer = await rig.post("/iam/tenants", json={**NEW_TENANT, "engine": engine})
    assert answer.status_code == 200
    assert seen == [(NEW_TENANT["admin_email"], "OWNER")]
    noted = rig.sql("SELECT action, target FROM audit WHERE action LIKE 'Add%'")
    assert ("AddUser", NEW_TENANT["admin_email"]) in noted
    assert ("AddMember", answer.json()["tenant"]["id"]) in noted


async def test_a_sign_up_says_in_progress_though_the_engine_is_away(rig: Rig) -> None:
    await rig.gate(GateState.DOWN, "no answer")
    answer = await rig.post("/iam/tenants", json=NEW_TENANT)
    assert answer.json()["provisioning"]["status"] == "IN_PROGRESS"
    tenant_id = answer.json()["tenant"]["id"]
    look = (await rig.get(f"/provisioning/tenants/{tenant_id}/status")).json()
    assert (look["status"], look["errors"]) == ("IN_PROGRESS", [])


async def test_without_an_engine_a_tenant_is_made_that_has_no_runs(rig: Rig) -> None:
    form = {key: value for key, value in NEW_TENANT.items() if key != "engine"}
    answer = await rig.post("/iam/tenants", json={**form, "category": "Chama"})
    assert answer.status_code == 200
    assert answer.json()["message"] == "Tenant created successfully"
    assert answer.json()["tenant"]["engine"] == "odoo"
    assert answer.json()["tenant"]["category"] == "Chama"
    assert not {"company", "provisioning"} & set(answer.json())
    tenant_id = answer.json()["tenant"]["id"]
    assert rig.sql("SELECT count(*) FROM runs") == [(0,)]
    path = f"/provisioning/tenants/{tenant_id}"
    bearer = await rig.signed_in(**ADMIN)
    look = (await rig.get(f"{path}/status")).json()
    assert (look["status"], look["steps_completed"], look["total_steps"]) == ("NOT_STARTED", 0, 0)
    assert (await rig.get(f"{path}/logs")).json() == {"logs": []}
    answer = await rig.post(f"{path}/start", headers=bearer)
    assert answer.status_code == 503
    assert answer.json()["detail"]["status"] == "not_provisioned"
    for order in ("retry", "continue", "skip-step"):
        answer = await rig.post(f"{path}/{order}", headers=bearer, json={"step": "step_6_items"})
        assert (answer.status_code, answer.json()) == (
            *(404, {"detail": "Provisioning record not found"}),
        )
    # A second one of the same name is another tenant; a sweep has nothing to see at either.
    assert (await rig.post("/iam/tenants", json=form)).status_code == 200
    assert {row[0][:4] for row in rig.sql("SELECT look_at FROM tenants")} == {"9999"}


async def test_what_a_form_sends_as_null_is_taken_as_not_sent(rig: Rig) -> None:
    nulls = {"category": None, "description": None, "country_code": None}
    answer = await rig.post("/iam/tenants", json={**NEW_TENANT, **nulls})
    assert answer.status_code == 200
    assert answer.json()["tenant"]["category"] == "Enterprise"
    assert answer.json()["tenant"]["code"].startswith("TEN-KE-")
    tenant_id = answer.json()["tenant"]["id"]
    sent = {"email": "cashier@example.com", "full_name": None, "role": None}
    answer = await rig.post(f"/iam/tenants/{tenant_id}/invite", json=sent)
    assert (answer.status_code, answer.json()["type"]) == (200, "INVITED_NEW")
    # What is needed is not there with a null.
    answer = await rig.post("/iam/tenants", json={**NEW_TENANT, "name": None})
    assert [each["loc"] for each in answer.json()["detail"]] == [["body", "name"]]


@pytest.mark.parametrize(
    "address", ["owner", "not an address", "local", "reconciler", "key:ci", "a\nb@example.com", "@"]
)
async def test_an_admin_email_that_is_no_address_is_422_in_the_old_shape_and_writes_nothing(
    rig: Rig, address: str
) -> None:
    before = rig.counts()
    answer = await rig.post("/iam/tenants", json={**NEW_TENANT, "admin_email": address})
    assert answer.status_code == 422
    (wrong,) = answer.json()["detail"]
    assert (wrong["loc"], set(wrong)) == (["body", "admin_email"], {"loc", "msg", "type"})
    assert address not in answer.text or address == "@"
    assert rig.counts() == before


async def test_an_admin_email_needs_no_dot(rig: Rig) -> None:
    answer = await rig.post("/iam/tenants", json={**NEW_TENANT, "admin_email": "owner@shop"})
    assert (answer.status_code, answer.json()["admin"]["email"]) == (200, "owner@shop")


async def test_an_engine_may_be_named_by_its_own_id(rig: Rig) -> None:
    answer = await rig.post("/iam/tenants", json={**NEW_TENANT, "engine": "Main"})
    assert answer.json()["tenant"]["engine"] == "erpnext"
    assert answer.json()["provisioning"]["status"] == "IN_PROGRESS"


async def test_a_token_decides_the_owner_and_a_bad_one_is_as_none(rig: Rig) -> None:
    tenant_id = await rig.begun("Neema Stores")
    bearer = await rig.member("boss@example.com", tenant_id)
    answer = await rig.post("/iam/tenants", json=NEW_TENANT, headers=bearer)
    assert answer.json()["owner"]["email"] == "boss@example.com"
    assert answer.json()["admin"]["email"] == "owner@example.com"
    bad = {"Authorization": "Bearer nonsense"}
    answer = await rig.post(
        "/iam/tenants", json={**NEW_TENANT, "name": "Baraka Stores"}, headers=bad
    )
    assert (answer.status_code, answer.json()["owner"]["email"]) == (200, "owner@example.com")


async def test_a_user_who_is_known_keeps_his_password(rig: Rig) -> None:
    await rig.post("/iam/tenants", json=NEW_TENANT)
    other = {**NEW_TENANT, "name": "Baraka Stores", "admin_password": "another password"}
    first = await rig.post("/auth/login", json={"email": "owner@example.com", "password": "x"})
    answer = await rig.post("/iam/tenants", json=other)
    assert answer.status_code == 200
    assert first.status_code == 401
    sent = {"email": "owner@example.com", "password": "another password"}
    assert (await rig.post("/auth/login", json=sent)).status_code == 401
    sent["password"] = "a long password"
    signed = await rig.post("/auth/login", json=sent)
    assert {each["name"] for each in signed.json()["tenants"]} == {
        *("Kijani Stores", "Baraka Stores"),
    }


async def test_a_name_that_is_taken_is_409_and_does_not_say_whose(rig: Rig) -> None:
    first = await rig.post("/iam/tenants", json=NEW_TENANT)
    before = rig.counts()
    answer = await rig.post("/iam/tenants", json={**NEW_TENANT, "name": "kijani stores"})
    assert answer.status_code == 409
    assert isinstance(answer.json()["detail"], str)
    assert first.json()["tenant"]["id"] not in answer.text
    assert rig.counts()["users"] == before["users"]


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"name": ""}, "name"),
        ({"name": "<script>"}, "name"),
        ({"name": "a" * 200}, "name"),
        ({"name": 7}, "name"),
        ({"admin_email": None}, "admin_email"),
        ({"admin_email": ""}, "admin_email"),
        ({"admin_password": ""}, "admin_password"),
        # Refused late it would leave a tenant of nobody, and its name taken.
        ({"admin_password": "a long\0password"}, "admin_password"),
        ({"country_code": "KEN"}, "country_code"),
        ({"engine": "\n"}, "engine"),
    ],
)
async def test_a_wrong_field_is_422_by_the_clients_own_name_and_nobody_is_made(
    rig: Rig, change: dict[str, object], place: str
) -> None:
    before = rig.counts()
    answer = await rig.post("/iam/tenants", json={**NEW_TENANT, **change})
    assert answer.status_code == 422
    assert [each["loc"] for each in answer.json()["detail"]] == [["body", place]]
    assert "a long password" not in answer.text
    assert rig.counts() == before


async def test_without_a_configured_engine_a_sign_up_is_503(
    serve: Callable[..., AbstractAsyncContextManager[Rig]],
) -> None:
    async with serve(engines=False) as rig:
        answer = await rig.post("/iam/tenants", json=NEW_TENANT)
        assert answer.status_code == 503
        assert answer.json()["detail"]["type"] == "engine_unstable"
        assert answer.json()["detail"]["message"].startswith("Engine not stable")


async def test_by_default_a_sign_up_needs_a_token_and_the_right(strict: Rig) -> None:
    assert (await strict.post("/iam/tenants", json=NEW_TENANT)).status_code == 401
    tenant_id = await strict.begun("Neema Stores")
    bearer = await strict.member("member@example.com", tenant_id, role="OWNER")
    before = strict.counts()
    answer = await strict.post("/iam/tenants", json=NEW_TENANT, headers=bearer)
    assert answer.status_code == 403
    path = f"/iam/tenants/{tenant_id}/invite"
    answer = await strict.post(path, json={"email": "new@example.com"}, headers=bearer)
    assert answer.status_code == 403
    assert (await strict.post(path, json={"email": "new@example.com"})).status_code == 401
    assert strict.counts() == before
    # Who was refused what is in the audit.
    noted = strict.sql("SELECT action, outcome FROM audit WHERE actor = 'member@example.com'")
    assert set(noted) >= {("CreateTenant", "NOT_ALLOWED"), ("InviteMember", "NOT_ALLOWED")}


async def test_orders_of_old_clients_are_in_the_audit_with_where_from(rig: Rig) -> None:
    answer = await rig.post("/iam/tenants", json=NEW_TENANT)
    await rig.post("/iam/tenants", json={**NEW_TENANT, "name": "Else", "engine": "odoo"})
    tenant_id = answer.json()["tenant"]["id"]
    rig.ended(tenant_id, "PARTIAL", done=9)
    bearer = await rig.signed_in(**ADMIN)
    await rig.post(f"/provisioning/tenants/{tenant_id}/start", headers=bearer)
    noted = rig.sql("SELECT actor, origin, action, outcome FROM audit ORDER BY id")
    here = "http 127.0.0.1"
    assert ("anonymous", here, "StartProvisioning", "OK") in noted
    assert ("anonymous", here, "CreateTenant", "OK") in noted
    assert ("admin@moran.com", here, "StartProvisioning", "OK") in noted


async def test_the_list_is_newest_first_with_owner_and_members(rig: Rig) -> None:
    await rig.begun("Neema Stores")
    await rig.post("/iam/tenants", json=NEW_TENANT)
    await rig.post("/iam/tenants", json={**NEW_TENANT, "name": "Elsewhere", "engine": "odoo"})
    bearer = await rig.signed_in(**ADMIN)
    answer = await rig.get("/iam/tenants", headers=bearer)
    assert answer.status_code == 200
    said = answer.json()
    assert (said["total"], said["skip"], said["limit"]) == (3, 0, 100)
    assert [each["name"] for each in said["tenants"]] == [
        *("Elsewhere", "Kijani Stores", "Neema Stores"),
    ]
    line = said["tenants"][1]
    assert list(line) == [
        *("id", "tenant_code", "name", "country_code", "status", "engine", "member_count"),
        *("owner", "created_at"),
    ]
    assert (line["status"], line["engine"], line["member_count"]) == ("IN_PROGRESS", "erpnext", 1)
    assert line["owner"]["email"] == "owner@example.com"
    assert line["owner"]["full_name"] == "Shop Owner"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line["created_at"])
    assert said["tenants"][2]["owner"] is None


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("?skip=1&limit=1", ["Kijani Stores"]),
        ("?limit=1", ["Elsewhere"]),
        ("?skip=9", []),
        ("?engine=erpnext", ["Kijani Stores", "Neema Stores"]),
        ("?engine=odoo", ["Elsewhere"]),
        ("?engine=main", []),
        ("?status=IN_PROGRESS", ["Kijani Stores"]),
        ("?status=provisioning", ["Kijani Stores"]),
        ("?status=FAILED", ["Neema Stores"]),
        ("?status=NOT_STARTED", ["Elsewhere"]),
        ("?status=COMPLETED", []),
        ("?status=ACTIVE", ["Elsewhere", "Kijani Stores", "Neema Stores"]),
        ("?status=active&engine=erpnext", ["Kijani Stores", "Neema Stores"]),
        ("?status=&engine=&unknown=1", ["Elsewhere", "Kijani Stores", "Neema Stores"]),
    ],
)
async def test_the_list_is_paged_and_filtered(rig: Rig, query: str, names: list[str]) -> None:
    held = await rig.begun("Neema Stores")
    rig.ended(held, "COMPLETED", done=10)
    rig.sql("UPDATE tenants SET hold_reason = 'look' WHERE id = ?", held)
    await rig.begun("Kijani Stores")
    await rig.post("/iam/tenants", json={**NEW_TENANT, "name": "Elsewhere", "engine": "odoo"})
    answer = await rig.get(f"/iam/tenants{query}", headers=await rig.signed_in(**ADMIN))
    assert [each["name"] for each in answer.json()["tenants"]] == names


async def test_active_is_every_tenant_that_is_not_gone(rig: Rig) -> None:
    gone = await rig.begun("Neema Stores")
    rig.ended(gone, "CANCELLED", done=0)
    rig.sql("UPDATE tenants SET state = 'DEPROVISIONED' WHERE id = ?", gone)
    failed = await rig.begun("Kijani Stores")
    rig.ended(failed, "FAILED", done=2)
    answer = await rig.get("/iam/tenants?status=ACTIVE", headers=await rig.signed_in(**ADMIN))
    assert (answer.status_code, answer.json()["total"]) == (200, 1)
    assert [each["name"] for each in answer.json()["tenants"]] == ["Kijani Stores"]


@pytest.mark.parametrize(
    "query", ["?skip=-1", "?limit=0", "?limit=100000", "?skip=x", "?status=UNHEARD", "?engine=%00"]
)
async def test_a_wrong_page_is_422_and_names_the_field(rig: Rig, query: str) -> None:
    answer = await rig.get(f"/iam/tenants{query}", headers=await rig.signed_in(**ADMIN))
    assert answer.status_code == 422
    assert [each["loc"] for each in answer.json()["detail"]] == [
        ["query", query[1:].partition("=")[0]]
    ]


async def test_invitations_say_which_kind_they_are(rig: Rig) -> None:
    """The Robot suite's case: a new address, then the platform's administrator."""
    tenant = (await rig.post("/iam/tenants", json={**NEW_TENANT, "engine": "odoo"})).json()
    path = f"/iam/tenants/{tenant['tenant']['id']}/invite"
    answer = await rig.post(path, json={"email": "new@example.com"})
    assert answer.status_code == 200
    assert list(answer.json()) == ["message", "invitation_code", "user_code", "type"]
    assert answer.json()["type"] == "INVITED_NEW"
    assert answer.json()["invitation_code"]
    again = await rig.post(path, json={"email": "new@example.com", "role": "VIEWER"})
    assert again.json()["type"] == "REINVITED"
    # A form whose role nobody chose.
    again = await rig.post(path, json={"email": "new@example.com", "role": ""})
    assert again.json()["type"] == "REINVITED"
    answer = await rig.post(path, json={"email": "admin@moran.com", "full_name": None})
    assert answer.json()["type"] == "INVITED_EXISTING"
    answer = await rig.post(path, json={"email": "owner@example.com"})
    assert answer.status_code == 409
    # Who was invited and has set no password can't sign in.
    sent = {"email": "new@example.com", "password": ""}
    assert (await rig.post("/auth/login", json=sent)).status_code == 401


async def test_an_invitation_to_nowhere_or_of_nobody_is_refused(rig: Rig) -> None:
    answer = await rig.post(f"/iam/tenants/{UNKNOWN}/invite", json={"email": "a@example.com"})
    assert (answer.status_code, answer.text) == (404, '{"detail":"Tenant not found"}')
    answer = await rig.post("/iam/tenants/TEN-1/invite", json={"email": "a@example.com"})
    assert answer.status_code == 400
    tenant_id = await rig.begun()
    for nobody in ("nobody", "a\\b@example.com", "a\0b@example.com"):
        answer = await rig.post(f"/iam/tenants/{tenant_id}/invite", json={"email": nobody})
        assert answer.status_code == 422
        assert [each["loc"] for each in answer.json()["detail"]] == [["body", "email"]]
