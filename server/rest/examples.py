"""Examples of what the old API answers: a test compares them with what the server really does."""

from __future__ import annotations

from typing import Any

Example = dict[str, Any]  # Any: JSON

RUNNING: Example = {
    "status": "IN_PROGRESS",
    "current_step": "step_0_engine_check",
    "progress": 0.0,
    "steps_completed": 0,
    "total_steps": 10,
    "errors": [],
    "estimated_completion": None,
    "started_at": None,
    "completed_at": None,
}
STOPPED: Example = {
    "status": "PARTIAL",
    "current_step": "step_9_pos_session",
    "progress": 90.0,
    "steps_completed": 9,
    "total_steps": 10,
    "errors": [
        {
            "step": "step_9_pos_session",
            "error": "POS Opening Entry refused: user cashier@example.com is disabled",
        }
    ],
    "estimated_completion": None,
    "started_at": "2026-03-01T08:15:04.120000Z",
    "completed_at": "2026-03-01T08:16:40.002000Z",
}
LOG_LINES: Example = {
    "logs": [
        {
            "step": "step_0_engine_check",
            "status": "completed",
            "message": "Engine check: done",
            "error": None,
            "completed_at": "2026-03-01T08:15:05.010000Z",
            "duration_ms": 212.4,
        },
        {
            "step": "step_6_items",
            "status": "skipped",
            "message": "Demo items not requested",
            "error": None,
            "completed_at": "2026-03-01T08:15:30.000000Z",
            "duration_ms": 0,
        },
    ]
}
_TENANT = {
    "id": "0d6f6c1a-5f0c-4f0e-8c3f-2a1b7d9e4f10",
    "name": "Kijani Stores",
    "code": "TEN-KE-26-4H8ZP",
    "engine": "erpnext",
}
SIGNED_IN: Example = {
    "access_token": "eyJ...",
    "token_type": "bearer",
    "user_id": "5b0e4c1e-0f52-4f1a-9a55-7f3f0f6c2a01",
    "user_code": "USR-KE-26-7Q2MD",
    "email": "owner@example.com",
    "full_name": "Shop Owner",
    "kyc_tier": "KYC-T1",
    "tenants": [_TENANT],
}
SIGNED_IN_TO_TENANT: Example = {
    "access_token": "eyJ...",
    "token_type": "bearer",
    "tenant": _TENANT,
}
CREATED: Example = {
    "message": "Tenant created successfully",
    "tenant": {
        "id": "0d6f6c1a-5f0c-4f0e-8c3f-2a1b7d9e4f10",
        "code": "TEN-KE-26-4H8ZP",
        "name": "Kijani Stores",
        "category": "Enterprise",
        "description": "Corner shop",
        "engine": "erpnext",
    },
    "owner": {"code": "USR-KE-26-7Q2MD", "email": "owner@example.com", "role": "OWNER"},
    "admin": {"code": "USR-KE-26-7Q2MD", "email": "owner@example.com", "role": "ADMIN"},
    "company": {
        "created": False,
        "name": "Kijani Stores",
        "message": "Company will be created by provisioning",
    },
    "provisioning": {
        "status": "IN_PROGRESS",
        "progress": 0,
        "current_step": "step_0_engine_check",
        "steps_completed": 0,
        "total_steps": 10,
        "message": "Provisioning started in background",
    },
}
INVITED: Example = {
    "message": "Invitation created",
    "invitation_code": "INV-4H8ZP7Q2MD",
    "user_code": "USR-KE-26-7Q2MD",
    "type": "INVITED_NEW",
}
LISTED: Example = {
    "total": 1,
    "tenants": [
        {
            "id": "0d6f6c1a-5f0c-4f0e-8c3f-2a1b7d9e4f10",
            "tenant_code": "TEN-KE-26-4H8ZP",
            "name": "Kijani Stores",
            "country_code": "KE",
            "status": "COMPLETED",
            "engine": "erpnext",
            "member_count": 1,
            "owner": {
                "id": "5b0e4c1e-0f52-4f1a-9a55-7f3f0f6c2a01",
                "email": "owner@example.com",
                "full_name": "Shop Owner",
            },
            "created_at": "2026-03-01T08:15:04.120000Z",
        }
    ],
    "skip": 0,
    "limit": 100,
}
ENGINE: Example = {
    "erpnext_host": None,
    "erpnext_site": "main",
    "erpnext_user": None,
    "tenant_id": None,
    "resolved_site": "main",
    "connected": True,
    "authenticated": True,
    "error": None,
    "message": "The engine takes work.",
}
HEALTHS: Example = {
    "results": {
        "0d6f6c1a-5f0c-4f0e-8c3f-2a1b7d9e4f10": {
            "status": "online",
            "engine": "erpnext",
            "message": "The engine takes work.",
            "checked_at": "2026-03-01T08:15:04.120000Z",
            "response_time_ms": None,
            "error": None,
        }
    }
}
MEMBER_OF = [
    {**_TENANT, "status": "COMPLETED", "role": "OWNER", "membership_status": "ACTIVE"},
]
