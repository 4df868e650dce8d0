"""Of which parts does a question consist? By its words alone, without a model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from src.agents.tool_composer.names import Names, read_names
from src.agents.tool_composer.state import ComposeContext, Scope, SubQuestion
from src.domain.intent import classify
from src.domain.reading import check_readable, normalise
from src.domain.vocabulary import Intent, Vocabulary

MOST_PARTS = 6
WHAT_IF = "what_if"
ROBUSTNESS = "robustness"
VALUE = "value"
_SURE = 0.75

_CUT = re.compile(
    r"(?:[?!;]+|\.(?=\s|$))\s*|,?\s+\b(?:and then|and also|as well as|and|then|also|plus)\b\s+|,\s+|\n+", re.IGNORECASE
)
_LEAD = re.compile(
    r"^(?:what|which|where|how|who|why|when|do|does|did|is|are|will|would|can|could|should|compare|predict|forecast"
    r"|show|list|rank|design|estimate|check|find|the effect|effect|impact|the impact)\b"
)
_WHAT_IF = re.compile(
    r"\b(?:what if|what would (?:happen|change)|what happens if|suppose|imagine|simulate|scenario"
    r"|if (?:we|i|reps|they) (?:\w{1,20} )?(?:add|added|cut|cuts|double|doubled|halve|halved|increase|increased|reduce"
    r"|reduced|drop|dropped|stop|stopped|remove|removed|raise|raised|made|make|send|sent))\b"
)
_ROBUSTNESS = re.compile(
    r"\b(?:how (?:robust|sure|certain|solid|reliable|sensitive)|robustness|sensitivity(?: analysis)?|refut\w{1,8}"
    r"|placebo|hidden confound\w{1,5}|unmeasured confound\w{1,5}|hold up|holds up|trust (?:it|this|that))\b"
)
_SIZE = re.compile(
    r"\b(?:how (?:big|large) (?:a|an|must|should|would|does)|size|power)(?: \w{1,20}){0,3}"
    r" (?:test|experiment|pilot|trial)s?\b"
)
_VALUE = re.compile(
    r"\b(?:roi|return on (?:investment|spend)|break ?even|pays? (?:off|back|for (?:itself|themselves))"
    r"|worth (?:it|the))\b"
)
_RESPONSE = re.compile(r"\b(?:react|respond|benefit)s?(?: \w{1,20}){0,2} (?:most|best|more|better|least)\b")
_SHIFT = re.compile(r"\bdistributions?(?: \w{1,20}){0,3} (?:shift|change|move)\w{0,3}\b")
_OWN: tuple[tuple[re.Pattern[str], str], ...] = (
    (_WHAT_IF, WHAT_IF),
    (_ROBUSTNESS, ROBUSTNESS),
    (_SIZE, Intent.EXPERIMENT_DESIGN.value),
    (_VALUE, VALUE),
    (_RESPONSE, Intent.SEGMENT_ANALYSIS.value),
    (_SHIFT, Intent.DRIFT_CHECK.value),
)


@dataclass(frozen=True, slots=True)
class Decomposed:
    """The parts, and notes for the reader on what was left out or read as something."""

    sub_questions: tuple[SubQuestion, ...]
    notes: tuple[str, ...] = ()


def decompose(question: str, context: ComposeContext, vocabulary: Vocabulary, today: date) -> Decomposed:
    """Two to six parts that ask for different things; one where the question has a single facet.

    Raises QuestionNotUnderstood for text that is no question, or names what the data do not have.
    """
    check_readable(question)
    whole = read_names(question, vocabulary, today)
    parts = _parts(question, vocabulary)
    notes = []
    if len(parts) > MOST_PARTS:
        notes.append(f"the question has {len(parts)} parts; the first {MOST_PARTS} are answered")
        parts = parts[:MOST_PARTS]
    found = []
    for text, intent in parts:
        scope, inherited = scope_of(read_names(text, vocabulary, today), whole, context)
        found.append(SubQuestion(text, intent, scope=scope))
        if inherited and len(parts) > 1:
            notes.append(f"'{text[:80]}' was read for {' and '.join(inherited)}, named elsewhere in the question")
    return Decomposed(tuple(found), tuple(notes))


def scope_of(own: Names, whole: Names, context: ComposeContext) -> tuple[Scope, tuple[str, ...]]:
    """The rows a part is about: its own names, else the only one of the whole question, else the context's.

    What a part compares by is not kept to one value unless it names it. Also which names it has from elsewhere in
    the question.
    """
    kept: list[tuple[str, tuple[str, ...]]] = []
    inherited: list[str] = []
    given = {"brand": context.brand, "region": context.region}
    for column in ("brand", "region", "specialty"):
        values = own.values(column)
        if not values and column in own.groupings:
            continue
        if not values and len(whole.values(column)) == 1:
            values = whole.values(column)
            inherited += values
        if not values and given.get(column):
            values = (str(given[column]),)
        if values:
            kept.append((column, values))
    periods = own.periods or whole.periods
    if not own.periods and len(periods) == 1:
        inherited.append(str(periods[0]))
    start = end = None
    if len(periods) == 1:
        start, end = periods[0].start, periods[0].end
    return Scope(tuple(kept), start, end), tuple(inherited)


def facet_of(text: str, vocabulary: Vocabulary) -> str | None:
    """What a piece of text asks for by itself: an intent, or a facet of this agent; None for none that is sure."""
    words = normalise(text)
    if not any(letter.isalpha() for letter in words):
        return None
    for pattern, facet in _OWN:
        if pattern.search(words):
            return facet
    classified = classify(text, vocabulary)
    known = classified.confidence >= _SURE and classified.intent is not Intent.MULTI_FACETED
    return classified.intent.value if known else None


def _parts(question: str, vocabulary: Vocabulary) -> list[tuple[str, str]]:
    """Pieces that ask for something of their own; a piece that does not belongs to the one before it."""
    spans: list[tuple[int, int, str | None]] = []
    for start, end in _pieces(question):
        facet = facet_of(question[start:end], vocabulary)
        if spans and (facet is None or _continues(question[start:end], facet, spans[-1][2])):
            spans[-1] = (spans[-1][0], end, spans[-1][2])
        elif spans and spans[-1][2] is None:
            spans[-1] = (spans[-1][0], end, facet)
        else:
            spans.append((start, end, facet))
    if len(spans) <= 1:
        return [(question.strip(), _only(question, spans, vocabulary))]
    return [(question[start:end].strip(" ,.?!;\n"), facet or Intent.GENERAL.value) for start, end, facet in spans]


def _only(question: str, spans: Sequence[tuple[int, int, str | None]], vocabulary: Vocabulary) -> str:
    facet = facet_of(question, vocabulary) or (spans[0][2] if spans else None)
    return facet or Intent.GENERAL.value


def _continues(text: str, facet: str, before: str | None) -> bool:
    """Whether a piece goes on with what the one before it asks: the same kind, without a beginning of its own.

    "show me" and "how many" alone ask for nothing new.
    """
    begins = _LEAD.search(normalise(text)) is not None
    if facet == Intent.GENERAL:
        return not begins or before is not None and len(normalise(text).split()) < 4
    return facet == before and not begins


def _pieces(question: str) -> list[tuple[int, int]]:
    pieces, at = [], 0
    for cut in _CUT.finditer(question):
        if question[at : cut.start()].strip():
            pieces.append((at, cut.start()))
            at = cut.end()
    if question[at:].strip():
        pieces.append((at, len(question)))
    return pieces
