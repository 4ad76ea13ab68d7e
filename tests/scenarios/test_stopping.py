"""Ctrl-C at `serve`: once it drains, once more it does not wait for answers."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

from tests.scenarios.fleet import order
from tests.support.waiting import until
from tools.installation import PATIENCE_SECONDS

if TYPE_CHECKING:
    from tools.installation import Installation

HANG = {"faults": [{"method": "POST", "doctype": "Company", "hang_ms": 600_000}]}


async def test_ctrl_c_once_more_ends_the_wait_for_answers(shop: Installation) -> None:
    shop.settings["PROVISIONER_DRAIN_SECONDS"] = "600"
    await shop.start_site()
    await shop.start_server()
    await shop.site_faults(HANG)
    await order(shop, "Kijani Stores", "order-1")
    await until(lambda: shop.sql("SELECT 1 FROM engines WHERE slot_doctype = 'Company'"))

    server = shop.processes["server"]
    server.send_signal(signal.SIGINT)
    await until(lambda: "600 s for ERPNext's answers. Ctrl-C again" in shop.logs()["server.log"])
    assert server.returncode is None
    server.send_signal(signal.SIGINT)
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert await server.wait() == 0

    assert "Traceback" not in shop.logs()["server.log"]
    last = "SELECT outcome, error_code FROM attempts ORDER BY started_at DESC LIMIT 1"
    assert shop.sql(last) == [("LOST", "WORKER_STOPPED")]
    assert shop.sql("SELECT state, worker_id FROM runs") == [("QUEUED", None)]
