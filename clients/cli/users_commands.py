"""The command `users`: who may come in. It works on the database, on this machine.

As in `local_commands`, each only turns its options into one call of `server.administration`.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from clients.cli.login_commands import read_password

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from server.administration import Office, Result

commands = typer.Typer(rich_markup_mode=None)
users = typer.Typer(
    name="users",
    help="Manage users and machine keys, on the database's machine.",
    rich_markup_mode=None,
)
keys = typer.Typer(name="keys", help="Look after keys for machines.", rich_markup_mode=None)
commands.add_typer(users)
users.add_typer(keys)

Config = Annotated[Path | None, typer.Option(metavar="FILE", help="Read settings from this file.")]
DatabaseUrl = Annotated[
    str | None,
    typer.Option(metavar="URL", help="The server's database. Default: as in the settings."),
]
Json = Annotated[bool, typer.Option("--json", help="Print only JSON, for errors too.")]
Email = Annotated[str, typer.Argument(metavar="EMAIL", help="Address of the user.")]
RoleWord = Literal["viewer", "operator", "admin"]
Tenants = Annotated[
    list[str] | None,
    typer.Option(
        "--tenant", metavar="UUID", help="For this tenant only; repeat it for more. Default: all."
    ),
]
PasswordStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from stdin.")
]
PasswordFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Read the password from this file.")
]


@users.command("list", epilog="\b\nExample:\n  provisioner users list --json\n")
def list_(*, config: Config = None, database_url: DatabaseUrl = None, as_json: Json = False) -> int:
    """Show all users."""
    from server import administration as office  # noqa: PLC0415 - the server starts slowly

    return _run(office.list_users, _users, config, database_url, as_json=as_json)


@users.command(
    epilog="""\b
Examples:
  provisioner users add jane@example.com --role operator
  provisioner users add till@example.com --role viewer --tenant "$ID" --password-file till.password
"""
)
def add(
    *,
    email: Email,
    role: Annotated[RoleWord, typer.Option(help="What the user may do.")] = "operator",
    tenant: Tenants = None,
    name: Annotated[str | None, typer.Option(metavar="TEXT", help="The user's name.")] = None,
    password_stdin: PasswordStdin = False,
    password_file: PasswordFile = None,
    config: Config = None,
    database_url: DatabaseUrl = None,
    as_json: Json = False,
) -> int:
    """Add a user. Prompts for the password, or reads it; it is never an option."""
    from server import administration as office  # noqa: PLC0415 - the server starts slowly

    password = read_password(password_file, from_stdin=password_stdin, confirm=True)
    work = partial(
        office.add_user,
        email=email,
        password=password,
        full_name=name,
        role=role,
        tenants=tenant or [],
    )
    # The first administrator may be made before the first start.
    return _run(work, _user, config, database_url, existing=False, as_json=as_json)


@users.command(epilog="\b\nExample:\n  provisioner users password jane@example.com\n")
def password(
    *,
    email: Email,
    password_stdin: PasswordStdin = False,
    password_file: PasswordFile = None,
    config: Config = None,
    database_url: DatabaseUrl = None,
    as_json: Json = False,
) -> int:
    """Give a user a new password. Tokens issued before stop working."""
    from server import administration as office  # noqa: PLC0415 - the server starts slowly

    new = read_password(password_file, from_stdin=password_stdin, confirm=True)
    work = partial(office.set_password, email=email, password=new)
    return _run(work, _user, config, database_url, as_json=as_json)


@users.command(epilog="\b\nExample:\n  provisioner users role jane@example.com admin\n")
def role(
    *,
    email: Email,
    role: Annotated[RoleWord, typer.Argument(metavar="ROLE", help="viewer, operator or admin.")],
    all_tenants: Annotated[
        bool | None,
        typer.Option(
            "--all-tenants/--members-only",
            help="For all tenants, or only those the user is a member of.",
        ),
    ] = None,
    config: Config = None,
    database_url: DatabaseUrl = None,
    as_json: Json = False,
) -> int:
    """Change a user's role. Tokens issued before stop working."""
    from server import administration as office  # noqa: PLC0415 - the server starts slowly

    work = partial(office.set_role, email=email, role=role, all_tenants=all_tenants)
    return _run(work, _user, config, database_url, as_json=as_json)


