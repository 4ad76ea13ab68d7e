"""`provisioner sweep`, `sweeps`, `findings` and `report`: what was found, and what became of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from provisioner.v1 import diagnosis_pb2, fleet_pb2, healing_pb2
from tests.clients import builders
from tests.clients.builders import TENANT
from tests.clients.processes import run

if TYPE_CHECKING:
    from tests.clients.fake_service import FakeService, Serving

OTHER = "01900000-0000-7000-8000-000000000002"


def finding(**values: object) -> healing_pb2.Finding:
    made = healing_pb2.Finding(
        tenant_id=TENANT,
        cause="PASSING_ERROR",
        severity=diagnosis_pb2.SEVERITY_MOVING,
        message="It stopped at an error that may have passed.",
        verdict="DRIVE_ON",
        outcome="ORDERED",
        found_at=builders.moment(),
        tenants=1,
    )
    made.MergeFrom(healing_pb2.Finding(**values))  # type: ignore[arg-type]  # a test's own fields
    return made


@pytest.mark.parametrize("dry_run", [True, False])
async def test_a_sweep_says_what_it_found_and_did_and_who_waits(
    service: FakeService, server: Serving, dry_run: bool
) -> None:
    service.sweep = fleet_pb2.SweepResponse(
        dry_run=dry_run,
        sweep=healing_pb2.SweepRecord(observed=7, acted=1),
        findings=[finding(outcome="AWAITS_CANARY", detail="It waits for another tenant.")],
        healed=2,
        handed_over=[
            healing_pb2.HandedOver(
                tenant_id=OTHER,
                company_name="Kijani",
                state="FAILED",
                error_code="COMPANY_NOT_OURS",
                since=builders.moment(),
                command=f"provisioner diagnose {OTHER}",
            )
        ],
    )
    options = ("--dry-run",) if dry_run else ()
    result = await run("sweep", *options, "--address", server.address)
    assert result.code == 0, result.err
    assert [each.dry_run for each in service.requests["Sweep"]] == [dry_run]
    first = result.out.splitlines()[0]
    assert first.endswith("7 tenants looked at, 1 findings, 1 acted on, 2 healed.")
    assert first.startswith("Dry run: nothing was changed.") == dry_run
    assert "outcome AWAITS_CANARY. It waits for another tenant." in result.out
    assert "1 tenants were already waiting for a person:" in result.out
    assert f"{OTHER}  Kijani  FAILED  COMPANY_NOT_OURS since " in result.out
    assert result.out.splitlines()[-1].split()[:3] == ["Next", "provisioner", "diagnose"]


@pytest.mark.parametrize(
    ("watch", "code", "said"),
    [
        (None, 0, "This server does not sweep"),
        (healing_pb2.SweepWatch(healthy=True, age_seconds=3, interval_seconds=30), 0, "no full"),
        (
            healing_pb2.SweepWatch(
                age_seconds=900,
                interval_seconds=30,
                cut=4,
                last_error="Cut after 60 s.",
                last_full_sweep_at=builders.moment(),
            ),
            1,
            "ended 900 s ago (every 30 s); 0 full, 0 failed, 4 cut, 0 skipped. Last error: Cut",
        ),
    ],
)
async def test_sweeps_that_are_late_end_with_1(
    service: FakeService,
    server: Serving,
    watch: healing_pb2.SweepWatch | None,
    code: int,
    said: str,
) -> None:
    service.sweeps = fleet_pb2.ListSweepsResponse(
        sweeps=[healing_pb2.SweepRecord(observed=5, findings=2, acted=1, skipped_passes=3)],
        watch=watch,
    )
    result = await run("sweeps", "--limit", "7", "--address", server.address)
    scripted = await run("sweeps", "--json", "--address", server.address)
    assert (result.code, scripted.code) == (code, code), result.err
    assert [each.page_size for each in service.requests["ListSweeps"]] == [7, 20]
    assert said in result.out
    assert "5 looked at, 2 new findings, 1 acted on, 3 passes skipped before" in result.out
    assert (scripted.document["watch"] is None) == (watch is None)


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ((), fleet_pb2.ListFindingsRequest(page_size=50)),
        (("--open",), fleet_pb2.ListFindingsRequest(page_size=50, open_only=True)),
        (("--person",), fleet_pb2.ListFindingsRequest(page_size=50, person_only=True)),
        (("--members",), fleet_pb2.ListFindingsRequest(page_size=50, include_members=True)),
        ((TENANT, "--limit", "9"), fleet_pb2.ListFindingsRequest(page_size=9, tenant_id=TENANT)),
    ],
)
async def test_findings_are_asked_for_as_the_options_say(
    service: FakeService,
    server: Serving,
    options: tuple[str, ...],
    asked: fleet_pb2.ListFindingsRequest,
) -> None:
    service.findings = fleet_pb2.ListFindingsResponse()
    result = await run("findings", *options, "--address", server.address)
    assert (result.code, service.requests["ListFindings"]) == (0, [asked])
    assert "Nothing was found." in result.err


async def test_a_finding_says_how_many_whose_move_it_is_and_how_it_ended(
    service: FakeService, server: Serving
) -> None:
    service.findings = fleet_pb2.ListFindingsResponse(
        findings=[
            finding(cause="HERD", tenants=9, severity=diagnosis_pb2.SEVERITY_PERSON),
            finding(ended_as="HEALED", ended_at=builders.moment(5)),
        ],
        next_page_token="more",
    )
    result = await run("findings", "--address", server.address)
    scripted = await run("findings", "--json", "--address", server.address)
    herd, _, _, healed, _, end = result.out.splitlines()
    assert "HERD  9 tenants  (a person must act)" in herd
    assert "tenants" not in healed
    assert "outcome ORDERED, HEALED 20" in end
    assert "More follow." in result.err
    assert [each["tenants"] for each in scripted.document["findings"]] == [9, 1]
    assert scripted.document["next_page_token"] == "more"


@pytest.mark.parametrize(
    ("options", "begins", "ends"),
    [
        ((), None, None),
        (("--from", "2026-11-23"), "2026-11-23T00:00:00+00:00", None),
        (
            ("--from", "2026-11-23T03:00:00+03:00", "--to", "2026-11-24"),
            "2026-11-23T00:00:00+00:00",
            "2026-11-24T00:00:00+00:00",
        ),
        (
            ("--hours", "12", "--to", "2026-11-24"),
            "2026-11-23T12:00:00+00:00",
            "2026-11-24T00:00:00+00:00",
        ),
    ],
)
async def test_a_report_is_of_the_period_that_was_asked_for(
    service: FakeService,
    server: Serving,
    options: tuple[str, ...],
    begins: str | None,
    ends: str | None,
) -> None:
    service.report = fleet_pb2.GetHealingReportResponse(
        report=healing_pb2.HealingReport(markdown="# Healing report\n\n| a | b |\n")
    )
    result = await run("report", *options, "--address", server.address)
    assert result.code == 0, result.err
    assert result.out == "# Healing report\n\n| a | b |\n"
    (asked,) = service.requests["GetHealingReport"]
    for name, time in (("begins_at", begins), ("ends_at", ends)):
        told = getattr(asked, name).ToDatetime(UTC).isoformat() if asked.HasField(name) else None
        assert told == time


async def test_a_report_of_some_hours_ends_now(service: FakeService, server: Serving) -> None:
    service.report = fleet_pb2.GetHealingReportResponse()
    before = datetime.now(UTC)
    result = await run("report", "--hours", "2", "--json", "--address", server.address)
    after = datetime.now(UTC)
    assert result.code == 0, result.err
    assert result.document["outcomes"] == {}
    (asked,) = service.requests["GetHealingReport"]
    begins = asked.begins_at.ToDatetime(UTC)
    assert before <= begins + timedelta(hours=2) <= after
    assert not asked.HasField("ends_at")


async def test_hours_and_a_begin_are_one_too_many(server: Serving) -> None:
    options = ("--hours", "2", "--from", "2026-11-23")
    result = await run("report", *options, "--address", server.address)
    assert result.code == 2
    assert "--hours or --from, not both" in result.err
