"""Run the improvement loop: ``python scripts/run_self_improvement.py --once|--loop [--now] [--every N] [--json]``.

The same as ``e2i improve``: exit 0, 1 when a cycle or a change met an error, 2 for a mistake in options, configuration
or schema.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from src.cli.main import main  # noqa: E402 — the checkout has to be on the path first

if __name__ == "__main__":
    sys.argv[1:1] = ["improve"]
    main()
