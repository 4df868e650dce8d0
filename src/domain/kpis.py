"""How is each KPI defined, and is a value of it good?"""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Literal, Self

from pydantic import model_validator

from src.errors import ContractViolation, nearest_names
from src.settings import CONFIG_DIR, ConfigModel, load_config

KPI_FILE = CONFIG_DIR / "kpi_definitions.yaml"


class UnknownKpi(ContractViolation):
    """No KPI of that id or name is defined."""


class Direction(StrEnum):
    """Which way is better; BAND means close to the threshold's centre."""

    UP = "up"
    DOWN = "down"
    BAND = "band"


class KpiStatus(StrEnum):
    """Best level a value reaches: the target, short of it, past the warning or the critical level."""

    ON_TARGET = "on_target"
    BELOW_TARGET = "below_target"
    WARNING = "warning"
    CRITICAL = "critical"
    NO_THRESHOLD = "no_threshold"


class Threshold(ConfigModel):
    """Levels of a KPI: numbers (basis value; for a band, distances from ``centre``), or shares of the
    target that ``business_metrics`` holds for the period (basis target)."""

    basis: Literal["value", "target"] = "value"
    target: float | None = None
    warning: float
    critical: float
    centre: float = 0.0

    @model_validator(mode="after")
    def _target_where_needed(self) -> Self:
        if (self.target is None) != (self.basis == "target"):
            raise ValueError("a threshold needs a target, unless its basis is the target of business_metrics")
        return self


class Kpi(ConfigModel):
    """One KPI; ``sql`` is a single SELECT over ``scoped_<table>`` returning value and n."""

    id: str
    name: str
    definition: str
    formula: str
    calculation: Literal["direct", "derived"]
    tables: tuple[str, ...]
    columns: tuple[str, ...]
    direction: Direction
    threshold: Threshold | None = None
    frequency: Literal["daily", "weekly", "monthly", "quarterly"]
    workstream: Literal["WS1", "WS2", "WS3"]
    brand: str | None = None
    sql: str


class _KpiFile(ConfigModel):
    kpis: tuple[Kpi, ...]

    @model_validator(mode="after")
    def _ids_are_unique(self) -> Self:
        ids = [kpi.id for kpi in self.kpis]
        twice = sorted({name for name in ids if ids.count(name) > 1})
        if twice:
            raise ValueError(f"defined twice: {', '.join(twice)}")
        return self


def load_kpis(path: Path | str = KPI_FILE) -> tuple[Kpi, ...]:
    """All KPIs in file order, read once per path. Raises ConfigError."""
    return _load(str(path))


def get_kpi(id_or_name: str, path: Path | str = KPI_FILE) -> Kpi:
    """The KPI of that id or name, case ignored. Raises UnknownKpi with the nearest names."""
    kpis = load_kpis(path)
    wanted = id_or_name.strip().lower()
    for kpi in kpis:
        if wanted in {kpi.id.lower(), kpi.name.lower()}:
            return kpi
    names = [name for kpi in kpis for name in (kpi.name, kpi.id)]
    raise UnknownKpi(f"KPI '{id_or_name[:60]}' is not defined; {nearest_names(id_or_name[:60], names)}")


def status(kpi: Kpi, value: float | None, target: float | None = None) -> KpiStatus:
    """Rate a value; ``target`` is that of the period, for KPIs whose levels are shares of it.

    No value, no threshold or no target gives NO_THRESHOLD. Levels themselves count as reached.
    """
    levels = _levels(kpi.threshold, target)
    if levels is None or value is None or kpi.threshold is None:
        return KpiStatus.NO_THRESHOLD
    sign = 1 if kpi.direction is Direction.UP else -1
    measured = abs(value - kpi.threshold.centre) if kpi.direction is Direction.BAND else value
    for level, reached in zip(levels, (KpiStatus.ON_TARGET, KpiStatus.BELOW_TARGET, KpiStatus.WARNING), strict=True):
        if sign * measured >= sign * level:
            return reached
    return KpiStatus.CRITICAL


def _levels(threshold: Threshold | None, target: float | None) -> tuple[float, float, float] | None:
    if threshold is None:
        return None
    if threshold.target is not None:
        return threshold.target, threshold.warning, threshold.critical
    if target is None:
        return None
    return target, threshold.warning * target, threshold.critical * target


@lru_cache(maxsize=8)
def _load(path: str) -> tuple[Kpi, ...]:
    return load_config(path, _KpiFile).kpis
