"""How often are differences between effects claimed where there are none, and found where there are?"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from src.causal_engine.heterogeneity.analysis import heterogeneity_report
from src.causal_engine.heterogeneity.report import HeterogeneityReport
from src.causal_engine.spec import CausalSpec, Design
from src.causal_engine.study import prepare_study
from src.synthetic.generation import generate

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

# States of their own: nothing was tuned on these draws.
FIRST_STATE = 70_000
CONSTANT_DRAWS, DIFFERING_DRAWS = 100, 25
MAX_FALSE_CLAIMS, MIN_FOUND = 0.07, 0.80


def reported(process: str, rows: int, state: int) -> tuple[HeterogeneityReport, dict[str, float]]:
    """The report on one draw, and the true effect of each segment."""
    data = generate(process, rows, state)
    asked = data.spec
    spec = CausalSpec(
        asked.treatment,
        asked.outcome,
        asked.confounders,
        effect_modifiers=asked.effect_modifiers,
        heterogeneity=True,
        random_state=state,
    )
    found = heterogeneity_report(prepare_study(data.frame, spec), Design.OBSERVATIONAL)
    return found, {name: truth.effect for name, truth in data.truth.cate.items()}


def test_a_constant_effect_is_rarely_sold_as_heterogeneity() -> None:
    claims = [reported("confounded", 1_000, FIRST_STATE + i)[0].found for i in range(CONSTANT_DRAWS)]
    assert np.mean(claims) <= MAX_FALSE_CLAIMS, f"{sum(claims)} of {CONSTANT_DRAWS}"


def test_the_librarys_differences_are_found_and_its_segments_covered() -> None:
    drawn = [reported("heterogeneous", 5_000, FIRST_STATE + i) for i in range(DIFFERING_DRAWS)]
    assert np.mean([report.found for report, _ in drawn]) >= MIN_FOUND
    held = [
        all(one.effect.lower <= truth[one.segment] <= one.effect.upper for one in report.segments)
        for report, truth in drawn
    ]
    assert np.mean(held) >= 0.84  # 95 % together; the 99 % binomial band of 25 draws begins here


def without_effect(state: int) -> HeterogeneityReport:
    """The report on 300 rows with 50 covariates and four arbitrary segments, treatment without any effect."""
    rng = np.random.default_rng(state)
    x = rng.normal(size=(300, 50))
    t = rng.random(300) < np.clip(1 / (1 + np.exp(0.5 * x[:, 1] - 0.7 * x[:, 0])), 0.1, 0.9)
    names = [f"x{i}" for i in range(50)]
    frame = pd.DataFrame(x, columns=names).assign(
        group=[f"g{one}" for one in rng.integers(0, 4, 300)],
        t=t.astype(float),
        y=x[:, 0] + 0.5 * x[:, 1] ** 2 + rng.normal(size=300),
    )
    spec = CausalSpec("t", "y", tuple(names), effect_modifiers=("group",), heterogeneity=True, random_state=state)
    return heterogeneity_report(prepare_study(frame, spec), Design.OBSERVATIONAL)


def test_many_covariates_and_few_rows_are_rarely_sold_as_heterogeneity() -> None:
    reports = [without_effect(FIRST_STATE + i) for i in range(CONSTANT_DRAWS)]
    assert all(report.refusal is None for report in reports)
    assert np.mean([report.found for report in reports]) <= MAX_FALSE_CLAIMS
