"""Scripted judges, judgements and contexts for the rubric's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from src.agents.feedback_learner.evaluation.rubric_configuration import SelfImprovementConfig, load_self_improvement
from src.agents.feedback_learner.evaluation.rubric_evaluator import RubricEvaluator
from src.domain.rubric import CRITERIA, RubricContext
from src.llm.client import LLMClient
from src.llm.configuration import load_llm_config
from src.llm.detection import client_over, open_client
from src.llm.scripted import ScriptedVendor
from src.scripted_servers.replies import Reply, Script
from tests.unit.test_agents.test_feedback_learner.rubric_pairs import CONTEXTS, EVIDENCE, SOUND
from tests.unit.test_llm.wires import PRICES, Server, Waits, WireName, serve, settings

QUOTE = "One more detailing call per month raised Kisqali TRx by 2.3 per oncologist"


def context(answer: str = SOUND, **changes: Any) -> RubricContext:
    return RubricContext(
        **({"query": "What do calls do?", "answer": answer, "contexts": CONTEXTS, "evidence": EVIDENCE} | changes)
    )


def judged(scores: float | Mapping[str, float] = 4.0, quotes: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What a model answers: the same score everywhere, or one each; one quote for all but those given."""
    given = scores if isinstance(scores, Mapping) else dict.fromkeys(CRITERIA, scores)
    criteria = {
        name: {"reasoning": f"about {name}", "evidence_quote": (quotes or {}).get(name, QUOTE), "score": given[name]}
        for name in CRITERIA
    }
    return {**criteria, "suggestion": "Name an owner."}


def config(**evaluation: Any) -> SelfImprovementConfig:
    """The shipped configuration, the judge's settings changed."""
    shipped = load_self_improvement()
    return shipped.model_copy(update={"evaluation": shipped.evaluation.model_copy(update=evaluation)})


def scripted(script: Script, **changes: Any) -> tuple[LLMClient, ScriptedVendor]:
    """A client over written replies, and what records its requests."""
    vendor = ScriptedVendor(script)
    file = load_llm_config(environ={})
    client = client_over(
        vendor, file.model_copy(update=changes), models={"judge": "scripted-judge"}, prices=PRICES, sleep=Waits()
    )
    return client, vendor


def by(scores: float | Mapping[str, float], **changes: Any) -> RubricEvaluator:
    """An evaluator whose model always gives these scores."""
    return RubricEvaluator(config(**changes), scripted(Reply.json(judged(scores)))[0], sleep=Waits())


@asynccontextmanager
async def served(
    wire: WireName, script: Script, **server_options: Any
) -> AsyncIterator[tuple[RubricEvaluator, Server]]:
    """An evaluator over the vendor's real SDK and a scripted server."""
    with serve(wire, script, **server_options) as server:
        client = open_client(settings(wire, server), prices=PRICES, sleep=Waits())
        try:
            yield RubricEvaluator(config(), client, sleep=Waits()), server
        finally:
            await client.aclose()
