"""What was done after a restore, in words and as plain data."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from server.commands import Restored
    from server.store.bound import BoundCompany


_GONE = (
    "the Companies of these tenants are gone. Tenants that were removed after the backup are among "
    "them: remove each of those again, `provisioner deprovision TENANT --dry-run`, then with --yes."
)
_MADE_ANEW = (
    "the Companies of these tenants were made after the backup, in place of those on record: by "
    "another tenant of that name, or by the same one, started again. Remove each tenant again, "
    "which leaves them alone, then start the one that has it, with its old id and spec."
)


def as_facts(restored: Restored) -> dict[str, object]:
    """Return what was done as plain data, for JSON."""
    return {
        "tenants": restored.tenants,
        "probed_again": list(restored.probed),
        "engine_not_configured": list(restored.left),
        "unbound_companies": {
            engine: [
                {"name": each.name, "owner": each.owner, "made_at": each.made_at}
                for each in companies
            ]
            for engine, companies in restored.unbound.items()
        },
        "companies_gone": _bound(restored.gone),
        "companies_made_anew": _bound(restored.made_anew),
        "engines_not_asked": dict(restored.unasked),
    }


def _bound(by_engine: Mapping[str, Sequence[BoundCompany]]) -> dict[str, object]:
    return {
        engine: [{"tenant_id": each.tenant_id, "name": each.name} for each in companies]
        for engine, companies in by_engine.items()
    }


def as_text(restored: Restored) -> str:
    """Return what was done as text for people, with what to do next."""
    lines = [
        f"{restored.tenants} tenants: nothing that a worker or a caller knew before is valid any "
        "more.",
        f"{len(restored.probed)} open runs look at everything in ERPNext before they go on.",
    ]
    if restored.probed:
        # Nothing here can tell it from a Company that somebody else made: a person must.
        lines.append(
            "One of these that stops at COMPANY_NOT_OURS had its Company made after the backup: "
            "see that it is its own, then `provisioner adopt TENANT`."
        )
    lines.extend(
        f"Tenant {tenant}: its engine is not configured here; nothing was done about its run."
        for tenant in restored.left
    )
    for engine, companies in restored.unbound.items():
        if not companies:
            lines.append(f"Engine {engine}: every Company belongs to a tenant.")
            continue
        lines.append(
            f"Engine {engine}: {len(companies)} Companies belong to no tenant. Tenants that were "
            "started after the backup are among them: start each anew with its old id and spec, "
            "then `provisioner adopt TENANT`."
        )
        lines.extend(
            f"  {each.made_at} (site time)  {each.name}  (made by {each.owner})"
            for each in companies
        )
    for told, by_engine in ((_GONE, restored.gone), (_MADE_ANEW, restored.made_anew)):
        for engine, bound in by_engine.items():
            if bound:
                lines.append(f"Engine {engine}: {told}")
                lines.extend(f"  {each.tenant_id}  {each.name}" for each in bound)
    lines.extend(
        f"Engine {engine} could not be asked for its Companies: {why}"
        for engine, why in restored.unasked.items()
    )
    if not restored.unbound and not restored.unasked:
        lines.append(
            "No engine is configured here, so no site was asked for Companies that belong to no "
            "tenant. To ask, repeat this with --engines-file FILE."
        )
    # A revoked key may be one that was stolen, and nothing here can tell.
    lines.append(
        "Users, roles and keys are those of the backup: a key that was revoked since is valid "
        "again, and a user who was locked out is let in. Everybody has to sign in again. Look, and "
        "take away again what was: `provisioner users list`, `provisioner users keys list`."
    )
    lines.append(
        "Then start the servers. Orders given after the backup are forgotten, cancels and removals "
        "too: give them again."
    )
    return "\n".join(lines)
