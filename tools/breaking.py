"""Refuses a change of the contract that would break its callers.

`python -m tools.breaking` compares the working tree's .proto files with those of the
last commit. In a checkout without that history (an exported tree) there is nothing to
compare with, which it says.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUF = Path(sysconfig.get_path("scripts")) / "buf"


def _committed() -> bool:
    """Tell whether HEAD holds a contract to compare with."""
    shown = subprocess.run(
        ["git", "ls-tree", "HEAD", "proto/provisioner/v1/"],  # noqa: S607 - git of the PATH
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    return shown.returncode == 0 and b".proto" in shown.stdout


def main() -> int:
    """Run `buf breaking` against the last commit."""
    if not _committed():
        print("contract: no committed contract to compare with")
        return 0
    return subprocess.run(  # noqa: S603 - fixed arguments
        [str(BUF), "breaking", "--against", ".git#ref=HEAD"], cwd=ROOT, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
