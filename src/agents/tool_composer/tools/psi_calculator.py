"""Has the distribution of a feature drifted away from that of a reference period or segment?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from pydantic import Field

from src.agents.tool_composer.state import ToolOutput
from src.agents.tool_composer.tools.contract import ComposerTool, ToolInputs
from src.agents.tool_composer.tools.grouping import ComparingArguments, TwoGroups, two_groups
from src.agents.tool_composer.tools.panel_rows import is_number
from src.agents.tool_composer.tools.resampling import Levels, level_counts, shares, tail_probability
from src.agents.tool_composer.tools.telling import Telling, counted, listed
from src.causal_engine.study import FloatArray, IntArray
from src.causal_engine.wording import number, plain
from src.domain.findings import StatementKind
from src.domain.kpis import Kpi, Threshold, get_kpi

DRIFT_KPI = "MQ9"
LEVEL = 0.05
SMOOTHING = 1.0
STABLE, MODERATE, MAJOR = "stable", "moderate shift", "major shift"
BY_CHANCE, TOO_FEW = "not distinguishable from chance", "too few rows to tell"


class PsiCalculatorArguments(ComparingArguments):
    """Features whose drift is measured, between two periods or two segments."""

    bins: int = Field(
        default=10, ge=2, le=50, description="Bins of numeric features: quantiles of the reference", examples=[10]
    )


@dataclass(frozen=True, slots=True)
class Drift:
    """PSI of one feature with its interval, chance level and verdict. ``chance`` is exceeded once in twenty times
    without any drift; ``p_value`` is adjusted for the number of features."""

    feature: str
    psi: float
    lower: float
    upper: float
    chance: float
    p_value: float
    new_levels: int
    verdict: str = ""

    @property
    def drifted(self) -> bool:
        """Whether the feature moved by more than chance and more than the stable level."""
        return self.verdict in (MODERATE, MAJOR)


def psi(reference: FloatArray, current: FloatArray) -> FloatArray:
    """Σ (q − p) · ln(q / p) over the last axis; p and q are shares of the bins, one added to each count (Laplace)."""
    p, q = shares(reference + SMOOTHING), shares(current + SMOOTHING)
    return np.asarray(((q - p) * np.log(q / p)).sum(axis=-1))


def compute(inputs: ToolInputs, arguments: PsiCalculatorArguments) -> ToolOutput:
    """PSI of each feature, current against reference; units (prescribers) are resampled for interval and chance.

    Raises DataUnavailable, ContractViolation (unknown column, level or period) and TooFewRows.
    """
    groups = two_groups(inputs, arguments)
    rng = np.random.default_rng(inputs.context.random_state)
    found = [_drift_of(groups, name, arguments.bins, rng) for name in groups.columns]
    return _told(inputs, groups, judged(found, _levels_of(inputs.kpis)))


def judged(found: list[Drift], levels: Threshold) -> list[Drift]:
    """The drifts with adjusted p values (Benjamini and Hochberg 1995) and verdicts, the largest first."""
    from scipy.stats import false_discovery_control

    adjusted = false_discovery_control([drift.p_value for drift in found])
    rated = [replace(drift, p_value=float(p)) for drift, p in zip(found, adjusted, strict=True)]
    return sorted((replace(drift, verdict=_verdict(drift, levels)) for drift in rated), key=lambda drift: -drift.psi)


def _verdict(drift: Drift, levels: Threshold) -> str:
    stable = levels.target if levels.target is not None else levels.warning
    if drift.psi > stable and drift.p_value < LEVEL:
        return MAJOR if drift.psi > levels.critical else MODERATE
    if drift.chance > stable:
        return TOO_FEW
    return STABLE if drift.psi <= stable else BY_CHANCE


def _levels_of(kpis: Mapping[str, Kpi]) -> Threshold:
    """The levels of feature drift: stable up to the target, major above the critical one."""
    threshold = (kpis[DRIFT_KPI] if DRIFT_KPI in kpis else get_kpi(DRIFT_KPI)).threshold
    if threshold is None:
        raise AssertionError(f"KPI {DRIFT_KPI} has levels")
    return threshold


def _drift_of(groups: TwoGroups, name: str, bins: int, rng: np.random.Generator) -> Drift:
    codes, n_levels = binned(groups.frame[name], groups.current, bins)
    counts = level_counts(groups, codes, n_levels, rng)
    value = float(psi(counts.reference, counts.current))
    chance = counts.chance(lambda gap, pooled: np.asarray((gap**2 / np.where(pooled > 0, pooled, 1)).sum(axis=-1)))
    p_value, exceeded = tail_probability(value, chance)
    if np.abs(shares(counts.current) - shares(counts.reference)).max() < 1e-12:
        p_value = 1.0
    lower, upper = _interval(value, counts)
    new = int(((counts.reference == 0) & (counts.current > 0)).sum())
    return Drift(name, value, lower, upper, exceeded, p_value, new)


def binned(series: pd.Series, current: np.ndarray, bins: int) -> tuple[IntArray, int]:
    """Bin of each row and the number of bins; missing values are a bin of their own.

    Numbers with at most ``bins`` different values, and text, have a bin per value; other numbers fall between the
    quantiles of the reference.
    """
    missing = series.isna().to_numpy()
    if is_number(series) and series.nunique() > bins:
        values = series.to_numpy(dtype=np.float64)
        reference = values[~current & ~missing]
        edges = np.unique(np.quantile(reference, np.linspace(0, 1, bins + 1)[1:-1])) if reference.size else np.empty(0)
        codes, n = np.searchsorted(edges, values, side="left").astype(np.int64), len(edges) + 1
    else:
        factors, known = pd.factorize(series)
        codes, n = np.asarray(factors, dtype=np.int64), len(known)
    if not missing.any():
        return codes, n
    codes[missing] = n
    return codes, n + 1


def _interval(value: float, counts: Levels) -> tuple[float, float]:
    """95 % interval: resampled PSI less twice its upward bias, which comes once from the data and once from drawing."""
    drawn = psi(counts.drawn_reference, counts.drawn_current)
    bias = float(drawn.mean()) - value
    low, high = (float(end) - 2 * bias for end in np.quantile(drawn, [0.025, 0.975]))
    return max(0.0, min(low, value)), max(high, value)


def _told(inputs: ToolInputs, groups: TwoGroups, drifts: list[Drift]) -> ToolOutput:
    telling = Telling(inputs)
    levels = _levels_of(inputs.kpis)
    stable = levels.target if levels.target is not None else levels.warning
    limits = telling.figure("stable up to", stable, "PSI"), telling.figure("major above", levels.critical, "PSI")
    n_reference, n_current = groups.units
    noun = "prescribers" if groups.by_unit else "rows"
    telling.figure("units in the reference", n_reference, noun)
    telling.figure("units judged", n_current, noun)
    worded = {one.feature: telling.figure(f"PSI of {plain(one.feature)}", one.psi, "PSI", one.lower, one.upper)
              for one in drifts}  # fmt: skip
    for drift in drifts:
        _say(telling, drift, worded[drift.feature])
    telling.say(
        StatementKind.CAVEAT,
        f"Up to {limits[0]} a feature counts as stable, above {limits[1]} as shifted by a lot; a drift says that "
        "inputs changed, not that predictions became worse.",
    )
    if groups.left_out:
        telling.say(StatementKind.CAVEAT, f"Left out, because they only count the time: {listed(groups.left_out)}.")
    return telling.output(_summary(telling, groups, drifts), [_row(groups, one) for one in drifts], len(groups.frame))


def _say(telling: Telling, drift: Drift, words: str) -> None:
    feature = plain(drift.feature)
    if drift.drifted:
        kind = StatementKind.WARNING if drift.verdict == MAJOR else StatementKind.FINDING
        telling.say(kind, f"The distribution of {feature} shows a {drift.verdict}: {words}.")
    elif drift.verdict in (TOO_FEW, BY_CHANCE):
        limit = telling.figure(f"PSI of {feature} that chance exceeds in one of 20 cases", drift.chance, "PSI")
        telling.say(
            StatementKind.CAVEAT,
            f"{feature}: {words} is {drift.verdict}; without any drift chance alone reaches {limit}.",
        )
    if drift.new_levels:
        new = telling.figure(f"bins of {feature} that the reference does not have", drift.new_levels, "")
        telling.say(StatementKind.CAVEAT, f"{feature} has values the reference never had, in {new} of its bins.")


def _summary(telling: Telling, groups: TwoGroups, drifts: list[Drift]) -> str:
    moved = [drift for drift in drifts if drift.drifted]
    open_ = [drift for drift in drifts if drift.verdict in (TOO_FEW, BY_CHANCE)]
    telling.figure("features compared", len(drifts), "features")
    telling.figure("features that drifted", len(moved), "features")
    pair = f"{groups.current_label} against {groups.reference_label}"
    compared = counted(len(drifts), "feature", "features")
    if moved:
        top = moved[0]
        return (
            f"{len(moved)} of {compared} drifted ({pair}); most of all {plain(top.feature)} with a PSI of "
            f"{number(top.psi)} (95 % interval {number(top.lower)} to {number(top.upper)})."
        )
    if open_:
        telling.figure("features that could not be judged", len(open_), "features")
        return f"No drift was found in {compared} ({pair}), but {len(open_)} of them cannot be judged on these rows."
    return (
        f"No drift in {compared} ({pair}); the largest PSI is {number(drifts[0].psi)} for {plain(drifts[0].feature)}."
    )


def _row(groups: TwoGroups, drift: Drift) -> dict[str, Any]:
    n_reference, n_current = groups.units
    return {
        "feature": drift.feature,
        "psi": drift.psi,
        "lower": drift.lower,
        "upper": drift.upper,
        "p_value": drift.p_value,
        "verdict": drift.verdict,
        "current": groups.current_label,
        "reference": groups.reference_label,
        "n_current": n_current,
        "n_reference": n_reference,
    }


TOOL = ComposerTool(
    "psi_calculator",
    "Measures by the population stability index whether features (or scores of a model) drifted between two periods "
    "or differ between two segments.",
    PsiCalculatorArguments,
    "panel",
    compute,
)
