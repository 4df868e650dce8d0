"""Run the benchmarks: all of them, or those named; ``--list`` says which there are.

Each runs in a process of its own, so that imports and memory of one do not count for another.
Arguments after ``--`` are passed on: ``python -m benchmarks refutation -- --rows 5000 --json``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent


def available() -> dict[str, str]:
    """Name of each benchmark and the first line of its docstring."""
    found = {}
    for file in sorted(FOLDER.glob("bench_*.py")):
        first = file.read_text(encoding="utf-8").splitlines()[0]
        found[file.stem.removeprefix("bench_")] = first.strip().strip('"')
    return found


def main(arguments: list[str]) -> int:
    """Run the chosen benchmarks in turn; the exit code is 1 when one of them fails, 2 for an unknown name."""
    own, _, passed_on = _split(arguments)
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all")
    parser.add_argument("--list", action="store_true", help="say which benchmarks there are")
    chosen = parser.parse_args(own)
    benchmarks = available()
    if chosen.list:
        for name, question in benchmarks.items():
            print(f"{name:<16} {question}")
        return 0
    unknown = [name for name in chosen.names if name not in benchmarks]
    if unknown:
        print(f"no benchmark is called '{unknown[0]}'; there is: {', '.join(benchmarks)}", file=sys.stderr)
        return 2
    failed = False
    for name in chosen.names or benchmarks:
        print(f"== {name}: {benchmarks[name]}", file=sys.stderr, flush=True)
        command = [sys.executable, "-m", f"benchmarks.bench_{name}", *passed_on]
        failed |= subprocess.run(command, cwd=FOLDER.parent, check=False).returncode != 0
    return int(failed)


def _split(arguments: list[str]) -> tuple[list[str], str, list[str]]:
    if "--" not in arguments:
        return arguments, "", []
    at = arguments.index("--")
    return arguments[:at], "--", arguments[at + 1 :]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
