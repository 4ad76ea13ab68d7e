"""Classification, against every recorded exchange and against what was not recorded."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from server.erpnext.classify import Failure, judge_failure, judge_reply
from server.erpnext.codes import Code
from server.erpnext.reply import Reply, clock_ahead
from server.erpnext.requests import cancel, change, delete, get, insert_row, make, rows
from server.errors import EngineError
from server.model.states import ErrorClass
from server.model.step_context import Answer, AnswerKind, Request
from tests.server.erpnext.expectations import EXPECTED
from tests.server.erpnext.recordings import Exchange, exchanges, exchanges_of

if TYPE_CHECKING:
    from server.erpnext.verdicts import Judgement

RECORDED = [each for each in exchanges() if each.reply is not None]
CASES = list(dict.fromkeys(each.case for each in RECORDED))
WANTED = {
    (case, index): outcome
    for outcome, cases in EXPECTED.items()
    for case, indexes in cases.items()
    for index in indexes
}
COMPANY = make("Company", "Duka", {"company_name": "Duka", "abbr": "D", "country": "Kenya"})


def replies_of(case: str) -> list[tuple[Exchange, Reply]]:
    return [(each, each.reply) for each in RECORDED if each.case == case and each.reply]


def outcome_of(judgement: Judgement) -> str:
    if isinstance(judgement, Answer):
        return judgement.kind.name
    asks = " ask" if judgement.ask_prober else ""
    wish = judgement.retry_after_seconds
    waits = "" if wish is None else f" after {wish:g} s"
    site = " for the site" if judgement.whole_site else ""
    return f"{judgement.error_class} {judgement.code}{asks}{waits}{site}"


def judged(request: Request, status: int, body: object, **headers: str) -> Judgement:
    encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
    return judge_reply(request, Reply(status=status, headers=headers, body=encoded))


def error(request: Request, status: int, body: object, **headers: str) -> EngineError:
    judgement = judged(request, status, body, **headers)
    assert isinstance(judgement, EngineError)
    return judgement


def said(exc_type: str, *messages: str) -> dict[str, object]:
    words = json.dumps([json.dumps({"message": each}) for each in messages])
    return {"exc_type": exc_type, "_server_messages": words}


@pytest.mark.parametrize("case", CASES)
def test_a_recorded_answer_means_what_was_judged_by_hand(case: str) -> None:
    for each, reply in replies_of(case):
        wanted = WANTED.get((case, each.index), "OK")
        assert outcome_of(judge_reply(each.request, reply)) == wanted, (each.index, each.note)


@pytest.mark.parametrize("case", CASES)
def test_a_recorded_success_gives_what_the_body_holds(case: str) -> None:
    for each, reply in replies_of(case):
        judgement = judge_reply(each.request, reply)
        if isinstance(judgement, Answer) and judgement.kind is AnswerKind.OK:
            body = json.loads(reply.body)
            (held,) = [value for name, value in body.items() if name != "_server_messages"] or [
                None
            ]
            assert (judgement.data, judgement.status) == (held, reply.status), each.index


def test_every_judgement_by_hand_is_of_a_recorded_failure() -> None:
    failed = {
        (each.case, each.index)
        for each in RECORDED
        if each.reply and (each.reply.status >= 300 or each.request.method == "HEAD")
    }
    # OPTIONS answers 200 without JSON, which no step can use.
    assert set(WANTED) - failed <= {("11-method-not-allowed", 5), ("11-method-not-allowed", 6)}
    assert failed <= set(WANTED)


# Only the database's own error number tells a lost connection from a wrong date.
_NEED_NUMBER = {
    ("02-company-create-wrong-type", 2),
    ("09-pos-opening-dates", 3),
    ("09-pos-opening-dates", 4),
    ("09-pos-opening-dates", 8),
    ("09-pos-opening-dates", 9),
}


@pytest.mark.parametrize("case", CASES)
def test_judging_needs_no_traceback(case: str) -> None:
    for each, reply in replies_of(case):
        try:
            body = json.loads(reply.body)
        except ValueError:
            continue
        for name in ("exception", "exc", "_exc_source", "_error_message"):
            body.pop(name, None)
        bare = replace(reply, body=json.dumps(body).encode())
        wanted = WANTED.get((case, each.index), "OK")
        if (case, each.index) in _NEED_NUMBER:
            wanted = "UNKNOWN_OUTCOME OUTCOME_UNKNOWN ask"
        assert outcome_of(judge_reply(each.request, bare)) == wanted, (each.index, each.note)


def test_a_cut_call_without_an_answer_is_of_unknown_outcome_for_a_write() -> None:
    each = exchanges_of("11-client-timeout")[0]
    assert each.reply is None
    failure = judge_failure(each.request, Failure.TIMED_OUT, "ReadTimeout")
    assert outcome_of(failure) == "UNKNOWN_OUTCOME OUTCOME_UNKNOWN ask"


@pytest.mark.parametrize(
    ("failure", "request_", "wanted"),
    [
        (Failure.NOT_SENT, COMPANY, "TRANSIENT ENGINE_UNREACHABLE ask"),
        (Failure.NOT_SENT, get("Company", "Duka"), "TRANSIENT ENGINE_UNREACHABLE ask"),
        (Failure.NO_CONNECTION_FREE, COMPANY, "TRANSIENT CONNECTIONS_EXHAUSTED"),
        (Failure.TIMED_OUT, get("Company", "Duka"), "TRANSIENT ENGINE_NO_ANSWER ask"),
        (Failure.CUT, get("Company", "Duka"), "TRANSIENT ENGINE_NO_ANSWER ask"),
        (Failure.CUT, change("Item", "x", {}), "UNKNOWN_OUTCOME OUTCOME_UNKNOWN ask"),
        (Failure.TOO_LARGE, COMPANY, "UNKNOWN_OUTCOME OUTCOME_UNKNOWN ask"),
        (Failure.TOO_LARGE, get("Item", "x"), "PERMANENT ENGINE_UNEXPECTED_ANSWER"),
    ],
)
def test_a_missing_answer_is_judged_by_what_may_have_happened(
    failure: Failure, request_: Request, wanted: str
) -> None:
    assert outcome_of(judge_failure(request_, failure, "why")) == wanted


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_proxys_error_page_leaves_a_write_unknown_and_a_read_to_the_prober(status: int) -> None:
    page = b"<html><body>Bad Gateway</body></html>"
    assert outcome_of(judged(COMPANY, status, page)) == "UNKNOWN_OUTCOME OUTCOME_UNKNOWN ask"
    read = judged(get("Company", "Duka"), status, page)
    assert outcome_of(read) == "TRANSIENT ENGINE_DOWN ask"


def test_a_page_with_status_200_is_never_a_success() -> None:
    assert outcome_of(judged(COMPANY, 200, b"<html>")) == "UNKNOWN_OUTCOME OUTCOME_UNKNOWN ask"
    read = judged(get("Company", "Duka"), 200, b"<html>")
    assert outcome_of(read) == "TRANSIENT ENGINE_UNEXPECTED_ANSWER ask"


def test_a_redirect_means_a_wrong_address() -> None:
    moved = judged(get("Company", "Duka"), 301, b"", location="https://elsewhere.example")
    assert outcome_of(moved) == "TRANSIENT ENGINE_WRONG_HOST ask"


def test_a_redirect_says_where_to_without_what_was_asked() -> None:
    found = error(
        get("Company", "Duka"), 308, {"a": 1}, location="https://elsewhere.example/x?sid=secret"
    )
    assert found.code == Code.ENGINE_WRONG_HOST
    assert "https://elsewhere.example/x" in found.message
    assert "secret" not in found.message


@pytest.mark.parametrize("status", [400, 402, 403, 404, 408, 410, 421, 425, 451])
@pytest.mark.parametrize("body", [b"<html>No</html>", b'{"message": "no Route matched"}', b""])
def test_a_refusal_that_is_not_erpnexts_is_the_sites_trouble_and_not_one_tenants(
    status: int, body: bytes
) -> None:
    for request in (get("Company", "Duka"), COMPANY):
        wanted = "TRANSIENT ENGINE_WRONG_HOST ask"
        assert outcome_of(judged(request, status, body)) == wanted


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, b"<html>Request Line is too large (4096 &gt; 4094)</html>"),
        (400, b"<h1>Request Header Or Cookie Too Large</h1>"),
        (413, b"<html>"),
        (414, b""),
        (431, b""),
    ],
)
def test_a_request_that_is_too_large_for_a_web_server_would_be_so_again(
    status: int, body: bytes
) -> None:
    answer = error(COMPANY, status, body)
    assert outcome_of(answer) == "PERMANENT ENGINE_UNEXPECTED_ANSWER"
    assert f"refused by a web server ({status}), not by ERPNext" in answer.message


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_gateways_own_json_leaves_a_write_unknown(status: int) -> None:
    body = {"message": "Endpoint request timed out"}
    assert outcome_of(judged(COMPANY, status, body)) == "UNKNOWN_OUTCOME OUTCOME_UNKNOWN ask"
    assert outcome_of(judged(get("Company", "a"), status, body)) == "TRANSIENT ENGINE_DOWN ask"


@pytest.mark.parametrize(
    "request_",
    [
        COMPANY,
        change("Item", "x", {"a": 1}),
        delete("Company", "Duka"),
        insert_row("Mode of Payment Account", "Cash / Duka", {}),
        cancel("POS Opening Entry", "POS-OPE-D-1"),
    ],
)
@pytest.mark.parametrize(
    "body",
    [
        {"ok": True},
        {"message": "We are back in a few minutes."},
        {"message": {"status": "maintenance"}},
        {"data": []},
        {"data": {}},
        {"data": True},
    ],
)
def test_a_success_without_what_erpnext_says_of_a_write_is_of_unknown_outcome(
    request_: Request, body: dict[str, object]
) -> None:
    assert outcome_of(judged(request_, 200, body)) == "UNKNOWN_OUTCOME OUTCOME_UNKNOWN ask"


@pytest.mark.parametrize(
    "body", [{}, {"data": None}, {"data": {}}, {"data": {"x": 1}}, {"message": {"status": "away"}}]
)
def test_a_success_without_the_document_is_not_a_document_with_empty_fields(
    body: dict[str, object],
) -> None:
    """It would be somebody else's Company, or a site that was set up at another time."""
    said = "TRANSIENT ENGINE_UNEXPECTED_ANSWER ask"
    assert outcome_of(judged(get("Company", "Duka"), 200, body)) == said
    assert outcome_of(judged(get("Stock Settings", "Stock Settings"), 200, body)) == said


