"""Rows to train on, and everything around one run of model_trainer: a source, a store and tables that can fail."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from src.agents.ml_foundation.model_trainer.agent import ModelTrainerAgent
from src.agents.ml_foundation.model_trainer.result import TrainRequest, TrainResult
from src.agents.ml_foundation.model_trainer.services import Records, Services
from src.agents.quality_gate import LAYERS, LayerStatus, QCGate
from src.agents.runtime import Deps
from src.agents.training_rows import SplitRows
from src.domain.modelling import Candidate, ProblemType, TrainingData
from src.errors import ContractViolation
from src.mlops.mlflow_connector import MLflowConnector
from src.mlops.optuna.configuration import OptunaConfig
from src.mlops.optuna_optimizer import OptunaOptimizer
from src.mlops.tracing.ids import uuid7
from src.mlops.tracing.records import MemorySink
from tests.traces import memory_connector

FEATURES = ("score", "lead", "channel")
OPEN = QCGate(True, 0.95, layers=dict.fromkeys(LAYERS, LayerStatus.PASSED))
SHUT = QCGate(False, 0.4, ("leakage: 'outcome' gives the target away",), layers={"leakage": LayerStatus.FAILED})
SPACE: Mapping[str, Mapping[str, Any]] = {"C": {"type": "float", "low": 0.01, "high": 10.0, "log": True}}
LOGISTIC = Candidate(
    "logistic_regression", "linear", "sklearn.linear_model.LogisticRegression", 0.8, {"max_iter": 500}, SPACE
)
BOOSTED = Candidate(
    "lightgbm",
    "boosting",
    "lightgbm.LGBMClassifier",
    0.9,
    {"n_estimators": 20, "num_leaves": 7, "min_child_samples": 5},
    {"learning_rate": {"type": "float", "low": 0.02, "high": 0.3, "log": True}},
)


def journeys(n: int = 360, seed: int = 5, *, share: float = 0.4) -> pd.DataFrame:
    """Rows whose ``responded`` follows ``score`` and ``channel``; ``split`` says where each belongs."""
    rng = np.random.default_rng(seed)
    score = rng.normal(size=n)
    channel = rng.choice(["email", "visit", "call"], n)
    line = 1.8 * score + np.where(channel == "visit", 1.0, 0.0) + rng.logistic(size=n)
    return pd.DataFrame(
        {
            "score": np.where(rng.uniform(size=n) < 0.05, np.nan, score),
            "lead": rng.integers(1, 60, n).astype(float),
            "channel": channel,
            "brand": rng.choice(["Kisqali", "Fabhalta"], n),
            "region": rng.choice(["northeast", "south"], n),
            "responded": line > np.quantile(line, 1 - share),
            "cost": (100 + 20 * score + rng.normal(0, 5, n)).round(4),
            "stage": np.select([line < np.quantile(line, 0.3), line < np.quantile(line, 0.7)], ["a", "b"], "c"),
            "patient": [f"pat_{i // 2:04d}" for i in range(n)],
            # Blocks of two, so that a patient's rows are in one split.
            "split": np.resize(np.repeat(["train", "train", "train", "validation", "test", "holdout"], 2), n),
        }
    )


class FrameRows:
    """A source that keeps what it was asked for; ``by_unit`` says which patient a row is of."""

    def __init__(self, frame: pd.DataFrame, *, by_unit: bool = False, has: str = "table:journeys") -> None:
        self.frame, self.by_unit, self.has = frame, by_unit, has
        self.asked: list[str] = []

    async def load(self, data: TrainingData, split: str) -> SplitRows | None:
        if data.dataset_id != self.has:
            return None
        self.asked.append(split)
        rows = self.frame[self.frame["split"] == split]
        units = rows["patient"] if self.by_unit else None
        return SplitRows(split, rows.drop(columns=["split", "patient"]), units, "dataset")  # type: ignore[arg-type]


@dataclass(frozen=True)
class Experiment:
    """A row of an experiment."""

    id: str


class Experiments:
    """Experiments by name, each of one target."""

    def __init__(self, **targets: str) -> None:
        self.kept: dict[str, dict[str, Any]] = {name: {"prediction_target": target} for name, target in targets.items()}

    async def ensure(self, name: str, **details: Any) -> str:
        target = details["prediction_target"]
        if self.kept.setdefault(name, details)["prediction_target"] != target:
            raise ContractViolation(f"experiment '{name}' predicts something else than '{target}'")
        return f"experiment of {name}"

    async def get(self, name: str) -> Experiment | None:
        return Experiment(f"experiment of {name}") if name in self.kept else None


class TrainingRuns:
    """Rows by id; ``failure`` is raised instead of keeping one."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.kept: dict[str, dict[str, Any]] = {}
        self.linked: dict[str, str] = {}
        self.failure = failure

    async def begin(self, row: Mapping[str, Any]) -> None:
        assert row["id"] not in self.kept
        self.kept[row["id"]] = dict(row)

    async def running(self, experiment_id: str) -> list[tuple[str, str]]:
        found = [row for row in self.kept.values() if row["experiment_id"] == experiment_id]
        return [(row["id"], row["mlflow_run_id"]) for row in found if row["status"] == "running"]

    async def end_abandoned(self, training_run_id: str, status: str, at: datetime, *error: str | None) -> None:
        said = dict(zip(("error_type", "error_message"), error, strict=True))
        self.kept[training_run_id] |= {"status": status, "completed_at": at, **said}

    async def add(self, row: Mapping[str, Any]) -> str:
        if self.failure is not None:
            raise self.failure
        self.kept[row["id"]] = dict(row)
        return str(row["id"])

    async def link_mlflow_run(self, training_run_id: str, mlflow_run_id: str) -> None:
        self.linked[training_run_id] = mlflow_run_id

    @property
    def only(self) -> dict[str, Any]:
        (row,) = self.kept.values()
        return row


