"""What does a search for hyperparameters return?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from src.domain.modelling import Direction


@dataclass(frozen=True, slots=True)
class TrialCounts:
    """Trials of a study by how they ended."""

    completed: int
    pruned: int
    failed: int

    @property
    def total(self) -> int:
        """All finished trials."""
        return self.completed + self.pruned + self.failed


@dataclass(frozen=True, slots=True)
class WarmStart:
    """What is tried first because it was good before: its pattern, how alike that problem was (0–1), and the values,
    clipped.

    ``best_value`` is what it gave there.
    """

    pattern_id: str
    similarity: float
    params: Mapping[str, Any]
    best_value: float


@dataclass(frozen=True, slots=True)
class EarlierSearch:
    """What a search on a like problem tried: settings, clipped to the new one's space, and what they gave there."""

    pattern_id: str
    similarity: float
    trials: tuple[tuple[Mapping[str, Any], float], ...]


@dataclass(frozen=True, slots=True)
class HPOSummary:
    """A search that has ended. ``completed`` means that at least one trial gave a value.

    ``best_value`` is in the metric's own units; ``stopped_because`` says what ended it: trials, timeout,
    no_improvement or memory. ``resource_used`` counts boosting rounds, groups of trees or folds over all trials.
    """

    completed: bool
    best_params: Mapping[str, Any]
    best_value: float
    best_trial: int
    metric: str
    direction: Direction
    trials: TrialCounts
    duration_s: float
    study_name: str
    pattern_id: str | None = None
    warmstart: tuple[WarmStart, ...] = ()
    stopped_because: str = "trials"
    resource_used: int = 0


@dataclass(frozen=True, slots=True)
class SaveReport:
    """What ``save_to_database`` kept."""

    study_id: str
    trials_saved: int


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """One finished trial, as histories and plots need it; ``state``: COMPLETE, PRUNED or FAIL.

    ``origin``: "warm_start:<pattern>", "defaults" (the algorithm's), or None for what the sampler proposed.
    ``defaults``: the values are the algorithm's defaults; true of a warm start as well that repeats them.
    """

    number: int
    state: str
    value: float | None
    params: Mapping[str, Any]
    intermediate_values: Mapping[int, float] = field(default_factory=dict)
    duration_s: float | None = None
    error: str | None = None
    origin: str | None = None
    defaults: bool = False
