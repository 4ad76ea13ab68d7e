"""Reads from the system what a process uses."""

from __future__ import annotations

import os
from pathlib import Path

from server.settings import Settings

_TICKS = os.sysconf("SC_CLK_TCK")


def shipped_times() -> dict[str, str]:
    """Return the product's default times, as environment variables of a service.

    An `Installation` has shorter times, so that tests need not wait.
    """
    names = ("lease_seconds", "sweep_seconds")
    return {
        f"PROVISIONER_{each.upper()}": str(Settings.model_fields[each].default) for each in names
    }


def processor_seconds(pid: int) -> float:
    """Return the CPU seconds that a process has used, in user and kernel mode, without children.

    Source: proc(5), the fields utime and stime of /proc/PID/stat; Linux only.
    """
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def resident_mb(pid: int) -> float:
    """Return the resident memory of a process in MB (of 1024 KiB).

    Source: proc(5), VmRSS of /proc/PID/status; Linux only.
    """
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024
