"""Users, memberships, keys and the audit: every query about who has access.

Changes here are rare and not fenced, so they do not go through the one writer. On SQLite they
share its thread and connection, and therefore its order.

Every method raises `StoreUnavailable` if the database can't be read or written. If PostgreSQL's
answer to a COMMIT was lost, the change may have been written, and the message says so.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError

from server.errors import AlreadyExists
from server.model.access import (
    ApiKey,
    AuditEntry,
    Membership,
    MembershipStatus,
    NewUser,
    User,
    fold_email,
)
from server.model.actor import Role
from server.store import rows, values
from server.store.failures import refusals
from server.store.rowset import add, put
from server.store.tables import API_KEYS, AUDIT, MEMBERSHIPS, TENANTS, USERS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import TypeVar

    from sqlalchemy import Connection, RowMapping

    from server.store.database import Database

    T = TypeVar("T")

# A row damaged from outside must neither let anybody in nor keep others out.
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)
# A time that can't be read reads as none, and any text as true. Whoever was locked out with SQL
# must stay out, so the database is asked these questions itself.
_USER = (
    USERS,
    USERS.c.disabled_at.is_not(None).label("is_disabled"),
    USERS.c.all_tenants.is_(True).label("sees_all"),
)
_KEY = (API_KEYS, API_KEYS.c.revoked_at.is_not(None).label("is_revoked"))


class AccessStore:
    """Reads and writes who has access."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def demand_there(self) -> None:
        """Refuse at once what would only wait for a database that is down.

        Raises:
            StoreUnavailable: with the reason.
        """
        self._database.demand_there()

    def demand_writes(self) -> None:
        """Refuse while nothing can be written.

        Raises:
            StoreUnavailable: with the reason.
        """
        self._database.demand_writes()

    async def user(self, user_id: str) -> User | None:
        """Return a user by id, or None."""
        return await self._user(USERS.c.id == user_id)

    async def user_by_email(self, email: str) -> User | None:
        """Return a user by email address (compared as `fold_email` returns it), or None."""
        if "\0" in email:
            # Nobody has such an address, and PostgreSQL's refusal of it would look like an outage.
            return None
        return await self._user(USERS.c.email_fold == fold_email(email))

    async def users(self) -> list[User]:
        """Return all users, in the order of their addresses."""

        def read(connection: Connection) -> list[User]:
            found = connection.execute(select(*_USER).order_by(USERS.c.email_fold)).mappings()
            return [_user_of(row) for row in found]

        return await self._database.in_snapshot(read)

    async def password_hash(self, user_id: str) -> str | None:
        """Return the hash of a user's password; None if there is no such user or password.

        A hash is never part of a `User`, so that none can get into a log or an answer.
        """

        def read(connection: Connection) -> str | None:
            query = select(USERS.c.password_hash).where(USERS.c.id == user_id)
            found: str | None = connection.execute(query).scalar()
            return found

        return await self._database.in_snapshot(read)

    async def add_user(
        self,
        new: NewUser,
        *,
        memberships: Sequence[Membership] = (),
        entry: AuditEntry | None = None,
    ) -> None:
        """Add a user, with memberships.

        Args:
            new: The user.
            memberships: The user's memberships.
            entry: The audit row, if any.

        Raises:
            AlreadyExists: the address (USER_EXISTS) or the code (CODE_TAKEN) is taken.
        """

        def write(connection: Connection) -> None:
            add(connection, USERS, [rows.user_row(new)])
            put(connection, MEMBERSHIPS, [rows.membership_row(each) for each in memberships])
            _note(connection, entry)

        try:
            await self._write(write)
        except IntegrityError as error:
            taken = "code" if "code" in str(error.orig).partition("\n")[0] else "email"
            raise AlreadyExists(
                f"There is a user {new.user.email} already."
                if taken == "email"
                else f"The user code {new.user.code} is taken.",
                code="USER_EXISTS" if taken == "email" else "CODE_TAKEN",
            ) from error

    async def change_user(
        self,
        user_id: str,
        at: datetime,
        values: Mapping[str, object],
        *,
        entry: AuditEntry | None = None,
    ) -> None:
        """Change columns of a user, whose tokens are no longer accepted from then on.

        Args:
            user_id: The user.
            at: The current time.
            values: The new values, by column: password_hash, role, all_tenants, disabled_at or
                full_name.
            entry: The audit row, if any.
        """

        def write(connection: Connection) -> None:
            connection.execute(
                update(USERS)
                .where(USERS.c.id == user_id)
                .values(**values, token_epoch=USERS.c.token_epoch + 1, updated_at=at)
            )
            _note(connection, entry)

        await self._write(write)

    async def memberships(self, user_id: str) -> list[Membership]:
        """Return a user's memberships, newest first; invitations too."""
        return await self._memberships(MEMBERSHIPS.c.user_id == user_id)

    async def members(self, tenant_id: str) -> list[Membership]:
        """Return a tenant's memberships, newest first; invitations too."""
        return await self._memberships(MEMBERSHIPS.c.tenant_id == tenant_id)

    async def put_membership(
        self, membership: Membership, *, entry: AuditEntry | None = None
    ) -> None:
        """Add a membership, or replace the one that is there.

        Args:
            membership: The user and the tenant of it must exist; nobody checks here.
            entry: The audit row, written in the same transaction; None for none.
        """

        def write(connection: Connection) -> None:
            put(connection, MEMBERSHIPS, [rows.membership_row(membership)])
            _note(connection, entry)

        await self._write(write)

    async def drop_membership(
        self, user_id: str, tenant_id: str, *, entry: AuditEntry | None = None
    ) -> bool:
        """End a membership.

        Args:
            user_id: The user.
            tenant_id: The tenant.
            entry: The audit row, written in the same transaction; None for none.

        Returns:
            False if there was none; then no audit row is written either.
        """

        def write(connection: Connection) -> bool:
            gone = connection.execute(
                MEMBERSHIPS.delete().where(
                    MEMBERSHIPS.c.user_id == user_id, MEMBERSHIPS.c.tenant_id == tenant_id
                )
            )
            if gone.rowcount == 0:
                # Nothing was ended, so the audit must not say that it was.
                return False
            _note(connection, entry)
            return True

        return await self._write(write)

    async def tenant_exists(self, tenant_id: str) -> bool:
        """Tell whether there is a tenant with this id."""

        def read(connection: Connection) -> bool:
            query = select(TENANTS.c.id).where(TENANTS.c.id == tenant_id)
            return connection.execute(query).first() is not None

        return await self._database.in_snapshot(read)

    async def api_key(self, key_id: str) -> tuple[ApiKey, str] | None:
        """Return a key and the hash of its secret; None if there is no such key.

        Expired and revoked keys are returned, too: `server.access.api_keys` judges them.
        """

        def read(connection: Connection) -> tuple[ApiKey, str] | None:
            query = select(*_KEY).where(API_KEYS.c.id == key_id)
            row = connection.execute(query).mappings().first()
            return None if row is None else (_key_of(row), row["secret_hash"])

        return await self._database.in_snapshot(read)

    async def api_keys(self) -> list[ApiKey]:
        """Return all keys, including expired and revoked ones, newest first."""

        def read(connection: Connection) -> list[ApiKey]:
            found = connection.execute(select(*_KEY).order_by(API_KEYS.c.id.desc())).mappings()
            return [_key_of(row) for row in found]

        return await self._database.in_snapshot(read)

    async def add_api_key(
        self, key: ApiKey, *, secret_hash: str, entry: AuditEntry | None = None
    ) -> None:
        """Add a key.

        Args:
            key: The key, without its secret.
            secret_hash: The hash by which the secret is recognised.
            entry: The audit row, written in the same transaction; None for none.
        """

        def write(connection: Connection) -> None:
            tenants = None if key.tenants is None else json.dumps(sorted(key.tenants))
            connection.execute(
                API_KEYS.insert().values(
                    id=key.id,
                    name=key.name,
                    secret_hash=secret_hash,
                    role=key.role,
                    tenants=tenants,
                    created_by=key.created_by,
                    created_at=key.created_at,
                    expires_at=key.expires_at,
                    revoked_at=key.revoked_at,
                )
            )
            _note(connection, entry)

        await self._write(write)

    async def revoke_api_key(
        self, key_id: str, at: datetime, *, entry: AuditEntry | None = None
    ) -> None:
        """Revoke a key, unless it is revoked already: the first time stays.

        Args:
            key_id: The key; an unknown one is nothing to revoke.
            at: The current time.
            entry: The audit row, written in any case; None for none.
        """

        def write(connection: Connection) -> None:
            connection.execute(
                update(API_KEYS)
                .where(API_KEYS.c.id == key_id, API_KEYS.c.revoked_at.is_(None))
                .values(revoked_at=at)
            )
            _note(connection, entry)

        await self._write(write)

    async def note(self, entry: AuditEntry) -> None:
        """Write an audit row that belongs to no other change."""
        await self._write(lambda connection: _note(connection, entry))

    async def audit(
        self, *, limit: int, target: str | None = None, actor: str | None = None
    ) -> list[AuditEntry]:
        """Return the newest audit rows, newest first.

        Args:
            limit: The most rows to return.
            target: If given, only rows about this target.
            actor: If given, only rows of this actor.
        """

        def read(connection: Connection) -> list[AuditEntry]:
            query = select(AUDIT).order_by(AUDIT.c.at.desc(), AUDIT.c.id.desc()).limit(limit)
            if target is not None:
                query = query.where(AUDIT.c.target == target)
            if actor is not None:
                query = query.where(AUDIT.c.actor == actor)
            return [_entry_of(row) for row in connection.execute(query).mappings()]

        return await self._database.in_snapshot(read)

    async def _user(self, condition: Any) -> User | None:  # Any: an SQL condition
        def read(connection: Connection) -> User | None:
            row = connection.execute(select(*_USER).where(condition)).mappings().first()
            return None if row is None else _user_of(row)

        return await self._database.in_snapshot(read)

    async def _memberships(self, condition: Any) -> list[Membership]:  # Any: an SQL condition
        def read(connection: Connection) -> list[Membership]:
            query = (
                select(MEMBERSHIPS)
                .where(condition)
                .order_by(MEMBERSHIPS.c.created_at.desc(), MEMBERSHIPS.c.tenant_id.desc())
            )
            return [_membership_of(row) for row in connection.execute(query).mappings()]

        return await self._database.in_snapshot(read)

    async def _write(self, work: Callable[[Connection], T]) -> T:
        with refusals(but=(IntegrityError,)):
            return await self._database.in_transaction(work)


