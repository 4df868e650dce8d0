"""Does a reply arrive whole through the real SDKs: text, usage, cost, tools, schema, stream?"""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import pytest

from src.errors import MalformedReply, ModelRefused
from src.llm.client import LLMClient, LLMReply, Message, Tool, ToolCall
from src.llm.detection import open_client
from src.scripted_servers.replies import Prompt, Reply, ToolUse
from tests.unit.test_llm.wires import ASK, PRICES, WIRES, Verdict, WireName, serve, settings

wires = pytest.mark.parametrize("wire", WIRES)
VALID = Reply.json({"reason": "stated", "supported": True})
LOOKUP = Tool("lookup", "Looks a KPI up", {"type": "object", "properties": {"kpi": {"type": "string"}}})


async def ask(wire: WireName, script: Any, changes: dict[str, Any] | None = None, **call: Any) -> tuple[Any, Any]:
    """The reply and the server that gave it."""
    with serve(wire, script) as server:
        client = open_client(settings(wire, server, **(changes or {})), prices=PRICES)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(client.aclose)
            return await client.complete(call.pop("messages", ASK), **call), server


async def read_all(client: LLMClient) -> None:
    async with client.stream(ASK) as stream:
        async for _ in stream:
            pass


@wires
async def test_a_reply_carries_usage_and_cost(wire: WireName) -> None:
    script = Reply("Because.", input_tokens=1000, output_tokens=100, cache_read_tokens=500, model="priced-20261001")
    reply, _ = await ask(wire, script)
    assert (reply.text, reply.stop_reason, reply.provider) == ("Because.", "end_turn", wire)
    assert (reply.input_tokens, reply.output_tokens, reply.cache_read_tokens) == (1000, 100, 500)
    assert reply.model == "priced-20261001"
    assert reply.cost == pytest.approx((1000 * 2.0 + 100 * 10.0 + 500 * 0.2) / 1e6)
    assert reply.attempts == 1


@wires
async def test_a_model_without_a_price_has_no_cost(wire: WireName) -> None:
    reply, _ = await ask(wire, "x", model="unheard-of")
    assert reply.cost is None


async def test_usage_that_is_not_reported_is_unknown_and_not_zero() -> None:
    with serve("openai", "x", reports_usage=False) as server:
        client = open_client(settings("openai", server), prices=PRICES)
        reply = await client.complete(ASK)
        await client.aclose()
    assert isinstance(reply, LLMReply)
    assert (reply.input_tokens, reply.output_tokens, reply.cost) == (None, None, None)


@wires
async def test_system_prompt_limit_and_purpose_reach_the_server(wire: WireName) -> None:
    seen: list[Prompt] = []

    def answer(prompt: Prompt) -> str:
        seen.append(prompt)
        return "ok"

    with serve(wire, answer) as server:
        client = open_client(settings(wire, server, judge="small"), prices=PRICES)
        await client.complete(ASK, purpose="judge", system="Be brief.", max_tokens=77)
        await client.aclose()
    assert (seen[0].model, seen[0].system, seen[0].turns[0][0]) == ("small", "Be brief.", "user")
    assert seen[0].body["max_tokens"] == 77


async def test_a_cached_system_prompt_is_marked_for_anthropic() -> None:
    _, server = await ask("anthropic", "ok", system="long", cache_system=True)
    assert server.requests[0].json["system"][0]["cache_control"] == {"type": "ephemeral"}


@wires
async def test_a_stream_gives_pieces_and_then_the_whole_reply(wire: WireName) -> None:
    with serve(wire, Reply("one two three four", input_tokens=1000, output_tokens=4)) as server:
        client = open_client(settings(wire, server), prices=PRICES)
        async with client.stream(ASK) as stream:
            with pytest.raises(RuntimeError, match="after the last piece"):
                _ = stream.reply
            pieces = [piece async for piece in stream]
        await client.aclose()
    assert len(pieces) > 1
    assert isinstance(stream.reply, LLMReply)
    assert "".join(pieces) == stream.reply.text == "one two three four"
    assert stream.reply.cost == pytest.approx((1000 * 2.0 + 4 * 10.0) / 1e6)


@wires
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_tool_is_offered_asked_for_and_answered(wire: WireName, streamed: bool) -> None:
    def answer(prompt: Prompt) -> Reply:
        if prompt.turns[-1][1] == "42":
            return Reply("TRx is 42.")
        assert prompt.tools == ("lookup",)
        return Reply(tool_uses=(ToolUse("lookup", {"kpi": "TRx"}, id="use_9"),))

    with serve(wire, answer) as server:
        client = open_client(settings(wire, server), prices=PRICES)
        if streamed:
            async with client.stream(ASK, tools=[LOOKUP]) as stream:
                assert [piece async for piece in stream] == []
            first = stream.reply
        else:
            first = await client.complete(ASK, tools=[LOOKUP])
        assert isinstance(first, LLMReply)
        assert first.stop_reason == "tool_use"
        assert first.tool_calls == (ToolCall("use_9", "lookup", {"kpi": "TRx"}),)
        turns = [
            *ASK,
            Message("assistant", first.text, tool_calls=first.tool_calls),
            Message("tool", "42", tool_call_id="use_9"),
        ]
        second = await client.complete(turns, tools=[LOOKUP])
        await client.aclose()
    assert isinstance(second, LLMReply)
    assert second.text == "TRx is 42."


