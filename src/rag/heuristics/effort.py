"""When would comparing statements with contexts take too long?

Counted before the work, so that the same texts are always measured or always refused, on any machine.
"""

from __future__ import annotations

from collections.abc import Sequence

from src.rag.heuristics.claims import MAX_CLAIMS
from src.rag.heuristics.passages import LONGEST_WINDOW, WINDOWS_KEPT, Passages, Sentence

MOST_WORK = 100_000
"""Tokens compared by one metric: 0.2 to 1 second of one processor (twenty sentences with ten chunks take half)."""
_READ = 60
"""Tokens in a window beside those of the statement that make a comparison twice as long."""
_SCAN = 20
"""Sentences that are looked through in the time of one window."""


def too_much(made: Sequence[Sentence], contexts: Sequence[Passages]) -> str | None:
    """Why statements are not compared with contexts: their number, or the work; None when they are."""
    if len(made) > MAX_CLAIMS:
        return f"{len(made):,} claims, more than {MAX_CLAIMS}"
    if work(made, contexts) > MOST_WORK:
        count = sum(len(context.sentences) for context in contexts)
        return f"{len(made):,} claims and {count:,} sentences are too many to be compared in time"
    return None


def work(made: Sequence[Sentence], contexts: Sequence[Passages]) -> float:
    """Tokens of the statements times the windows they are compared with, long windows counted for more."""
    said = sum(len(claim) + 10 for claim in made)
    return said * sum(map(_windows, contexts))


def _windows(context: Passages) -> float:
    count = len(context.sentences)
    if not count:
        return 0.0
    longest = max(map(len, context.sentences))
    windows = sum(min(WINDOWS_KEPT, max(0, count - more)) for more in range(LONGEST_WINDOW))
    return windows * (1 + longest / _READ) + count / _SCAN
