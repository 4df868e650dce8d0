"""What does a scripted model say to which prompt?"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class ToolUse:
    """A tool the scripted model asks for."""

    name: str
    arguments: dict[str, Any]
    id: str = "tool_1"


@dataclass(frozen=True, slots=True)
class Reply:
    """One scripted reply; tokens left out are counted at four characters each, and the model asked for replies."""

    text: str = ""
    tool_uses: tuple[ToolUse, ...] = ()
    end: Literal["complete", "cut_off", "refused"] = "complete"
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    model: str | None = None
    stream_error: str | None = None
    """Type of an error event that ends a stream early, such as ``overloaded_error``."""

    @classmethod
    def json(cls, payload: Any) -> Reply:
        """``payload`` as JSON text."""
        return cls(json.dumps(payload))


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the model was asked, whichever wire it came over."""

    model: str
    system: str
    turns: tuple[tuple[str, str], ...]
    """Role and text of each message."""
    schema: dict[str, Any] | None = None
    tools: tuple[str, ...] = ()
    body: dict[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The system prompt and every message, one per line."""
        return "\n".join([self.system, *(text for _, text in self.turns)])

    @property
    def sha256(self) -> str:
        """Hash of the system prompt and the messages, whatever the model."""
        return hashlib.sha256(json.dumps([self.system, self.turns]).encode()).hexdigest()

    @property
    def last(self) -> str:
        """The last message."""
        return self.turns[-1][1] if self.turns else ""


Scripted = Reply | str | Callable[[Prompt], "Reply | str"]
Script = Scripted | Sequence[Scripted] | Mapping[str, Scripted]
"""One reply for every prompt, replies in order, or rules: the first whose regular expression is found in the
prompt, or whose key is ``sha256:`` and the hash of the prompt."""


class NothingScripted(LookupError):
    """The script has no reply for a prompt, or none left."""


class Replies:
    """Picks the reply of a prompt; safe across threads."""

    def __init__(self, script: Script) -> None:
        self._rules = dict(script) if isinstance(script, Mapping) else None
        listed = isinstance(script, Sequence) and not isinstance(script, str)
        self._queue = list(script) if listed and isinstance(script, Sequence) else None
        self._always = None if isinstance(script, Mapping) or listed else script
        self._lock = threading.Lock()

    def reply_to(self, prompt: Prompt) -> Reply:
        """The reply of ``prompt``. Raises NothingScripted."""
        chosen = self._choose(prompt)
        reply = chosen(prompt) if callable(chosen) else chosen
        return Reply(reply) if isinstance(reply, str) else reply

    def _choose(self, prompt: Prompt) -> Scripted:
        if self._rules is not None:
            for rule, scripted in self._rules.items():
                if _matches(rule, prompt):
                    return scripted
            raise NothingScripted(f"none of {len(self._rules)} rules matches the prompt sha256:{prompt.sha256}")
        if self._queue is None:
            return self._always  # type: ignore[return-value]  # neither rules nor a list: one for all
        with self._lock:
            if not self._queue:
                raise NothingScripted("every scripted reply has been given")
            return self._queue.pop(0)


def _matches(rule: str, prompt: Prompt) -> bool:
    if rule.startswith("sha256:"):
        return rule.removeprefix("sha256:") == prompt.sha256
    return re.search(rule, prompt.text) is not None


def count_tokens(text: str) -> int:
    """Tokens of a text, roughly, at least one."""
    return max(1, len(text) // CHARACTERS_PER_TOKEN)


def text_of(content: Any) -> str:
    """Text of a message's content: a string, or blocks (text, tool results)."""
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(text_of(block.get("text", block.get("content"))) for block in content)


def pieces(text: str, count: int = 4) -> list[str]:
    """``text`` cut into at most ``count`` parts, as a stream delivers it."""
    size = max(1, -(-len(text) // count))
    return [text[start : start + size] for start in range(0, len(text), size)]
