"""The provisioning routes of the old API, as the old clients call them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from server.model.states import GateState

if TYPE_CHECKING:
    from tests.server.rest.conftest import Rig

UNKNOWN = "01900000-0000-7000-8000-000000000000"
JSON = {"Content-Type": "application/json"}
KEYS = [
    "status",
    "current_step",
    "progress",
    "steps_completed",
    "total_steps",
    "errors",
    "estimated_completion",
    "started_at",
    "completed_at",
]


def base(tenant_id: str, prefix: str = "") -> str:
    return f"{prefix}/provisioning/tenants/{tenant_id}"


@pytest.mark.parametrize("prefix", ["", "/api"])
async def test_the_status_of_a_begun_tenant_is_one_flat_compact_object(
    open_rig: Rig, prefix: str
) -> None:
    tenant_id = await open_rig.begun()
    answer = await open_rig.get(f"{base(tenant_id, prefix)}/status")
    assert answer.status_code == 200
    assert answer.text == (
        '{"status":"IN_PROGRESS","current_step":"step_0_engine_check","progress":0.0,'
        '"steps_completed":0,"total_steps":10,"errors":[],"estimated_completion":null,'
        '"started_at":null,"completed_at":null}'
    )
    assert answer.headers["content-type"] == "application/json"


async def test_a_partial_tenant_reads_byte_for_byte_as_scripts_cut_it(open_rig: Rig) -> None:
    tenant_id = await open_rig.begun()
    error = "POS Opening Entry refused: user cashier@example.com is disabled"
    open_rig.ended(tenant_id, "PARTIAL", done=8, error=error, key="step_9_pos_session")
    open_rig.sql("UPDATE steps SET state = 'SKIPPED' WHERE key = 'step_10_post_sale_updates'")
    answer = await open_rig.get(f"{base(tenant_id)}/status")
    assert answer.text == (
        '{"status":"PARTIAL","current_step":"step_9_pos_session","progress":90.0,'
        '"steps_completed":9,"total_steps":10,"errors":[{"step":"step_9_pos_session",'
        f'"error":"{error}"}}],"estimated_completion":null,'
        '"started_at":"2026-03-01T08:15:04.120000Z","completed_at":"2026-03-01T08:16:40.002000Z"}'
    )


async def test_an_engines_words_neither_cut_nor_expand_in_a_shell(open_rig: Rig) -> None:
    tenant_id = await open_rig.begun()
    nasty = 'refused [*] ?  "status":"COMPLETED"\n\x1b[31m {\'a\'} \\ `id`] \u2028end  ärger'
    open_rig.ended(tenant_id, "FAILED", done=2, error=nasty, key="step_2_company")
    for text in (
        (await open_rig.get(f"{base(tenant_id)}/status")).text,
        (await open_rig.get(f"{base(tenant_id)}/logs")).text,
    ):
        said = re.findall(r'"error":"([^"]*)"', text)
        assert said == ["refused (x) . 'status':'COMPLETED' (31m ('a') / 'id') end ärger"]
        assert text.count('"status":"COMPLETED"') == 0
        assert re.search(r'"(errors|logs)":\[[^\]]*\]', text)


async def test_a_lost_record_shows_partial_zero_with_an_error_and_no_log(open_rig: Rig) -> None:
    tenant_id = await open_rig.begun()
    open_rig.ended(tenant_id, "PARTIAL", done=9)
    open_rig.sql("DELETE FROM steps")
    status = (await open_rig.get(f"{base(tenant_id)}/status")).json()
    assert (status["status"], status["steps_completed"]) == ("PARTIAL", 0)
    assert status["current_step"] == "step_0_engine_check"
    assert [error["step"] for error in status["errors"]] == ["step_0_engine_check"]
    assert (await open_rig.get(f"{base(tenant_id)}/logs")).text == '{"logs":[]}'


@pytest.mark.parametrize(
    ("damage", "shown"),
    [
        ("UPDATE runs SET state = 'CANCELLED'", "FAILED"),
        ("UPDATE runs SET state = 'COMPLETED'", "FAILED"),
        ("UPDATE tenants SET hold_reason = 'site exchanged', hold_by = 'run'", "IN_PROGRESS"),
    ],
)
async def test_every_state_of_ours_has_a_legacy_word_and_a_reason(
    open_rig: Rig, damage: str, shown: str
) -> None:
    tenant_id = await open_rig.begun()
    open_rig.sql(damage)
    status = (await open_rig.get(f"{base(tenant_id)}/status")).json()
    assert status["status"] == shown
    assert bool(status["errors"]) == (shown == "FAILED" or "hold" in damage)


async def test_a_held_tenant_at_rest_shows_failed_with_the_hold_as_its_error(
    open_rig: Rig,
) -> None:
    tenant_id = await open_rig.begun()
    open_rig.ended(tenant_id, "COMPLETED", done=10)
    open_rig.sql("UPDATE tenants SET hold_reason = 'the Company is gone', hold_by = 'run'")
    status = (await open_rig.get(f"{base(tenant_id)}/status")).json()
    assert status["status"] == "FAILED"
    assert "the Company is gone" in status["errors"][0]["error"]
    # A person continues it, and it is whole again.
    answer = await open_rig.post(f"{base(tenant_id)}/continue")
    assert (answer.status_code, answer.json()["status"]) == (200, "COMPLETED")


async def test_who_sees_all_tenants_hears_zeros_of_an_unknown_one(open_rig: Rig) -> None:
    answer = await open_rig.get(f"{base(UNKNOWN)}/status")
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "NOT_STARTED",
        "current_step": None,
        "progress": 0,
        "steps_completed": 0,
        "total_steps": 0,
        "errors": [],
        "estimated_completion": None,
        "started_at": None,
        "completed_at": None,
    }
    assert (await open_rig.get(f"{base(UNKNOWN)}/logs")).text == '{"logs":[]}'


@pytest.mark.parametrize(
    ("order", "detail"),
    [
        ("start", "Tenant not found"),
        ("retry", "Provisioning record not found"),
        ("continue", "Provisioning record not found"),
        ("skip-step", "Provisioning record not found"),
    ],
)
@pytest.mark.parametrize("prefix", ["", "/api"])
async def test_an_order_to_an_unknown_tenant_is_404_and_writes_nothing(
    open_rig: Rig, order: str, detail: str, prefix: str
) -> None:
    before = open_rig.counts()
    body = {"step": "step_6_items"} if order == "skip-step" else {}
    answer = await open_rig.post(f"{base(UNKNOWN, prefix)}/{order}", json=body)
    assert (answer.status_code, answer.json()) == (404, {"detail": detail})
    assert open_rig.counts() == before


@pytest.mark.parametrize("route", ["status", "logs"])
async def test_an_id_that_is_no_uuid_is_400(open_rig: Rig, route: str) -> None:
    answer = await open_rig.get(f"{base('TEN-KE-26-4H8ZP')}/{route}")
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith("Invalid tenant ID format: ")


@pytest.mark.parametrize(
    "body",
    [
        {"content": b"", "headers": JSON},
        {"content": b"", "headers": {}},
        {"content": b"{}", "headers": JSON},
        {"content": b"{}", "headers": {}},
        {"content": b'{"unknown":[1,{"a":2}]}', "headers": JSON},
        {"content": b"null", "headers": JSON},
        {"data": {"a": "form"}, "headers": {"X-Tenant-ID": "TEN-KE-26-XXXXX"}},
    ],
)
async def test_continue_takes_any_body_and_the_next_look_says_in_progress(
    open_rig: Rig, body: dict[str, object]
) -> None:
    tenant_id = await open_rig.begun()
    open_rig.ended(tenant_id, "PARTIAL", done=9)
    answer = await open_rig.post(f"{base(tenant_id, '/api')}/continue", **body)
    assert (answer.status_code, answer.json()["status"]) == (200, "IN_PROGRESS")
    assert list(answer.json()) == KEYS
    again = (await open_rig.get(f"{base(tenant_id)}/status")).json()
    assert again["status"] == "IN_PROGRESS"
    assert again["steps_completed"] == 8  # the engine check and the last step are done anew


@pytest.mark.parametrize("content", [b"", b"{}", b'{"step":null}', b'{"step":""}'])
async def test_retry_begins_all_steps_anew(open_rig: Rig, content: bytes) -> None:
    tenant_id = await open_rig.begun()
    open_rig.ended(tenant_id, "COMPLETED", done=10)
    answer = await open_rig.post(f"{base(tenant_id)}/retry", content=content, headers=JSON)
    assert answer.json()["status"] == "IN_PROGRESS"
    assert answer.json()["steps_completed"] == 0


async def test_retry_of_one_step_keeps_the_steps_before_it(open_rig: Rig) -> None:
    tenant_id = await open_rig.begun()
    open_rig.ended(tenant_id, "COMPLETED", done=10)
    answer = await open_rig.post(f"{base(tenant_id)}/retry", json={"step": "step_8_pos_profile"})
    assert answer.json()["status"] == "IN_PROGRESS"
    assert answer.json()["steps_completed"] == 6
    open_rig.ended(tenant_id, "COMPLETED", done=10)
    answer = await open_rig.post(f"{base(tenant_id)}/retry", json={"step": "step_99"})
    assert answer.status_code == 422
    assert [each["loc"] for each in answer.json()["detail"]] == [["body", "step"]]


@pytest.mark.parametrize("order", ["start", "retry", "continue"])
async def test_an_order_to_a_tenant_in_motion_is_409(open_rig: Rig, order: str) -> None:
    tenant_id = await open_rig.begun()
    before = open_rig.counts()
    answer = await open_rig.post(f"{base(tenant_id)}/{order}", headers=JSON)
    assert answer.status_code == 409
    assert answer.json()["detail"]["type"] == "already_provisioning"
    assert open_rig.counts() == before


@pytest.mark.parametrize("order", ["start", "continue"])
async def test_start_and_continue_on_a_finished_tenant_answer_that_it_is(
    open_rig: Rig, order: str
) -> None:
    tenant_id = await open_rig.begun()
    open_rig.ended(tenant_id, "COMPLETED", done=10)
    # Also while the engine is away: there is nothing to do there.
    await open_rig.gate(GateState.DOWN)
    before = open_rig.counts()
    answer = await open_rig.post(f"{base(tenant_id)}/{order}", headers=JSON)
    assert (answer.status_code, answer.json()["status"]) == (200, "COMPLETED")
    assert open_rig.counts() == before


@pytest.mark.parametrize(
    ("gate", "word"), [(GateState.DOWN, "offline"), (GateState.MISCONFIGURED, "degraded")]
)
@pytest.mark.parametrize("order", ["start", "retry", "continue"])
async def test_an_order_is_503_only_where_the_stored_gate_is_shut(
    open_rig: Rig, order: str, gate: GateState, word: str
) -> None:
    tenant_id = await open_rig.begun()
    open_rig.ended(tenant_id, "PARTIAL", done=9)
    await open_rig.gate(gate, "HTTP 502 [bad gateway]")
    answer = await open_rig.post(f"{base(tenant_id)}/{order}", headers=JSON)
    assert answer.status_code == 503
    detail = answer.json()["detail"]
    assert detail["type"] == "engine_unstable"
    assert detail["message"].startswith("Engine not stable. HTTP 502 (bad gateway)")
    assert (detail["engine"], detail["status"]) == ("erpnext", word)
    await open_rig.gate(GateState.UP)
    assert (await open_rig.post(f"{base(tenant_id)}/{order}")).status_code == 200


async def test_start_of_a_registered_tenant_opens_its_run_with_the_options(open_rig: Rig) -> None:
    tenant_id = await open_rig.registered()
    look = (await open_rig.get(f"{base(tenant_id)}/status")).json()
    assert (look["status"], look["current_step"]) == ("NOT_STARTED", None)
    answer = await open_rig.post(
        f"{base(tenant_id)}/start",
        json={
            "include_demo_data": True,
            "pos_store_enabled": False,
            "country_template": "Kenya",
            "template": "company_to_pos",
        },
    )
    assert answer.status_code == 200
    assert (answer.json()["status"], answer.json()["total_steps"]) == ("IN_PROGRESS", 11)
    assert answer.json()["current_step"] == "step_0_engine_check"
    spec = (await open_rig.get(f"/v1/tenants/{tenant_id}")).json()["status"]["spec"]
    assert spec["include_demo_data"] is True
    assert spec["pos_store_enabled"] is False
    assert spec["chart_template"] == "Standard"


async def test_start_of_a_tenant_that_was_removed_begins_it_anew(open_rig: Rig) -> None:
    tenant_id = await open_rig.registered()
    open_rig.sql("UPDATE tenants SET state = 'DEPROVISIONED'")
    look = (await open_rig.get(f"{base(tenant_id)}/status")).json()
    assert (look["status"], look["total_steps"]) == ("NOT_STARTED", 0)
    assert (await open_rig.post(f"{base(tenant_id)}/continue")).status_code == 409
    answer = await open_rig.post(f"{base(tenant_id)}/start", json={"include_demo_data": True})
    assert answer.status_code == 409
    answer = await open_rig.post(f"{base(tenant_id)}/start", headers=JSON)
    assert (answer.status_code, answer.json()["status"]) == (200, "IN_PROGRESS")
    assert answer.json()["total_steps"] == 10


async def test_a_held_tenant_that_was_removed_shows_the_button_that_is_not_refused(
    open_rig: Rig,
) -> None:
    tenant_id = await open_rig.registered()
    open_rig.sql("UPDATE tenants SET state = 'DEPROVISIONED', hold_reason = 'why', hold_by = 'run'")
    look = (await open_rig.get(f"{base(tenant_id)}/status")).json()
    assert look["status"] == "NOT_STARTED"
    # A held tenant has at least one error (promise 3).
    assert look["errors"]
    answer = await open_rig.post(f"{base(tenant_id)}/start", headers=JSON)
    assert (answer.status_code, answer.json()["status"]) == (200, "IN_PROGRESS")
    assert answer.json()["errors"] == []


async def test_start_of_a_held_tenant_that_was_not_begun_says_who_holds_it(open_rig: Rig) -> None:
    tenant_id = await open_rig.registered()
    open_rig.sql("UPDATE tenants SET hold_reason = 'two tenants claim it', hold_by = 'imported'")
    answer = await open_rig.post(f"{base(tenant_id)}/start", json={"include_demo_data": True})
    assert answer.status_code == 409
    detail = answer.json()["detail"]
    assert detail["type"] == "tenant_held"
    assert "held by imported (two tenants claim it)" in detail["message"]
    assert detail["message"].endswith(f"provisioner release {tenant_id}")
    assert open_rig.sql("SELECT count(*) FROM runs") == [(0,)]
    # Continue says "I looked", and lifts it.
    answer = await open_rig.post(f"{base(tenant_id)}/continue")
    assert (answer.status_code, answer.json()["errors"]) == (200, [])


async def test_start_with_other_options_than_it_was_begun_with_is_409(open_rig: Rig) -> None:
    tenant_id = await open_rig.begun()
    open_rig.ended(tenant_id, "PARTIAL", done=9)
    answer = await open_rig.post(f"{base(tenant_id)}/start", json={"include_demo_data": True})
    assert answer.status_code == 409
    assert answer.json()["detail"]["type"] == "already_provisioning"
    # With those it has, or none, it goes on, and what is done stays done.
    answer = await open_rig.post(
        f"{base(tenant_id)}/start", json={"include_demo_data": False, "country_template": None}
    )
    assert (answer.status_code, answer.json()["status"]) == (200, "IN_PROGRESS")
    assert answer.json()["steps_completed"] == 8


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (b"{", ["body"]),
        (b'{"include_demo_data":"perhaps"}', ["body", "include_demo_data"]),
        (b"[1]", ["body"]),
        (b'{"country_template":"\\ud800"}', ["body", "country_template"]),
        (b"[" * 100_000, ["body"]),
    ],
)
async def test_a_body_that_is_wrong_is_422_and_never_echoed(
    open_rig: Rig, content: bytes, place: list[str]
) -> None:
    tenant_id = await open_rig.registered()
    answer = await open_rig.post(f"{base(tenant_id)}/start", content=content, headers=JSON)
    assert answer.status_code == 422
    assert [each["loc"] for each in answer.json()["detail"]] == [place]
    assert all(set(each) == {"loc", "msg", "type"} for each in answer.json()["detail"])
    assert "perhaps" not in answer.text


async def test_skipping_the_demo_items_where_there_are_none_changes_nothing(
    open_rig: Rig,
) -> None:
    tenant_id = await open_rig.begun()
    before = open_rig.counts()
    answer = await open_rig.post(f"{base(tenant_id)}/skip-step", json={"step": "step_6_items"})
    assert (answer.status_code, answer.json()["status"]) == (200, "IN_PROGRESS")
    assert open_rig.counts() == before


async def test_failed_demo_items_can_be_skipped(open_rig: Rig) -> None:
    tenant_id = await open_rig.begun(demo=True)
    open_rig.ended(tenant_id, "PARTIAL", done=11)
    open_rig.ended(tenant_id, "PARTIAL", done=0, error="no UOM", key="step_6_items")
    answer = await open_rig.post(f"{base(tenant_id)}/skip-step", json={"step": "step_6_items"})
    assert (answer.status_code, answer.json()["status"]) == (200, "COMPLETED")
    logs = (await open_rig.get(f"{base(tenant_id)}/logs")).json()["logs"]
    assert [each["status"] for each in logs if each["step"] == "step_6_items"] == ["skipped"]


@pytest.mark.parametrize("step", ["step_2_company", "step_9_pos_session", "nonsense", ""])
async def test_no_other_step_can_be_skipped(open_rig: Rig, step: str) -> None:
    tenant_id = await open_rig.begun()
    answer = await open_rig.post(f"{base(tenant_id)}/skip-step", json={"step": step})
    assert answer.status_code == 400
    assert answer.json()["detail"]["type"] == "step_not_skippable"
    answer = await open_rig.post(f"{base(tenant_id)}/skip-step", json={})
    assert answer.status_code == 422


async def test_the_log_lists_the_steps_in_step_order_with_what_became_of_them(
    open_rig: Rig,
) -> None:
    tenant_id = await open_rig.begun()
    open_rig.ended(tenant_id, "FAILED", done=6, error="no price list", key="step_8_pos_profile")
    open_rig.sql("UPDATE steps SET adopted = 1 WHERE key = 'step_1_platform_setup'")
    answer = await open_rig.get(f"{base(tenant_id)}/logs")
    lines = answer.json()["logs"]
    assert [(line["step"], line["status"]) for line in lines] == [
        ("step_0_engine_check", "completed"),
        ("step_1_platform_setup", "exists"),
        ("step_2_company", "completed"),
        ("step_3_chart_of_accounts", "completed"),
        ("step_4_warehouses", "completed"),
        ("step_5_settings", "completed"),
        ("step_6_items", "skipped"),
        ("step_8_pos_profile", "failed"),
    ]
    assert answer.text.startswith(
        '{"logs":[{"step":"step_0_engine_check","status":"completed",'
        '"message":"Engine check: done","error":null,'
        '"completed_at":"2026-03-01T08:15:05.010000Z","duration_ms":890.0}'
    )
    assert lines[6]["message"] == "Demo items not requested"
    assert lines[6]["duration_ms"] == 0
    assert lines[7]["error"] == "no price list"


async def test_the_log_of_a_run_that_has_just_begun_is_an_empty_list(open_rig: Rig) -> None:
    tenant_id = await open_rig.begun()
    assert (await open_rig.get(f"{base(tenant_id)}/logs")).text == '{"logs":[]}'


@pytest.mark.parametrize(
    ("route", "kind"),
    [
        ("status", "status_error"),
        ("logs", "logs_error"),
        ("start", "provisioning_error"),
        ("retry", "retry_error"),
        ("continue", "continue_error"),
        ("skip-step", "skip_error"),
    ],
)
async def test_a_bug_is_a_500_with_the_routes_type_and_without_a_traceback(
    open_rig: Rig, monkeypatch: pytest.MonkeyPatch, route: str, kind: str
) -> None:
    async def broken(*_: object) -> None:
        raise ZeroDivisionError("secret facts")

    monkeypatch.setattr("server.queries.Queries.answer", broken)
    method = "GET" if route in {"status", "logs"} else "POST"
    answer = await open_rig.http.request(
        method, f"{base(UNKNOWN)}/{route}", json={"step": "step_6_items"}
    )
    assert answer.status_code == 500
    assert answer.json()["detail"]["type"] == kind
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text


@pytest.mark.parametrize("order", ["start", "retry", "continue", "skip-step"])
async def test_who_may_only_look_is_refused_however_the_tenant_stands_and_the_audit_says_so(
    strict: Rig, order: str
) -> None:
    moving = await strict.begun()
    stopped = await strict.begun("Neema Stores")
    strict.ended(stopped, "COMPLETED", done=10)
    viewer = await strict.member("viewer@example.com", moving, stopped, role="VIEWER")
    for tenant_id in (moving, stopped):
        sent = {"step": "step_4_warehouses"} if order == "skip-step" else {}
        answer = await strict.post(f"{base(tenant_id)}/{order}", json=sent, headers=viewer)
        assert (answer.status_code, "may not" in answer.json()["detail"]) == (403, True)
    rows = strict.sql("SELECT target FROM audit WHERE outcome = 'NOT_ALLOWED' ORDER BY at")
    assert [target for (target,) in rows] == [moving, stopped]
