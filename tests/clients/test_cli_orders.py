"""skip, cancel, deprovision, adopt, release and start -f as a process."""

from __future__ import annotations

import json
import signal
from collections import deque
from typing import TYPE_CHECKING

import grpc

from provisioner.v1 import orders_pb2, provisioning_pb2, tenant_pb2
from tests.clients import builders
from tests.clients.builders import TENANT
from tests.clients.fake_service import FakeService, Fault, Hang, Serving
from tests.clients.processes import GUARD_SECONDS, finish, run, running
from tests.support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

ORDER = ("--reason", "agreed", "--request-id", "mine", "--expected-revision", "7")
COMPANY = orders_pb2.TenantDocument(
    doctype="Company",
    name="Acme\x1b[31m",
    origin=orders_pb2.DOCUMENT_ORIGIN_CREATED,
    removed=True,
)


async def test_skip_and_cancel_send_what_they_were_given(
    service: FakeService, server: Serving
) -> None:
    service.answers["Cancel"] = provisioning_pb2.CancelResponse(documents=[COMPANY])
    there = ("--address", server.address)
    skipped = await run("skip", TENANT, "--step", "step_9_pos_session", *ORDER, *there)
    cancelled = await run("cancel", TENANT, *ORDER, *there)
    assert (skipped.code, cancelled.code) == (0, 0)
    (skip,) = service.requests["SkipStep"]
    assert (skip.step_key, skip.reason, skip.request_id) == ("step_9_pos_session", "agreed", "mine")
    (cancel,) = service.requests["Cancel"]
    assert (cancel.tenant_id, cancel.reason, cancel.expected_revision) == (TENANT, "agreed", 7)
    assert "Left at the engine (1):" in cancelled.out
    assert "\x1b" not in cancelled.out


async def test_deprovision_shows_the_list_and_orders_nothing_unasked(
    service: FakeService, server: Serving
) -> None:
    row = orders_pb2.TenantDocument(
        doctype="Mode of Payment Account",
        name="Cash / Acme",
        origin=orders_pb2.DOCUMENT_ORIGIN_ADOPTED,
        removed=True,
        note="goes with the Company",
    )
    service.answers["Deprovision"] = provisioning_pb2.DeprovisionResponse(documents=[COMPANY, row])
    there = ("--address", server.address)
    result = await run("deprovision", TENANT, *there)
    assert result.code == 2
    assert "Will be removed (2):" in result.out
    assert "Cash / Acme  goes with the Company" in result.out
    assert "--yes" in result.err
    shown = await run("deprovision", TENANT, "--dry-run", "--json", *there)
    assert shown.code == 0
    assert json.loads(shown.out)["ordered"] is False
    assert all(request.validate_only for request in service.requests["Deprovision"])
    done = await run(
        "deprovision", TENANT, "--yes", "--even-if-sold", "--delete-transactions", *ORDER, *there
    )
    assert done.code == 0
    last = service.requests["Deprovision"][-1]
    assert (last.validate_only, last.even_if_sold, last.delete_transactions) == (False, True, True)


async def test_adopt_shows_the_checks_side_by_side_and_stops_where_one_disagrees(
    service: FakeService, server: Serving
) -> None:
    service.answers["AdoptCompany"] = provisioning_pb2.AdoptCompanyResponse(
        checks=[
            orders_pb2.CompanyCheck(field="currency", want="KES", have="UGX", agrees=False),
            orders_pb2.CompanyCheck(field="country", want="Kenya", have="Kenya", agrees=True),
        ]
    )
    result = await run("adopt", TENANT, "--yes", "--address", server.address)
    assert result.code == 1
    assert "✗ currency" in result.out
    assert "TENANT WANTS" in result.out
    assert all(request.validate_only for request in service.requests["AdoptCompany"])


