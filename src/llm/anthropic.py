"""How is Anthropic's Messages API, or a server that speaks it, asked through the official SDK?"""

from __future__ import annotations

import json
import warnings
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from src.llm.client import LLMReply, LLMRequest, Message, StopReason, ToolCall
from src.llm.failures import BrokenReply
from src.llm.structured import with_schema_in_prompt

if TYPE_CHECKING:
    from anthropic.types import Message as WireMessage

# Local servers want no key, the SDK insists on one.
PLACEHOLDER_KEY = "no-key-needed"
_STOP: dict[str | None, StopReason] = {
    "end_turn": "end_turn",
    "stop_sequence": "end_turn",
    "max_tokens": "max_tokens",
    "model_context_window_exceeded": "max_tokens",
    "tool_use": "tool_use",
    "refusal": "refusal",
}


class AnthropicVendor:
    """One attempt per call: the SDK's own retries are off. JSON schemas go to the server, or into the prompt."""

    provider = "anthropic"

    def __init__(
        self,
        *,
        api_key: str | None,
        base_url: str | None = None,
        timeout_s: float = 120.0,
        schemas_in_prompt: bool = False,
    ) -> None:
        import logging

        import anthropic

        # Its debug lines hold whole prompts.
        logging.getLogger("anthropic").setLevel(logging.INFO)
        self._native = not schemas_in_prompt
        self._sdk = anthropic.AsyncAnthropic(
            api_key=api_key or PLACEHOLDER_KEY, base_url=base_url, timeout=timeout_s, max_retries=0
        )

    async def send(self, request: LLMRequest) -> LLMReply:
        """Raises the SDK's errors, and BrokenReply for a body that is no message."""
        with _readable():
            message = await self._sdk.messages.create(**self._arguments(request))
            return _reply(message)

    async def stream(self, request: LLMRequest) -> AsyncGenerator[str | LLMReply, None]:
        """Raises the SDK's errors, and BrokenReply for a stream that ends early."""
        finished = False
        with _readable():
            async with self._sdk.messages.stream(**self._arguments(request)) as stream:
                async for event in stream:
                    finished = finished or event.type == "message_stop"
                    if event.type == "text":
                        yield event.text
                if not finished:
                    raise BrokenReply("broke off its reply")
                yield _reply(await stream.get_final_message())

    async def aclose(self) -> None:
        """Close connections."""
        await self._sdk.close()

    def _arguments(self, request: LLMRequest) -> dict[str, Any]:
        asked = request if self._native else with_schema_in_prompt(request)
        arguments: dict[str, Any] = {
            "model": asked.model,
            "max_tokens": asked.max_tokens,
            "messages": _turns(asked.messages),
        }
        if asked.system:
            block = {"type": "text", "text": asked.system}
            arguments["system"] = (
                [{**block, "cache_control": {"type": "ephemeral"}}] if asked.cache_system else asked.system
            )
        if asked.tools:
            arguments["tools"] = [
                {"name": tool.name, "description": tool.description, "input_schema": dict(tool.parameters)}
                for tool in asked.tools
            ]
        if asked.schema is not None and self._native:
            from anthropic import transform_schema

            wanted = {"type": "json_schema", "schema": transform_schema(asked.schema)}
            arguments["output_config"] = {"format": wanted}
        return arguments


def warn_of_deprecated(models: Iterable[str]) -> None:
    """A UserWarning for each model the installed SDK knows an end date of."""
    from anthropic.resources.messages.messages import DEPRECATED_MODELS

    for model in sorted(set(models) & set(DEPRECATED_MODELS)):
        warnings.warn(
            f"{model} is deprecated and ends on {DEPRECATED_MODELS[model]}: choose another in config/llm.yaml",
            UserWarning,
            stacklevel=3,
        )


@contextmanager
def _readable() -> Iterator[None]:
    """Turn what the SDK raises for unreadable answers into one outage."""
    import anthropic

    try:
        yield
    except (json.JSONDecodeError, anthropic.APIResponseValidationError):
        raise BrokenReply("answered with something that is no message; check the base URL") from None
    except anthropic.APIStatusError as error:
        # An error event inside a stream comes under the status of the stream.
        if error.status_code < 400:
            raise BrokenReply(f"broke off its reply ({error.type or 'error event'})") from None
        raise


def _turns(messages: Iterable[Message]) -> list[dict[str, Any]]:
    turns: list[dict[str, Any]] = []
    for message in messages:
        if message.role != "tool":
            turns.append({"role": message.role, "content": _content(message)})
            continue
        result = {"type": "tool_result", "tool_use_id": message.tool_call_id, "content": message.content}
        if turns and turns[-1].get("results"):
            turns[-1]["results"].append(result)
        else:
            turns.append({"role": "user", "results": [result]})
    # The results of one turn's tools belong into one message.
    return [{"role": turn["role"], "content": turn.get("content") or turn["results"]} for turn in turns]


def _content(message: Message) -> str | list[dict[str, Any]]:
    if not message.tool_calls:
        return message.content
    text = [{"type": "text", "text": message.content}] if message.content else []
    uses = [
        {"type": "tool_use", "id": call.id, "name": call.name, "input": dict(call.arguments)}
        for call in message.tool_calls
    ]
    return [*text, *uses]


def _reply(message: WireMessage) -> LLMReply:
    if not hasattr(message, "content") or not hasattr(message, "usage"):
        raise BrokenReply("answered with something that is no message; check the base URL")
    usage = message.usage
    calls = (
        ToolCall(block.id, block.name, block.input if isinstance(block.input, dict) else {})
        for block in message.content
        if block.type == "tool_use"
    )
    return LLMReply(
        text="".join(block.text for block in message.content if block.type == "text"),
        parsed=None,
        model=message.model,
        provider=AnthropicVendor.provider,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        stop_reason=_STOP.get(message.stop_reason, "other"),
        cache_read_tokens=usage.cache_read_input_tokens or 0,
        cache_write_tokens=usage.cache_creation_input_tokens or 0,
        tool_calls=tuple(calls),
    )
