"""Examples of `/v1` for the description: a test checks that the contract has such messages."""

from __future__ import annotations

from typing import Any

from server.rest.examples_looks_v1 import LOOKS, RUN_ID, SPEC, TENANT_ID

Example = dict[str, Any]  # Any: JSON

_STATUS: Example = {
    "status": {
        "tenant_id": TENANT_ID,
        "run_id": RUN_ID,
        "revision": "31",
        "state": "TENANT_STATE_IN_PROGRESS",
        "current_step": "step_2_company",
        "progress_percent": 20.0,
        "steps_completed": 2,
        "total_steps": 10,
        "steps": [
            {
                "key": "step_2_company",
                "state": "STEP_STATE_RUNNING",
                "adopted": False,
                "attempts": 1,
                "started_at": "2026-03-01T08:15:04.120Z",
                "title": "Company",
                "required": True,
                "note": "",
            }
        ],
        "errors": [],
        "started_at": "2026-03-01T08:15:04.120Z",
        "spec": SPEC,
        "next_command": "",
        "last_cursor": "12",
    }
}
_CANCELLING: Example = {
    **_STATUS["status"],
    "waiting_for": {
        "code": "CANCELLING",
        "message": "Cancelled by jane@example.com; it stops when nothing is unknown any more.",
    },
}
_DOCUMENTS: list[Example] = [
    {
        "doctype": "Company",
        "name": "Kijani Stores",
        "origin": "DOCUMENT_ORIGIN_CREATED",
        "removed": True,
        "note": "made by us",
    }
]
_ORDER: Example = {"request_id": "ticket-4711", "reason": "The disabled till user was mended."}

REQUESTS: dict[str, Example] = {
    "StartProvisioning": {
        "spec": {"company_name": "Kijani Stores", "country_code": "KE"},
        "request_id": "signup-4711",
    },
    "Continue": _ORDER,
    "Retry": {**_ORDER, "step_key": "step_8_pos_profile"},
    "SkipStep": {**_ORDER, "step_key": "step_6_items"},
    "Cancel": _ORDER,
    "AdoptCompany": _ORDER,
    "Release": _ORDER,
    "Deprovision": {**_ORDER, "validate_only": True},
    "Plan": {"spec": {"company_name": "Kijani Stores"}},
    "Verify": {},
    "Diagnose": {},
    "Sweep": {"dry_run": True},
    "AcceptSite": {"reason": "Moved to the new machine on Monday.", "validate_only": True},
}

ANSWERS: dict[str, Example] = {
    **dict.fromkeys(
        (
            "StartProvisioning",
            "GetStatus",
            "WatchStatus",
            "Continue",
            "Retry",
            "SkipStep",
        ),
        _STATUS,
    ),
    "Cancel": {"status": _CANCELLING, "documents": _DOCUMENTS},
    "Deprovision": {**_STATUS, "documents": _DOCUMENTS},
    "AdoptCompany": {
        **_STATUS,
        "company_owner": "provisioner@example.com",
        "company_created": "2026-03-01 11:15:12.026851",
        "checks": [
            {
                "field": "company name",
                "want": "Kijani Stores",
                "have": "Kijani Stores",
                "agrees": True,
            }
        ],
    },
    "Release": _STATUS,
    "ListTenants": {
        "tenants": [
            {
                "tenant_id": TENANT_ID,
                "company_name": "Kijani Stores",
                "engine_id": "main",
                "state": "TENANT_STATE_COMPLETED",
                "current_step": "",
                "progress_percent": 100.0,
                "steps_completed": 10,
                "total_steps": 10,
                "error_code": "",
                "revision": "34",
                "run_id": RUN_ID,
                "created_at": "2026-03-01T08:15:03.900Z",
                "state_since": "2026-03-01T08:16:40.002Z",
                "updated_at": "2026-03-01T08:16:40.002Z",
            }
        ],
        "next_page_token": "",
    },
    "StreamLogs": {
        "entries": [
            {
                "cursor": "1",
                "time": "2026-03-01T08:15:03.900Z",
                "level": "LOG_LEVEL_INFO",
                "run_id": RUN_ID,
                "step_key": "",
                "attempt": 0,
                "message": "Provisioning of 'Kijani Stores' was ordered by jane@example.com.",
                "fields": {"event": "run.opened", "tenant": TENANT_ID},
            }
        ],
        "cursor": "1",
    },
    **LOOKS,
}
