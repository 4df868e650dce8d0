"""Carry due feature views into the online store: ``python scripts/run_materialization.py --once|--loop [--json]``.

``--once`` exits with 0 when every due view was carried over, 1 when one failed or a signal ended the round, and 2
when the round could not begin. ``--loop`` exits with 0 when a signal ends it, and 2 for a mistake in the
configuration or the schema; everything else is told, and tried again in the next round.
Results go to standard output, problems to standard error.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from src.app.feature_schedule import (  # noqa: E402 — the checkout has to be on the path first
    JobOutcome,
    interruptible,
    may_pass,
    round_document,
    run_round,
)
from src.app.retention import retain_for_ever  # noqa: E402
from src.errors import E2IError  # noqa: E402

GRACE_S = 8.0  # container runtimes kill after 10
INTERRUPTED = "the round was interrupted"


class Rounds:
    """Runs rounds until ``stop`` is set, and remembers whether the last one carried over all that was due."""

    def __init__(self, stop: asyncio.Event, *, as_json: bool) -> None:
        self._stop = stop
        self._as_json = as_json
        self.is_complete = False

    async def once(self) -> None:
        """One round; says what was carried over, and what was not."""
        outcomes: list[JobOutcome] = []
        error: str | None = INTERRUPTED
        self.is_complete = False

        def tell(outcome: JobOutcome) -> None:
            outcomes.append(outcome)
            if not self._as_json:
                print(outcome.line(), flush=True)

        try:
            if await interruptible(lambda: run_round(lambda: datetime.now(UTC), tell), self._stop):
                error = None
        except E2IError as problem:
            error = str(problem)
            raise
        finally:
            if self._as_json:
                print(json.dumps(round_document(outcomes, error), default=str), flush=True)
        if error is not None:
            _complain(error)
        elif not outcomes and not self._as_json:
            print("nothing is due", flush=True)
        self.is_complete = error is None and all(outcome.error is None for outcome in outcomes)


async def run(options: argparse.Namespace) -> int:
    """One round, or one every ``options.every`` seconds, until SIGTERM or SIGINT; the exit code."""
    stop = asyncio.Event()

    def end() -> None:
        stop.set()
        _end_without_waiting(options.grace, 0 if options.loop else 1)

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, end)
    rounds = Rounds(stop, as_json=options.json)
    if options.once:
        await rounds.once()
        return 0 if rounds.is_complete else 1
    await retain_for_ever(rounds.once, every_s=options.every, stop=stop, on_outage=_complain, may_pass=may_pass)
    return 0


def main() -> int:
    """Run once or repeatedly; 2 and one line on stderr when it cannot begin."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument("--once", action="store_true", help="one round, then end")
    choice.add_argument("--loop", action="store_true", help="repeat until stopped")
    parser.add_argument("--every", type=float, default=60.0, metavar="SECONDS", help="between rounds (default 60)")
    parser.add_argument(
        "--grace", type=float, default=GRACE_S, metavar="SECONDS",
        help=f"for a call to a store that is under way at a signal (default {GRACE_S:g})",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="one JSON document a round")
    options = parser.parse_args()
    for name in ("every", "grace"):
        if not 0 < getattr(options, name) <= 86_400:
            parser.error(f"--{name} takes a positive number of seconds, at most a day")
    try:
        return asyncio.run(run(options))
    except E2IError as error:
        _complain(str(error))
        return 2


def _end_without_waiting(grace_s: float, code: int) -> None:
    """End the process after ``grace_s`` seconds, whatever its threads do.

    A call that hangs in a store's driver cannot be cancelled, and both asyncio and the interpreter wait for its
    thread. What it left undone is gone on with in the next run, as after a kill.
    """

    def end() -> None:
        _complain(f"a call to a store has not ended within {grace_s:g} s: the process ends without it")
        os._exit(code)

    timer = threading.Timer(grace_s, end)
    timer.daemon = True
    timer.start()


def _complain(problem: str) -> None:
    print(problem, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
