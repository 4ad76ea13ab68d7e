"""Explains why a tenant is where it is, with evidence and the order that helps.

`look` reads the database and asks the engine; everything else here is pure. Nothing writes.
"""

from __future__ import annotations

from server.diagnosis.causes import DiagnosedCause, Diagnosis, Evidence, Remedy
from server.diagnosis.look import Diagnoser
from server.diagnosis.picture import StepSeen

__all__ = [
    "DiagnosedCause",
    "Diagnoser",
    "Diagnosis",
    "Evidence",
    "Remedy",
    "StepSeen",
]
