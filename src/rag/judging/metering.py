"""What did judging one sample cost, also where the reply could not be used?"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Any

from src.llm.client import LLMReply
from src.llm.traced import LLMSpan, Tracer
from src.mlops.tracing.silent import SilentSpan
from src.rag.scores import Cost


class Tally:
    """Adds up calls. ``dollars`` turns None with the first call whose price is unknown, and stays so."""

    def __init__(self) -> None:
        self.cost = Cost()

    def add(self, *, tokens: tuple[int, int], dollars: float | None, cached: bool) -> None:
        """One call."""
        self.cost += Cost(int(not cached), int(cached), *tokens, dollars)

    def add_reply(self, reply: LLMReply) -> None:
        """One reply, of a client that is not metered."""
        prompt = (reply.input_tokens or 0) + reply.cache_read_tokens + reply.cache_write_tokens
        self.add(tokens=(prompt, reply.output_tokens or 0), dollars=reply.cost, cached=reply.cached)


_current: ContextVar[Tally | None] = ContextVar("tally", default=None)


@contextmanager
def tallied() -> Iterator[Tally]:
    """Calls of this task and its children count here."""
    tally = Tally()
    token = _current.set(tally)
    try:
        yield tally
    finally:
        _current.reset(token)


class MeteringTracer:
    """Counts every call that a client makes, refused and malformed replies too, and passes its span on.

    Without a tracer nothing is recorded beside the figures.
    """

    def __init__(self, tracer: Tracer | None) -> None:
        self._tracer = tracer

    def trace_llm_call(
        self, model: str, *, provider: str, metadata: Mapping[str, Any] | None = None, input_data: Any = None
    ) -> AbstractAsyncContextManager[LLMSpan]:
        """See ``Tracer``."""
        if self._tracer is None:
            return self._metered(SilentSpan())
        return self._metered(
            self._tracer.trace_llm_call(model, provider=provider, metadata=metadata, input_data=input_data)
        )

    @asynccontextmanager
    async def _metered(self, opened: AbstractAsyncContextManager[LLMSpan]) -> AsyncIterator[LLMSpan]:
        async with opened as span:
            call = _MeteredSpan(span)
            yield call
        # An outage raises out of the span: it brought no reply to be paid for.
        if (tally := _current.get()) is not None:
            tally.add(tokens=call.tokens, dollars=call.dollars, cached=call.cached)


class _MeteredSpan:
    """Notes the figures on their way to the span."""

    def __init__(self, span: LLMSpan) -> None:
        self._span = span
        self.tokens = (0, 0)
        self.dollars: float | None = None
        self.cached = False

    def log_tokens(
        self, input_tokens: int, output_tokens: int, cache_read_tokens: int = 0, cache_write_tokens: int = 0
    ) -> None:
        self.tokens = (input_tokens + cache_read_tokens + cache_write_tokens, output_tokens)
        self._span.log_tokens(input_tokens, output_tokens, cache_read_tokens, cache_write_tokens)

    def set_cost(self, dollars: float | None, /) -> None:
        self.dollars = dollars
        self._span.set_cost(dollars)

    def set_output(self, value: Any, /) -> None:
        self._span.set_output(value)

    def set_attribute(self, name: str, value: Any, /) -> None:
        if name == "cached":
            self.cached = bool(value)
        self._span.set_attribute(name, value)
