"""The tables. Only the store imports this.

States are the words of `server.model.states` as text, and ids are text as on the wire, so that an
operator can read every table with plain SQL. Nothing here prevents an operator from damaging a
record by SQL (no foreign key refers to `steps`, and there is no trigger): our code can't write a
damaged record, and copes with reading one.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from server.store.columns import UtcTime
from server.store.conditions import HELD, OPEN, UNKNOWN_STATE, UNSETTLED

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# A value that a row is made with and keeps: an overwriting insert leaves it as it is.
_FIXED = {"fixed": True}
_LONG_AGO = "1970-01-01 00:00:00.000000+00:00"


def _partial(name: str, *columns: str, where: str) -> Index:
    """Return an index of only the rows that meet a condition, for both databases."""
    return Index(name, *columns, sqlite_where=text(where), postgresql_where=text(where))


TENANTS = Table(
    "tenants",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("company_name", Text, nullable=False),
    # The name as the engine compares it (server.model.naming.fold_name).
    Column("company_fold", Text, nullable=False),
    Column("spec", Text, nullable=False),
    Column("engine_id", Text, nullable=False),
    Column("site", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("current_step", Text, nullable=False, server_default=""),
    Column("steps_completed", Integer, nullable=False, server_default="0"),
    Column("total_steps", Integer, nullable=False, server_default="0"),
    Column("error_code", Text),
    Column("run_id", Text),
    Column("fencing_token", BigInteger, nullable=False),
    Column("log_seq", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("hold_reason", Text),
    Column("hold_by", Text),
    Column("hold_since", UtcTime),
    Column("look_at", UtcTime),
    Column("heal_count", Integer, nullable=False, server_default="0"),
    Column("healed_at", UtcTime),
    Column("first_completed_at", UtcTime),
    Column("created_at", UtcTime, nullable=False),
    Column("updated_at", UtcTime, nullable=False),
    # For lists, instead of `updated_at`: a column that every step of every run changes must not be
    # in an index, or PostgreSQL rewrites all indexes at each step (docs/decisions/0039).
    Column("state_since", UtcTime, nullable=False, server_default=_LONG_AGO),
    Column("unsettled_since", UtcTime),
    # When to look for drift next; NULL if nobody has looked yet, so that `state_since` counts.
    Column("verify_at", UtcTime),
    # The name's words (server.model.listing.words_of), for search texts that many names match.
    Column("words", Text, nullable=False, server_default=""),
    Index("ix_tenants_company_fold", "company_fold"),
    # One per list order; a list without a state reads one range per state.
    Index("ix_tenants_state_created_at", "state", "created_at", "id"),
    Index("ix_tenants_state_state_since", "state", "state_since", "id"),
    Index("ix_tenants_state_company_fold", "state", "company_fold", "id"),
    Index("ix_tenants_engine_id_state_created_at", "engine_id", "state", "created_at", "id"),
    _partial("ix_tenants_held", "id", where=HELD),
    _partial("ix_tenants_unsettled_since", "unsettled_since", "id", where=UNSETTLED),
    # The tenants in which to look for drift, those that waited longest first. Each finished tenant
    # is in one of the two; neither has a column that a step changes.
    _partial(
        "ix_tenants_never_verified",
        "site",
        "state_since",
        "id",
        where="state = 'COMPLETED' AND verify_at IS NULL",
    ),
    _partial(
        "ix_tenants_verify_at",
        "site",
        "verify_at",
        "id",
        where="state = 'COMPLETED' AND verify_at IS NOT NULL",
    ),
    # States that are not ours: a few, if somebody wrote into the table.
    _partial("ix_tenants_unknown_state", "state", where=UNKNOWN_STATE),
    # What a sweep reads: few rows, whatever the number of tenants. Its condition is on `state`, so
    # that a state changed by SQL is seen. `look_at` comes first, to skip tenants that are put off.
    _partial("ix_tenants_unsettled", "look_at", "id", where=UNSETTLED),
)

# Each tenant under its id, and under its company's name from each word on, so that it is found by
# the beginning of any of these. In byte order, so that a beginning is a range.
TENANT_WORDS = Table(
    "tenant_words",
    METADATA,
    Column("words", Text().with_variant(Text(collation="C"), "postgresql"), nullable=False),
    Column("tenant_id", Text, nullable=False),
    PrimaryKeyConstraint("words", "tenant_id"),
    sqlite_with_rowid=False,
)

BINDINGS = Table(
    "bindings",
    METADATA,
    Column("tenant_id", Text, primary_key=True),
    Column("site", Text, nullable=False),
    Column("company_name", Text, nullable=False),
    Column("company_fold", Text, nullable=False),
    Column("abbreviation", Text),
    Column("abbreviation_fold", Text),
    Column("created_at", UtcTime, nullable=False),
    UniqueConstraint("site", "company_fold"),
    UniqueConstraint("site", "abbreviation_fold"),
)

RUNS = Table(
    "runs",
    METADATA,
    Column("id", Text, primary_key=True),
    # Fixed, because SQLite rewrites every index of a column that is set, changed or not.
    Column("tenant_id", Text, nullable=False, info=_FIXED),
    Column("site", Text, nullable=False, info=_FIXED),
    # "order" is a reserved word of SQL.
    Column("run_order", Text, nullable=False),
    Column("blueprint", Text, nullable=False),
    Column("blueprint_version", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("total_steps", Integer, nullable=False),
    Column("due_at", UtcTime, nullable=False),
    Column("worker_id", Text),
    Column("token", BigInteger, nullable=False),
    Column("deadline_at", UtcTime),
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("previous_state", Text, nullable=False),
    Column("options", Text, nullable=False),
    # Written by an order while a worker drives the run. The worker writes the whole row without
    # knowing of the order, so what is there stays (server.store.rowset).
    Column("cancelled_by", Text, info={"stays": True}),
    Column("cancel_reason", Text, info={"stays": True}),
    Column("cancelled_at", UtcTime, info={"stays": True}),
    Column("waiting_code", Text),
    Column("waiting_message", Text),
    Column("waiting_until", UtcTime),
    Column("created_at", UtcTime, nullable=False),
    Column("started_at", UtcTime),
    Column("finished_at", UtcTime),
    Index("ix_runs_tenant_id", "tenant_id"),
    # The newest runs of one site, however many the others have.
    Index("ix_runs_site", "site", "id"),
    # The runs from which workers claim: only open ones.
    _partial("ix_runs_open", "due_at", "id", where=OPEN),
)

STEPS = Table(
    "steps",
    METADATA,
    Column("run_id", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("tenant_id", Text, nullable=False),
    Column("position", Integer, nullable=False),
    Column("required", Boolean(create_constraint=False), nullable=False),
    Column("state", Text, nullable=False),
    Column("adopted", Boolean(create_constraint=False), nullable=False),
    Column("tries", Integer, nullable=False),
    Column("races", Integer, nullable=False),
    Column("losses", Integer, nullable=False),
    Column("carried_from", Text),
    Column("error_code", Text),
    Column("error_class", Text),
    Column("error_message", Text),
    Column("error_at", UtcTime),
    Column("started_at", UtcTime),
    Column("completed_at", UtcTime),
    Column("outputs", Text, nullable=False),
    Column("note", Text, nullable=False),
    PrimaryKeyConstraint("run_id", "key"),
)

ATTEMPTS = Table(
    "attempts",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("run_id", Text, nullable=False, info=_FIXED),
    Column("step_key", Text, nullable=False, info=_FIXED),
    Column("number", Integer, nullable=False, info=_FIXED),
    Column("worker_id", Text, nullable=False),
    Column("started_at", UtcTime, nullable=False),
    Column("deadline_at", UtcTime, nullable=False),
    Column("ended_at", UtcTime),
    Column("outcome", Text),
    Column("error_class", Text),
    Column("error_code", Text),
    Column("message", Text),
    Column("evidence", Text, nullable=False),
    Index("ix_attempts_run_id", "run_id", "step_key", "number"),
)

RESOURCES = Table(
    "resources",
    METADATA,
    Column("tenant_id", Text, nullable=False),
    Column("doctype", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("shared", Boolean(create_constraint=False), nullable=False),
    Column("run_id", Text, nullable=False),
    Column("step_key", Text, nullable=False),
    Column("intended_at", UtcTime, nullable=False),
    Column("settled_at", UtcTime),
    # Until when a change of unknown outcome may still be carried out at the engine.
    Column("busy_until", UtcTime),
    PrimaryKeyConstraint("tenant_id", "doctype", "name"),
)

LOG_ENTRIES = Table(
    "log_entries",
    METADATA,
    Column("tenant_id", Text, nullable=False),
    Column("cursor", BigInteger, nullable=False),
    Column("time", UtcTime, nullable=False),
    Column("level", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("step_key", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("message", Text, nullable=False),
    Column("fields", Text, nullable=False),
    PrimaryKeyConstraint("tenant_id", "cursor"),
)

WORKERS = Table(
    "workers",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("started_at", UtcTime, nullable=False),
    Column("heartbeat_at", UtcTime, nullable=False),
    Column("lease_seconds", Float, nullable=False),
    Column("stopped_at", UtcTime),
)

ENGINES = Table(
    "engines",
    METADATA,
    Column("site", Text, primary_key=True),
    Column("gate", Text, nullable=False),
    Column("gate_code", Text, nullable=False),
    Column("gate_message", Text, nullable=False),
    Column("gate_since", UtcTime, nullable=False),
    Column("next_probe_at", UtcTime),
    # How many runs may be driven at once while load comes back; NULL for any number.
    Column("wave", Integer),
    # The site asked to be left alone until then (Retry-After).
    Column("paused_until", UtcTime),
    Column("identity", Text),
    # When a person last said that the site is right as it is.
    Column("accepted_at", UtcTime),
    Column("slot_tenant_id", Text),
    Column("slot_token", BigInteger),
    Column("slot_doctype", Text),
    Column("slot_name", Text),
    Column("slot_sent_at", UtcTime),
    Column("slot_expires_at", UtcTime),
)

REQUESTS = Table(
    "requests",
    METADATA,
    Column("caller", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("body_hash", Text, nullable=False),
    Column("tenant_id", Text, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    PrimaryKeyConstraint("caller", "method", "request_id"),
    Index("ix_requests_created_at", "created_at"),
)

SWEEPS = Table(
    "sweeps",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("started_at", UtcTime, nullable=False),
    Column("finished_at", UtcTime, nullable=False),
    Column("observed", Integer, nullable=False),
    Column("acted", Integer, nullable=False),
    Column("skipped_passes", Integer, nullable=False),
)

FINDINGS = Table(
    "findings",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("sweep_id", Text, nullable=False),
    Column("tenant_id", Text, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("cause", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("verdict", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("stuck_since", UtcTime),
    Column("found_at", UtcTime, nullable=False),
    # What the failure has in common with others (server.model.fingerprint); "" if nothing.
    Column("fingerprint", Text, nullable=False, server_default=""),
    # The finding of the herd to which it belongs, or NULL.
    Column("herd_id", Text),
    # How many tenants it is about: more than one for a herd.
    Column("tenants", Integer, nullable=False, server_default="1"),
    Column("ended_at", UtcTime),
    Column("ended_as", Text),
    Index("ix_findings_tenant_id", "tenant_id"),
    Index("ix_findings_found_at", "found_at"),
    # Findings that are not over: few rows, whatever the number of findings. In the order in which
    # they are read: with another column, SQLite uses the index above and reads those that ended.
    _partial("ix_findings_open", "found_at", "id", where="ended_at IS NULL"),
    _partial("ix_findings_ended_at", "ended_at", where="ended_at IS NOT NULL"),
    # The findings of a herd, including those that ended.
    _partial("ix_findings_herd_id", "herd_id", where="herd_id IS NOT NULL"),
)

# Many tenants with the same error: which was driven on first, and what came of it.
HERDS = Table(
    "herds",
    METADATA,
    Column("fingerprint", Text, primary_key=True),
    Column("finding_id", Text, nullable=False),
    Column("tenants", Integer, nullable=False),
    Column("opened_at", UtcTime, nullable=False),
    Column("canary_tenant_id", Text),
    Column("canary_revision", BigInteger),
    Column("ordered_at", UtcTime),
    Column("tries", Integer, nullable=False),
    Column("alerted_at", UtcTime),
    Column("released_at", UtcTime),
)

# What is known by name, and since when: limits that all reconcilers share, each writer's commits,
# and the moments to which the database was restored.
QUOTAS = Table(
    "quotas",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("since", UtcTime, nullable=False),
    Column("used", Integer, nullable=False),
)

# Messages for the webhook, written together with what they report, until they are delivered.
OUTBOX = Table(
    "outbox",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("due_at", UtcTime, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("delivered_at", UtcTime),
    Column("last_error", Text, nullable=False, server_default=""),
    _partial("ix_outbox_due", "due_at", where="delivered_at IS NULL"),
)

USERS = Table(
    "users",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("code", Text, nullable=False),
    Column("email", Text, nullable=False),
    # The address in lower case, as addresses are compared here.
    Column("email_fold", Text, nullable=False),
    Column("full_name", Text),
    # NULL if the user was invited and has not set a password yet.
    Column("password_hash", Text),
    Column("role", Text, nullable=False),
    # Whether the role is for all tenants; otherwise memberships say for which.
    Column("all_tenants", Boolean(create_constraint=False), nullable=False),
    Column("kyc_tier", Text, nullable=False),
    # Raised when the tokens given out must no longer be accepted.
    Column("token_epoch", Integer, nullable=False),
    Column("disabled_at", UtcTime),
    Column("created_at", UtcTime, nullable=False),
    Column("updated_at", UtcTime, nullable=False),
    UniqueConstraint("code"),
    UniqueConstraint("email_fold"),
)

MEMBERSHIPS = Table(
    "memberships",
    METADATA,
    Column("user_id", Text, nullable=False),
    Column("tenant_id", Text, nullable=False),
    # A word of the old API: OWNER, ADMIN, MANAGER, CASHIER, VIEWER, or free text.
    Column("role", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("invitation_code", Text),
    Column("created_at", UtcTime, nullable=False),
    PrimaryKeyConstraint("user_id", "tenant_id"),
    Index("ix_memberships_tenant_id", "tenant_id"),
)

API_KEYS = Table(
    "api_keys",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    # SHA-256 of 32 random bytes: nothing to guess, so nothing to slow down.
    Column("secret_hash", Text, nullable=False),
    Column("role", Text, nullable=False),
    # A JSON list of tenant ids; NULL for all tenants.
    Column("tenants", Text),
    Column("created_by", Text, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime, nullable=False),
    Column("revoked_at", UtcTime),
    Index("ix_api_keys_name", "name"),
)

# Where imported tenants came from; written once.
IMPORTS = Table(
    "imports",
    METADATA,
    Column("tenant_id", Text, primary_key=True),
    Column("imported_at", UtcTime, nullable=False),
    Column("recorded", Text, nullable=False),
    Column("decision", Text, nullable=False),
    Column("legacy", Text, nullable=False),
)

AUDIT = Table(
    "audit",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("at", UtcTime, nullable=False),
    Column("actor", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("action", Text, nullable=False),
    # A tenant's id, a user's address or a key's name; "" if there is none.
    Column("target", Text, nullable=False),
    # OK, or the code of the refusal.
    Column("outcome", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Index("ix_audit_at", "at"),
    Index("ix_audit_target", "target", "at"),
)
