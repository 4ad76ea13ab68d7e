"""The JSON files that come with the stand-in: recorded defaults and the chart of accounts."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any


def data(name: str) -> Any:  # Any: JSON
    """Read one of the files in `data`."""
    return json.loads((resources.files("server.standin") / "data" / name).read_text("utf-8"))
