"""Carry due feature views into the online store: ``python scripts/run_materialization.py --once|--loop [--json]``.

Exit codes: 0 done or stopped by SIGTERM, 1 a view failed or the round was interrupted, 2 it could not begin.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from src.app.feature_schedule import interruptible, run_due  # noqa: E402 — the checkout has to be on the path first
from src.app.features import feature_client  # noqa: E402
from src.app.retention import retain_for_ever  # noqa: E402
from src.errors import E2IError  # noqa: E402
from src.storage.connection import connect  # noqa: E402


class Rounds:
    """Runs rounds and remembers how the last one ended."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self.is_complete = False

    async def once(self) -> None:
        """One round; says what was carried over, and what was not."""
        self.is_complete = False
        async with connect(migrate=True) as database, feature_client(database) as client:
            outcomes = await run_due(client, database, lambda: datetime.now(UTC))
        if self._as_json:
            print(json.dumps([outcome.document() for outcome in outcomes], default=str), flush=True)
        else:
            print("\n".join(outcome.line() for outcome in outcomes) or "nothing is due", flush=True)
        self.is_complete = all(outcome.error is None for outcome in outcomes)


async def run(rounds: Rounds, every_s: float | None) -> int:
    """One round, or one every ``every_s`` seconds, until SIGTERM or SIGINT; the exit code."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    if every_s is None:
        await interruptible(rounds.once, stop)
        return 0 if rounds.is_complete else 1
    await retain_for_ever(
        lambda: interruptible(rounds.once, stop),
        every_s=every_s,
        stop=stop,
        on_outage=lambda problem: print(problem, file=sys.stderr, flush=True),
    )
    return 0


def main() -> int:
    """Run once or repeatedly; 2 and one line on stderr when it cannot begin."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument("--once", action="store_true", help="one round, then end")
    choice.add_argument("--loop", action="store_true", help="repeat until stopped")
    parser.add_argument("--every", type=float, default=60.0, metavar="SECONDS", help="between rounds (default 60)")
    parser.add_argument("--json", action="store_true", help="one JSON document a round")
    options = parser.parse_args()
    if not 0 < options.every <= 86_400:
        parser.error("--every takes a positive number of seconds, at most a day")
    try:
        return asyncio.run(run(Rounds(as_json=options.json), options.every if options.loop else None))
    except E2IError as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
