"""How does an orchestrated answer look to a person, and as JSON to a program?"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from src.agents.orchestrator.agent import QueryResult
from src.app.effects import Answer
from src.app.rendering import answer_document

SHOWN_SOURCES = 8


def query_document(result: QueryResult, answers: Sequence[Answer], *, stamp: str) -> dict[str, Any]:
    """Everything the answer is, as one JSON document; a single analysis stands beside it as ``run`` and ``dataset``."""
    document = dataclasses.asdict(result)
    document["trace_id"] = result.meta.trace_id
    document["options"] = list(result.options)
    document["runs"] = [answer_document(one) for one in answers]
    document["stamp"] = stamp
    if len(answers) == 1:
        document |= answer_document(answers[0])
    return document


def query_text(result: QueryResult, *, stamp: str) -> RenderableType:
    """The answer for the terminal, what it rests on, and where to look further."""
    if result.clarification is not None:
        return Text("\n".join([result.clarification, *(f"  · {option}" for option in result.options)]))
    lines = [Text(result.answer)]
    lines += [Text(), *(Text(f"Source: {one}", style="dim") for one in _sources(result))] if _sources(result) else []
    lines += [Text(f"! {one}", style="yellow") for one in (*result.meta.warnings, *result.meta.degraded)]
    if result.follow_ups:
        lines += [Text(), Text("Ask next: " + " · ".join(result.follow_ups), style="dim")]
    lines += [Text(), Text(_footer(result), style="dim"), Text(stamp, style="dim italic")]
    return Group(*lines)


def _sources(result: QueryResult) -> list[str]:
    """What documents and tools said, each once; an analysis is shown by its own command."""
    texts = [
        one.text
        for finding in result.findings
        if finding.answered
        for one in finding.evidence
        if not one.id.startswith("run:")
    ]
    return list(dict.fromkeys(texts))[:SHOWN_SOURCES]


def _footer(result: QueryResult) -> str:
    confidence = "not known" if result.confidence is None else f"{result.confidence:.2f}"
    parts = [f"confidence {confidence}", f"session {result.session_id}"]
    parts += [f"e2i report {run}" for run in result.run_ids]
    return "; ".join(parts)
