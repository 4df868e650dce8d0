"""Bring the database schema up to date: ``python scripts/migrate.py [--status|--check]``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from src.cli import db  # noqa: E402 — the checkout has to be on the path first
from src.errors import E2IError  # noqa: E402


def main() -> int:
    """Run `e2i db migrate` with the given option; 2 and one line on stderr when it fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--status", action="store_true", help="list the files, apply nothing")
    choice.add_argument("--check", action="store_true", help="fail unless every file is applied")
    options = parser.parse_args()
    try:
        db.migrate(only_status=options.status, only_check=options.check)
    except E2IError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
