"""Turns answers into values: rows, documents with their times in UTC, flags, conflicts.

ERPNext writes times without a zone, in the site's zone (recording 02-countries-by-code: three
hours ahead of UTC in Nairobi). They are compared with the times of our intents, so they leave
this module only in UTC.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from server.erpnext.codes import Code
from server.errors import EngineError
from server.model.difference import Difference
from server.model.naming import fold_name
from server.model.ownership import Document
from server.model.states import ErrorClass

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from zoneinfo import ZoneInfo

    from server.erpnext.requests import JsonObject
    from server.model.step_context import Answer

# Every list whose rows become documents asks for these.
OWNERSHIP_FIELDS = ("name", "owner", "creation")


def rows_of(answer: Answer) -> list[JsonObject]:
    """Return the rows of a list.

    Raises:
        EngineError: ENGINE_UNEXPECTED_ANSWER, because the answer is not a list of rows.
    """
    if not isinstance(answer.data, list) or not all(isinstance(row, dict) for row in answer.data):
        raise _unexpected("a list")
    return answer.data


def document_of(answer: Answer) -> JsonObject:
    """Return the document in an answer of the kind OK.

    Raises:
        EngineError: ENGINE_UNEXPECTED_ANSWER, because the answer holds no document.
    """
    if not isinstance(answer.data, dict):
        raise _unexpected("a document")
    return answer.data


def text(row: JsonObject, field: str) -> str:
    """Return a field as text; "" if it is missing or null."""
    value = row.get(field)
    return "" if value is None else str(value)


def flag(row: JsonObject, field: str) -> bool:
    """Return whether a Check field is set; ERPNext sends 0 or 1, as a number or as text."""
    return text(row, field) not in {"", "0", "False"}


def seen(
    doctype: str, row: JsonObject, zone: ZoneInfo, *, name: str = "", shared: bool = False
) -> Document:
    """Return one of the engine's rows as a document for the record.

    Args:
        doctype: The row's doctype.
        row: The row, with `OWNERSHIP_FIELDS`.
        zone: The site's time zone.
        name: Our own key, for rows whose name the engine makes up; "" for the row's name.
        shared: Whether it belongs to the site rather than to the tenant.

    Returns:
        The document, with its time in UTC; that is None if the row has none.
    """
    return Document(
        doctype=doctype,
        name=name or text(row, "name"),
        owner=text(row, "owner"),
        created_at=utc(text(row, "creation"), zone),
        shared=shared,
    )


def utc(site_time: str, zone: ZoneInfo) -> datetime | None:
    """Return one of the site's times in UTC; None if it is not a time.

    When clocks go back, one hour comes twice; a time in it is taken to be in the first. A document
    can then seem older than our intent, and is adopted; it is never wrongly taken to be made by us.

    Args:
        site_time: The time as ERPNext writes it, without a zone; one that is there is believed.
        zone: The site's time zone.
    """
    try:
        naive = datetime.fromisoformat(site_time)
    except ValueError:
        return None
    return naive.replace(tzinfo=naive.tzinfo or zone).astimezone(UTC)


def conflict(
    code: Code,
    message: str,
    *,
    public: str = "",
    hold: bool = False,
    differences: Sequence[Difference] = (),
) -> EngineError:
    """Return the error that stops a tenant until a person decides.

    Args:
        code: The stable code, with its remedy in docs/errors.md.
        message: What was found and what to do, for those who see all tenants.
        public: The same without the names of other tenants, if `message` has any.
        hold: Whether only a person may move the tenant from now on.
        differences: What is not as wanted, field by field.
    """
    return EngineError(
        ErrorClass.PERMANENT,
        code,
        message,
        public=public,
        hold=hold,
        differences=differences,
    )


def differing(code: Code, differences: Sequence[Difference], remedy: str) -> EngineError:
    """Return the error for a document that exists, but not as the tenant needs it.

    Args:
        code: The conflict's code.
        differences: At least one; all of the same document.
        remedy: What a person may do about it.
    """

    def put(each_of: Sequence[Difference]) -> str:
        wrong = "; ".join(
            f"{each.field} is {each.have!r}, wanted {each.want!r}" for each in each_of
        )
        return f"{each_of[0].doctype} {each_of[0].name!r} is there, but {wrong}. {remedy}"

    public = put([each.told for each in differences])
    return conflict(code, put(differences), public=public, differences=differences)


def compared(
    doctype: str, name: str, values: Iterable[tuple[str, str, str]], *, of_others: bool = False
) -> tuple[Difference, ...]:
    """Return the fields of a document that differ, compared the way the engine compares.

    Args:
        doctype: The document's doctype.
        name: The document's name.
        values: Of each field: its name, what it has, and what it should have.
        of_others: Whether what the fields have names something of another tenant.

    Source: recordings 02-company-create-name-accents and 02-company-create-name-other-case.
    """
    return tuple(
        Difference(
            doctype=doctype, name=name, field=field, have=have, want=want, of_others=of_others
        )
        for field, have, want in values
        if fold_name(have) != fold_name(want)
    )


def _unexpected(wanted: str) -> EngineError:
    return EngineError(
        ErrorClass.TRANSIENT,
        Code.ENGINE_UNEXPECTED_ANSWER,
        f"The engine answered with something else than {wanted}; check proxies in front of it.",
        ask_prober=True,
    )
