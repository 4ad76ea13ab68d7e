"""Runs the reconciler as a process of its own: `python -m reconciler`.

Does the same as `provisioner reconcile` without options. It only calls the composition root,
`server.__main__`, which wires a sweep to the store, the orders and the engines.
"""

from __future__ import annotations

import sys

from server.__main__ import reconcile
from server.program import takes_no_options


def main() -> None:
    """Sweep until a signal arrives."""
    sys.exit(
        takes_no_options(sys.argv[1:], "provisioner reconcile")
        or reconcile(config=None, overrides={}, once=False, dry_run=False, as_json=False)
    )


if __name__ == "__main__":
    main()
