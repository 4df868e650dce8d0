"""Do the scripted model servers satisfy the official SDKs?"""

from __future__ import annotations

import math
from typing import Any

import anthropic
import openai
import pytest

from src.scripted_servers import faults
from src.scripted_servers.anthropic import ScriptedAnthropic
from src.scripted_servers.http import HandlerFailed
from src.scripted_servers.openai import ScriptedOpenAI
from src.scripted_servers.replies import Prompt, Reply, ToolUse

ASK: Any = {"model": "claude-haiku-5-5", "max_tokens": 50, "messages": [{"role": "user", "content": "Why?"}]}
CHAT: Any = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "Why?"}]}
TOOL = ToolUse("lookup", {"kpi": "TRx", "months": [1, 2]}, id="use_7")


def anthropic_sdk(server: ScriptedAnthropic) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(api_key="k", base_url=server.base_url, max_retries=0)


def openai_sdk(server: ScriptedOpenAI) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(api_key="k", base_url=server.base_url, max_retries=0)


async def test_a_message_has_text_and_usage() -> None:
    reply = Reply("Because.", input_tokens=11, output_tokens=3, cache_read_tokens=5, cache_write_tokens=7)
    with ScriptedAnthropic(reply) as server:
        async with anthropic_sdk(server) as sdk:
            message = await sdk.messages.create(**ASK)
    assert message.content[0].type == "text"
    assert message.content[0].text == "Because."
    usage = message.usage
    assert (usage.input_tokens, usage.output_tokens) == (11, 3)
    assert (usage.cache_read_input_tokens, usage.cache_creation_input_tokens) == (5, 7)
    assert message.stop_reason == "end_turn"


@pytest.mark.parametrize(
    ("reply", "stop_reason"),
    [
        (Reply("x"), "end_turn"),
        (Reply("x", end="cut_off"), "max_tokens"),
        (Reply("", end="refused"), "refusal"),
        (Reply("Let me look.", tool_uses=(TOOL,)), "tool_use"),
    ],
)
async def test_a_streamed_message_equals_the_whole_one(reply: Reply, stop_reason: str) -> None:
    with ScriptedAnthropic(reply) as server:
        async with anthropic_sdk(server) as sdk:
            whole = await sdk.messages.create(**ASK)
            async with sdk.messages.stream(**ASK) as stream:
                streamed = await stream.get_final_message()
    assert whole.stop_reason == streamed.stop_reason == stop_reason
    assert whole.model_dump(exclude={"id"})["content"] == streamed.model_dump(exclude={"id"})["content"]
    assert whole.usage.output_tokens == streamed.usage.output_tokens


async def test_tokens_of_a_prompt_are_counted() -> None:
    with ScriptedAnthropic() as server:
        async with anthropic_sdk(server) as sdk:
            count = await sdk.messages.count_tokens(model=ASK["model"], messages=ASK["messages"], system="a" * 400)
    assert count.input_tokens > 100


async def test_the_output_schema_reaches_the_script() -> None:
    seen: list[Prompt] = []

    def answer(prompt: Prompt) -> Reply:
        seen.append(prompt)
        return Reply.json({"ok": True})

    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}}
    with ScriptedAnthropic(answer) as server:
        async with anthropic_sdk(server) as sdk:
            await sdk.messages.create(**ASK, output_config={"format": {"type": "json_schema", "schema": schema}})
    assert seen[0].schema == schema


async def test_an_unknown_field_is_refused_as_by_the_service() -> None:
    with ScriptedAnthropic() as server:
        async with anthropic_sdk(server) as sdk:
            with pytest.raises(anthropic.BadRequestError, match="temperature: Extra inputs"):
                await sdk.messages.create(**ASK, extra_body={"temperature": 0})


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, anthropic.AuthenticationError),
        (429, anthropic.RateLimitError),
        (500, anthropic.InternalServerError),
        (529, anthropic.APIStatusError),
    ],
)
async def test_error_statuses_become_the_sdks_errors(status: int, error: type[anthropic.APIStatusError]) -> None:
    with ScriptedAnthropic(fault=faults.status(status)) as server:
        async with anthropic_sdk(server) as sdk:
            with pytest.raises(error) as caught:
                await sdk.messages.create(**ASK)
    assert caught.value.type is not None


async def test_a_completion_has_text_and_usage() -> None:
    with ScriptedOpenAI(Reply("Because.", input_tokens=11, output_tokens=3, cache_read_tokens=5)) as server:
        async with openai_sdk(server) as sdk:
            completion = await sdk.chat.completions.create(**CHAT)
    assert completion.choices[0].message.content == "Because."
    assert completion.usage is not None
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (16, 3)
    assert completion.usage.prompt_tokens_details is not None
    assert completion.usage.prompt_tokens_details.cached_tokens == 5


@pytest.mark.parametrize(
    ("reply", "finish"),
    [
        (Reply("some text"), "stop"),
        (Reply("no", end="refused"), "stop"),
        (Reply(tool_uses=(TOOL,)), "tool_calls"),
    ],
)
async def test_a_streamed_completion_equals_the_whole_one(reply: Reply, finish: str) -> None:
    with ScriptedOpenAI(reply) as server:
        async with openai_sdk(server) as sdk:
            whole = await sdk.chat.completions.create(**CHAT)
            async with sdk.chat.completions.stream(**CHAT, stream_options={"include_usage": True}) as stream:
                streamed = await stream.get_final_completion()
    assert whole.choices[0].finish_reason == streamed.choices[0].finish_reason == finish
    one, other = whole.choices[0].message, streamed.choices[0].message
    assert (one.content or None, one.refusal) == (other.content or None, other.refusal)
    assert [call.to_dict()["function"]["arguments"] for call in one.tool_calls or []] == [
        call.to_dict()["function"]["arguments"] for call in other.tool_calls or []
    ]
    assert streamed.usage is not None


async def test_embeddings_depend_on_the_text_alone() -> None:
    with ScriptedOpenAI(embedding_size=8) as server:
        async with openai_sdk(server) as sdk:
            packed = await sdk.embeddings.create(model="m", input=["north", "south", "north"])
            plain = await sdk.embeddings.create(model="m", input="north", encoding_format="float")
    first, second, third = (item.embedding for item in packed.data)
    assert first == third != second
    assert math.isclose(sum(value * value for value in first), 1.0, rel_tol=1e-6)
    assert first == pytest.approx(plain.data[0].embedding, abs=1e-6)


@pytest.mark.parametrize(
    ("script", "given"),
    [
        ({"Fabhalta": "PNH", "": "other"}, ["PNH", "other"]),
        (["first", "second"], ["first", "second"]),
        (lambda prompt: prompt.last.upper(), ["WHAT IS FABHALTA FOR?", "AND KISQALI?"]),
    ],
    ids=["rules", "list", "function"],
)
async def test_replies_come_from_rules_a_list_or_a_function(script: Any, given: list[str]) -> None:
    with ScriptedOpenAI(script) as server:
        async with openai_sdk(server) as sdk:
            replies = [
                await sdk.chat.completions.create(model="m", messages=[{"role": "user", "content": question}])
                for question in ("What is Fabhalta for?", "And Kisqali?")
            ]
    assert [reply.choices[0].message.content for reply in replies] == given


async def test_a_prompt_without_a_reply_is_a_loud_mistake() -> None:
    async def ask() -> None:
        with ScriptedOpenAI([]) as server:
            async with openai_sdk(server) as sdk:
                with pytest.raises(openai.BadRequestError):
                    await sdk.chat.completions.create(**CHAT)

    with pytest.raises(HandlerFailed, match="every scripted reply has been given"):
        await ask()
