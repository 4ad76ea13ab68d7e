"""What a diagnosis is made of: causes, each with its evidence and the order that mends it."""

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
    """One fact a cause was concluded from.

    Attributes:
        source: Where it stands: a table (`steps`, `attempts`, `runs`, ...) or `engine`.
        fact: In plain words.
        at: When it happened or was written; None where that is not known.
    """

    source: str
    fact: str
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """What to do about a cause.

    Attributes:
        says: In plain words; what a person must mend first stands here.
        method: The rpc that carries it out, such as "Continue"; "" where no order helps.
        request: Its request, by field name.
        command: The same as a command line; "" where nothing is to be given.
        alone: Whether the order mends it by itself. Where it does not, something must be
            mended by hand before.
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
    """One reason why a tenant stands where it stands.

    Attributes:
        code: Stable, listed in docs/errors.md.
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
        revision: Of the tenant, so that a remedy can say what it judged.
        state: The derived word.
        causes: Likeliest first; empty where nothing is wrong.
        engine: What came of asking the engine, in plain words.
    """

    tenant_id: str
    company_name: str
    revision: int
    state: str
    progress: str
    causes: tuple[DiagnosedCause, ...]
    engine: str
    diagnosed_at: datetime