def test_what_erpnext_says_of_a_write_is_believed() -> None:
    assert outcome_of(judged(COMPANY, 200, {"data": {"name": "Duka"}})) == "OK"
    assert outcome_of(judged(delete("Company", "Duka"), 202, {"message": "ok"})) == "OK"
    assert outcome_of(judged(delete("Company", "Duka"), 202, {"data": "ok"})) == "OK"
    row = insert_row("Mode of Payment Account", "Cash / Duka", {})
    assert outcome_of(judged(row, 200, {"message": {"name": "1a2b3c"}})) == "OK"


def test_a_method_of_a_document_may_answer_nothing() -> None:
    start = Request(
        method="POST",
        path="/api/resource/Transaction%20Deletion%20Record/TDL0001",
        params={"run_method": "start_deletion_tasks"},
    )
    assert outcome_of(judged(start, 200, {})) == "OK"


def test_another_document_than_the_one_asked_for_is_not_taken_for_it() -> None:
    """ERPNext takes a slash at the end of a name for one of the address."""
    asked = get("Company", "Duka/")
    assert outcome_of(judged(asked, 200, {"data": {"name": "Duka"}})) == (
        "PERMANENT ENGINE_UNEXPECTED_ANSWER"
    )
    same = get("Company", "cafe  \u00d1andu ")
    assert outcome_of(judged(same, 200, {"data": {"name": "Caf\u00e9  Nandu"}})) == "OK"


