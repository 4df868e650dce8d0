"""Does a body keep Opik's published API? Judged by its OpenAPI file where that is at hand, and by the SDK's types."""

from __future__ import annotations

import json
import os
from datetime import datetime
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker

PROJECT = Path(__file__).resolve().parent.parent
PLACES = (PROJECT.parent / "shared", PROJECT / "shared")
WRITES: dict[tuple[str, str], tuple[str, str | None, str]] = {
    ("POST", "/v1/private/traces/batch"): ("TraceBatch_Write", "traces", "TraceWrite"),
    ("POST", "/v1/private/spans/batch"): ("SpanBatch_Write", "spans", "SpanWrite"),
    ("PUT", "/v1/private/traces/feedback-scores"): ("FeedbackScoreBatch", "scores", "FeedbackScoreBatchItem"),
    ("PUT", "/v1/private/spans/feedback-scores"): ("FeedbackScoreBatch", "scores", "FeedbackScoreBatchItem"),
    ("POST", "/v1/private/datasets"): ("Dataset_Write", None, ""),
    ("PUT", "/v1/private/datasets/items"): ("DatasetItemBatch_Write", "items", "DatasetItemWrite"),
    ("POST", "/v1/private/experiments"): ("Experiment_Write", None, ""),
    ("POST", "/v1/private/experiments/items"): ("ExperimentItemsBatch", "experiment_items", "ExperimentItem"),
}

formats = FormatChecker(["uuid"])


@formats.checks("date-time", raises=ValueError)
def _date_time(text: object) -> bool:
    return not isinstance(text, str) or datetime.fromisoformat(text).tzinfo is not None


@formats.checks("int32")
def _int32(number: object) -> bool:
    return not isinstance(number, int) or -(2**31) <= number < 2**31


def problem(method: str, path: str, body: Any) -> str | None:
    """What is wrong with a written body, or None; bodies of endpoints that are not described here pass."""
    if (method, path) not in WRITES:
        return None
    schema, items, sdk_type = WRITES[method, path]
    if (found := schema_problem(schema, body)) is not None:
        return found
    sent = body[items] if items is not None else ()
    return next((found for item in sent if (found := sdk_problem(sdk_type, item)) is not None), None)


def schema_problem(schema: str, body: Any) -> str | None:
    """What the OpenAPI file says against ``body``, or None; None as well where there is no such file."""
    document = openapi()
    if document is None:
        return None
    validator = Draft202012Validator(
        {"$ref": f"#/components/schemas/{schema}", "components": _closed(document)}, format_checker=formats
    )
    errors = [f"{error.json_path}: {error.message[:200]}" for error in validator.iter_errors(body)]
    return "; ".join(errors) or None


def sdk_problem(type_name: str, item: Any) -> str | None:
    """What the SDK's own type says against ``item``, or None. Fields it does not know are a problem."""
    import pydantic

    try:
        parsed = getattr(sdk_types(), type_name).model_validate(item)
    except pydantic.ValidationError as error:
        return f"{type_name}: {error.errors()[0]['msg']} at {error.errors()[0]['loc']}"
    return f"{type_name} has no {sorted(parsed.model_extra)}" if parsed.model_extra else None


@cache
def sdk_types() -> ModuleType:
    """The types of the SDK's REST client; seconds on the first call, so make it before a server waits for it."""
    os.environ.update(OPIK_SENTRY_ENABLE="false", OPIK_ANALYTICS_ENABLE="false")
    import opik.rest_api.types

    return opik.rest_api.types


@cache
def openapi() -> dict[str, Any] | None:
    """Opik's OpenAPI document, or None where it is not at hand."""
    for place in PLACES:
        file = place / "data" / "opik" / "openapi-core-subset.json"
        if file.is_file():
            document: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            return document
    return None


def _closed(document: dict[str, Any]) -> dict[str, Any]:
    """The schemas with unknown fields refused where the fields are listed."""
    schemas = {
        name: schema | ({"additionalProperties": False} if "properties" in schema else {})
        for name, schema in document["components"]["schemas"].items()
    }
    return {"schemas": schemas}
