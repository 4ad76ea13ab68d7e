"""Checks the filters and the order of a list."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from server.errors import InvalidInput, Violation
from server.limits import MAX_PAGE
from server.model.listing import Listing, ListOrder, words_of
from server.model.states import TenantState
from server.validation.words import MAX_NAME, shown, unfit_character


@dataclass(frozen=True, slots=True, kw_only=True)
class RawListing:
    """A ListTenantsRequest as it was sent.

    Attributes:
        states: None stands for an unknown word.
        held: None if it was not sent.
        stuck_longer_than: None if it was not sent.
        order: None for an unknown word.
        page_size: 0 if it was not sent.
        page_token: Checked where it is read (`server.queries.listing`).
    """

    states: tuple[TenantState | None, ...] = ()
    engine_id: str = ""
    text: str = ""
    held: bool | None = None
    stuck_longer_than: timedelta | None = None
    order: ListOrder | None = ListOrder.NEWEST
    page_size: int = 0
    page_token: str = ""


def validate_listing(raw: RawListing) -> Listing:
    """Check the filters and the order of a list.

    Returns:
        What to ask the store for; page size and token are not part of it.

    Raises:
        InvalidInput: with every wrong field.
    """
    text = words_of(raw.text)
    wrong = {
        "states": _wrong_if(
            None in raw.states, f"has an unknown state. Send some of {', '.join(TenantState)}."
        ),
        "engine_id": _wrong_if(
            len(raw.engine_id) > MAX_NAME or bool(unfit_character(raw.engine_id)),
            f"{shown(raw.engine_id)} can't be an engine's id. See the engines file.",
        ),
        "text": _wrong_if(
            len(raw.text) > MAX_NAME or bool(raw.text.strip() and not text),
            f"{shown(raw.text)} matches no name. Send the beginning of a word of the company's "
            "name, or of the tenant's id.",
        ),
        "stuck_longer_than": _wrong_if(
            raw.stuck_longer_than is not None and raw.stuck_longer_than < timedelta(0),
            "is negative. Send a time span such as 3600s.",
        ),
        "order_by": _wrong_if(
            raw.order is None, f"is an unknown order. Send one of {', '.join(ListOrder)}."
        ),
        "page_size": _wrong_if(
            raw.page_size < 0, f"{raw.page_size} is negative. Send 1 to {MAX_PAGE}."
        ),
    }
    violations = [Violation(field=name, description=why) for name, why in wrong.items() if why]
    if violations:
        raise InvalidInput(tuple(violations))
    return Listing(
        states=frozenset(state for state in raw.states if state is not None),
        engine_id=raw.engine_id.strip(),
        text=text,
        held=raw.held,
        stuck_longer_than=raw.stuck_longer_than,
        order=raw.order or ListOrder.NEWEST,
    )


def _wrong_if(wrong: bool, why: str) -> str:  # noqa: FBT001 - private, and reads as it is said
    return why if wrong else ""
