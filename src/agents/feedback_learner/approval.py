"""How does a change wait for a person's word, for days if need be, and go on where it stopped?

Each change is a small graph of its own that is interrupted until somebody answers: the cycle that wished for it has
long ended, and no process waits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command, interrupt

from src.agents.nesting import no_part_of_the_caller
from src.agents.requests import require_name, require_text
from src.domain.improvement import ActionStatus, Hop
from src.optimization.pipeline.results import CarriedOn


class Deciding(Protocol):
    """What a person's word does to a change."""

    async def approve(self, action_id: str, by: str) -> CarriedOn:
        """The change goes on. Raises GuardrailViolation where it waits for nobody."""
        ...

    async def reject(self, action_id: str, by: str, reason: str) -> CarriedOn:
        """The change ends. Raises GuardrailViolation where it cannot be refused any more."""
        ...

    async def carry_on(self, action_id: str) -> CarriedOn:
        """Every step that can be taken now. Raises RunNotFound."""
        ...


class ApprovalState(TypedDict, total=False):
    """``answer`` is {"approved": bool, "by": str, "reason": str}; ``status``, ``done`` and ``waits_for`` say what came
    of it."""

    action_id: str
    question: str
    answer: dict[str, Any]
    status: str
    done: list[str]
    waits_for: str


@dataclass(frozen=True)
class _Context:
    deciding: Deciding


ApprovalGraph = CompiledStateGraph[ApprovalState, _Context, ApprovalState, ApprovalState]


async def ask_person(state: ApprovalState) -> ApprovalState:
    """Stop until somebody answers. Nothing stands before the interruption: the node runs again from its top."""
    answer: dict[str, Any] = interrupt({"action_id": state["action_id"], "question": state["question"]})
    return {"answer": answer}


async def carry_out(state: ApprovalState, runtime: Runtime[_Context]) -> ApprovalState:
    """Do what the person said. Done again after a kill, or where the change waits for nobody any more, it only says
    where the change stands."""
    deciding, answer, action_id = runtime.context.deciding, state["answer"], state["action_id"]
    found = await deciding.carry_on(action_id)
    if found.status is ActionStatus.AWAITING_APPROVAL:
        found = await _decided(deciding, action_id, answer)
    return {"status": found.status.value, "done": [one.value for one in found.done], "waits_for": found.waits_for}


async def _decided(deciding: Deciding, action_id: str, answer: dict[str, Any]) -> CarriedOn:
    if not answer["approved"]:
        return await deciding.reject(action_id, answer["by"], answer["reason"])
    return await deciding.approve(action_id, answer["by"])


def build_approval_graph(checkpointer: BaseCheckpointSaver[Any]) -> ApprovalGraph:
    """ask → carry_out, interrupted in between."""
    graph = StateGraph(ApprovalState, context_schema=_Context)
    graph.add_node("ask", ask_person)
    graph.add_node("carry_out", carry_out)
    graph.add_edge(START, "ask")
    graph.add_edge("ask", "carry_out")
    graph.add_edge("carry_out", END)
    return graph.compile(checkpointer=checkpointer)


class ApprovalDesk:
    """Keeps questions to people in the checkpointer, a thread for each change."""

    def __init__(self, checkpointer: BaseCheckpointSaver[Any], deciding: Deciding) -> None:
        self._checkpointer, self._context = checkpointer, _Context(deciding)
        self._graph = build_approval_graph(checkpointer)

    async def ask(self, action_id: str, question: str) -> None:
        """Put a change to a person; one that is asked already stays as it is."""
        with no_part_of_the_caller():
            if await self.state_of(action_id) == "none":
                asked: ApprovalState = {"action_id": action_id, "question": question}
                await self._graph.ainvoke(asked, _thread(action_id), context=self._context, durability="sync")

    async def answer(self, action_id: str, *, approved: bool, by: str, reason: str = "") -> CarriedOn:
        """Carry out what somebody said of a change, and forget the question; gives where the change stands then.

        What was said before by somebody whose process was killed is carried out instead. Raises ContractViolation
        without a name or, to refuse, a reason; GuardrailViolation where the change waits for nobody; RunNotFound.
        """
        require_name(by, "by")
        if not approved:
            require_text(reason, "reason")
        answer = {"approved": approved, "by": by, "reason": reason}
        with no_part_of_the_caller():
            asked = await self.state_of(action_id)
            if asked == "none":
                return await _decided(self._context.deciding, action_id, answer)
            command: Command[Any] | None = Command(resume=answer) if asked == "waiting" else None
            state = await self._graph.ainvoke(command, _thread(action_id), context=self._context, durability="sync")
        await self._checkpointer.adelete_thread(_thread_id(action_id))
        done = tuple(Hop(one) for one in state["done"])
        return CarriedOn(action_id, ActionStatus(state["status"]), done, state["waits_for"])

    async def state_of(self, action_id: str) -> Literal["none", "waiting", "answered"]:
        """Whether a change was put to a person, and whether that person's word is still to be carried out."""
        snapshot = await self._graph.aget_state(_thread(action_id))
        if not snapshot.next:
            return "none"
        return "waiting" if snapshot.next == ("ask",) else "answered"


def _thread_id(action_id: str) -> str:
    return f"improvement/{action_id}"


def _thread(action_id: str) -> RunnableConfig:
    return {"configurable": {"thread_id": _thread_id(action_id)}}
