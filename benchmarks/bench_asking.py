"""How long does an answer take, what of it is overhead, and what becomes of fifty sessions at once?

python -m benchmarks.bench_asking [--folder FOLDER] [--json]

The two measurements of ``benchmarks.asking`` in turn, each in a process and, without ``--folder``, a folder of its own;
their own options are those of ``python -m benchmarks.asking.latency`` and ``python -m benchmarks.asking.concurrency``.
"""

from __future__ import annotations

import subprocess
import sys


def main(arguments: list[str]) -> int:
    """Run both; 1 when one of them missed a target."""
    codes = [
        subprocess.run([sys.executable, "-m", f"benchmarks.asking.{name}", *arguments], check=False).returncode
        for name in ("latency", "concurrency")
    ]
    return int(any(codes))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
