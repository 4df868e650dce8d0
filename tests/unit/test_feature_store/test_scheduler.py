"""Which views are due, by a clock that the test sets?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from src.feature_store.configuration import MaterializationSettings
from src.feature_store.results import Mode
from src.feature_store.scheduler import Job, due_jobs

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SETTINGS = MaterializationSettings(incremental_interval_hours=1, full_refresh_interval_hours=24)
TICK = timedelta(seconds=1)


def hours(number: float) -> timedelta:
    return timedelta(hours=number)


def due(now: datetime, history: dict[tuple[str, Mode], datetime], views: tuple[str, ...] = ("v",)) -> list[Job]:
    return due_jobs(now, history, SETTINGS, views)


def test_a_view_that_was_never_materialised_is_carried_over_in_full() -> None:
    assert due(NOON, {}) == [Job("v", "full", None)]


def test_incremental_runs_alone_do_not_stand_in_for_the_first_full_one() -> None:
    assert due(NOON, {("v", "incremental"): NOON}) == [Job("v", "full", None)]


@pytest.mark.parametrize(
    ("passed", "modes"),
    [
        (timedelta(0), []),
        (hours(1) - TICK, []),
        (hours(1), ["incremental"]),
        (hours(24) - TICK, ["incremental"]),
        (hours(24), ["full"]),
        (hours(500), ["full"]),
    ],
)
def test_the_intervals_decide_and_full_takes_the_place_of_incremental(passed: timedelta, modes: list[Mode]) -> None:
    assert [job.mode for job in due(NOON + passed, {("v", "full"): NOON})] == modes


def test_an_incremental_run_puts_off_the_next_incremental_one_but_not_the_full_one() -> None:
    history: dict[tuple[str, Mode], datetime] = {("v", "full"): NOON, ("v", "incremental"): NOON + hours(23.5)}
    assert due(NOON + hours(23.9), history) == []
    assert due(NOON + hours(24), history) == [Job("v", "full", NOON + hours(24))]


def test_every_view_has_its_own_schedule_and_the_order_is_kept() -> None:
    history: dict[tuple[str, Mode], datetime] = {("a", "full"): NOON, ("b", "full"): NOON - hours(1)}
    assert [(job.feature_view, job.mode) for job in due(NOON, history, ("c", "a", "b"))] == [
        ("c", "full"),
        ("b", "incremental"),
    ]


def test_the_intervals_come_from_the_configuration() -> None:
    slow = MaterializationSettings(incremental_interval_hours=6, full_refresh_interval_hours=12)
    history: dict[tuple[str, Mode], datetime] = {("v", "full"): NOON}
    modes = [[job.mode for job in due_jobs(NOON + hours(passed), history, slow, ["v"])] for passed in (5, 6, 12)]
    assert modes == [[], ["incremental"], ["full"]]


@pytest.mark.parametrize(
    ("lead", "modes"), [(TICK, []), (hours(1), []), (hours(1) + TICK, ["full"]), (hours(100), ["full"])]
)
def test_an_end_ahead_of_the_clock_makes_a_job_unless_it_is_only_a_little_ahead(
    lead: timedelta, modes: list[Mode]
) -> None:
    assert [job.mode for job in due(NOON, {("v", "full"): NOON + lead})] == modes


def test_a_lead_of_another_view_makes_no_job() -> None:
    history: dict[tuple[str, Mode], datetime] = {("v", "full"): NOON, ("w", "full"): NOON + hours(100)}
    assert [job.feature_view for job in due(NOON, history, ("v", "w"))] == ["w"]


def test_a_day_of_polling_gives_one_full_and_hourly_incremental_runs() -> None:
    history: dict[tuple[str, Mode], datetime] = {}
    done: list[Mode] = []
    for minute in range(24 * 60 + 1):
        now = NOON + timedelta(minutes=minute)
        for job in due(now, history):
            done.append(job.mode)
            history["v", job.mode] = now
    assert done == ["full", *["incremental"] * 23, "full"]
