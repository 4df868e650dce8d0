"""What is recorded of a model call? One span each: model, usage, cost, why it stopped, how many attempts."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any, Protocol

from src.errors import ServiceOutage
from src.llm.client import Endpoint, LLMReply, LLMRequest, StreamPiece
from src.resilience.outcomes import Unavailable


class LLMSpan(Protocol):
    """The open span of one call."""

    def log_tokens(
        self, input_tokens: int, output_tokens: int, cache_read_tokens: int = 0, cache_write_tokens: int = 0
    ) -> None:
        """Tokens used; cached ones are beside ``input_tokens``, not in it."""
        ...

    def set_cost(self, dollars: float | None, /) -> None:
        """US dollars; None when unknown."""
        ...

    def set_output(self, value: Any, /) -> None:
        """The reply."""
        ...

    def set_attribute(self, name: str, value: Any, /) -> None:
        """Anything else worth knowing."""
        ...


class Tracer(Protocol):
    """What records the calls."""

    def trace_llm_call(
        self, model: str, *, provider: str, metadata: Mapping[str, Any] | None = None, input_data: Any = None
    ) -> AbstractAsyncContextManager[LLMSpan]:
        """Open a span; an exception inside it marks it failed."""
        ...


class TracedEndpoint:
    """Every request, repairs and cached answers too, is one span; an outage makes it a failed one."""

    def __init__(self, endpoint: Endpoint, tracer: Tracer) -> None:
        self._endpoint = endpoint
        self._tracer = tracer

    @property
    def provider(self) -> str:
        """The endpoint's name."""
        return self._endpoint.provider

    async def send(self, request: LLMRequest) -> LLMReply | Unavailable:
        """Ask inside a span."""
        try:
            async with self._span(request, streamed=False) as span:
                reply = await self._endpoint.send(request)
                _record(span, reply)
                return reply
        except _Outage as outage:
            return outage.unavailable

    async def stream(self, request: LLMRequest) -> AsyncGenerator[StreamPiece, None]:
        """The same, piece by piece; a reader who leaves early is noted and no failure."""
        reply: StreamPiece | None = None
        try:
            async with (
                self._span(request, streamed=True) as span,
                aclosing(self._endpoint.stream(request)) as pieces,
            ):
                try:
                    async for piece in pieces:
                        if isinstance(piece, str):
                            yield piece
                        else:
                            _record(span, piece)
                            reply = piece
                except GeneratorExit:
                    span.set_attribute("left_early", True)
                    return
        except _Outage as outage:
            reply = outage.unavailable
        # The span has ended: whoever stops reading here has read everything.
        if reply is not None:
            yield reply

    def _span(self, request: LLMRequest, *, streamed: bool) -> AbstractAsyncContextManager[LLMSpan]:
        metadata = {
            "purpose": request.purpose,
            "max_tokens": request.max_tokens,
            "schema": request.schema.__name__ if request.schema else None,
            "repair": request.repair,
            "streamed": streamed,
        }
        asked = {
            "system": request.system,
            "messages": [{"role": message.role, "content": message.content} for message in request.messages],
        }
        return self._tracer.trace_llm_call(request.model, provider=self.provider, metadata=metadata, input_data=asked)


class _Outage(ServiceOutage):
    """Carries an Unavailable through the span, so that the span fails."""

    def __init__(self, unavailable: Unavailable) -> None:
        self.unavailable = unavailable
        super().__init__(unavailable.reason)


def _record(span: LLMSpan, reply: LLMReply | Unavailable) -> None:
    if isinstance(reply, Unavailable):
        raise _Outage(reply)
    if reply.input_tokens is not None and reply.output_tokens is not None:
        span.log_tokens(reply.input_tokens, reply.output_tokens, reply.cache_read_tokens, reply.cache_write_tokens)
    span.set_cost(reply.cost)
    span.set_output(reply.text)
    span.set_attribute("stop_reason", reply.stop_reason)
    span.set_attribute("response_model", reply.model)
    span.set_attribute("attempts", reply.attempts)
    span.set_attribute("cached", reply.cached)
    span.set_attribute("tool_calls", [call.name for call in reply.tool_calls])