@users.command(epilog="\b\nExample:\n  provisioner users disable jane@example.com\n")
def disable(
    *,
    email: Email,
    config: Config = None,
    database_url: DatabaseUrl = None,
    as_json: Json = False,
) -> int:
    """Lock a user out; tokens given out before stop working."""
    from server import administration as office  # noqa: PLC0415 - the server starts slowly

    work = partial(office.set_disabled, email=email, disabled=True)
    return _run(work, _user, config, database_url, as_json=as_json)


@users.command(epilog="\b\nExample:\n  provisioner users enable jane@example.com\n")
def enable(
    *,
    email: Email,
    config: Config = None,
    database_url: DatabaseUrl = None,
    as_json: Json = False,
) -> int:
    """Let a disabled user in again."""
    from server import administration as office  # noqa: PLC0415 - the server starts slowly

    work = partial(office.set_disabled, email=email, disabled=False)
    return _run(work, _user, config, database_url, as_json=as_json)


@users.command(epilog='\b\nExample:\n  provisioner users join jane@example.com "$ID"\n')
def join(
    *,
    email: Email,
    tenant: Annotated[str, typer.Argument(metavar="TENANT", help="UUID of the tenant.")],
    member_role: Annotated[
        str, typer.Option("--as", metavar="ROLE", help="OWNER, ADMIN, MANAGER, CASHIER or VIEWER.")
    ] = "MANAGER",
    config: Config = None,
    database_url: DatabaseUrl = None,
    as_json: Json = False,
) -> int:
    """Make a user a member of a tenant."""
    from server import administration as office  # noqa: PLC0415 - the server starts slowly

    work = partial(office.join, email=email, tenant=tenant, member_role=member_role)
    return _run(work, _user, config, database_url, as_json=as_json)


@users.command(epilog='\b\nExample:\n  provisioner users leave jane@example.com "$ID"\n')
def leave(
    *,
    email: Email,
    tenant: Annotated[str, typer.Argument(metavar="TENANT", help="UUID of the tenant.")],
    config: Config = None,
    database_url: DatabaseUrl = None,
    as_json: Json = False,
) -> int:
    """End a user's membership of a tenant."""
    from server import administration as office  # noqa: PLC0415 - the server starts slowly

    work = partial(office.leave, email=email, tenant=tenant)
    return _run(work, _user, config, database_url, as_json=as_json)


@users.command(epilog='\b\nExample:\n  provisioner users audit --target "$ID"\n')
def audit(
    *,
    target: Annotated[
        str | None, typer.Option(metavar="TEXT", help="A tenant's UUID, an address, key:NAME.")
    ] = None,
    actor: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who ordered: an address, key:NAME, local.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Most rows, newest first.")] = 100,
    config: Config = None,
    database_url: DatabaseUrl = None,
    as_json: Json = False,
) -> int:
    """Show who ordered what, from where, and the outcome."""
    from server import administration as office  # noqa: PLC0415 - the server starts slowly

    work = partial(office.read_audit, limit=limit, target=target, actor=actor)
    return _run(work, _audit, config, database_url, "ReadAudit", as_json=as_json)


@keys.command(
    "create",
    epilog="""\b
Examples:
  provisioner users keys create signup --role operator --days 365
  PROVISIONER_TOKEN=$(provisioner users keys create ci --role viewer --json | jq -r .key)
""",
)
def create_key(
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Which machine.")],
    role: Annotated[RoleWord, typer.Option(help="What the machine may do.")] = "operator",
    tenant: Tenants = None,
    days: Annotated[int, typer.Option(min=1, max=730, help="How long the key lasts.")] = 90,
    config: Config = None,
    database_url: DatabaseUrl = None,
    as_json: Json = False,
) -> int:
    """Create a key for a machine, and show it this one time."""
    from server import administration as office  # noqa: PLC0415 - the server starts slowly

    work = partial(office.create_key, name=name, role=role, tenants=tenant or [], days=days)
    return _run(work, _new_key, config, database_url, "ManageKeys", as_json=as_json)