class Studies:
    """Studies with their trials by name."""

    def __init__(self) -> None:
        self.kept: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {}

    async def save_study(self, study: Mapping[str, Any], trials: Sequence[Mapping[str, Any]]) -> str:
        self.kept[study["study_name"]] = dict(study), [dict(trial) for trial in trials]
        return "study"


def request(**changes: Any) -> TrainRequest:
    """Asks for a logistic regression of ``responded``, tuned in three trials; fields of ``data`` by their own names."""
    of_data = {field.name for field in dataclasses.fields(TrainingData)}
    data = TrainingData("table:journeys", "responded", FEATURES, "split-1", segments=("brand", "region"))
    data = dataclasses.replace(data, **{name: value for name, value in changes.items() if name in of_data})
    asked = TrainRequest("exp", LOGISTIC, OPEN, ProblemType.BINARY, data, hpo_trials=3)
    return dataclasses.replace(asked, **{name: value for name, value in changes.items() if name not in of_data})


@dataclass
class World:
    """Everything around one run; ``changes`` are put over the services."""

    rows: FrameRows
    connector: MLflowConnector | None = None
    records: Records | None = None
    changes: dict[str, Any] = field(default_factory=dict)
    budgets: dict[str, float] = field(default_factory=dict)
    deps: Deps = field(init=False)
    sink: MemorySink = field(init=False)
    told: list[str] = field(default_factory=list)
    hooks: list[Callable[[str], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tables = (Experiments(), TrainingRuns(), Studies())
        tracer, self.sink = memory_connector()
        self.deps = Deps(
            None,  # type: ignore[arg-type] # rows come from the services
            tracer,
            str(uuid7()),
            str(uuid7()),
            node_timeouts=self.budgets,
            on_progress=self._progress,
        )

    def _progress(self, told: str) -> None:
        self.told.append(told)
        for hook in self.hooks:
            hook(told)

    def optimizer(self, experiment_id: str) -> OptunaOptimizer:
        """Studies in memory; trials become runs where there is a connector."""
        return OptunaOptimizer(
            experiment_id, "memory", self.connector, config=OptunaConfig(n_startup_trials=2, random_state=7)
        )

    @property
    def services(self) -> Services:
        services = Services((self.rows,), self.optimizer, self.connector, records=self.records or Records(*self.tables))
        return dataclasses.replace(services, **self.changes)

    async def run(self, asked: Any = None, **changes: Any) -> TrainResult:
        """Run the agent on ``request(**changes)``."""
        agent = ModelTrainerAgent(self.services, sla_seconds=600)
        try:
            return await agent.run(asked if asked is not None else request(**changes), self.deps)
        finally:
            await self.deps.tracer.flush()

    @property
    def row(self) -> dict[str, Any]:
        """The one row of ml_training_runs."""
        return self.tables[1].only

    def route(self) -> list[str]:
        """Spans of the agent that have ended, in order."""
        return [span["operation_type"] for span in self.sink.spans]


def world(frame: pd.DataFrame | None = None, *, by_unit: bool = False, **parts: Any) -> World:
    """A world whose source holds ``frame``."""
    own = {name: parts.pop(name) for name in ("connector", "records", "budgets") if name in parts}
    return World(FrameRows(journeys() if frame is None else frame, by_unit=by_unit), **own, changes=parts)
