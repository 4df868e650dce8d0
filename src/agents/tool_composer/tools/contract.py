"""What is a tool of the composer? Arguments with a schema in, figures computed on real rows out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

import pandas as pd
from pydantic import BaseModel, ConfigDict

from src.agents.tool_composer.state import ComposeContext, ToolOutput
from src.domain.kpis import Kpi

Frame = Literal["panel", "metrics", "predictions"]


class ToolArguments(BaseModel):
    """Base of every tool's arguments: unknown names are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @property
    def frame_kind(self) -> Frame | None:
        """The kind of rows that these arguments need; None for the tool's own."""
        return None


Arguments = TypeVar("Arguments", bound=ToolArguments)


@dataclass(frozen=True)
class ToolInputs:
    """What a tool works on.

    ``frame`` are the rows of the kind it needs that it is about, ``query`` says how they were obtained. ``whole`` are
    the rows they were narrowed from by ``kept`` (values by column): what is too small to be shown is decided on those.
    ``declared`` is what the dataset declares about causes (``questions`` by treatment, unit and time keys, graph).
    ``evidence`` is the id its figures refer to. ``kpis`` are the definitions by id.
    """

    frame: pd.DataFrame
    query: Mapping[str, Any]
    declared: Mapping[str, Any]
    context: ComposeContext
    evidence: str
    kpis: Mapping[str, Kpi]
    whole: pd.DataFrame | None = None
    kept: tuple[tuple[str, tuple[str, ...]], ...] = ()


@dataclass(frozen=True)
class ComposerTool(Generic[Arguments]):
    """A tool: its name, what it is for (one sentence for a planner), its arguments, the rows it needs, its budget.

    ``compute`` is synchronous and pure; it runs in a thread. It raises DataUnavailable without usable rows,
    EstimationError or ContractViolation for what cannot be computed. ``cost`` is about how long it takes, as a multiple
    of the quickest: what takes longest begins first.
    """

    name: str
    description: str
    arguments: type[Arguments]
    frame: Frame
    compute: Callable[[ToolInputs, Any], ToolOutput]
    timeout_s: float = 25.0
    cost: float = 1.0

    def frame_for(self, arguments: ToolArguments) -> Frame:
        """The kind of rows that a call with these arguments reads."""
        return arguments.frame_kind or self.frame
