"""One process per thing that a design must notice, each with a twin that is clean.

Every process is a function of a random state and of whether it is ``bad``; it returns what is asked and of which
rows. The effect of ``t`` on ``y`` is 1 unless told otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from src.causal_engine.conclusion import EstimationOutcome, Evidence, conclude
from src.causal_engine.estimation import estimate_effect
from src.causal_engine.identification import CausalGraph, identify, make_graph
from src.causal_engine.refutation.refute import refute
from src.causal_engine.results import Conclusion, Identification
from src.causal_engine.sensitivity.report import sensitivity_report
from src.causal_engine.spec import CausalSpec


@dataclass(frozen=True)
class Asked:
    """A question, its rows, the graph it is asked with, and the columns by which the rows were chosen."""

    frame: pd.DataFrame
    spec: CausalSpec
    graph: CausalGraph | None = None
    selected_by: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answered:
    """What the engine made of it."""

    identification: Identification
    outcome: EstimationOutcome
    conclusion: Conclusion
    said: str = field(default="")


def answer(asked: Asked, *, specifications: bool = False) -> Answered:
    """Identification, estimate, refutation, sensitivity and conclusion, as the agent makes them."""
    identification = identify(asked.spec, list(asked.frame.columns), asked.graph)
    outcome, held = estimate_effect(
        asked.frame, asked.spec, identification, specifications=specifications, selected_by=asked.selected_by
    )
    refutation = sensitivity = None
    if held.fitted is not None:
        refutation = refute(held.study, held.fitted, random_state=1)
        sensitivity = sensitivity_report(held.study, held.fitted.estimate, identification.design)
    conclusion = conclude(Evidence(asked.spec, identification, outcome, refutation, sensitivity))
    return Answered(identification, outcome, conclusion, _all_words(identification, outcome, conclusion))


def identified(asked: Asked) -> str:
    """The words of identification alone, for what needs no estimate to be noticed."""
    identification = identify(asked.spec, list(asked.frame.columns), asked.graph)
    return "\n".join((*identification.reasons, *(f"{node.role}: {node.reason}" for node in identification.excluded)))


def _all_words(identification: Identification, outcome: EstimationOutcome, conclusion: Conclusion) -> str:
    excluded = [f"{node.role}: {node.reason}" for node in identification.excluded]
    rejected = [f"{one.name}: {one.reason}" for one in outcome.choice.rejected] if outcome.choice else []
    estimator = [f"answered by {outcome.primary.estimator}"] if outcome.primary else []
    parts = (conclusion.headline, *conclusion.reasons, *conclusion.warnings, *identification.reasons)
    return "\n".join((*parts, *excluded, *rejected, *estimator))


def _base(rng: np.random.Generator, n: int, pull: float = 0.8) -> pd.DataFrame:
    x, w = rng.normal(size=(2, n))
    t = (rng.random(n) < 1 / (1 + np.exp(-pull * x))).astype(float)
    return pd.DataFrame({"x": x, "w": w, "t": t, "y": t + x + 0.5 * w + rng.normal(size=n)})


LINEAR = CausalSpec("t", "y", ("x", "w"), estimator="lin")


def no_adjustment_set(rng: np.random.Generator, *, bad: bool) -> Asked:
    edges = [("x", "t"), ("x", "y"), ("w", "y"), ("t", "y")]
    graph = make_graph([*edges, ("u", "t"), ("u", "y")] if bad else edges, latent=["u"] if bad else [])
    return Asked(_base(rng, 400), LINEAR, graph)


def deterministic(rng: np.random.Generator, *, bad: bool) -> Asked:
    frame = _base(rng, 250)
    if bad:
        frame["t"] = (frame.x >= 0.2).astype(float)
        frame["y"] += frame.t
    return Asked(frame, LINEAR)


def no_overlap(rng: np.random.Generator, *, bad: bool) -> Asked:
    return Asked(_base(rng, 300, 6.0 if bad else 0.8), LINEAR)


def collider(rng: np.random.Generator, *, bad: bool) -> Asked:
    frame = _base(rng, 400).assign(c=lambda d: d.t + d.y + rng.normal(size=len(d)))
    edges = [("x", "t"), ("x", "y"), ("w", "y"), ("t", "y")]
    more = [("t", "c"), ("y", "c")] if bad else [("c", "t"), ("c", "y")]
    return Asked(frame, CausalSpec("t", "y", ("x", "w", "c"), estimator="lin"), make_graph([*edges, *more]))


def m_bias(rng: np.random.Generator, *, bad: bool) -> Asked:
    frame = _base(rng, 400).assign(m=lambda d: rng.normal(size=len(d)))
    edges = [("x", "t"), ("x", "y"), ("w", "y"), ("t", "y")]
    arms = [("a", "m"), ("b", "m"), ("a", "t"), ("b", "y")] if bad else [("m", "t"), ("m", "y")]
    graph = make_graph([*edges, *arms], latent=["a", "b"] if bad else [])
    return Asked(frame, CausalSpec("t", "y", ("x", "w", "m"), estimator="lin"), graph)


def mediator(rng: np.random.Generator, *, bad: bool) -> Asked:
    frame = _base(rng, 400).assign(m=lambda d: 0.5 * d.t + rng.normal(size=len(d)))
    edges = [("x", "t"), ("x", "y"), ("w", "y"), ("t", "y"), ("m", "y")]
    graph = make_graph([*edges, ("t", "m") if bad else ("m", "t")])
    return Asked(frame, CausalSpec("t", "y", ("x", "w", "m"), estimator="lin"), graph)


def instrument_as_control(rng: np.random.Generator, *, bad: bool) -> Asked:
    frame = _base(rng, 400).assign(z=lambda d: rng.normal(size=len(d)))
    edges = [("x", "t"), ("x", "y"), ("w", "y"), ("t", "y"), ("z", "t")]
    graph = make_graph(edges if bad else [*edges, ("z", "y")])
    return Asked(frame, CausalSpec("t", "y", ("x", "w", "z"), estimator="lin"), graph)


def _instrumented(rng: np.random.Generator, n: int, strength: float, direct: float = 0.0) -> pd.DataFrame:
    z, z2, x, u = rng.normal(size=(4, n))
    t = strength * (z + z2) + 0.3 * x + u + rng.normal(size=n)
    return pd.DataFrame({"z": z, "z2": z2, "x": x, "t": t, "y": t + x + u + direct * z2 + rng.normal(size=n)})


def weak_instrument(rng: np.random.Generator, *, bad: bool) -> Asked:
    return Asked(_instrumented(rng, 500, 0.02 if bad else 0.7), CausalSpec("t", "y", ("x",), instruments=("z",)))


def invalid_instrument(rng: np.random.Generator, *, bad: bool) -> Asked:
    frame = _instrumented(rng, 1000, 0.7, 0.6 if bad else 0.0)
    return Asked(frame, CausalSpec("t", "y", ("x",), instruments=("z", "z2")))


def tied_instrument(rng: np.random.Generator, *, bad: bool) -> Asked:
    frame = _instrumented(rng, 1000, 0.7)
    frame["z"] += 0.6 * frame.x if bad else 0.0
    return Asked(frame, CausalSpec("t", "y", ("x",), instruments=("z",)))


def hidden_confounder(rng: np.random.Generator, *, bad: bool) -> Asked:
    """A hidden cause weaker than a measured one makes all of the effect; twin: a large effect, none hidden."""
    n = 400
    x, w, u = rng.normal(size=(3, n))
    t = (rng.random(n) < 1 / (1 + np.exp(-0.8 * (x + (0.6 * u if bad else 0.0))))).astype(float)
    y = (0.0 if bad else 3.0) * t + x + 0.5 * w + (0.6 * u if bad else 0.0) + rng.normal(size=n)
    return Asked(pd.DataFrame({"x": x, "w": w, "t": t, "y": y}), LINEAR)


def many_columns(rng: np.random.Generator, *, bad: bool) -> Asked:
    n = 130
    columns = pd.DataFrame(rng.normal(size=(n, 60)), columns=[f"c{i}" for i in range(60)])
    t = (rng.random(n) < 0.5).astype(float)
    frame = columns.assign(t=t, y=3 * t + columns.c0 + rng.normal(size=n))
    return Asked(frame, CausalSpec("t", "y", tuple(columns.columns[: 60 if bad else 5]), estimator="linear_dml"))


def bent_confounding(rng: np.random.Generator, *, bad: bool) -> Asked:
    n = 800
    x = rng.normal(size=n)
    shape = np.where(np.abs(x) > 1, 3.0, 0.0) if bad else x
    t = (rng.random(n) < 1 / (1 + np.exp(-(shape - shape.mean()) * (0.8 if bad else 0.6)))).astype(float)
    frame = pd.DataFrame({"x": x, "t": t, "y": t + 2 * shape + rng.normal(size=n)})
    return Asked(frame, CausalSpec("t", "y", ("x",)))


def measured_late(rng: np.random.Generator, *, bad: bool) -> Asked:
    start = pd.Timestamp("2025-03-01")
    shift = 30 if bad else -30
    frame = _base(rng, 250).assign(t_date=start, x_measured_at=start + pd.Timedelta(days=shift))
    return Asked(frame, LINEAR)


def territories(rng: np.random.Generator, *, bad: bool) -> Asked:
    frame = _base(rng, 800, 0.0)
    territory = rng.integers(0, 40, 800)
    shock = rng.normal(size=40)
    if bad:
        frame["t"] = (rng.permutation(40) < 20)[territory].astype(float)
        frame["y"] = frame.t + frame.x + shock[territory] + rng.normal(size=800)
    return Asked(frame.assign(territory=[f"T{k}" for k in territory]), CausalSpec("t", "y", randomized=True))


def interference(rng: np.random.Generator, *, bad: bool) -> Asked:
    n = 1200
    clinic = rng.integers(0, 120, n)
    share = rng.random(120)
    t = (rng.random(n) < share[clinic]).astype(float)
    x, w = rng.normal(size=(2, n))
    size = np.bincount(clinic, minlength=120)
    others = (np.bincount(clinic, weights=t, minlength=120)[clinic] - t) / np.maximum(size[clinic] - 1, 1)
    y = t + x + (1.5 * others if bad else 0.0) + rng.normal(size=n)
    frame = pd.DataFrame({"x": x, "w": w, "t": t, "y": y, "clinic": clinic})
    return Asked(frame, CausalSpec("t", "y", cluster_key="clinic", randomized=True))


def selected_on_outcome(rng: np.random.Generator, *, bad: bool) -> Asked:
    frame = _base(rng, 400)
    column = "y" if bad else "w"
    return Asked(frame.loc[frame[column] > -0.5].reset_index(drop=True), LINEAR, selected_by=(column,))


PANEL = CausalSpec("t", "y", unit_key="unit", time_key="month")


def _panel(rng: np.random.Generator, units: int, months: int) -> pd.DataFrame:
    frame = pd.DataFrame({"unit": np.repeat(np.arange(units), months), "month": np.tile(np.arange(months), units)})
    level = rng.normal(size=units)[frame.unit]
    return frame.assign(level=level, noise=rng.normal(size=len(frame)))


def reverse_causation(rng: np.random.Generator, *, bad: bool) -> Asked:
    """Calls follow last month's scripts; twin: calls vary by themselves."""
    frame = _panel(rng, 80, 14)
    sales = frame.level + frame.noise
    before = sales.groupby(frame.unit).shift(1).fillna(0.0)
    calls = (before if bad else 0.0) + rng.normal(size=len(frame))
    y = sales if bad else 0.5 * calls + sales
    return Asked(frame.assign(t=calls, y=y), PANEL)


