"""Runs the reconciler as a process of its own: `python -m reconciler`.

Does the same as `provisioner reconcile` without options. The composition root is
`server.__main__`, which is imported only when called, so that importing this module starts
nothing.
"""

from __future__ import annotations

import sys
from importlib import import_module


def main() -> None:
    """Sweep until a signal arrives."""
    refused = import_module("server.program").takes_no_options(
        sys.argv[1:], "provisioner reconcile"
    )
    if refused:
        sys.exit(refused)
    root = import_module("server.__main__")
    sys.exit(root.reconcile(config=None, overrides={}, once=False, dry_run=False, as_json=False))


if __name__ == "__main__":
    main()
