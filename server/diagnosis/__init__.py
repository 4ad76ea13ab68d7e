"""Explains why a tenant is where it is, with evidence and the order that helps.

`look` reads the database and asks the engine; everything else here is pure. Nothing writes.
"""

from __future__ import annotations

from server.diagnosis.causes import DiagnosedCause, Diagnosis, Evidence, Remedy
from server.diagnosis.diagnose import diagnose
from server.diagnosis.look import Diagnoser, ProbeAll
from server.diagnosis.picture import Asked, EngineLook, Picture, StepSeen

__all__ = [
    "Asked",
    "DiagnosedCause",
    "Diagnoser",
    "Diagnosis",
    "EngineLook",
    "Evidence",
    "Picture",
    "ProbeAll",
    "Remedy",
    "StepSeen",
    "diagnose",
]
