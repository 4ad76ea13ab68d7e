"""Every error code the adapter raises, with a sentence on what it means and one on what to do.

Codes are stable, because scripts and people rely on them; docs/errors.md is compared with this
table. The error's class says what the executor does next; the code says what happened.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique


@unique
class Code(StrEnum):
    """Stable error codes."""

    # The engine as a whole.
    ENGINE_UNREACHABLE = "ENGINE_UNREACHABLE"
    ENGINE_DOWN = "ENGINE_DOWN"
    ENGINE_MAINTENANCE = "ENGINE_MAINTENANCE"
    ENGINE_CREDENTIALS_REFUSED = "ENGINE_CREDENTIALS_REFUSED"
    ENGINE_WRONG_HOST = "ENGINE_WRONG_HOST"
    ENGINE_VERSION_UNSUPPORTED = "ENGINE_VERSION_UNSUPPORTED"
    ENGINE_TIME_ZONE_UNKNOWN = "ENGINE_TIME_ZONE_UNKNOWN"
    ENGINE_CLOCK_OFF = "ENGINE_CLOCK_OFF"
    ENGINE_RATE_LIMITED = "ENGINE_RATE_LIMITED"
    ROLE_MISSING = "ROLE_MISSING"
    SITE_NOT_SET_UP = "SITE_NOT_SET_UP"

    # One request.
    OUTCOME_UNKNOWN = "OUTCOME_UNKNOWN"
    ENGINE_NO_ANSWER = "ENGINE_NO_ANSWER"
    CONNECTIONS_EXHAUSTED = "CONNECTIONS_EXHAUSTED"
    REQUEST_TOO_LONG = "REQUEST_TOO_LONG"
    ENGINE_DEADLOCK = "ENGINE_DEADLOCK"
    ENGINE_LINK_RACE = "ENGINE_LINK_RACE"
    DOCUMENT_CHANGED = "DOCUMENT_CHANGED"
    DOCUMENT_MISSING = "DOCUMENT_MISSING"
    REFERENCE_MISSING = "REFERENCE_MISSING"
    STILL_LINKED = "STILL_LINKED"
    NAME_REFUSED = "NAME_REFUSED"
    NAME_TAKEN = "NAME_TAKEN"
    NAMED_OTHERWISE = "NAMED_OTHERWISE"
    ENGINE_REFUSED = "ENGINE_REFUSED"
    ENGINE_FAULT = "ENGINE_FAULT"
    ENGINE_UNEXPECTED_ANSWER = "ENGINE_UNEXPECTED_ANSWER"
    ABBREVIATION_TAKEN = "ABBREVIATION_TAKEN"
    FISCAL_YEAR_OVERLAPS = "FISCAL_YEAR_OVERLAPS"
    DEFAULT_PROFILE_TAKEN = "DEFAULT_PROFILE_TAKEN"
    PAYMENT_ROW_MISSING = "PAYMENT_ROW_MISSING"

    # What the steps found.
    COUNTRY_UNKNOWN = "COUNTRY_UNKNOWN"
    COMPANY_NOT_OURS = "COMPANY_NOT_OURS"
    COMPANY_VANISHED = "COMPANY_VANISHED"
    COMPANY_DIFFERS = "COMPANY_DIFFERS"
    COMPANY_NAME_TOO_LONG = "COMPANY_NAME_TOO_LONG"
    COMPANY_MISSING = "COMPANY_MISSING"
    COMPANY_DEFAULT_MISSING = "COMPANY_DEFAULT_MISSING"
    ABBREVIATIONS_EXHAUSTED = "ABBREVIATIONS_EXHAUSTED"
    CHART_MISSING = "CHART_MISSING"
    DOCUMENT_NOT_OURS = "DOCUMENT_NOT_OURS"
    DOCUMENT_DIFFERS = "DOCUMENT_DIFFERS"
    POS_PROFILE_DIFFERS = "POS_PROFILE_DIFFERS"
    PAYMENT_ACCOUNT_WRONG = "PAYMENT_ACCOUNT_WRONG"
    FINAL_CHECK_FAILED = "FINAL_CHECK_FAILED"

    # What the steps that remove a tenant found.
    SHOP_HAS_SOLD = "SHOP_HAS_SOLD"
    COMPANY_RENAMED = "COMPANY_RENAMED"
    LEDGER_ENTRIES = "LEDGER_ENTRIES"
    TILLS_OF_OTHERS = "TILLS_OF_OTHERS"
    TRANSACTION_DELETION_FAILED = "TRANSACTION_DELETION_FAILED"
    MAY_STILL_COME = "MAY_STILL_COME"


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What a code means, and what a person does about it; a sentence or two each."""

    meaning: str
    remedy: str


def _row(meaning: str, remedy: str) -> Meaning:
    return Meaning(meaning=meaning, remedy=remedy)