def _note(connection: Connection, entry: AuditEntry | None) -> None:
    if entry is not None:
        put(connection, AUDIT, [rows.audit_row(entry)])


def _entry_of(row: RowMapping) -> AuditEntry:
    said: dict[str, Any] = {name: values.words(value) for name, value in row.items()}
    return AuditEntry(**(said | {"at": row["at"] or _NEVER}))


def _user_of(row: RowMapping) -> User:
    role = Role.parse(row["role"])
    return User(
        id=row["id"],
        code=values.words(row["code"]),
        email=values.words(row["email"]),
        full_name=row["full_name"],
        has_password=row["password_hash"] is not None,
        role=role or Role.VIEWER,
        # An unknown role gives no rights.
        all_tenants=bool(row["sees_all"]) and role is not None,
        kyc_tier=values.words(row["kyc_tier"]),
        token_epoch=row["token_epoch"],
        disabled_at=row["disabled_at"] or (_NEVER if row["is_disabled"] else None),
        created_at=row["created_at"] or _NEVER,
    )


def _membership_of(row: RowMapping) -> Membership:
    return Membership(
        user_id=row["user_id"],
        tenant_id=row["tenant_id"],
        role=row["role"],
        status=MembershipStatus.parse(row["status"]) or MembershipStatus.INVITED,
        created_at=row["created_at"] or _NEVER,
        invitation_code=row["invitation_code"],
    )


def _key_of(row: RowMapping) -> ApiKey:
    role = Role.parse(row["role"])
    return ApiKey(
        id=row["id"],
        name=values.words(row["name"]),
        role=role or Role.VIEWER,
        tenants=_tenants(row["tenants"]) if role is not None else frozenset(),
        created_by=values.words(row["created_by"]),
        created_at=row["created_at"] or _NEVER,
        expires_at=row["expires_at"] or _NEVER,
        revoked_at=row["revoked_at"] or (_NEVER if row["is_revoked"] else None),
    )


def _tenants(text: str | None) -> frozenset[str] | None:
    if text is None:
        return None
    try:
        return frozenset(str(each) for each in json.loads(text))
    except (ValueError, TypeError, RecursionError):
        return frozenset()
