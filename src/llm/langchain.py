"""How is a LangChain chat model used as a provider?"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING, Any

from src.llm.client import LLMReply, LLMRequest, Message, StopReason, ToolCall
from src.llm.structured import with_schema_in_prompt

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage, BaseMessage

_STOP: dict[str, StopReason] = {
    "end_turn": "end_turn",
    "stop_sequence": "end_turn",
    "stop": "end_turn",
    "max_tokens": "max_tokens",
    "length": "max_tokens",
    "tool_use": "tool_use",
    "tool_calls": "tool_use",
    "refusal": "refusal",
    "content_filter": "refusal",
}


class LangChainVendor:
    """Any ``BaseChatModel``; schemas go into the prompt. The model name of the request is for the records only:
    a LangChain model is made for one model. Switch its own retries off (``max_retries=0``).
    """

    provider = "langchain"

    def __init__(self, model: BaseChatModel) -> None:
        self._model = model

    async def send(self, request: LLMRequest) -> LLMReply:
        """Raises what the model raises."""
        asked = with_schema_in_prompt(request)
        return _reply(await self._bound(asked).ainvoke(_turns(asked)), request)

    async def stream(self, request: LLMRequest) -> AsyncGenerator[str | LLMReply, None]:
        """Raises what the model raises."""
        asked = with_schema_in_prompt(request)
        whole: Any = None
        async for chunk in self._bound(asked).astream(_turns(asked)):
            whole = chunk if whole is None else whole + chunk
            if text := _text(chunk):
                yield text
        if whole is not None:
            yield _reply(whole, request)

    async def aclose(self) -> None:
        """The model belongs to whoever made it."""

    def _bound(self, request: LLMRequest) -> Any:
        tools = [
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": dict(tool.parameters),
                },
            }
            for tool in request.tools
        ]
        model: Any = self._model.bind_tools(tools) if tools else self._model
        return model.bind(max_tokens=request.max_tokens)


def _turns(request: LLMRequest) -> list[BaseMessage]:
    from langchain_core.messages import SystemMessage

    system: Sequence[BaseMessage] = [SystemMessage(request.system)] if request.system else []
    return [*system, *map(_turn, request.messages)]


def _turn(message: Message) -> BaseMessage:
    from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

    if message.role == "tool":
        return ToolMessage(message.content, tool_call_id=message.tool_call_id)
    if message.role == "user":
        return HumanMessage(message.content)
    calls = [{"id": call.id, "name": call.name, "args": dict(call.arguments)} for call in message.tool_calls]
    return AIMessage(message.content, tool_calls=calls)


def _reply(message: AIMessage, request: LLMRequest) -> LLMReply:
    usage = message.usage_metadata
    details: Any = {} if usage is None else usage.get("input_token_details") or {}
    read, written = details.get("cache_read") or 0, details.get("cache_creation") or 0
    about = message.response_metadata
    calls = tuple(ToolCall(call["id"] or "", call["name"], call["args"]) for call in message.tool_calls)
    stop = about.get("stop_reason") or about.get("finish_reason") or ("tool_use" if calls else "end_turn")
    return LLMReply(
        text=_text(message),
        parsed=None,
        model=about.get("model_name") or about.get("model") or request.model,
        provider=LangChainVendor.provider,
        # LangChain counts cached tokens as input.
        input_tokens=None if usage is None else usage["input_tokens"] - read - written,
        output_tokens=None if usage is None else usage["output_tokens"],
        stop_reason=_STOP.get(str(stop), "other"),
        cache_read_tokens=read,
        cache_write_tokens=written,
        tool_calls=calls,
    )


def _text(message: Any) -> str:
    content = message.content
    if isinstance(content, str):
        return content
    return "".join(
        block if isinstance(block, str) else block.get("text", "") if block.get("type") == "text" else ""
        for block in content
    )
