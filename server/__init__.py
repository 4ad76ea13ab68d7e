"""The service: what is known about tenants, and the work that builds them."""

from __future__ import annotations

import sys
from typing import cast

# structlog and httpx import rich if they find it: a hundred modules, 60 ms of every start and 8 MB,
# to colour what we never let them show (tracebacks with local variables, which may be secrets;
# httpx's own command line). Both do without it if it can't be imported.
if "rich" not in sys.modules:
    _modules = cast("dict[str, object]", sys.modules)
    _modules["rich"] = None
    try:
        import httpx
        import structlog
    finally:
        del _modules["rich"]
    del httpx, structlog
