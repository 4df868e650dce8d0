"""Decide about changes: ``python scripts/improvements.py list|approve|reject|rollback [ACTION] [options]``.

``list`` shows what waits for a person. The same as ``e2i improve queue``, ``approve``, ``reject`` and ``rollback``.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from src.cli.main import main  # noqa: E402 — the checkout has to be on the path first

COMMANDS = {"list": "queue", "approve": "approve", "reject": "reject", "rollback": "rollback"}

if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
        sys.stderr.write(f"say one of {', '.join(COMMANDS)}: python scripts/improvements.py list\n")
        sys.exit(2)
    sys.argv[1:2] = ["improve", COMMANDS[sys.argv[1]]]
    main()