@keys.command("list", epilog="\b\nExample:\n  provisioner users keys list\n")
def list_keys(
    *, config: Config = None, database_url: DatabaseUrl = None, as_json: Json = False
) -> int:
    """Show all keys, without their secrets."""
    from server import administration as office  # noqa: PLC0415 - the server starts slowly

    return _run(office.list_keys, _keys, config, database_url, "ManageKeys", as_json=as_json)


@keys.command("revoke", epilog="\b\nExample:\n  provisioner users keys revoke signup\n")
def revoke_key(
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name, or its id.")],
    config: Config = None,
    database_url: DatabaseUrl = None,
    as_json: Json = False,
) -> int:
    """Revoke a key. Running servers accept it for at most five seconds more."""
    from server import administration as office  # noqa: PLC0415 - the server starts slowly

    work = partial(office.revoke_key, name=name)
    return _run(work, _revoked, config, database_url, "ManageKeys", as_json=as_json)


# Any: facts are what JSON holds.
def _run(
    work: Callable[[Office], Awaitable[Result]],
    show: Callable[[dict[str, Any]], Iterable[str]],
    config: Path | None,
    database_url: str | None,
    method: str = "ManageUsers",
    *,
    existing: bool = True,
    as_json: bool,
) -> int:
    from clients.cli.wire_text import plain  # noqa: PLC0415 - the help can do without
    from server.administration import in_office  # noqa: PLC0415 - the server starts slowly

    result = in_office(
        work, method=method, config=config, database_url=database_url, existing=existing
    )
    if as_json:
        sys.stdout.write(json.dumps(result.facts) + "\n")
    elif "error" in result.facts:
        told = map(plain, str(result.facts["error"]["message"]).split("\n"))
        sys.stderr.write("Error: " + "\n".join(told) + "\n")
    else:
        # Old clients may give a member any text as his role: a line stays one line.
        sys.stdout.writelines(f"{plain(line)}\n" for line in show(result.facts))
    for note in result.notes:
        sys.stderr.write(f"{note}\n")
    return result.code


def _users(facts: dict[str, Any]) -> Iterable[str]:
    if not facts["users"]:
        yield "No users yet. Add the first one: provisioner users add EMAIL --role admin"
    for user in facts["users"]:
        yield from _user(user)


def _user(user: dict[str, Any]) -> Iterable[str]:
    where = "all tenants" if user["all_tenants"] else "members only"
    marks = [where]
    if user["disabled_at"]:
        marks.append("disabled")
    if not user["has_password"]:
        marks.append("no password yet")
    yield f"{user['email']}  {user['role'].lower()}  {', '.join(marks)}"
    for each in user.get("memberships", ()):
        yield f"  {each['tenant_id']}  {each['role']}  {each['status'].lower()}"


def _keys(facts: dict[str, Any]) -> Iterable[str]:
    if not facts["keys"]:
        yield "No keys yet. Make one: provisioner users keys create NAME"
    for key in facts["keys"]:
        yield _key(key)


def _key(key: dict[str, Any]) -> str:
    where = "all tenants" if key["tenants"] is None else ", ".join(key["tenants"]) or "no tenant"
    state = f"until {_time(key['expires_at'])}" if key["good"] else "ended"
    return f"{key['name']}  {key['id']}  {key['role'].lower()}  {where}  {state}"


def _new_key(key: dict[str, Any]) -> Iterable[str]:
    yield str(key["key"])


def _revoked(facts: dict[str, Any]) -> Iterable[str]:
    for key in facts["revoked"]:
        yield f"Revoked {key['name']}  {key['id']}"


def _audit(facts: dict[str, Any]) -> Iterable[str]:
    for row in facts["audit"]:
        reason = f"  ({row['reason']})" if row["reason"] else ""
        yield (
            f"{_time(row['at'])}  {row['outcome']}  {row['actor']}  {row['action']}"
            f"  {row['target']}  from {row['origin'] or 'unknown'}{reason}"
        )


def _time(moment: str) -> str:
    """Return a time as the other commands show it."""
    return moment.partition(".")[0].rstrip("Z").replace("T", " ") + " UTC"
