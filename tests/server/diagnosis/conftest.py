"""A store of its own for each test."""

from __future__ import annotations

from tests.reconciler.conftest import sqlite_scene

# What a diagnosis reads it reads as sweeps do, and their tests run on both databases.
scene = sqlite_scene
