"""What is asked of explainer? Requests come typed or as JSON; both are checked before anything is told."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, cast

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
    return {
        "results": tuple(_finding(one) for one in _list(raw, "results")),
        "focus": _texts(raw, "focus"),
        "passages": tuple(part_of(one, Passage, "passage") for one in _list(raw, "passages")),
    }


def _list(raw: Mapping[str, Any], name: str) -> Sequence[Any]:
    """A key that holds a list: a text would fall apart into its letters."""
    if not isinstance(raw.get(name, ()), list | tuple):
        raise ContractViolation(f"{name} must be a list")
    return cast(Sequence[Any], raw.get(name, ()))


def _texts(raw: Mapping[str, Any], name: str) -> tuple[str, ...]:
    found = tuple(_list(raw, name))
    if not all(isinstance(one, str) for one in found):
        raise ContractViolation(f"{name} must be a list of texts")
    return found


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
            "statements": tuple(_statement(one) for one in _list(raw, "statements")),
            "figures": tuple(part_of(one, Figure, "figure") for one in _list(raw, "figures")),
            "evidence": tuple(part_of(one, Evidence, "evidence") for one in _list(raw, "evidence")),
            "follow_ups": _texts(raw, "follow_ups"),
            "degraded": _texts(raw, "degraded"),
            "prompt_versions": tuple(_version(one) for one in _list(raw, "prompt_versions")),
        }
    )


def _version(raw: Any) -> tuple[str, int]:
    if isinstance(raw, list | tuple) and len(raw) == 2 and isinstance(raw[0], str) and type(raw[1]) is int:
        return raw[0], raw[1]
    raise ContractViolation("prompt_versions must be a list of names with their versions")


def _statement(raw: Any) -> Statement:
    one = part_of(raw, Statement, "statement", sequences=("evidence",))
    return dataclasses.replace(one, kind=_one_of(one.kind, StatementKind, "kind"))


def _one_of(value: Any, kind: Any, name: str) -> Any:
    if value not in list(kind):
        raise ContractViolation(f"there is no {name} '{str(value)[:60]}'; {nearest_names(str(value), list(kind))}")
    return kind(value)
