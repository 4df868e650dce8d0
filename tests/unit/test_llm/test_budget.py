"""Is a run's budget kept, whatever its calls do at the same time?"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from src.errors import BudgetExhausted, ConfigError
from src.llm.budget import Budget, Spending, estimate_prompt_tokens
from src.llm.client import LLMReply, LLMRequest, Message, Tool
from src.llm.detection import open_client
from src.resilience.outcomes import Unavailable
from src.scripted_servers import faults
from src.scripted_servers.faults import Fault
from src.scripted_servers.replies import Reply
from tests.unit.test_llm.wires import ASK, IMPATIENT, PRICES, WIRES, Verdict, WireName, serve, settings

wires = pytest.mark.parametrize("wire", WIRES)
REPLY = Reply("x", input_tokens=100, output_tokens=10)
ONE_ATTEMPT: dict[str, Any] = {"retries": {"attempts": 1}}


@wires
@pytest.mark.parametrize("limits", [{"max_tokens": 60}, {"max_dollars": 0.0001}], ids=["tokens", "dollars"])
async def test_an_exhausted_budget_sends_nothing(wire: WireName, limits: dict[str, float]) -> None:
    with serve(wire, REPLY) as server:
        client = open_client(settings(wire, server, budget=limits), prices=PRICES)
        with pytest.raises(BudgetExhausted, match="does not allow a call to priced"):
            await client.complete(ASK, max_tokens=50)
        await client.aclose()
        assert server.requests == []


@wires
async def test_a_call_is_charged_what_it_used(wire: WireName) -> None:
    budget = Budget(max_tokens=10_000, max_dollars=1.0)
    with serve(wire, REPLY) as server:
        client = open_client(settings(wire, server), prices=PRICES, budget=budget)
        await client.complete(ASK, max_tokens=5000)
        async with client.stream(ASK, max_tokens=5000) as stream:
            async for _ in stream:
                pass
        await client.aclose()
    assert budget.spent == Spending(220, pytest.approx(2 * (100 * 2.0 + 10 * 10.0) / 1e6))
    assert budget.reserved == Spending(0, pytest.approx(0.0))


@wires
async def test_a_model_without_a_price_is_refused_under_a_money_budget(wire: WireName) -> None:
    with serve(wire, REPLY) as server:
        client = open_client(settings(wire, server, budget={"max_dollars": 100}), prices=PRICES)
        with pytest.raises(BudgetExhausted, match="cost of this call to unheard-of is unknown"):
            await client.complete(ASK, model="unheard-of")
        await client.aclose()
        assert server.requests == []


@wires
async def test_concurrent_calls_never_overspend_together(wire: WireName) -> None:
    budget = Budget(max_tokens=600)
    with serve(wire, REPLY, fault=faults.slow(0.05)) as server:
        client = open_client(settings(wire, server, concurrency=8), prices=PRICES, budget=budget)
        calls = (client.complete(ASK, max_tokens=200) for _ in range(12))
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        await client.aclose()
        served = [outcome for outcome in outcomes if isinstance(outcome, LLMReply)]
        refused = [outcome for outcome in outcomes if isinstance(outcome, BudgetExhausted)]
        assert len(server.requests) == len(served)
    assert len(served) + len(refused) == 12
    assert budget.spent.tokens == 110 * len(served) <= 600
    # A call that only has to wait for others to settle is not refused.
    assert len(served) == 4


@wires
@pytest.mark.parametrize(
    ("fault", "charged"),
    [
        (faults.status(429), False),
        (faults.status(500), False),
        (faults.status(401), False),
        (faults.RESET_AFTER, True),
        (faults.BLACK_HOLE, True),
    ],
    ids=lambda value: f"{value.kind.value}{value.status or ''}" if isinstance(value, Fault) else None,
)
async def test_a_failed_call_is_charged_only_when_the_model_may_have_worked(
    wire: WireName, fault: Fault, charged: bool
) -> None:
    budget = Budget(max_tokens=10_000)
    with serve(wire, fault=fault) as server:
        patience = IMPATIENT if fault is faults.BLACK_HOLE else {}
        client = open_client(settings(wire, server, **ONE_ATTEMPT, **patience), prices=PRICES, budget=budget)
        await asyncio.gather(client.complete(ASK, max_tokens=50), return_exceptions=True)
        await client.aclose()
    assert (budget.spent.tokens > 50) is charged
    assert budget.reserved.tokens == 0


@wires
async def test_a_refused_connection_costs_nothing(wire: WireName) -> None:
    budget = Budget(max_tokens=10_000)
    with serve(wire) as server:
        client = open_client(settings(wire, server, **ONE_ATTEMPT), prices=PRICES, budget=budget)
        with server.down():
            assert isinstance(await client.complete(ASK), Unavailable)
        await client.aclose()
    assert budget.spent.tokens == 0


@wires
async def test_a_stream_left_early_counts_in_full(wire: WireName) -> None:
    budget = Budget(max_tokens=10_000)
    with serve(wire, "one two three four") as server:
        client = open_client(settings(wire, server), prices=PRICES, budget=budget)
        async with client.stream(ASK, max_tokens=500) as stream:
            async for _ in stream:
                break
        await client.aclose()
    assert budget.spent.tokens > 500
    assert budget.reserved.tokens == 0


async def test_usage_that_is_not_reported_counts_in_full() -> None:
    budget = Budget(max_tokens=10_000)
    with serve("openai", "x", reports_usage=False) as server:
        client = open_client(settings("openai", server), prices=PRICES, budget=budget)
        await client.complete(ASK, max_tokens=500)
        await client.aclose()
    assert budget.spent.tokens > 500


def test_the_estimate_covers_system_schema_tools_and_calls() -> None:
    bare = LLMRequest(ASK, "priced", 10)
    fuller = LLMRequest(
        (*ASK, Message("assistant", "more words")),
        "priced",
        10,
        system="a system prompt",
        schema=Verdict,
        tools=(Tool("lookup", "Looks up", {"type": "object"}),),
    )
    assert estimate_prompt_tokens(fuller) > estimate_prompt_tokens(bare) > len(ASK[0].content) // 4


@pytest.mark.parametrize("limits", [{"max_tokens": 0}, {"max_dollars": -1.0}])
def test_a_limit_of_nothing_is_a_mistake(limits: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="must be above 0"):
        Budget(**limits)
