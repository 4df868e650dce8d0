"""Does every model call leave one span that says what it took?"""

from __future__ import annotations

import pytest

from src.errors import ServiceRefused
from src.llm.detection import open_client
from src.resilience.outcomes import Unavailable
from src.scripted_servers import faults
from src.scripted_servers.replies import Reply
from tests.unit.test_llm.wires import (
    ASK,
    KEY,
    PRICES,
    WIRES,
    RecordingTracer,
    Verdict,
    Waits,
    WireName,
    serve,
    settings,
)

wires = pytest.mark.parametrize("wire", WIRES)
REPLY = Reply(
    "Because.", input_tokens=1000, output_tokens=100, cache_read_tokens=50, cache_write_tokens=20, model="priced-1"
)


@wires
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_call_is_one_span_with_usage_and_cost(wire: WireName, streamed: bool) -> None:
    tracer = RecordingTracer()
    with serve(wire, REPLY, faults=[faults.status(529)]) as server:
        client = open_client(settings(wire, server), prices=PRICES, tracer=tracer, sleep=Waits())
        if streamed:
            async with client.stream(ASK, purpose="narration") as stream:
                async for _ in stream:
                    pass
        else:
            await client.complete(ASK, purpose="narration")
        await client.aclose()
    (span,) = tracer.spans
    assert (span.model, span.provider, span.error) == ("priced", wire, None)
    assert span.tokens == (1000, 100, 50, 20)
    assert span.cost == pytest.approx((1000 * 2.0 + 100 * 10.0 + 50 * 0.2 + 20 * 2.0) / 1e6)
    assert span.output == "Because."
    assert span.metadata["purpose"] == "narration"
    assert span.metadata["streamed"] is streamed
    kept = {name: span.attributes[name] for name in ("stop_reason", "response_model", "attempts", "cached")}
    assert kept == {"stop_reason": "end_turn", "response_model": "priced-1", "attempts": 2, "cached": False}
    assert KEY not in repr(span)


@wires
async def test_a_repair_is_a_span_of_its_own(wire: WireName) -> None:
    tracer = RecordingTracer()
    with serve(wire, ["prose", Reply.json({"reason": "r", "supported": True})]) as server:
        client = open_client(settings(wire, server), prices=PRICES, tracer=tracer)
        await client.complete(ASK, schema=Verdict)
        await client.aclose()
    assert [span.metadata["repair"] for span in tracer.spans] == [False, True]
    assert [span.metadata["schema"] for span in tracer.spans] == ["Verdict", "Verdict"]


@wires
@pytest.mark.parametrize("streamed", [False, True])
async def test_an_outage_is_a_failed_span_and_still_a_value(wire: WireName, streamed: bool) -> None:
    tracer = RecordingTracer()
    with serve(wire, fault=faults.status(503)) as server:
        client = open_client(settings(wire, server), prices=PRICES, tracer=tracer, sleep=Waits())
        if streamed:
            async with client.stream(ASK) as stream:
                assert [piece async for piece in stream] == []
            reply = stream.reply
        else:
            reply = await client.complete(ASK)
        await client.aclose()
    assert isinstance(reply, Unavailable)
    (span,) = tracer.spans
    assert span.error is not None
    assert span.tokens is None


async def test_a_refused_request_is_a_failed_span() -> None:
    tracer = RecordingTracer()
    with serve("openai", fault=faults.status(401)) as server:
        client = open_client(settings("openai", server), prices=PRICES, tracer=tracer)
        with pytest.raises(ServiceRefused):
            await client.complete(ASK)
        await client.aclose()
    assert [span.error for span in tracer.spans] == ["ServiceRefused"]


async def test_unreported_usage_is_not_recorded_as_zero() -> None:
    tracer = RecordingTracer()
    with serve("openai", "x", reports_usage=False) as server:
        client = open_client(settings("openai", server), prices=PRICES, tracer=tracer)
        await client.complete(ASK)
        await client.aclose()
    assert (tracer.spans[0].tokens, tracer.spans[0].cost) == (None, None)


@wires
async def test_leaving_a_stream_early_is_noted_and_no_failure(wire: WireName) -> None:
    tracer = RecordingTracer()
    with serve(wire, "one two three four") as server:
        client = open_client(settings(wire, server), prices=PRICES, tracer=tracer)
        async with client.stream(ASK) as stream:
            async for _ in stream:
                break
        await client.aclose()
    assert (tracer.spans[0].error, tracer.spans[0].attributes) == (None, {"left_early": True})
