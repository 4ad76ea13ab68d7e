"""The report of a sweep: as facts for programs, and as text for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reconciler.found import SweepReport


def as_facts(report: SweepReport) -> dict[str, Any]:
    """Return what `reconcile --once --json` prints: times in ISO 8601, in UTC."""
    return {
        "sweep_id": report.id,
        "dry_run": report.dry_run,
        "started_at": report.started_at.isoformat(),
        "finished_at": report.finished_at.isoformat(),
        "observed": report.observed,
        "acted": report.acted,
        "findings": [
            {
                "tenant_id": found.tenant_id,
                "revision": found.revision,
                "cause": found.finding.cause.value,
                "severity": found.finding.severity.value,
                "message": found.finding.message,
                "evidence": dict(found.finding.evidence),
                "verdict": found.verdict.value,
                "outcome": found.carried.outcome.value,
                "detail": found.carried.detail,
                "fingerprint": found.fingerprint,
                "tenants": found.tenants,
                "stuck_since": found.stuck_since.isoformat() if found.stuck_since else None,
                "not_before": found.not_before.isoformat() if found.not_before else None,
            }
            for found in report.findings
        ],
        "healed": report.healed,
        "handed_over": [
            {
                "tenant_id": tenant.tenant_id,
                "company_name": tenant.company_name,
                "state": tenant.state,
                "error_code": tenant.error_code,
                "held": tenant.held,
                "reason": tenant.reason,
                "since": tenant.since.isoformat() if tenant.since else None,
                "next": f"provisioner diagnose {tenant.tenant_id}",
            }
            for tenant in report.handed_over
        ],
    }


def as_text(report: SweepReport) -> str:
    """Return what `reconcile --once` prints."""
    lines = [
        f"{'Dry run: nothing was written. ' if report.dry_run else ''}"
        f"{report.observed} tenants looked at, {len(report.findings)} findings, "
        f"{report.acted} acted on, {report.duration_seconds:.2f} s."
    ]
    for found in report.findings:
        lines.append(
            f"{found.tenant_id}  {found.finding.cause.value}  {found.finding.severity.value}"
        )
        lines.append(f"    {found.finding.message}")
        later = f", not before {found.not_before:%H:%M:%S} UTC" if found.not_before else ""
        lines.append(
            f"    verdict {found.verdict.value}, outcome {found.carried.outcome.value}{later}"
        )
        if found.carried.detail:
            lines.append(f"    {found.carried.detail}")
    if report.handed_over:
        lines.append(f"{len(report.handed_over)} tenants were already waiting for a person:")
    for tenant in report.handed_over:
        why = f"held: {tenant.reason}" if tenant.held else tenant.error_code
        lines.append(f"{tenant.tenant_id}  {tenant.company_name}  {tenant.state}  {why}")
        lines.append(f"    next: provisioner diagnose {tenant.tenant_id}")
    return "\n".join(lines)
