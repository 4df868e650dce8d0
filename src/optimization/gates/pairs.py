"""What did both variants score on the same questions?"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from src.domain.improvement import ItemScores
from src.optimization.gates.splits import normalised

if TYPE_CHECKING:
    import numpy as np

Reading = Callable[[ItemScores], float | None]


@dataclass(frozen=True, slots=True)
class Column:
    """One measure of both variants: a mean per question, over the answers on which both could be measured.

    ``questions`` and ``answers``: how many there are, measured or not. ``measured``: answers on which both could be.
    ``unmeasured_…``: answers on which only that one could not be measured.
    """

    baseline: np.ndarray
    candidate: np.ndarray
    questions: int
    answers: int
    measured: int
    unmeasured_baseline: int
    unmeasured_candidate: int

    @property
    def n(self) -> int:
        """Different questions on which both were measured."""
        return len(self.baseline)

    @property
    def differences(self) -> np.ndarray:
        """Candidate minus baseline."""
        found: np.ndarray = self.candidate - self.baseline
        return found


@dataclass(frozen=True, slots=True)
class Pairs:
    """Answers of both variants, grouped by question: repeats of a question are no new evidence."""

    questions: Sequence[Sequence[tuple[ItemScores, ItemScores]]]

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Every metric that either variant has, sorted."""
        names = {name for group in self.questions for pair in group for one in pair for name in one.metrics}
        return tuple(sorted(names))

    def column(self, read: Reading) -> Column:
        """One measure. Raises ValueError for a value that is not finite."""
        import numpy as np

        means: list[tuple[float, float]] = []
        answers = measured = lost_baseline = lost_candidate = 0
        for group in self.questions:
            values = [(_finite(read(before)), _finite(read(after))) for before, after in group]
            answers += len(values)
            lost_baseline += sum(before is None and after is not None for before, after in values)
            lost_candidate += sum(after is None and before is not None for before, after in values)
            both = [(before, after) for before, after in values if before is not None and after is not None]
            measured += len(both)
            if both:
                means.append((fmean(before for before, _ in both), fmean(after for _, after in both)))
        table = np.array(means, dtype=float).reshape(-1, 2)
        return Column(table[:, 0], table[:, 1], len(self.questions), answers, measured, lost_baseline, lost_candidate)

    def new_problems(self) -> list[tuple[str, str]]:
        """Item and problem of every answer of the candidate that has one of a kind that the baseline's has not."""
        return [
            (after.item_id, problem)
            for group in self.questions
            for before, after in group
            for problem in after.problems
            if kind_of(problem) not in {kind_of(one) for one in before.problems}
        ]


def kind_of(problem: str) -> str:
    """What a problem is, without what it was about: "a caveat was lost" of "a caveat was lost: the sample is small"."""
    return problem.partition(":")[0].strip()


def pair_up(
    baseline: Sequence[ItemScores], candidate: Sequence[ItemScores], questions: Mapping[str, str] | None = None
) -> Pairs:
    """Match by item id. ``questions``: item id → question; without it every item is a question of its own.

    Raises ValueError when the variants were not tried on the same items, or an item comes twice.
    """
    before, after = ({one.item_id: one for one in those} for those in (baseline, candidate))
    if before.keys() != after.keys() or len(before) != len(baseline) or len(after) != len(candidate):
        raise ValueError("both variants must have been tried on the same items, each once")
    groups: dict[str, list[tuple[ItemScores, ItemScores]]] = defaultdict(list)
    for item_id, one in before.items():
        key = item_id if questions is None else normalised(questions[item_id])
        groups[key].append((one, after[item_id]))
    return Pairs(tuple(groups.values()))


def _finite(value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):
        raise ValueError(f"a score of {value} is no score; what could not be measured is None")
    return value
