"""Carries out `login`, `logout` and `whoami`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from clients.cli import connection
from clients.cli.exit_codes import ExitCode
from clients.cli.json_view import as_object
from clients.cli.output import Output
from clients.cli.wire_text import plain

if TYPE_CHECKING:
    from clients.cli.requests import Login, WhoAmI
    from clients.sdk import ProvisionerClient
    from provisioner.v1.access_pb2 import Caller

_MOST_SHOWN = 20


async def login(client: ProvisionerClient, request: Login, output: Output) -> ExitCode:
    """Sign in, and keep the token.

    Raises:
        ProvisionerError: the service refuses, or is away; what was kept stays.
        typer.BadParameter: the token can't be kept; it is good all the same.
    """
    if not request.tls and not _is_loopback(request.address):
        output.note(
            f"{request.address} is not this machine, and there is no TLS: others may read the "
            "password in transit. Use --tls-ca."
        )
    signed = await client.sign_in(request.email, request.password)
    file = connection.save(
        connection.Profile(
            address=request.address,
            user=signed.caller.name,
            token=signed.access_token,
            expires_at=signed.expires_at.ToJsonString(),
            tls_ca=connection.from_anywhere(request.tls.authorities),
            client_cert=connection.from_anywhere(request.tls.certificate),
            client_key=connection.from_anywhere(request.tls.key),
        )
    )
    if output.as_json:
        # Without the token, because what scripts print ends up in logs.
        output.json(
            {
                "caller": as_object(signed.caller),
                "expires_at": signed.expires_at.ToJsonString(),
                "profile": connection.profile_name(),
                "file": str(file),
            }
        )
    else:
        output.lines(
            [
                Text(f"Signed in at {plain(request.address)} as {plain(signed.caller.name)}."),
                *_lines(signed.caller),
                Text(f"Until     {signed.expires_at.ToJsonString()}; kept in {file}"),
            ]
        )
    return ExitCode.DONE


async def whoami(client: ProvisionerClient, _request: WhoAmI, output: Output) -> ExitCode:
    """Show who the service takes the caller for."""
    caller = await client.get_caller()
    if output.as_json:
        output.json(as_object(caller))
    else:
        output.lines([Text(f"You are   {plain(caller.name)}"), *_lines(caller)])
    return ExitCode.DONE


def forget(*, as_json: bool) -> ExitCode:
    """Delete the stored token; without one, nothing happens.

    Raises:
        typer.BadParameter: the profiles can't be read or written.
    """
    connection.save(None)
    output = Output(as_json=as_json)
    if as_json:
        output.json({"profile": connection.profile_name(), "signed_in": False})
    else:
        output.lines([Text("Signed out: the token is forgotten here.")])
    return ExitCode.DONE


def _lines(caller: Caller) -> list[Text]:
    role = as_object(caller)["role"]
    if caller.all_tenants:
        where = "all tenants"
    else:
        shown = ", ".join(plain(tenant) for tenant in caller.tenant_ids[:_MOST_SHOWN])
        more = len(caller.tenant_ids) - _MOST_SHOWN
        where = (shown or "no tenant yet") + (f" and {more} more" if more > 0 else "")
    return [Text(f"Role      {role}"), Text(f"Sees      {where}")]


def _is_loopback(address: str) -> bool:
    host = address.rpartition(":")[0].strip("[]")
    return host in {"localhost", "::1"} or host.startswith("127.") or address.startswith("unix:")
