"""Did the data meet what the design demands, and who answers when an estimator refuses?"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pandas as pd

from src.causal_engine.choice.choose import fallbacks
from src.causal_engine.choice.facts import Adoption, Facts, facts_of
from src.causal_engine.diagnostics.assignment import groups_treated_whole, spillover_p_value, switching_columns
from src.causal_engine.diagnostics.discontinuity_report import DiscontinuityReport
from src.causal_engine.diagnostics.instruments import instrument_doubts
from src.causal_engine.diagnostics.timing import measured_afterwards
from src.causal_engine.estimators.base import FittedEffect
from src.causal_engine.results import DesignChoice, FailedEstimate, Identification
from src.causal_engine.spec import Design
from src.causal_engine.study import Study
from src.errors import EstimationError, OverlapViolated

FEW_CLUSTERS = 10
FEW_OF_AN_ARM = 5
FEW_DISTINCT = 25
LEAST_ROWS_PER_COLUMN, FEW_ROWS_PER_COLUMN = 3.0, 10.0
LEVEL = 0.01
CUTOFF_LEVEL = 0.005
# Estimators that use what a design rests on; in the other designs any adjusted comparison does.
_USING: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "instrument": ("iv_2sls", "anderson_rubin"),
        "discontinuity": ("rdd", "fuzzy_rdd"),
        "front_door": ("front_door",),
        "fixed_effects": ("twfe", "did", "lagged_outcome", "distributed_lag", "imputation", "synthetic_did"),
    }
)
Fit = Callable[[str, Study], FittedEffect]


@dataclass(frozen=True)
class Attempt:
    """What came of the main estimate. ``tried``: estimators that refused before the one named last."""

    fitted: FittedEffect | None
    refusal: FailedEstimate | None
    tried: tuple[FailedEstimate, ...] = ()


def answer_by(choice: DesignChoice, study: Study, fit: Fit) -> Attempt:
    """Fit the first estimator of ``choice``; after a refusal, each later option that may answer after it, once.

    An estimator that was asked for by name answers or refuses; nothing answers in its place. What
    refused is returned, never hidden.
    """
    later = list(fallbacks(study, choice.design)) if study.spec.estimator is None else []
    name, refused = choice.estimators[0], list[FailedEstimate]()
    while True:
        try:
            return Attempt(fit(name, study), None, tuple(refused))
        except EstimationError as error:
            said = f"{error}{offer(study, choice.design, error)}"
            refused.append(FailedEstimate(name, "primary", type(error).__name__, said))
            tried = {one.estimator for one in refused}
            following = next((one for one in later if one.name not in tried and type(error) in one.after), None)
        if following is None:
            return Attempt(None, refused[-1], tuple(refused[:-1]))
        name = following.name


def offer(study: Study, design: Design, error: EstimationError) -> str:
    """What to ask instead, where treatment switches at one value of a column and nobody is comparable; else nothing."""
    if design is not Design.OBSERVATIONAL or not isinstance(error, OverlapViolated):
        return ""
    for column, cutoff in switching_columns(study):
        return (
            f"; treatment switches at {column} = {cutoff:g}: ask again with --running-variable {column} --cutoff "
            f"{cutoff:g} for the effect at that cutoff (regression discontinuity)"
        )
    return ""


def unmet_demands(
    frame: pd.DataFrame, study: Study, identification: Identification, fitted: FittedEffect | None
) -> tuple[str, ...]:
    """Demands of the design that the data contradict, each a clause; any of them keeps a claim from being causal.

    ``frame``: the caller's rows in the study's order, with all columns. Looked at: an estimator, asked for by
    name, that does not use what identifies the effect, instruments that
    disagree or reach the outcome by other ways, treatment of whole groups that is not clustered by, outcomes
    that go with the neighbours' treatment, controls measured after the treatment, too few rows per column.
    """
    if fitted is None:
        return ()
    return tuple(_unmet(frame, study, identification, fitted))


def _unmet(frame: pd.DataFrame, study: Study, identification: Identification, fitted: FittedEffect) -> Iterator[str]:
    yield from _unused(identification, fitted.estimate.estimator)
    if identification.design is Design.INSTRUMENT:
        yield from _instrument(study, identification, fitted)
    if identification.design in (Design.OBSERVATIONAL, Design.RANDOMIZED):
        for column in groups_treated_whole(frame, study, [node.name for node in identification.excluded]):
            yield (
                f"each '{column}' was treated as a whole and is alike in the outcome, so rows are no independent "
                f"cases: the interval is too narrow without --cluster {column}"
            )
        spill = spillover_p_value(study)
        if spill is not None and spill < LEVEL:
            yield (
                f"the outcome goes with the treatment of the others in the same '{study.spec.cluster_key}' "
                f"(p = {spill:.2g}): units influence one another, or clusters differ in what is not measured"
            )
        for column, share in measured_afterwards(frame, study) if len(frame) == study.n else ():
            yield (
                f"'{column}' is adjusted for but was measured after the treatment in {share:.0%} of the rows; if so, "
                f"say so (--post-treatment {column})"
            )
    per_column = facts_of(study, Design.OBSERVATIONAL).rows_per_column
    if identification.design is Design.OBSERVATIONAL and per_column < LEAST_ROWS_PER_COLUMN:
        yield f"there are only {per_column:.1f} rows per column adjusted for, too few to adjust for them all"


def _unused(identification: Identification, estimator: str) -> Iterator[str]:
    using = _USING.get(identification.strategy)
    if using is not None and estimator not in using:
        rests_on = identification.strategy.replace("_", " ")
        yield f"{estimator} does not use the {rests_on} on which the identification rests ({', '.join(using)} do)"
    if estimator == "difference_in_means" and identification.design is not Design.RANDOMIZED:
        yield "difference_in_means adjusts for nothing, and nobody said that treatment was assigned at random"


def _instrument(study: Study, identification: Identification, fitted: FittedEffect) -> Iterator[str]:
    overidentified = fitted.estimate.diagnostic("overid_p_value")
    if overidentified is not None and overidentified < LEVEL:
        yield (
            f"the instruments contradict one another (over-identification test, p = {overidentified:.2g}): at least "
            "one reaches the outcome by another way, or they move different units with different effects"
        )
    yield from instrument_doubts(study, conditional=bool(identification.edges))


def selection_doubts(selected_by: Collection[str], outcome: str, identification: Identification) -> tuple[str, ...]:
    """Doubts about rows chosen by the outcome, or by what treatment or outcome changes (Hernán et al. 2004)."""
    afterwards = {
        node.name
        for node in identification.excluded
        if node.role not in ("instrument", "not in the graph", "collider (M-bias)")
    } | {outcome}
    return tuple(
        f"the rows were chosen by '{name}', which "
        f"{'is the outcome' if name == outcome else 'comes after the treatment'}: that alone links the two"
        for name in dict.fromkeys(selected_by)
        if name in afterwards
    )


def cutoff_doubts(found: DiscontinuityReport | None) -> tuple[str, ...]:
    """Signs that the cutoff decides more than the treatment: units heaped on one side, covariates that jump."""
    return () if found is None else tuple(_beside_the_cutoff(found))


def _beside_the_cutoff(found: DiscontinuityReport) -> Iterator[str]:
    if found.density_p_value is not None and found.density_p_value < CUTOFF_LEVEL:
        yield (
            f"units heap on one side of {found.running_variable} = {found.cutoff:g} (same density: p = "
            f"{found.density_p_value:.2g}), as if some had chosen their side"
        )
    for one in found.covariates:
        if one.p_value < CUTOFF_LEVEL / len(found.covariates):
            yield (
                f"'{one.covariate}' jumps at {found.running_variable} = {found.cutoff:g} as well "
                f"(p = {one.p_value:.2g}), so more than the treatment changes there"
            )


def cautions(study: Study, design: Design, fitted: FittedEffect | None = None) -> tuple[str, ...]:
    """What weakens the interval without contradicting the design, each a sentence."""
    return (*_cautions(facts_of(study, design)), *_of_the_estimator(study, design, fitted))


def _of_the_estimator(study: Study, design: Design, fitted: FittedEffect | None) -> Iterator[str]:
    estimator = fitted.estimate.estimator if fitted is not None else ""
    if estimator == "synthetic_did":
        yield (
            "The interval takes adopters to be drawn like any other units; where units adopted because of how they "
            "were moving, it is too narrow, however alike the weighted comparison ran before."
        )
        if study.spec.cluster_key not in (None, study.spec.unit_key):
            yield (f"Its errors are by unit: if units of a '{study.spec.cluster_key}' move together, it is too narrow.")
    if estimator == "distributed_lag" and facts_of(study, design).adoption is Adoption.STAGGERED:
        yield (
            "Units adopt at different dates: effects that differ between early and late adopters leak from one lag "
            "into another (Sun & Abraham 2021); ask without --lag for effects by periods since adoption."
        )
    if estimator in ("rdd", "fuzzy_rdd") and (distinct := _distinct_beside(study)) < FEW_DISTINCT:
        yield (
            f"'{study.spec.running_variable}' has only {distinct} different values on one side of the cutoff: the "
            "curve is followed across gaps, and the interval takes it to be smooth there."
        )
    if study.clusters is not None and study.is_binary and fitted is not None and not study.spec.is_panel:
        fewest = min(len(np.unique(study.clusters[study.t == arm])) for arm in (0.0, 1.0))
        if fewest < FEW_OF_AN_ARM:
            yield f"One arm lies in only {fewest} clusters: the interval rests on these."


def _distinct_beside(study: Study) -> int:
    values = study.frame[str(study.spec.running_variable)].to_numpy(dtype=np.float64)
    above = values >= float(study.spec.cutoff or 0.0)
    return min(len(np.unique(values[side])) for side in (above, ~above))


def _cautions(facts: Facts) -> Iterator[str]:
    if facts.clusters is not None and facts.clusters < FEW_CLUSTERS:
        yield (
            f"Only {facts.clusters} clusters: the interval, though widened for so few, is approximate; collect "
            "more clusters before acting on a close call."
        )
    if facts.design is Design.OBSERVATIONAL and LEAST_ROWS_PER_COLUMN <= facts.rows_per_column < FEW_ROWS_PER_COLUMN:
        yield (
            f"{facts.rows_per_column:.1f} rows per column adjusted for: flexible models have little to learn from, so "
            "the adjustment is linear."
        )
    if facts.survival_like:
        yield (
            "Many units share the largest outcome, as durations do that were watched only so long: the effect is on "
            "the outcome up to that limit, not beyond it."
        )