def test_a_list_of_an_unknown_doctype_is_not_an_empty_list() -> None:
    answer = judged(rows("Nonsense", fields=("name",)), 404, said("DoesNotExistError", "not found"))
    assert outcome_of(answer) == "PERMANENT ENGINE_UNEXPECTED_ANSWER"


@pytest.mark.parametrize(
    ("exception", "wanted"),
    [
        ("(2006, 'Server has gone away')", "UNKNOWN_OUTCOME OUTCOME_UNKNOWN ask"),
        ("(2013, 'Lost connection')", "UNKNOWN_OUTCOME OUTCOME_UNKNOWN ask"),
        ("(2003, 'Can not connect')", "TRANSIENT ENGINE_DOWN ask"),
        ("(1020, 'Record has changed')", "RACE ENGINE_DEADLOCK"),
        ("(1292, 'Incorrect datetime')", "PERMANENT ENGINE_FAULT"),
    ],
)
def test_a_database_error_is_judged_by_its_number(exception: str, wanted: str) -> None:
    body = {
        "exc_type": "OperationalError",
        "exception": f"pymysql.err.OperationalError: {exception}",
    }
    assert outcome_of(judged(COMPANY, 500, body)) == wanted


def test_a_missing_account_of_a_name_that_only_begins_like_ours_is_a_race() -> None:
    ours = make("Company", "Cash", {"company_name": "Cash", "abbr": "C"})
    race = judged(
        ours,
        417,
        said("LinkValidationError", "Could not find Row #4: Default Account: Cash - XY"),
    )
    assert outcome_of(race) == "RACE ENGINE_LINK_RACE"
    own = judged(ours, 417, said("LinkValidationError", "Could not find Parent Company: Cash"))
    assert outcome_of(own) == "PERMANENT REFERENCE_MISSING"


