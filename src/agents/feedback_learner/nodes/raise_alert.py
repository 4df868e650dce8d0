"""Tell a person of components that are too bad to be changed without one."""

from __future__ import annotations

from langgraph.runtime import Runtime

from src.agents.feedback_learner.batches import cycle_of
from src.agents.feedback_learner.services import services_of
from src.agents.feedback_learner.state import ComponentVerdict, LearnState, LearnUpdate
from src.agents.runtime import Deps, traced_node
from src.domain.alerts import Alert, AlertSeverity
from src.domain.rubric import RubricDecision


@traced_node("feedback_learner", "raise_alert")
async def raise_alert(state: LearnState, runtime: Runtime[Deps]) -> LearnUpdate:
    """One alert for each escalated component; repeats of the same matter are held back by the sender."""
    services, told, undelivered = services_of(runtime.context), [], []
    for verdict in state["verdicts"]:
        if verdict.decision is RubricDecision.ESCALATE:
            sent = await services.alerts.send(_alert(verdict, cycle_of(state), state, runtime.context))
            told.append(verdict.component)
            if not sent:
                undelivered.append(verdict.component)
    warnings = tuple(f"the alert about {one} was not sent anew" for one in undelivered)
    return {"alerted": tuple(told), "warnings": warnings}


def _alert(verdict: ComponentVerdict, cycle_id: str, state: LearnState, deps: Deps) -> Alert:
    kinds = sorted({one.kind for one in state.get("patterns", ()) if one.component == verdict.component})
    return Alert(
        severity=AlertSeverity.CRITICAL,
        subject=f"Answers of {verdict.component} need a person",
        message=(
            f"{verdict.reason}; it is not changed automatically. Read its answers ('e2i runs'), "
            "and mend it or take back its last change ('e2i improve history')"
        ),
        key=f"rubric_escalation:{verdict.component}",
        at=services_of(deps).clock(),
        details={
            "cycle_id": cycle_id,
            "component": verdict.component,
            "mean": None if verdict.mean is None else round(verdict.mean, 4),
            "answers": len(verdict.interaction_ids),
            "weaknesses": list(verdict.weaknesses),
            "patterns": kinds,
        },
    )
