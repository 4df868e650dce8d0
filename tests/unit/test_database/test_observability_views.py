"""Are options checked, counters judged and trees drawn right, without any database?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from typer.testing import CliRunner

from src.app.observing import delivery_status, replay, since_moment
from src.app.trace_view import branches
from src.cli.observe import app
from src.errors import ContractViolation
from src.storage.trace_records import SpanRecord
from tests.unit.test_database.stored_spans import Row, span


class Counters:
    """A connector that is nothing but its counters; each flush delivers ``per_flush`` records."""

    def __init__(self, per_flush: int, **counts: int) -> None:
        self.counts = {"accepted": 0, "delivered": 0, "pending": 0, "dead": 0, "dropped": 0} | counts
        self.per_flush, self.now = per_flush, 0.0

    def get_status(self) -> dict[str, Any]:
        return {"sinks": {"database": dict(self.counts)}}

    async def flush(self, timeout: float) -> bool:
        moved = min(self.per_flush, self.counts["pending"])
        self.counts["pending"] -= moved
        self.counts["delivered"] += moved
        self.now += timeout
        return not self.counts["pending"]


@pytest.mark.parametrize(
    ("counts", "problems"),
    [
        ({"accepted": 9, "delivered": 4, "pending": 3, "dropped": 2}, 0),
        ({"accepted": 9, "delivered": 8}, 1),
        ({"accepted": 9, "delivered": 8, "dead": 1}, 1),
        ({"accepted": 9, "delivered": 9, "dead": 1}, 2),
    ],
)
def test_counts_that_do_not_add_up_and_dead_records_are_problems(counts: dict[str, int], problems: int) -> None:
    assert len(delivery_status(Counters(0, **counts)).problems) == problems


@pytest.mark.parametrize(("per_flush", "left"), [(5, 0), (1, 7), (0, 10)])
async def test_replay_goes_on_until_nothing_waits_or_its_time_is_over(per_flush: int, left: int) -> None:
    connector = Counters(per_flush, accepted=10, pending=10)
    said: list[str] = []
    done = await replay(connector, limit_s=2.5, on_progress=said.append, clock=lambda: connector.now)
    assert (done.pending["database"], done.delivered["database"]) == (left, 10 - left)
    assert done.complete is (left == 0)
    assert said[0] == "10 records waiting"
    assert len(said) == (2 if per_flush == 5 else 3)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["traces", "--since", "yesterday"], "cannot read the time 'yesterday'; write 30m, 24h, 7d"),
        (["traces", "--since", "99999999999d"], "cannot read the time '99999999999d'"),
        (["traces", "--agent", "explaner"], "there is no agent 'explaner'; did you mean 'explainer'"),
        (["traces", "--status", "failed"], "there is no status 'failed'; use success, error, timeout, incomplete"),
        (["latency", "--window", "2h"], "there is no window '2h'; use 1h, 24h, 7d"),
        (["orphans", "--since", "24"], "cannot read the time '24'"),
    ],
)
def test_a_wrong_option_is_one_clear_line_before_any_database_is_opened(
    arguments: list[str], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1:1/none")
    error = CliRunner().invoke(app, arguments).exception
    assert isinstance(error, ContractViolation)
    assert says in str(error)
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    "arguments", [["traces", "--limit", "0"], ["retention", "--days", "0"], ["replay", "--limit", "0"], ["trace"]]
)
def test_a_number_out_of_range_is_a_wrong_call(arguments: list[str]) -> None:
    assert CliRunner().invoke(app, arguments).exit_code == 2


@pytest.mark.parametrize("command", ["status", "traces", "trace", "latency", "orphans", "replay", "retention"])
def test_every_command_has_help_with_an_example(command: str) -> None:
    assert f"Example: e2i observe {command}" in " ".join(CliRunner().invoke(app, [command, "--help"]).stdout.split())


def test_times_are_read_as_an_age_or_as_a_moment() -> None:
    now = datetime(2026, 3, 10, 12, tzinfo=UTC)
    assert since_moment(None) is None
    assert since_moment("90m", now) == now - timedelta(minutes=90)
    assert since_moment("1.5h", now) == now - timedelta(minutes=90)
    assert since_moment("2W", now) == now - timedelta(days=14)
    assert since_moment("2026-03-01") == datetime(2026, 3, 1, tzinfo=UTC)
    assert since_moment("2026-03-01T02:00+02:00") == datetime(2026, 3, 1, tzinfo=UTC)


def records(*rows: Row) -> list[SpanRecord]:
    names = SpanRecord.__dataclass_fields__
    return [SpanRecord(**{name: row.get(name) for name in names}) for row in rows]


@pytest.mark.parametrize(
    ("rows", "drawn"),
    [
        ([], []),
        ([span("t", "a"), span("t", "b", parent="a"), span("t", "c", parent="b"), span("t", "d", parent="a")],
         ["a", "├─ b", "│  └─ c", "└─ d"]),
        ([span("t", "a"), span("t", "lost", parent="gone")], ["a", "lost"]),
        ([span("t", "a", parent="b"), span("t", "b", parent="a")], ["a", "└─ b"]),
        ([span("t", "a", parent="a")], ["a"]),
    ],
)  # fmt: skip
def test_every_span_is_drawn_once_whatever_its_parent(rows: list[Row], drawn: list[str]) -> None:
    found = branches(records(*rows))
    assert [one.guides + one.span.operation_type for one in found] == drawn


def test_a_deep_trace_is_drawn() -> None:
    rows = [span("t", "0"), *(span("t", str(i), parent=str(i - 1)) for i in range(1, 3000))]
    assert len(branches(records(*rows))) == 3000


def test_own_time_is_what_no_child_covers_also_when_children_overlap() -> None:
    rows = [
        span("t", "root", ago_s=60, ms=1000),
        span("t", "a", parent="root", ago_s=60, ms=400),
        span("t", "b", parent="root", ago_s=59.8, ms=400),
        span("t", "late", parent="root", ago_s=59.1, ms=5000),
    ]
    own = {one.span.span_id: one.own_ms for one in branches(records(*rows))}
    assert own["root"] == pytest.approx(300, abs=5)
    assert own["a"] == pytest.approx(400, abs=5)
