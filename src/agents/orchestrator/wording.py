"""How is said what cannot be answered, what is missing in an answer, and what was assumed for it?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from src.agents.orchestrator.state import Classification, Written
from src.domain.findings import Finding, FindingStatus, Insight, StatementKind
from src.domain.question import WORDS_UNUSED

_STATUS = {
    FindingStatus.UNAVAILABLE: "is unavailable",
    FindingStatus.TIMEOUT: "did not answer in time",
    FindingStatus.FAILED: "failed",
    FindingStatus.DECLINED: "gave no answer",
}


def told_plainly(text: str) -> Written:
    """Words that no finding stands behind: a question back, a refusal, an outage."""
    return Written(text, "template", None, (), (), ())


def question_back(classified: Classification) -> str:
    """The question asked back with what there is to choose from."""
    options = [f"{at}. {option}" for at, option in enumerate(classified.options, start=1)]
    return "\n".join([classified.question_back, *options])


def refusal(classified: Classification) -> str:
    """Why a question is not answered."""
    return f"This is not answered: {classified.declined.rstrip('.')}."


def no_answer(findings: Sequence[Finding]) -> str:
    """No agent gave an answer, and why."""
    return " ".join(["No answer can be given.", *(absence(finding) for finding in findings)])


def absence(finding: Finding) -> str:
    """One agent that gave no answer, by name."""
    reason = finding.reason.rstrip(".")
    return f"{agent_name(finding.agent)} {_STATUS.get(finding.status, 'gave no answer')}: {reason}."


def agent_name(agent: str) -> str:
    """An agent as it is named to a reader."""
    return f"The agent {agent}"


def headlines(findings: Sequence[Finding]) -> str:
    """The findings' own sentences: what is said where the written answer does not hold."""
    told: list[str] = []
    for finding in findings:
        if finding.answered:
            told += [finding.headline, *(one.text for one in finding.of(StatementKind.CAVEAT, StatementKind.WARNING))]
    return " ".join(_sentence(text) for text in dict.fromkeys(told) if text)


def with_additions(answer: str, findings: Sequence[Finding], assumptions: Iterable[str]) -> str:
    """The answer, with each absent agent named and each assumption said that it does not tell of itself.

    Words of the question that were not used are told before the answer: it may be one to another question.
    """
    absent = [absence(finding) for finding in findings if not finding.answered and finding.agent not in answer]
    told = list(assumptions)
    unused = [one for one in told if one.startswith(WORDS_UNUSED)]
    answer = "\n\n".join([*([_sentence(f"Note: {'; '.join(unused)}")] if unused else []), answer])
    assumed = [one for one in told if one not in answer]
    said = [_sentence(f"Assumed: {'; '.join(assumed)}")] if assumed else []
    return "\n\n".join([answer, *([" ".join([*absent, *said])] if absent or said else [])])


def citations(findings: Sequence[Finding]) -> tuple[str, ...]:
    """The evidence that the findings' sentences and figures rest on: what an answer cites, not all there is."""
    told = (ref for one in findings for statement in one.statements for ref in statement.evidence)
    counted = (figure.evidence for one in findings for figure in one.figures)
    return tuple(dict.fromkeys([*told, *counted]))


def recommendations(findings: Sequence[Finding]) -> tuple[str, ...]:
    """What the findings recommend."""
    return tuple(one.text for finding in findings for one in finding.of(StatementKind.RECOMMENDATION))


def insights(findings: Sequence[Finding]) -> tuple[Insight, ...]:
    """The findings' headlines with their evidence."""
    told = [finding for finding in findings if finding.answered and finding.headline]
    return tuple(
        Insight("finding", one.headline, one.confidence, at, citations([one]))
        for at, one in enumerate(told, start=1)
        if citations([one])
    )


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."
