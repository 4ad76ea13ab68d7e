"""Runs the command line: `python -m clients.cli`."""

from __future__ import annotations

from clients.cli import main

if __name__ == "__main__":
    main()
