"""Which parts does the page of a validation have, and in which words?"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from src.app.quality_page.bars import Bar, draw_bars
from src.app.report.blocks import Block, Bullets, Figure, Note, Paragraph, Section, Table, bullets
from src.app.report.numbers import ABSENT, count, moment, percent
from src.app.report.wording import STAMP
from src.app.validated import BrokenRule, Validated, score_text
from src.mlops.quality.result import QualityStatus

VERDICT = {
    QualityStatus.PASSED: "Passed",
    QualityStatus.WARNING: "Passed with warnings",
    QualityStatus.FAILED: "Failed",
    QualityStatus.SKIPPED: "Not checked",
}
MEANING = {
    QualityStatus.PASSED: "The data keeps its contract and may be used.",
    QualityStatus.WARNING: "The data may be used; read the rules below first.",
    QualityStatus.FAILED: "Nothing may be built on this data until the rules below hold.",
    QualityStatus.SKIPPED: "A validation that did not run is not a pass: nothing may be built on this data.",
}
TONE = {
    QualityStatus.PASSED: "supported",
    QualityStatus.WARNING: "caution",
    QualityStatus.FAILED: "stop",
    QualityStatus.SKIPPED: "stop",
}
DIMENSIONS = {
    "completeness": "cells of required columns that are filled",
    "validity": "filled cells that keep every rule of their column",
    "consistency": "rows that keep every rule between columns",
    "timeliness": "rows whose time is known and not in the future",
    "uniqueness": "rows that do not repeat a unique column or key",
    "accuracy": "rows whose derived values equal what they are derived from",
}


@dataclass(frozen=True, slots=True)
class QualityPage:
    """The page, ready to be rendered; ``verdict`` to ``facts`` are the box at its head."""

    title: str
    stamp: str
    report_id: str
    tone: str
    verdict: str
    headline: str
    score: str
    meaning: str
    facts: tuple[tuple[str, str], ...]
    sections: tuple[Section, ...]


def compose(validated: Validated) -> QualityPage:
    """The page of a validation."""
    result = validated.result
    status = _shown_status(validated)
    return QualityPage(
        title=f"Data quality of {result.table_name}",
        stamp=STAMP,
        report_id=result.id,
        tone=TONE[status],
        verdict=VERDICT[status],
        headline=_headline(validated),
        score=_score_line(validated),
        meaning=MEANING[status],
        facts=_facts(validated),
        sections=(_scores(validated), _broken(validated), _checked(validated)),
    )


def _shown_status(validated: Validated) -> QualityStatus:
    """What the gate makes of it: a layer that did not run is never shown as a pass."""
    status = validated.result.overall_status
    if validated.opens_gate or status is QualityStatus.SKIPPED:
        return status
    return QualityStatus.FAILED


def _headline(validated: Validated) -> str:
    result, broken = validated.result, len(validated.broken)
    if result.reason:
        return f"{result.table_name}: {result.reason}."
    rules = "No rule is broken" if not broken else "1 rule is broken" if broken == 1 else f"{broken} rules are broken"
    leakage = " Leakage was detected." if result.leakage_detected else ""
    return f"{rules} in {count(result.rows_validated)} rows of {result.table_name}.{leakage}"


def _score_line(validated: Validated) -> str:
    needed = f"the gate before training needs {validated.thresholds.gate_score:.2f}"
    if validated.score is None:
        return f"No quality score was measured; {needed}."
    return f"Quality score {score_text(validated.score)}; {needed}."


def _facts(validated: Validated) -> tuple[tuple[str, str], ...]:
    result = validated.result
    held = f"{count(result.expectations.passed)} of {count(result.expectations.evaluated)}"
    facts = [
        ("Table", result.table_name),
        ("Rows from", validated.source),
        ("Rows checked", count(result.rows_validated)),
        ("Expectations that hold", f"{held} ({percent(result.success_rate)})"),
        ("Checked at", moment(result.run_at)),
    ]
    chosen = (("Split", result.data_split), ("Brand", result.brand), ("Region", result.region))
    return (*facts, *((term, text) for term, text in chosen if text))


def _scores(validated: Validated) -> Section:
    scores, weights = asdict(validated.result.scores), validated.weights.model_dump()
    bars = tuple(Bar(name, value) for name, value in scores.items())
    threshold = validated.thresholds.gate_score
    told = "; ".join(f"{bar.name} {'not measured' if bar.value is None else score_text(bar.value)}" for bar in bars)
    figure = Figure(
        draw=lambda: draw_bars(bars, threshold),
        alt=f"Bars of the six quality scores between 0 and 1: {told}. A line marks the gate at {threshold:.2f}.",
        caption=f"Scores by dimension. The gate ({threshold:.2f}) is for their weighted mean, not for each alone.",
    )
    rows = tuple(
        (name, ABSENT if value is None else score_text(value, 4), f"{weights[name]:g}", DIMENSIONS[name])
        for name, value in scores.items()
    )
    blocks: list[Block] = [figure, Table(("dimension", "score", "weight", "share of"), rows)]
    if None in scores.values():
        blocks.append(Note("A dimension without a score has nothing in this table to be measured by."))
    return Section("scores", "Scores", tuple(blocks))


def _broken(validated: Validated) -> Section:
    if not validated.broken:
        return Section("rules", "Broken rules", (_nothing_broken(validated),))
    ordered = sorted(validated.broken, key=lambda rule: (not rule.critical, rule.usual))
    rows = tuple(_broken_row(rule) for rule in ordered)
    stressed = frozenset(index for index, rule in enumerate(ordered) if rule.critical)
    headings = ("rule", "column", "rows", f"first rows ({validated.labels})", "weight", "found by")
    words = "A critical rule blocks on one violation. A rule that warns only is about what is usual in this table."
    return Section("rules", "Broken rules", (Paragraph(words), Table(headings, rows, emphasis=stressed)))


def _nothing_broken(validated: Validated) -> Note:
    if validated.result.overall_status is QualityStatus.SKIPPED:
        return Note("No rule is listed because not every layer ran.")
    return Note("Every rule that was checked holds.")


def _broken_row(rule: BrokenRule) -> tuple[str, ...]:
    how_many = "whole table" if rule.count is None else f"{'about ' if rule.approximate else ''}{count(rule.count)}"
    words = f"{rule.words} (could not be evaluated: {rule.error})" if rule.error else rule.words
    words += f"; observed: {rule.observed}" if rule.usual and rule.observed else ""
    return (words, rule.column or ABSENT, how_many, rule.first_rows() or ABSENT, rule.weight, ", ".join(rule.layers))


def _checked(validated: Validated) -> Section:
    result = validated.result
    layers = Table(("layer", "outcome"), tuple(validated.layers.items()), "Layers")
    if result.approximate:
        exactness: Block = Bullets(result.approximate, "Put together from batches, hence approximate")
    else:
        exactness = Paragraph("Every count and score on this page is exact.")
    return Section("checked", "What was checked", (layers, exactness, *bullets(validated.notes, "Notes")))
