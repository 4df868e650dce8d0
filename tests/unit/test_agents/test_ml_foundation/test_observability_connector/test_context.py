"""Do spans opened through the agent stand where the caller's context says, also across processes?"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from src.agents.ml_foundation.observability_connector.agent import ObservabilityConnectorAgent
from src.agents.ml_foundation.observability_connector.metric_cache import MemoryCache
from src.errors import ContractViolation
from src.mlops.tracing.ids import uuid_text
from src.mlops.tracing.orphans import find_orphans
from src.mlops.tracing.records import MemorySink
from src.storage.trace_records import SpanFigures
from tests.traces import memory_connector
from tests.unit.test_agents.test_ml_foundation.test_observability_connector.parts import TTL

FOREIGN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class NoTraces:
    location = "nowhere"

    async def stored(self, spans: object) -> int:
        return 0

    async def figures(self, window: object = None, agents: object = None) -> list[SpanFigures]:
        return []


@pytest.fixture
def traced() -> Iterator[tuple[ObservabilityConnectorAgent, MemorySink]]:
    connector, sink = memory_connector()
    yield ObservabilityConnectorAgent(connector, NoTraces(), MemoryCache(1), ttl=TTL), sink
    connector.close()


async def spans_of(traced: tuple[ObservabilityConnectorAgent, MemorySink]) -> dict[str, dict[str, object]]:
    agent, sink = traced
    await agent._services.tracer.flush(10)
    assert find_orphans(sink.spans) == []
    return {str(span["operation_type"]): span for span in sink.spans}


async def test_a_new_context_is_a_trace_of_its_own_also_inside_another_span(
    traced: tuple[ObservabilityConnectorAgent, MemorySink],
) -> None:
    agent, _ = traced
    context = agent.create_context()
    assert context != agent.create_context()
    async with agent.span("outer", "orchestrator"), agent.span("apart", "explainer", within=context):
        pass
    spans = await spans_of(traced)
    assert spans["apart"]["trace_id"] == context.trace_id != spans["outer"]["trace_id"]
    assert spans["apart"]["parent_span_id"] is None


async def test_without_a_context_a_span_stands_under_the_open_one(
    traced: tuple[ObservabilityConnectorAgent, MemorySink],
) -> None:
    agent, _ = traced
    async with agent.span("outer", "orchestrator"), agent.span("inner", "explainer", metadata={"rows": 3}):
        pass
    spans = await spans_of(traced)
    assert spans["inner"]["parent_span_id"] == spans["outer"]["span_id"]
    assert (spans["inner"]["agent_name"], spans["inner"]["attributes"]["rows"]) == ("explainer", 3)  # type: ignore[index]


async def test_a_child_context_places_spans_under_its_span_also_after_that_ended(
    traced: tuple[ObservabilityConnectorAgent, MemorySink],
) -> None:
    agent, _ = traced
    async with agent.span("outer", "orchestrator") as outer:
        context = agent.create_child_context(outer)
    async with agent.span("later", "explainer", within=context):
        pass
    async with agent.track_llm_call("claude-haiku-5-5", within=agent.create_child_context(context)) as call:
        call.log_tokens(10, 5)
    spans = await spans_of(traced)
    for name in ("later", "llm_call"):
        assert spans[name]["trace_id"] == spans["outer"]["trace_id"]
        assert spans[name]["parent_span_id"] == spans["outer"]["span_id"]
    assert (spans["llm_call"]["model_name"], spans["llm_call"]["total_tokens"]) == ("claude-haiku-5-5", 15)


async def test_a_context_goes_to_another_process_and_back_as_w3c_headers(
    traced: tuple[ObservabilityConnectorAgent, MemorySink],
) -> None:
    agent, _ = traced
    async with agent.span("here", "orchestrator") as here:
        sent = agent.create_child_context(here)
    assert sent.traceparent() == here.traceparent()
    received = agent.create_child_context(dict(sent.headers))
    assert (received.trace_id, received.parent_span_id) == (here.trace_id, here.span_id)
    async with agent.span("there", "explainer", within=received):
        pass
    spans = await spans_of(traced)
    assert spans["there"]["parent_span_id"] == spans["here"]["span_id"]


async def test_a_parent_of_a_foreign_system_is_noted_and_makes_no_orphan(
    traced: tuple[ObservabilityConnectorAgent, MemorySink],
) -> None:
    agent, _ = traced
    context = agent.create_child_context(FOREIGN)
    assert context.traceparent() == FOREIGN
    async with agent.span("mine", "explainer", within=context):
        pass
    spans = await spans_of(traced)
    assert spans["mine"]["trace_id"] == uuid_text(int(FOREIGN[3:35], 16)) == context.trace_id
    assert spans["mine"]["parent_span_id"] is None
    assert spans["mine"]["attributes"]["w3c.parent_id"] == "00f067aa0ba902b7"  # type: ignore[index]


@pytest.mark.parametrize(
    "header",
    ["", "00-abc", FOREIGN.replace("00-", "ff-", 1), f"00-{'0' * 32}-{'1' * 16}-01", f"00-{'1' * 32}-{'0' * 16}-01"],
)
def test_a_header_that_is_no_trace_context_is_refused_in_one_line(
    traced: tuple[ObservabilityConnectorAgent, MemorySink], header: str
) -> None:
    agent, _ = traced
    for parent in (header, {"traceparent": header}, {}):
        with pytest.raises(ContractViolation, match="is not a W3C traceparent"):
            agent.create_child_context(parent)


def test_a_context_without_a_span_has_nothing_to_pass_on(
    traced: tuple[ObservabilityConnectorAgent, MemorySink],
) -> None:
    agent, _ = traced
    with pytest.raises(ContractViolation, match="this context has no span yet"):
        agent.create_context().traceparent()
