"""What does a caller get when the provider is away, overloaded, slow, broken or unwilling?"""

from __future__ import annotations

import asyncio
import logging
import traceback
from typing import Any

import pytest

from src.errors import ServiceRefused
from src.llm.client import LLMReply
from src.llm.detection import open_client
from src.resilience.outcomes import Unavailable
from src.scripted_servers import faults
from src.scripted_servers.faults import Fault, FaultKind
from src.scripted_servers.replies import Reply
from tests.unit.test_llm.wires import (
    ASK,
    IMPATIENT,
    KEY,
    PRICES,
    SECRET_PROMPT,
    WIRES,
    Waits,
    WireName,
    serve,
    settings,
)

wires = pytest.mark.parametrize("wire", WIRES)
ONE_ATTEMPT = {"retries": {"attempts": 1}}
SILENT = (FaultKind.SLOW, FaultKind.BLACK_HOLE, FaultKind.STALLED)
NO_BREAKER = {"circuit_breaker": {"failure_threshold": 1000}}


def patience(fault: Fault | None) -> dict[str, Any]:
    return IMPATIENT if fault is not None and fault.kind in SILENT else {}


@wires
@pytest.mark.parametrize(
    "fault",
    [
        *(faults.status(code) for code in (429, 500, 503, 529)),
        *(faults.RESET, faults.RESET_AFTER, faults.TRUNCATED, faults.MALFORMED, faults.slow(5), faults.BLACK_HOLE),
    ],
    ids=lambda fault: f"{fault.kind.value}{fault.status or ''}",
)
async def test_an_outage_is_tried_again_and_then_a_value(wire: WireName, fault: Fault) -> None:
    waits = Waits()
    with serve(wire) as server:
        client = open_client(settings(wire, server, **patience(fault), **NO_BREAKER), prices=PRICES, sleep=waits)
        server.script_faults([fault])
        passing = await client.complete(ASK)
        server.fault = fault
        lasting = await client.complete(ASK)
        await client.aclose()
    assert isinstance(passing, LLMReply)
    assert passing.attempts == 2
    assert isinstance(lasting, Unavailable)
    assert lasting.component == "llm"
    assert lasting.reason.startswith(wire)
    assert "attempts: 3" in lasting.reason
    assert len(waits.seconds) == 3


@wires
async def test_a_server_that_is_down_is_unavailable(wire: WireName) -> None:
    with serve(wire) as server:
        client = open_client(settings(wire, server, **ONE_ATTEMPT), prices=PRICES)
        with server.down():
            reply = await client.complete(ASK)
        await client.aclose()
    assert isinstance(reply, Unavailable)
    assert "could not be reached" in reply.reason


@wires
@pytest.mark.parametrize("code", [429, 529])
async def test_retry_after_is_the_least_wait(wire: WireName, code: int) -> None:
    waits = Waits()
    with serve(wire, faults=[faults.status(code, retry_after=12)]) as server:
        changes = {"timeouts": {"request_seconds": 20, "deadline_seconds": 60}}
        client = open_client(settings(wire, server, **changes), prices=PRICES, sleep=waits)
        reply = await client.complete(ASK)
        await client.aclose()
    assert isinstance(reply, LLMReply)
    assert waits.seconds == [12.0]


@wires
async def test_a_retry_after_beyond_the_deadline_is_handed_to_the_caller(wire: WireName) -> None:
    waits = Waits()
    with serve(wire, fault=faults.status(429, retry_after=3600)) as server:
        client = open_client(settings(wire, server), prices=PRICES, sleep=waits)
        reply = await client.complete(ASK)
        await client.aclose()
        assert len(server.requests) == 1
    assert isinstance(reply, Unavailable)
    assert reply.retry_after_s == 3600.0
    assert waits.seconds == []


@wires
async def test_the_deadline_covers_all_attempts(wire: WireName) -> None:
    changes = {"timeouts": {"request_seconds": 0.4, "deadline_seconds": 0.4}, "retries": {"attempts": 1000}}
    with serve(wire, fault=faults.BLACK_HOLE) as server:
        client = open_client(settings(wire, server, **changes, **NO_BREAKER), prices=PRICES)
        reply = await client.complete(ASK)
        await client.aclose()
        assert len(server.requests) <= 2
    assert isinstance(reply, Unavailable)
    assert "did not answer in time" in reply.reason


@wires
@pytest.mark.parametrize(("code", "advice"), [(400, "invalid"), (401, "API key"), (403, "may not"), (404, "name")])
async def test_a_refusal_is_raised_at_once_with_advice(wire: WireName, code: int, advice: str) -> None:
    with serve(wire, fault=faults.status(code)) as server:
        client = open_client(settings(wire, server), prices=PRICES)
        with pytest.raises(ServiceRefused, match=f"{wire} refused a request to priced: HTTP {code}.*{advice}"):
            await client.complete(ASK)
        await client.aclose()
        assert len(server.requests) == 1


@wires
async def test_repeated_outages_open_the_circuit_and_refusals_do_not(wire: WireName) -> None:
    changes: dict[str, Any] = {**ONE_ATTEMPT, "circuit_breaker": {"failure_threshold": 2}}
    with serve(wire, fault=faults.status(401)) as server:
        client = open_client(settings(wire, server, **changes), prices=PRICES)
        for _ in range(4):
            with pytest.raises(ServiceRefused):
                await client.complete(ASK)
        server.fault = faults.status(503)
        replies = [await client.complete(ASK) for _ in range(4)]
        await client.aclose()
        assert len(server.requests) == 6
    assert all(isinstance(reply, Unavailable) for reply in replies)
    rejected = replies[-1]
    assert isinstance(rejected, Unavailable)
    assert "failed repeatedly" in rejected.reason
    assert rejected.retry_after_s is not None


