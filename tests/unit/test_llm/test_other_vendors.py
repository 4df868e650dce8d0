"""Do LangChain models and scripts behave as the other providers do?"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from src.errors import ConfigError, LLMError
from src.llm.client import LLMReply, Message, Tool, ToolCall
from src.llm.configuration import LLMSettings, load_llm_config
from src.llm.detection import client_over, langchain_client, open_client
from src.llm.model_client import ModelClient
from src.llm.scripted import ScriptedVendor
from src.resilience.outcomes import Unavailable
from src.scripted_servers.replies import Reply, Script, ToolUse
from tests.unit.test_llm.wires import ASK, PRICES, Verdict, Waits

USAGE: Any = {
    "input_tokens": 1050,
    "output_tokens": 10,
    "total_tokens": 1060,
    "input_token_details": {"cache_read": 50},
}


class FakeChat(BaseChatModel):
    """Answers the same message, remembers what it was asked."""

    answer: AIMessage
    outages: int = 0
    asked: list[list[BaseMessage]] = []
    options: list[dict[str, Any]] = []

    @property
    def _llm_type(self) -> str:
        return "fake"

    def bind_tools(self, tools: Any, **_: Any) -> Any:
        return self.bind(tools=tools)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **options: Any,
    ) -> ChatResult:
        self.asked.append(messages)
        self.options.append(options)
        if len(self.asked) <= self.outages:
            raise ConnectionResetError("gone")
        return ChatResult(generations=[ChatGeneration(message=self.answer)])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **options: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for word in str(self.answer.content).split():
            yield ChatGenerationChunk(message=AIMessageChunk(word))


def config() -> LLMSettings:
    return load_llm_config(environ={})


def over(model: FakeChat) -> ModelClient:
    return langchain_client(model, config(), name="priced", prices=PRICES)


def chat(**answer: Any) -> FakeChat:
    return FakeChat(answer=AIMessage(**answer), asked=[], options=[])


async def test_a_langchain_model_answers_with_usage_and_cost() -> None:
    model = chat(content="Because.", usage_metadata=USAGE, response_metadata={"stop_reason": "end_turn"})
    reply = await over(model).complete(ASK, system="Be brief.", max_tokens=33)
    assert isinstance(reply, LLMReply)
    assert (reply.text, reply.provider, reply.stop_reason) == ("Because.", "langchain", "end_turn")
    assert (reply.input_tokens, reply.output_tokens, reply.cache_read_tokens) == (1000, 10, 50)
    assert reply.cost == pytest.approx((1000 * 2.0 + 10 * 10.0 + 50 * 0.2) / 1e6)
    assert [message.type for message in model.asked[0]] == ["system", "human"]
    assert model.options[0]["max_tokens"] == 33


async def test_a_langchain_model_without_usage_has_unknown_usage() -> None:
    reply = await over(chat(content="x")).complete(ASK)
    assert isinstance(reply, LLMReply)
    assert (reply.input_tokens, reply.cost) == (None, None)


async def test_a_langchain_model_is_asked_for_json_in_the_prompt() -> None:
    model = chat(content=[{"type": "text", "text": '{"reason": "r", "supported": true}'}])
    reply = await over(model).complete(ASK, schema=Verdict)
    assert isinstance(reply, LLMReply)
    assert reply.parsed_as(Verdict).supported
    assert "JSON schema" in str(model.asked[0][0].content)


async def test_a_langchain_model_streams() -> None:
    async with over(chat(content="one two three")).stream(ASK) as stream:
        assert [piece async for piece in stream] == ["one", "two", "three"]
    assert isinstance(stream.reply, LLMReply)
    assert stream.reply.text == "onetwothree"


async def test_a_langchain_model_calls_tools() -> None:
    model = chat(content="", tool_calls=[{"id": "1", "name": "lookup", "args": {"kpi": "TRx"}}])
    turns = [*ASK, Message("assistant", "", tool_calls=(ToolCall("0", "lookup", {}),)), Message("tool", "7", (), "0")]
    reply = await over(model).complete(turns, tools=[Tool("lookup", "Looks up", {"type": "object"})])
    assert isinstance(reply, LLMReply)
    assert reply.stop_reason == "tool_use"
    assert reply.tool_calls == (ToolCall("1", "lookup", {"kpi": "TRx"}),)
    assert [message.type for message in model.asked[0]] == ["human", "ai", "tool"]
    assert model.options[0]["tools"][0]["function"]["name"] == "lookup"


async def test_an_outage_behind_langchain_is_retried_and_then_a_value() -> None:
    from src.llm.langchain import LangChainVendor

    for outages, kind in ((1, LLMReply), (9, Unavailable)):
        model = FakeChat(answer=AIMessage("x"), outages=outages, asked=[], options=[])
        models = config().anthropic.models.by_purpose()
        client = client_over(LangChainVendor(model), config(), models=models, prices=PRICES, sleep=Waits())
        assert isinstance(await client.complete(ASK), kind)


def scripted(script: Script) -> ModelClient:
    models = config().anthropic.models.by_purpose()
    return client_over(ScriptedVendor(script), config(), models=models, prices=PRICES)


async def test_a_script_answers_by_rule_the_same_every_time() -> None:
    client = scripted({"forecast": "rule", "": "other"})
    replies = [await client.complete(ASK) for _ in range(2)]
    assert replies[0] == replies[1]
    assert isinstance(replies[0], LLMReply)
    assert (replies[0].text, replies[0].provider) == ("rule", "scripted")


async def test_a_prompt_nothing_is_scripted_for_names_the_rule_to_add() -> None:
    with pytest.raises(LLMError, match="sha256:") as caught:
        await scripted({"never": "x"}).complete(ASK, system="s")
    rule = next(word.rstrip(":") for word in str(caught.value).split() if word.startswith("sha256:"))
    reply = await scripted({rule: "by hash"}).complete(ASK, system="s")
    assert isinstance(reply, LLMReply)
    assert reply.text == "by hash"


async def test_a_script_is_validated_repaired_and_streamed_like_a_model() -> None:
    client = scripted(["prose", Reply.json({"reason": "r", "supported": False}), "one two three"])
    reply = await client.complete(ASK, schema=Verdict)
    assert isinstance(reply, LLMReply)
    assert not reply.parsed_as(Verdict).supported
    async with client.stream(ASK) as stream:
        assert "".join([piece async for piece in stream]) == "one two three"
    tools = await scripted(Reply(tool_uses=(ToolUse("lookup", {"a": 1}),))).complete(ASK)
    assert isinstance(tools, LLMReply)
    assert tools.stop_reason == "tool_use"


async def test_a_file_of_replies_is_a_provider(tmp_path: Path) -> None:
    file = tmp_path / "replies.yaml"
    file.write_text("forecast:\n  reason: r\n  supported: true\n'': other\n")
    environ = {"E2I_LLM_PROVIDER": "scripted", "E2I_SCRIPTED_REPLIES": str(file)}
    client = open_client(load_llm_config(environ=environ), prices=PRICES)
    reply = await client.complete(ASK, schema=Verdict)
    await client.aclose()
    assert isinstance(reply, LLMReply)
    assert reply.parsed_as(Verdict).supported


@pytest.mark.parametrize("content", [None, "[a, b]", "1: x", "a: [", ""])
def test_an_unreadable_script_is_named(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "replies.yaml"
    if content is not None:
        file.write_text(content)
    environ = {"E2I_LLM_PROVIDER": "scripted", "E2I_SCRIPTED_REPLIES": str(file)}
    with pytest.raises(ConfigError, match=r"replies\.yaml: "):
        open_client(load_llm_config(environ=environ), prices=PRICES)


def test_no_module_imports_an_sdk_at_its_top() -> None:
    folder = Path("src/llm")
    for file in folder.glob("*.py"):
        top = [node for node in ast.parse(file.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)]
        names = {(node.module or "") if isinstance(node, ast.ImportFrom) else node.names[0].name for node in top}
        assert not {name for name in names if name.split(".")[0] in ("anthropic", "openai", "langchain_core")}
