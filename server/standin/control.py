"""What only the stand-in has: /standin/state to look inside it, /standin/faults to break things.

Neither needs credentials, and both work while the engine is down.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse
from starlette.routing import Route

from server.standin.faults import BadFaultsError, parse

if TYPE_CHECKING:
    from starlette.requests import Request

    from server.standin.gateway import Gateway
    from server.standin.site import Site


def routes(site: Site, gateway: Gateway) -> list[Route]:
    """Return the routes of one stand-in."""

    async def state(_request: Request) -> JSONResponse:
        requests = [
            {"method": method, "doctype": doctype, "status": status, "count": count}
            for (method, doctype, status), count in sorted(gateway.log.items())
        ]
        documents = {doctype: site.every(doctype) for doctype in sorted(site.documents)}
        return JSONResponse({"documents": documents, "requests": requests})

    async def faults(request: Request) -> JSONResponse:
        try:
            gateway.faults = parse(json.loads(await request.body() or b"{}"))
        except json.JSONDecodeError as error:
            return JSONResponse({"error": f"The body is not JSON: {error}"}, status_code=400)
        except BadFaultsError as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        return JSONResponse({"ok": True})

    return [
        Route("/standin/state", state, methods=["GET"]),
        Route("/standin/faults", faults, methods=["POST"]),
    ]