async def test_release_shows_the_holder_and_his_age_first(
    service: FakeService, server: Serving
) -> None:
    hold = tenant_pb2.Hold(reason="The Company is gone", by="run")
    hold.since.GetCurrentTime()
    service.answers["Release"] = provisioning_pb2.ReleaseResponse(hold=hold)
    result = await run("release", TENANT, "--yes", "--address", server.address)
    assert result.code == 0
    assert "Held by run, " in result.out
    assert " ago: The Company is gone" in result.out
    assert [each.validate_only for each in service.requests["Release"]] == [True, False]


async def test_a_file_starts_every_tenant_and_tells_what_became_of_each(
    service: FakeService, server: Serving, tmp_path: Path
) -> None:
    file = tmp_path / "tenants.yaml"
    file.write_text("- company_name: Acme\n- company_name: Bidii\n  country_code: XX\n")
    service.statuses = deque([builders.status(0)])
    service.faults["GetStatus"].extend([Fault(code=grpc.StatusCode.NOT_FOUND)] * 2)
    service.faults["StartProvisioning"].append(
        Fault(
            code=grpc.StatusCode.INVALID_ARGUMENT,
            reason="INVALID_INPUT",
            fields={"spec.country_code": "is no country."},
        )
    )
    result = await run("start", "-f", str(file), "--json", "--address", server.address)
    assert result.code == 2
    tenants = json.loads(result.out)["tenants"]
    assert sorted(each["outcome"] for each in tenants) == ["refused", "started"]
    assert [each["line"] for each in tenants] == [1, 2]
    ids = {request.tenant_id for request in service.requests["StartProvisioning"]}
    assert ids == {each["tenant_id"] for each in tenants}


async def test_a_wrong_file_orders_nothing(
    service: FakeService, server: Serving, tmp_path: Path
) -> None:
    file = tmp_path / "tenants.yaml"
    file.write_text("- company_name: Acme\n- compny_name: Bidii\n")
    result = await run("start", "-f", str(file), "--address", server.address)
    assert result.code == 2
    assert f"{file}:2: compny_name" in result.err
    assert "Did you mean company_name?" in result.err
    # The line is in front of each mistake, and not behind it once more.
    assert ": line 2" not in result.err
    told = await run("start", "-f", str(file), "--json", "--address", server.address)
    fields = told.document["error"]["fields"]
    assert (2, "compny_name") in [(each["line"], each["field"]) for each in fields]
    assert not service.requests["StartProvisioning"]


async def test_a_file_is_watched_by_streams_until_each_is_at_rest(
    service: FakeService, server: Serving, tmp_path: Path
) -> None:
    file = tmp_path / "tenants.yaml"
    file.write_text("- company_name: Acme\n- company_name: Bidii\n")
    service.statuses = deque([builders.status(0)])
    service.watches.extend(
        [[builders.status(1), builders.completed()], [builders.status(1), builders.failed()]]
    )
    result = await run("start", "-f", str(file), "--watch", "--address", server.address)
    assert result.code == 1
    # One look each before the order, and no more: changes come by themselves.
    assert len(service.requests["GetStatus"]) == len(service.requests["WatchStatus"]) == 2
    assert "COMPLETED" in result.out
    assert "FAILED" in result.out
    next_command = f"provisioner continue {TENANT} --address {server.address}"
    assert f"Next: {next_command}" in result.out.splitlines()
    assert any(line.startswith(("Acme: step_", "Bidii: step_")) for line in result.out.splitlines())


async def test_ctrl_c_ends_the_watch_of_a_file_and_says_how_to_look_again(
    service: FakeService, server: Serving, tmp_path: Path
) -> None:
    file = tmp_path / "my tenants.yaml"
    file.write_text("company_name: Acme\n")
    service.statuses = deque([builders.status(0)])
    service.watches.extend([[builders.status(1), Hang()]])
    command = ("start", "-f", str(file), "--watch", "--address", server.address)
    async with running(*command) as process:
        await until(lambda: service.requests["WatchStatus"], seconds=GUARD_SECONDS)
        process.send_signal(signal.SIGINT)
        result = await finish(process)
    assert result.code == 130
    assert f"provisioner start -f '{file}' --watch" in result.err