def test_a_missing_name_of_ours_is_known_where_only_the_traceback_names_it() -> None:
    """It was tried twenty times as a race, and then said to be another tenant's document."""
    request = make("POS Opening Entry", "y", {"user": "gone@example.com"})
    body = {
        "exc_type": "LinkValidationError",
        "exception": "frappe.exceptions.LinkValidationError: Could not find User: gone@example.com",
    }
    assert outcome_of(judged(request, 417, body)) == "PERMANENT REFERENCE_MISSING"


def test_one_of_two_missing_names_being_ours_is_no_race() -> None:
    request = insert_row("Mode of Payment Account", "k", {"default_account": "A & B - D"})
    words = "Could not find Row #1: Default Account: A & B - D, Row #2: Company: Nobody"
    answer = judged(request, 417, said("LinkValidationError", words))
    assert outcome_of(answer) == "PERMANENT REFERENCE_MISSING"


def test_a_duplicate_is_known_by_its_name_where_the_doctype_is_in_another_language() -> None:
    words = "Firma <strong>Duka</strong> existiert bereits"
    assert outcome_of(judged(COMPANY, 409, said("DuplicateEntryError", words))) == "EXISTS"
    words = "Konto <strong>Aktiva - D</strong> existiert bereits"
    answer = judged(COMPANY, 409, said("DuplicateEntryError", words))
    assert outcome_of(answer) == "PERMANENT ABBREVIATION_TAKEN"


