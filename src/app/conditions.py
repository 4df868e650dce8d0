"""Which rows does a text such as "region=northeast" or "month>=2025-01-01" keep?"""

from __future__ import annotations

import re

from src.agents.runtime import Filter
from src.errors import ContractViolation
from src.storage.gateway import Op

_OPS = {"=": Op.EQ, "==": Op.EQ, "!=": Op.NE, "<": Op.LT, "<=": Op.LE, ">": Op.GT, ">=": Op.GE}
_SIGNS = {Op.EQ: "=", Op.NE: "!=", Op.LT: "<", Op.LE: "<=", Op.GT: ">", Op.GE: ">="}
_CONDITION = re.compile(r"\s*([^=<>!]+?)\s*(==|=|!=|<=|>=|<|>)\s*(.*?)\s*")


def condition(text: str) -> Filter:
    """The filter that ``text`` spells. Raises ContractViolation for a text that spells none."""
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise ContractViolation(f"cannot read the filter '{text[:80]}'; write COLUMN=VALUE (also !=, <, <=, >, >=)")
    column, op, value = match.groups()
    return Filter(column, _OPS[op], value)


def in_text(one: Filter) -> str:
    """The text that spells a filter."""
    return f"{one.column}{_SIGNS[one.op]}{one.value}"
