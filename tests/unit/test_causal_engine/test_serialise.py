"""An analysis survives JSON, and jsonb, bit for bit; a foreign shape is refused."""

from __future__ import annotations

import json
import math
import struct
from dataclasses import fields, is_dataclass, replace
from decimal import Decimal
from enum import Enum
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from src.causal_engine.results import Analysis, Verdict
from src.causal_engine.serialise import from_json, to_json
from src.errors import ContractViolation
from tests.unit.test_report.random_analyses import ANALYSES
from tests.unit.test_report.samples import SAMPLES, crowded, supported

pytestmark = pytest.mark.unit
generous = settings(
    deadline=None,
    derandomize=True,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def bits(value: Any) -> Any:
    """A comparable form in which floats are their bytes (NaN equals NaN, −0 differs from 0)."""
    if is_dataclass(value):
        return type(value).__name__, tuple(bits(getattr(value, field.name)) for field in fields(value))
    if isinstance(value, tuple):
        return tuple(bits(item) for item in value)
    if isinstance(value, Enum):
        return type(value).__name__, value.value
    if isinstance(value, float):
        return "nan" if math.isnan(value) else struct.pack("<d", value)
    return type(value).__name__, value


def through_jsonb(text: str) -> Any:
    """What PostgreSQL's jsonb returns: numbers are exact decimals without sign of zero or exponent."""

    def as_numeric(literal: str) -> float | int:
        plain = format(Decimal(literal), "f")
        return float(plain) if "." in plain else int(plain)

    return json.loads(text, parse_float=as_numeric)


@generous
@given(ANALYSES)
def test_any_analysis_comes_back_equal_in_every_bit(analysis: Analysis) -> None:
    text = json.dumps(to_json(analysis), allow_nan=False)
    assert bits(from_json(Analysis, json.loads(text))) == bits(analysis)
    assert bits(from_json(Analysis, through_jsonb(text))) == bits(analysis)


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_come_back_equal_with_their_types(name: str) -> None:
    analysis = SAMPLES[name]()
    back = from_json(Analysis, json.loads(json.dumps(to_json(analysis))))
    assert back == analysis
    assert isinstance(back.conclusion.verdict, Verdict)


@pytest.mark.parametrize(
    ("value", "stored"), [(math.nan, "NaN"), (math.inf, "Infinity"), (-math.inf, "-Infinity"), (-0.0, "-0.0")]
)
def test_floats_json_cannot_hold_are_text_when_stored_and_null_for_readers(value: float, stored: str) -> None:
    analysis = replace(supported(), primary=replace(supported().primary, p_value=value))
    assert to_json(analysis)["primary"]["p_value"] == stored
    readable = to_json(analysis, nonfinite="null")["primary"]["p_value"]
    assert readable is None if not math.isfinite(value) else readable == 0


def test_the_word_nan_as_a_name_stays_a_name() -> None:
    analysis = replace(supported(), treatment="NaN")
    assert to_json(analysis, nonfinite="null")["treatment"] == "NaN"
    assert from_json(Analysis, to_json(analysis)).treatment == "NaN"


def test_numpy_scalars_become_plain_numbers() -> None:
    analysis = replace(supported(), n_rows=np.int64(7), primary=replace(supported().primary, value=np.float64(0.1)))
    back = from_json(Analysis, json.loads(json.dumps(to_json(analysis))))
    assert (type(back.n_rows), type(back.primary.value), back.primary.value) == (int, float, 0.1)


def _without(key: str) -> dict[str, Any]:
    return {name: value for name, value in to_json(supported()).items() if name != key}


@pytest.mark.parametrize(
    ("stored", "named"),
    [
        (_without("naive"), "'naive' is missing"),
        (_without("") | {"novel": 1}, "'novel'"),
        (_without("") | {"n_rows": "many"}, "Analysis.n_rows"),
        (_without("") | {"n_rows": None}, "Analysis.n_rows"),
        (_without("") | {"conclusion": _without("")["conclusion"] | {"verdict": "proven"}}, "conclusion.verdict"),
        (_without("") | {"primary": {**_without("")["primary"], "value": "0.4"}}, "primary.value"),
        (_without("") | {"curve": "none"}, "Analysis.curve"),
        (_without("") | {"identification": {**_without("")["identification"], "edges": [["a"]]}}, "edges[0]"),
    ],
)
def test_a_foreign_shape_is_refused_by_place(stored: dict[str, Any], named: str) -> None:
    with pytest.raises(ContractViolation) as refused:
        from_json(Analysis, stored)
    assert named in str(refused.value)


def test_a_value_of_the_wrong_type_is_refused_when_stored() -> None:
    with pytest.raises(ContractViolation, match="treatment"):
        to_json(replace(crowded(2, 2, 2), treatment=3))  # type: ignore[arg-type]
