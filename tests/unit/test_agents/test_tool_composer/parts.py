"""Small tools, rows in memory and stand-ins for what is around the composer."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import Field

from src.agents.runtime import Deps, Filter
from src.agents.tool_composer.agent import CompositionResult, ToolComposer
from src.agents.tool_composer.services import Services
from src.agents.tool_composer.state import ComposeContext, ToolOutput
from src.agents.tool_composer.tools.contract import ComposerTool, ToolArguments, ToolInputs
from src.domain.findings import Figure, Statement, StatementKind
from src.domain.kpis import load_kpis
from src.domain.vocabulary import load_vocabulary
from src.errors import DatasetNotFound
from src.llm.client import LLMClient
from src.llm.configuration import LLMSettings, load_llm_config
from src.llm.detection import client_over
from src.llm.scripted import ScriptedVendor
from src.mlops.opik_connector import OpikConnector
from src.mlops.tracing.configuration import ObservabilityConfig, load_observability_config
from src.mlops.tracing.ids import uuid7
from src.mlops.tracing.records import MemorySink
from src.resilience.retry import RetryPolicy
from src.scripted_servers.replies import Prompt, Reply
from src.storage.compositions import Composition, StoredPlan

TODAY = date(2026, 11, 22)
AT_ONCE = RetryPolicy(attempts=3, first_delay_s=0.0, max_delay_s=0.0)
TWO_FACETS = "What is the effect of rep calls on NRx of Kisqali and where are we behind target?"
ONE_FACET = "What is the effect of rep calls on NRx of Kisqali?"


@functools.cache
def observability() -> ObservabilityConfig:
    """The shipped configuration, read once."""
    return load_observability_config(environ={}).changed({"fallback": {"fsync": False}})


def panel() -> pd.DataFrame:
    """Forty prescribers over six months of 2025, two brands and two regions."""
    rng = np.random.default_rng(3)
    units, months = np.arange(40), pd.date_range("2025-01-01", periods=6, freq="MS")
    frame = pd.DataFrame(
        {
            "hcp_id": np.repeat([f"hcp_{n:06d}" for n in units], len(months)),
            "month": np.tile(months, len(units)),
            "brand": np.repeat(np.where(units % 2 == 0, "Kisqali", "Fabhalta"), len(months)),
            "region": np.repeat(np.where(units < 20, "south", "west"), len(months)),
            "specialty": np.repeat("Oncology", len(units) * len(months)),
        }
    )
    frame["rep_calls"] = rng.poisson(2.0, len(frame))
    frame["samples"] = rng.poisson(4.0, len(frame))
    frame["nrx"] = 2 * frame["rep_calls"] + rng.poisson(3.0, len(frame))
    return frame


def metrics() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "metric_date": pd.date_range("2025-01-01", periods=4, freq="MS"),
            "metric_name": "BU6",
            "brand": ["Kisqali", "Kisqali", "Fabhalta", None],
            "region": "south",
            "value": [80.0, 90.0, 70.0, 150.0],
            "target": 100.0,
        }
    )


@dataclasses.dataclass(frozen=True)
class Rows:
    frame: pd.DataFrame

    @property
    def query(self) -> dict[str, Any]:
        return {"rows_after": len(self.frame)}


class Datasets:
    """Frames by id; ``failures`` are raised first, one per load."""

    def __init__(self, failures: Sequence[Exception] = (), **frames: pd.DataFrame) -> None:
        named = {name.replace("__", ":"): frame for name, frame in frames.items()}
        self.frames = named or {"hcp_month_panel": panel(), "table:business_metrics": metrics()}
        self.failures = list(failures)
        self.loaded: list[str] = []

    async def load(
        self, dataset_id: str, *, columns: Sequence[str] | None = None, filters: Sequence[Filter] = ()
    ) -> Rows:
        self.loaded.append(dataset_id)
        if self.failures:
            raise self.failures.pop(0)
        if dataset_id not in self.frames:
            raise DatasetNotFound(f"no dataset '{dataset_id}'")
        frame = self.frames[dataset_id]
        for one in filters:
            frame = frame[frame[one.column].astype(str) == one.value]
        return Rows(frame)


class Plans:
    """Kept plans in memory, judged as the repository judges them."""

    def __init__(self) -> None:
        self.kept: dict[str, tuple[Mapping[str, Any], list[bool]]] = {}

    async def find(self, query_sha256: str) -> StoredPlan | None:
        plan, uses = self.kept.get(query_sha256, (None, []))
        won = sum(uses)
        if plan is None or won < len(uses) - won:
            return None
        return StoredPlan("00000000-0000-0000-0000-000000000001", plan, won, len(uses) - won)

    async def keep(
        self, query_sha256: str, plan: Mapping[str, Any], *, succeeded: bool, composition_id: str | None = None
    ) -> str:
        document = json.loads(json.dumps(plan))
        self.kept.setdefault(query_sha256, (document, []))[1].append(succeeded)
        return "00000000-0000-0000-0000-000000000001"


class Compositions:
    def __init__(self, failure: Exception | None = None) -> None:
        self.rows: list[Composition] = []
        self.failure = failure

    async def add(self, composition: Composition) -> None:
        if self.failure is not None:
            raise self.failure
        self.rows.append(composition)


class Knowledge:
    def __init__(self, declared: Mapping[str, Any] | None = None) -> None:
        self.known = declared or {"unit_key": "hcp_id", "time_key": "month", "questions": {"rep_calls": {}}}

    async def declared(self, dataset: str) -> Mapping[str, Any]:
        return self.known


class EffectArguments(ToolArguments):
    treatment: str = Field(description="what acts", examples=["rep_calls"])
    outcome: str = Field(description="what is acted on", examples=["nrx"])
    lag: int | None = None


class GapArguments(ToolArguments):
    level: str = "total"
    period: str | None = None


class RoiArguments(ToolArguments):
    effect: float
    effect_lower: float | None = None
    effect_upper: float | None = None


class ChangeArguments(EffectArguments):
    change: float


class ByArguments(EffectArguments):
    by: tuple[str, ...]


def told(inputs: ToolInputs, name: str, value: float, **more: Any) -> ToolOutput:
    """One figure with an interval of one half on each side, and a caveat."""
    lower, upper = value - 0.5, value + 0.5
    figure = Figure(name, value, "scripts", inputs.evidence, lower, upper)
    caveat = Statement(StatementKind.CAVEAT, f"{name} rests on few rows", (inputs.evidence,))
    summary = f"The {name} is {value:.2f} scripts (95 % interval {lower:.2f} to {upper:.2f})."
    output = ToolOutput(
        summary, (figure,), (caveat,), ({"name": name, "value": value},), len(inputs.frame), inputs.query
    )
    return dataclasses.replace(output, **more)


def slope(inputs: ToolInputs, arguments: EffectArguments) -> ToolOutput:
    x, y = inputs.frame[arguments.treatment], inputs.frame[arguments.outcome]
    return told(inputs, "effect", float(np.polyfit(x, y, 1)[0]))


def gap(inputs: ToolInputs, arguments: GapArguments) -> ToolOutput:
    return told(inputs, "gap", float((inputs.frame["target"] - inputs.frame["value"]).mean()))


def roi(inputs: ToolInputs, arguments: RoiArguments) -> ToolOutput:
    return told(inputs, "roi", arguments.effect * 3)


def tool(
    name: str, compute: Callable[..., ToolOutput], arguments: type[ToolArguments] = EffectArguments, **more: Any
) -> ComposerTool[Any]:
    return ComposerTool(name, f"computes {name}", arguments, more.pop("frame", "panel"), compute, **more)


def tools(**others: ComposerTool[Any]) -> dict[str, ComposerTool[Any]]:
    """The composer's tools in small; ``others`` replace them."""
    known = {
        "causal_effect_estimator": tool("causal_effect_estimator", slope),
        "refutation_runner": tool("refutation_runner", slope),
        "sensitivity_analyzer": tool("sensitivity_analyzer", slope),
        "cate_analyzer": tool("cate_analyzer", slope, ByArguments),
        "gap_calculator": tool("gap_calculator", gap, GapArguments, frame="metrics"),
        "roi_estimator": tool("roi_estimator", roi, RoiArguments),
        "counterfactual_simulator": tool("counterfactual_simulator", slope, ChangeArguments),
    }
    return known | others


