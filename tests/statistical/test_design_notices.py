"""How often is clean data refused, and how often does a fault pass unnoticed?"""

from __future__ import annotations

import re

import numpy as np
import pytest

from src.causal_engine.results import Verdict
from tests.design_processes import PROCESSES, answer, identified

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

FIRST_STATE = 300
DRAWS_A_PROCESS = 6
MOST_REFUSED = 0.05
# They are noticed by the graph alone, or told by an exception: nothing about them is random.
CERTAIN = (
    "no valid adjustment set",
    "collider",
    "M-bias",
    "mediator",
    "instrument among covariates",
    "sentinel values",
)


def test_clean_data_are_rarely_refused() -> None:
    refused = [
        (name, state, found.conclusion.reasons)
        for name, (process, _) in PROCESSES.items()
        if name not in CERTAIN
        for state in range(FIRST_STATE, FIRST_STATE + DRAWS_A_PROCESS)
        if (found := answer(process(np.random.default_rng(state), bad=False))).conclusion.verdict
        in (Verdict.ASSOCIATION_ONLY, Verdict.NOT_IDENTIFIED)
    ]
    drawn = DRAWS_A_PROCESS * (len(PROCESSES) - len(CERTAIN))
    assert drawn >= 100
    assert len(refused) <= MOST_REFUSED * drawn, refused


@pytest.mark.parametrize(
    "name", ["diverging pre-trends", "instruments that disagree", "interference", "deterministic assignment"]
)
def test_a_fault_is_noticed_in_every_draw(name: str) -> None:
    process, pattern = PROCESSES[name]
    for state in range(FIRST_STATE, FIRST_STATE + 10):
        assert re.search(pattern, answer(process(np.random.default_rng(state), bad=True)).said, re.MULTILINE)


@pytest.mark.parametrize("name", CERTAIN[:5])
def test_what_the_graph_says_does_not_depend_on_the_draw(name: str) -> None:
    process, pattern = PROCESSES[name]
    assert re.search(pattern, identified(process(np.random.default_rng(FIRST_STATE), bad=True)), re.MULTILINE)
