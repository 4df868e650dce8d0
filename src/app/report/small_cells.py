"""Which counts and effects are too small a group to be shown?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from src.causal_engine.results import EffectEstimate, OverlapReport, SegmentEffect

SMALLEST_CELL = 11
SUPPRESSED = f"n < {SMALLEST_CELL}, suppressed"
SHIELDED = "suppressed, would reveal a small group"


def is_small(n: int) -> bool:
    """Whether a group of ``n`` is too small to be shown."""
    return n < SMALLEST_CELL


def arms_hidden(estimate: EffectEstimate) -> bool:
    """Whether either arm is too small (showing one arm beside the total would reveal the other)."""
    treated = estimate.n_treated
    return treated is not None and (is_small(treated) or is_small(estimate.n - treated))


def overlap_hidden(overlap: OverlapReport) -> bool:
    """Whether a propensity histogram would describe fewer than ``SMALLEST_CELL`` units."""
    return is_small(sum(overlap.counts_treated)) or is_small(sum(overlap.counts_control))


def hidden_segments(segments: Sequence[SegmentEffect]) -> dict[tuple[str, str], str]:
    """Map (column, segment) of every segment to hide to the words shown instead.

    Where a column has exactly one small segment its next smallest goes too, because total minus
    the others would give the hidden one.
    """
    by_column: dict[str, list[SegmentEffect]] = defaultdict(list)
    for segment in segments:
        by_column[segment.column].append(segment)
    hidden: dict[tuple[str, str], str] = {}
    for column, members in by_column.items():
        ordered = sorted(members, key=lambda member: member.n)
        small = [member for member in ordered if is_small(member.n)]
        hidden.update({(column, member.segment): SUPPRESSED for member in small})
        if len(small) == 1 and len(ordered) > 1:
            hidden[column, ordered[1].segment] = SHIELDED
    return hidden
