"""Close the cycle: how well it learnt, what is kept of it, and who has its answers next."""

from __future__ import annotations

import dataclasses
from typing import Any

from langgraph.runtime import Runtime

from src.agents.feedback_learner.batches import batch_of, cycle_of
from src.agents.feedback_learner.deciding import strictest
from src.agents.feedback_learner.needs import retrieval_component
from src.agents.feedback_learner.reward import training_signal
from src.agents.feedback_learner.services import Services, services_of
from src.agents.feedback_learner.state import LearnState, LearnUpdate, Step, TrainingSignal
from src.agents.runtime import Deps, traced_node
from src.errors import E2IError
from src.resilience.outcomes import Unavailable

EXPERIMENT = "feedback_learning"


class CycleLeftOpen(Exception):
    """A cycle could not be closed; it stays running, and whoever resumes it closes it."""


@traced_node("feedback_learner", "finalize")
async def finalize_cycle(state: LearnState, runtime: Runtime[Deps]) -> LearnUpdate:
    """A cycle with an error is closed as failed and its answers are given back, to be learnt from later.

    Answers of components without a decision are given back too: they wait until there are enough. Raises
    CycleLeftOpen where it cannot be closed.
    """
    try:
        if "error" in state:
            return await _failed(state, runtime.context)
        return await _completed(state, runtime.context)
    except E2IError as error:
        raise CycleLeftOpen(f"cycle {state['request'].batch_id} could not be closed: {error}") from error


async def _failed(state: LearnState, deps: Deps) -> LearnUpdate:
    services, cycle_id, error = services_of(deps), cycle_of(state), state["error"]
    await services.items.give_back(cycle_id)
    summary = summary_of(state, None) | {"error": {"type": error.type, "message": error.message, "node": error.node}}
    decision = strictest(state.get("verdicts", ()))
    collected = state.get("collected")
    await services.cycles.finish(
        cycle_id,
        status="failed",
        decision=None if decision is None else str(decision),
        items=0 if collected is None else len(collected.interaction_ids),
        summary=summary,
        at=services.clock(),
    )
    return {"finished": True}


async def _completed(state: LearnState, deps: Deps) -> LearnUpdate:
    services, cycle_id = services_of(deps), cycle_of(state)
    signal = await _signal(state, deps)
    unrecorded = await _recorded(services, cycle_id, state, signal)
    verdicts = state["verdicts"]
    if waiting := _waiting(state, retrieval_component(services.settings)):
        await services.items.give_back(cycle_id, waiting)
    await services.items.finish(cycle_id)
    decision = strictest(verdicts)
    await services.cycles.finish(
        cycle_id,
        status="completed",
        decision=None if decision is None else str(decision),
        items=len(state["collected"].interaction_ids),
        summary=summary_of(state, signal),
        at=services.clock(),
    )
    return {"training_signal": signal, "finished": True, "degraded": unrecorded}


def _waiting(state: LearnState, retrieval: str | None) -> list[str]:
    """The answers whose component has no decision yet, also where retrieval, which shares them, has one."""
    own = [one for one in state["verdicts"] if one.decision is not None and one.component != retrieval]
    decided = {one for verdict in own for one in verdict.interaction_ids}
    return [one for one in state["collected"].interaction_ids if one not in decided]


async def _signal(state: LearnState, deps: Deps) -> TrainingSignal:
    services = services_of(deps)
    cycle = await services.cycles.get(cycle_of(state))
    return training_signal(
        await batch_of(state, deps),
        state.get("patterns", ()),
        state["verdicts"],
        (*state.get("suggestions", ()), *state.get("proposals", ())),
        state["context"].actions,
        seconds=max(0.0, (services.clock() - cycle.started_at).total_seconds()),
        budget_s=services.budget_s,
    )


async def _recorded(services: Services, cycle_id: str, state: LearnState, signal: TrainingSignal) -> tuple[str, ...]:
    """One MLflow run for a cycle; why it is not in the store, where it is not."""
    connector = services.mlflow
    if connector is None:
        return ()
    experiment = await connector.get_or_create_experiment(EXPERIMENT)
    if experiment.experiment_id is not None:
        known = await connector.search_runs([experiment.experiment_id], f"tags.cycle_id = '{cycle_id}'")
        if not isinstance(known, Unavailable) and known:
            return ()
    async with connector.start_run(experiment, run_name=f"cycle-{cycle_id[:8]}", tags={"cycle_id": cycle_id}) as run:
        await run.log_params({f"decision.{one.component}": str(one.decision or "waits") for one in state["verdicts"]})
        await run.log_metrics(_figures(state, signal))
    return () if run.persisted else ("the cycle's MLflow run waits in the spool",)


def _figures(state: LearnState, signal: TrainingSignal) -> dict[str, float]:
    parts = {f"signal.{name}": value for name, value in dataclasses.asdict(signal).items() if value is not None}
    means = {f"rubric.{one.component}": one.mean for one in state["verdicts"] if one.mean is not None}
    return {**parts, **means, **{name: float(value) for name, value in counts_of(state).items()}}


def counts_of(state: LearnState) -> dict[str, int]:
    """How many of what: items, signals by source, patterns, suggestions, proposals, alerts."""
    collected = state.get("collected")
    if collected is None:
        return {}
    return {
        "items": len(collected.interaction_ids),
        "scored_now": collected.scored_now,
        "unscored": collected.unscored,
        "judged_now": state.get("judged_now", 0),
        "user_signals": collected.user_signals,
        "trace_scores": collected.trace_scores,
        "outcomes": collected.outcomes,
        "behaviours": len(collected.behaviours),
        "patterns": len(state.get("patterns", ())),
        "suggestions": len(state.get("suggestions", ())),
        "proposals": len(state.get("proposals", ())),
        "alerts": len(state.get("alerted", ())),
    }


def summary_of(state: LearnState, signal: TrainingSignal | None) -> dict[str, Any]:
    """What the cycle's row keeps: counts, decisions, what was done; no text of an answer."""
    return {
        "counts": counts_of(state),
        "decisions": {one.component: str(one.decision or "waits") for one in state.get("verdicts", ())},
        "reasons": {one.component: one.reason for one in state.get("verdicts", ())},
        "steps": [_step(one) for one in final_steps(state)],
        "training_signal": None if signal is None else dataclasses.asdict(signal),
        "warnings": list(state.get("warnings", ())),
        "degraded": list(state.get("degraded", ())),
    }


def final_steps(state: LearnState) -> tuple[Step, ...]:
    """Every step where it stands last: suggestions, then proposals as they were carried on."""
    carried = {one.action_id: one for one in state.get("actions", ())}
    proposals = (carried.get(one.action_id, one) for one in state.get("proposals", ()))
    return (*state.get("suggestions", ()), *proposals)


def _step(one: Step) -> dict[str, Any]:
    return {
        "component": one.component,
        "action_id": one.action_id,
        "status": None if one.status is None else str(one.status),
        "reason": one.reason,
    }
