"""Which views are due for materialisation?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from src.feature_store.configuration import MaterializationSettings
from src.feature_store.results import Mode

# When the latest finished run of a view and mode ended.
History = Mapping[tuple[str, Mode], datetime]


@dataclass(frozen=True, slots=True)
class Job:
    """One view to be materialised now. ``due_at``: since when it is due; None: it never was materialised."""

    feature_view: str
    mode: Mode
    due_at: datetime | None


def due_jobs(now: datetime, history: History, config: MaterializationSettings, views: Sequence[str]) -> list[Job]:
    """At most one job per view, in the order of ``views``.

    Full every ``full_refresh_interval_hours`` and where there was none; incremental every
    ``incremental_interval_hours`` since the last run of either kind. A full one takes the place of an
    incremental one.

    An end that lies ahead of ``now`` by more than the incremental interval shows that a clock is or was wrong.
    The view counts as due: materialisation refuses to replace values that are later than its window, so every
    round tells of it until the clock has passed that end. A smaller lead only puts the next run off by as much.
    """
    return [job for view in views if (job := _due(now, history, config, view)) is not None]


def _due(now: datetime, history: History, config: MaterializationSettings, view: str) -> Job | None:
    due_times = _due_times(history, config, view)
    if not due_times:
        return Job(view, "full", None)
    last = max(end for (name, _), end in history.items() if name == view)
    is_ahead = last - now > timedelta(hours=config.incremental_interval_hours)
    modes: tuple[Mode, ...] = ("full", "incremental")
    for mode in modes:
        if now >= due_times[mode] or is_ahead:
            return Job(view, mode, min(due_times[mode], now))
    return None


def _due_times(history: History, config: MaterializationSettings, view: str) -> dict[Mode, datetime]:
    """When each mode is due; nothing when no full run has ended."""
    full, incremental = history.get((view, "full")), history.get((view, "incremental"))
    if full is None:
        return {}
    last = full if incremental is None else max(full, incremental)
    return {
        "full": full + timedelta(hours=config.full_refresh_interval_hours),
        "incremental": last + timedelta(hours=config.incremental_interval_hours),
    }
