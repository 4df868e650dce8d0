"""The page of a model says whether it is better than no model, by how much, and what it is not for."""

from __future__ import annotations

from typing import Any

import pytest

from src.app.model_card import ModelCard, render_model_card
from src.app.model_card.card import CardBaseline, CardExplanation, CardSearch, CardSegment, CardTrial
from src.app.model_card.limits import limits
from src.app.model_card.verdict import verdict
from tests.unit.test_report.pages import read_page

PNG = "iVBORw0KGgo="
SEARCH = CardSearch(
    study="study-1",
    metric="roc_auc",
    direction="maximize",
    best_value=0.81,
    best_trial=2,
    best_params={"max_depth": 4, "kind": "a"},
    completed=3,
    pruned=1,
    failed=1,
    seconds=12.0,
    stopped_because="trials",
    warm_starts=2,
    trials=(
        CardTrial(number=0, state="COMPLETE", value=0.7, params={"max_depth": 2, "kind": "a", "rate": 0.001}),
        CardTrial(number=1, state="PRUNED", value=None, params={"max_depth": 9, "kind": "b", "rate": 0.1}),
        CardTrial(number=2, state="COMPLETE", value=0.81, params={"max_depth": 4, "kind": "a", "rate": 0.3}),
        CardTrial(number=3, state="FAIL", value=None, params={}),
        CardTrial(number=4, state="COMPLETE", value=0.75, params={"max_depth": 5, "kind": "b"}),
    ),
)
CARD = ModelCard(
    name="churn_lightgbm",
    version=3,
    stage="staging",
    algorithm="lightgbm",
    problem="binary",
    target="churned",
    positive="yes",
    created_at="2026-03-01T08:00:00+00:00",
    rationale="the best of three",
    features=("visits", "<age>"),
    left_out={"id": "its values name rows"},
    rows={"train": 4_000, "validation": 1_300, "test": 1_200},
    metrics={"train": {"roc_auc": 0.9}, "validation": {"roc_auc": 0.81}, "test": {"roc_auc": 0.8, "recall": 0.6}},
    intervals={"roc_auc": (0.77, 0.83)},
    primary_metric="roc_auc",
    direction="maximize",
    baseline=CardBaseline(metric="roc_auc", to_beat=0.5, comparison="better"),
    threshold=0.4,
    calibration={"brier": 0.12, "slope": 1.05, "intercept": 0.01, "ece": 0.02},
    confusion=((900, 100), (80, 120)),
    curves={"roc": ((0.0, 0.0), (1.0, 1.0)), "pr": ((0.0, 1.0), (1.0, 0.2)), "calibration": ((0.1, 0.12, 300.0),)},
    segments=(CardSegment(column="brand", value="Kisqali", n=600, metrics={"recall": 0.55}),),
    fairness_gap={"brand": 0.05},
    balanced=True,
    class_shares={"0": 0.8, "1": 0.2},
    criteria={"roc_auc": 0.7},
    criteria_met=True,
    search=SEARCH,
    explanation=CardExplanation(
        explainer="Tree",
        space="log_odds",
        base_value=-0.3,
        rows=500,
        max_error=1e-6,
        ranked=(("visits", 0.7, 1), ("<age>", 0.2, -1)),
        interactions=(("visits", "<age>", 0.1, "shap_interaction"),),
        summary="visits say most",
        insights=("more visits, more",),
        cautions=(),
        source="template",
        beeswarm=PNG,
    ),
    quality_score=0.97,
    quality_layers={"schema": "passed"},
    warnings=("no contract",),
    refused=(),
    lineage=(("data (SHA-256)", "ab" * 32), ("MLflow run", "run-1"), ("version", "churn_lightgbm 3")),
)


def changed(**values: Any) -> ModelCard:
    return CARD.model_copy(update=values)


@pytest.mark.parametrize(
    ("values", "tone"),
    [
        ({}, "supported"),
        ({"intervals": {"roc_auc": (0.45, 0.83)}}, "caution"),
        ({"metrics": {"test": {"roc_auc": 0.49}}}, "stop"),
        ({"baseline": None}, "caution"),
        ({"metrics": {}}, "caution"),
        (
            {
                "baseline": CardBaseline(metric="neg_rmse", to_beat=-4.0, comparison=""),
                "metrics": {"test": {"rmse": 3.0}},
                "intervals": {"rmse": (2.5, 3.5)},
            },
            "supported",
        ),
        (
            {
                "baseline": CardBaseline(metric="neg_rmse", to_beat=-3.0, comparison=""),
                "metrics": {"test": {"rmse": 3.5}},
                "intervals": {},
            },
            "stop",
        ),
        (
            {
                "direction": "minimize",
                "baseline": CardBaseline(metric="log_loss", to_beat=0.7, comparison=""),
                "metrics": {"test": {"log_loss": 0.6}},
                "intervals": {"log_loss": (0.5, 0.75)},
            },
            "caution",
        ),
    ],
)
def test_a_model_is_better_only_when_its_whole_interval_is(values: dict[str, Any], tone: str) -> None:
    assert verdict(changed(**values)).tone == tone


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"rows": {"test": 60}}, "judged on 60 rows"),
        ({"calibration": {"slope": 1.6}}, "slope 1.60"),
        ({"fairness_gap": {"region": 0.3}}, "Choices between values of region"),
        ({"class_shares": {"0": 0.98, "1": 0.02}}, "rarest class is 2.0%"),
        ({"metrics": {"test": {"roc_auc": 0.4}}}, "Any decision at all"),
    ],
)
def test_what_the_evidence_forbids_is_said_and_only_then(values: dict[str, Any], words: str) -> None:
    assert not any(words in line for line in limits(CARD))
    assert any(words in line for line in limits(changed(**values)))


def test_the_page_holds_every_part_and_loads_nothing() -> None:
    html = render_model_card(CARD)
    page = read_page(html)
    titles = ("How good it is", "Can its probabilities be believed?", "What it goes by", "Hyperparameters")
    for words in (*titles, "Is it as good for everyone?", "Where it comes from", "ab" * 32, "0.770 to 0.830"):
        assert words in page.text, words
    # Curves, calibration, importances, history, parallel coordinates, segments.
    assert page.count("svg") == 6
    assert page.attributes("src") == [f"data:image/png;base64,{PNG}"]
    assert all(address.startswith("#") for address in page.attributes("href"))
    assert "img-src data:" in page.attributes("content")[-1]
    assert "<age>" in page.text
    assert "<age>" not in html


def test_the_same_card_gives_the_same_bytes_and_survives_storage() -> None:
    again = ModelCard.model_validate_json(CARD.model_dump_json())
    assert again == CARD
    assert render_model_card(again) == render_model_card(CARD)


def test_a_card_without_evidence_says_what_is_missing() -> None:
    bare = changed(
        search=None, explanation=None, segments=(), curves={}, calibration={}, confusion=(), problem="regression"
    )
    page = read_page(render_model_card(bare))
    for words in ("No search was made", "The model was not explained", "No segment has enough test rows"):
        assert words in page.text
    assert page.count("svg") == 0
