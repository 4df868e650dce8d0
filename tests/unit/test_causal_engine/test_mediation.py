"""Natural effects against simulated truth; what the graph forbids; sensitivity to hidden causes of the mediator."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from src.causal_engine.conclusion import EstimationOutcome
from src.causal_engine.estimation import estimate_effect, study_for
from src.causal_engine.identification import CausalGraph, identify
from src.causal_engine.identification.graph import make_graph
from src.causal_engine.mediation.analysis import mediation_report
from src.causal_engine.mediation.report import MediationReport
from src.causal_engine.mediation.sensitivity import rho_curve
from src.causal_engine.mediation.wording import mediation_findings, mediation_limits
from src.causal_engine.serialise import from_json, to_json
from src.causal_engine.spec import CausalSpec

TRUTH = {"total": 1.72, "direct": 1.0, "indirect": 0.72}
ARROWS = [
    ("need", "called"),
    ("need", "samples"),
    ("need", "scripts"),
    ("size", "samples"),
    ("size", "scripts"),
    ("called", "samples"),
    ("samples", "scripts"),
    ("called", "scripts"),
]


def mediated(n: int = 400, seed: int = 0, hidden: float = 0.0) -> pd.DataFrame:
    """Calls raise scripts by 1 themselves and by .8·(.6 + .3) through samples, to which they interact."""
    rng = np.random.default_rng(seed)
    need, size, cause = rng.normal(size=(3, n))
    called = (rng.random(n) < 1 / (1 + np.exp(-0.7 * need))) * 1.0
    samples = 0.8 * called + 0.5 * need + 0.3 * size + hidden * cause + rng.normal(size=n)
    scripts = called + (0.6 + 0.3 * called) * samples + 0.5 * need + 0.4 * size + hidden * cause + rng.normal(size=n)
    columns = {"called": called, "samples": samples, "scripts": scripts, "need": need, "size": size}
    return pd.DataFrame(columns)


def split(frame: pd.DataFrame, graph: CausalGraph | None = None, **changes: object) -> MediationReport:
    roles = {
        "treatment": "called",
        "outcome": "scripts",
        "confounders": ("need", "size"),
        "mediators": ("samples",),
        "mediation": True,
        **changes,
    }
    spec = CausalSpec(**roles)  # type: ignore[arg-type]
    found = identify(spec, list(frame.columns), graph)
    return mediation_report(frame, spec, study_for(frame, spec, found), found)


def test_the_parts_recover_the_truth_and_cover_it() -> None:
    reports = [split(mediated(350, seed)) for seed in range(20)]
    for name, truth in TRUTH.items():
        parts = [report.effect(name) for report in reports]
        assert np.mean([part.value for part in parts]) == pytest.approx(truth, abs=0.12)
        assert np.mean([part.lower <= truth <= part.upper for part in parts]) >= 0.85
        assert np.mean([part.std_error for part in parts]) == pytest.approx(np.std([p.value for p in parts]), rel=0.5)


def test_direct_and_indirect_add_up_to_the_total() -> None:
    report = split(mediated())
    total, direct, indirect = (report.effect(name).value for name in ("total", "direct", "indirect"))
    assert total == pytest.approx(direct + indirect, rel=1e-9)
    assert report.share_indirect == pytest.approx(indirect / total)


def test_without_a_path_through_the_mediator_the_indirect_effect_is_none() -> None:
    frame = mediated(600, 3)
    frame["samples"] = np.random.default_rng(1).normal(size=len(frame))
    part = split(frame).effect("indirect")
    assert part.lower <= 0.0 <= part.upper


def test_several_mediators_are_split_off_together() -> None:
    frame = mediated(500, 2)
    frame["visits"] = frame.samples + np.random.default_rng(2).normal(size=len(frame))
    report = split(frame, mediators=("samples", "visits"))
    assert report.effect("indirect").lower <= TRUTH["indirect"] <= report.effect("indirect").upper


def test_a_graph_supplies_the_common_causes_of_mediator_and_outcome() -> None:
    assert split(mediated(300), make_graph(ARROWS), confounders=()).adjusted_for == ("need", "size")


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (make_graph([*ARROWS, ("called", "interest"), ("interest", "samples"), ("interest", "scripts")]), "'interest'"),
        (make_graph(ARROWS, bidirected=[("samples", "scripts")]), "not held fixed.*not measured"),
        (make_graph([arrow for arrow in ARROWS if arrow != ("samples", "scripts")]), "does not lie between"),
    ],
    ids=["changed common cause", "hidden common cause", "no path"],
)
def test_natural_effects_are_refused_by_name_where_the_graph_forbids_them(graph: CausalGraph, message: str) -> None:
    import re

    frame = mediated(300).assign(interest=lambda rows: rows["size"])
    report = split(frame, graph, confounders=())
    assert re.search(message, report.refusal)
    assert report.effects == ()


def test_a_changed_common_cause_is_no_obstacle_when_it_is_a_mediator_too() -> None:
    graph = make_graph([*ARROWS, ("called", "interest"), ("interest", "samples"), ("interest", "scripts")])
    frame = mediated(400, 5)
    frame["interest"] = frame.called + np.random.default_rng(1).normal(size=len(frame))
    assert split(frame, graph, confounders=(), mediators=("interest", "samples")).refusal == ""


@pytest.mark.parametrize(
    ("frame", "changes", "message"),
    [
        (mediated(), {"mediators": ()}, "no mediator was named"),
        (mediated().assign(samples=lambda rows: 9 * rows.called + 0.1 * rows.samples), {}, "mediators all but tell"),
        (mediated().assign(called=lambda rows: rows.called + rows.need), {}, "not 0/1"),
        (mediated().assign(samples=lambda rows: rows.samples.where(rows.index > 3)), {}, "missing in some rows"),
        (mediated(), {"confounders": ()}, "not identified"),
    ],
    ids=["none named", "no overlap", "dose", "missing", "not identified"],
)
def test_a_split_that_cannot_be_made_says_why(frame: pd.DataFrame, changes: dict[str, object], message: str) -> None:
    assert message in split(frame, **changes).refusal


def test_the_correlation_that_leaves_no_indirect_effect_is_where_the_curve_crosses_zero() -> None:
    frame = mediated(4000, 1)
    x, m = frame[["need", "size"]].to_numpy(), frame[["samples"]].to_numpy()
    found = rho_curve(frame.called.to_numpy(), frame.scripts.to_numpy(), x, m)
    assert found is not None
    rho, pairs = found
    controls = np.column_stack([np.ones(len(frame)), frame.called, x])
    left = [v - controls @ np.linalg.lstsq(controls, v, rcond=None)[0] for v in (frame.scripts, frame.samples)]
    assert rho == pytest.approx(np.corrcoef(left)[0, 1], rel=1e-9)
    design = np.column_stack([controls, m])
    slope = np.linalg.lstsq(design, frame.scripts, rcond=None)[0][-1]
    on_mediator = np.linalg.lstsq(controls, frame.samples, rcond=None)[0][1]
    assert dict(pairs)[0.0] == pytest.approx(slope * on_mediator, rel=1e-9)
    assert np.interp(rho, *zip(*pairs, strict=True)) == pytest.approx(0.0, abs=0.05)


def test_the_curve_recovers_the_truth_at_the_correlation_that_a_hidden_cause_makes() -> None:
    rng = np.random.default_rng(0)
    n = 40_000
    called, cause = (rng.random(n) < 0.5) * 1.0, rng.normal(size=n)
    samples = 0.8 * called + cause + rng.normal(size=n)
    scripts = called + 0.5 * samples + cause + rng.normal(size=n)
    found = rho_curve(called, scripts, np.empty((n, 0)), samples[:, None])
    assert found is not None
    assert dict(found[1])[0.5] == pytest.approx(0.4, abs=0.03)
    assert dict(found[1])[0.0] > 0.7


def test_an_analysis_asked_to_split_tells_it_and_stores_it() -> None:
    frame = mediated(300)
    spec = CausalSpec("called", "scripts", ("need", "size"), mediators=("samples",), mediation=True)
    found = identify(spec, list(frame.columns), None)
    outcome, _ = estimate_effect(frame, spec, found, specifications=False)
    report = outcome.mediation
    assert report is not None
    assert "goes through samples" in mediation_findings(report)[0]
    assert "Randomising called does not ensure this" in mediation_limits(report)[0]
    assert from_json(EstimationOutcome, json.loads(json.dumps(to_json(outcome)))) == outcome


def test_nothing_is_split_unless_it_is_asked_for() -> None:
    frame = mediated(200)
    spec = CausalSpec("called", "scripts", ("need", "size"), mediators=("samples",))
    outcome, _ = estimate_effect(frame, spec, identify(spec, list(frame.columns), None), specifications=False)
    assert outcome.mediation is None
    assert mediation_findings(None) == ()


def test_a_mediator_that_is_the_outcome_is_refused() -> None:
    frame = mediated()
    found = split(frame.assign(samples=2 * frame.scripts + 1))
    assert "determine 'scripts' exactly" in found.refusal
