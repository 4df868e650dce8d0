"""What the design must notice: each process fires on its fault and stays silent on its clean twin."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from src.app.report.wording import overstatements
from src.causal_engine.results import Verdict
from src.causal_engine.spec import CausalSpec
from src.errors import StudyInvalid, TooFewRows
from tests.design_processes import LINEAR, PROCESSES, Answered, Asked, answer, identified

BY_THE_GRAPH = ("no valid adjustment set", "collider", "M-bias", "mediator", "instrument among covariates")
CURVED = pytest.param("nonlinear confounding", marks=pytest.mark.slow)
LINES = [CURVED if name == "nonlinear confounding" else name for name in PROCESSES]


def asked(name: str, *, bad: bool, state: int = 1) -> Asked:
    return PROCESSES[name][0](np.random.default_rng(state), bad=bad)


@cache
def answered(name: str, *, bad: bool) -> Answered:
    return answer(asked(name, bad=bad), specifications=name == "nonlinear confounding")


def said(name: str, *, bad: bool) -> str:
    if name in BY_THE_GRAPH:
        return identified(asked(name, bad=bad))
    try:
        return answered(name, bad=bad).said
    except (StudyInvalid, TooFewRows) as refusal:
        return str(refusal)


@pytest.mark.parametrize("name", LINES)
def test_the_fault_is_noticed_and_its_clean_twin_is_left_alone(name: str) -> None:
    pattern = re.compile(PROCESSES[name][1], re.MULTILINE)
    assert pattern.search(said(name, bad=True))
    assert not pattern.search(said(name, bad=False))


def test_a_plain_trial_is_answered_without_drama() -> None:
    found = answered("assignment that was not random", bad=False)
    assert found.conclusion.verdict is Verdict.SUPPORTED
    assert found.conclusion.confidence == "high"
    assert found.conclusion.warnings == ()
    assert found.outcome.primary is not None
    assert found.outcome.primary.estimator == "difference_in_means"


@pytest.mark.parametrize(
    "name", ["instrument tied to confounders", "weak instrument", "assignment that was not random"]
)
@pytest.mark.parametrize("bad", [False, True])
def test_units_change_neither_estimator_nor_verdict(name: str, bad: bool) -> None:
    plain = asked(name, bad=bad)
    scaled = replace(plain, frame=plain.frame.assign(y=1000 * plain.frame.y, x=0.001 * plain.frame.x))
    assert _essence(answered(name, bad=bad)) == _essence(answer(scaled))


def _essence(found: Answered) -> tuple[object, ...]:
    primary, choice = found.outcome.primary, found.outcome.choice
    return (
        found.conclusion.verdict,
        primary.estimator if primary else None,
        choice.estimators if choice else None,
        len(found.outcome.doubts),
    )


@pytest.mark.parametrize("name", ["treated by territory", "interference", "reverse causation"])
def test_a_noticed_fault_never_ends_in_a_causal_claim(name: str) -> None:
    found = answered(name, bad=True)
    assert found.conclusion.verdict is Verdict.ASSOCIATION_ONLY
    texts = (found.conclusion.headline, *found.conclusion.findings, *found.conclusion.warnings)
    assert overstatements(found.conclusion.verdict, texts) == ()


def test_naming_the_territory_as_cluster_settles_the_doubt() -> None:
    clustered = CausalSpec("t", "y", LINEAR.confounders, cluster_key="territory", estimator="ols", randomized=True)
    assert not answer(replace(asked("treated by territory", bad=True), spec=clustered)).outcome.doubts