@dataclasses.dataclass
class Ran:
    """A result with everything the run left behind."""

    result: CompositionResult
    sink: MemorySink
    datasets: Datasets
    plans: Plans
    compositions: Compositions
    prompts: list[Prompt]

    @property
    def route(self) -> list[str]:
        """Phases in the order they ended."""
        phases = ("decompose", "plan", "execute", "synthesize")
        return [span["operation_type"] for span in self.sink.spans if span["operation_type"] in phases]

    def tool_spans(self) -> list[str]:
        return [one["operation_type"] for one in self.sink.spans if one["attributes"].get("span_type") == "tool"]


async def compose(
    query: str = TWO_FACETS,
    context: ComposeContext | None = None,
    *,
    datasets: Datasets | None = None,
    says: Sequence[Any] | None = None,
    trace_id: str | None = None,
    plans: Any = None,
    compositions: Any = None,
    sla_seconds: float = 180.0,
    **services: Any,
) -> Ran:
    """One run; ``says`` are the replies of its language model, objects as JSON (none: no model)."""
    sink = MemorySink()
    connector = OpikConnector(
        observability(), sinks=[sink], spool=Path(tempfile.mkdtemp(dir=os.environ["E2I_VAR_DIR"]))
    )
    datasets, plans = datasets or Datasets(), plans if plans is not None else Plans()
    compositions = compositions if compositions is not None else Compositions()
    prompts: list[Prompt] = []
    llm = services.pop("llm", None) or (scripted(says, prompts, connector) if says is not None else None)
    settings = {"tools": tools(), "retry": AT_ONCE, "knowledge": Knowledge()} | services
    made = Services(
        load_vocabulary(),
        {kpi.id: kpi for kpi in load_kpis()},
        plans,
        llm=llm,
        compositions=compositions,
        today=lambda: TODAY,
        **settings,
    )
    deps = Deps(datasets, connector, "run-1", trace_id or str(uuid7()))
    try:
        result = await ToolComposer(made, sla_seconds=sla_seconds).compose(query, context or ComposeContext(), deps)
    finally:
        await connector.flush()
        await connector.shutdown()
    return Ran(result, sink, datasets, plans, compositions, prompts)


