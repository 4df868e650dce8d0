"""What do the nodes of feature_analyzer work with, and where do they find it during a run?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, cast

from src.agents.runtime import Deps
from src.agents.training_rows import SplitRows, TrainingRows
from src.domain.modelling import TrainingSplit
from src.domain.prompts import FilePrompts, PromptSource
from src.errors import DataUnavailable
from src.llm.client import LLMClient
from src.llm.configuration import load_llm_config
from src.llm.detection import open_client
from src.mlops.explanation.attribution import Attribution
from src.mlops.explanation.generation import GeneratedColumn
from src.mlops.modelling.bundle import ModelBundle
from src.mlops.opik_connector import get_opik_connector

if TYPE_CHECKING:
    import pandas as pd

    from src.agents.ml_foundation.feature_analyzer.state import AnalyzeState

PLACE = "feature_analyzer"
WORK = "feature_analyzer.work"


class Models(Protocol):
    """Where models are; ``MLflowConnector`` in production."""

    async def load_model(self, uri: str, flavor: str | None = None) -> Any:
        """The model, or Unavailable; raises ModelNotFound."""
        ...


class Analyses(Protocol):
    """Where explanations are kept; ``ShapRepository`` in production."""

    async def add(self, row: Mapping[str, Any]) -> str:
        """Store a row of ml_shap_analyses and return its id."""
        ...


@dataclass(frozen=True, slots=True)
class Services:
    """The agent's connections, the same for all its runs.

    ``llm`` is None where no model is to be asked; its calls must be traced (``narration_client`` is). A reply is
    waited for at most ``narration_seconds``.
    """

    rows: TrainingRows
    models: Models
    analyses: Analyses
    llm: LLMClient | None = None
    prompts: PromptSource = field(default_factory=FilePrompts)
    narration_seconds: float = 30.0


@dataclass(slots=True)
class Work:
    """What one run holds beside its state; ``explained`` are the explained rows in the model's columns."""

    splits: dict[TrainingSplit, SplitRows] = field(default_factory=dict)
    generated: tuple[GeneratedColumn, ...] = ()
    bundle: ModelBundle | None = None
    explained: pd.DataFrame | None = None
    attribution: Attribution | None = None
    plots: dict[str, bytes] = field(default_factory=dict)


def narration_client() -> LLMClient:
    """A client of the configured model; each call is a span by ``trace_llm_call`` of the process's connector.

    Close it with ``aclose``. Raises ConfigError.
    """
    connector = get_opik_connector()
    return open_client(load_llm_config(), prices=connector.config.prices, tracer=connector)


def services_of(deps: Deps) -> Services:
    """The services of the agent whose run this is."""
    return cast(Services, deps.workspace[PLACE])


def work_of(deps: Deps) -> Work:
    """What the nodes of this run share."""
    return cast(Work, deps.workspace[WORK])


async def rows_of(state: AnalyzeState, deps: Deps, split: TrainingSplit) -> SplitRows:
    """Rows of a split, read once per run. Raises DataUnavailable where there are none; others are not put there."""
    work, data = work_of(deps), state["request"].data
    if split not in work.splits:
        found = await services_of(deps).rows.load(data, split)
        if found is None or found.frame.empty:
            raise DataUnavailable(f"{data.dataset_id} has no {split} rows; SHAP values and selection need real ones")
        work.splits[split] = found
    return work.splits[split]
