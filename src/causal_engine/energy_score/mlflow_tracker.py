"""Which effect functions were compared, how did each do, and was that kept?"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from src.causal_engine.energy_score.selection import Candidate, SelectionResult
from src.errors import E2IError, EstimationError
from src.resilience.outcomes import Unavailable

Row = dict[str, Any]


class Experiment(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def experiment_id(self) -> str | None:
        """MLflow's id; None while the store does not know the experiment."""
        ...


class Run(Protocol):
    @property
    def run_id(self) -> str | None: ...

    async def log_params(self, params: Mapping[str, Any]) -> Any: ...

    async def log_metrics(self, metrics: Mapping[str, Any], step: int = 0) -> Any: ...

    async def set_tags(self, tags: Mapping[str, Any]) -> Any: ...


class TrackingConnector(Protocol):
    """What the tracker needs of the MLflow connector."""

    async def get_or_create_experiment(self, name: str) -> Any: ...

    def start_run(
        self, experiment_id: Any = None, run_name: str | None = None, tags: Mapping[str, Any] | None = None
    ) -> AbstractAsyncContextManager[Any]: ...


class EvaluationStore(Protocol):
    """What the tracker needs of the database."""

    async def ensure_experiment(
        self,
        name: str,
        *,
        mlflow_experiment_id: str | None,
        prediction_target: str,
        brand: str | None,
        region: str | None,
    ) -> str:
        """Id of the ``ml_experiments`` row that stands for an experiment of MLflow."""
        ...

    async def add(self, rows: Sequence[Mapping[str, Any]]) -> Sequence[Row]: ...

    async def of_experiment(self, experiment_name: str) -> Sequence[Row]: ...

    async def performance(self) -> Sequence[Row]: ...


@dataclass(frozen=True, slots=True)
class Question:
    """What was estimated. ``query_hash`` identifies the question; brand and region as in the database."""

    outcome: str
    query_hash: str | None = None
    brand: str | None = None
    region: str | None = None


@dataclass(frozen=True)
class SelectionRun:
    """An open MLflow run for one selection."""

    run: Run
    experiment: Experiment
    question: Question


@dataclass(frozen=True, slots=True)
class DatabaseWrite:
    """What became of the database rows: how many were stored, in which experiment, or why none was."""

    rows: int
    experiment_id: str | None = None
    error_type: str | None = None
    error_message: str | None = None

    @property
    def persisted(self) -> bool:
        """Whether the database has the rows."""
        return self.error_type is None


@dataclass(frozen=True)
class LoggedSelection:
    """Where a selection was kept. ``mlflow`` holds the connector's outcome of each write (written, spooled or
    unavailable); ``left_out`` names metrics that are no finite numbers. ``database`` is None when it was not asked for.
    """

    mlflow_run_id: str | None
    mlflow: tuple[Any, ...]
    left_out: tuple[str, ...]
    database: DatabaseWrite | None

    @property
    def persisted(self) -> bool:
        """Whether everything that was asked for is stored."""
        return all(outcome.persisted for outcome in self.mlflow) and (self.database is None or self.database.persisted)


