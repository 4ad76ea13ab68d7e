"""Generate the Python side of the contract beside the .proto files.

`python -m tools.generate` writes the stubs; with `--check` it writes nothing and
exits 1 if the committed stubs are stale.
"""

from __future__ import annotations

import argparse
import importlib.resources
import sys
import sysconfig
import tempfile
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto"
SCRIPTS = Path(sysconfig.get_path("scripts"))
GENERATED = ("*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py", "*_pb2_grpc.pyi")


def generate(into: Path) -> None:
    """Compile every .proto under proto/ into `into`."""
    sources = sorted(str(path.relative_to(PROTO)) for path in PROTO.rglob("*.proto"))
    well_known = importlib.resources.files("grpc_tools") / "_proto"
    status = protoc.main(
        [
            "protoc",
            f"--proto_path={PROTO}",
            f"--proto_path={well_known}",
            f"--plugin=protoc-gen-mypy={SCRIPTS / 'protoc-gen-mypy'}",
            f"--plugin=protoc-gen-mypy_grpc={SCRIPTS / 'protoc-gen-mypy_grpc'}",
            f"--python_out={into}",
            f"--grpc_python_out={into}",
            f"--mypy_out=quiet:{into}",
            f"--mypy_grpc_out=quiet,only_async:{into}",
            *sources,
        ]
    )
    if status != 0:
        raise SystemExit(f"protoc exited with {status}")


def stubs(under: Path) -> dict[str, bytes]:
    """Return every generated file under `under`, keyed by its relative path."""
    return {
        str(path.relative_to(under)): path.read_bytes()
        for pattern in GENERATED
        for path in under.rglob(pattern)
    }


def stale() -> list[str]:
    """Return the committed stubs that differ from a fresh generation."""
    with tempfile.TemporaryDirectory() as scratch:
        generate(Path(scratch))
        fresh, committed = stubs(Path(scratch)), stubs(PROTO)
    names = fresh.keys() | committed.keys()
    return sorted(name for name in names if fresh.get(name) != committed.get(name))


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Generate the contract's Python.")
    parser.add_argument("--check", action="store_true", help="only compare; write nothing")
    if not parser.parse_args().check:
        for name in stubs(PROTO):
            (PROTO / name).unlink()
        generate(PROTO)
        return 0
    names = stale()
    for name in names:
        print(f"stale: proto/{name} (run `make generate`)", file=sys.stderr)
    return 1 if names else 0


if __name__ == "__main__":
    sys.exit(main())
