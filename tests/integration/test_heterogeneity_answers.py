"""Does a question about single effects reach report, terminal, MLflow and database, and repeat bit for bit?"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from rich.console import Console

from src.app.effects import Answer, answer_effect, rerun_answer
from src.app.generated_data import register_synthetic
from src.app.questions import EffectQuestion
from src.app.rendering import answer_document, answer_text, save_report
from src.app.session import Session, open_session
from src.mlops.mlflow_connector import reset_mlflow_connector
from src.storage.estimator_evaluations import EstimatorEvaluationRepository
from src.storage.postgres_gateway import PostgresGateway
from tests.mlflow_store import new_store

pytestmark = pytest.mark.integration


@pytest.fixture
async def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database_url: str) -> AsyncIterator[Session]:
    monkeypatch.setenv("E2I_VAR_DIR", str(tmp_path / "var"))
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", new_store(tmp_path / "mlflow"))
    reset_mlflow_connector()
    async with open_session() as opened:
        yield opened
    reset_mlflow_connector()


async def asked(session: Session) -> Answer:
    made = await register_synthetic(session.catalogue, "heterogeneous", 390, 5)
    question = EffectQuestion(
        dataset=made.record.dataset_id, heterogeneity=True, cost_per_unit=1.0, value_per_outcome=4.0
    )
    return await answer_effect(session, question)


async def test_every_candidate_is_kept_and_the_answer_is_told_everywhere(session: Session, tmp_path: Path) -> None:
    answer = await asked(session)
    assert answer.analysis is not None
    report = answer.analysis.heterogeneity
    assert report is not None
    assert report.selection is not None
    assert answer.selection is not None
    assert answer.selection.persisted
    store = EstimatorEvaluationRepository(PostgresGateway(session.database))
    rows = await store.of_experiment("e2i_causal_treatment_outcome")
    assert {row["estimator"] for row in rows} == {one.name for one in report.selection.tried}
    assert {row["mlflow_run_id"] for row in rows} == {answer.selection.mlflow_run_id}
    assert {row["query_hash"] for row in rows} == {answer.run.request_sha256}

    page = save_report(answer, "html", Path("-"))
    assert "Who gains more, who less" in page
    assert "Qini" in page
    assert "Whom to treat more, whom less" in save_report(answer, "md", Path("-"))
    shown = json.loads(str(save_report(answer, "json", Path("-"))))["analysis"]["heterogeneity"]
    assert len(shown["decisions"]) == len(report.decisions) > 0
    document = answer_document(answer)
    assert document["selection"]["kept"] is True
    console = Console(record=True, width=200)
    console.print(answer_text(answer))
    assert "regret at most" in console.export_text()


async def test_asking_again_gives_the_same_bits(session: Session) -> None:
    answer = await asked(session)
    comparison = await rerun_answer(session, answer.run.run_id)
    assert comparison.identical, comparison.differences


async def test_a_question_that_does_not_ask_logs_nothing(session: Session) -> None:
    made = await register_synthetic(session.catalogue, "heterogeneous", 390, 5)
    answer = await answer_effect(session, EffectQuestion(dataset=made.record.dataset_id))
    assert answer.selection is None
    assert answer.analysis is not None
    assert answer.analysis.heterogeneity is None
    assert "selection" not in answer_document(answer)
