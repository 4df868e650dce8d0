"""What can be found with the units there are, and how many would it take?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from src.causal_engine.experiment.from_data import Variation
from src.causal_engine.experiment.sizing import Baseline, Clusters, Correction, Periods, Switchback, Trial
from src.causal_engine.spec import OutcomeKind
from src.errors import ContractViolation

CURVE_POINTS = 41


@dataclass(frozen=True, slots=True)
class DesignOrder:
    """What is planned; None is "not said": it comes from the data, or is the default. See ``e2i design --help``."""

    kind: OutcomeKind | None = None
    baseline_mean: float | None = None
    sd: float | None = None
    dispersion: float | None = None
    minimum_effect: float | None = None
    relative_effect: float | None = None
    units: int | None = None
    alpha: float = 0.05
    power: float = 0.8
    treated_share: float = 0.5
    arms: int = 1
    correction: Correction = Correction.DUNNETT
    icc: float | None = None
    cluster_size: float | None = None
    cluster_cv: float | None = None
    clusters: int | None = None
    correlation: float | None = None
    periods: int | None = None
    before: int = 0
    autocorrelation: float | None = None
    persistent: float = 0.0
    blocks: int | None = None
    washout: int = 0

    @property
    def sizes(self) -> bool:
        """Whether a size is given or asked for, be there rows or not."""
        said = (self.units, self.clusters, self.minimum_effect, self.relative_effect)
        return any(value is not None for value in said)


@dataclass(frozen=True, slots=True)
class Length:
    """What a test of so many periods could find with the units there are."""

    periods: int
    detectable: float | None
    units_needed: int | None


@dataclass(frozen=True, slots=True)
class Planned:
    """The answer. ``units`` are there, ``needed`` would be; ``curve`` is (difference, power) with the former, else the
    latter."""

    trial: Trial
    difference: float | None
    units: int | None
    detectable: float | None
    power: float | None
    needed: int | None
    curve: tuple[tuple[float, float], ...]
    lengths: tuple[Length, ...]
    variation: Variation | None
    notes: tuple[str, ...]

    @property
    def clusters_needed(self) -> int | None:
        """Whole clusters for ``needed``; None where none are assigned."""
        if self.trial.clusters is None or self.needed is None:
            return None
        # ``needed`` is whole clusters of the mean size, rounded up to whole units.
        return int(np.floor(self.needed / self.trial.clusters.size + 1e-9))


def plan(order: DesignOrder, variation: Variation | None = None) -> Planned:
    """Minimum detectable effect with the units there are, and units needed for the effect that is asked for.

    Raises ContractViolation where neither is asked, or something is said twice or would count for nothing;
    StudyInvalid for impossible figures.
    """
    _check_said(order, variation)
    trial = trial_of(order, variation)
    difference = _difference(order, trial.baseline)
    units = _units(order, variation, trial)
    if difference is None and units is None:
        raise ContractViolation("name the units there are (--units) or the smallest effect (--minimum-effect)")
    needed = None if difference is None else trial.units_needed(difference)
    there = units if units is not None else needed
    return Planned(
        trial=trial,
        difference=difference,
        units=units,
        detectable=None if units is None else trial.detectable(units),
        power=None if units is None or difference is None else trial.power_at(units, difference),
        needed=needed,
        curve=() if there is None else tuple(_curve(trial, there, difference)),
        lengths=_lengths(order, trial, variation, units, difference),
        variation=variation,
        notes=_notes(order, trial, variation),
    )


def _check_said(order: DesignOrder, variation: Variation | None) -> None:
    """What is said must count: nothing is left out of the answer in silence."""
    for name in DesignOrder.__slots__:
        value = getattr(order, name)
        if isinstance(value, float) and not np.isfinite(value):
            raise ContractViolation(f"--{name.replace('_', '-')} is a finite number, not {value}")
    if order.units is not None and order.clusters is not None:
        raise ContractViolation("name the units there are once: --units or --clusters")
    windows = variation is not None and bool(variation.windows)
    over_time = order.periods is not None or order.blocks is not None
    clustered = order.cluster_size is not None or (variation is not None and variation.icc is not None)
    unread = {
        "before": order.before > 0 and order.periods is None and not windows,
        "autocorrelation": order.autocorrelation is not None and not over_time,
        "persistent": order.persistent != 0 and not over_time,
        "washout": order.washout > 0 and order.blocks is None,
        "cluster_cv": order.cluster_cv is not None and not clustered,
    }
    needs = {"washout": "--blocks", "cluster_cv": "--cluster-size and --icc"}
    for name, is_unread in unread.items():
        if is_unread:
            raise ContractViolation(f"--{name.replace('_', '-')} goes with {needs.get(name, '--periods')}")
    if order.blocks is not None:
        _check_switchback(order, order.blocks)


def _check_switchback(order: DesignOrder, blocks: int) -> None:
    clustered = order.icc is not None or order.cluster_size is not None or order.clusters is not None
    if clustered or order.arms > 1 or order.before > 0 or order.correlation is not None:
        raise ContractViolation(
            "a switchback compares each unit with itself: leave out clusters, arms, covariate and periods before"
        )
    if order.periods is not None and order.periods % blocks:
        raise ContractViolation(f"{order.periods} periods cannot be cut into {blocks} blocks of one length")


def trial_of(order: DesignOrder, variation: Variation | None) -> Trial:
    """The comparison that is planned; what is said wins over what the data say."""
    measured, correlation = _measured(order, variation), order.correlation
    if correlation is None and variation is not None and variation.correlation is not None:
        correlation = variation.correlation.value
    autocorrelation = order.autocorrelation
    if autocorrelation is None and variation is not None and variation.autocorrelation is not None:
        autocorrelation = variation.autocorrelation.value
    if order.blocks is not None:
        length = (order.periods or order.blocks) // order.blocks
        switch = Switchback(order.blocks, length, order.washout, autocorrelation or 0.0, order.persistent)
        return replace(_plain(order, variation), switchback=switch)
    periods = None
    if order.periods is not None and measured is None:
        periods = Periods(order.periods, order.before, autocorrelation or 0.0, order.persistent)
    return replace(
        _plain(order, variation),
        arms=order.arms,
        clusters=_clusters(order, variation),
        correlation=correlation or 0.0,
        periods=periods,
        measured=measured or 1.0,
    )


def _plain(order: DesignOrder, variation: Variation | None) -> Trial:
    return Trial(
        _baseline(order, variation),
        alpha=order.alpha,
        power=order.power,
        share_treated=order.treated_share,
        correction=order.correction,
    )


def _baseline(order: DesignOrder, variation: Variation | None) -> Baseline:
    known = None if variation is None else variation.baseline
    mean = order.baseline_mean if order.baseline_mean is not None else (known.mean if known else None)
    sd = order.sd if order.sd is not None else (known.sd if known else None)
    kind = order.kind or (known.kind if known and order.sd is None else OutcomeKind.CONTINUOUS)
    if mean is None:
        if kind is not OutcomeKind.CONTINUOUS:
            raise ContractViolation("name the mean without treatment (--baseline-mean), or rows that show it")
        mean = 0.0
    if kind is OutcomeKind.CONTINUOUS and sd is None:
        raise ContractViolation("name the standard deviation of the outcome (--sd), or rows that show it")
    return Baseline(
        kind, mean, sd, order.dispersion if order.dispersion is not None else (known.dispersion if known else 0.0)
    )


def _clusters(order: DesignOrder, variation: Variation | None) -> Clusters | None:
    seen = variation if variation is not None and variation.icc is not None else None
    icc = order.icc if order.icc is not None else (seen.icc.value if seen is not None and seen.icc else None)
    size = order.cluster_size if order.cluster_size is not None else (seen.cluster_size if seen else None)
    if icc is None and size is None:
        return None
    if icc is None or size is None:
        raise ContractViolation("assigned clusters need both --icc and --cluster-size, or rows that show them")
    return Clusters(
        icc, size, order.cluster_cv if order.cluster_cv is not None else (seen.cluster_cv if seen else 0) or 0
    )


def _measured(order: DesignOrder, variation: Variation | None) -> float | None:
    """Variance left of a unit's mean over the planned periods, over that of a row, where the rows show it."""
    if variation is None or order.periods is None or order.blocks is not None:
        return None
    found = [one for one in variation.windows if one.periods == order.periods]
    if not found:
        return None
    return found[0].residual_variance(baseline=order.before > 0) / variation.sd.value**2


