"""What does the decision about design and estimators look at?"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from src.causal_engine.estimators.discontinuity import switch_direction
from src.causal_engine.estimators.instrument import effective_f, partial_out
from src.causal_engine.estimators.panel_data import adoption_of, panel_of
from src.causal_engine.spec import Design, Estimand, OutcomeKind
from src.causal_engine.study import Study
from src.domain.small_cells import counted
from src.errors import EstimationError

SHARE_AT_THE_END = 0.10
DISTINCT_FOR_A_DURATION = 20


class Adoption(StrEnum):
    """How units of a panel come to be treated; the value is how it is told."""

    NONE = "no panel"
    REPEATED = "treatment goes up and down within units"
    COMMON = "treatment begins at one common date and stays"
    STAGGERED = "treatment begins at different dates and stays"
    ALWAYS = "treatment stays once begun, some units have it from their first period on"


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts of question and data. ``smaller_arm`` is None for a treatment that is not 0/1.

    ``first_stage_f``: effective F of the instruments, None without or where they cannot be used;
    ``sharp``: treatment switches for everybody at the cutoff; ``survival_like``: at least a tenth of
    many distinct, non-negative outcomes equal the largest, as durations do that were watched only so long.
    """

    design: Design
    estimand: Estimand
    binary: bool
    outcome: OutcomeKind
    survival_like: bool
    n: int
    columns: int
    smaller_arm: int | None
    clusters: int | None
    first_stage_f: float | None = None
    sharp: bool | None = None
    adoption: Adoption = Adoption.NONE
    adopters: int = 0
    periods: int = 0
    lag: int = 0

    @property
    def rows_per_column(self) -> float:
        """Rows for each encoded column that is adjusted for."""
        return self.n / self.columns if self.columns else float("inf")

    def in_words(self) -> tuple[tuple[str, str], ...]:
        """Name and value of each fact that applies."""
        said: list[tuple[str, str]] = [
            ("treatment", "0/1" if self.binary else "a quantity"),
            ("outcome", "survival-like (many share the largest value)" if self.survival_like else self.outcome.value),
            ("effect asked for", self.estimand.value),
            ("rows", f"{self.n:,}"),
            ("columns adjusted for, encoded", f"{self.columns:,}"),
        ]
        if self.columns:
            said.append(("rows per column", f"{self.rows_per_column:.0f}"))
        if self.smaller_arm is not None:
            said.append(("rows of the smaller arm", counted(self.smaller_arm)))
        if self.clusters is not None:
            said.append(("clusters", f"{self.clusters:,}"))
        if self.first_stage_f is not None:
            said.append(("first-stage F (effective)", f"{self.first_stage_f:.1f}"))
        if self.sharp is not None:
            said.append(("at the cutoff", "treatment switches for everybody" if self.sharp else "treatment jumps"))
        if self.adoption is not Adoption.NONE:
            said += [("adoption", self.adoption.value), ("periods", f"{self.periods:,}"), ("lag", str(self.lag))]
        return tuple(said)


def facts_of(study: Study, design: Design) -> Facts:
    """Facts of a study under a design; no model is fitted but an instrument's first stage."""
    treated = int(study.t.sum()) if study.is_binary else 0
    adoption, adopters, periods = _adoption(study, design)
    return Facts(
        design=design,
        estimand=study.spec.estimand,
        binary=study.is_binary,
        outcome=study.outcome_kind,
        survival_like=_survival_like(study),
        n=study.n,
        columns=study.x.shape[1],
        smaller_arm=min(treated, study.n - treated) if study.is_binary else None,
        clusters=None if study.clusters is None else int(study.clusters.max()) + 1,
        first_stage_f=_strength(study) if design is Design.INSTRUMENT else None,
        sharp=switch_direction(study) != 0 if design is Design.DISCONTINUITY else None,
        adoption=adoption,
        adopters=adopters,
        periods=periods,
        lag=study.spec.lag,
    )


def _adoption(study: Study, design: Design) -> tuple[Adoption, int, int]:
    """How treatment is taken up, by how many units after their first period, and over how many periods."""
    if design is not Design.PANEL:
        return Adoption.NONE, 0, 0
    panel = panel_of(study)
    found = adoption_of(study, panel)
    if found is None or not found.absorbing:
        return Adoption.REPEATED, 0, panel.n_periods
    adopters = int((found.first_period > 0).sum())
    if found.staggered:
        return Adoption.STAGGERED, adopters, panel.n_periods
    return (Adoption.COMMON if found.common else Adoption.ALWAYS), adopters, panel.n_periods


def _strength(study: Study) -> float | None:
    """Effective F; None where the estimator itself will say why the instrument cannot be used."""
    try:
        return effective_f(partial_out(study))
    except EstimationError:
        return None


def _survival_like(study: Study) -> bool:
    if study.outcome_kind is OutcomeKind.BINARY:
        return False
    y = study.y
    if y.min() < 0 or float((y == y.max()).mean()) < SHARE_AT_THE_END:
        return False
    return len(np.unique(y)) > DISTINCT_FOR_A_DURATION
