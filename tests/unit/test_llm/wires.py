"""What do the model-client tests share? Settings for a scripted server, prices, a recording tracer, a schema."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal

from pydantic import BaseModel

from src.domain.prices import ModelPrice, PriceTable
from src.llm.client import Message
from src.llm.configuration import LLMSettings, load_llm_config
from src.scripted_servers.anthropic import ScriptedAnthropic
from src.scripted_servers.openai import ScriptedOpenAI

KEY = "sk-very-secret-key-0123456789"
SECRET_PROMPT = "The confidential forecast of region north is 4711."
ASK = (Message("user", SECRET_PROMPT),)
PRICES = PriceTable(as_of=date(2026, 10, 7), models={"priced": ModelPrice(input=2.0, output=10.0, cache_read=0.2)})

WireName = Literal["anthropic", "openai"]
WIRES: list[WireName] = ["anthropic", "openai"]
Server = ScriptedAnthropic | ScriptedOpenAI


class Verdict(BaseModel):
    """A reply with a shape."""

    reason: str
    supported: bool


def serve(wire: WireName, script: Any = "ok", **options: Any) -> Server:
    """A scripted server of that wire format."""
    return ScriptedAnthropic(script, **options) if wire == "anthropic" else ScriptedOpenAI(script, **options)


def settings(
    wire: WireName, server: Server, *, structured_output: str = "native", judge: str = "priced", **changes: Any
) -> LLMSettings:
    """Shipped settings pointed at ``server``: one model for everything, quick limits."""
    shipped = load_llm_config(environ={}).model_dump()
    models = {**dict.fromkeys(shipped["anthropic"]["models"], "priced"), "judge": judge}
    of_provider = {"api_key": KEY, "base_url": server.base_url, "structured_output": structured_output}
    quick = {
        "provider": wire,
        wire: {**of_provider, "models": models},
        "timeouts": {"request_seconds": 20, "deadline_seconds": 20},
        "budget": {},
    }
    return LLMSettings.model_validate({**shipped, **quick, **changes})


# For servers that stay silent; the others get time enough for a busy machine.
IMPATIENT = {"timeouts": {"request_seconds": 0.5, "deadline_seconds": 20}}


class Waits:
    """A sleep that only takes notes."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


@dataclass
class RecordedSpan:
    """What one span was told."""

    model: str
    provider: str
    metadata: Mapping[str, Any]
    input_data: Any
    tokens: tuple[int, int, int, int] | None = None
    cost: float | None = None
    output: Any = None
    attributes: dict[str, Any] = field(default_factory=dict)
    error: str | None = None

    def log_tokens(
        self, input_tokens: int, output_tokens: int, cache_read_tokens: int = 0, cache_write_tokens: int = 0
    ) -> None:
        self.tokens = (input_tokens, output_tokens, cache_read_tokens, cache_write_tokens)

    def set_cost(self, cost: float | None) -> None:
        self.cost = cost

    def set_output(self, output: Any) -> None:
        self.output = output

    def set_attribute(self, name: str, value: Any) -> None:
        self.attributes[name] = value


class RecordingTracer:
    """Keeps every span."""

    def __init__(self) -> None:
        self.spans: list[RecordedSpan] = []

    @asynccontextmanager
    async def trace_llm_call(
        self, model: str, *, provider: str, metadata: Mapping[str, Any] | None = None, input_data: Any = None
    ) -> AsyncIterator[RecordedSpan]:
        span = RecordedSpan(model, provider, metadata or {}, input_data)
        self.spans.append(span)
        try:
            yield span
        except BaseException as error:
            span.error = type(error).__name__
            raise
