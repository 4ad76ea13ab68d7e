"""Examples of `/v1` answers about what was found: Plan, Verify, Diagnose, and the fleet's calls.

They are cut from real answers; a test checks that a real answer has everything that they show.
"""

from __future__ import annotations

from typing import Any

Example = dict[str, Any]  # Any: JSON

TENANT_ID = "01900000-0000-7000-8000-000000000000"
RUN_ID = "01900000-0000-7000-8000-000000000001"
_SWEEP_ID = "01900000-0000-7000-8000-000000000002"
_FAILED_AT = "2026-03-01T08:15:42.118Z"
_FOUND_AT = "2026-03-01T08:16:10.611Z"

SPEC: Example = {
    "company_name": "Kijani Stores",
    "country_code": "KE",
    "currency": "KES",
    "chart_template": "Standard",
    "include_demo_data": False,
    "pos_store_enabled": True,
    "engine_id": "main",
    "payment_methods": ["Cash", "M-Pesa"],
    "opening_amount": 0.0,
}
_COMPANY_THERE: Example = {
    "step_key": "step_2_company",
    "title": "Company",
    "required": True,
    "standing": "STEP_STANDING_OK",
    "documents": [
        {
            "doctype": "Company",
            "name": "Kijani Stores",
            "whose": "DOCUMENT_WHOSE_CREATED",
            "owner": "provisioner@example.com",
            "created_at": "2026-03-01T08:15:12.026Z",
        }
    ],
    "missing": [],
    "differences": [],
    "notes": [],
    "code": "",
    "message": "",
    "expected_requests": 2,
    "expected_seconds": 0.03,
}
_TO_BE_MADE: Example = {
    "doctype": "Company",
    "name": "Kijani Stores",
    "field": "",
    "want": "",
    "have": "",
}
_COMPANY_MISSING: Example = {
    **_COMPANY_THERE,
    "standing": "STEP_STANDING_MISSING",
    "documents": [],
    "missing": [_TO_BE_MADE],
    "expected_requests": 3,
    "expected_seconds": 11.0,
}
_SURVEY: Example = {
    "tenant_id": TENANT_ID,
    "spec": SPEC,
    "engine_id": "main",
    "engine": "ERPNext 15.65.4 (Frappe 15.71.0), as provisioner@example.com",
    "looked_at": "2026-03-01T08:20:00.054Z",
    "seconds": 0.61,
    "steps": [_COMPANY_THERE],
    "expected_requests": 2,
    "expected_seconds": 0.03,
}
_ADVICE = f"provisioner continue {TENANT_ID} --watch"
_MESSAGE = (
    "POST POS Profile POS KS names something that is not there: make it in ERPNext, then continue."
)
_WHY = "It stopped at an error that trying again does not cure: step_8_pos_profile."
_SWEEP: Example = {
    "sweep_id": _SWEEP_ID,
    "started_at": "2026-03-01T08:16:10.606Z",
    "finished_at": "2026-03-01T08:16:10.623Z",
    "observed": 6,
    "findings": 1,
    "acted": 1,
    "skipped_passes": 0,
}
_FINDING: Example = {
    "finding_id": "dd1b1ccd-6919-5601-96d8-e00b1d5e2d23",
    "tenant_id": TENANT_ID,
    "company_name": "Kijani Stores",
    "revision": "26",
    "cause": "PERMANENT_ERROR",
    "severity": "SEVERITY_PERSON",
    "message": _WHY,
    "evidence": {"failed": "step_8_pos_profile: PERMANENT REFERENCE_MISSING", "gate": "UP"},
    "verdict": "CALL_OPERATOR",
    "outcome": "OPERATOR_CALLED",
    "stuck_since": _FAILED_AT,
    "found_at": _FOUND_AT,
    "fingerprint": "30eacc6857998a50",
    "tenants": 1,
    "herd_id": "",
    "ended_as": "",
    "detail": "",
}
_NO_TIMES: Example = {"count": 0, "p50": 0.0, "p90": 0.0, "p99": 0.0, "max": 0.0}
_TIMES: Example = {"count": 1, "p50": 28.5, "p90": 28.5, "p99": 28.5, "max": 28.5}

