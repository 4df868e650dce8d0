"""Does a narrative say anything that the facts do not? Every number and every name in it is looked up."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict

from src.agents.ml_foundation.feature_analyzer.facts import Facts
from src.domain.causal_words import claims_cause
from src.domain.figures import Known, unfounded_names, unfounded_numbers

LONGEST_SUMMARY = 1_000
LONGEST_LINE = 400
MOST_LINES = 6
# A rounded number may be this far, relatively, from the one it stands for.
ROUNDING = 0.05

_QUOTED = re.compile(r"`([^`]+)`")
_UNIT = re.compile(r"\s*(?:%|per ?cent|percent)$", re.IGNORECASE)

_LEFT_OUT = re.compile(r"\b(?:was|were|been|got) (?:left out|removed|dropped|excluded|discarded)\b", re.IGNORECASE)


class NarrativeReply(BaseModel):
    """What a language model is asked for."""

    model_config = ConfigDict(extra="forbid")

    summary: str
    key_insights: list[str]
    cautions: list[str]

    def lines(self) -> list[str]:
        """Everything it says."""
        return [self.summary, *self.key_insights, *self.cautions]


def unfounded(reply: NarrativeReply, facts: Facts) -> tuple[str, ...]:
    """What is wrong with a reply, one line each, none of which quotes it beyond a number or name; () when it holds.

    A number holds when it is one of the facts' or its rounding; a name between backticks when it is a column. A
    sentence that speaks of causes must deny them. Nothing was left out of a model that is explained.
    """
    known = facts.numbers()
    problems = _form(reply)
    for line in reply.lines():
        problems += [f"`{name[:60]}` is no feature" for name in _QUOTED.findall(line) if name not in facts.names]
        bare = _without_names(line, facts.names)
        problems += [f"the number {said[:60]} is not in the facts" for said in _unknown_numbers(bare, known)]
        if claims_cause(bare):
            problems.append("a sentence claims a cause; SHAP values show none")
        if "explanation" in facts.document and _LEFT_OUT.search(bare):
            problems.append("a sentence says that a feature was left out; the model has all, some could be left out")
    return tuple(dict.fromkeys(problems))


def _form(reply: NarrativeReply) -> list[str]:
    problems = []
    if not reply.summary.strip():
        problems.append("the summary is empty")
    if len(reply.summary) > LONGEST_SUMMARY or any(len(line) > LONGEST_LINE for line in reply.lines()[1:]):
        problems.append("a text is too long")
    if max(len(reply.key_insights), len(reply.cautions)) > MOST_LINES:
        problems.append(f"there are more than {MOST_LINES} insights or cautions")
    return problems


def _without_names(line: str, names: Iterable[str]) -> str:
    """The line without column names, whose digits are no claims; the longest first, as one may begin another."""
    line = _QUOTED.sub(" ", line)
    for name in sorted(names, key=len, reverse=True):
        line = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", " ", line)
    return line


def _unknown_numbers(line: str, known: Iterable[float]) -> list[str]:
    """Numbers, and names with digits ("Q4"), that stand for no fact.

    The facts' shares are percentages already. The sign of a fact may be left out.
    """
    facts = [Known(each, "%") for value in known for each in (value, abs(value))]
    said = (*unfounded_numbers(line, facts, within=ROUNDING), *unfounded_names(line, ()))
    return [_UNIT.sub("", one) for one in said]