@functools.cache
def llm_config() -> LLMSettings:
    """The shipped configuration, read once."""
    return load_llm_config(environ={})


def scripted(says: Sequence[Any], prompts: list[Prompt], tracer: Any) -> LLMClient:
    """A model that says one thing after another."""
    left = iter(says)

    def answer(prompt: Prompt) -> Reply:
        prompts.append(prompt)
        said = next(left)
        return Reply.json(said) if isinstance(said, dict) else Reply(str(said))

    config = llm_config()
    return client_over(
        ScriptedVendor(answer),
        config,
        models=dict.fromkeys(config.anthropic.models.by_purpose(), "scripted"),
        prices=tracer.config.prices,
        tracer=tracer,
    )


PARTS = {
    "sub_questions": [
        {"text": "effect of rep calls on NRx of Kisqali", "intent": "causal_effect", "depends_on": []},
        {"text": "where are we behind target", "intent": "performance_gap", "depends_on": []},
    ]
}


def planned(ordinal: int, name: str, arguments: Any, part: int = 0, needs: Sequence[int] = ()) -> dict[str, Any]:
    """A step as the model says it."""
    return {
        "ordinal": ordinal,
        "tool": name,
        "arguments_json": arguments if isinstance(arguments, str) else json.dumps(arguments),
        "sub_question": part,
        "depends_on": list(needs),
    }


EFFECT = {"treatment": "rep_calls", "outcome": "nrx"}
PLAN = {"steps": [planned(0, "causal_effect_estimator", EFFECT), planned(1, "gap_calculator", {}, 1)]}
WORDS = {"headline": "Calls and scripts were seen together.", "paragraphs": ["See the figures below."]}
