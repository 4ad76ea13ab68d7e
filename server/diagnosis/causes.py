"""What a diagnosis is made of: causes, each with its evidence and the order that helps."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from server.model.causes import Severity

_SERVICE = "provisioner.v1.ProvisioningService"
_FLEET_SERVICE = "provisioner.v1.FleetService"
_OF_THE_FLEET = frozenset({"AcceptSite"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One fact that a cause was inferred from.

    Attributes:
        source: Where it was found: a table (`steps`, `attempts`, `runs`, ...) or `engine`.
        fact: What was found, in plain words.
        at: When it happened or was written; None if not known.
    """

    source: str
    fact: str
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """What to do about a cause.

    Attributes:
        says: What to do, in plain words, including what a person must fix first.
        method: The rpc that carries it out, such as "Continue"; "" if no order helps.
        request: Its request, by field name.
        command: The same as a command line; "" if there is none to give.
        alone: Whether the order alone is enough. If not, something must be fixed by hand first.
    """

    says: str
    method: str = ""
    request: Mapping[str, Any] = field(default_factory=dict)  # Any: JSON values
    command: str = ""
    alone: bool = False

    @property
    def call(self) -> str:
        """The rpc with its service, or ""."""
        service = _FLEET_SERVICE if self.method in _OF_THE_FLEET else _SERVICE
        return f"{service}/{self.method}" if self.method else ""

    @property
    def request_json(self) -> str:
        """The request as JSON, for grpcurl and the like; "" without a call."""
        return json.dumps(dict(self.request), ensure_ascii=False) if self.method else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiagnosedCause:
    """One reason why a tenant is where it is.

    Attributes:
        code: Stable, listed in docs/errors.md.
        severity: Whether somebody has to act.
        evidence: What it was inferred from, the most telling first.
        step_key: The step it is about, or "".
    """

    code: str
    severity: Severity
    message: str
    evidence: tuple[Evidence, ...]
    remedy: Remedy
    step_key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """Everything that was found about a tenant at one time.

    Attributes:
        revision: The tenant's, so that a remedy can name the one it was based on.
        state: The derived state.
        progress: How many steps are done, in plain words.
        causes: Most likely first; empty if nothing is wrong.
        engine: What the engine answered, in plain words.
    """

    tenant_id: str
    company_name: str
    revision: int
    state: str
    progress: str
    causes: tuple[DiagnosedCause, ...]
    engine: str
    diagnosed_at: datetime
