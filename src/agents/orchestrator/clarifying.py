"""How is a question asked back or declined, and what does a session remember of it?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from src.agents.orchestrator.state import MOST_TURNS, Classification, Part, Pattern, Turn
from src.domain.findings import Finding
from src.domain.guards import Guards
from src.domain.question import ClarificationNeeded
from src.domain.vocabulary import Intent

DECLINED = "declined"
OFF_TOPIC = "out_of_domain"
_ASKED_SURE, _KIND_OPEN, _OFF_TOPIC = 0.8, 0.4, 0.5
_EXAMPLES = (
    "effect of rep calls on new prescriptions of Kisqali",
    "where are our HCP-targeting gaps",
    "which segments respond best to rep visits",
    "where should ten extra reps go",
)
_REMEMBERED = (Intent.EXPLANATION, Intent.FEEDBACK)
_ORDINALS = {
    "first": 0,
    "1st": 0,
    "second": 1,
    "2nd": 1,
    "third": 2,
    "3rd": 2,
    "fourth": 3,
    "4th": 3,
    "fifth": 4,
    "5th": 4,
}
_NAMED_BY_PLACE = re.compile(
    rf"\b(?P<ordinal>{'|'.join(_ORDINALS)})\b(?: \w+)?? (?:answers?|results?|questions?|findings? of mine|one)\b"
    r"|\b(?:answer|result|question) (?:no\.? ?|number |#)?(?P<number>[1-9]|1\d|20)\b"
)


def asked_back(resolved: str, intent: str, open_question: ClarificationNeeded) -> Classification:
    """What is missing, with the names to choose from."""
    return Classification(
        Pattern.CLARIFICATION_NEEDED,
        intent,
        _ASKED_SURE,
        "deterministic",
        resolved,
        question_back=open_question.question_back,
        options=open_question.options,
        rule=open_question.missing,
        phrase=open_question.phrase,
    )


def kind_is_open(resolved: str, subject: str) -> Classification:
    """The question names something, or nothing, and does not say what it wants to know."""
    about = f" about {subject}" if subject else ""
    return Classification(
        Pattern.CLARIFICATION_NEEDED,
        str(Intent.GENERAL),
        _KIND_OPEN,
        "deterministic",
        resolved,
        question_back=f"What would you like to know{about}? Name what acts and what it acts on, or ask for example:",
        options=_EXAMPLES,
        rule="kind",
    )


def nothing_before(query: str) -> Classification:
    """The question points at an earlier one that this session does not have."""
    return Classification(
        Pattern.CLARIFICATION_NEEDED,
        str(Intent.GENERAL),
        _ASKED_SURE,
        "deterministic",
        query,
        question_back="What does that refer to? There is no earlier answer in this session; please ask in full.",
        rule="reference",
    )


def declined(resolved: str, rule: str, reason: str, *, confidence: float = 1.0) -> Classification:
    """Not answered, and why."""
    return Classification(
        Pattern.DECLINED, str(Intent.GENERAL), confidence, "deterministic", resolved, declined=reason, rule=rule
    )


def off_topic(resolved: str) -> Classification:
    """Not a question about this business."""
    reason = (
        "this is not a question about prescriptions, promotion, prescribers or this platform; "
        f'ask for example "{_EXAMPLES[0]}"'
    )
    return declined(resolved, OFF_TOPIC, reason, confidence=_OFF_TOPIC)


def left_to_documents(off_topic: Classification) -> Classification:
    """A question that is not about this business may be one that the documents answer; they say whether they do."""
    part = Part(off_topic.resolved, str(Intent.GENERAL), "explainer")
    return Classification(
        Pattern.SINGLE_AGENT, part.intent, off_topic.confidence, off_topic.method, off_topic.resolved, (part,)
    )


def still_open(open_question: Classification) -> Classification:
    """Asked back once and still open: a question is not asked back twice, and nothing is guessed."""
    reason = f"it is still open what is asked ({open_question.rule}): {open_question.question_back}"
    return declined(open_question.resolved, "not_clarified", reason)


def turn_of(
    classified: Classification,
    trace_id: str,
    query: str,
    *,
    turns: Sequence[Turn] = (),
    headline: str = "",
    findings: tuple[Finding, ...] = (),
    role: str = "",
) -> Turn:
    """What is remembered of a question. One about an answer leaves the question it was about in its place."""
    readings = tuple(part.understood for part in classified.parts if part.understood and part.understood.treatment)
    named = answer_named(query, turns)
    about = (named or last_question(turns)) if classified.intent in _REMEMBERED else None
    told = ((named.findings if named else last_findings(turns)) or findings) if about else findings
    return Turn(
        trace_id=trace_id,
        query=query,
        resolved=about.resolved if about else classified.resolved,
        intent=DECLINED if classified.pattern is Pattern.DECLINED else classified.intent,
        understood=readings[0] if readings else next((p.understood for p in classified.parts if p.understood), None),
        headline=headline,
        run_ids=tuple(finding.run_id for finding in told if finding.run_id),
        readings=about.readings if about else readings,
        asked=classified.rule if classified.pattern is Pattern.CLARIFICATION_NEEDED else "",
        phrase=classified.phrase,
        options=classified.options,
        findings=told,
        role=role,
    )


def last_question(turns: Sequence[Turn]) -> Turn | None:
    """The question just asked back, else the last one that was answered: what was asked back waits for one turn."""
    if turns and turns[-1].asked:
        return turns[-1]
    return next((turn for turn in reversed(turns) if turn.intent != DECLINED and not turn.asked), None)


def seen_by(turns: Sequence[Turn], role: str, guards: Guards) -> tuple[Turn, ...]:
    """The turns without what was found for a role from which less is hidden than from ``role``."""
    return tuple(
        turn if not turn.findings or _may_see(role, turn.role, guards) else replace(turn, findings=(), headline="")
        for turn in turns
    )


def _may_see(role: str, before: str, guards: Guards) -> bool:
    return role == before or (before in guards.roles and guards.hidden_columns(role) <= guards.hidden_columns(before))


def answered_for_another(resolved: str) -> Classification:
    """It asks about an answer that was given to a role that may see more."""
    reason = "the answer before was given to a role that sees more than yours; ask the question again in this role"
    return declined(resolved, "other_role", reason)


def answer_named(text: str, turns: Sequence[Turn]) -> Turn | None:
    """The answer of a session that a question names by its place ("the first answer"), None where it names none.

    Answers about other answers, questions back and refusals are not counted.
    """
    place = _place(text)
    told = [turn for turn in turns if turn.intent not in (DECLINED, *_REMEMBERED) and not turn.asked]
    return told[place] if place is not None and -len(told) <= place < len(told) else None


def not_at_hand(text: str, turns: Sequence[Turn]) -> Classification | None:
    """Why an answer that a question names by its place cannot be explained; None where it can, or it names none."""
    if _place(text) is None:
        return None
    named = answer_named(text, turns)
    if named is None or len(turns) >= MOST_TURNS:
        return declined(
            text, "reference", "this session has no such answer that is still known; ask its question again"
        )
    if not named.findings:
        return declined(
            text, "reference", f"what that answer rests on is not kept any more; ask again: {named.resolved}"
        )
    return None


def _place(text: str) -> int | None:
    found = _NAMED_BY_PLACE.search(text.lower())
    if found is None:
        return None
    word = found["ordinal"] or found["number"]
    return int(word) - 1 if word.isdigit() else _ORDINALS[word]


def last_findings(turns: Sequence[Turn]) -> tuple[Finding, ...]:
    """What the last answer of a session rested on."""
    return next((turn.findings for turn in reversed(turns) if turn.findings), ())
