"""Answers with scores, proposals and cycles, as rows of a real database."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import uuid4

from src.domain.improvement import ChangeKind, Proposal
from src.domain.rubric import CRITERIA, RubricDecision
from src.storage.cycles import CycleRepository
from src.storage.database import Database
from src.storage.evaluation_results import RAGAS_COLUMNS, EvaluationRepository, EvaluationRows
from src.storage.improvement_actions import ActionRepository, ImprovementAction
from src.storage.interactions import Interaction, InteractionRepository
from src.storage.postgres_gateway import PostgresGateway
from src.storage.prompt_versions import PromptRepository, PromptVersion

SETTINGS: Mapping[str, Any] = {
    "k": 8, "chunk_size": 512, "chunk_overlap": 50, "dense_weight": 0.5, "text_weight": 0.25, "graph_weight": 0.25,
    "rerank": True,
}  # fmt: skip


async def answered(db: Database, query: str = "why?", **values: Any) -> Interaction:
    """A stored answer without scores."""
    known = {"trace_id": str(uuid4()), "answer": "because", "agents": ["explainer"]} | values
    interaction = Interaction(query=query, **known)
    await InteractionRepository(db).add(interaction)
    return interaction


async def judged(db: Database, interaction: Interaction, rubric: float = 3.0, ragas: float = 0.8, **values: Any) -> str:
    """Give an answer its scores, all criteria and all metrics alike; the id of its signal."""
    signal = {
        "signal_id": str(uuid4()), "interaction_id": interaction.interaction_id, "trace_id": interaction.trace_id,
        "component": interaction.component, "rubric_decision": "SUGGESTION",
        "signal_details": {"rubric": {"weaknesses": ["actionability"]}},
        "rubric_scores": dict.fromkeys(CRITERIA, rubric), "ragas_scores": dict.fromkeys(RAGAS_COLUMNS, ragas),
    }  # fmt: skip
    result: dict[str, Any] = {
        "evaluation_id": str(uuid4()), "query": interaction.query, "response": interaction.answer,
        "retrieved_contexts": [], "context_count": 0, "method": "ragas", "rubric_method": "llm", "unmeasured": {},
        "created_at": datetime.now().astimezone().isoformat(),
        **dict.fromkeys(CRITERIA, rubric), **dict.fromkeys(RAGAS_COLUMNS, ragas),
    }  # fmt: skip
    signal_id = await EvaluationRepository(PostgresGateway(db)).store(EvaluationRows(signal, result | values))
    await db.execute(
        "UPDATE rag_interactions SET evaluated_at = now() WHERE interaction_id = %s", (interaction.interaction_id,)
    )
    return signal_id


async def scored(db: Database, query: str = "why?", *, rubric: float = 3.0, ragas: float = 0.8, **values: Any) -> str:
    """A stored answer with scores; its id."""
    interaction = await answered(db, query, **values)
    await judged(db, interaction, rubric, ragas)
    return interaction.interaction_id


def proposal(component: str = "explainer", after: str = "new", **values: Any) -> Proposal:
    """A wish for another wording."""
    known: dict[str, Any] = {
        "kind": ChangeKind.PROMPT, "before": {"text": "old"}, "after": {"text": after}, "reason": "say the interval",
        "decision": RubricDecision.AUTO_UPDATE, "judged_by": "llm",
    }  # fmt: skip
    return Proposal(component, **known | values)


async def cycle(db: Database) -> str:
    """The running cycle."""
    return (await CycleRepository(db).start("manual")).cycle_id


async def action(db: Database, component: str = "explainer", after: str = "new", **values: Any) -> ImprovementAction:
    """A proposed change of the running cycle."""
    return await ActionRepository(db).propose(
        proposal(component, after, **values), cycle_id=await cycle(db), priority="high"
    )


async def prompts(db: Database, *texts: str, component: str = "explainer") -> list[PromptVersion]:
    """Versions of a prompt: the first is active, the others are candidates to take its place."""
    repository = PromptRepository(db)
    added = []
    for text in texts:
        candidate = await repository.add_candidate(
            component, text, action_id=None, origin="improvement", created_by="test"
        )
        added.append(candidate)
        if len(added) == 1:
            await repository.activate(component, candidate.version, "anna")
    return added