def _difference(order: DesignOrder, baseline: Baseline) -> float | None:
    if order.relative_effect is None:
        return order.minimum_effect
    if order.minimum_effect is not None:
        raise ContractViolation("name the smallest effect once: --minimum-effect or --relative-effect")
    if baseline.mean == 0:
        raise ContractViolation("--relative-effect is a share of the mean without treatment: name --baseline-mean")
    return order.relative_effect * baseline.mean


def _units(order: DesignOrder, variation: Variation | None, trial: Trial) -> int | None:
    if order.clusters is not None:
        if trial.clusters is None:
            raise ContractViolation("--clusters needs --icc and --cluster-size, or rows that show them")
        return round(order.clusters * trial.clusters.size)
    if order.units is not None or variation is None:
        return order.units
    if variation.windows:
        return variation.windows[0].n_units
    return round((variation.n_clusters or 0) * (variation.cluster_size or 0)) or variation.n


def _curve(trial: Trial, units: int, difference: float | None) -> list[tuple[float, float]]:
    centre = difference or trial.detectable(units)
    if centre is None:
        return []
    most = 2 * centre if trial.baseline.leaves_possible(2 * centre) else centre
    return [(float(x), trial.power_at(units, float(x))) for x in np.linspace(0, most, CURVE_POINTS)]


