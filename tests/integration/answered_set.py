"""What has to hold of the answer to any question of the set, whoever read it and whoever wrote it?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from src.agents.explainer.phrasing import tells
from src.agents.explainer.wording import SUPPORTED, sentences
from src.agents.orchestrator.agent import QueryResult
from src.app import E2I
from src.domain.causal_words import claims_cause, claims_proof
from src.domain.figures import unfounded_numbers
from src.domain.findings import Finding, known_of, texts_of
from src.domain.identifiers import find_identifiers
from src.errors import QuestionNotUnderstood
from src.storage.records import RunRecord
from tests.integration.answering_panel import AnsweringPanel
from tests.unit.test_agents.test_orchestrator.question_set import Case, misses


async def ask_case(e2i: E2I, case: Case) -> QueryResult | QuestionNotUnderstood:
    """The answer to a question at the end of its session, or why it is no question."""
    session = None
    for before in case.before:
        session = (await e2i.ask(before, session_id=session)).session_id
    try:
        return await e2i.ask(case.question, session_id=session)
    except QuestionNotUnderstood as error:
        return error


def answered(results: Iterable[QueryResult | QuestionNotUnderstood]) -> list[QueryResult]:
    """Those that are results."""
    return [one for one in results if not isinstance(one, QuestionNotUnderstood)]


def answer_problems(case: Case, result: QueryResult | QuestionNotUnderstood) -> list[str]:
    """What is wrong with an answer, one line each."""
    if isinstance(result, QuestionNotUnderstood):
        return [] if case.expected.get("rule") == "unreadable" else [f"not understood: {result}"]
    assert result.classification is not None
    if case.expected.get("rule") == "out_of_domain" and result.findings:
        return _answered_by_documents(result)
    found = misses(case, result.classification)
    if result.error is not None:
        found.append(f"error {result.error.error_type}: {result.error.message}")
    if "rule" in case.expected:
        return found + _not_refused(result)
    if "asks" in case.expected:
        return found + _not_asked_back(result)
    return found + _not_answered(result) + _misleading(result)


def untraced_numbers(result: QueryResult) -> tuple[str, ...]:
    """Numbers of an answer that stand neither in its findings nor in why one is missing."""
    said = [*texts_of(result.findings), *(text for one in result.findings for text in (one.reason, *one.degraded))]
    return unfounded_numbers(result.answer, known_of(result.findings), said)


def _not_refused(result: QueryResult) -> list[str]:
    reason = (result.declined or "").rstrip(".")
    held = bool(reason) and reason in result.answer and not result.findings
    return [] if held else [f"not refused with its reason: {result.answer[:80]}"]


def _answered_by_documents(result: QueryResult) -> list[str]:
    """What is not about this business may stand in a document; where it does not, the answer says so."""
    found = [f"answered by {one.agent}: {one.headline}" for one in result.findings if one.answered]
    return found + [
        f"{one.agent} does not say why" for one in result.findings if one.reason.rstrip(".") not in result.answer
    ]


def _not_asked_back(result: QueryResult) -> list[str]:
    asked = bool(result.clarification) and result.clarification in result.answer and not result.findings
    return [] if asked and all(one in result.answer for one in result.options) else ["not asked back"]


def _not_answered(result: QueryResult) -> list[str]:
    found = [] if result.findings else ["nobody was asked"]
    found += [f"number {one} is of no finding" for one in untraced_numbers(result)]
    for one in result.findings:
        if one.answered and not any(one.evidence):
            found.append(f"{one.agent} names no evidence")
        if not one.answered and (not one.reason or one.reason.rstrip(".") not in result.answer):
            found.append(f"{one.agent} gave nothing, and the answer does not say why")
        effect = next((each for each in one.figures if each.name == "effect"), None)
        if effect is not None and one.agent == "causal_impact" and not tells(result.answer, effect):
            found.append("the interval of the effect is lost")
    return found


def _misleading(result: QueryResult) -> list[str]:
    found = ["it claims proof"] if claims_proof(result.answer) else []
    if find_identifiers(result.answer):
        found.append("it names a person")
    if not any(one.verdict == SUPPORTED for one in result.findings) and _claims_a_cause(result.findings):
        found.append("it claims a cause that no verdict supports")
    return found


def _claims_a_cause(findings: Iterable[Finding]) -> bool:
    effects = [one for one in findings if one.verdict]
    return any(claims_cause(sentence) for one in effects for sentence in sentences(one.headline))


@dataclass(frozen=True)
class Effect:
    """An estimated effect beside the generator's truth of the same rows; ``truth`` None where it has none."""

    asked: tuple[str, str, str | None, str | None]
    lower: float | None
    upper: float | None
    verdict: str
    truth: float | None
    identifiable: bool

    @property
    def covered(self) -> bool:
        return self.lower is not None and self.upper is not None and self.lower <= (self.truth or 0.0) <= self.upper

    def __str__(self) -> str:
        ends = "no estimate" if self.lower is None else f"{self.lower:.3f} to {self.upper:.3f}"
        return f"{self.asked}: {ends}, truth {self.truth}, {self.verdict}"


async def effects_of(e2i: E2I, panel: AnsweringPanel, results: Iterable[QueryResult]) -> list[Effect]:
    """Every effect that was estimated for them over all months and specialties, once each."""
    runs = {one.run_id: one for result in results for one in result.findings if one.agent == "causal_impact"}
    found: dict[tuple[Any, ...], Effect] = {}
    for run_id, finding in runs.items():
        if run_id is None:
            continue
        effect = _effect(panel, (await e2i.run(run_id)).run, finding)
        if effect is not None:
            found[effect.asked] = effect
    return list(found.values())


def _effect(panel: AnsweringPanel, run: RunRecord, finding: Finding) -> Effect | None:
    """None for a run on some of the months or specialties, of which nothing is known."""
    kept = {one["column"]: one["value"] for one in run.request["filters"]}
    if set(kept) - {"brand", "region"}:
        return None
    spec = run.request["spec"]
    asked = (spec["treatment"], spec["outcome"], kept.get("brand"), kept.get("region"))
    truth = panel.truth_of(*asked)
    figure = next((one for one in finding.figures if one.name == "effect"), None)
    return Effect(
        asked,
        None if figure is None else figure.lower,
        None if figure is None else figure.upper,
        finding.verdict,
        None if truth is None else float(truth["effect"]),
        truth is not None and bool(truth["identifiable"]),
    )
