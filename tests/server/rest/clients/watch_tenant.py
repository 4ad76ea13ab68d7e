"""Signs in, makes a tenant without the token, and watches it: watch_tenant.py URL NAME EMAIL."""

from __future__ import annotations

import json
import sys
import time
import urllib.request
from typing import Any


def call(url: str, body: object = None, token: str = "") -> tuple[int, Any]:
    """Call, as a script without libraries does."""
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers=headers)  # noqa: S310 - our server
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - our server
        return answer.status, json.load(answer)


def main() -> int:
    """Return 0 if the tenant was COMPLETED in time."""
    base, name, email, pause = sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4])
    # No /api here: this one calls the API itself.
    _, signed = call(f"{base}/auth/login", {"email": "admin@moran.com", "password": "admin123"})
    token = signed["access_token"]
    form = {"name": name, "admin_email": email, "admin_name": "T", "admin_password": "Test1234!"}
    status, made = call(f"{base}/iam/tenants", {**form, "engine": "erpnext"})
    if status != 200:
        return 1
    path = f"{base}/provisioning/tenants/{made['tenant']['id']}"
    ends = time.monotonic() + 120
    while time.monotonic() < ends:
        status, look = call(f"{path}/status", token=token)
        if status != 200:
            return 1
        print(look["status"], look["progress"])
        if look["status"] == "COMPLETED":
            _, logs = call(f"{path}/logs", token=token)
            print(len(logs["logs"]))
            return 0
        if look["status"] in {"FAILED", "PARTIAL"}:
            return 1
        time.sleep(pause)
    return 1


if __name__ == "__main__":
    sys.exit(main())
