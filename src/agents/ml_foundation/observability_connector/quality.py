"""How fast and how well did the agents work? Metrics over stored spans, never over none."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from src.agents.ml_foundation.observability_connector.services import Services
from src.domain.agents import TIER_OF_AGENT, UNKNOWN_AGENT
from src.errors import ContractViolation, ServiceOutage, ServiceRefused, nearest_names
from src.storage.trace_records import SpanFigures, Window


@dataclass(frozen=True, slots=True)
class Latency:
    """Percentiles of span durations in milliseconds (linear interpolation) over ``n`` spans."""

    p50: float
    p95: float
    p99: float
    n: int


@dataclass(frozen=True, slots=True)
class QualityMetrics:
    """Figures over the ``sample_size`` spans that started within ``window`` before ``computed_at``.

    ``latency`` has two parts, "agent" and "tier", by name. ``error_rate``, ``fallback_rate`` (0–1) and
    ``tokens`` are by agent. ``quality_score`` is the mean over all spans of 1 for success, ½ for a
    success that a fallback gave, and 0 for an error or timeout. ``cost`` adds up the known costs of
    model calls in US dollars (None: none is known); ``unpriced_calls`` counts the others.
    """

    window: str
    computed_at: datetime
    sample_size: int
    latency: dict[str, dict[str, Latency]]
    error_rate: dict[str, float]
    fallback_rate: dict[str, float]
    tokens: dict[str, int]
    success_rate: float
    quality_score: float
    cost: float | None
    unpriced_calls: int

    def to_bytes(self) -> bytes:
        """As JSON."""
        return orjson.dumps(dataclasses.asdict(self))

    @classmethod
    def from_bytes(cls, stored: bytes) -> QualityMetrics:
        """Back from JSON; raises ContractViolation for anything else."""
        try:
            values: dict[str, Any] = orjson.loads(stored)
            values["computed_at"] = datetime.fromisoformat(values["computed_at"])
            values["latency"] = {
                part: {name: Latency(**figures) for name, figures in by_name.items()}
                for part, by_name in values["latency"].items()
            }
            return cls(**values)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ContractViolation(f"the cached metrics cannot be read: {type(error).__name__}") from error


@dataclass(frozen=True, slots=True)
class Measurement:
    """Metrics, or the reason why there are none; ``degraded`` says what did not work on the way."""

    metrics: QualityMetrics | None
    reason: str | None
    cached: bool
    degraded: tuple[str, ...]


def quality_metrics(figures: Sequence[SpanFigures], window: Window, now: datetime) -> QualityMetrics | None:
    """Metrics from the figures per agent, per tier and over all; None when there are no spans."""
    overall = next((one for one in figures if one.agent_name is None and one.agent_tier is None), None)
    if overall is None or overall.spans == 0:
        return None
    agents = {one.agent_name: one for one in figures if one.agent_name is not None}
    tiers = {one.agent_tier: one for one in figures if one.agent_name is None and one.agent_tier is not None}
    return QualityMetrics(
        window=window.value,
        computed_at=now,
        sample_size=overall.spans,
        latency={"agent": _latencies(agents), "tier": _latencies(tiers)},
        error_rate={name: one.error_rate for name, one in agents.items()},
        fallback_rate={name: one.fallback_rate for name, one in agents.items()},
        tokens={name: one.total_tokens for name, one in agents.items()},
        success_rate=overall.success_rate,
        quality_score=overall.credit,
        cost=overall.cost,
        unpriced_calls=overall.unpriced_calls,
    )


async def measure(services: Services, window: Window, agents: Sequence[str]) -> Measurement:
    """Metrics of a window from the cache, else from the database; a cache that is away is reported.

    Raises DatabaseUnavailable.
    """
    key = f"e2i:quality:{services.traces.location}:{window.value}:{','.join(sorted(set(agents)))}"
    degraded: list[str] = []
    try:
        held = await services.cache.get(key)
        if held is not None:
            return Measurement(QualityMetrics.from_bytes(held), None, True, ())
    except (ServiceOutage, ServiceRefused, ContractViolation) as error:
        degraded.append(str(error))
    metrics = quality_metrics(await services.traces.figures(window, agents), window, datetime.now(UTC))
    if metrics is None:
        of = f" of {', '.join(agents)}" if agents else ""
        return Measurement(None, f"no spans{of} in the last {window.value}", False, tuple(degraded))
    ttl = services.ttl.get(window.value)
    if ttl and not degraded:
        try:
            await services.cache.put(key, metrics.to_bytes(), ttl)
        except (ServiceOutage, ServiceRefused) as error:
            degraded.append(str(error))
    return Measurement(metrics, None, False, tuple(degraded))


def check_agents(agents: Sequence[str]) -> None:
    """Raise ContractViolation for a name that no stored span can have."""
    known = [*TIER_OF_AGENT, UNKNOWN_AGENT]
    for name in agents:
        if name not in known:
            raise ContractViolation(f"there is no agent '{str(name)[:60]}'; {nearest_names(str(name), known)}")


def _latencies(figures: Mapping[str, SpanFigures]) -> dict[str, Latency]:
    return {
        name: Latency(one.p50_ms, one.p95_ms, one.p99_ms, one.timed)
        for name, one in figures.items()
        if one.p50_ms is not None and one.p95_ms is not None and one.p99_ms is not None
    }
