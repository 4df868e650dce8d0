"""Which of the values at hand does a tool take, and which amounts does a question name?"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from src.agents.tool_composer.dag import is_reference, is_share
from src.agents.tool_composer.plan_checks import Tools
from src.agents.tool_composer.state import PlannedStep, Scope, SubQuestion
from src.agents.tool_composer.tools.contract import ComposerTool

PERIOD_ARGUMENTS = ("period", "current")
_SMALL = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_WORDS = {word: float(n) for n, word in enumerate(_SMALL, start=1)}
_WORDS |= {"a": 1.0, "an": 1.0, "twenty": 20.0, "fifty": 50.0, "hundred": 100.0}
_COUNT = r"(?P<count>\d[\d,]{0,8}(?:\.\d{1,6})?|" + "|".join(sorted(_WORDS, key=len, reverse=True)) + ")"
_PERCENT = re.compile(rf"\b{_COUNT}\s?(?:%|percent\b|per cent\b|pct\b)")
_DOWN = re.compile(
    r"\b(?:cut|cuts|reduc\w{1,3}|fewer|less|drop\w{0,4}|remov\w{1,3}|lower\w{0,3}|halv\w{1,3}|decreas\w{1,3})\b"
)
_HALF = re.compile(r"\b(?:half|halve|halved|halving)\b")
_DOUBLE = re.compile(r"\b(?:double|doubled|doubling|twice)\b")
_STOP = re.compile(r"\b(?:stop|stopped|stopping|no more|eliminat\w{1,3})\b")
_UNITS = re.compile(
    rf"\b{_COUNT} (?:more |extra |additional |fewer |less |new )?(?:rep |sales |speaker |drug )?"
    r"(?:calls?|visits?|e-?mails?|samples?|programs?|programmes?|triggers?|alerts?|reps?|units?)\b"
)
_EFFECT = re.compile(
    rf"\b(?:effect|uplift|lift|difference|increase|improvement) of (?:at least )?{_COUNT}(?![\d.,]*\s?(?:%|percent))"
)

_AMOUNT = r"[$€£]? ?(?P<count>\d[\d,]{0,8}(?:\.\d{1,6})?)"
_PRICES: Mapping[str, re.Pattern[str]] = {
    "unit_cost": re.compile(
        r"\b(?:calls?|visits?|e-?mails?|samples?|programs?|triggers?|units?) "
        rf"(?:that )?(?:costs?|at|for) (?:us )?{_AMOUNT}"
    ),
    "value_per_outcome": re.compile(
        rf"\b(?:scripts?|prescriptions?|nrx|trx|nbrx) (?:is |are |being )?(?:worth|valued at|at) (?:us )?{_AMOUNT}"
    ),
    "treatment_per_extra": re.compile(rf"\b(?:makes?|making|doing|does|with) {_AMOUNT} (?:rep )?(?:calls?|visits?)\b"),
}


def fitted(tool: ComposerTool[Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Those of ``wanted`` that the tool has and that are there, each in the form its schema takes: list or single."""
    found: dict[str, Any] = {}
    for name, value in wanted.items():
        if name in tool.arguments.model_fields and value is not None and value != ():
            form = next((form for form in _forms(value) if _takes(tool, name, form)), None)
            if form is not None:
                found[name] = form
    return found


def settled(step: PlannedStep, part: SubQuestion, tools: Tools) -> PlannedStep:
    """The step on the rows of its part: a tool that takes a period itself gets it as its argument, with all months."""
    fields = tools[step.tool].arguments.model_fields
    takes = next((name for name in PERIOD_ARGUMENTS if name in fields), None)
    if takes is None or (part.scope.start is None and part.scope.end is None):
        return replace(step, scope=part.scope)
    arguments = dict(step.arguments)
    compared_segments = takes == "current" and arguments.get("segment") is not None
    if compared_segments:
        return replace(step, scope=part.scope)
    arguments.setdefault(takes, period_in_words(part.scope))
    return replace(step, arguments=arguments, scope=Scope(part.scope.kept))


def unsettled(step: PlannedStep, part: SubQuestion) -> PlannedStep:
    """The step without the months of its part: what is kept for another question."""
    months = period_in_words(part.scope)
    kept = {name: value for name, value in step.arguments.items() if not (name in PERIOD_ARGUMENTS and value == months)}
    return replace(step, arguments=kept, scope=Scope())


def period_in_words(scope: Scope) -> str:
    """Months as tools read them."""
    start, end = (None if day is None else f"{day:%Y-%m}" for day in (scope.start, scope.end))
    if start and end:
        return start if start == end else f"{start} to {end}"
    return f"from {start}" if start else f"until {end}"


def units_of(words: str) -> float | None:
    """In lower-case words: the amount of an activity that a question names ("ten extra reps"), None without one."""
    hit = _UNITS.search(words)
    return None if hit is None else _value(hit["count"])


def change_of(words: str, treatment: str) -> float | dict[str, Any] | None:
    """In lower-case words: the change that "what if" asks about, in units or as a share of today's mean."""
    sign = -1.0 if _DOWN.search(words) else 1.0
    for pattern, share in ((_HALF, -0.5), (_DOUBLE, 1.0), (_STOP, -1.0)):
        if pattern.search(words):
            return {"share": share, "of": treatment}
    if (hit := _PERCENT.search(words)) is not None:
        return {"share": sign * _value(hit["count"]) / 100.0, "of": treatment}
    units = units_of(words)
    return None if units is None else sign * units


def relative_effect_of(words: str) -> float | None:
    """In lower-case words: the smallest effect a test is to find as a share, where the question names a percentage."""
    hit = _PERCENT.search(words)
    return None if hit is None else _value(hit["count"]) / 100.0


def prices_of(words: str) -> dict[str, float]:
    """In lower-case words: what a unit costs, an outcome is worth and an extra rep makes, as far as it is said."""
    hits = {name: pattern.search(words) for name, pattern in _PRICES.items()}
    return {name: _value(hit["count"]) for name, hit in hits.items() if hit is not None}


def minimum_effect_of(words: str) -> float | None:
    """In lower-case words: the smallest effect a test is to find, where the question names it."""
    hit = _EFFECT.search(words)
    return None if hit is None else _value(hit["count"])


def _value(text: str) -> float:
    return _WORDS[text] if text in _WORDS else float(text.replace(",", ""))


def _forms(value: Any) -> Iterable[Any]:
    if is_reference(value) or is_share(value):
        return [value]
    if isinstance(value, tuple | list):
        return [list(value), *([value[0]] if value else [])]
    return [value, [value]]


def _takes(tool: ComposerTool[Any], name: str, value: Any) -> bool:
    """Whether a field accepts a value by itself, whatever the others are."""
    if is_reference(value) or is_share(value):
        return True
    try:
        tool.arguments.model_validate({name: value})
    except ValidationError as error:
        return not any(one["loc"] and one["loc"][0] == name for one in error.errors(include_url=False))
    return True
