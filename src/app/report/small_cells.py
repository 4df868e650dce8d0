"""Which counts and effects are too small a group to be shown?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from src.causal_engine.results import EffectEstimate, OverlapReport, SegmentEffect
from src.domain.small_cells import SHIELDED as SHIELDED
from src.domain.small_cells import SMALLEST_CELL as SMALLEST_CELL
from src.domain.small_cells import SUPPRESSED as SUPPRESSED
from src.domain.small_cells import hidden_groups, is_small


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
    by_column: dict[str, dict[str, int]] = defaultdict(dict)
    for segment in segments:
        by_column[segment.column][segment.segment] = segment.n
    return {
        (column, name): reason for column, sizes in by_column.items() for name, reason in hidden_groups(sizes).items()
    }
