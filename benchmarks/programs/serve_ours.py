"""Serves tenants at rest for the benchmarks of reading; prints ports, ids and a token as JSON.

With authentication on, as it is shipped: the caller signs in as anybody does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
from contextlib import AsyncExitStack

import grpc.aio
import structlog

from provisioner.v1 import provisioning_pb2 as pb
from provisioner.v1.access_pb2 import SignInRequest
from provisioner.v1.access_pb2_grpc import AccessServiceStub
from provisioner.v1.provisioning_pb2_grpc import ProvisioningServiceStub
from provisioner.v1.tenant_pb2 import TenantSpec
from server.app import App
from server.model.identifiers import SiteKey
from server.settings import EngineConfig, EnginesConfig, load_settings

EMAIL, PASSWORD = "bench@example.com", "correct horse battery staple"


async def serve(url: str, tenants: int, key_file: str, busy: int) -> None:
    engine = EngineConfig(id="noop", blueprint="noop", site=SiteKey("noop"))
    settings = load_settings(
        config=None,
        overrides={
            "database_url": url,
            "grpc_address": "127.0.0.1:0",
            "http_address": "127.0.0.1:0",
            "admin_email": EMAIL,
            "admin_password": PASSWORD,
            "jwt_key_file": key_file,
        },
        environ={},
    )
    engines = EnginesConfig(default="noop", engines={"noop": engine})
    async with AsyncExitStack() as stack:
        app = await stack.enter_async_context(App(settings, engines))
        channel = await stack.enter_async_context(
            grpc.aio.insecure_channel(f"127.0.0.1:{app.grpc_port}")
        )
        signed = await AccessServiceStub(channel).SignIn(
            SignInRequest(email=EMAIL, password=PASSWORD)
        )
        me = (("authorization", f"Bearer {signed.access_token}"),)
        stub = ProvisioningServiceStub(channel)

        async def start(name: str) -> str:
            request = pb.StartProvisioningRequest(spec=TenantSpec(company_name=name))
            answer = await stub.StartProvisioning(request, metadata=me)
            return answer.status.tenant_id

        ids = [await start(f"Shop {os.getpid()} {number}") for number in range(tenants)]
        for tenant_id in ids:
            request = pb.StreamLogsRequest(tenant_id=tenant_id, follow=True)
            async for _ in stub.StreamLogs(request, metadata=me):
                pass  # it ends once the tenant is at rest
        facts = {
            "port": app.grpc_port,
            "http": app.http_port,
            "ids": ids,
            "token": signed.access_token,
        }
        print(json.dumps(facts), flush=True)
        wave = 0
        while busy:
            # Provisioning runs meanwhile: so many tenants, one wave after the other.
            await asyncio.gather(
                *(start(f"Busy {os.getpid()} {wave} {each}") for each in range(busy))
            )
            wave += 1
            await asyncio.sleep(0.5)
        await asyncio.Event().wait()


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--tenants", type=int, default=200)
    parser.add_argument("--key-file", required=True)
    parser.add_argument("--busy", type=int, default=0)
    given = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    asyncio.run(serve(given.url, given.tenants, given.key_file, given.busy))


if __name__ == "__main__":
    main()
