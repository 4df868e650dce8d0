"""Are texts embedded over the wire within the limits that model calls have?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from datetime import date
from typing import Any

import numpy as np
import pytest

from src.domain.prices import ModelPrice, PriceTable
from src.errors import BudgetExhausted, ConfigError, ContractViolation, ServiceRefused
from src.llm.budget import Budget
from src.llm.embeddings import OpenAIEmbeddings
from src.resilience.outcomes import Unavailable
from src.scripted_servers import faults
from src.scripted_servers.openai import ScriptedOpenAI, embedding
from tests.unit.test_llm.wires import IMPATIENT, KEY, RecordingTracer, Waits, settings

TEXTS = ["growth in the west", "growth in the south", "a confidential forecast of 4711"]
PRICES = PriceTable(as_of=date(2026, 10, 7), models={"embedder": ModelPrice(input=0.02, output=0.0)})


@asynccontextmanager
async def opened(
    server: ScriptedOpenAI, *, changes: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[OpenAIEmbeddings]:
    given = {"model": "embedder", "dims": 16, "batch_size": 2, "prices": PRICES, "sleep": Waits()} | options
    async with aclosing(OpenAIEmbeddings(settings("openai", server, **(changes or {})), **given)) as embeddings:
        yield embeddings


async def embedded(server: ScriptedOpenAI, texts: list[str], **options: Any) -> Any:
    async with opened(server, **options) as embeddings:
        return await embeddings.embed(texts)


async def test_texts_get_the_servers_vectors_in_their_order_at_unit_length() -> None:
    with ScriptedOpenAI() as server:
        vectors = await embedded(server, TEXTS)
    assert isinstance(vectors, np.ndarray)
    assert vectors.dtype == np.float32
    assert vectors == pytest.approx(np.array([embedding(text, 16) for text in TEXTS]), abs=1e-6)
    # Both requests are under way at once: either may arrive first.
    assert sorted(len(request.json["input"]) for request in server.requests) == [1, 2]
    assert {request.json["model"] for request in server.requests} == {"embedder"}


async def test_tokens_and_cost_are_counted_and_no_text_is_recorded() -> None:
    tracer = RecordingTracer()
    with ScriptedOpenAI() as server:
        async with opened(server, tracer=tracer) as embeddings:
            await embeddings.embed(TEXTS)
    assert embeddings.spent.tokens == sum(span.tokens[0] for span in tracer.spans if span.tokens) > 0
    assert embeddings.spent.dollars == pytest.approx(embeddings.spent.tokens * 0.02 / 1e6)
    assert sorted(span.metadata["texts"] for span in tracer.spans) == [1, 2]
    assert "4711" not in repr(tracer.spans)


async def test_a_momentary_outage_is_retried() -> None:
    waits = Waits()
    with ScriptedOpenAI(faults=[faults.status(429), faults.status(500)]) as server:
        vectors = await embedded(server, TEXTS[:1], sleep=waits)
    assert isinstance(vectors, np.ndarray)
    assert len(waits.seconds) == 2


async def test_a_lasting_outage_is_a_value_that_names_neither_key_nor_text() -> None:
    with ScriptedOpenAI(fault=faults.status(503)) as server:
        found = await embedded(server, TEXTS[2:])
    assert isinstance(found, Unavailable)
    assert "HTTP 503" in found.reason
    assert KEY not in found.reason
    assert "4711" not in found.reason


async def test_a_refusal_is_raised_with_what_to_check() -> None:
    with (
        ScriptedOpenAI(faults=[faults.status(401)]) as server,
        pytest.raises(ServiceRefused, match="HTTP 401.*check the API key"),
    ):
        await embedded(server, TEXTS[:1])


async def test_nothing_is_sent_beyond_the_budget() -> None:
    with ScriptedOpenAI() as server, pytest.raises(BudgetExhausted):
        await embedded(server, TEXTS, budget=Budget(max_tokens=3))
    assert server.requests == []


async def test_vectors_of_another_length_are_refused_with_the_key_to_set() -> None:
    with (
        ScriptedOpenAI(embedding_size=8) as server,
        pytest.raises(ConfigError, match=r"8 numbers, not 16.*openai_dims"),
    ):
        await embedded(server, TEXTS[:1])


async def test_an_empty_text_is_refused_before_anything_is_sent() -> None:
    with ScriptedOpenAI() as server, pytest.raises(ContractViolation, match="text 2 of 2 is empty"):
        await embedded(server, ["growth", ""])
    assert server.requests == []


async def test_no_text_needs_no_request() -> None:
    with ScriptedOpenAI() as server:
        assert (await embedded(server, [])).shape == (0, 16)
    assert server.requests == []


@pytest.mark.parametrize("fault", [faults.RESET, faults.MALFORMED, faults.TRUNCATED, faults.status(529)])
async def test_whatever_breaks_on_the_wire_is_an_outage_as_a_value(fault: faults.Fault) -> None:
    with ScriptedOpenAI(fault=fault) as server:
        found = await embedded(server, TEXTS[:1])
    assert isinstance(found, Unavailable)
    assert found.component == "llm"


async def test_a_silent_server_is_waited_for_no_longer_than_the_deadline() -> None:
    impatient = {**IMPATIENT, "timeouts": {"request_seconds": 0.3, "deadline_seconds": 0.6}}
    with ScriptedOpenAI(fault=faults.BLACK_HOLE) as server:
        found = await embedded(server, TEXTS[:1], changes=impatient)
    assert isinstance(found, Unavailable)
    assert "did not answer in time" in found.reason
