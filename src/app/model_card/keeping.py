"""Where is the card of a model kept, and how is it found again? With its MLflow run, and as a page on this machine."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from src.app.model_card import render_model_card
from src.app.model_card.approval import approval_of
from src.app.model_card.card import (
    CardBaseline,
    CardExplanation,
    CardSearch,
    CardSegment,
    CardTrial,
    ModelCard,
)
from src.app.report.pages import write_whole
from src.errors import DataUnavailable
from src.mlops.mlflow.failures import StoreRefused
from src.mlops.mlflow_connector import MLflowConnector
from src.mlops.modelling.metrics import DIRECTIONS
from src.resilience.outcomes import Spooled, Unavailable
from src.settings import var_dir
from src.storage.database import Database
from src.storage.hpo import HPORepository, StoredTrial
from src.storage.postgres_gateway import PostgresGateway

if TYPE_CHECKING:
    from src.agents.ml_foundation.feature_analyzer.result import AnalyzeResult
    from src.agents.ml_foundation.model_selector.result import SelectResult
    from src.agents.ml_foundation.model_trainer.result import TrainResult
    from src.app.training import Trained
    from src.domain.modelling import TrainingData
    from src.mlops.optuna.results import HPOSummary

FOLDER = "model_card"
FILE = "model_card.json"
PAGE = "model_card.html"


def cards_folder() -> Path:
    """Where pages are written when nobody names a place."""
    return var_dir() / "model_cards"


async def keep_card(done: Trained, database: Database, connector: MLflowConnector) -> Trained:
    """Write the page of a trained model, store it and what it is made of with the model's run, and say where it is.

    A store that is away is a warning: the page is on this machine all the same.
    """
    assert done.trained is not None
    trials = await _trials(done.trained.hpo, HPORepository(PostgresGateway(database)))
    card, warnings = card_of(done, trials), done.warnings
    if card.version is not None:
        approval = await approval_of(connector, card.name, str(card.version))
        if isinstance(approval, Unavailable):
            warnings = (*warnings, f"the card does not say who let the version through: {approval.component} is away")
        else:
            card = card.model_copy(update={"approval": approval})
    run_id = done.trained.model_ref.run_id if done.trained.model_ref is not None else None
    unregistered = f"unregistered_{run_id or done.trace_id}"
    folder = cards_folder() / card.name / (unregistered if card.version is None else f"v{card.version}")
    page = await asyncio.to_thread(write_whole, render_model_card(card), folder / PAGE)
    document = await asyncio.to_thread(write_whole, card.model_dump_json(indent=1), folder / FILE)
    if run_id is not None:
        warnings = (*warnings, *[line for file in (document, page) if (line := await _stored(connector, file, run_id))])
    return dataclasses.replace(done, card=page, warnings=warnings)


async def _stored(connector: MLflowConnector, file: Path, run_id: str) -> str | None:
    """Why a file is not with the run, or None when it is."""
    outcome = await connector.log_artifact(file, FOLDER, run_id=run_id)
    if isinstance(outcome, Unavailable | Spooled):
        return f"{file.name} is not stored with the run yet: {outcome.component} is away"
    return None


async def read_card(connector: MLflowConnector, run_id: str, version: str) -> ModelCard:
    """The card that was stored with the run of a version.

    Raises DataUnavailable where there is none, or the store is away.
    """
    with tempfile.TemporaryDirectory(prefix="e2i-card-") as folder:
        try:
            found = await connector.download_artifact(run_id, f"{FOLDER}/{FILE}", Path(folder))
        except StoreRefused as refusal:
            raise DataUnavailable(f"no card was stored with version {version}") from refusal
        if isinstance(found, Unavailable):
            raise DataUnavailable(f"the model card of run {run_id} cannot be read: {found.reason}")
        text = await asyncio.to_thread(found.read_text, "utf-8")
    try:
        return ModelCard.model_validate_json(text)
    except ValidationError as error:
        raise DataUnavailable(f"the model card of run {run_id} was written by another version of E2I") from error


def card_of(done: Trained, trials: tuple[CardTrial, ...] = ()) -> ModelCard:
    """Everything that is known of a trained model."""
    trained, selected, data = done.trained, done.selected, done.data
    assert trained is not None
    assert selected is not None
    assert selected.primary is not None
    assert data is not None
    gate = done.prepared.result.gate
    registered = done.registered.registered if done.registered is not None else None
    primary = trained.primary_metric
    return ModelCard(
        name=registered.name if registered is not None else f"{done.experiment}_{selected.primary.algorithm}",
        version=registered.version if registered is not None else None,
        stage=_stage(done),
        algorithm=selected.primary.algorithm,
        problem=str(done.columns.problem),
        target=data.target,
        positive=data.positive,
        created_at=done.started_at.isoformat(),
        rationale=selected.rationale.primary_reason if selected.rationale is not None else "",
        features=data.features,
        left_out=dict(done.columns.left_out),
        rows=dict(trained.split_counts),
        metrics={split: dict(values) for split, values in trained.metrics.items()},
        intervals=dict(trained.intervals),
        primary_metric=primary,
        direction=DIRECTIONS.get(primary or "", "maximize"),
        baseline=_baseline(selected),
        threshold=trained.threshold,
        calibration=_calibration(trained),
        confusion=trained.confusion,
        curves={"roc": trained.curves.roc, "pr": trained.curves.pr, "calibration": trained.curves.calibration},
        segments=tuple(
            CardSegment(column=s.column, value=s.value, n=s.n, metrics=dict(s.metrics)) for s in trained.segments
        ),
        fairness_gap=dict(trained.fairness_gap),
        balanced=trained.balanced,
        class_shares=dict(trained.class_shares),
        criteria=dict(done.order.criteria),
        criteria_met=trained.criteria_met,
        search=_search(trained.hpo, trials),
        explanation=_explanation(done.analyzed),
        quality_score=gate.score,
        quality_layers={name: str(status) for name, status in gate.layers.items()},
        # The agents behind the gate repeat its warnings.
        warnings=tuple(dict.fromkeys(w.removeprefix("gate: ") for w in (*gate.warnings, *trained.meta.warnings))),
        refused=_refused(done),
        lineage=_lineage(done, data, trained),
    )


async def _trials(hpo: HPOSummary | None, studies: HPORepository) -> tuple[CardTrial, ...]:
    stored = await studies.study(hpo.study_name) if hpo is not None else None
    return tuple(map(_trial, await studies.trials(stored.id))) if stored is not None else ()


def _calibration(trained: TrainResult) -> dict[str, float]:
    """What the test rows define of it."""
    found = dataclasses.asdict(trained.calibration) if trained.calibration is not None else {}
    return {name: value for name, value in found.items() if value is not None}


def _trial(stored: StoredTrial) -> CardTrial:
    return CardTrial(number=stored.trial_number, state=stored.state, value=stored.value, params=dict(stored.params))


def _stage(done: Trained) -> str | None:
    found = [result.stage for result in (done.registered, done.promoted) if result is not None and result.stage]
    return found[-1] if found else None


def _refused(done: Trained) -> tuple[str, ...]:
    promotion = done.promoted.promotion if done.promoted is not None else None
    return () if promotion is None or promotion.ok else promotion.refused_because


def _baseline(selected: SelectResult) -> CardBaseline | None:
    found = selected.baseline
    if found is None:
        return None
    return CardBaseline(metric=found.metric, to_beat=found.to_beat, comparison=found.comparison)


def _search(hpo: HPOSummary | None, trials: tuple[CardTrial, ...]) -> CardSearch | None:
    if hpo is None:
        return None
    return CardSearch(
        study=hpo.study_name,
        metric=hpo.metric,
        direction=hpo.direction,
        best_value=hpo.best_value,
        best_trial=hpo.best_trial,
        best_params=dict(hpo.best_params),
        completed=hpo.trials.completed,
        pruned=hpo.trials.pruned,
        failed=hpo.trials.failed,
        seconds=hpo.duration_s,
        stopped_because=hpo.stopped_because,
        warm_starts=len(hpo.warmstart),
        trials=trials,
    )


def _explanation(analyzed: AnalyzeResult | None) -> CardExplanation | None:
    if analyzed is None or analyzed.shap is None:
        return None
    shap, told = analyzed.shap, analyzed.narrative
    return CardExplanation(
        explainer=shap.explainer,
        space=shap.space,
        base_value=shap.base_value,
        rows=shap.n_rows,
        max_error=shap.max_error,
        ranked=tuple((one.feature, one.mean_abs, one.direction) for one in shap.ranked),
        interactions=tuple((one.a, one.b, one.strength, one.method) for one in analyzed.interactions),
        summary=told.summary if told is not None else "",
        insights=told.key_insights if told is not None else (),
        cautions=told.cautions if told is not None else (),
        source=told.source if told is not None else "template",
        beeswarm=base64.b64encode(analyzed.plots.get("beeswarm", b"")).decode("ascii"),
    )


def _lineage(done: Trained, data: TrainingData, trained: TrainResult) -> tuple[tuple[str, str], ...]:
    registered = done.registered.registered if done.registered is not None else None
    steps = (
        ("dataset", f"{done.dataset.name} ({data.dataset_id})"),
        ("data (SHA-256)", done.dataset.content_sha256),
        ("features", ", ".join(data.features)),
        ("split", data.split_id),
        ("search", trained.hpo.study_name if trained.hpo is not None else "none"),
        ("MLflow run", trained.model_ref.run_id if trained.model_ref is not None else None),
        ("training", trained.training_run_id),
        ("version", f"{registered.name} {registered.version}" if registered is not None else "not registered"),
        ("stage", _stage(done)),
        ("trace", done.trace_id),
    )
    return tuple((step, identity) for step, identity in steps if identity)
