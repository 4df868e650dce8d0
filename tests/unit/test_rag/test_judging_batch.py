"""Is the judge asked as often, as concurrently and as long as allowed, and is every call counted?"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import BaseModel

from src.errors import ConfigError, ModelRefused
from src.llm.client import LLMReply, Message
from src.rag.judging.batch import in_parallel
from src.rag.judging.calls import Judge, JudgeAway, JudgeLimits
from src.rag.judging.configuration import EvaluationConfig
from src.rag.judging.metering import MeteringTracer, Tally, tallied
from src.rag.scores import DEFAULT_THRESHOLDS, Cost
from src.resilience.outcomes import Unavailable


@pytest.mark.parametrize("limit", [1, 3, 20])
async def test_exactly_as_many_are_under_way_as_allowed_while_others_wait(limit: int) -> None:
    under_way, begun = 0, 0
    seen: list[tuple[int, int]] = []

    async def work(item: int) -> int:
        nonlocal under_way, begun
        under_way, begun = under_way + 1, begun + 1
        for _ in range(1 + item % 4):
            await asyncio.sleep(0)
        seen.append((under_way, 12 - begun))
        under_way -= 1
        return item * item

    assert await in_parallel(range(12), work, max_concurrent=limit) == [n * n for n in range(12)]
    assert max(count for count, _ in seen) == min(limit, 12)
    assert all(count == limit for count, waiting in seen if waiting)


async def test_results_are_handed_on_one_at_a_time_as_they_come() -> None:
    open_now, most, handed = 0, 0, []

    async def keep(value: int) -> None:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        await asyncio.sleep(0)
        handed.append(value)
        open_now -= 1

    async def work(item: int) -> int:
        await asyncio.sleep(0.001 * (3 - item))
        return item

    assert await in_parallel([0, 1, 2], work, max_concurrent=3, on_done=keep) == [0, 1, 2]
    assert most == 1
    assert handed == [2, 1, 0]


async def test_an_exception_ends_the_others_and_comes_out_as_it_is() -> None:
    cancelled = []

    async def work(item: int) -> None:
        if item == 1:
            raise KeyError("item")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(item)
            raise

    with pytest.raises(KeyError, match="item"):
        await in_parallel([0, 1], work, max_concurrent=2)
    assert cancelled == [0]


async def test_nothing_to_do_is_done() -> None:
    async def work(item: int) -> int:
        return item

    assert await in_parallel([], work, max_concurrent=5) == []


class Verdict(BaseModel):
    verdict: int


def reply(cost: float | None = 0.25, *, cached: bool = False) -> LLMReply:
    return LLMReply('{"verdict": 1}', Verdict(verdict=1), "m", "fake", 10, 2, "end_turn", cost=cost, cached=cached)


class Answers:
    """A client that gives what it was made with, in order."""

    provider = "fake"

    def __init__(self, *given: LLMReply | Unavailable | Exception) -> None:
        self.given = list(given)
        self.asked: list[Any] = []

    async def complete(self, messages: Sequence[Message], **options: Any) -> LLMReply | Unavailable:
        self.asked.append(options)
        answer = self.given.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


async def asked(client: Answers, *, retries: int = 2, seconds: float = 60, waits: list[float] | None = None) -> Tally:
    async def sleep(pause: float) -> None:
        if waits is not None:
            waits.append(pause)

    judge = Judge(client, JudgeLimits(retries, 99, 2), sleep=sleep)  # type: ignore[arg-type]  # a fake of one method
    tally = Tally()
    deadline = asyncio.get_running_loop().time() + seconds
    assert await judge.ask("p", Verdict, deadline=deadline, tally=tally, system="s") == Verdict(verdict=1)
    return tally


async def test_a_question_goes_to_the_judges_model_with_schema_and_limit() -> None:
    client = Answers(reply())
    assert (await asked(client)).cost == Cost(1, 0, 10, 2, 0.25)
    assert client.asked == [{"purpose": "judge", "schema": Verdict, "system": "s", "max_tokens": 99}]


async def test_outages_are_waited_out_as_long_as_they_ask_for() -> None:
    waits: list[float] = []
    await asked(Answers(Unavailable("llm", "429", 7.5), Unavailable("llm", "gone"), reply()), waits=waits)
    assert waits[0] == 7.5
    assert 0.5 <= waits[1] <= 1.0


async def test_after_the_last_try_the_reason_comes_out() -> None:
    client = Answers(*[Unavailable("llm", "HTTP 529")] * 3)
    with pytest.raises(JudgeAway, match="HTTP 529"):
        await asked(client)
    assert len(client.asked) == 3


async def test_a_wait_beyond_the_samples_time_ends_the_tries_at_once() -> None:
    client = Answers(Unavailable("llm", "circuit open", 30.0))
    with pytest.raises(JudgeAway, match="circuit open"):
        await asked(client, seconds=20)
    assert len(client.asked) == 1


async def test_a_refusal_is_not_asked_again() -> None:
    client = Answers(ModelRefused("no"), reply())
    with pytest.raises(ModelRefused):
        await asked(client)
    assert len(client.asked) == 1


def test_a_price_that_is_not_known_stays_unknown() -> None:
    tally = Tally()
    for one in (reply(None), reply(0.5), reply(0.0, cached=True)):
        tally.add_reply(one)
    assert tally.cost == Cost(2, 1, 30, 6, None)


async def test_a_metered_call_counts_for_the_sample_it_was_made_for() -> None:
    tracer = MeteringTracer(None)

    async def call(dollars: float) -> Tally:
        with tallied() as tally:
            async with tracer.trace_llm_call("m", provider="fake") as span:
                await asyncio.sleep(0)
                span.log_tokens(10, 2, 5)
                span.set_cost(dollars)
        return tally

    first, second = await asyncio.gather(call(0.5), call(0.25))
    assert first.cost == Cost(1, 0, 15, 2, 0.5)
    assert second.cost.dollars == 0.25


async def test_an_outage_is_no_call_to_pay_for_and_goes_on() -> None:
    with tallied() as tally, pytest.raises(TimeoutError):
        async with MeteringTracer(None).trace_llm_call("m", provider="fake"):
            raise TimeoutError
    assert tally.cost == Cost()


def test_settings_not_given_are_those_of_the_file() -> None:
    config = EvaluationConfig()
    assert (config.batch_size, config.max_concurrent, config.timeout_seconds, config.retry_count) == (10, 5, 60, 3)
    assert (config.mlflow_experiment, config.log_to_mlflow) == ("rag-evaluation", True)
    assert dict(config.thresholds) == dict(DEFAULT_THRESHOLDS)


def test_a_threshold_given_leaves_the_others() -> None:
    config = EvaluationConfig(thresholds={"faithfulness": 0.5})
    assert dict(config.thresholds) == {**DEFAULT_THRESHOLDS, "faithfulness": 0.5}


@pytest.mark.parametrize(
    "wrong",
    [
        {"thresholds": {"fidelity": 0.5}},
        {"thresholds": {"faithfulness": 1.5}},
        {"thresholds": {"faithfulness": float("nan")}},
        {"batch_size": 0},
        {"max_concurrent": 0},
        {"retry_count": -1},
        {"timeout_seconds": 0},
        {"timeout_seconds": float("nan")},
        {"max_dollars": 0},
        {"min_coverage": 1.1},
        {"bootstrap_draws": 0},
    ],
    ids=str,
)
def test_a_setting_out_of_range_is_named(wrong: dict[str, Any]) -> None:
    name = "fidelity" if "fidelity" in str(wrong) else next(iter(wrong)).removesuffix("s")
    with pytest.raises(ConfigError, match=name):
        EvaluationConfig(**wrong)
