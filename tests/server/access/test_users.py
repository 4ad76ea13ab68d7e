"""Users, keys and what they may do, on both databases."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError, StatementError

from server.errors import AlreadyExists, InvalidInput, NotFound, NotSignedIn, StoreUnavailable
from server.model.actor import LOCAL, Right, Role
from server.store.backup import leap
from tests.server.access.rooms import NOW, opened

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from server.access.wiring import Access
    from server.model.access import User
    from server.model.actor import Actor
    from server.store.database import Database

PASSWORD = "correct horse battery"
MINE, OTHER = "11111111-1111-7111-8111-111111111111", "22222222-2222-7222-8222-222222222222"


async def signed_in(access: Access, email: str, password: str = PASSWORD) -> str:
    result = await access.sign_in.sign_in(email, password, origin="grpc 10.0.0.1")
    return f"Bearer {result.token.text.get_secret_value()}"


async def actor(access: Access, authorization: str | None) -> Actor:
    return await access.authenticator.actor(authorization, origin="grpc 10.0.0.1")


async def test_a_user_signs_in_whatever_the_case_of_his_address(
    database: Database, tmp_path: Path
) -> None:
    access = await opened(database, tmp_path)
    await access.users.add(LOCAL, email="Jane@Example.com", password=PASSWORD, all_tenants=True)
    jane = await actor(access, await signed_in(access, " jane@example.COM "))
    assert (jane.name, jane.role, jane.tenants) == ("Jane@Example.com", Role.OPERATOR, None)
    assert jane.origin == "grpc 10.0.0.1"
    with pytest.raises(AlreadyExists):
        await access.users.add(LOCAL, email="JANE@example.com", password=PASSWORD)


async def test_an_address_that_no_database_holds_is_nobodys(
    database: Database, tmp_path: Path
) -> None:
    access = await opened(database, tmp_path)
    assert await access.users.by_email("jane\0@example.com") is None
    with pytest.raises(NotSignedIn):
        await signed_in(access, "jane\0@example.com")


async def test_a_password_a_role_or_a_disabling_ends_the_tokens_that_were_given_out(
    database: Database, tmp_path: Path
) -> None:
    access = await opened(database, tmp_path)
    user = await access.users.add(LOCAL, email="jane@example.com", password=PASSWORD)
    changes: tuple[Callable[[], Awaitable[None]], ...] = (
        lambda: access.users.set_password(LOCAL, user, "another long one"),
        lambda: access.users.set_role(LOCAL, user, Role.ADMIN, all_tenants=True),
        lambda: access.users.disable(LOCAL, user),
    )
    passwords = (PASSWORD, "another long one", "another long one")
    for change, password in zip(changes, passwords, strict=True):
        token = await signed_in(access, "jane@example.com", password)
        await actor(access, token)
        await change()
        with pytest.raises(NotSignedIn):
            await actor(access, token)
    with pytest.raises(NotSignedIn) as refused:
        await signed_in(access, "jane@example.com", "another long one")
    assert refused.value.code == "BAD_CREDENTIALS"
    await access.users.enable(LOCAL, user)
    assert (
        await actor(access, await signed_in(access, "jane@example.com", "another long one"))
    ).may(Right.ADMINISTER)


async def test_no_token_from_before_a_restore_counts_again(
    database: Database, tmp_path: Path
) -> None:
    """His epoch of then is one that he comes to again: the restored one is lower."""
    access = await opened(database, tmp_path)
    await access.users.add(LOCAL, email="jane@example.com", password=PASSWORD)
    token = await signed_in(access, "jane@example.com")

    await database.in_transaction(leap)

    restarted = await opened(database, tmp_path)
    with pytest.raises(NotSignedIn):
        await actor(restarted, token)
    await actor(restarted, await signed_in(restarted, "jane@example.com"))


async def test_a_member_sees_his_tenants_from_the_next_call_on_and_no_longer_after_he_left(
    database: Database, tmp_path: Path
) -> None:
    access = await opened(database, tmp_path)
    user = await access.users.add(
        LOCAL, email="jane@example.com", password=PASSWORD, memberships={MINE: "MANAGER"}
    )
    token = await signed_in(access, "jane@example.com")
    assert (await actor(access, token)).tenants == {MINE: Role.OPERATOR}
    await access.users.join(LOCAL, user, OTHER, "CASHIER")
    assert (await actor(access, token)).tenants == {MINE: Role.OPERATOR, OTHER: Role.VIEWER}
    await access.users.leave(LOCAL, user, MINE)
    assert (await actor(access, token)).tenants == {OTHER: Role.VIEWER}


async def test_a_machines_key_is_shown_once_and_ends_when_revoked_or_over(
    database: Database, tmp_path: Path
) -> None:
    times = [NOW]
    access = await opened(database, tmp_path, now=lambda: times[0])
    made = await access.keys.create(
        LOCAL, name="ci", role=Role.VIEWER, tenants=frozenset({MINE}), days=2
    )
    text = made.text.get_secret_value()
    assert text not in repr(made)
    ci = await actor(access, f"Bearer {text}")
    assert (ci.name, ci.tenants) == ("key:ci", {MINE: Role.VIEWER})
    with pytest.raises(InvalidInput):
        await access.keys.create(LOCAL, name="ci", role=Role.VIEWER)
    with pytest.raises(NotSignedIn):
        await actor(access, f"Bearer {text[:-1]}{'A' if text[-1] != 'A' else 'B'}")
    await access.keys.revoke(LOCAL, "ci")
    with pytest.raises(NotSignedIn):
        await actor(access, f"Bearer {text}")
    with pytest.raises(NotFound):
        await access.keys.revoke(LOCAL, "ci")
    second = (await access.keys.create(LOCAL, name="ci", role=Role.VIEWER, days=2)).text
    await actor(access, f"bearer {second.get_secret_value()}")
    times[0] = NOW + timedelta(days=2)
    with pytest.raises(NotSignedIn):
        await actor(access, f"Bearer {second.get_secret_value()}")


async def test_who_was_locked_out_by_hand_stays_out_whatever_was_written(
    database: Database, tmp_path: Path
) -> None:
    """Neither database takes `infinity` for a time that Python has."""
    access = await opened(database, tmp_path)
    await access.users.add(LOCAL, email="jane@example.com", password=PASSWORD, all_tenants=True)
    made = await access.keys.create(LOCAL, name="ci", role=Role.VIEWER)
    sent = (await signed_in(access, "jane@example.com"), f"Bearer {made.text.get_secret_value()}")
    for each in sent:
        await actor(access, each)
    by_hand = (
        text("UPDATE users SET disabled_at = 'infinity'"),
        text("UPDATE api_keys SET revoked_at = 'infinity'"),
    )
    await database.in_transaction(lambda connection: [connection.execute(each) for each in by_hand])
    access.authenticator.forget()
    for each in sent:
        with pytest.raises(NotSignedIn):
            await actor(access, each)
    with pytest.raises(NotSignedIn):
        await signed_in(access, "jane@example.com")
    (jane,), (ci,) = await access.users.all(), await access.keys.all()
    assert jane.disabled_at is not None
    assert ci.revoked_at is not None


async def test_who_was_confined_by_hand_sees_no_more_than_his_own(
    sqlite: Database, tmp_path: Path
) -> None:
    access = await opened(sqlite, tmp_path)
    jane = await access.users.add(
        LOCAL, email="jane@example.com", password=PASSWORD, all_tenants=True
    )
    statement = text("UPDATE users SET all_tenants = 'false'")
    await sqlite.in_transaction(lambda connection: connection.execute(statement))
    assert (await access.users.find(jane.email)).all_tenants is False
    assert (await actor(access, await signed_in(access, jane.email))).tenants == {}


async def test_calls_at_the_same_time_look_at_their_token_once_and_never_share_an_older_look(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = await opened(database, tmp_path)
    user = await access.users.add(LOCAL, email="jane@example.com", password=PASSWORD)
    token = await signed_in(access, "jane@example.com")
    looks = 0
    read, held = access.store.user, asyncio.Event()

    async def counted(user_id: str) -> User | None:
        nonlocal looks
        looks += 1
        found = await read(user_id)
        await held.wait()
        return found

    monkeypatch.setattr(access.store, "user", counted)
    access.authenticator.forget()
    early = [asyncio.create_task(actor(access, token)) for _ in range(50)]
    gone = asyncio.create_task(actor(access, token))
    while not looks:
        await asyncio.sleep(0)
    gone.cancel()
    held.set()
    assert {found.name for found in await asyncio.gather(*early)} == {"jane@example.com"}
    assert looks == 1

    # Looked at before he was disabled, and answered after: none of the calls that came later.
    held.clear()
    access.authenticator.forget()
    slow = asyncio.create_task(actor(access, token))
    while looks == 1:
        await asyncio.sleep(0)
    monkeypatch.setattr(access.store, "user", read)
    await access.users.disable(LOCAL, user)
    with pytest.raises(NotSignedIn):
        await actor(access, token)
    held.set()
    await asyncio.wait([slow])
    with pytest.raises(NotSignedIn):
        await actor(access, token)


async def test_each_change_of_who_may_come_in_has_a_row_in_the_audit(
    database: Database, tmp_path: Path
) -> None:
    access = await opened(database, tmp_path)
    user = await access.users.add(LOCAL, email="jane@example.com", password=PASSWORD)
    await access.users.join(LOCAL, user, MINE, "OWNER")
    await access.users.disable(LOCAL, user)
    await access.users.set_role(LOCAL, user, Role.ADMIN, all_tenants=False)
    await access.keys.create(LOCAL, name="ci", role=Role.ADMIN)
    rows = await access.store.audit(limit=100)
    assert all((row.actor, row.outcome) == ("local", "OK") for row in rows)
    assert {(row.action, row.target, row.reason) for row in rows} == {
        ("AddUser", "jane@example.com", "as OPERATOR, members only"),
        ("AddMember", MINE, "jane@example.com as OWNER"),
        ("DisableUser", "jane@example.com", ""),
        ("SetRole", "jane@example.com", "as ADMIN, members only"),
        ("CreateKey", "key:ci", "as ADMIN for 90 days, all tenants"),
    }


async def test_what_could_not_be_ended_is_not_in_the_audit_as_done(
    database: Database, tmp_path: Path
) -> None:
    access = await opened(database, tmp_path)
    user = await access.users.add(LOCAL, email="jane@example.com", password=PASSWORD)
    with pytest.raises(NotFound):
        await access.users.leave(LOCAL, user, MINE)
    actions = [row.action for row in await access.store.audit(limit=100)]
    assert actions == ["AddUser"]


async def test_the_first_administrator_is_made_once_and_keeps_his_password(
    sqlite: Database, tmp_path: Path
) -> None:
    first = await opened(
        sqlite, tmp_path, admin_email="boss@example.com", admin_password="first long one"
    )
    again = await opened(
        sqlite, tmp_path, admin_email="boss@example.com", admin_password="second long one"
    )
    for access in (first, again):
        boss = await actor(access, await signed_in(access, "boss@example.com", "first long one"))
        assert boss.may(Right.ADMINISTER)
        with pytest.raises(NotSignedIn):
            await signed_in(access, "boss@example.com", "second long one")
    assert len(await again.users.all()) == 1


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OperationalError("INSERT", {}, Exception("database or disk is full")), "Free space on"),
        # Without words of the driver's it would quote the values.
        (
            StatementError("no such type", "INSERT", {"password_hash": "$argon2$"}, None),
            "such type",
        ),
    ],
)
async def test_what_cannot_be_written_says_what_to_do_and_quotes_no_value(
    sqlite: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, says: str
) -> None:
    access = await opened(sqlite, tmp_path)

    async def refuse(_work: object) -> None:
        raise error

    monkeypatch.setattr(sqlite, "in_transaction", refuse)
    with pytest.raises(StoreUnavailable, match=says) as refused:
        await access.users.add(LOCAL, email="jane@example.com", password=PASSWORD)
    assert "argon2" not in refused.value.message