def diverging_trends(rng: np.random.Generator, *, bad: bool) -> Asked:
    frame = _panel(rng, 120, 10)
    adopter = frame.unit % 2 == 0
    t = (adopter & (frame.month >= 6)).astype(float)
    drift = 0.4 * frame.month * adopter if bad else 0.0
    return Asked(frame.assign(t=t, y=t + frame.level + drift + 0.5 * frame.noise), PANEL)


def staggered(rng: np.random.Generator, *, bad: bool) -> Asked:
    frame = _panel(rng, 120, 10)
    start = np.where(frame.unit % 3 == 0, 99, np.where((frame.unit % 3 == 1) & bad, 4, 6))
    t = (frame.month >= start).astype(float)
    return Asked(frame.assign(t=t, y=t + frame.level + 0.5 * frame.noise), PANEL)


def sentinels(rng: np.random.Generator, *, bad: bool) -> Asked:
    frame = _base(rng, 400)
    if bad:
        frame.loc[:20, "x"] = -999.0
    return Asked(frame, LINEAR)


def twelve_treated(rng: np.random.Generator, *, bad: bool) -> Asked:
    frame = _base(rng, 400)
    if bad:
        frame["t"] = (np.arange(400) < 12).astype(float)
    return Asked(frame, LINEAR)


