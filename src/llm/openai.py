"""How is an OpenAI-compatible chat-completions server asked through the official SDK?"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from src.llm.client import LLMReply, LLMRequest, Message, StopReason, ToolCall
from src.llm.failures import BrokenReply
from src.llm.structured import with_schema_in_prompt

if TYPE_CHECKING:
    from openai.types import CompletionUsage
    from openai.types.chat import ChatCompletion, ChatCompletionChunk

PLACEHOLDER_KEY = "no-key-needed"
_STOP: dict[str | None, StopReason] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}


def open_sdk(api_key: str | None, base_url: str | None, timeout_s: float) -> Any:
    """The SDK's client, its own retries off. Raises ModuleNotFoundError where it is not installed."""
    import logging

    import openai

    # Its debug lines hold whole prompts.
    logging.getLogger("openai").setLevel(logging.INFO)
    return openai.AsyncOpenAI(api_key=api_key or PLACEHOLDER_KEY, base_url=base_url, timeout=timeout_s, max_retries=0)


class OpenAIVendor:
    """One attempt per call: the SDK's own retries are off. JSON schemas go to the server, or into the prompt."""

    provider = "openai"

    def __init__(
        self,
        *,
        api_key: str | None,
        base_url: str | None = None,
        timeout_s: float = 120.0,
        schemas_in_prompt: bool = False,
    ) -> None:
        self._native = not schemas_in_prompt
        # OpenAI refuses the older name for its newer models; compatible servers may know only that one.
        self._limit_name = "max_tokens" if base_url else "max_completion_tokens"
        self._sdk = open_sdk(api_key, base_url, timeout_s)

    async def send(self, request: LLMRequest) -> LLMReply:
        """Raises the SDK's errors, and BrokenReply for a body that is no completion."""
        with _readable():
            return _reply(await self._sdk.chat.completions.create(**self._arguments(request)))

    async def stream(self, request: LLMRequest) -> AsyncGenerator[str | LLMReply, None]:
        """Raises the SDK's errors, and BrokenReply for a stream that ends early."""
        gathered = _Gathered(model=request.model)
        with _readable():
            stream = await self._sdk.chat.completions.create(
                **self._arguments(request), stream=True, stream_options={"include_usage": True}
            )
            async with stream:
                async for chunk in stream:
                    if text := gathered.add(chunk):
                        yield text
            if gathered.finish is None:
                raise BrokenReply("broke off its reply")
            yield gathered.reply()

    async def aclose(self) -> None:
        """Close connections."""
        await self._sdk.close()

    def _arguments(self, request: LLMRequest) -> dict[str, Any]:
        asked = request if self._native else with_schema_in_prompt(request)
        system = [{"role": "system", "content": asked.system}] if asked.system else []
        arguments: dict[str, Any] = {
            "model": asked.model,
            self._limit_name: asked.max_tokens,
            "messages": [*system, *map(_turn, asked.messages)],
        }
        if asked.tools:
            arguments["tools"] = [
                {
                    "type": "function",
                    "function": {
                        "name": tool.name,
                        "description": tool.description,
                        "parameters": dict(tool.parameters),
                    },
                }
                for tool in asked.tools
            ]
        if asked.schema is not None and self._native:
            from openai.lib._pydantic import to_strict_json_schema

            wanted = {"name": asked.schema.__name__, "schema": to_strict_json_schema(asked.schema), "strict": True}
            arguments["response_format"] = {"type": "json_schema", "json_schema": wanted}
        return arguments


@contextmanager
def _readable() -> Iterator[None]:
    """Turn what the SDK raises for unreadable answers into one outage."""
    import openai

    try:
        yield
    except (json.JSONDecodeError, openai.APIResponseValidationError):
        raise BrokenReply("answered with something that is no completion; check the base URL") from None
    except openai.APIError as error:
        # An error event inside a stream carries no status.
        if not isinstance(error, openai.APIStatusError | openai.APIConnectionError):
            raise BrokenReply("broke off its reply") from None
        raise


def _turn(message: Message) -> dict[str, Any]:
    if message.role == "tool":
        return {"role": "tool", "tool_call_id": message.tool_call_id, "content": message.content}
    turn: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        turn["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": json.dumps(dict(call.arguments))},
            }
            for call in message.tool_calls
        ]
    return turn


def _reply(completion: ChatCompletion) -> LLMReply:
    choices = getattr(completion, "choices", None)
    if not choices:
        raise BrokenReply("answered with something that is no completion; check the base URL")
    message = choices[0].message
    calls = [
        (call.id, call.function.name, call.function.arguments)
        for call in message.tool_calls or []
        if call.type == "function"
    ]
    stop: StopReason = "refusal" if message.refusal else _STOP.get(choices[0].finish_reason, "other")
    return _build(message.content or "", completion.model, stop, completion.usage, calls)


@dataclass
class _Gathered:
    """A reply as it comes together from chunks."""

    model: str
    text: str = ""
    finish: str | None = None
    refused: bool = False
    usage: CompletionUsage | None = None
    calls: dict[int, list[str]] = field(default_factory=dict)

    def add(self, chunk: ChatCompletionChunk) -> str:
        """Take in a chunk; returns its text."""
        self.model = chunk.model or self.model
        self.usage = chunk.usage or self.usage
        if not chunk.choices:
            return ""
        choice = chunk.choices[0]
        self.finish = choice.finish_reason or self.finish
        self.refused = self.refused or bool(choice.delta.refusal)
        for call in choice.delta.tool_calls or []:
            parts = self.calls.setdefault(call.index, ["", "", ""])
            parts[0] = call.id or parts[0]
            if call.function is not None:
                parts[1] = call.function.name or parts[1]
                parts[2] += call.function.arguments or ""
        text = choice.delta.content or ""
        self.text += text
        return text

    def reply(self) -> LLMReply:
        stop: StopReason = "refusal" if self.refused else _STOP.get(self.finish, "other")
        calls = [(number, name, arguments) for number, name, arguments in self.calls.values()]
        return _build(self.text, self.model, stop, self.usage, calls)


def _build(
    text: str, model: str, stop: StopReason, usage: CompletionUsage | None, calls: list[tuple[str, str, str]]
) -> LLMReply:
    details = usage.prompt_tokens_details if usage is not None else None
    read = (details.cached_tokens if details else None) or 0
    written = (getattr(details, "cache_write_tokens", None) if details else None) or 0
    return LLMReply(
        text=text,
        parsed=None,
        model=model,
        provider=OpenAIVendor.provider,
        # Here, unlike at Anthropic, the cached tokens are part of the prompt's.
        input_tokens=None if usage is None else usage.prompt_tokens - read - written,
        output_tokens=None if usage is None else usage.completion_tokens,
        stop_reason=stop,
        cache_read_tokens=read,
        cache_write_tokens=written,
        tool_calls=tuple(ToolCall(number, name, _arguments(arguments)) for number, name, arguments in calls),
    )


def _arguments(text: str) -> dict[str, Any]:
    """Raises JSONDecodeError, which ``_readable`` takes for a broken reply."""
    parsed = json.loads(text or "{}")
    return parsed if isinstance(parsed, dict) else {}
