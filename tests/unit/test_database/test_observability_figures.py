"""Are latency, rates and tokens what numpy computes from the same rows?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from src.errors import ContractViolation
from src.storage.database import Database
from src.storage.traces import TraceRepository
from tests.unit.test_database.stored_spans import Row, span, store

pytestmark = pytest.mark.integration
HOUR, DAY = 3600.0, 86_400.0
AGENTS = ("causal_impact", "explainer", "feedback_learner", "observability_connector")


def random_spans(n: int, seed: int, *, within_s: float) -> list[Row]:
    """Spans of all agents with every status, some without a duration, all inside the window."""
    rng = np.random.default_rng(seed)
    return [
        span(
            f"t{i}",
            f"s{i}",
            agent=str(rng.choice(AGENTS)),
            ago_s=float(rng.uniform(5, within_s - 60)),
            ms=float(rng.lognormal(3, 2)),
            status=str(rng.choice(["success", "error", "timeout"], p=[0.7, 0.2, 0.1])),
            fallback_used=bool(rng.random() < 0.3),
            input_tokens=int(rng.integers(0, 500)),
            output_tokens=int(rng.integers(0, 500)),
        )
        | ({"duration_ms": None} if rng.random() < 0.1 else {})
        for i in range(n)
    ]


def expected(rows: list[Row]) -> dict[str, Any]:
    """The same figures, computed from the rows in Python."""
    durations = [row["duration_ms"] for row in rows if row["duration_ms"] is not None]
    p50, p95, p99 = np.percentile(durations, [50, 95, 99]) if durations else (None, None, None)
    return {
        "p50_ms": p50,
        "p95_ms": p95,
        "p99_ms": p99,
        "avg": np.mean(durations) if durations else None,
        "error_rate": np.mean([row["status"] != "success" for row in rows]),
        "fallback_rate": np.mean([row["fallback_used"] for row in rows]),
        "tokens": sum(row["total_tokens"] for row in rows),
    }


@pytest.mark.parametrize(("window", "length_s"), [("1h", HOUR), ("24h", DAY), ("7d", 7 * DAY)])
@pytest.mark.parametrize("n", [1, 2, 250])
async def test_latency_per_agent_equals_numpy_and_ignores_what_is_older(
    db: Database, window: str, length_s: float, n: int
) -> None:
    rows = random_spans(n, seed=n, within_s=length_s)
    older = [span(f"old{i}", "s", ago_s=length_s + 60, ms=9e6, status="error") for i in range(3)]
    await store(db, rows + older)
    found = {(row.agent_name, row.agent_tier): row for row in await TraceRepository(db).latency(window)}
    groups = {(row["agent_name"], row["agent_tier"]) for row in rows}
    assert set(found) == groups
    for key in groups:
        mine = [row for row in rows if (row["agent_name"], row["agent_tier"]) == key]
        wanted, got = expected(mine), found[key]
        assert got.total_spans == len(mine)
        assert (got.p50_ms, got.p95_ms, got.p99_ms) == pytest.approx(
            (wanted["p50_ms"], wanted["p95_ms"], wanted["p99_ms"])
        )
        assert got.avg_duration_ms == pytest.approx(wanted["avg"])
        assert (got.error_rate, got.fallback_rate) == pytest.approx((wanted["error_rate"], wanted["fallback_rate"]))
        assert got.total_tokens_used == wanted["tokens"]


async def test_a_day_is_the_view_and_the_view_has_one_row_per_agent(db: Database) -> None:
    await store(db, random_spans(120, seed=4, within_s=DAY))
    view = await db.fetch("SELECT * FROM v_agent_latency_summary ORDER BY agent_tier, agent_name")
    found = await TraceRepository(db).latency("24h")
    assert [row.agent_name for row in found] == [row["agent_name"] for row in view]
    assert [row.p99_ms for row in found] == [row["p99_ms"] for row in view]
    await db.execute(
        "CREATE OR REPLACE VIEW v_agent_latency_summary AS SELECT agent_name, agent_tier, 1::bigint AS "
        "total_spans, 1::float8 AS avg_duration_ms, 1::float8 AS p50_ms, 1::float8 AS p95_ms, "
        "1::float8 AS p99_ms, 0::float8 AS error_rate, 0::float8 AS fallback_rate, "
        "0::bigint AS total_tokens_used FROM ml_observability_spans LIMIT 1"
    )
    assert [row.total_spans for row in await TraceRepository(db).latency("24h")] == [1]


async def test_figures_by_agent_by_tier_and_over_all_equal_numpy(db: Database) -> None:
    rows = random_spans(300, seed=11, within_s=DAY)
    await store(db, rows)
    found = {(one.agent_name, one.agent_tier): one for one in await TraceRepository(db).figures("24h")}
    tiers = {row["agent_tier"] for row in rows}
    agents = {(row["agent_name"], row["agent_tier"]) for row in rows}
    assert set(found) == agents | {(None, tier) for tier in tiers} | {(None, None)}
    for (agent, tier), got in found.items():
        mine = [
            row
            for row in rows
            if (agent is None or row["agent_name"] == agent) and (tier is None or row["agent_tier"] == tier)
        ]
        wanted = expected(mine)
        assert (got.spans, got.timed) == (len(mine), sum(row["duration_ms"] is not None for row in mine))
        assert (got.p50_ms, got.p95_ms, got.p99_ms) == pytest.approx(
            (wanted["p50_ms"], wanted["p95_ms"], wanted["p99_ms"])
        )
        assert got.success_rate == pytest.approx(1 - wanted["error_rate"])
        credit = [0.0 if row["status"] != "success" else 0.5 if row["fallback_used"] else 1.0 for row in mine]
        assert got.credit == pytest.approx(np.mean(credit))
        assert got.total_tokens == wanted["tokens"] == got.input_tokens + got.output_tokens


async def test_figures_of_some_agents_leave_the_others_out(db: Database) -> None:
    await store(db, [span("a", "1", agent="explainer", ms=5), span("b", "2", agent="causal_impact", ms=50)])
    figures = await TraceRepository(db).figures("1h", ["explainer"])
    assert {one.agent_name for one in figures} == {"explainer", None}
    assert figures[-1].p50_ms == 5


async def test_an_unknown_cost_is_counted_and_not_taken_for_zero(db: Database) -> None:
    priced = {"model_name": "claude-haiku-5-5", "input_tokens": 10, "output_tokens": 1, "total_cost": 0.25}
    unpriced = {"model_name": "homemade", "input_tokens": 10, "output_tokens": 1}
    await store(db, [span("a", "1", **unpriced)])
    assert [(one.cost, one.unpriced_calls) for one in (await TraceRepository(db).figures("1h"))[-1:]] == [(None, 1)]
    await store(db, [span("b", "2", **priced), span("c", "3")])
    assert [(one.cost, one.unpriced_calls) for one in (await TraceRepository(db).figures("1h"))[-1:]] == [(0.25, 1)]


async def test_no_spans_give_no_figures(db: Database) -> None:
    await store(db, [span("old", "1", ago_s=2 * HOUR)])
    assert await TraceRepository(db).figures("1h") == []
    assert await TraceRepository(db).latency("1h") == []


@pytest.mark.parametrize("window", ["2h", "", "24H"])
async def test_an_unknown_window_is_refused_in_one_line(db: Database, window: str) -> None:
    with pytest.raises(ContractViolation, match=f"^there is no window '{window}'; use 1h, 24h, 7d$"):
        await TraceRepository(db).latency(window)
