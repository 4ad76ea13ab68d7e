"""What a tenant should have, after validation and with every default filled in."""

from __future__ import annotations

from dataclasses import dataclass, fields

DEFAULT_COUNTRY_CODE = "KE"
DEFAULT_CHART = "Standard"
DEFAULT_PAYMENT_METHODS = ("Cash", "M-Pesa")

# Larger than any till, and exact as a float down to the third decimal.
MAX_OPENING_AMOUNT = 1e12

# The payment methods a till can have, each with the type that ERPNext wants for the Mode of
# Payment (recording 08-mode-of-payment-phone: Cash, Bank, General or Phone).
PAYMENT_METHOD_TYPES = {
    "Cash": "Cash",
    "M-Pesa": "Phone",
    "Credit Card": "Bank",
    "Wire Transfer": "Bank",
    "Cheque": "Bank",
    "Bank Draft": "Bank",
}

# The fields that every recorded order names, by the attribute that has each now, in the order in
# which `as_ordered` has always written them. A field that comes later is not added here.
_ALWAYS_WRITTEN = {
    "company_name": "company_name",
    "country_code": "country_code",
    "currency": "currency",
    "chart_template": "chart_template",
    "include_demo_data": "include_demo_data",
    "pos_store_enabled": "pos_store_enabled",
    "till_user": "till_user",
    "engine_id": "engine_id",
    "payment_methods": "payment_methods",
    "opening_amount": "opening_amount",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantSpec:
    """The inputs of a run.

    Attributes:
        company_name: Legal name, trimmed.
        country_code: ISO 3166-1 alpha-2, upper case.
        currency: ISO 4217, upper case.
        chart_template: The chart of accounts asked for; for one that does not exist, the run
            takes the standard chart.
        include_demo_data: Whether step_6_items is part of the run.
        pos_store_enabled: Whether the tenant gets a warehouse "POS Store".
        till_user: The ERPNext user the till is opened for; None for no till.
        engine_id: The id of the engine the tenant lives on.
        payment_methods: At least one; the first is the default.
        opening_amount: The till's opening amount for each payment method, in `currency`; not
            negative.
    """

    company_name: str
    country_code: str
    currency: str
    chart_template: str = DEFAULT_CHART
    include_demo_data: bool = False
    pos_store_enabled: bool = True
    till_user: str | None = None
    engine_id: str
    payment_methods: tuple[str, ...] = DEFAULT_PAYMENT_METHODS
    opening_amount: float = 0.0

    def differences(self, other: TenantSpec) -> tuple[str, ...]:
        """Say how another spec differs from this one: one phrase for each field."""
        return tuple(
            f"{field.name} is {_said(getattr(self, field.name))}, not "
            f"{_said(getattr(other, field.name))}"
            for field in fields(self)
            if getattr(self, field.name) != getattr(other, field.name)
        )

    def as_ordered(self) -> str:
        """Return the text by which a repeated Start is recognised; it is the same in all releases.

        Each release reads what others have recorded, and on PostgreSQL servers of two releases run
        side by side. So this is the text that the first one recorded. A field that came later is
        named only if it does not have its default, as those who do not know it can't send it.
        """
        written = [
            f"{name}={getattr(self, attribute)!r}" for attribute, name in _ALWAYS_WRITTEN.items()
        ]
        written += [
            f"{field.name}={getattr(self, field.name)!r}"
            for field in fields(self)
            if field.name not in _ALWAYS_WRITTEN and getattr(self, field.name) != field.default
        ]
        return f"TenantSpec({', '.join(written)})"


def _said(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(str(each) for each in value) or "none"
    return "none" if value is None else repr(value)
