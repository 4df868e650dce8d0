"""What is measured by ``bench_tracing``: spans of E2I, OpenTelemetry and Opik's SDK, each in a process of its own.

``python -m benchmarks.tracing_subjects NAME '{"argument": …}'`` prints one JSON object.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from src.mlops.opik_connector import OpikConnector
from src.mlops.tracing.configuration import load_observability_config

INPUT = {"question": "why did the share of new patients fall? " * 5}
BLOCK = 200
PER_SECOND = 1000

Subject = Callable[[], Any]


class NullSink:
    """Takes everything at no cost."""

    name = "null"
    primary = True

    def deliver(self, records: Any) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """Nothing is open."""


def cost(subject: str, spans: int, folder: str, url: str) -> dict[str, float]:
    """CPU microseconds on the caller's thread per span (median of blocks), and the longest single span in ms.

    The longest is the median of five runs: a batch boundary comes in each of them, an interrupt does not.
    """
    span, around, end = SUBJECTS[subject](Path(folder), url)
    with around():
        _block(span, BLOCK * 2)
    gc.collect()
    gc.freeze()
    blocks = []
    for _ in range(max(spans // BLOCK, 5)):
        with around():
            blocks.append(_block(span, BLOCK))
        time.sleep(0.01)
    with around():
        longest = statistics.median(_longest(span, min(spans, 3000)) for _ in range(5))
    end()
    return {"us_per_span": statistics.median(blocks), "longest_ms": longest}


def _block(span: Subject, count: int) -> float:
    began = time.thread_time_ns()
    for _ in range(count):
        span()
    return (time.thread_time_ns() - began) / count / 1000


def _longest(span: Subject, count: int) -> float:
    """Across every boundary of a batch: the spans follow one another without a pause."""
    longest = 0
    for _ in range(count):
        began = time.thread_time_ns()
        span()
        longest = max(longest, time.thread_time_ns() - began)
    return longest / 1e6


Opened = tuple[Subject, Callable[[], AbstractContextManager[Any]], Callable[[], Any]]


def _ours(input_data: Any = None, *, root: bool = False, **connector: Any) -> Callable[[Path, str], Opened]:
    def opened(folder: Path, url: str) -> Opened:
        tracer = OpikConnector(spool=folder / "spool", **({"sinks": [NullSink()]} | connector))

        def span() -> None:
            with tracer.trace_agent("causal_impact", "estimate", input_data=input_data):
                pass

        around = nullcontext if root else lambda: tracer.trace_agent("causal_impact", "analysis")
        return span, around, tracer.close

    return opened


def _unsampled(folder: Path, url: str) -> Opened:
    config = load_observability_config().changed(
        {
            "fallback": {"database": False},
            "opik": {"enabled": True, "local_endpoint": url},
            "sampling": {"default_rate": 0.0, "always_sample_errors": False, "always_sample_agents": []},
        }
    )
    return _ours(config=config, sinks=None)(folder, url)


def _otel(exporter: str) -> Callable[[Path, str], Opened]:
    def opened(folder: Path, url: str) -> Opened:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

        class Null(SpanExporter):
            def export(self, spans: Any) -> SpanExportResult:
                return SpanExportResult.SUCCESS

        provider = TracerProvider()
        chosen = Null() if exporter == "null" else OTLPSpanExporter(endpoint=f"{url}/v1/traces")
        provider.add_span_processor(BatchSpanProcessor(chosen))
        tracer = provider.get_tracer("benchmark")

        def span() -> None:
            with tracer.start_as_current_span("estimate") as opened_span:
                opened_span.set_attribute("agent", "causal_impact")
                opened_span.set_attribute("operation", "estimate")

        return span, lambda: tracer.start_as_current_span("analysis"), provider.shutdown

    return opened


def _opik(*, root: bool = False) -> Callable[[Path, str], Opened]:
    def opened(folder: Path, url: str) -> Opened:
        import opik

        def nothing() -> None:
            return None

        span = opik.track(name="estimate", capture_input=False, capture_output=False)(nothing)
        around = nullcontext if root else lambda: opik.start_as_current_trace("analysis")
        return span, around, opik.flush_tracker

    return opened


SUBJECTS: dict[str, Callable[[Path, str], Opened]] = {
    "ours": _ours(),
    "ours, 200 characters of input": _ours(INPUT),
    "ours, root": _ours(root=True),
    "ours disabled": _ours(sinks=[]),
    "ours unsampled": _unsampled,
    "OpenTelemetry batch, null exporter": _otel("null"),
    "OpenTelemetry batch, OTLP/HTTP": _otel("otlp"),
    "@opik.track": _opik(),
    "@opik.track, root": _opik(root=True),
    "@opik.track disabled": _opik(root=True),
}


def _connector(folder: str, url: str, dsn: str, **settings: Any) -> OpikConnector:
    opik = {"opik": {"enabled": bool(url), "local_endpoint": url or "http://127.0.0.1:9"}}
    connector = OpikConnector(load_observability_config().changed(opik | settings), spool=Path(folder) / "spool")
    if dsn:
        connector.use_database(lambda: dsn)
    return connector


def throughput(spans: int, folder: str, dsn: str, text: bool) -> dict[str, float]:
    """Spans per second from the first call to the last row in PostgreSQL."""
    connector = _connector(folder, "", dsn)
    began = time.monotonic()
    for _ in range(spans // 10):
        with connector.trace_agent("causal_impact", "analysis"):
            for _ in range(9):
                with connector.trace_agent("causal_impact", "estimate", input_data=INPUT if text else None):
                    pass
    complete = asyncio.run(connector.flush(300))
    seconds = time.monotonic() - began
    status = connector.get_status()
    connector.close(30)
    assert complete
    return {"per_s": status["sinks"]["database"]["delivered"] / seconds}


def lag(seconds: float, folder: str, dsn: str, url: str) -> dict[str, float]:
    """99th percentile of how late an event loop is, in ms, at 1,000 spans a second; without a database: no spans."""
    return asyncio.run(_lag(seconds, _connector(folder, url, dsn) if dsn else None))


async def _lag(seconds: float, connector: OpikConnector | None) -> dict[str, float]:
    lags: list[float] = []
    ticking = asyncio.create_task(_tick(lags))
    began, logged = time.monotonic(), 0
    while (passed := time.monotonic() - began) < seconds:
        while logged < passed * PER_SECOND:
            if connector is not None:
                with connector.trace_agent("causal_impact", "estimate", input_data=INPUT):
                    pass
            logged += 1
        await asyncio.sleep(0.002)
    ticking.cancel()
    if connector is not None:
        await connector.shutdown()
    return {"p99_ms": statistics.quantiles(lags, n=100)[98]}


async def _tick(lags: list[float]) -> None:
    while True:
        began = time.perf_counter()
        await asyncio.sleep(0.001)
        lags.append((time.perf_counter() - began - 0.001) * 1000)


def leave(system: str, traces: int, folder: str, url: str, dsn: str) -> dict[str, float]:
    """Log and return; the caller measures how long the process lives on after the moment printed."""
    log = _logger(system, folder, url, dsn)
    for number in range(traces):
        log(number)
    return {"returned_at": time.monotonic()}


def run_losing(system: str, traces: int, folder: str, url: str, way: str = "exit") -> dict[str, float]:
    """Log ten traces a second, each with one span, and end; ``way`` fork: in a child made after the first trace."""
    log = _logger(system, folder, url, "")
    if way == "fork":
        log(0)
        if (child := os.fork()) == 0:
            _log_on(log, 1, traces)
            sys.exit(0)
        os.waitpid(child, 0)
        return {"logged": traces}
    _log_on(log, 0, traces)
    return {"logged": traces}


def _log_on(log: Callable[[int], None], first: int, traces: int) -> None:
    for number in range(first, traces):
        log(number)
        print(f"logged {number}", file=sys.stderr, flush=True)
        time.sleep(0.1)


def replay(folder: str, url: str) -> dict[str, bool]:
    """What the next process does: deliver what the spool holds."""
    connector = _connector(folder, url, "", fallback={"database": False})
    complete = asyncio.run(connector.flush(60))
    connector.close(5)
    return {"complete": complete}


def _logger(system: str, folder: str, url: str, dsn: str) -> Callable[[int], None]:
    if system == "ours":
        own = {} if dsn else {"fallback": {"database": False}}
        connector = _connector(folder, url, dsn, **own)

        def ours(number: int) -> None:
            with connector.trace_agent("causal_impact", "analysis", metadata={"number": number}):
                pass

        return ours
    import opik

    client = opik.Opik()

    def theirs(number: int) -> None:
        trace = client.trace(name="analysis", metadata={"number": number})
        trace.span(name="estimate").end()
        trace.end()

    return theirs


MEASURES: dict[str, Callable[..., dict[str, Any]]] = {
    "cost": cost,
    "throughput": throughput,
    "lag": lag,
    "leave": leave,
    "run_losing": run_losing,
    "replay": replay,
}

if __name__ == "__main__":
    print(json.dumps(MEASURES[sys.argv[1]](**json.loads(sys.argv[2]))), flush=True)
