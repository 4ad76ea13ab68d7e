"""The command line `provisioner`: people and scripts, through the public API only."""

from __future__ import annotations

from clients.cli.program import main

__all__ = ["main"]
