"""What does the judge say of one sample, metric by metric?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from traceback import extract_tb
from typing import Any

from pydantic import BaseModel

from src.errors import BudgetExhausted, E2IError, ServiceOutage, ServiceRefused
from src.rag.embeddings.provider import EmbeddingProvider
from src.rag.judging.calls import Judge
from src.rag.judging.metering import Tally
from src.rag.judging.ragas_adapter import Exchange, Ragas, run_metric
from src.rag.judging.verdicts import judged
from src.rag.samples import EvaluationSample
from src.rag.scores import METRICS, Metric, MetricScore, unmeasured
from src.resilience.outcomes import Unavailable

Fields = dict[str, Any]


@dataclass(frozen=True, slots=True)
class JudgedSample:
    """Scores of every metric, and the first error that is nobody's outage, with its type."""

    scores: dict[Metric, MetricScore]
    error: str | None = None


@dataclass(slots=True)
class _Faults:
    """Errors of our own or of RAGAS that a metric met."""

    found: list[str] = field(default_factory=list)


class RagasScorer:
    """Scores samples with RAGAS; its metrics run side by side, each with a metric object of its own."""

    def __init__(
        self, ragas: Ragas, judge: Judge, embeddings: EmbeddingProvider | Unavailable, *, timeout_s: float
    ) -> None:
        self._ragas = ragas
        self._judge = judge
        self._embeddings = embeddings
        self._timeout_s = timeout_s

    @property
    def model(self) -> str | None:
        """The judge, once it has answered."""
        return self._judge.model

    async def score(self, sample: EvaluationSample, tally: Tally) -> JudgedSample:
        """Every metric, measured or not, within the time-out. Raises nothing a judge can do."""
        deadline = asyncio.get_running_loop().time() + self._timeout_s
        faults = _Faults()
        scores = await asyncio.gather(*(self._metric(one, sample, deadline, tally, faults) for one in METRICS))
        return JudgedSample(dict(zip(METRICS, scores, strict=True)), faults.found[0] if faults.found else None)

    async def _metric(
        self, metric: Metric, sample: EvaluationSample, deadline: float, tally: Tally, faults: _Faults
    ) -> MetricScore:
        missing, name, fields = _request(metric, sample)
        if missing is None and metric in _EMBEDDED and isinstance(self._embeddings, Unavailable):
            missing = f"texts cannot be embedded: {self._embeddings.reason}"
        if missing is not None:
            return unmeasured(missing)
        exchange = Exchange(self._asking(deadline, tally, distinct=metric == "answer_relevancy"))
        provider = None if isinstance(self._embeddings, Unavailable) or metric not in _EMBEDDED else self._embeddings
        try:
            async with asyncio.timeout_at(deadline):
                value = await run_metric(self._ragas, name, fields, exchange, provider)
            return judged(metric, value, exchange, reference=sample.ground_truth)
        except TimeoutError:
            return unmeasured(f"not judged within {self._timeout_s:g} s", transient=True)
        except E2IError as error:
            return unmeasured(f"{type(error).__name__}: {error}", transient=isinstance(error, _TRANSIENT))
        except Exception as error:  # noqa: BLE001 - recorded with the sample; the rest of the batch goes on
            faults.found.append(described(error))
            return unmeasured(described(error))

    def _asking(self, deadline: float, tally: Tally, *, distinct: bool) -> Callable[[str, type[BaseModel]], Any]:
        asked: dict[str, int] = {}

        async def ask(prompt: str, schema: type[BaseModel]) -> BaseModel:
            # Without this a reply cache, or a model without temperature, gives one question three times.
            asked[prompt] = draw = asked.get(prompt, 0) + 1
            system = f"Independent draw {draw}: word the question afresh." if distinct and draw > 1 else None
            return await self._judge.ask(prompt, schema, deadline=deadline, tally=tally, system=system)

        return ask


_TRANSIENT = (ServiceOutage, ServiceRefused, BudgetExhausted)
_EMBEDDED: tuple[Metric, ...] = ("answer_relevancy", "answer_correctness")
_NO_ANSWER = "there is no answer"
_NO_CONTEXT = "there are no contexts"
_NO_TRUTH = "there is no ground truth"


def _request(metric: Metric, sample: EvaluationSample) -> tuple[str | None, str, Fields]:
    """What is missing, or RAGAS's name of the metric and what it takes."""
    question, answer, truth = sample.query, _text(sample.answer), _text(sample.ground_truth)
    # Blank contexts stay: they take a rank.
    contexts = list(sample.scored_contexts) if any(map(str.strip, sample.scored_contexts)) else []
    asked: Fields = {"user_input": question}
    if metric == "faithfulness":
        missing = _NO_ANSWER if answer is None else None if contexts else _NO_CONTEXT
        return missing, "Faithfulness", {**asked, "response": answer, "retrieved_contexts": contexts}
    if metric == "answer_relevancy":
        return (_NO_ANSWER if answer is None else None), "AnswerRelevancy", {**asked, "response": answer}
    if metric == "context_recall":
        missing = _NO_TRUTH if truth is None else None if contexts else _NO_CONTEXT
        return missing, "ContextRecall", {**asked, "retrieved_contexts": contexts, "reference": truth}
    if metric == "answer_correctness":
        missing = _NO_ANSWER if answer is None else _NO_TRUTH if truth is None else None
        return missing, "AnswerCorrectness", {**asked, "response": answer, "reference": truth}
    asked["retrieved_contexts"] = contexts
    if truth is not None:
        missing, name, against = None, "ContextPrecisionWithReference", {"reference": truth}
    else:
        missing = _NO_TRUTH if answer is None else None
        name, against = "ContextPrecisionWithoutReference", {"response": answer or ""}
    return missing if contexts else _NO_CONTEXT, name, {**asked, **against}


def _text(text: str | None) -> str | None:
    return text if text is not None and text.strip() else None


def described(error: BaseException) -> str:
    """Type and place of an error: the message of a foreign one may quote what was judged."""
    if isinstance(error, E2IError):
        return f"{type(error).__name__}: {error}"
    frames = extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}"
