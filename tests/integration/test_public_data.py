"""Answers on public data with known results, through the whole application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pandas as pd
import pytest

from src.app.effects import Answer, answer_effect
from src.app.questions import EffectQuestion
from src.app.session import Session, open_session
from src.causal_engine.results import Analysis, Verdict
from src.settings import PROJECT_ROOT

SHARED = PROJECT_ROOT.parent / "shared" / "data"
PHARMA, CAUSAL = SHARED / "pharma", SHARED / "causal"
needs_shared_data = pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data")

EARNINGS = ("age", "education", "black", "hispanic", "married", "nodegree", "re74", "re75")


@pytest.fixture
async def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database_url: str) -> AsyncIterator[Session]:
    monkeypatch.setenv("E2I_VAR_DIR", str(tmp_path / "var"))
    monkeypatch.setenv("DATABASE_URL", database_url)
    async with open_session() as opened:
        yield opened


def analysis_of(answer: Answer) -> Analysis:
    assert answer.analysis is not None
    return answer.analysis


@needs_shared_data
async def test_sales_calls_follow_expected_scripts(session: Session) -> None:
    question = EffectQuestion(
        data=PHARMA / "detailing_bayesm.csv.gz",
        treatment="detail_calls",
        outcome="new_scripts",
        panel=("physician_id", "month"),
        confounders=("generalphys", "specialist", "mean_samples"),
    )
    analysis = analysis_of(await answer_effect(session, question))
    assert analysis.conclusion.verdict is Verdict.ASSOCIATION_ONLY
    assert "follows expected outcomes" in analysis.conclusion.headline
    assert analysis.panel is not None
    assert analysis.panel.pooled_elasticity == pytest.approx(0.14, abs=0.01)
    assert [lead.passed for lead in analysis.panel.leads] == [False]
    assert analysis.primary is not None
    assert analysis.primary.value == pytest.approx(0.18, abs=0.01)


@needs_shared_data
async def test_brand_meals_show_no_detectable_effect_beside_a_large_naive_gap(session: Session, tmp_path: Path) -> None:
    panel = pd.read_csv(PHARMA / "nasonex_meals_panel.csv.gz").query("total_class_claims > 0")
    panel = panel.assign(share=100 * panel.total_target_claims / panel.total_class_claims)
    panel = panel[panel.groupby("prescriber_id").year.transform("nunique") == 2]
    met_before = panel[panel.year == 2013].set_index("prescriber_id").any_target_meal
    file = tmp_path / "meals.csv"
    panel[panel.prescriber_id.map(met_before) == 0].to_csv(file, index=False)
    question = EffectQuestion(data=file, treatment="any_target_meal", outcome="share", panel=("prescriber_id", "year"))
    analysis = analysis_of(await answer_effect(session, question))
    assert analysis.conclusion.verdict is Verdict.NO_DETECTABLE_EFFECT
    assert analysis.naive is not None
    assert analysis.naive.value == pytest.approx(3.7, abs=0.4)
    assert analysis.naive.ci.lower > 2


@needs_shared_data
@pytest.mark.parametrize(
    ("arm", "points"), [("Mens E-Mail", 7.66), pytest.param("Womens E-Mail", 4.52, marks=pytest.mark.slow)]
)
async def test_randomised_email_is_supported_with_the_published_effect(
    session: Session, arm: str, points: float
) -> None:
    question = EffectQuestion(
        data=PHARMA / "hillstrom_email_rct.csv.gz",
        treatment="treatment",
        treated=arm,
        control="No E-Mail",
        outcome="visit",
        randomized=True,
    )
    analysis = analysis_of(await answer_effect(session, question))
    assert analysis.conclusion.verdict is Verdict.SUPPORTED
    assert analysis.conclusion.confidence == "high"
    assert analysis.primary is not None
    assert 100 * analysis.primary.value == pytest.approx(points, abs=0.01)


@needs_shared_data
@pytest.mark.parametrize("controls", ["psid_controls", pytest.param("cps_controls", marks=pytest.mark.slow)])
async def test_survey_controls_are_refused_for_lack_of_overlap(session: Session, tmp_path: Path, controls: str) -> None:
    everyone = pd.read_csv(CAUSAL / "lalonde_all.csv.gz")
    file = tmp_path / "training.csv"
    chosen = (everyone.file == "nsw_dw") & (everyone.treat == 1) | (everyone.file == controls)
    everyone[chosen].drop(columns="file").to_csv(file, index=False)
    question = EffectQuestion(data=file, treatment="treat", outcome="re78", confounders=EARNINGS)
    analysis = analysis_of(await answer_effect(session, question))
    assert analysis.conclusion.verdict is Verdict.NOT_IDENTIFIED
    assert analysis.primary is None
    assert any("overlap" in line.lower() and "selection" in line for line in analysis.conclusion.warnings)