_WAIT = "Nothing: work goes on by itself once the engine answers."
_AGAIN = "Nothing: the step looks again and repeats what is missing."
_OPERATOR = "Compare the named documents in ERPNext, correct or rename them, then continue."

MEANINGS: dict[Code, Meaning] = {
    Code.ENGINE_UNREACHABLE: _row(
        "No connection to the engine could be made, so nothing was sent.",
        "Check the engine's url, its network and certificate; work goes on by itself.",
    ),
    Code.ENGINE_DOWN: _row(
        "The engine answered with an error page, or its database is away.",
        "Bring the site or its database back; work goes on by itself.",
    ),
    Code.ENGINE_MAINTENANCE: _row(
        "The site is in maintenance mode.",
        "End the maintenance (bench set-maintenance-mode off); work goes on by itself.",
    ),
    Code.ENGINE_CREDENTIALS_REFUSED: _row(
        "The engine refuses the API key and secret.",
        "Put a valid key and secret of the API user into the engine's key files.",
    ),
    Code.ENGINE_WRONG_HOST: _row(
        "Whatever answers at the url is not the ERPNext site we expect.",
        "Set the engine's url and host so that the Host header selects the site.",
    ),
    Code.ENGINE_VERSION_UNSUPPORTED: _row(
        "The site has no ERPNext, or one older than version 14.",
        "Install or upgrade ERPNext; this service was made for version 15.",
    ),
    Code.ENGINE_TIME_ZONE_UNKNOWN: _row(
        "The site's time zone is not in this machine's time zone database.",
        "Set a time zone by its IANA name in System Settings, or install tzdata here.",
    ),
    Code.ENGINE_CLOCK_OFF: _row(
        "The site's clock differs from ours, so we may not recognise what we made.",
        "Keep the clocks of the site and of this service in step with NTP.",
    ),
    Code.ENGINE_RATE_LIMITED: _row(
        "The site's rate limit is used up.",
        "Nothing, or raise rate_limit in the site's configuration.",
    ),
    Code.ROLE_MISSING: _row(
        "The API user lacks a role that the call needs.",
        "Give the API user the named role in ERPNext, then continue.",
    ),
    Code.SITE_NOT_SET_UP: _row(
        "A master record that ERPNext's setup wizard makes is missing.",
        "Finish the site's setup wizard, then continue the tenant.",
    ),
    Code.OUTCOME_UNKNOWN: _row(
        "A write was sent and no usable answer came; it may or may not have been carried out.",
        _AGAIN,
    ),
    Code.ENGINE_NO_ANSWER: _row("A read was sent and no answer came in time.", _WAIT),
    Code.CONNECTIONS_EXHAUSTED: _row(
        "All our connections to the engine were in use for too long, so nothing was sent.", _AGAIN
    ),
    Code.REQUEST_TOO_LONG: _row(
        "The request line would be longer than web servers accept, so nothing was sent.",
        "Report it: a step asks for too much at once.",
    ),
    Code.ENGINE_DEADLOCK: _row(
        "Two writers deadlocked in the engine's database; this one was rolled back completely.",
        _AGAIN,
    ),
    Code.ENGINE_LINK_RACE: _row(
        "The engine missed another tenant's document: it was just being made, or it is gone.",
        "A document that is being made appears moments later. If the error stays, a row of a Mode "
        "of Payment has lost its Company or account: remove the row in ERPNext, then continue.",
    ),
    Code.DOCUMENT_CHANGED: _row(
        "Somebody else changed the document at the same moment; nothing was stored.", _AGAIN
    ),
    Code.DOCUMENT_MISSING: _row("A document that was to be changed is gone.", _AGAIN),
    Code.REFERENCE_MISSING: _row(
        "A document that the request names does not exist at the engine.",
        "Make the named document in ERPNext, then continue. If the spec is wrong (a till's user), "
        "it can't be changed: deprovision, then start another tenant with the right one.",
    ),
    Code.STILL_LINKED: _row(
        "The document can't be removed because another one points to it.",
        "Remove the named document first.",
    ),
    Code.NAME_REFUSED: _row(
        "The engine does not accept this name (< and > are not allowed).",
        "Start another tenant with a name that ERPNext accepts: a spec can't be changed later.",
    ),
    Code.NAME_TAKEN: _row("Another document with this name is in the way.", _OPERATOR),
    Code.NAMED_OTHERWISE: _row(
        "The engine gave a new document a different name from the one asked for.",
        "Turn off the site's naming rule or series for the doctype and delete the document, then "
        "continue.",
    ),
    Code.ENGINE_REFUSED: _row(
        "The engine checked the request and refused it; its own words are in the message.",
        "Fix what the engine's words name, then continue.",
    ),
    Code.ENGINE_FAULT: _row(
        "This request makes the engine fail with an error of its own, and would again.",
        "Look up the named error type in the site's Error Log; if the spec is right, report it.",
    ),
    Code.ENGINE_UNEXPECTED_ANSWER: _row(
        "The engine gave an answer that this service does not know.",
        "See the attempt's evidence, check any proxies in front of the site, and report it.",
    ),
    Code.ABBREVIATION_TAKEN: _row(
        "Another Company has the abbreviation; the step chooses the next one.", _AGAIN
    ),
    Code.FISCAL_YEAR_OVERLAPS: _row(
        "A Fiscal Year that is disabled or only for some Companies covers the dates needed.",
        "Enable that Fiscal Year, remove its list of Companies, or make another one for the dates.",
    ),
    Code.DEFAULT_PROFILE_TAKEN: _row(
        "The till user has another default POS Profile; ours is made without the default.", _AGAIN
    ),
    Code.PAYMENT_ROW_MISSING: _row(
        "A Mode of Payment lost its account for the Company while the step ran.", _AGAIN
    ),
    Code.COUNTRY_UNKNOWN: _row(
        "The engine has no Country with the tenant's country code.",
        "Add the Country in ERPNext, then continue.",
    ),
    Code.COMPANY_NOT_OURS: _row(
        "A Company of this name exists, and nothing proves that it is this tenant's.",
        "Find out whose it is. If nobody needs it, rename or remove it in ERPNext, then continue; "
        "or start another tenant with another company name.",
    ),
    Code.COMPANY_VANISHED: _row(
        "The tenant's Company existed once and is gone; it is not made again automatically.",
        "Find out where it went: rename it back, or restore it from a backup of the site, then "
        "continue. Only a retry with --step step_2_company, given by a person, makes a new and "
        "empty one.",
    ),
    Code.COMPANY_DIFFERS: _row(
        "The Company's abbreviation, country or currency is not the tenant's.",
        _OPERATOR,
    ),
    Code.COMPANY_NAME_TOO_LONG: _row(
        "Company name, dash and abbreviation exceed the 140 characters that ERPNext allows.",
        "Start another tenant with a shorter company name: a spec can't be changed later.",
    ),
    Code.COMPANY_MISSING: _row(
        "The Company that this step depends on is missing.", "Retry step_2_company first."
    ),
    Code.COMPANY_DEFAULT_MISSING: _row(
        "The Company lacks a default account or cost center that a shop needs.",
        "Set the named defaults in the Company, then continue.",
    ),
    Code.ABBREVIATIONS_EXHAUSTED: _row(
        "No free abbreviation was found for the company name.",
        "Free one in ERPNext, then continue; or start a tenant with another company name.",
    ),
    Code.CHART_MISSING: _row(
        "The Company has no chart of accounts, or lacks a group that accounts go under.",
        "Import a chart of accounts in ERPNext, then continue.",
    ),
    Code.DOCUMENT_NOT_OURS: _row(
        "A document of the computed name belongs to another Company.", _OPERATOR
    ),
    Code.DOCUMENT_DIFFERS: _row(
        "A document of the computed name exists, but not as the tenant needs it.", _OPERATOR
    ),
    Code.POS_PROFILE_DIFFERS: _row(
        "The POS Profile exists, but not as the tenant needs it.", _OPERATOR
    ),
    Code.PAYMENT_ACCOUNT_WRONG: _row(
        "A Mode of Payment has the wrong account for the Company (a group, or not Cash or Bank).",
        "Set a leaf account of the Company in the Mode of Payment, then continue.",
    ),
    Code.FINAL_CHECK_FAILED: _row(
        "The final check found steps that do not match what the tenant should have.",
        "Retry: every step is checked again, and what is missing is made.",
    ),
    Code.SHOP_HAS_SOLD: _row(
        "The tenant to be removed is a shop that has sold something: it has invoices.",
        "To remove it all the same, give the order with --even-if-sold.",
    ),
    Code.COMPANY_RENAMED: _row(
        "The tenant's Company has another name in ERPNext now.",
        "Rename it back there, then continue, or give the removal again. After a restore of this "
        "service's database, that Company may be another tenant's: see \"Backup\" in "
        "docs/operations.md first.",
    ),
    Code.LEDGER_ENTRIES: _row(
        "The Company has ledger entries, and ERPNext does not delete a Company that has any.",
        "To have ERPNext delete its transactions, give the order with --delete-transactions.",
    ),
    Code.TILLS_OF_OTHERS: _row(
        "People have opened tills with the POS Profile that is to be removed.",
        "Cancel and delete them in ERPNext, or give the order with --delete-transactions.",
    ),
    Code.TRANSACTION_DELETION_FAILED: _row(
        "ERPNext's Transaction Deletion Record did not finish.",
        "See its error log in ERPNext, fix the cause or cancel it, then give the order again.",
    ),
    Code.MAY_STILL_COME: _row(
        "A request for a document got no answer; the document isn't there, but may still be made.",
        "Nothing: the service looks for it again once the request's time is over.",
    ),
}