async def test_results_of_several_tools_go_to_anthropic_in_one_message() -> None:
    calls = (ToolCall("a", "lookup", {}), ToolCall("b", "lookup", {}))
    turns = [
        *ASK,
        Message("assistant", "", tool_calls=calls),
        Message("tool", "1", tool_call_id="a"),
        Message("tool", "2", tool_call_id="b"),
    ]
    _, server = await ask("anthropic", "ok", messages=turns, tools=[LOOKUP])
    sent = server.requests[0].json["messages"]
    assert [turn["role"] for turn in sent] == ["user", "assistant", "user"]
    assert [block["tool_use_id"] for block in sent[2]["content"]] == ["a", "b"]


@wires
async def test_a_structured_reply_is_parsed_and_its_schema_enforced_by_the_server(wire: WireName) -> None:
    reply, server = await ask(wire, VALID, schema=Verdict)
    assert reply.parsed_as(Verdict) == Verdict(reason="stated", supported=True)
    body = server.requests[0].json
    schema = (
        body["output_config"]["format"]["schema"]
        if wire == "anthropic"
        else body["response_format"]["json_schema"]["schema"]
    )
    assert set(schema["properties"]) == {"reason", "supported"}
    assert schema["additionalProperties"] is False


@wires
async def test_a_server_that_enforces_nothing_is_asked_in_the_prompt(wire: WireName) -> None:
    fenced = Reply('Here you are:\n```json\n{"reason": "stated", "supported": false}\n```')
    with serve(wire, fenced) as server:
        client = open_client(settings(wire, server, structured_output="prompt"), prices=PRICES)
        reply = await client.complete(ASK, schema=Verdict, system="Judge.")
        await client.aclose()
        body = server.requests[0].json
    assert isinstance(reply, LLMReply)
    assert not reply.parsed_as(Verdict).supported
    assert "output_config" not in body
    assert "response_format" not in body
    system = body["system"] if wire == "anthropic" else body["messages"][0]["content"]
    assert system.startswith("Judge.")
    assert '"supported": {' in system


@pytest.mark.parametrize(("setting", "in_prompt"), [("auto", True), ("native", False)])
async def test_anthropic_compatible_servers_get_the_schema_in_the_prompt_unless_told(
    setting: str, in_prompt: bool
) -> None:
    with serve("anthropic", VALID) as server:
        client = open_client(settings("anthropic", server, structured_output=setting), prices=PRICES)
        await client.complete(ASK, schema=Verdict)
        await client.aclose()
        assert ("output_config" not in server.requests[0].json) is in_prompt


@wires
@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (Reply("I think yes."), "Invalid JSON"),
        (Reply.json({"reason": "stated"}), "supported"),
        (Reply('{"reason": "stated, supp', end="cut_off"), "cut off"),
        (Reply(""), "Invalid JSON"),
    ],
    ids=["prose", "field missing", "cut off", "empty"],
)
async def test_a_malformed_reply_is_repaired_once(wire: WireName, wrong: Reply, told: str) -> None:
    reply, server = await ask(wire, [wrong, VALID], schema=Verdict)
    assert reply.parsed_as(Verdict).supported
    first, second = (request.json["messages"] for request in server.requests)
    assert len(second) == len(first) + 2
    assert second[-2]["role"] == "assistant"
    assert wrong.text.strip() in second[-2]["content"]
    assert told in second[-1]["content"]


@wires
@pytest.mark.parametrize("end", ["complete", "cut_off"])
async def test_a_reply_that_stays_malformed_is_a_typed_error_without_its_text(wire: WireName, end: Any) -> None:
    with serve(wire, Reply('{"reason": "patient Jane Doe", "supported": "perhaps"', end=end)) as server:
        client = open_client(settings(wire, server), prices=PRICES)
        with pytest.raises(MalformedReply, match="did not answer as Verdict") as caught:
            await client.complete(ASK, schema=Verdict)
        await client.aclose()
        assert len(server.requests) == 2
    assert "Jane Doe" not in repr(caught.value)


@wires
async def test_a_wrong_value_is_named_by_field_and_kind_only(wire: WireName) -> None:
    with serve(wire, Reply.json({"reason": 1, "supported": "perhaps Jane", "Jane": 2})) as server:
        client = open_client(settings(wire, server), prices=PRICES)
        with pytest.raises(MalformedReply, match="reason: string_type, supported: bool_parsing"):
            await client.complete(ASK, schema=Verdict)
        await client.aclose()


@wires
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_refusal_is_a_typed_error(wire: WireName, streamed: bool) -> None:
    with serve(wire, Reply("No.", end="refused")) as server:
        client = open_client(settings(wire, server), prices=PRICES)
        with pytest.raises(ModelRefused, match="priced declined"):
            await (read_all(client) if streamed else client.complete(ASK))
        await client.aclose()
        assert len(server.requests) == 1


async def test_asking_a_reply_for_another_schema_is_a_mistake() -> None:
    reply, _ = await ask("openai", "text")
    with pytest.raises(TypeError, match="Verdict"):
        reply.parsed_as(Verdict)


@pytest.mark.parametrize(("messages", "limit"), [((), 10), (ASK, 0)])
async def test_an_empty_request_is_the_callers_mistake(messages: tuple[Message, ...], limit: int) -> None:
    with serve("openai") as server:
        client = open_client(settings("openai", server), prices=PRICES)
        with pytest.raises(ValueError, match="at least one message"):
            await client.complete(messages, max_tokens=limit)
        await client.aclose()
        assert server.requests == []
