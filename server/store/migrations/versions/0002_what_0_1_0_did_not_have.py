"""what 0.1.0 did not have.

Everything is added only where it is missing: versions between 0.1.0 and this one, never
released, had some of it and called their schema 0001 all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa
from alembic import op

from server.model.listing import beginnings, words_of
from server.store.columns import UtcTime

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_UNSETTLED = "state NOT IN ('COMPLETED','CANCELLED','DEPROVISIONING','DEPROVISIONED')"
_UNKNOWN_STATE = (
    "state NOT IN ('PENDING','IN_PROGRESS','COMPLETED','PARTIAL','FAILED','CANCELLED',"
    "'DEPROVISIONING','DEPROVISIONED')"
)
_PAGE_ROWS = 500


def upgrade() -> None:
    """Bring the schema forward."""
    # It remembers what it read: what was there before.
    before = sa.inspect(op.get_bind())
    new_words = not before.has_table("tenant_words")
    _healing(before)
    _access(before)
    _tenants(before)
    _columns(
        before, "engines", _times("paused_until", "accepted_at"), sa.Column("wave", sa.Integer())
    )
    _columns(before, "resources", _times("busy_until"))
    _columns(
        before,
        "runs",
        _times("cancelled_at"),
        # Of rows that are there; ours name it themselves.
        sa.Column("options", sa.Text(), server_default="{}", nullable=False),
        sa.Column("cancelled_by", sa.Text()),
        sa.Column("cancel_reason", sa.Text()),
    )
    _index(before, "runs", "ix_runs_site", ["site", "id"])
    if new_words:
        _write_words()


def _healing(before: sa.Inspector) -> None:
    _columns(
        before,
        "findings",
        _times("ended_at"),
        sa.Column("fingerprint", sa.Text(), server_default="", nullable=False),
        sa.Column("herd_id", sa.Text()),
        sa.Column("tenants", sa.Integer(), server_default="1", nullable=False),
        sa.Column("ended_as", sa.Text()),
    )
    for name, columns, where in (
        ("ix_findings_open", ["found_at", "id"], "ended_at IS NULL"),
        ("ix_findings_ended_at", ["ended_at"], "ended_at IS NOT NULL"),
        ("ix_findings_herd_id", ["herd_id"], "herd_id IS NOT NULL"),
    ):
        _index(before, "findings", name, columns, where=where)
    _table(
        before,
        "herds",
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("finding_id", sa.Text(), nullable=False),
        sa.Column("tenants", sa.Integer(), nullable=False),
        sa.Column("opened_at", UtcTime(), nullable=False),
        sa.Column("canary_tenant_id", sa.Text(), nullable=True),
        sa.Column("canary_revision", sa.BigInteger(), nullable=True),
        sa.Column("ordered_at", UtcTime(), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("alerted_at", UtcTime(), nullable=True),
        sa.Column("released_at", UtcTime(), nullable=True),
        sa.PrimaryKeyConstraint("fingerprint", name=op.f("pk_herds")),
    )
    _table(
        before,
        "quotas",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("since", UtcTime(), nullable=False),
        sa.Column("used", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_quotas")),
    )
    _table(
        before,
        "outbox",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("due_at", UtcTime(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("delivered_at", UtcTime(), nullable=True),
        sa.Column("last_error", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
    )
    _index(before, "outbox", "ix_outbox_due", ["due_at"], where="delivered_at IS NULL")


def _access(before: sa.Inspector) -> None:
    _table(
        before,
        "users",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("email_fold", sa.Text(), nullable=False),
        sa.Column("full_name", sa.Text(), nullable=True),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("all_tenants", sa.Boolean(), nullable=False),
        sa.Column("kyc_tier", sa.Text(), nullable=False),
        sa.Column("token_epoch", sa.Integer(), nullable=False),
        sa.Column("disabled_at", UtcTime(), nullable=True),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("updated_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("code", name=op.f("uq_users_code")),
        sa.UniqueConstraint("email_fold", name=op.f("uq_users_email_fold")),
    )
    _table(
        before,
        "memberships",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("invitation_code", sa.Text(), nullable=True),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "tenant_id", name=op.f("pk_memberships")),
    )
    _table(
        before,
        "api_keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("secret_hash", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("tenants", sa.Text(), nullable=True),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("expires_at", UtcTime(), nullable=False),
        sa.Column("revoked_at", UtcTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
    )
    _table(
        before,
        "imports",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("imported_at", UtcTime(), nullable=False),
        sa.Column("recorded", sa.Text(), nullable=False),
        sa.Column("decision", sa.Text(), nullable=False),
        sa.Column("legacy", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_imports")),
    )
    _table(
        before,
        "audit",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    _index(before, "memberships", "ix_memberships_tenant_id", ["tenant_id"])
    _index(before, "api_keys", "ix_api_keys_name", ["name"])
    _index(before, "audit", "ix_audit_at", ["at"])
    _index(before, "audit", "ix_audit_target", ["target", "at"])


def _tenants(before: sa.Inspector) -> None:
    added = _columns(
        before,
        "tenants",
        _times("unsettled_since", "verify_at"),
        sa.Column(
            "state_since",
            UtcTime(),
            server_default="1970-01-01 00:00:00.000000+00:00",
            nullable=False,
        ),
        sa.Column("words", sa.Text(), server_default="", nullable=False),
    )
    if "state_since" in added:
        op.execute("UPDATE tenants SET state_since = updated_at")
    if "unsettled_since" in added:
        op.execute(
            "UPDATE tenants SET unsettled_since = CASE WHEN first_completed_at IS NULL"  # noqa: S608 - our own words
            f" THEN created_at ELSE updated_at END WHERE {_UNSETTLED}"
        )
    _table(
        before,
        "tenant_words",
        sa.Column(
            "words",
            sa.Text().with_variant(sa.Text(collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("words", "tenant_id", name=op.f("pk_tenant_words")),
        sqlite_with_rowid=False,
    )
    for name, columns in (
        ("ix_tenants_state_created_at", ["state", "created_at", "id"]),
        ("ix_tenants_state_state_since", ["state", "state_since", "id"]),
        ("ix_tenants_state_company_fold", ["state", "company_fold", "id"]),
        ("ix_tenants_engine_id_state_created_at", ["engine_id", "state", "created_at", "id"]),
    ):
        _index(before, "tenants", name, columns)
    finished = "state = 'COMPLETED' AND verify_at"
    for name, columns, where in (
        ("ix_tenants_held", ["id"], "hold_reason IS NOT NULL"),
        ("ix_tenants_unsettled_since", ["unsettled_since", "id"], _UNSETTLED),
        ("ix_tenants_never_verified", ["site", "state_since", "id"], f"{finished} IS NULL"),
        ("ix_tenants_verify_at", ["site", "verify_at", "id"], f"{finished} IS NOT NULL"),
        ("ix_tenants_unknown_state", ["state"], _UNKNOWN_STATE),
        ("ix_tenants_unsettled", ["look_at", "id"], _UNSETTLED),
    ):
        _index(before, "tenants", name, columns, where=where)


def _write_words() -> None:
    """Write what tenants are found by, in pages."""
    bind = op.get_bind()
    tenants = sa.table("tenants", sa.column("id"), sa.column("company_name"), sa.column("words"))
    found = sa.table("tenant_words", sa.column("words"), sa.column("tenant_id"))
    after = ""
    while True:
        page = bind.execute(
            sa.select(tenants.c.id, tenants.c.company_name)
            .where(tenants.c.id > after)
            .order_by(tenants.c.id)
            .limit(_PAGE_ROWS)
        ).all()
        if not page:
            return
        after = page[-1].id
        bind.execute(
            tenants.update().where(tenants.c.id == sa.bindparam("own_id")),
            [{"own_id": row.id, "words": words_of(row.company_name)} for row in page],
        )
        bind.execute(
            found.insert(),
            [
                {"words": words, "tenant_id": row.id}
                for row in page
                for words in beginnings(row.id, row.company_name)
            ],
        )


def _times(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, UtcTime()) for name in names]


def _columns(
    before: sa.Inspector, table: str, times: list[sa.Column[Any]], *more: sa.Column[Any]
) -> set[str]:
    """Add the columns that are missing; return their names."""
    known = {column["name"] for column in before.get_columns(table)}
    missing = [column for column in (*times, *more) if column.name not in known]
    for column in missing:
        op.add_column(table, column)
    return {column.name for column in missing}


def _table(before: sa.Inspector, name: str, *parts: sa.schema.SchemaItem, **options: bool) -> None:
    """Make a table if it is missing."""
    if not before.has_table(name):
        op.create_table(name, *parts, **options)


def _index(
    before: sa.Inspector, table: str, name: str, columns: Sequence[str], *, where: str = ""
) -> None:
    """Make an index, anew where it has other columns."""
    indexes = before.get_indexes(table) if before.has_table(table) else []
    known = {index["name"]: index["column_names"] for index in indexes}
    if known.get(name) == columns:
        return
    if name in known:
        op.drop_index(name, table_name=table)
    condition = sa.text(where) if where else None
    op.create_index(name, table, list(columns), sqlite_where=condition, postgresql_where=condition)