@wires
async def test_an_open_circuit_is_not_waited_for(wire: WireName) -> None:
    waits = Waits()
    changes = {"circuit_breaker": {"failure_threshold": 2}, "retries": {"attempts": 5}}
    with serve(wire, fault=faults.status(503)) as server:
        client = open_client(settings(wire, server, **changes), prices=PRICES, sleep=waits)
        reply = await client.complete(ASK)
        await client.aclose()
        assert len(server.requests) == 2
    assert isinstance(reply, Unavailable)
    assert reply.retry_after_s is not None
    assert len(waits.seconds) == 2


@wires
async def test_no_more_requests_than_slots_are_under_way(wire: WireName) -> None:
    with serve(wire, fault=faults.slow(0.1)) as server:
        client = open_client(settings(wire, server, concurrency=2), prices=PRICES)
        replies = await asyncio.gather(*(client.complete(ASK) for _ in range(6)))
        await client.aclose()
        assert server.most_in_flight == 2
    assert all(isinstance(reply, LLMReply) for reply in replies)


@wires
@pytest.mark.parametrize("fault", [faults.status(529), faults.RESET, faults.BLACK_HOLE], ids=lambda f: f.kind.value)
async def test_a_stream_is_opened_again_before_its_first_piece(wire: WireName, fault: Fault) -> None:
    with serve(wire, "one two three", faults=[fault]) as server:
        client = open_client(settings(wire, server, **patience(fault)), prices=PRICES, sleep=Waits())
        async with client.stream(ASK) as stream:
            text = "".join([piece async for piece in stream])
        await client.aclose()
    assert text == "one two three"
    assert isinstance(stream.reply, LLMReply)
    assert stream.reply.attempts == 2


BROKEN = [
    (Reply("one two three four"), faults.TRUNCATED),
    (Reply("one two three four"), faults.STALLED),
    (Reply("one two three four", stream_error="overloaded_error"), None),
]


@wires
@pytest.mark.parametrize(("reply", "fault"), BROKEN, ids=["truncated", "stalled", "error event"])
async def test_a_stream_that_breaks_off_ends_unavailable_and_never_repeats_text(
    wire: WireName, reply: Reply, fault: Fault | None
) -> None:
    with serve(wire, reply, fault=fault) as server:
        client = open_client(settings(wire, server, **patience(fault)), prices=PRICES, sleep=Waits())
        async with client.stream(ASK) as stream:
            text = "".join([piece async for piece in stream])
        await client.aclose()
        assert len(server.requests) == 1
    assert reply.text.startswith(text)
    assert isinstance(stream.reply, Unavailable)


@wires
async def test_a_stream_that_ends_early_without_an_error_is_no_reply(wire: WireName) -> None:
    with serve(wire, fault=faults.MALFORMED) as server:
        client = open_client(settings(wire, server, **ONE_ATTEMPT), prices=PRICES)
        async with client.stream(ASK) as stream:
            assert [piece async for piece in stream] == []
        await client.aclose()
    assert isinstance(stream.reply, Unavailable)
    assert "broke off" in stream.reply.reason


@wires
async def test_leaving_a_stream_early_frees_its_slot(wire: WireName) -> None:
    with serve(wire, "one two three four") as server:
        client = open_client(settings(wire, server, concurrency=1), prices=PRICES)
        async with client.stream(ASK) as stream:
            async for _ in stream:
                break
        reply = await asyncio.wait_for(client.complete(ASK), timeout=10)
        await client.aclose()
    assert isinstance(reply, LLMReply)


@wires
async def test_a_cancelled_call_frees_its_slot(wire: WireName) -> None:
    with serve(wire, faults=[faults.BLACK_HOLE]) as server:
        client = open_client(settings(wire, server, concurrency=1), prices=PRICES)
        call = asyncio.create_task(client.complete(ASK))
        await asyncio.to_thread(server.wait_for_requests, 1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        reply = await asyncio.wait_for(client.complete(ASK), timeout=10)
        await client.aclose()
    assert isinstance(reply, LLMReply)


@wires
@pytest.mark.parametrize(
    "fault",
    [None, faults.status(401), faults.status(400), faults.status(503), faults.MALFORMED, faults.RESET],
    ids=lambda fault: f"{fault.kind.value}{fault.status or ''}" if fault else "healthy",
)
async def test_neither_prompt_nor_key_is_told_to_anyone(
    wire: WireName, fault: Fault | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    told = ""
    with serve(wire, fault=fault) as server:
        # Like the services themselves, it quotes what it was sent.
        quoting = {"message": f"Incorrect key {KEY} for {SECRET_PROMPT}", "type": "error"}
        server.error_payload = lambda status: {"type": "error", "error": quoting}  # type: ignore[method-assign]
        client = open_client(settings(wire, server, **ONE_ATTEMPT), prices=PRICES)
        try:
            told = repr(await client.complete(ASK))
        except ServiceRefused as error:
            told = "".join(traceback.format_exception(error))
        await client.aclose()
    assert told
    for secret in (KEY, SECRET_PROMPT):
        assert secret not in told
        assert secret not in caplog.text
        assert secret not in repr(settings(wire, server))
