"""The client over TLS: what is told where it does not fit, and restarts with a new certificate."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import trustme

from clients.sdk import Cause, ProvisionerClient, Tls, Unreachable
from clients.sdk.unreachable import cause_of
from provisioner.v1 import tenant_pb2
from provisioner.v1.tenant_pb2 import TenantSpec
from server.app import App
from server.settings import Address, EnginesConfig, Settings
from tests.support.certificates import FAR_OFF, LONG_AGO, ServerFiles, pair
from tests.support.site import engines_at

if TYPE_CHECKING:
    from pathlib import Path

_FREE = Address(host="127.0.0.1", port=0)


def _app(folder: Path, *, grpc: Address = _FREE, engines: EnginesConfig, **more: Any) -> App:
    settings = Settings(
        database_url=f"sqlite+aiosqlite:///{folder / 'provisioner.db'}",
        grpc_address=grpc,
        http_address=_FREE,
        drain_seconds=1,
        **more,
    )
    return App(settings, engines)


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.mark.parametrize(
    ("issue", "cause", "remedy"),
    [
        ({"names": ("else.example.com",)}, Cause.ANOTHER_NAME, "Call it by a name that is in it"),
        ({"not_after": LONG_AGO}, Cause.OVER, "PROVISIONER_TLS_CERT_FILE"),
        ({"not_before": FAR_OFF}, Cause.NOT_YET, "clocks"),
        ({"of": "another"}, Cause.NOT_TRUSTED, "Tls(authorities=…)"),
        ({"of": "nobody"}, Cause.NO_TLS_THERE, "Leave `tls` out"),
        ({"spoken": False}, Cause.HUNG_UP, "give `tls=Tls(…)`"),
        ({"clients": True}, Cause.HUNG_UP_IN_TLS, "Tls(certificate=…, key=…)"),
        ({"port": "http"}, Cause.NOT_GRPC, "PROVISIONER_HTTP_ADDRESS"),
    ],
)
async def test_what_does_not_fit_is_named_with_its_remedy(
    tmp_path: Path, authority: trustme.CA, issue: dict[str, Any], cause: Cause, remedy: str
) -> None:
    signer = trustme.CA() if issue.get("of") == "another" else authority
    dates = {name: value for name, value in issue.items() if name.startswith("not_")}
    first = pair(signer, *issue.get("names", ()), **dates)
    more: dict[str, Any] = {}
    if issue.get("of") != "nobody":
        more = ServerFiles.of(tmp_path, first).settings
    if issue.get("clients"):
        more["tls_client_ca_file"] = tmp_path / "clients.pem"
        trustme.CA().cert_pem.write_to_path(str(more["tls_client_ca_file"]))
    tls = Tls(authorities=authority.cert_pem.bytes()) if issue.get("spoken", True) else None
    async with _app(tmp_path, engines=EnginesConfig(), **more) as app:
        port = app.http_port if issue.get("port") == "http" else app.grpc_port
        async with ProvisionerClient(f"127.0.0.1:{port}", tls=tls) as client:
            with pytest.raises(Unreachable) as called:
                await client.get_caller()
            with pytest.raises(Unreachable) as followed:
                async with client.watch_status("x", max_failures=0) as statuses:
                    await anext(statuses)
    for refused in (called.value, followed.value):
        assert (refused.cause, refused.code) == (cause, "UNAVAILABLE")
        assert remedy in refused.message
        # For whoever knows them, and asks for help with them.
        assert "failed to connect" in refused.message


def test_a_connection_that_breaks_is_not_told_as_one_that_never_was() -> None:
    for tls in (True, False):
        assert cause_of("Socket closed", tls=tls) is Cause.UNKNOWN


async def test_followers_outlive_a_restart_with_a_renewed_certificate(
    tmp_path: Path, authority: trustme.CA
) -> None:
    files = ServerFiles.of(tmp_path, pair(authority, not_after=FAR_OFF))
    # Nobody answers there: the tenant waits for its engine until it is cancelled.
    engines = engines_at(f"http://127.0.0.1:{_port_of_nobody()}")
    grpc = Address(host="127.0.0.1", port=_port_of_nobody())
    more = {**files.settings, "auth": False, "grpc": grpc, "engines": engines}
    tls = Tls(authorities=authority.cert_pem.bytes())
    async with ProvisionerClient(str(grpc), tls=tls) as client:
        async with _app(tmp_path, **more):
            started = await client.start_provisioning(TenantSpec(company_name="Acme Ltd"))
            tenant = started.tenant_id
            statuses = client.watch_status(tenant)
            log = client.stream_logs(tenant, follow=True)
            assert (await anext(statuses)).tenant_id == tenant
            cursors = [(await anext(log)).cursor]
        files.put(pair(authority))
        async with _app(tmp_path, **more), ProvisionerClient(str(grpc), tls=tls) as other:
            await other.cancel(tenant, reason="enough")
            states = [status.state async for status in statuses]
            cursors += [entry.cursor async for entry in log]
    assert states[-1] == tenant_pb2.TENANT_STATE_CANCELLED
    assert cursors == list(range(1, len(cursors) + 1))


async def test_http_over_tls_answers_with_the_certificate_that_is_renewed(
    tmp_path: Path, authority: trustme.CA
) -> None:
    files = ServerFiles.of(tmp_path, pair(authority, "old.example.com"))
    async with _app(tmp_path, engines=EnginesConfig(), **files.settings) as app:
        assert app.tls_files is not None
        context = httpx.create_ssl_context(trust_env=False)
        context.load_verify_locations(cadata=authority.cert_pem.bytes().decode())
        url = f"https://localhost:{app.http_port}"
        async with httpx.AsyncClient(verify=context, trust_env=False) as web:
            with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
                await web.get(f"{url}/ready")
            files.put(pair(authority))
            await app.tls_files.look()
            assert (await web.get(f"{url}/ready")).json() == {"status": "ready"}
            assert (await web.get(f"{url}/v1/tenants")).status_code == 401


def _port_of_nobody() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port
