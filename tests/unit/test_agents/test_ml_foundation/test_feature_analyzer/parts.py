"""Accounts with an honest outcome, real models of them, and stand-ins for the services around the agent."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from src.agents.ml_foundation.feature_analyzer.agent import FeatureAnalyzerAgent
from src.agents.ml_foundation.feature_analyzer.graph import Part
from src.agents.ml_foundation.feature_analyzer.result import AnalyzeRequest, AnalyzeResult
from src.agents.ml_foundation.feature_analyzer.services import Services
from src.agents.runtime import Deps
from src.agents.training_rows import SplitRows
from src.domain.modelling import ProblemType, TrainingData, TrainingSplit
from src.llm.client import LLMClient
from src.llm.configuration import load_llm_config
from src.llm.detection import client_over
from src.llm.scripted import ScriptedVendor
from src.mlops.modelling.bundle import ModelBundle
from src.mlops.modelling.fitting import fit_model
from src.mlops.modelling.targets import fit_target
from src.mlops.modelling.types import Labelled
from src.mlops.preparation.transforms import fit_transforms
from src.mlops.tracing.ids import uuid7
from src.mlops.tracing.records import MemorySink
from src.resilience.outcomes import Unavailable
from src.scripted_servers.replies import Prompt, Reply, Script
from tests.traces import memory_connector

URI = "models:/adoption/3"
FEATURES = ("calls", "reach", "samples", "region")
N = {"train": 200, "validation": 60, "test": 30}
HOLDS = {
    "summary": "The predictions rest most on `calls`.",
    "key_insights": ["`calls` goes with higher predictions."],
    "cautions": ["Association is not a cause."],
}
INVENTED = HOLDS | {"summary": "`calls` explains 87.5 % of adoption."}


@functools.cache
def accounts(problem: ProblemType = ProblemType.BINARY) -> pd.DataFrame:
    """``calls`` counts most, ``reach`` only together with ``samples``, ``region`` a little; some cells are empty."""
    n = sum(N.values())
    rng = np.random.default_rng(11)
    frame = pd.DataFrame(
        {
            "calls": rng.normal(5, 2, n),
            "reach": rng.normal(size=n),
            "samples": rng.normal(size=n),
            "region": rng.choice(["north", "south", "west"], n),
        }
    )
    score = (frame["calls"] - 5) + 1.5 * frame["reach"] * frame["samples"] + 0.7 * (frame["region"] == "south")
    frame["adopted"] = {
        ProblemType.BINARY: (score > 0).astype(int),
        ProblemType.MULTICLASS: np.digitize(score, [-1.0, 1.0]),
        ProblemType.REGRESSION: 100 * score,
    }[problem]
    frame.loc[::17, "reach"] = np.nan
    return frame


def parts_of(frame: pd.DataFrame) -> dict[TrainingSplit, pd.DataFrame]:
    ends = np.cumsum(list(N.values()))
    pieces = np.split(np.arange(len(frame)), ends[:-1])
    return {name: frame.iloc[piece] for name, piece in zip(N, pieces, strict=True)}  # type: ignore[misc]


@functools.cache
def bundle(algorithm: str = "xgboost", problem: ProblemType = ProblemType.BINARY) -> ModelBundle:
    frame = parts_of(accounts(problem))["train"]
    transforms = fit_transforms(frame, pd.Series("train", index=frame.index), FEATURES)
    coding = fit_target(frame["adopted"], problem, name="adopted")
    few = {} if algorithm in ("logistic_regression", "ridge", "lasso") else {"n_estimators": 15}
    model = fit_model(algorithm, problem, few, Labelled(transforms.apply(frame), coding.encode(frame["adopted"])))
    return ModelBundle(transforms, model, coding, "adopted")


class Rows:
    """Splits of a frame; those that are asked for are kept."""

    def __init__(self, frame: pd.DataFrame, without: tuple[str, ...] = ()) -> None:
        self.splits = {name: part for name, part in parts_of(frame).items() if name not in without}
        self.asked: list[str] = []

    async def load(self, data: TrainingData, split: TrainingSplit) -> SplitRows | None:
        self.asked.append(split)
        if split not in self.splits:
            return None
        return SplitRows(split, self.splits[split][[*data.features, data.target]], None, "dataset")


class Models:
    """Models by address; anything else is what loading it gives, an exception is raised."""

    def __init__(self, **models: Any) -> None:
        self.models = {URI: bundle()} | models

    async def load_model(self, uri: str, flavor: str | None = None) -> Any:
        found = self.models[uri]
        if isinstance(found, Exception):
            raise found
        return found


class Analyses:
    """Keeps rows, or fails."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.rows: list[dict[str, Any]] = []
        self.failure = failure

    async def add(self, row: Mapping[str, Any]) -> str:
        if self.failure is not None:
            raise self.failure
        self.rows.append(json.loads(json.dumps(dict(row), allow_nan=False)))
        return f"analysis-{len(self.rows)}"


