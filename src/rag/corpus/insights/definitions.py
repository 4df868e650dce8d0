"""What do the KPIs and the methods mean? One text per definition."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from src.domain.kpis import Direction, Kpi, Threshold
from src.rag.corpus.insights.method_texts import CONCEPTS, ESTIMATORS, TESTS
from src.rag.corpus.insights.wording import number
from src.rag.corpus.reading.contents import joined
from src.rag.documents import SourceDocument, SourceType

_WORKSTREAMS = {"WS1": "data and model quality", "WS2": "triggers", "WS3": "business"}
_BETTER = {
    Direction.UP: "Higher is better.",
    Direction.DOWN: "Lower is better.",
    Direction.BAND: "Closest to the centre is best.",
}


def kpi_definitions(kpis: Iterable[Kpi]) -> Iterator[SourceDocument]:
    """One text per KPI of config/kpi_definitions.yaml."""
    for kpi in kpis:
        lines = [
            f"{kpi.name} ({kpi.id}): {kpi.definition}",
            f"How {kpi.name} is calculated: {kpi.formula}.",
            f"{_BETTER[kpi.direction]} {_levels(kpi)}".strip(),
            f"{kpi.name} is a {kpi.frequency} KPI of workstream {kpi.workstream} ({_WORKSTREAMS[kpi.workstream]}),"
            f" computed from {', '.join(kpi.tables)}.",
        ]
        yield _definition(f"kpi/{kpi.id}", f"KPI {kpi.id}: {kpi.name}", "\n".join(lines), kpi.brand)


def method_definitions() -> Iterator[SourceDocument]:
    """One text per estimator, refutation test and concept of the causal engine."""
    for estimator, text in ESTIMATORS.items():
        name = estimator.replace("_", " ")
        yield _definition(f"estimator/{estimator}", f"Estimator {name}", f"The estimator {name} ({estimator}) {text}")
    for test, text in TESTS.items():
        name = test.replace("_", " ")
        yield _definition(f"refutation/{test}", f"Refutation test {name}", f"The refutation test {name} {text}")
    for key, (title, text) in CONCEPTS.items():
        yield _definition(f"concept/{key}", title, text)


def _definition(source_id: str, title: str, text: str, brand: str | None = None) -> SourceDocument:
    _, sections = joined([((), text)])
    return SourceDocument(SourceType.DEFINITION, source_id, title, sections, brand=brand)


def _levels(kpi: Kpi) -> str:
    levels = kpi.threshold
    if levels is None:
        return f"{kpi.name} has no threshold."
    if levels.basis == "target":
        return (
            f"The target of {kpi.name} is that of the period; the warning level is {number(levels.warning)} times and"
            f" the critical level {number(levels.critical)} times the target."
        )
    return f"Levels of {kpi.name}: {_stated(levels, kpi.direction)}."


def _stated(levels: Threshold, direction: Direction) -> str:
    around = f"{number(levels.centre)} ± " if direction is Direction.BAND else ""
    target = "" if levels.target is None else f"target {around}{number(levels.target)}, "
    return f"{target}warning {around}{number(levels.warning)}, critical {around}{number(levels.critical)}"
