"""Signing in: the same answer whoever is there, limits, and tokens as old clients know them."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import jwt
import pytest

from server.access.passwords import Passwords
from server.access.signing_key import signing_key
from server.errors import NotSignedIn, SettingsError, StoreUnavailable, Throttled
from server.limits import SIGN_IN_SECONDS, SIGN_INS_PER_ACCOUNT, SIGN_INS_PER_ADDRESS
from server.model.actor import LOCAL, Role
from server.settings import Settings
from tests.server.access.rooms import NOW, opened
from tests.server.access.test_users import MINE, PASSWORD, actor, signed_in

if TYPE_CHECKING:
    from pathlib import Path

    from server.access.wiring import Access
    from server.store.database import Database


async def refusal(access: Access, email: str, password: str, origin: str = "grpc 10.0.0.1") -> Any:
    with pytest.raises((NotSignedIn, Throttled)) as refused:
        await access.sign_in.sign_in(email, password, origin=origin)
    return refused.value


async def test_unknown_user_wrong_password_disabled_and_invited_get_one_answer_after_one_hash(
    sqlite: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = await opened(sqlite, tmp_path)
    await access.users.add(LOCAL, email="jane@example.com", password=PASSWORD)
    await access.users.add(LOCAL, email="invited@example.com", password=None)
    gone = await access.users.add(LOCAL, email="gone@example.com", password=PASSWORD)
    await access.users.disable(LOCAL, gone)
    hashes: list[bool] = []
    matches = Passwords.matches

    async def counted(self: Passwords, stored: str | None, password: str) -> bool:
        hashes.append(stored is None)
        return await matches(self, stored, password)

    monkeypatch.setattr(Passwords, "matches", counted)
    said = [
        await refusal(access, "nobody@example.com", PASSWORD),
        await refusal(access, "jane@example.com", "wrong"),
        await refusal(access, "invited@example.com", PASSWORD),
        await refusal(access, "gone@example.com", PASSWORD),
        await refusal(access, "", ""),
        await refusal(access, "not an address\n\x1b[31m", "x" * 5000),
    ]
    assert {(error.message, error.code) for error in said} == {
        ("Incorrect email or password", "BAD_CREDENTIALS")
    }
    assert len(hashes) == len(said)
    rows = await access.store.audit(limit=10)
    assert sum(row.outcome == "BAD_CREDENTIALS" for row in rows) == len(said)
    assert all(row.actor.isprintable() and row.target.isprintable() for row in rows)


async def test_a_password_typed_as_the_address_is_not_kept(
    sqlite: Database, tmp_path: Path
) -> None:
    access = await opened(sqlite, tmp_path)
    await refusal(access, PASSWORD, "")
    (row,) = await access.store.audit(limit=10)
    assert (row.actor, row.target, row.outcome) == (
        *("not an address", "not an address", "BAD_CREDENTIALS"),
    )


async def test_too_many_tries_of_an_account_are_refused_for_a_time_known_or_not(
    sqlite: Database, tmp_path: Path
) -> None:
    clock = [0.0]
    access = await opened(sqlite, tmp_path, clock=lambda: clock[0])
    await access.users.add(LOCAL, email="jane@example.com", password=PASSWORD)
    for email in ("jane@example.com", "nobody@example.com"):
        for number in range(SIGN_INS_PER_ACCOUNT):
            assert (await refusal(access, email, "wrong", f"grpc 10.0.{number}.1")).code == (
                "BAD_CREDENTIALS"
            )
        throttled = await refusal(access, email.upper(), PASSWORD, "grpc 10.9.9.9")
        assert throttled.code == "TOO_MANY_TRIES"
        assert 0 < throttled.retry_after_seconds <= SIGN_IN_SECONDS
    clock[0] += SIGN_IN_SECONDS + 1
    await signed_in(access, "jane@example.com")


async def test_too_many_tries_from_an_address_are_refused_and_good_ones_are_not_counted(
    sqlite: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = await opened(sqlite, tmp_path)
    await access.users.add(LOCAL, email="jane@example.com", password=PASSWORD)
    for _ in range(SIGN_INS_PER_ACCOUNT + 1):
        await signed_in(access, "jane@example.com")

    async def never(_self: Passwords, _stored: str | None, _password: str) -> bool:
        return False

    monkeypatch.setattr(Passwords, "matches", never)
    for number in range(SIGN_INS_PER_ADDRESS):
        await refusal(access, f"user{number}@example.com", "wrong")
    assert (await refusal(access, "last@example.com", "wrong")).code == "TOO_MANY_TRIES"
    assert (await refusal(access, "last@example.com", "wrong", "http 10.2.2.2")).code == (
        "BAD_CREDENTIALS"
    )


async def test_many_who_sign_in_at_once_and_rightly_are_all_let_in(
    sqlite: Database, tmp_path: Path
) -> None:
    """As a test suite does whose scripts run side by side, all as the same administrator."""
    access = await opened(sqlite, tmp_path)
    await access.users.add(LOCAL, email="jane@example.com", password=PASSWORD)
    many = 2 * SIGN_INS_PER_ACCOUNT
    await asyncio.gather(*(signed_in(access, "jane@example.com") for _ in range(many)))
    # None of them is held against her.
    for _ in range(SIGN_INS_PER_ACCOUNT):
        assert (await refusal(access, "jane@example.com", "wrong")).code == "BAD_CREDENTIALS"
    assert (await refusal(access, "jane@example.com", PASSWORD)).code == "TOO_MANY_TRIES"


async def test_of_many_wrong_tries_at_once_none_is_looked_at_past_the_limit(
    sqlite: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = await opened(sqlite, tmp_path)
    looked_at: list[str] = []

    async def never(_self: Passwords, _stored: str | None, password: str) -> bool:
        looked_at.append(password)
        return False

    monkeypatch.setattr(Passwords, "matches", never)
    refused = await asyncio.gather(
        *(refusal(access, "jane@example.com", f"guess {number}") for number in range(50))
    )
    assert len(looked_at) == SIGN_INS_PER_ACCOUNT
    codes = Counter(error.code for error in refused)
    assert codes == {"BAD_CREDENTIALS": SIGN_INS_PER_ACCOUNT, "TOO_MANY_TRIES": 40}


async def test_tries_that_the_database_did_not_answer_are_not_held_against_anybody(
    sqlite: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = await opened(sqlite, tmp_path)
    await access.users.add(LOCAL, email="jane@example.com", password=PASSWORD)

    async def away(_email: str) -> None:
        raise StoreUnavailable("The database is away.")

    with monkeypatch.context() as patched:
        patched.setattr(access.store, "user_by_email", away)
        for _ in range(SIGN_INS_PER_ACCOUNT):
            with pytest.raises(StoreUnavailable):
                await access.sign_in.sign_in("jane@example.com", PASSWORD, origin="http 10.0.0.1")
    await signed_in(access, "jane@example.com")


@pytest.mark.parametrize(
    ("compat", "life"), [(False, timedelta(minutes=60)), (True, timedelta(days=7))]
)
async def test_tokens_carry_the_claims_of_the_old_api_and_no_other(
    sqlite: Database, tmp_path: Path, compat: bool, life: timedelta
) -> None:
    access = await opened(sqlite, tmp_path, compat=compat)
    user = await access.users.add(
        LOCAL, email="jane@example.com", password=PASSWORD, role=Role.ADMIN, all_tenants=True
    )
    identity = (await signed_in(access, "jane@example.com")).removeprefix("Bearer ")
    assert jwt.get_unverified_header(identity)["alg"] == "HS256"
    assert jwt.decode(identity, options={"verify_signature": False}) == {
        "sub": user.id,
        "user_code": user.code,
        "email": "jane@example.com",
        "kyc_tier": "KYC-T1",
        "scope": "identity:super_admin",
        "is_super_admin": True,
        "exp": int((NOW + life).timestamp()),
    }
    issued = access.tokens.tenant(
        user, tenant_id=MINE, tenant_code="TEN-KE-26-4H8ZP", roles=["OWNER"]
    )
    assert jwt.decode(issued.text.get_secret_value(), options={"verify_signature": False}) == {
        "sub": user.id,
        "user_code": user.code,
        "tenant_id": MINE,
        "tenant_code": "TEN-KE-26-4H8ZP",
        "kyc_tier": "KYC-T1",
        "roles": ["OWNER"],
        "is_super_admin": True,
        "exp": int((NOW + timedelta(minutes=60)).timestamp()),
    }
    # Good for the one tenant only, though the user sees all.
    assert (await actor(access, f"Bearer {issued.text.get_secret_value()}")).tenants == {
        MINE: Role.ADMIN
    }


async def test_a_token_that_is_over_forged_or_somebody_elses_is_refused(
    sqlite: Database, tmp_path: Path
) -> None:
    times = [NOW]
    access = await opened(sqlite, tmp_path, now=lambda: times[0])
    user = await access.users.add(LOCAL, email="jane@example.com", password=PASSWORD)
    good = await signed_in(access, "jane@example.com")
    claims = jwt.decode(good.removeprefix("Bearer "), options={"verify_signature": False})
    header = {"kid": str(user.token_epoch)}
    forged = [
        jwt.encode(claims, "x" * 64, algorithm="HS256", headers=header),
        jwt.encode(claims, "", algorithm="none", headers=header),
        good.removeprefix("Bearer ")[:-4] + "AAAA",
        "x.y.z",
        "x" * 10_000,
    ]
    for text in forged:
        with pytest.raises(NotSignedIn):
            await actor(access, f"Bearer {text}")
    for sent in (None, "", "Basic eDp5", good.removeprefix("Bearer ")):
        with pytest.raises(NotSignedIn):
            await actor(access, sent)
    await actor(access, good)
    times[0] += timedelta(minutes=60)
    with pytest.raises(NotSignedIn):
        await actor(access, good)


async def test_a_new_key_ends_every_token_and_no_machines_key(
    sqlite: Database, tmp_path: Path
) -> None:
    access = await opened(sqlite, tmp_path)
    await access.users.add(LOCAL, email="jane@example.com", password=PASSWORD)
    old = await signed_in(access, "jane@example.com")
    machine = await access.keys.create(LOCAL, name="ci", role=Role.VIEWER)
    (tmp_path / "provisioner.db.jwt.key").write_text("another key " * 8)
    again = await opened(sqlite, tmp_path)
    with pytest.raises(NotSignedIn) as refused:
        await actor(again, old)
    assert refused.value.code == "TOKEN_INVALID"
    new = await signed_in(again, "jane@example.com")
    assert (await actor(again, new)).name == "jane@example.com"
    assert (await actor(again, f"Bearer {machine.text.get_secret_value()}")).name == "key:ci"
    # As at a server that was not started anew yet.
    with pytest.raises(NotSignedIn):
        await actor(access, new)


async def test_with_authentication_off_everybody_is_local_and_a_token_still_says_who(
    sqlite: Database, tmp_path: Path
) -> None:
    access = await opened(sqlite, tmp_path, auth=False)
    user = await access.users.add(LOCAL, email="jane@example.com", password=PASSWORD)
    assert (await actor(access, None)).name == "local"
    assert (await actor(access, "Bearer nonsense")).user_id == ""
    jane = await actor(access, await signed_in(access, "jane@example.com"))
    assert (jane.name, jane.user_id) == ("local", user.id)


def test_the_key_is_made_beside_the_file_for_its_owner_only_and_stays(tmp_path: Path) -> None:
    settings = Settings(database_url=f"sqlite+aiosqlite:///{tmp_path / 'p.db'}")
    key = signing_key(settings)
    (file,) = tmp_path.iterdir()
    assert (file.name, file.stat().st_mode & 0o777) == ("p.db.jwt.key", 0o600)
    assert signing_key(settings) == key
    assert key.get_secret_value() not in repr(key)
    file.chmod(0o644)
    with pytest.raises(SettingsError, match="chmod 600"):
        signing_key(settings)
    file.chmod(0o600)
    file.write_text("short")
    with pytest.raises(SettingsError, match="can be guessed"):
        signing_key(settings)


def test_services_that_come_by_the_file_and_by_a_link_to_it_sign_with_one_key(
    tmp_path: Path,
) -> None:
    (tmp_path / "disk").mkdir()
    link, file = tmp_path / "link.db", tmp_path / "disk" / "p.db"
    link.symlink_to(file)
    by_link, by_file = (
        signing_key(Settings(database_url=f"sqlite+aiosqlite:///{way}")) for way in (link, file)
    )
    assert by_link == by_file
    assert [each.name for each in file.parent.iterdir()] == ["p.db.jwt.key"]


def test_postgresql_wants_a_key_that_all_servers_share() -> None:
    with pytest.raises(SettingsError, match="every server needs the same key"):
        signing_key(Settings(database_url="postgresql+asyncpg://u:p@host/db"))
