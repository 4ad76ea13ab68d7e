"""Stories that recorded requests tell: a fresh site, what it is given, and the cases in order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Story:
    name: str
    cases: tuple[str, ...]
    given: tuple[str, ...] = ()
    companies: dict[str, str] = field(default_factory=dict)
    # Other documents that are there, by doctype.
    made: dict[str, dict[str, Any]] = field(default_factory=dict)  # Any: JSON
    # Opening entries that are open besides those of the cases, or are taken away before.
    opened: tuple[str, ...] = ()
    closed: tuple[str, ...] = ()
    # Companies that sold something, by abbreviation.
    sold: dict[str, str] = field(default_factory=dict)
    faults: dict[str, Any] = field(default_factory=dict)  # Any: JSON
    # What goes wrong from an exchange on: the case and the number.
    then: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)  # Any: JSON
    host: str | None = None


_MNT_STOCK = ("02-company-create", "04-warehouse-create")
_MNT_SHOP = (
    *_MNT_STOCK,
    "06-price-list-create",
    "06-customer-create",
    "08-mode-of-payment-put-drops-rows",
)
_MNT_TILL = (*_MNT_SHOP, "07-item-group-create", "07-item-create", "08-pos-profile-create")
_RUNS = ("00-run-two-payments", "00-run-uganda-demo-data", "00-run-odd-name")
_MOBILE = (
    *_RUNS,
    "03-account-create-leaf",
    "08-mode-of-payment-phone",
    "08-mode-of-payment-row-leaf-and-group",
)
_RATE_LIMITED = {"exc_type": "TooManyRequestsError", "retry_after": 60, "times": None}
# What the site had by then.
_COMPANIES_OF_A_DAY = {
    "Bad Co": "BADC",
    "Long Abbr Co": "LAC",
    "Unknown Field Co": "UFC",
    "12345": "N12",
    "Zeta Auto Works": "ZAW",
    "SM Co": "SMC",
}
# The document is gone, and then the answer fails.
_QUEUE_DOWN = {"method": "DELETE", "status": 500, "html": True, "when": "after"}
STORIES = (
    Story(
        name="credentials",
        faults={"token": "key:secret"},
        cases=(
            "01-ping",
            "01-ping-bad-token",
            "01-logged-user-good-token",
            "01-logged-user-malformed-authorization",
            "01-logged-user-no-token",
            "01-logged-user-unknown-key",
            "01-logged-user-wrong-secret",
            "01-unknown-method",
            "01-versions",
            "01-versions-guest-and-plain-user",
        ),
    ),
    Story(name="another site", host="erpnext.local", cases=("01-unknown-site",)),
    Story(name="maintenance", faults={"maintenance": True}, cases=("11-maintenance-mode",)),
    Story(
        name="maintenance with reads allowed",
        companies=_COMPANIES_OF_A_DAY,
        faults={"faults": [{"method": "POST", "exc_type": "InReadOnlyMode"}]},
        cases=("11-maintenance-mode-reads-allowed",),
    ),
    Story(
        name="over the rate limit",
        companies=_COMPANIES_OF_A_DAY,
        then={("11-rate-limit", 1): {"faults": [_RATE_LIMITED]}},
        cases=("11-rate-limit",),
    ),
    Story(
        name="without tracebacks",
        faults={"tracebacks": False, "token": "key:secret"},
        cases=("11-errors-without-traceback",),
    ),
    Story(
        name="any kind of answer",
        companies=_COMPANIES_OF_A_DAY,
        faults={"token": "key:secret"},
        then={
            ("11-accept-star", 7): {"maintenance": True},
            ("11-accept-star", 8): {"faults": [_RATE_LIMITED]},
        },
        cases=("11-accept-star",),
    ),
    Story(
        name="a user of System Manager only",
        companies={"Mama Njeri Traders": "MNT"},
        faults={"user": "sysmgr@example.com", "roles": ["System Manager"]},
        cases=(
            "01-permissions-system-manager-only",
            "04-warehouse-create-as-system-manager-only",
        ),
    ),
    Story(
        name="a user of Sales User only",
        faults={"user": "weak@example.com", "roles": ["Sales User"]},
        cases=("05-settings-no-permission",),
    ),
    Story(
        name="the database connection is cut",
        then={
            ("11-db-connection-cut", 0): {"faults": [{"method": "POST", "html": True}]},
        },
        cases=("11-db-connection-cut",),
    ),
    Story(
        name="the queue and the cache are down, and back",
        companies={"Race Co 0": "RC0"},
        then={
            ("11-redis-queue-down", 0): {"faults": [_QUEUE_DOWN]},
            ("11-redis-queue-down-delete", 0): {"faults": [_QUEUE_DOWN]},
        },
        made={"UOM": {"uom_name": "RQ Cup"}},
        cases=(
            "11-redis-queue-down",
            "11-redis-queue-down-delete",
            "11-redis-cache-down",
            "11-redis-back",
        ),
    ),
    Story(name="the database is down", faults={"down": True}, cases=("11-mariadb-down",)),
    Story(
        name="a fresh site",
        cases=(
            "01-fresh-site-masters",
            "02-company-list",
            "02-company-list-no-token",
            "02-company-list-bad-query",
            "02-company-get-missing",
            "03-charts-for-country",
            "03-charts-for-other-countries",
            "05-selling-settings-get",
            "05-stock-settings-get",
            "06-customer-group-territory-existing",
            "06-price-list-existing",
            "07-item-group-uom-existing",
            "08-mode-of-payment-list",
            "10-delete-missing",
            "11-bad-json",
            "11-content-type",
            "11-method-not-allowed",
            "11-odd-bytes",
            "11-accept-html",
            "11-url-too-long",
            "11-wrong-address",
        ),
    ),
    Story(
        name="a Company",
        cases=(
            "02-company-create",
            "02-company-create-again",
            "02-company-create-abbr-taken",
            "02-company-create-name-other-case",
            "02-company-create-name-spaces",
            "02-company-creates-by-itself",
            "02-company-get",
            "03-accounts-list",
            "02-company-create-bad-country",
            "02-company-create-bad-currency",
            "02-company-create-no-token",
            "02-company-create-missing-field",
            "02-company-create-long-name",
            "02-company-create-unknown-chart",
            "02-company-create-500-leaves-nothing",
            "02-company-create-unknown-field",
            "02-company-create-wrong-type",
            "02-company-create-no-abbr",
        ),
    ),
    Story(
        name="Companies of other countries",
        cases=("02-company-create-other-countries", "02-countries-by-code"),
    ),
    Story(
        name="odd names",
        cases=(
            "02-company-create-abbr-odd",
            "02-company-create-name-length",
            "02-company-create-name-quotes",
            "02-company-create-odd-names",
            "02-company-create-name-accents",
        ),
    ),
    Story(name="a change", companies={"Race Co 1": "RC1"}, cases=("02-company-update",)),
    Story(
        name="stock",
        given=("02-company-create",),
        cases=(
            "04-warehouse-create",
            "04-warehouse-create-again",
            "04-warehouse-create-with-suffix",
            "04-warehouse-get",
            "04-warehouse-create-no-parent",
            "04-warehouse-create-bad",
            "05-selling-settings-put",
            "05-selling-settings-list",
            "05-selling-settings-put-bad",
            "05-stock-settings-put",
            "05-stock-settings-put-bad",
            "05-stock-settings-list",
        ),
    ),
    Story(
        name="selling",
        given=_MNT_STOCK,
        cases=(
            "06-price-list-create",
            "06-price-list-create-bad",
            "06-customer-group-create",
            "06-territory-create",
            "06-customer-create",
            "06-customer-create-again",
            "06-customer-list-by-name",
            "06-customer-create-bad",
            "06-customer-create-with-name",
            "07-item-group-create",
            "07-uom-create",
            "07-item-create",
            "07-item-create-again",
            "07-item-create-bad",
            "07-item-price-create",
            "07-item-price-after-standard-rate",
        ),
    ),
    Story(
        name="payments",
        given=("02-company-create",),
        companies={
            "Bad Co": "BADC",
            "Long Abbr Co": "A" * 50,
            "Unknown Field Co": "UFC",
            "12345": "N12",
            "Zeta Auto Works": "ZAW",
            "SM Co": "SMC",
        },
        cases=(
            "08-mode-of-payment-cash-get",
            "08-mode-of-payment-account-query",
            "08-mode-of-payment-put",
            "08-mode-of-payment-put-bad",
            "08-mode-of-payment-put-drops-rows",
            "08-mode-of-payment-add-row",
        ),
    ),
    Story(
        name="a till",
        given=_MNT_SHOP,
        cases=(
            "08-pos-profile-create-missing-field",
            "08-pos-profile-create-bad",
            "08-pos-profile-create",
            "08-pos-profile-create-again",
            "08-pos-profile-get",
            "09-pos-opening-missing-field",
            "09-pos-opening-bad",
            "09-pos-opening-create-draft",
            "09-pos-opening-submit-by-put",
            "09-pos-opening-second-draft",
            "09-pos-opening-second-submit",
            "09-pos-opening-create-submitted",
            "09-pos-opening-create-with-name",
        ),
    ),
    Story(
        name="open tills",
        given=(
            *_MNT_TILL,
            "09-pos-opening-create-draft",
            "09-pos-opening-submit-by-put",
            "09-pos-opening-second-draft",
            "09-pos-opening-second-submit",
            "09-pos-opening-create-submitted",
        ),
        cases=("09-pos-opening-list-open",),
    ),
    Story(
        name="taking a till away",
        given=(
            *_MNT_TILL,
            "09-pos-opening-create-draft",
            "09-pos-opening-submit-by-put",
            "09-pos-opening-create-with-name",
        ),
        opened=("POS-OPE-2026-00005",),
        cases=(
            "10-delete-submitted",
            "10-delete-pos-profile-linked",
            "10-delete-warehouse-linked",
            "10-delete-company-linked",
            "10-pos-opening-cancel",
            "10-pos-opening-cancel-by-put",
            "10-delete-pos-profile-with-cancelled-entries",
            "10-delete-company-with-cancelled-entries",
            "10-delete-cancelled",
        ),
    ),
    Story(
        name="taking a Company away",
        given=_MNT_TILL,
        cases=(
            "10-delete-pos-profile",
            "10-delete-company-with-warehouses-and-item-default",
            "10-delete-company-again",
            "10-after-delete-company",
            "10-recreate-company",
        ),
    ),
    Story(name="the happy path and back", cases=("00-happy-path", "00-undo-path")),
    Story(name="two payments", cases=("00-run-two-payments",)),
    Story(name="two payments again", given=_RUNS, cases=("00-run-again",)),
    Story(
        name="a draft",
        given=_RUNS[:1],
        closed=("POS-OPE-MNT-1",),
        cases=("10-delete-draft",),
    ),
    Story(
        name="demo data",
        given=("00-run-two-payments",),
        cases=("00-run-uganda-demo-data", "10-delete-takes-along"),
    ),
    Story(
        name="an odd tenant and back",
        given=("00-run-two-payments", "00-run-uganda-demo-data"),
        cases=(
            "00-run-odd-name",
            "10-delete-wrong-order",
            "00-undo-odd-name",
            "10-after-undo-two-payments",
            "00-undo-again",
        ),
    ),
    Story(
        name="accounts, years, groups",
        given=_RUNS,
        cases=(
            "03-account-create-leaf",
            "03-account-create-bad",
            "04-warehouse-type",
            "05-fiscal-year-by-date",
            "05-fiscal-year-bad",
            "05-fiscal-year-colliding",
            "07-item-group-below-leaf",
            "08-mode-of-payment-phone",
            "08-mode-of-payment-row-leaf-and-group",
            "08-pos-profile-payments",
        ),
    ),
    Story(name="a price list", cases=("06-price-list-other-currency",)),
    Story(name="a disabled year", cases=("05-fiscal-year-disabled",)),
    Story(
        name="a year of one Company",
        companies={"Year Bound": "YBD"},
        cases=("10-delete-company-with-fiscal-year",),
    ),
    Story(name="dates of a till", given=_RUNS[:1], cases=("09-pos-opening-dates",)),
    Story(name="balances of a till", given=_MOBILE, cases=("09-pos-opening-two-balances",)),
    Story(name="names of a till", given=_RUNS[:1], cases=("09-pos-opening-name-reuse",)),
    Story(name="users", cases=("09-user-create",)),
    Story(
        name="a shop that has sold",
        given=(
            *_MNT_SHOP,
            "06-customer-create-again",
            "07-item-group-create",
            "07-item-create",
            "07-item-price-create",
        ),
        cases=(
            "07-item-price-after-standard-rate",
            "10-sales-invoice-create-submitted",
            "10-delete-company-with-ledger",
            "10-delete-account-with-ledger",
            "10-delete-in-use",
            "10-delete-company-after-cancelled-invoice",
        ),
    ),
    Story(
        name="a shop that has sold is cleared away",
        companies={"Ledger Co": "LDG"},
        sold={"Ledger Co": "LDG"},
        cases=("10-transaction-deletion-record",),
    ),
)
