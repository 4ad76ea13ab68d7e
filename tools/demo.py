"""`make demo`: proves the story without anybody, on real processes.

Acts: a tenant is provisioned while its log tails; the service is killed in mid-step and
started again; another tenant's record is damaged into PARTIAL, 0 of 10; the reconciler
heals it. Exits 0 only if all of that came true.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tools.installation import Installation, installation

PATIENCE_SECONDS = 120.0


class NotTrueError(Exception):
    """Something the demo says did not come true."""


def tell(text: str) -> None:
    """Say what happens, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def demand(condition: bool, what: str) -> None:  # noqa: FBT001 - reads like an assertion
    """Go on only if it is so."""
    if not condition:
        raise NotTrueError(what)
    tell(f"  ok: {what}")


async def main() -> int:
    """Play the acts."""
    with tempfile.TemporaryDirectory(prefix="provisioner-demo-") as folder:
        async with installation(Path(folder)) as shop:
            try:
                await _play(shop)
            except (NotTrueError, TimeoutError, AssertionError) as error:
                tell(f"\nNOT TRUE: {str(error) or type(error).__name__}")
                for name, text in shop.logs().items():
                    tell(f"--- {name}\n{text[-3000:]}")
                return 1
    tell("\nAll of it came true.")
    return 0


async def _play(shop: Installation) -> None:
    await shop.start_site()
    await shop.site_faults({"latency_ms": 40})
    await shop.start_server("--with-reconciler")
    tell("Act 1: a tenant is provisioned while its log tails; the service dies in mid-step.")
    asked = await _requests(shop)
    first = await _start(shop, "Mama Njeri Traders")
    cursors = asyncio.create_task(_tail_over_a_crash(shop, first))
    await _until_step(shop, first, "step_4_warehouses")
    await shop.kill("server")
    tell("  kill -9")
    killed = time.monotonic()
    await shop.start_server("--with-reconciler")
    up = time.monotonic()
    status = await _until_done(shop, first)
    tell(f"  up again after {up - killed:.1f} s, done {time.monotonic() - up:.1f} s later")
    demand(status["state"] == "COMPLETED", "the tenant is COMPLETED after the crash")
    seen = await asyncio.wait_for(cursors, PATIENCE_SECONDS)
    demand(seen == list(range(1, len(seen) + 1)), f"the tail read {len(seen)} lines, each once")
    await _demand_each_once(shop, "Mama Njeri Traders")
    tell(f"  the engine was asked {await _requests(shop) - asked} times, the crash included")

    tell("Act 2: another tenant's record is damaged into PARTIAL, 0 of 10, no error.")
    asked = await _requests(shop)
    second = await _start(shop, "Baraka Stores")
    await _until_done(shop, second)
    tell(f"  the engine was asked {await _requests(shop) - asked} times for this tenant")
    before = await shop.site_state()
    # The service is stopped so that the reader can see the damage before it is healed.
    await shop.stop("server")
    _damage(shop, second)
    await shop.start_server()
    status = await _status(shop, second)
    demand(
        (status["state"], status["steps_completed"], status["total_steps"]) == ("PARTIAL", 0, 10),
        "the status reads PARTIAL, 0 of 10",
    )
    demand(
        [error["code"] for error in status["errors"]] == ["STEP_RECORD_LOST"],
        f"and says why: {status['errors'][0]['message']}",
    )

    tell("Act 3: the reconciler heals it; nobody does anything.")
    began = time.monotonic()
    await shop.start_reconciler()
    status = await _until_done(shop, second)
    healed = time.monotonic() - began
    demand(
        status["state"] == "COMPLETED", f"healed in {healed:.1f} s, start of the process included"
    )
    adopted = [step["key"] for step in status["steps"] if step["adopted"]]
    demand("step_2_company" in adopted, f"{len(adopted)} steps were taken over, none made anew")
    demand(_documents(before) == _documents(await shop.site_state()), "nothing was made twice")
    await _report(shop)


def _damage(shop: Installation, tenant: str) -> None:
    """Make the record the old system left behind."""
    shop.sql("DELETE FROM steps WHERE tenant_id = ?", tenant)
    shop.sql("UPDATE runs SET state = 'PARTIAL' WHERE tenant_id = ?", tenant)
    shop.sql(
        "UPDATE tenants SET state = 'PARTIAL', steps_completed = 0, first_completed_at = NULL "
        "WHERE id = ?",
        tenant,
    )


async def _start(shop: Installation, name: str) -> str:
    answer = await shop.call_json("start", name, "--till-user", "till@example.com")
    tenant: str = _status_of(answer)["tenant_id"]
    tell(f"  provisioner start {name!r} -> tenant {tenant}")
    return tenant


async def _status(shop: Installation, tenant: str) -> dict[str, Any]:
    return _status_of(await shop.call_json("status", tenant))


def _status_of(answer: dict[str, Any]) -> dict[str, Any]:
    status: dict[str, Any] = answer.get("status", answer)
    return status


async def _until_step(shop: Installation, tenant: str, key: str) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        # Another process's progress: there is nothing to await but the rows.
        while not shop.sql(  # noqa: ASYNC110 - see above
            "SELECT 1 FROM attempts WHERE tenant_id = ? AND step_key = ? AND outcome IS NULL",
            tenant,
            key,
        ):
            await asyncio.sleep(0.005)


async def _until_done(shop: Installation, tenant: str) -> dict[str, Any]:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            status = await _status(shop, tenant)
            if status["state"] in {"COMPLETED", "FAILED"}:
                return status
            await asyncio.sleep(0.1)


async def _tail_over_a_crash(shop: Installation, tenant: str) -> list[int]:
    """Tail the log with the typed client, which resumes by cursor when the service dies."""
    from clients.sdk import ProvisionerClient  # noqa: PLC0415 - the demo is a caller

    cursors = []
    async with ProvisionerClient(f"127.0.0.1:{shop.grpc_port}") as client:
        async for entry in client.stream_logs(tenant, follow=True):
            cursors.append(entry.cursor)
            if entry.level >= 2:  # noqa: PLR2004 - INFO and above
                tell(f"    {entry.cursor:3d} {entry.step_key or '-':24s} {entry.message}")
    return cursors


async def _requests(shop: Installation) -> int:
    """Count what the engine was asked until now."""
    return sum(entry["count"] for entry in (await shop.site_state())["requests"])


def _documents(state: dict[str, Any]) -> Counter[str]:
    return Counter({kind: len(docs) for kind, docs in state["documents"].items()})


async def _demand_each_once(shop: Installation, company: str) -> None:
    documents = (await shop.site_state())["documents"]
    companies = [doc for doc in documents["Company"] if doc["name"] == company]
    stores = [doc for doc in documents["Warehouse"] if doc.get("company") == company]
    names = Counter(doc["name"] for doc in stores)
    demand(len(companies) == 1 and max(names.values()) == 1, "each document exists once")


async def _report(shop: Installation) -> None:
    tell("\nWhat was healed:")
    for row in shop.sql(
        "SELECT tenant_id, cause, verdict, outcome, message FROM findings ORDER BY found_at"
    ):
        tell("  tenant {} {}: {} ({})\n    {}".format(*row))


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
