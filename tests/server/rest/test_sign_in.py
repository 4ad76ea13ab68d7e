"""Signing in over the old routes, and what a token opens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jwt
import pytest

from server.model.actor import Role
from tests.server.rest.conftest import ADMIN, BOSS, NEW_TENANT

if TYPE_CHECKING:
    from tests.server.rest.conftest import Rig

UNKNOWN = "01900000-0000-7000-8000-000000000000"
OWNER = {"email": "owner@example.com", "password": "a long password"}


@pytest.mark.parametrize("prefix", ["", "/api"])
async def test_the_old_scripts_administrator_signs_in(rig: Rig, prefix: str) -> None:
    await rig.begun("Kijani Stores")
    newest = await rig.begun("Baraka Stores")
    answer = await rig.post(f"{prefix}/auth/login", json=ADMIN)
    assert answer.status_code == 200
    said = answer.json()
    assert list(said) == [
        *("access_token", "token_type", "user_id", "user_code", "email", "full_name"),
        *("kyc_tier", "tenants"),
    ]
    assert (said["token_type"], said["email"], said["kyc_tier"]) == (
        *("bearer", "admin@moran.com"),
        "KYC-T1",
    )
    assert said["user_code"].startswith("USR-")
    assert [each["name"] for each in said["tenants"]] == ["Baraka Stores", "Kijani Stores"]
    assert said["tenants"][0]["id"] == newest
    assert set(said["tenants"][0]) == {"id", "name", "code", "engine"}
    assert '"access_token":"ey' in answer.text
    claims = jwt.decode(said["access_token"], options={"verify_signature": False})
    assert claims["scope"] == "identity:super_admin"
    assert claims["sub"] == said["user_id"]


@pytest.mark.parametrize(
    "sent",
    [{**ADMIN, "password": "admin1234"}, {"email": "nobody@example.com", "password": "admin123"}],
)
async def test_a_wrong_password_and_an_unknown_user_get_the_same_401(
    rig: Rig, sent: dict[str, str]
) -> None:
    answer = await rig.post("/auth/login", json=sent)
    assert answer.status_code == 401
    assert answer.text == '{"detail":"Incorrect email or password"}'
    answer = await rig.post("/auth/v1/login-with-tenant", json=sent)
    assert (answer.status_code, answer.text) == (401, '{"detail":"Invalid credentials"}')


async def test_the_script_that_sends_the_short_password_signs_in_where_the_others_do(
    rig: Rig,
) -> None:
    short = {**ADMIN, "password": "admin"}
    for path in ("/auth/login", "/api/auth/login"):
        answer = await rig.post(path, json=short)
        assert (answer.status_code, bool(answer.json()["access_token"])) == (200, True)
    # It is a form of the one password: with another one both are wrong.
    boss = await rig.access.users.find(ADMIN["email"])
    await rig.access.users.set_password(BOSS, boss, "a long password")
    for sent in (short, ADMIN):
        assert (await rig.post("/auth/login", json=sent)).status_code == 401
    # And nobody else's.
    await rig.member("cashier@example.com")
    other = {"email": "cashier@example.com", "password": "admin"}
    assert (await rig.post("/auth/login", json=other)).status_code == 401


async def test_where_old_clients_have_no_rights_the_short_password_is_a_wrong_one(
    strict: Rig,
) -> None:
    await strict.access.users.add(
        BOSS, email=ADMIN["email"], password=ADMIN["password"], role=Role.ADMIN, all_tenants=True
    )
    assert (await strict.post("/auth/login", json=ADMIN)).status_code == 200
    answer = await strict.post("/auth/login", json={**ADMIN, "password": "admin"})
    assert answer.status_code == 401


async def test_missing_fields_are_422_each_by_name_and_nothing_is_echoed(rig: Rig) -> None:
    answer = await rig.post("/auth/login", json={"password": "hunter2-secret"})
    assert answer.status_code == 422
    assert [each["loc"] for each in answer.json()["detail"]] == [["body", "email"]]
    answer = await rig.post("/auth/login", json={"email": "a@b.c", "password": ["hunter2"]})
    assert answer.status_code == 422
    assert "hunter2" not in answer.text


async def test_a_user_with_one_tenant_signs_in_to_it(rig: Rig) -> None:
    await rig.post("/iam/tenants", json=NEW_TENANT)
    answer = await rig.post("/auth/v1/login-with-tenant", json=OWNER)
    assert answer.status_code == 200
    said = answer.json()
    assert list(said) == ["access_token", "token_type", "tenant"]
    assert set(said["tenant"]) == {"id", "name", "code", "engine"}
    claims = jwt.decode(said["access_token"], options={"verify_signature": False})
    assert claims["tenant_id"] == said["tenant"]["id"]
    assert claims["roles"] == ["OWNER"]
    # The token opens the provisioning routes of this tenant.
    bearer = {"Authorization": f"Bearer {said['access_token']}"}
    path = f"/provisioning/tenants/{said['tenant']['id']}/status"
    assert (await rig.get(path, headers=bearer)).status_code == 200


async def test_a_user_with_two_tenants_is_asked_which(rig: Rig) -> None:
    await rig.post("/iam/tenants", json=NEW_TENANT)
    await rig.post("/iam/tenants", json={**NEW_TENANT, "name": "Baraka Stores"})
    foreign = await rig.begun("Neema Stores")
    answer = await rig.post("/auth/v1/login-with-tenant", json=OWNER)
    assert answer.json()["message"] == "Select a tenant"
    assert answer.json()["require_tenant_selection"] is True
    names = [each["name"] for each in answer.json()["tenants"]]
    assert names == ["Baraka Stores", "Kijani Stores"]
    wanted = answer.json()["tenants"][1]
    answer = await rig.post("/auth/v1/login-with-tenant", json={**OWNER, "tenant_id": wanted["id"]})
    assert answer.json()["tenant"] == wanted
    answer = await rig.post("/auth/v1/login-with-tenant", json={**OWNER, "tenant_id": foreign})
    assert answer.status_code == 403


NEEDS_A_TOKEN = [
    ("GET", f"/provisioning/tenants/{UNKNOWN}/status"),
    ("GET", f"/provisioning/tenants/{UNKNOWN}/logs"),
    ("POST", f"/provisioning/tenants/{UNKNOWN}/start"),
    ("POST", f"/provisioning/tenants/{UNKNOWN}/retry"),
    ("POST", f"/provisioning/tenants/{UNKNOWN}/continue"),
    ("POST", f"/provisioning/tenants/{UNKNOWN}/skip-step"),
    ("GET", "/iam/tenants"),
    ("POST", "/iam/tenants"),
    ("POST", f"/iam/tenants/{UNKNOWN}/invite"),
    ("GET", "/erpnext/health"),
    ("POST", "/auth/engine-health"),
    ("GET", "/auth/me/memberships"),
]


@pytest.mark.parametrize("authorization", [None, "Bearer nonsense", "Bearer", "Basic YTpi"])
async def test_without_a_good_token_everything_is_401_where_old_clients_have_no_rights(
    strict: Rig, authorization: str | None
) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    before = strict.counts()
    for method, path in NEEDS_A_TOKEN:
        answer = await strict.http.request(method, path, headers=headers)
        assert (answer.status_code, answer.text) == (
            *(401, '{"detail":"Could not validate credentials"}'),
        ), path
        assert answer.headers["www-authenticate"] == "Bearer"
    assert strict.counts() == before


async def test_old_clients_read_status_and_logs_without_signing_in_and_order_nothing(
    rig: Rig,
) -> None:
    tenant_id = await rig.begun()
    path = f"/api/provisioning/tenants/{tenant_id}"
    assert (await rig.get(f"{path}/status")).json()["status"] == "IN_PROGRESS"
    assert (await rig.get(f"{path}/logs")).json() == {"logs": []}
    # A token that is bad is not the same as none.
    bad = {"Authorization": "Bearer nonsense"}
    assert (await rig.get(f"{path}/status", headers=bad)).status_code == 401
    for order in ("start", "retry", "continue", "skip-step"):
        assert (await rig.post(f"{path}/{order}")).status_code == 401
    answer = await rig.get(f"/provisioning/tenants/{UNKNOWN}/status")
    assert (answer.status_code, answer.json()) == (404, {"detail": "Tenant not found"})


async def test_a_member_drives_his_tenant_and_hears_of_others_that_they_are_not_his(
    rig: Rig,
) -> None:
    mine, foreign = await rig.begun("Kijani Stores"), await rig.begun("Baraka Stores")
    rig.ended(mine, "PARTIAL", done=9)
    bearer = await rig.member("cashier@example.com", mine, role="CASHIER")
    path = f"/provisioning/tenants/{mine}"
    assert (await rig.get(f"{path}/status", headers=bearer)).json()["status"] == "PARTIAL"
    answer = await rig.post(f"{path}/continue", headers=bearer)
    assert (answer.status_code, answer.json()["status"]) == (200, "IN_PROGRESS")
    # The old server's own two words (decision 0025), for reads and orders.
    for other, status, detail in (
        (foreign, 403, "Not a member of this tenant"),
        (UNKNOWN, 404, "Tenant not found"),
    ):
        for prefix in ("", "/api"):
            base = f"{prefix}/provisioning/tenants/{other}"
            answers = [
                *[await rig.get(f"{base}/{each}", headers=bearer) for each in ("status", "logs")],
                *[
                    await rig.post(f"{base}/{each}", headers=bearer, json={"step": "step_6_items"})
                    for each in ("start", "retry", "continue", "skip-step")
                ],
            ]
            for answer in answers:
                assert (answer.status_code, answer.json()) == (status, {"detail": detail})
    assert (await rig.get("/iam/tenants", headers=bearer)).status_code == 403
    answer = await rig.get("/provisioning/tenants/TEN-KE-26-4H8ZP/status", headers=bearer)
    assert answer.status_code == 400


async def test_memberships_are_listed_with_the_role_in_each(rig: Rig) -> None:
    mine = await rig.begun("Kijani Stores")
    bearer = await rig.member("cashier@example.com", mine, role="CASHIER")
    answer = await rig.get("/auth/me/memberships", headers=bearer)
    assert answer.status_code == 200
    (line,) = answer.json()
    assert list(line) == ["id", "name", "code", "engine", "status", "role", "membership_status"]
    assert (line["id"], line["role"], line["membership_status"]) == (mine, "CASHIER", "ACTIVE")
    assert (line["engine"], line["status"]) == ("erpnext", "IN_PROGRESS")


async def test_too_many_wrong_passwords_are_429_with_when_to_come_again(rig: Rig) -> None:
    wrong = {"email": "victim@example.com", "password": "guess"}
    answers = [await rig.post("/auth/login", json=wrong) for _ in range(11)]
    assert answers[-1].status_code == 429
    assert int(answers[-1].headers["retry-after"]) > 0
    assert (await rig.post("/auth/login", json=ADMIN)).status_code == 200
