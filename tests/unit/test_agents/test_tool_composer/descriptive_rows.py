"""Small panels and KPI values with a known past and future, and the tools run on them."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from src.agents.tool_composer.state import ComposeContext, ToolOutput
from src.agents.tool_composer.tools.contract import ToolInputs
from src.agents.tool_composer.tools.registry import tool_named
from src.domain.figures import unfounded_numbers
from src.domain.findings import Figure
from src.domain.kpis import load_kpis
from src.synthetic.panel.generation import PanelDataset, generate_panel
from src.synthetic.panel.knowledge import panel_declared

EVIDENCE = "step:composition/1"
KEYS = {"unit_key": "hcp_id", "time_key": "month", "cluster_key": "hcp_id"}
KPIS = {kpi.id: kpi for kpi in load_kpis()}
REGIONS = ("midwest", "northeast", "south", "west")
SPECIALTIES = ("Hematology", "Oncology")


def inputs_of(frame: pd.DataFrame, declared: Mapping[str, Any] = KEYS, random_state: int = 42) -> ToolInputs:
    return ToolInputs(
        frame=frame,
        query={"dataset": "small", "rows_after": len(frame)},
        declared=declared,
        context=ComposeContext(random_state=random_state),
        evidence=EVIDENCE,
        kpis=KPIS,
    )


def run(tool: str, frame: pd.DataFrame, declared: Mapping[str, Any] = KEYS, **arguments: Any) -> ToolOutput:
    chosen = tool_named(tool)
    return chosen.compute(inputs_of(frame, declared), chosen.arguments(**arguments))


def figure(output: ToolOutput, name: str) -> Figure:
    return next(one for one in output.figures if one.name == name)


def row(output: ToolOutput, **wanted: Any) -> Mapping[str, Any]:
    return next(one for one in output.rows if all(one[name] == value for name, value in wanted.items()))


def texts(output: ToolOutput) -> str:
    return "\n".join([output.summary, *(one.text for one in output.statements)])


def unfounded(output: ToolOutput) -> list[str]:
    """Numbers in the sentences that are no figure."""
    known = [value for one in output.figures for value in (one.value, one.lower, one.upper) if value is not None]
    said = [output.summary, *(one.text for one in output.statements)]
    return [f"{number}: {text}" for text in said for number in unfounded_numbers(text, known)]


def months(count: int, first: int = 2023 * 12) -> list[str]:
    return [f"{month // 12}-{month % 12 + 1:02d}-01" for month in range(first, first + count)]


def panel(units: int = 120, n_months: int = 18, seed: int = 0) -> pd.DataFrame:
    """Prescribers with a level of their own, the same in every month: nothing drifts, nothing differs by region."""
    rng = np.random.default_rng(seed)
    unit = np.repeat(np.arange(units), n_months)
    level = rng.gamma(4.0, 1.0, size=units)[unit]
    return pd.DataFrame(
        {
            "hcp_id": [f"hcp_{number:06d}" for number in unit],
            "month": np.tile(months(n_months), units),
            "region": np.array(REGIONS)[np.arange(units) % 4][unit],
            "specialty": np.array(SPECIALTIES)[(np.arange(units) // 4) % 2][unit],
            "decile": (1 + np.arange(units) % 10)[unit],
            "rep_calls": rng.poisson(2.0, size=len(unit)),
            "nrx": rng.poisson(level),
            "score": rng.normal(level, 1.0),
        }
    )


def kpi_rows(values: Mapping[str, list[float]], kpi: str = "BU6", **columns: Any) -> pd.DataFrame:
    """Monthly values of a KPI by region, of one brand; further columns as one value, or one per region."""
    parts = []
    for region, of_region in values.items():
        part = pd.DataFrame({"metric_date": months(len(of_region)), "value": of_region})
        part = part.assign(metric_name=kpi, brand="Kisqali", region=region, target=np.nan, sample_size=50)
        for name, value in columns.items():
            part[name] = value[region] if isinstance(value, Mapping) else value
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


@functools.cache
def generated() -> PanelDataset:
    return generate_panel(150, 42)


@functools.cache
def generated_declaration() -> dict[str, Any]:
    return panel_declared()