class Away:
    """A model that cannot be reached, or fails, or never answers."""

    provider = "anthropic"

    def __init__(self, outcome: Any) -> None:
        self.outcome = outcome

    async def complete(self, messages: Any, **_: Any) -> Any:
        return await self.outcome() if callable(self.outcome) else self.outcome

    async def aclose(self) -> None:
        pass


@dataclasses.dataclass
class Ran:
    """A result with everything the run left behind."""

    result: AnalyzeResult
    sink: MemorySink
    prompts: list[Prompt]
    analyses: Analyses
    rows: Rows
    progress: list[str]

    def spans(self, operation: str) -> list[dict[str, Any]]:
        return [span for span in self.sink.spans if span["operation_type"] == operation]


def request(**changes: Any) -> AnalyzeRequest:
    """Asks about ``accounts``; fields of the data are given by their own names."""
    of_data = {field.name for field in dataclasses.fields(TrainingData)}
    data = dataclasses.replace(
        TrainingData("accounts", "adopted", FEATURES, "split-1"),
        **{name: value for name, value in changes.items() if name in of_data},
    )
    others = {name: value for name, value in changes.items() if name not in of_data}
    return dataclasses.replace(AnalyzeRequest("exp-1", data, ProblemType.BINARY, model_uri=URI), **others)


async def analyze(
    asked: AnalyzeRequest | Mapping[str, Any] | None = None,
    *,
    says: Script | Mapping[str, Any] | None = None,
    llm: Any = None,
    models: Models | None = None,
    analyses: Analyses | None = None,
    rows: Rows | None = None,
    part: Part = "all",
    sla_seconds: float | None = None,
    **options: Any,
) -> Ran:
    """One run of the agent; ``says`` is the script of its language model (none: no model), or one JSON reply."""
    connector, sink = memory_connector()
    asked = request() if asked is None else asked
    problem = asked.problem_type if isinstance(asked, AnalyzeRequest) else ProblemType(asked["problem_type"])
    rows, analyses, progress = rows or Rows(accounts(problem)), analyses or Analyses(), []
    prompts: list[Prompt] = []
    if says is not None:
        llm = _client(says, prompts, connector)
    services = Services(rows, models or Models(), analyses, llm, **options)
    deps = Deps(None, connector, "run-1", str(uuid7()), on_progress=progress.append)  # type: ignore[arg-type]
    try:
        result = await FeatureAnalyzerAgent(services, sla_seconds=sla_seconds).run(asked, deps, part=part)
    finally:
        await connector.flush()
        await connector.shutdown()
    return Ran(result, sink, prompts, analyses, rows, progress)


def _client(says: Any, prompts: list[Prompt], tracer: Any) -> LLMClient:
    replies = [Reply.json(says)] * 4 if isinstance(says, Mapping) else list(says)
    left = iter(replies)

    def answer(prompt: Prompt) -> Reply:
        prompts.append(prompt)
        return next(left)

    config = load_llm_config(environ={})
    return client_over(
        ScriptedVendor(answer),
        config,
        models=dict.fromkeys(config.anthropic.models.by_purpose(), "scripted"),
        prices=tracer.config.prices,
        tracer=tracer,
    )


UNAVAILABLE = Unavailable("mlflow", "the store is away")
