"""Which names and numbers can be stored as feedback or metrics?"""

from __future__ import annotations

import math
from numbers import Real

from src.errors import ContractViolation

MAX_NAME = 200


def check_score(name: object, value: object) -> None:
    """Raise ContractViolation, one line, for a name or a number that no store takes."""
    if not isinstance(name, str) or not name.strip():
        raise ContractViolation("a score needs a name that is not empty")
    if len(name) > MAX_NAME:
        raise ContractViolation(f"the name of a score has at most {MAX_NAME} characters, not {len(name)}")
    if not _is_finite(value):
        raise ContractViolation(f"the score '{name}' must be a finite number, not {_shown(value)}")


def _shown(value: object) -> str:
    return str(value) if isinstance(value, float | bool) else f"this {type(value).__name__}"


def _is_finite(value: object) -> bool:
    try:
        return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # an integer beyond what a float holds
        return False
