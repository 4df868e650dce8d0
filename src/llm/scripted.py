"""What answers when a run must be repeatable without any model? Replies written down beforehand."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import yaml

from src.errors import ConfigError, LLMError
from src.llm.client import LLMReply, LLMRequest, StopReason, ToolCall
from src.scripted_servers.replies import NothingScripted, Prompt, Replies, Reply, Script, count_tokens, pieces

_STOP: dict[str, StopReason] = {"complete": "end_turn", "cut_off": "max_tokens", "refused": "refusal"}


class ScriptedVendor:
    """Answers from a script: one reply, replies in order, or rules on the prompt's text or hash.

    Tokens are counted at four characters each unless the reply says otherwise. A prompt nothing is scripted
    for raises LLMError with its hash, to be used as a rule (``sha256:…``).
    """

    provider = "scripted"

    def __init__(self, script: Script) -> None:
        self._replies = Replies(script)
        self.requests: list[LLMRequest] = []

    async def send(self, request: LLMRequest) -> LLMReply:
        """The scripted reply."""
        self.requests.append(request)
        prompt = _prompt(request)
        try:
            return _reply(self._replies.reply_to(prompt), prompt)
        except NothingScripted as error:
            raise LLMError(f"no scripted reply for the prompt sha256:{prompt.sha256}: add a rule for it") from error

    async def stream(self, request: LLMRequest) -> AsyncGenerator[str | LLMReply, None]:
        """The scripted reply in a few pieces."""
        reply = await self.send(request)
        for piece in pieces(reply.text):
            yield piece
        yield reply

    async def aclose(self) -> None:
        """Nothing is open."""


def load_script(file: Path) -> dict[str, Reply | str]:
    """Rules from a YAML file: a regular expression or ``sha256:…`` each, with a text or an object (sent as JSON).

    Raises ConfigError.
    """
    try:
        raw = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{file}: no readable file of scripted replies ({type(error).__name__})") from error
    if not isinstance(raw, dict) or not all(isinstance(rule, str) for rule in raw):
        raise ConfigError(f"{file}: expected rules and replies: 'a regular expression': reply")
    return {rule: reply if isinstance(reply, str) else Reply.json(reply) for rule, reply in raw.items()}


def _prompt(request: LLMRequest) -> Prompt:
    return Prompt(
        model=request.model,
        system=request.system or "",
        turns=tuple((message.role, message.content) for message in request.messages),
        schema=request.schema.model_json_schema() if request.schema else None,
        tools=tuple(tool.name for tool in request.tools),
    )


def _reply(reply: Reply, prompt: Prompt) -> LLMReply:
    calls = tuple(ToolCall(use.id, use.name, dict(use.arguments)) for use in reply.tool_uses)
    return LLMReply(
        text=reply.text,
        parsed=None,
        model=reply.model or prompt.model,
        provider=ScriptedVendor.provider,
        input_tokens=count_tokens(prompt.text) if reply.input_tokens is None else reply.input_tokens,
        output_tokens=count_tokens(reply.text) if reply.output_tokens is None else reply.output_tokens,
        stop_reason="tool_use" if calls and reply.end == "complete" else _STOP[reply.end],
        cache_read_tokens=reply.cache_read_tokens,
        cache_write_tokens=reply.cache_write_tokens,
        tool_calls=calls,
    )