def _lengths(
    order: DesignOrder, trial: Trial, variation: Variation | None, units: int | None, difference: float | None
) -> tuple[Length, ...]:
    if variation is None or trial.switchback is not None:
        return ()
    found = []
    for window in variation.windows:
        share = window.residual_variance(baseline=order.before > 0) / variation.sd.value**2
        longer = replace(trial, periods=None, measured=share)
        needed = None if difference is None else longer.units_needed(difference)
        there = units if units is not None else window.n_units
        found.append(Length(window.periods, longer.detectable(there), needed))
    return tuple(found)


def _notes(order: DesignOrder, trial: Trial, variation: Variation | None) -> tuple[str, ...]:
    notes = ["Units will vary during the experiment as said, and what one unit gets does not reach another."]
    if trial.clusters is not None and variation is None and order.cluster_cv is None:
        notes.append("Clusters are taken to be of one size; name --cluster-cv where they are not.")
    if trial.correlation or (trial.periods and trial.periods.before) or (trial.measured != 1.0 and order.before):
        notes.append("The analysis must adjust for what was measured before: without that the gain is not there.")
    if trial.measured != 1.0 and order.before not in (0, order.periods):
        notes.append(f"The gain of the periods before is that of {order.periods} such periods, as the rows show it.")
    if trial.arms > 1:
        notes.append(
            f"{trial.arms} treated arms share one control; each comparison is made at {trial.alpha_each:.4f} "
            f"({trial.correction})."
        )
    if trial.switchback is not None:
        notes.append("What a block does must have worn off within the washout of the next.")
    return tuple(notes)


def planned_document(planned: Planned) -> dict[str, Any]:
    """JSON form."""
    trial, seen = planned.trial, planned.variation
    estimated = ("mean", "sd", "icc", "autocorrelation", "correlation")
    found = {} if seen is None else {n: _estimated(getattr(seen, n)) for n in estimated}
    return {
        "kind": trial.baseline.kind.value,
        "baseline_mean": trial.baseline.mean,
        "sd": trial.baseline.sd,
        "alpha": trial.alpha,
        "alpha_each": trial.alpha_each,
        "power_wanted": trial.power,
        "treated_share": trial.share_treated,
        "arms": trial.arms,
        "variance_factor": trial.variance_factor,
        "design_effect": None if trial.clusters is None else trial.clusters.design_effect,
        "minimum_effect": planned.difference,
        "units": planned.units,
        "minimum_detectable_effect": planned.detectable,
        "power": planned.power,
        "units_needed": planned.needed,
        "clusters_needed": planned.clusters_needed,
        "lengths": [{n: getattr(one, n) for n in Length.__slots__} for one in planned.lengths],
        "curve": [list(point) for point in planned.curve],
        "from_data": found,
        "notes": list(planned.notes),
    }


def _estimated(one: Any) -> dict[str, float] | None:
    return None if one is None else {"value": one.value, "lower": one.ci.lower, "upper": one.ci.upper}
