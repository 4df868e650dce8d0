"""What do the tests of the judge stand on? A server per provider, and evaluators that ask it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import pytest

from src.rag.embeddings.hashed import HashedEmbeddings
from src.rag.evaluation import EvaluationConfig, EvaluationSample, RAGASEvaluator
from src.rag.opik_integration import OpikEvaluationTracer
from src.scripted_servers.anthropic import ScriptedAnthropic
from src.scripted_servers.openai import ScriptedOpenAI
from src.scripted_servers.replies import Script

Provider = Literal["anthropic", "openai"]
Server = ScriptedAnthropic | ScriptedOpenAI
CONTEXTS = (
    "Kisqali TRx in the northeast rose from 1180 in January to 1342 in June.",
    "The largest monthly gain was 48 scripts in May.",
)
TRUTH = "Kisqali TRx rose from 1180 to 1342."


@contextmanager
def judging(provider: Provider, script: Script, patch: pytest.MonkeyPatch, **server: Any) -> Iterator[Server]:
    """A server of that provider's wire format, and the environment that points to it."""
    kind: Callable[..., Server] = ScriptedAnthropic if provider == "anthropic" else ScriptedOpenAI
    with kind(script, **server) as running:
        patch.setenv(f"{provider.upper()}_API_KEY", "sk-test")
        patch.setenv(f"{provider.upper()}_BASE_URL", running.base_url)
        yield running


async def no_wait(_: float) -> None:
    """Retries need no time in tests."""


def evaluator(tracer: OpikEvaluationTracer | None = None, **given: Any) -> RAGASEvaluator:
    """An evaluator over the judge of the environment; keys of ``EvaluationConfig`` and of the evaluator."""
    own = {"llm_provider", "llm", "embeddings", "heuristic", "sleep"}
    config = EvaluationConfig(**{key: value for key, value in given.items() if key not in own})
    options = {"embeddings": HashedEmbeddings(), "sleep": no_wait} | {
        key: value for key, value in given.items() if key in own
    }
    return RAGASEvaluator(config, enable_opik_tracing=False, tracer=tracer, **options)


def sample(answer: str | None = TRUTH, **changes: Any) -> EvaluationSample:
    """A question that CONTEXTS answer."""
    given: dict[str, Any] = {"query": "How did Kisqali TRx change?", "ground_truth": TRUTH, "contexts": CONTEXTS}
    return EvaluationSample(**{**given, "answer": answer, **changes})
