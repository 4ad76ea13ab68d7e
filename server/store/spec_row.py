"""A tenant's spec as it is in its row, and which of its fields can't be read there.

Only SQL, a restore or an import can damage it. A field that can't be read gets a default, so that
the tenant can be shown. But books made from such a spec might be in the wrong currency, so no step
is done until a person has given the fields again (server.commands.starting).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from server.model.spec import (
    DEFAULT_CHART,
    DEFAULT_COUNTRY_CODE,
    DEFAULT_PAYMENT_METHODS,
    MAX_OPENING_AMOUNT,
    TenantSpec,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _is_code(length: int) -> Callable[[object], bool]:
    def check(value: object) -> bool:
        return (
            isinstance(value, str) and len(value) == length and value.isascii() and value.isupper()
        )

    return check


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_user(value: object) -> bool:
    return value is None or _is_text(value)


def _are_methods(value: object) -> bool:
    return isinstance(value, list) and value != [] and all(_is_text(each) for each in value)


def _is_amount(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 <= value <= MAX_OPENING_AMOUNT


# For each field: what is valid, and what is read instead of anything else. Every spec is written
# with all of them (server.store.rows.spec_text), so one that is missing is damage; of a field that
# comes later it is not, because the rows that are there lack it. Name and engine have their own
# columns.
_FIELDS: dict[str, tuple[Callable[[object], bool], object]] = {
    "country_code": (_is_code(2), DEFAULT_COUNTRY_CODE),
    "currency": (_is_code(3), "KES"),
    "chart_template": (_is_text, DEFAULT_CHART),
    "include_demo_data": (_is_flag, False),
    "pos_store_enabled": (_is_flag, True),
    "till_user": (_is_user, None),
    "payment_methods": (_are_methods, list(DEFAULT_PAYMENT_METHODS)),
    "opening_amount": (_is_amount, 0.0),
}
_MISSING = object()


def read_spec(
    stored: Mapping[str, Any], *, company_name: str, engine_id: str
) -> tuple[TenantSpec, tuple[str, ...]]:
    """Read a spec, whatever its row contains.

    Args:
        stored: The object in the column `spec`; empty if there is none.
        company_name: The value of the row's own column, for a spec without a name.
        engine_id: The value of the row's own column.

    Returns:
        The spec, with defaults for fields that can't be read, and the names of those fields.
    """
    read: dict[str, Any] = {}
    damage = []
    for field, (may_be, default) in _FIELDS.items():
        value = stored.get(field, _MISSING)
        if not may_be(value):
            damage.append(field)
            value = default
        read[field] = value
    name = stored.get("company_name")
    spec = TenantSpec(
        company_name=name if isinstance(name, str) and name else company_name,
        country_code=read["country_code"],
        currency=read["currency"],
        chart_template=read["chart_template"],
        include_demo_data=read["include_demo_data"],
        pos_store_enabled=read["pos_store_enabled"],
        till_user=read["till_user"] or None,
        engine_id=engine_id,
        payment_methods=tuple(read["payment_methods"]),
        opening_amount=float(read["opening_amount"]),
    )
    return spec, tuple(damage)