def test_a_duplicate_of_something_else_is_no_success() -> None:
    words = "Batch <strong>x</strong> already exists"
    answer = judged(make("Item", "y", {}), 409, said("DuplicateEntryError", words))
    assert outcome_of(answer) == "PERMANENT NAME_TAKEN"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("", 60.0),
        ("soon", 60.0),
        ("99999", 600.0),
        # As proxies say it: by the clock of the answer.
        ("Mon, 23 Nov 2026 12:00:30 GMT", 30.0),
        # The same would be said at once, without end, to everybody who came.
        ("Mon, 23 Nov 2026 11:00:00 GMT", 1.0),
        ("0", 1.0),
        ("Tue, 24 Nov 2026 12:00:00 GMT", 600.0),
        ("Mon, 23 Nov 99999999999999999999 12:00:30 GMT", 60.0),
    ],
)
def test_a_rate_limit_is_waited_for_as_long_as_the_engine_asks_within_reason(
    header: str, seconds: float
) -> None:
    headers = {"retry-after": header, "date": "Mon, 23 Nov 2026 12:00:00 GMT"}
    found = error(COMPANY, 429, {"exc_type": "TooManyRequestsError"}, **headers)
    assert found.retry_after_seconds == seconds
    assert not found.ask_prober


def test_a_clock_that_tells_no_time_at_all_is_passed_over() -> None:
    headers = {"date": "Mon, 23 Nov 99999999999999999999 12:00:00 GMT"}
    assert clock_ahead(headers, datetime.now(UTC)) is None


def test_a_date_to_come_again_needs_a_clock_to_compare_with() -> None:
    headers = {"retry-after": "Mon, 23 Nov 2026 12:00:30 GMT"}
    assert error(COMPANY, 429, b"<html>", **headers).retry_after_seconds == 60.0


def test_words_are_heard_where_messages_are_broken_or_missing() -> None:
    broken = json.dumps(["{", json.dumps({"message": "Abbreviation already used"})])
    body = {"exc_type": "ValidationError", "_server_messages": broken}
    assert error(COMPANY, 417, body).code == Code.ABBREVIATION_TAKEN
    decoded = [{"message": "Abbreviation already used"}]
    body_of_lists = {"exc_type": "ValidationError", "_server_messages": decoded}
    assert error(COMPANY, 417, body_of_lists).code == Code.ABBREVIATION_TAKEN
    told = {"exc_type": "PermissionError", "_error_message": "No permission for Company"}
    assert "No permission for Company" in error(COMPANY, 403, told).message


def test_what_is_not_known_is_counted_when_the_server_failed_and_final_when_it_refused() -> None:
    failed = error(COMPANY, 500, {"exc_type": "BrandNewError"})
    assert (failed.error_class, failed.code) == (
        ErrorClass.TRANSIENT,
        Code.ENGINE_UNEXPECTED_ANSWER,
    )
    refused = error(COMPANY, 422, {"exc_type": "BrandNewError"})
    assert refused.error_class is ErrorClass.PERMANENT
    assert refused.evidence["status"] == "422"


def test_engine_words_are_plain_and_short() -> None:
    words = "<details><b>No</b>&nbsp;way</details>" + "x" * 5000
    found = error(COMPANY, 417, said("ValidationError", words, "Again."))
    assert found.engine_message.startswith("No way")
    assert len(found.engine_message) <= 400


@pytest.mark.parametrize("messages", ["nonsense", "[1]", '["{"]', "{}", "null", "5", '["[]"]'])
def test_broken_messages_do_not_stop_the_judging(messages: str) -> None:
    body = {"exc_type": "ValidationError", "_server_messages": messages}
    assert outcome_of(judged(COMPANY, 417, body)) == "PERMANENT ENGINE_REFUSED"


def test_a_missing_role_is_named_with_its_doctype() -> None:
    body = said("PermissionError", "User <strong>a@b</strong> does not have access")
    found = error(make("Warehouse", "W", {}), 403, body)
    assert found.code == Code.ROLE_MISSING
    assert "Stock Manager" in found.message
    assert "Warehouse" in found.message
    # A user that has the role may be limited otherwise; the site's gate stays open then.
    assert "If it has that role, see what narrows it" in found.message


def test_a_success_carries_what_the_body_holds() -> None:
    for body, data in (({"data": [1]}, [1]), ({"message": "pong"}, "pong"), ({}, None)):
        answer = judged(rows("Company", fields=("name",)), 200, body)
        assert isinstance(answer, Answer)
        assert (answer.kind, answer.data) == (AnswerKind.OK, data)
