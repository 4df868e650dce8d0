"""How much longer than its concurrency allows does judging take? ``python -m benchmarks.rag.judging [SAMPLES]``

A judge answers every request after 300 ms. The bound is requests × 0.3 s / requests at a time; the ratio to it is the
overhead of RAGAS, the SDK, tracing and our own code, and of waiting where work was there.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import threading
import time

from src.rag.embeddings.hashed import HashedEmbeddings
from src.rag.evaluation import EvaluationConfig, EvaluationSample, RAGASEvaluator
from src.rag.judging.ragas_adapter import load_ragas
from src.scripted_servers.anthropic import ScriptedAnthropic
from src.scripted_servers.replies import Prompt, Reply
from tests.rag.lexical_judge import lexical_judge

SECONDS = 0.3


class SlowJudge:
    """Answers late, and notes how many requests were open at once."""

    def __init__(self) -> None:
        self._say = lexical_judge()
        self._lock = threading.Lock()
        self._open = 0
        self.requests = 0
        self.most = 0

    def __call__(self, prompt: Prompt) -> Reply:
        """The reply, after 300 ms."""
        with self._lock:
            self._open += 1
            self.requests += 1
            self.most = max(self.most, self._open)
        time.sleep(SECONDS)
        with self._lock:
            self._open -= 1
        return self._say(prompt)


def samples(count: int) -> list[EvaluationSample]:
    """Questions with an answer, a ground truth and two contexts each."""
    return [
        EvaluationSample(f"How many in week {n}?", f"It was {n}.", (f"It was {n}.", "Rain fell."), f"It was {n}.")
        for n in range(count)
    ]


async def measure(count: int, max_concurrent: int) -> None:
    """Judge ``count`` samples and print the ratio to the bound."""
    judge = SlowJudge()
    with ScriptedAnthropic(judge) as server:
        os.environ["ANTHROPIC_BASE_URL"] = server.base_url
        evaluator = RAGASEvaluator(
            EvaluationConfig(max_concurrent=max_concurrent, max_dollars=None),
            "anthropic",
            embeddings=HashedEmbeddings(),
        )
        began = time.perf_counter()
        results = await evaluator.evaluate_batch(samples(count), "benchmark")
        took = time.perf_counter() - began
    bound = judge.requests * SECONDS / max_concurrent
    measured = sum(one.faithfulness is not None for one in results)
    print(
        f"{count} samples, {judge.requests} requests, at most {judge.most} at once (allowed {max_concurrent}): "
        f"{took:.1f} s, bound {bound:.1f} s, ratio {took / bound:.2f}; faithfulness measured in {measured}"
    )


def main() -> None:
    """Measure with the shipped limit and with a larger one."""
    os.environ.update(ANTHROPIC_API_KEY="sk-benchmark", E2I_LLM_MAX_TOKENS="100000000")
    os.environ.setdefault("E2I_VAR_DIR", tempfile.mkdtemp(prefix="e2i-benchmark-"))
    load_ragas()
    # The SDK is imported by the first request.
    asyncio.run(measure(1, 1))
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    for max_concurrent in (5, 10):
        asyncio.run(measure(count, max_concurrent))


if __name__ == "__main__":
    main()
