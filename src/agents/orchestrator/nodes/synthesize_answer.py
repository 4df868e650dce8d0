"""What is the answer to the question, what is missing in it, and what does the session remember?"""

from __future__ import annotations

from dataclasses import replace

from langgraph.runtime import Runtime

from src.agents.orchestrator.clarifying import seen_by, turn_of
from src.agents.orchestrator.composing import composed
from src.agents.orchestrator.services import services_of
from src.agents.orchestrator.state import Classification, OrchestratorState, OrchestratorUpdate, Pattern, Written
from src.agents.orchestrator.wording import no_answer, question_back, refusal, told_plainly, with_additions
from src.agents.runtime import Deps, traced_node
from src.domain.findings import Finding


@traced_node("orchestrator", "synthesize")
async def synthesize_answer(state: OrchestratorState, runtime: Runtime[Deps]) -> OrchestratorUpdate:
    """Put the findings into words, name what is absent, and keep the turn."""
    classified, findings, request = state.get("classification"), state.get("findings", ()), state["request"]
    if classified is None:
        return {"written": told_plainly(_broken(state))}
    written = await _written(state, classified, findings, runtime.context)
    headline = next((finding.headline for finding in findings if finding.answered), "")
    turn = turn_of(
        classified,
        state["trace_id"],
        request.query,
        turns=seen_by(state.get("turns", ()), request.role, services_of(runtime.context).guards),
        headline=headline,
        findings=tuple(finding for finding in findings if finding.answered),
        role=request.role,
    )
    return {
        "written": written,
        "turns": (turn,),
        "degraded": (*state.get("degraded", ()), *written.degraded),
    }


async def _written(
    state: OrchestratorState, classified: Classification, findings: tuple[Finding, ...], deps: Deps
) -> Written:
    if state.get("error") is not None:
        return told_plainly(_broken(state))
    if classified.pattern is Pattern.DECLINED:
        return told_plainly(refusal(classified))
    if classified.pattern is Pattern.CLARIFICATION_NEEDED:
        return told_plainly(question_back(classified))
    request = state["request"]
    asked = replace(request, query=classified.resolved, user_expertise=classified.expertise or request.user_expertise)
    written = await composed(asked, findings, state.get("contexts", ()), deps.trace_id, services_of(deps))
    if not any(finding.answered for finding in findings):
        return written
    return replace(written, answer=with_additions(written.answer, findings, classified.assumptions))


def _broken(state: OrchestratorState) -> str:
    """A node before this one failed, and nobody was asked."""
    error = state.get("error")
    return f"No answer can be given: {error.message}" if error is not None else no_answer(())