def not_random(rng: np.random.Generator, *, bad: bool) -> Asked:
    return Asked(_base(rng, 600, 0.8 if bad else 0.0), CausalSpec("t", "y", ("x", "w"), randomized=True))


Process = Callable[..., Asked]
PROCESSES: Mapping[str, tuple[Process, str]] = {
    "no valid adjustment set": (no_adjustment_set, r"nothing measured closes the path"),
    "deterministic assignment": (deterministic, r"ask again with --running-variable x --cutoff 0\.2"),
    "propensity near 0 and 1": (no_overlap, r"treatment probability outside"),
    "collider": (collider, r"^collider: "),
    "M-bias": (m_bias, r"^collider \(M-bias\): "),
    "mediator": (mediator, r"^mediator: "),
    "instrument among covariates": (instrument_as_control, r"^instrument: 'z' moves"),
    "weak instrument": (weak_instrument, r"barely moves|answered by anderson_rubin"),
    "instruments that disagree": (invalid_instrument, r"contradict one another"),
    "instrument tied to confounders": (tied_instrument, r"goes with the measured confounders"),
    "hidden confounder": (hidden_confounder, r"Sensitive to hidden confounding|sensitivity_e_value failed"),
    "many columns, few rows": (many_columns, r"rows per column adjusted for, too few"),
    "nonlinear confounding": (bent_confounding, r"depends on the form of the adjustment|finds the opposite sign"),
    "measured after the treatment": (measured_late, r"measured after the treatment in"),
    "treated by territory": (territories, r"each 'territory' was treated as a whole"),
    "interference": (interference, r"units influence one another"),
    "selected on the outcome": (selected_on_outcome, r"rows were chosen by 'y'"),
    "reverse causation": (reverse_causation, r"'explains' this period's outcome"),
    "diverging pre-trends": (diverging_trends, r"trends differed before treatment began"),
    "staggered adoption": (staggered, r"answered by (imputation|synthetic_did)"),
    "sentinel values": (sentinels, r"holds -999 in"),
    "twelve treated units": (twelve_treated, r"the smaller arm has 12 rows"),
    "assignment that was not random": (not_random, r"more than chance allows"),
}
