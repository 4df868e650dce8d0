"""Rows in memory in place of the catalogue, and small data with known effects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from src.agents.causal_impact.state import ImpactRequest
from src.agents.runtime import Deps, Filter
from src.causal_engine.spec import CausalSpec
from src.errors import DatasetNotFound
from src.mlops.tracing.ids import uuid7
from src.mlops.tracing.records import MemorySink
from tests.traces import memory_connector


@dataclass(frozen=True)
class Rows:
    frame: pd.DataFrame

    @property
    def query(self) -> dict[str, Any]:
        return {"rows_before": len(self.frame), "rows_after": len(self.frame)}


class FrameDatasets:
    def __init__(self, **frames: pd.DataFrame) -> None:
        self.frames = frames
        self.loads = 0

    async def load(
        self, dataset_id: str, *, columns: Sequence[str] | None = None, filters: Sequence[Filter] = ()
    ) -> Rows:
        if dataset_id not in self.frames:
            raise DatasetNotFound(f"no dataset '{dataset_id}'")
        self.loads += 1
        return Rows(self.frames[dataset_id])


def deps_for(datasets: FrameDatasets, *, run_id: str | None = None) -> tuple[Deps, MemorySink]:
    connector, sink = memory_connector()
    return Deps(datasets, connector, run_id or str(uuid7()), str(uuid7())), sink


def confounded(effect: float, *, n: int = 1500, seed: int = 7) -> pd.DataFrame:
    """Severity drives treatment and outcome; the effect of the treatment is ``effect``."""
    rng = np.random.default_rng(seed)
    severity = rng.normal(size=n)
    treatment = (rng.uniform(size=n) < 1 / (1 + np.exp(-0.5 * severity))).astype(float)
    outcome = effect * treatment + 0.5 * severity + rng.normal(size=n)
    return pd.DataFrame({"treatment": treatment, "outcome": outcome, "severity": severity})


def request(**spec: Any) -> ImpactRequest:
    return ImpactRequest("does treatment change outcome?", "study", CausalSpec("treatment", "outcome", **spec))