LOOKS: dict[str, Example] = {
    "Plan": {
        "survey": {
            **_SURVEY,
            "steps": [_COMPANY_MISSING],
            "expected_requests": 3,
            "expected_seconds": 11.0,
        },
        "feasible": True,
    },
    "Verify": {"survey": _SURVEY, "clean": True, "next_command": ""},
    "Diagnose": {
        "diagnosis": {
            "tenant_id": TENANT_ID,
            "company_name": "Kijani Stores",
            "revision": "27",
            "state": "FAILED",
            "progress": "7 of 10 steps",
            "engine": "The engine answered: 7 of 9 steps are done there.",
            "diagnosed_at": "2026-03-01T08:20:00.054Z",
            "causes": [
                {
                    "code": "REFERENCE_MISSING",
                    "severity": "SEVERITY_PERSON",
                    "message": f"POS profile stopped: {_MESSAGE}",
                    "evidence": [
                        {
                            "source": "attempts",
                            "fact": f"attempt 1 of step_8_pos_profile ended FAILED: {_MESSAGE}",
                            "at": _FAILED_AT,
                        }
                    ],
                    "remedy": {
                        "says": "Make the named document in ERPNext, then continue.",
                        "call": "provisioner.v1.ProvisioningService/Continue",
                        "request": f'{{"tenant_id": "{TENANT_ID}", "expected_revision": 27}}',
                        "command": _ADVICE,
                        "alone": False,
                    },
                    "step_key": "step_8_pos_profile",
                }
            ],
        }
    },
    "Sweep": {
        "sweep": {**_SWEEP, "findings": 0, "acted": 0},
        "findings": [],
        "handed_over": [
            {
                "tenant_id": TENANT_ID,
                "company_name": "Kijani Stores",
                "state": "FAILED",
                "error_code": "REFERENCE_MISSING",
                "held": False,
                "reason": "",
                "since": _FOUND_AT,
                "command": f"provisioner diagnose {TENANT_ID}",
            }
        ],
        "dry_run": True,
        "healed": 0,
    },
    "ListSweeps": {
        "sweeps": [_SWEEP],
        "watch": {
            "last_full_sweep_at": "2026-03-01T08:20:10.715Z",
            "age_seconds": 4.2,
            "interval_seconds": 30.0,
            "healthy": True,
            "full": "20",
            "failed": "0",
            "cut": "0",
            "skipped": "0",
            "last_error": "",
        },
        "next_page_token": "",
    },
    "ListFindings": {"findings": [_FINDING], "next_page_token": ""},
    "GetHealingReport": {
        "report": {
            "begins_at": "2026-02-28T08:20:00.054Z",
            "ends_at": "2026-03-01T08:20:00.054Z",
            "outcomes": {"HANDED_OVER": 1},
            "causes": [{"cause": "PERMANENT_ERROR", "cases": 1, "healed": 0, "handed_over": 1}],
            "time_to_notice": _TIMES,
            "time_to_heal": _NO_TIMES,
            "cases": [
                {
                    "tenant_id": TENANT_ID,
                    "company_name": "Kijani Stores",
                    "cause": "PERMANENT_ERROR",
                    "message": _WHY,
                    "stuck_since": _FAILED_AT,
                    "noticed_at": _FOUND_AT,
                    "remedy": "a person was called",
                    "outcome": "HANDED_OVER",
                    "seconds_to_notice": 28.5,
                    "orders": 0,
                    "seconds_to_heal": 0.0,
                }
            ],
            "markdown": "# Healing report\n\n**1** times a tenant got stuck: **0** healed.\n",
            "truncated": False,
        }
    },
    "ListEngines": {
        "engines": [
            {
                "engine_id": "main",
                "site": "https://erp.example.com host=shop.example.com",
                "blueprint": "erpnext",
                "is_default": True,
                "gate": "ENGINE_GATE_UP",
                "gate_code": "",
                "gate_message": "",
                "gate_since": "2026-03-01T08:00:00.338Z",
                "queued_runs": 0,
                "running_runs": 0,
                "waiting_runs": 0,
                "max_runs": 0,
                "step_times": [
                    {
                        "step_key": "step_2_company",
                        "attempts": 10,
                        "median_seconds": 9.8,
                        "longest_seconds": 14.2,
                    }
                ],
            }
        ]
    },
    "AcceptSite": {
        "site": {
            "engine_id": "main",
            "site": "https://erp.example.com host=shop.example.com",
            "gate": "ENGINE_GATE_UP",
            "gate_code": "",
            "gate_message": "",
            "held_tenants": 0,
        },
        "accepted": False,
    },
}
