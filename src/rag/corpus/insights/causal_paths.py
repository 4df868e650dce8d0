"""Which effects have been found and survived the attempts to refute them? One text per validated path."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from src.rag.corpus.insights.wording import Names, brand_words, listed, number, region_words
from src.rag.corpus.reading.contents import joined
from src.rag.documents import SourceDocument, SourceType
from src.storage.gateway import Row

_MEANING = {
    "proceed": (
        "Validation: proceed. The refutation tests were passed, so that under its assumptions the estimate may be"
        " read as a causal effect."
    ),
    "review": (
        "Validation: review. Not all refutation tests were passed; the estimate is provisional and has to be"
        " reviewed before it is used."
    ),
}


def causal_path_documents(rows: Iterable[Row], names: Names) -> Iterator[SourceDocument]:
    """Texts from rows of ``causal_paths``; those neither proceed nor review are no evidence and are left out."""
    for row in rows:
        if row["validation_status"] in _MEANING:
            yield _document(row, names)


def _document(row: Row, names: Names) -> SourceDocument:
    start, end = names.of(row["start_node"]), names.of(row["end_node"])
    where = f"{brand_words(row['brand'])}, {row['region'] or 'national'}"
    text = "\n\n".join(
        (_path(row, names), _effect(row, start, end), _MEANING[row["validation_status"]], _method(row, names))
    )
    _, sections = joined([((), text)])
    return SourceDocument(
        source_type=SourceType.CAUSAL_PATH,
        source_id=row["path_id"],
        title=f"Effect of {start} on {end}: {where} ({row['validation_status']})",
        sections=sections,
        brand=row["brand"],
        region=row["region"],
        effective_date=row["discovery_date"],
        metadata={
            "start_node": row["start_node"],
            "end_node": row["end_node"],
            "validation_status": row["validation_status"],
        },
    )


def _path(row: Row, names: Names) -> str:
    nodes = [row["start_node"], *(row["intermediate_nodes"] or []), row["end_node"]]
    through = [names.of(node) for node in nodes[1:-1]]
    by_way = f" by way of {listed(through)}" if through else ""
    return (
        f"Causal path for {brand_words(row['brand'])} {region_words(row['region'])}, found on"
        f" {row['discovery_date'].isoformat()}: from {names.of(nodes[0])} to {names.of(nodes[-1])}{by_way}"
        f" ({' → '.join(names.of(node) for node in nodes)})."
    )


def _effect(row: Row, start: str, end: str) -> str:
    sentences = []
    if row["effect_raw"] is not None:
        error = f" with a standard error of {number(row['effect_se'])}" if row["effect_se"] else ""
        sentences.append(
            f"One more unit of {start} goes with an estimated change in {end} of {number(row['effect_raw'])}"
            f" for {brand_words(row['brand'])} {region_words(row['region'])}{error}."
        )
    sentences.append(
        f"The standardised effect is {number(row['causal_effect_size'])} (of -1 to 1)"
        + (f", p-value {number(row['p_value'])}" if row["p_value"] is not None else "")
        + (f", confidence of the path {number(row['confidence_level'])}" if row["confidence_level"] is not None else "")
        + "."
    )
    if row["time_lag_days"]:
        sentences.append(f"The effect comes {row['time_lag_days']} days after the cause.")
    if row["business_impact_estimate"] is not None:
        sentences.append(f"Its estimated yearly impact is {number(row['business_impact_estimate'])} US dollars.")
    return " ".join(sentences)


def _method(row: Row, names: Names) -> str:
    method = str(row["method_used"])
    sentences = [f"It was estimated by {method.replace('_', ' ')} ({method})."]
    adjusted = [names.of(column) for column in row["confounders_controlled"] or []]
    sentences.append(f"Adjusted for: {listed(adjusted)}." if adjusted else "No confounder was adjusted for.")
    if mediators := [names.of(column) for column in row["mediators_identified"] or []]:
        sentences.append(f"Mediators: {listed(mediators)}.")
    return " ".join(sentences)
