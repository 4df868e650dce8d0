"""What is asked of explainer? Requests come typed or as JSON; both are checked before anything is told."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from src.agents.explainer.state import ExplainRequest, OutputFormat, Passage
from src.agents.requests import check_keys, part_of, require_text
from src.contracts.enums import UserExpertise
from src.domain.findings import Evidence, Figure, Finding, FindingStatus, Statement, StatementKind
from src.errors import ContractViolation, nearest_names


def request_from(raw: ExplainRequest | Mapping[str, Any]) -> ExplainRequest:
    """Accept a request or its JSON form. Raises ContractViolation for an unknown key, reader, format or kind."""
    if not isinstance(raw, ExplainRequest):
        check_keys(raw, ExplainRequest, "request")
        raw = ExplainRequest(**{**raw, **_parts(raw)})
    require_text(raw.query, "query")
    _one_of(raw.user_expertise, UserExpertise, "user_expertise")
    return dataclasses.replace(raw, output_format=_one_of(raw.output_format, OutputFormat, "output_format"))


def _parts(raw: Mapping[str, Any]) -> dict[str, Any]:
    for name in ("results", "focus", "passages"):
        if not isinstance(raw.get(name, ()), list | tuple):
            raise ContractViolation(f"{name} must be a list")
    return {
        "results": tuple(_finding(one) for one in raw["results"]),
        "focus": tuple(raw.get("focus", ())),
        "passages": tuple(part_of(one, Passage, "passage") for one in raw.get("passages", ())),
    }


def _finding(raw: Any) -> Finding:
    if isinstance(raw, Finding):
        return raw
    if not isinstance(raw, Mapping):
        raise ContractViolation("a result must be an object")
    check_keys(raw, Finding, "result")
    return Finding(
        **{
            **raw,
            "status": _one_of(raw["status"], FindingStatus, "status"),
            "statements": tuple(_statement(one) for one in raw.get("statements", ())),
            "figures": tuple(part_of(one, Figure, "figure") for one in raw.get("figures", ())),
            "evidence": tuple(part_of(one, Evidence, "evidence") for one in raw.get("evidence", ())),
            "follow_ups": tuple(raw.get("follow_ups", ())),
            "degraded": tuple(raw.get("degraded", ())),
            "prompt_versions": tuple(tuple(one) for one in raw.get("prompt_versions", ())),
        }
    )


def _statement(raw: Any) -> Statement:
    one = part_of(raw, Statement, "statement", sequences=("evidence",))
    return dataclasses.replace(one, kind=_one_of(one.kind, StatementKind, "kind"))


def _one_of(value: Any, kind: Any, name: str) -> Any:
    if value not in list(kind):
        raise ContractViolation(f"there is no {name} '{str(value)[:60]}'; {nearest_names(str(value), list(kind))}")
    return kind(value)
