"""Carries out `accept-site`: shows why the site's gate is shut, asks, and accepts the site."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.text import Text

from clients.cli.asking import agreed
from clients.cli.exit_codes import ExitCode
from clients.cli.wire_text import plain
from provisioner.v1 import engines_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clients.cli.output import Output
    from clients.cli.requests import AcceptSite
    from clients.sdk import ProvisionerClient
    from provisioner.v1.fleet_pb2 import AcceptSiteResponse


async def accept_site(client: ProvisionerClient, request: AcceptSite, output: Output) -> ExitCode:
    """Carry `accept-site` out.

    Returns:
        DONE if the site is accepted or was only to be shown; WRONG_USE if nobody agreed.
    """
    shown = await client.accept_site(request.engine, validate_only=True)
    output.lines(lines(_document(shown)))
    if request.dry_run or not await agreed(QUESTION, output, yes=request.yes):
        return only_shown(_document(shown), output, dry_run=request.dry_run)
    done = await client.accept_site(request.engine, reason=request.reason)
    return told(_document(done), output)


QUESTION = "Is this site right as it is?"


def lines(seen: dict[str, Any]) -> Iterator[Text]:  # Any: JSON values
    """Show for people a site that needs a decision.

    Args:
        seen: The JSON document of `accept-site`, of the service or of this machine's database.
    """
    yield Text.assemble((plain(seen["engine"]), "bold"), "  ", plain(seen["site"]))
    if seen["gate"] == "UP":
        yield Text("  Its gate is open: there is nothing to accept.")
    else:
        yield Text(f"  {plain(seen['gate_code'])}: {plain(seen['gate_message'])}", "red")
    if seen["held_tenants"]:
        yield Text(f"  {seen['held_tenants']} of its tenants are held, and stay held.")


def told(done: dict[str, Any], output: Output) -> ExitCode:  # Any: JSON values
    """Say which site was accepted, and what to do next.

    Args:
        done: The JSON document of `accept-site`, as it was before the order.
        output: Where to say it.
    """
    if output.as_json:
        output.json(done)
    else:
        # A Company that is gone is not made by Continue: the third one would shut the gate again.
        then = "diagnose" if done["gate_code"] == "COMPANIES_VANISHED" else "continue"
        output.lines(
            [
                Text(
                    f"{plain(done['site'])} is accepted as it is. Its gate opens within 15 s if "
                    "nothing else is wrong. Held tenants stay held: provisioner list --held, then "
                    f"{then} each."
                )
            ]
        )
    return ExitCode.DONE


def only_shown(seen: dict[str, Any], output: Output, *, dry_run: bool) -> ExitCode:
    """End without having accepted anything: on request, or because nobody agreed.

    Args:
        seen: The JSON document of `accept-site`.
        output: Where to say it.
        dry_run: Whether only showing was asked for.

    Returns:
        DONE if it was, else WRONG_USE.
    """
    if output.as_json:
        output.json(seen)
    else:
        output.note("Nothing was changed.")
    return ExitCode.DONE if dry_run else ExitCode.WRONG_USE


def _document(answer: AcceptSiteResponse) -> dict[str, Any]:  # Any: JSON values
    site = answer.site
    return {
        "engine": site.engine_id,
        "site": site.site,
        "gate": engines_pb2.EngineGate.Name(site.gate).removeprefix("ENGINE_GATE_"),
        "gate_code": site.gate_code,
        "gate_message": site.gate_message,
        "held_tenants": site.held_tenants,
        "accepted": answer.accepted,
    }
