"""Whose a document is, and whether a Company may be made (promise 8)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import product

import pytest

from server.model.ownership import (
    CLOCK_TOLERANCE,
    CompanyRecord,
    CompanySeen,
    CompanyVerdict,
    Document,
    Resource,
    had_till,
    judge_company,
    resource_key,
    settle,
)
from server.model.states import ResourceState
from tests.server.model.builders import AT

US, OTHERS = "provisioner@example.com", "admin@example.com"
BOTH = (False, True)
INTENDED, CREATED, ADOPTED = (
    ResourceState.INTENDED,
    ResourceState.CREATED,
    ResourceState.ADOPTED,
)
SECOND = timedelta(seconds=1)


def resource(state: ResourceState | None) -> Resource | None:
    if state is None:
        return None
    return Resource(doctype="Company", name="Acme", state=state, intended_at=AT)


def document(*, owner: str = OTHERS, ago: timedelta | None = SECOND) -> Document:
    return Document(
        doctype="Company", name="Acme", owner=owner, created_at=None if ago is None else AT - ago
    )


def seen(
    *,
    owner: str = OTHERS,
    ago: timedelta = SECOND,
    abbreviation: str = "ACM",
    country: str = "Kenya",
    currency: str = "KES",
) -> CompanySeen:
    return CompanySeen(
        document=document(owner=owner, ago=ago),
        abbreviation=abbreviation,
        country=country,
        currency=currency,
    )


def record(
    *,
    state: ResourceState | None = None,
    abbreviation: str | None = "ACM",
    passed: bool = False,
    completed_once: bool = False,
    only: bool = True,
    person: bool = False,
) -> CompanyRecord:
    return CompanyRecord(
        resource=resource(state),
        abbreviation=abbreviation,
        passed_company_step=passed,
        completed_once=completed_once,
        only_tenant_of_name=only,
        ordered_to_make_again=person,
    )


def judge(about: CompanyRecord, company: CompanySeen | None) -> CompanyVerdict:
    return judge_company(about, company, country="Kenya", currency="KES", api_user=US)


@pytest.mark.parametrize(
    ("owner", "ago", "state"),
    [
        (US, -SECOND, CREATED),
        (US, timedelta(), CREATED),
        (US, CLOCK_TOLERANCE, CREATED),
        (US, CLOCK_TOLERANCE + SECOND, ADOPTED),
        (US, None, ADOPTED),
        (OTHERS, -SECOND, ADOPTED),
        ("", -SECOND, ADOPTED),
    ],
)
def test_what_we_asked_for_and_our_user_then_made_is_ours(
    owner: str, ago: timedelta | None, state: ResourceState
) -> None:
    assert settle(resource(INTENDED), document(owner=owner, ago=ago), US) is state


@pytest.mark.parametrize("state", [CREATED, ADOPTED])
@pytest.mark.parametrize("owner", [US, OTHERS])
def test_what_the_record_settled_stays_settled(state: ResourceState, owner: str) -> None:
    assert settle(resource(state), document(owner=owner), US) is state


@pytest.mark.parametrize(
    ("owner", "later", "settled", "state"),
    [
        (OTHERS, CLOCK_TOLERANCE + SECOND, True, ADOPTED),
        (OTHERS, CLOCK_TOLERANCE, True, CREATED),  # a clock, and another API user since
        (US, CLOCK_TOLERANCE + SECOND, True, CREATED),  # by another process of ours
        ("", CLOCK_TOLERANCE + SECOND, True, CREATED),
        (OTHERS, CLOCK_TOLERANCE + SECOND, False, CREATED),
    ],
)
def test_what_somebody_made_in_place_of_ours_is_theirs(
    owner: str, later: timedelta, settled: bool, state: ResourceState
) -> None:
    made = resource(CREATED)
    assert made is not None
    made = replace(made, settled_at=AT if settled else None)
    assert settle(made, document(owner=owner, ago=-later), US) is state
    row = replace(document(owner=owner, ago=-later), row_of_shared=True)
    assert settle(made, row, US) is CREATED


@pytest.mark.parametrize(
    ("state", "settled", "changing", "unknown"),
    [
        (ResourceState.INTENDED, False, False, True),
        (ResourceState.INTENDED, True, False, False),
        (ResourceState.INTENDED, True, True, True),
        (ResourceState.CREATED, False, False, False),
        (ResourceState.CREATED, True, True, True),
        (ResourceState.ADOPTED, False, False, False),
        (ResourceState.REMOVED, True, False, False),
    ],
)
def test_an_outcome_is_unknown_while_a_request_or_a_change_may_be_out(
    state: ResourceState, *, settled: bool, changing: bool, unknown: bool
) -> None:
    about = Resource(
        doctype="Warehouse",
        name="Main Store - KS",
        state=state,
        intended_at=AT,
        busy_until=AT if changing else None,
        settled_at=AT if settled else None,
    )
    assert about.outcome_unknown is unknown


@pytest.mark.parametrize(
    ("doctype", "state", "had"),
    [
        ("POS Opening Entry", ResourceState.CREATED, True),
        ("POS Opening Entry", ResourceState.ADOPTED, True),
        ("POS Opening Entry", ResourceState.INTENDED, False),
        ("POS Opening Entry", ResourceState.REMOVED, False),
        ("POS Profile", ResourceState.CREATED, False),
    ],
)
def test_a_till_was_opened_if_the_record_says_that_its_entry_was_there(
    doctype: str, state: ResourceState, *, had: bool
) -> None:
    about = Resource(doctype=doctype, name="A", state=state, intended_at=AT)
    assert had_till([about]) is had


@pytest.mark.parametrize("owner", [US, OTHERS])
def test_what_we_never_asked_for_is_adopted(owner: str) -> None:
    assert settle(None, document(owner=owner), US) is ADOPTED


def test_a_document_is_known_by_its_name_as_the_engine_compares_it() -> None:
    assert resource_key("Company", "Café") == resource_key("Company", "CAFE ")
    assert resource_key("Company", "Café") != resource_key("Customer", "Café")


@pytest.mark.parametrize(
    ("state", "passed", "completed_once", "only", "person"),
    list(product((None, INTENDED, CREATED, ADOPTED), BOTH, BOTH, BOTH, BOTH)),
)
def test_a_company_that_was_there_and_is_gone_is_made_again_for_a_person_only(
    state: ResourceState | None, passed: bool, completed_once: bool, only: bool, person: bool
) -> None:
    about = record(
        state=state, passed=passed, completed_once=completed_once, only=only, person=person
    )
    was_there = completed_once or state in {CREATED, ADOPTED}
    expected = CompanyVerdict.VANISHED if was_there and not person else CompanyVerdict.MAKE
    assert judge(about, None) is expected


@pytest.mark.parametrize(("passed", "completed_once"), list(product(BOTH, BOTH)))
def test_a_company_that_we_removed_did_not_vanish(passed: bool, completed_once: bool) -> None:
    about = record(state=ResourceState.REMOVED, passed=passed, completed_once=completed_once)
    assert judge(about, None) is CompanyVerdict.MAKE


@pytest.mark.parametrize(
    ("state", "maker", "passed", "only", "agrees"),
    list(
        product(
            (None, INTENDED, CREATED, ADOPTED),
            product((US, OTHERS), (-SECOND, CLOCK_TOLERANCE + SECOND)),
            BOTH,
            BOTH,
            BOTH,
        )
    ),
)
def test_a_company_that_is_there_is_taken_only_where_the_record_proves_it(
    state: ResourceState | None,
    maker: tuple[str, timedelta],
    passed: bool,
    only: bool,
    agrees: bool,
) -> None:
    owner, ago = maker
    company = seen(owner=owner, ago=ago, currency="KES" if agrees else "USD")
    proven = state in {CREATED, ADOPTED} or (
        state is INTENDED and owner == US and ago < CLOCK_TOLERANCE
    )
    asked_for = state is INTENDED and owner == US
    if proven:
        expected = CompanyVerdict.OURS
    elif (passed or asked_for) and only and agrees:
        expected = CompanyVerdict.ADOPT
    else:
        expected = CompanyVerdict.NOT_OURS
    # Neither an order by a person nor a completed past makes a stranger's Company ours.
    for completed_once, person in product(BOTH, BOTH):
        about = record(
            state=state, passed=passed, only=only, completed_once=completed_once, person=person
        )
        assert judge(about, company) is expected


@pytest.mark.parametrize(
    ("bound", "company", "verdict"),
    [
        ("ACM", seen(abbreviation="ACM"), CompanyVerdict.ADOPT),
        ("acm", seen(abbreviation="ACM"), CompanyVerdict.ADOPT),
        (None, seen(abbreviation="XYZ"), CompanyVerdict.ADOPT),
        ("ACM", seen(abbreviation="XYZ"), CompanyVerdict.NOT_OURS),
        ("ACM", seen(country="Uganda"), CompanyVerdict.NOT_OURS),
        ("ACM", seen(currency="UGX"), CompanyVerdict.NOT_OURS),
    ],
)
def test_a_company_is_adopted_only_if_abbreviation_country_and_currency_agree(
    bound: str | None, company: CompanySeen, verdict: CompanyVerdict
) -> None:
    assert judge(record(passed=True, abbreviation=bound), company) is verdict


@pytest.mark.parametrize(
    ("state", "bound", "owner", "verdict"),
    [
        (INTENDED, "acm", US, CompanyVerdict.ADOPT),
        (INTENDED, "XYZ", US, CompanyVerdict.NOT_OURS),
        (INTENDED, None, US, CompanyVerdict.NOT_OURS),
        (INTENDED, "ACM", OTHERS, CompanyVerdict.NOT_OURS),
        (None, "ACM", US, CompanyVerdict.NOT_OURS),
        (ResourceState.REMOVED, "ACM", US, CompanyVerdict.NOT_OURS),
    ],
)
def test_a_company_that_we_asked_for_is_taken_whatever_a_clock_says(
    state: ResourceState | None, bound: str | None, owner: str, verdict: CompanyVerdict
) -> None:
    """The host that asked for it was 90 s ahead of the site: it failed for good."""
    about = record(state=state, abbreviation=bound)
    assert judge(about, seen(owner=owner, ago=90 * SECOND)) is verdict


def row(*, owner: str = OTHERS, saved: timedelta | None = SECOND) -> Document:
    """A row of a shared document that was made long ago, and saved so long after we asked."""
    return Document(
        doctype="Mode of Payment Account",
        name="M-Pesa / Acme",
        owner=owner,
        created_at=AT - timedelta(days=99),
        row_of_shared=True,
        saved_at=None if saved is None else AT + saved,
    )


@pytest.mark.parametrize("owner", [US, OTHERS])
@pytest.mark.parametrize(
    ("saved", "state"),
    [
        (SECOND, CREATED),
        (-CLOCK_TOLERANCE, CREATED),
        # Nobody saved it since we asked: the row was there before.
        (-CLOCK_TOLERANCE - SECOND, ADOPTED),
        # It says something else than what we ask for.
        (None, ADOPTED),
    ],
)
def test_a_row_of_a_shared_document_is_ours_if_that_was_saved_since_we_asked_for_it(
    owner: str, saved: timedelta | None, state: ResourceState
) -> None:
    """Its owner and its creation are those of the document it is in, whoever added it."""
    assert settle(resource(INTENDED), row(owner=owner, saved=saved), US) is state


@pytest.mark.parametrize("owner", [US, OTHERS])
def test_a_row_that_we_did_not_ask_for_is_not_ours(owner: str) -> None:
    """Such as that for Cash, which ERPNext adds with a Company."""
    assert settle(None, row(owner=owner), US) is ADOPTED


def test_a_rows_own_creation_proves_nothing() -> None:
    """Our user made the Mode of Payment a moment ago, and somebody else added this row."""
    made = Document(
        doctype="Mode of Payment Account",
        name="M-Pesa / Acme",
        owner=US,
        created_at=AT + SECOND,
        row_of_shared=True,
    )
    assert settle(resource(INTENDED), made, US) is ADOPTED
