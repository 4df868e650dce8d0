"""Delete traces and tuning patterns that are too old: ``python scripts/run_retention.py --once|--loop``."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from src.app.retention import delete_what_is_old, retain_for_ever  # noqa: E402 — the checkout has to be on the path first
from src.errors import E2IError  # noqa: E402


async def once() -> None:
    """One round; says what was deleted."""
    for report in await delete_what_is_old():
        print(report.line(), flush=True)


async def loop(hours: float) -> None:
    """A round every ``hours`` until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await retain_for_ever(
        once, every_s=hours * 3600, stop=stop, on_outage=lambda problem: print(problem, file=sys.stderr, flush=True)
    )


def main() -> int:
    """Run once or repeatedly; 2 and one line on stderr when it fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument("--once", action="store_true", help="one round, then end")
    choice.add_argument("--loop", action="store_true", help="repeat until stopped")
    parser.add_argument("--every", type=float, default=24.0, metavar="HOURS", help="hours between rounds (default 24)")
    options = parser.parse_args()
    if not 0 < options.every < 24 * 366:
        parser.error("--every takes a positive number of hours, at most a year")
    try:
        asyncio.run(loop(options.every) if options.loop else once())
    except E2IError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
