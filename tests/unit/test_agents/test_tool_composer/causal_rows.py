"""Rows with planted effects, and the tools run on them."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from src.agents.tool_composer.state import ComposeContext, ToolOutput
from src.agents.tool_composer.tools.contract import ToolInputs
from src.agents.tool_composer.tools.registry import tool_named
from src.domain.findings import Figure
from src.synthetic.panel.generation import PanelDataset, generate_panel
from src.synthetic.panel.knowledge import panel_declared

EVIDENCE = "step:composition/1"
QUERY = {"dataset": "planted", "rows_after": 1}
REGIONS = ("east", "north", "south", "west")
MONTHS = 16
KEYS = {"unit_key": "prescriber_id", "time_key": "month", "cluster_key": "prescriber_id"}
DECLARED: dict[str, Any] = {
    **KEYS,
    "questions": {
        "visits": {
            "treatment": "visits",
            "outcome": "scripts",
            "post_treatment": ["refills"],
            "graph": {
                "edges": [["traits", "visits"], ["traits", "scripts"], ["visits", "scripts"]],
                "latent": ["traits"],
                "time_invariant": ["traits"],
            },
        }
    },
}


def planted(effect: float | Mapping[str, float] = 0.5, *, units: int = 80, seed: int = 0) -> pd.DataFrame:
    """A prescriber-month panel: ``effect`` scripts per visit, in all regions or by region; prescribers differ."""
    rng = np.random.default_rng(seed)
    unit, month = np.repeat(np.arange(units), MONTHS), np.tile(np.arange(MONTHS), units)
    trait = rng.normal(size=units)[unit]
    region = np.array(REGIONS)[np.arange(units) % len(REGIONS)][unit]
    visits = rng.poisson(np.exp(0.6 + 0.3 * trait)).astype(float)
    slope = np.array([effect[name] for name in region]) if isinstance(effect, Mapping) else np.full(len(unit), effect)
    scripts = 12 + 2 * trait + 0.1 * month + slope * visits + rng.normal(size=len(unit))
    return pd.DataFrame(
        {
            "prescriber_id": [f"person_{number:03d}" for number in unit],
            "month": [f"2024-{1 + m:02d}" if m < 12 else f"2025-{m - 11:02d}" for m in month],
            "region": region,
            "territory_id": [f"T{number % 16:02d}" for number in unit],
            "visits": visits,
            "scripts": scripts,
            "refills": scripts + rng.normal(size=len(unit)),
            "weather": rng.normal(size=len(unit)),
        }
    )


@functools.cache
def market() -> PanelDataset:
    """The synthetic market with its truth: 210 HCPs over 36 months."""
    return generate_panel(210, 5)


def run(tool: str, frame: pd.DataFrame, declared: Mapping[str, Any] | None = None, **arguments: Any) -> ToolOutput:
    """The tool of that name on ``frame``."""
    found = tool_named(tool)
    inputs = ToolInputs(frame, QUERY, DECLARED if declared is None else declared, ComposeContext(), EVIDENCE, {})
    return found.compute(inputs, found.arguments(**arguments))


def run_on_market(tool: str, brand: str | None = None, **arguments: Any) -> ToolOutput:
    """The tool of that name on the synthetic market, or on the rows of one brand."""
    panel = market().panel
    assert panel is not None
    return run(tool, panel if brand is None else panel[panel["brand"] == brand], panel_declared(), **arguments)


def figure(output: ToolOutput, name: str) -> Figure:
    """The figure of that name; KeyError without it."""
    return {one.name: one for one in output.figures}[name]


def value(output: ToolOutput, name: str) -> float:
    """The value of the figure of that name."""
    return figure(output, name).value


def covers(one: Figure, truth: float) -> bool:
    """Whether the truth lies in the interval of a figure."""
    assert one.lower is not None
    assert one.upper is not None
    return one.lower <= truth <= one.upper


def texts(output: ToolOutput) -> str:
    """All its sentences."""
    return "\n".join([output.summary, *(one.text for one in output.statements)])
