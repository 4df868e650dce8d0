"""A problem with rows, a store made once and copied, and everything around one run of model_selector."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from src.agents.ml_foundation.model_selector.agent import ModelSelectorAgent
from src.agents.ml_foundation.model_selector.result import (
    AlgorithmHistory,
    Baseline,
    Benchmark,
    Rationale,
    SelectRequest,
    SelectResult,
)
from src.agents.ml_foundation.model_selector.services import Services
from src.agents.ml_foundation.model_selector.state import SelectState
from src.agents.quality_gate import QCGate
from src.agents.runtime import Deps
from src.agents.training_rows import SplitRows
from src.domain.modelling import Candidate, ProblemType, TrainingData
from src.mlops.tracing.ids import uuid7
from src.mlops.tracing.records import MemorySink
from tests.traces import memory_connector

OPEN = QCGate(True, 0.97)
SHUT = QCGate(False, 0.5, ("schema: the validation failed",))
DATA = TrainingData("table:triggers", "accepted", ("confidence", "lead_time", "priority"), "split-1")


def problem(n: int = 240) -> pd.DataFrame:
    """Rows whose target depends on the features; ``accepted`` says yes or no, ``amount`` is a number."""
    rng = np.random.default_rng(5)
    confidence, lead = rng.uniform(size=n), rng.integers(1, 60, n).astype(float)
    signal = 4 * confidence - 0.03 * lead + rng.normal(scale=0.7, size=n)
    return pd.DataFrame(
        {
            "confidence": confidence,
            "lead_time": lead,
            "priority": rng.choice(["high", "low"], n),
            "accepted": np.where(signal > np.median(signal), "yes", "no"),
            "grade": np.digitize(signal, np.quantile(signal, [0.33, 0.66])),
            "amount": signal,
            "noise": rng.choice(["yes", "no"], n),
        }
    )


class FrameRows:
    """Rows of the training split; asking for another split is an error of the test."""

    def __init__(self, frame: pd.DataFrame | None = None, units: pd.Series[Any] | None = None) -> None:
        self.frame = problem() if frame is None else frame
        self.units = units
        self.asked: list[str] = []

    async def load(self, data: TrainingData, split: Any) -> SplitRows | None:
        self.asked.append(split)
        if data.dataset_id != DATA.dataset_id:
            return None
        return SplitRows(split, self.frame, self.units, "dataset")


@dataclass(frozen=True)
class Counts:
    completed: int
    failed: int


@dataclass(frozen=True)
class Recorded:
    mlflow_run_id: str | None


class Trainings:
    """What the database would say of earlier trainings."""

    def __init__(self, counts: Mapping[str, Counts], *run_ids: str) -> None:
        self.counts = dict(counts)
        self.run_ids = run_ids

    async def history(self, algorithm: str | None = None) -> dict[str, Counts]:
        return self.counts

    async def recent(self, *, experiment_id: str | None = None, limit: int = 50) -> list[Recorded]:
        return [Recorded(run_id) for run_id in self.run_ids]


def request(**changes: Any) -> SelectRequest:
    """A binary problem with an open gate, no data and nothing recorded, unless asked otherwise."""
    asked = SelectRequest("adoption", ProblemType.BINARY, OPEN, skip_benchmarks=True, skip_mlflow=True)
    return dataclasses.replace(asked, **changes)


def state(**changes: Any) -> SelectState:
    """What the recording node finds: a choice with everything around it."""
    primary = Candidate("xgboost", "boosting", "xgboost.XGBClassifier", 0.82, {"max_depth": 4, "learning_rate": 0.05})
    found: SelectState = {
        "request": request(),
        "gate": OPEN,
        "primary": primary,
        "alternatives": (Candidate("ridge", "linear", "sklearn.linear_model.LogisticRegression", 0.61),),
        "removed": {"lasso": "excluded by the request"},
        "history": {"xgboost": AlgorithmHistory(4, 0.75), "ridge": AlgorithmHistory(0, None)},
        "benchmark": (
            Benchmark("xgboost", "roc_auc", 0.81, 0.02, 5, 0.4),
            Benchmark("ridge", "roc_auc", None, None, 5, None, "no time was left for it"),
        ),
        "baseline": Baseline("roc_auc", 0.5, "better than chance"),
        "rationale": Rationale("xgboost scores 0.82", ("it was measured",), {"latency_budget_ms": "1.2 of 5"}),
    }
    found.update(changes)  # type: ignore[typeddict-item]
    return found


@dataclass
class World:
    """Everything around one run."""

    changes: dict[str, Any] = field(default_factory=dict)
    rows: FrameRows = field(default_factory=FrameRows)
    simple: bool = False
    timeouts: dict[str, float] = field(default_factory=dict)
    sink: MemorySink = field(init=False)

    async def run(self, asked: Any = None, **changes: Any) -> SelectResult:
        connector, self.sink = memory_connector()
        deps = Deps(NoDatasets(), connector, str(uuid7()), str(uuid7()), node_timeouts=self.timeouts)
        services = dataclasses.replace(Services((self.rows,)), **self.changes)
        agent = ModelSelectorAgent(services, simple=self.simple, sla_seconds=600)
        try:
            return await agent.run(request(**changes) if asked is None else asked, deps)
        finally:
            await connector.flush()

    def route(self) -> list[str]:
        return [span["operation_type"] for span in self.sink.spans if span["operation_type"] != "run"]


class NoDatasets:
    """The agent reads rows only through its sources."""

    async def load(self, dataset_id: str, **_: Any) -> Any:
        raise AssertionError(dataset_id)


def folder_of(files: Path) -> list[str]:
    """Names of the files in a folder."""
    return sorted(path.name for path in files.iterdir())