class EnergyScoreMLflowTracker:
    """Records selections in MLflow and, beside it, in ``estimator_evaluations``.

    ``connector`` is the MLflow connector, or anything with its methods; ``store`` the database side,
    required with ``enable_db_logging``.
    """

    def __init__(
        self,
        connector: TrackingConnector,
        experiment_prefix: str = "e2i_causal",
        enable_db_logging: bool = True,
        *,
        store: EvaluationStore | None = None,
    ) -> None:
        if enable_db_logging and store is None:
            raise EstimationError("database logging needs a store; pass store=, or enable_db_logging=False")
        self._connector = connector
        self._prefix = experiment_prefix.rstrip("_")
        self._store = store
        self._logs_rows = enable_db_logging

    @asynccontextmanager
    async def start_selection_run(
        self, name: str, question: Question, *, run_name: str | None = None
    ) -> AsyncIterator[SelectionRun]:
        """An MLflow run in the experiment ``<prefix>_<name>``; an error in the body ends it as failed."""
        experiment = await self._connector.get_or_create_experiment(self._full(name))
        tags = {"e2i.kind": "estimator_selection", "outcome": question.outcome}
        named = {"query_hash": question.query_hash, "brand": question.brand, "region": question.region}
        tags |= {key: value for key, value in named.items() if value is not None}
        async with self._connector.start_run(experiment, run_name or "estimator_selection", tags) as run:
            yield SelectionRun(run, experiment, question)

    async def log_selection_result(self, opened: SelectionRun, result: SelectionResult) -> LoggedSelection:
        """Store every candidate, failures included. A failed database write is in the result, never raised."""
        run = opened.run
        metrics, left_out = _finite(_metrics(result))
        outcomes = [
            await run.log_params(_params(result)),
            await run.log_metrics(metrics),
            await run.set_tags({"selected_estimator": result.selected, "reason": result.reason[:500]}),
        ]
        database = await self._store_rows(opened, result) if self._logs_rows else None
        return LoggedSelection(run.run_id, tuple(outcomes), left_out, database)

    async def get_selection_comparison(self, name: str) -> Sequence[Row] | Unavailable:
        """Every candidate of every selection recorded under ``name``, newest selection first, selected first."""
        if self._store is None:
            return Unavailable("database", "no store of evaluations was passed to the tracker")
        try:
            return await self._store.of_experiment(self._full(name))
        except E2IError as error:
            return Unavailable("database", f"{type(error).__name__}: {error}")

    async def get_estimator_performance(self) -> Sequence[Row] | Unavailable:
        """How often each estimator was tried, selected and failed, and its mean score, over all selections."""
        if self._store is None:
            return Unavailable("database", "no store of evaluations was passed to the tracker")
        try:
            return await self._store.performance()
        except E2IError as error:
            return Unavailable("database", f"{type(error).__name__}: {error}")

    async def _store_rows(self, opened: SelectionRun, result: SelectionResult) -> DatabaseWrite:
        assert self._store is not None
        question = opened.question
        try:
            experiment_id = await self._store.ensure_experiment(
                opened.experiment.name,
                mlflow_experiment_id=opened.experiment.experiment_id,
                prediction_target=question.outcome,
                brand=question.brand,
                region=question.region,
            )
            rows = [_row(candidate, result, opened, experiment_id) for candidate in result.results]
            stored = await self._store.add(rows)
        except E2IError as error:
            return DatabaseWrite(0, None, type(error).__name__, str(error))
        return DatabaseWrite(len(stored), experiment_id)

    def _full(self, name: str) -> str:
        return name if name.startswith(f"{self._prefix}_") else f"{self._prefix}_{name}"


def _params(result: SelectionResult) -> dict[str, Any]:
    return {
        "strategy": str(result.strategy),
        "selected": result.selected,
        "n_samples": result.n,
        "candidates": ",".join(candidate.name for candidate in result.results),
        "failed": ",".join(f"{each.name}:{each.error_type}" for each in result.results if each.error_type),
    }


def _metrics(result: SelectionResult) -> dict[str, float | None]:
    found: dict[str, float | None] = {
        "ate": result.average.value,
        "ate_se": result.average.std_error,
        "ate_ci_lower": result.average.ci.lower,
        "ate_ci_upper": result.average.ci.upper,
        "gap": result.gap,
    }
    for candidate in result.results:
        found |= {f"{candidate.name}.{key}": value for key, value in _scores(candidate).items()}
    return found | {f"weight.{name}": weight for name, weight in result.weights.items()}


def _scores(candidate: Candidate) -> dict[str, float | None]:
    energy = candidate.energy
    measured: dict[str, float | None] = {
        "r_loss": candidate.r_loss,
        "dr_loss": candidate.dr_loss,
        "excess": candidate.excess,
        "excess_se": candidate.excess_error,
        "duration_ms": candidate.duration_ms,
    }
    if energy is None:
        return measured
    measured |= {"energy_score": energy.score, "energy_distance": energy.distance}
    measured |= {"energy_ci_lower": energy.ci.lower, "energy_ci_upper": energy.ci.upper}
    return measured | dict(energy.variants)


def _finite(metrics: Mapping[str, float | None]) -> tuple[dict[str, float], tuple[str, ...]]:
    """Metrics that are finite numbers, and the names of the others; what was not measured is no metric."""
    measured = {name: value for name, value in metrics.items() if value is not None}
    kept = {name: value for name, value in measured.items() if math.isfinite(value)}
    return kept, tuple(sorted(measured.keys() - kept.keys()))


def _row(candidate: Candidate, result: SelectionResult, opened: SelectionRun, experiment_id: str) -> Row:
    energy, average, question = candidate.energy, candidate.average, opened.question
    return {
        "experiment_id": experiment_id,
        "mlflow_run_id": opened.run.run_id,
        "query_hash": question.query_hash,
        "estimator": candidate.name,
        "selected": candidate.name == result.selected,
        "energy_score": energy.score if energy else None,
        "distance_component": energy.distance if energy else None,
        "dr_loss_component": energy.loss if energy else None,
        "ate": average.value if average else None,
        "ate_se": average.std_error if average else None,
        "ci_lower": average.ci.lower if average else None,
        "ci_upper": average.ci.upper if average else None,
        "n_samples": result.n,
        "error_type": candidate.error_type,
        "error_message": candidate.error_message,
        "duration_ms": candidate.duration_ms,
        "brand": question.brand,
        "region": question.region,
    }
