"""How old are a view's online values, may answers rest on them, and who is told when they may not?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Literal

from src.domain.alerts import Alert, AlertSender, AlertSeverity
from src.feature_store.carrying import ViewCarrier, earlier, registered_names, registered_view
from src.feature_store.configuration import FeastConfig, FreshnessLimits
from src.feature_store.results import FeatureFreshness, FreshnessStatus
from src.storage.feature_jobs import FeatureJobs, SentAlerts

Source = Literal["registry", "jobs", "none"]

EXPIRED_AT = 2.0  # times the maximum age
_SEVERITIES = {
    FreshnessStatus.STALE: AlertSeverity.WARNING,
    FreshnessStatus.EXPIRED: AlertSeverity.ERROR,
    FreshnessStatus.UNKNOWN: AlertSeverity.ERROR,
}


def judge(age_hours: float, limits: FreshnessLimits) -> FreshnessStatus:
    """Status at an age; a limit itself still belongs to the better status."""
    if age_hours <= limits.warning_threshold_hours:
        return FreshnessStatus.FRESH
    if age_hours <= limits.max_age_hours:
        return FreshnessStatus.WARNING
    return FreshnessStatus.STALE if age_hours <= EXPIRED_AT * limits.max_age_hours else FreshnessStatus.EXPIRED


def freshness_of(
    view: str, last: datetime | None, source: Source, limits: FreshnessLimits, now: datetime
) -> FeatureFreshness:
    """The answer for a view whose values in the online store go up to ``last`` (UTC), or that was never carried."""
    if last is None:
        message = f"{view} was never materialised: run 'e2i features materialize --view {view}'"
        return _answer(view, None, FreshnessStatus.UNKNOWN, None, limits, "none", message)
    age = (now - last).total_seconds() / 3600
    status = judge(age, limits)
    if age < 0:
        message = f"{view} was materialised up to {last.isoformat()}, after this machine's clock: one of them is wrong"
        return _answer(view, last, status, 0.0, limits, source, message)
    message = f"{view} was materialised up to {last.isoformat()}, {age:.1f} h ago (at most {limits.max_age_hours:g} h)"
    if not status.is_usable:
        message += f": run 'e2i features materialize --incremental --view {view}'"
    return _answer(view, last, status, age, limits, source, message)


def freshness_of_lost(view: str, noted: datetime, limits: FreshnessLimits) -> FeatureFreshness:
    """The answer for a view that was materialised up to ``noted``, but not into the online store that is there."""
    message = (
        f"{view} was materialised up to {noted.isoformat()}, but the online store has no values of it: the store was "
        f"lost or exchanged; run 'e2i features materialize --view {view}'"
    )
    return _answer(view, None, FreshnessStatus.UNKNOWN, None, limits, "none", message)


class FreshnessReader:
    """Reads freshness from what outlives a process, and warns of views that are too old.

    The registry is asked past its cache, then the recorded jobs; neither is believed further than the online
    store itself says. ``alerts`` is told of a view at most once in
    ``alerting.dedup_hours``, and again when its status gets worse; with ``sent``, that holds over all processes.
    """

    def __init__(
        self,
        open_store: Callable[[], Any],
        config: FeastConfig,
        *,
        jobs: FeatureJobs | None,
        clock: Callable[[], datetime],
        alerts: AlertSender | None = None,
        sent: SentAlerts | None = None,
    ) -> None:
        self._open_store = open_store
        self._config = config
        self._jobs = jobs
        self._clock = clock
        self._alerts = alerts
        self._sent = sent

    async def get_feature_freshness(self, view: str) -> FeatureFreshness:
        """Freshness of one view. Raises UnknownFeature, DatabaseUnavailable, and what an online store raises."""
        found = await self._found(view)
        if not found.is_fresh:
            await self._warn(found)
        return found

    async def get_all_freshness(self) -> dict[str, FeatureFreshness]:
        """Freshness of every registered view."""
        names = await asyncio.to_thread(lambda: registered_names(self._open_store()))
        return {name: await self.get_feature_freshness(name) for name in names}

    async def _found(self, view: str) -> FeatureFreshness:
        source: Source = "registry"
        noted, marked = await asyncio.to_thread(self._ends, view)
        if noted is None and self._jobs is not None:
            source, noted = "jobs", await self._jobs.last_completed_end(view)
        limits = self._config.feature_freshness.limits(view)
        if noted is not None and marked is None:
            return freshness_of_lost(view, noted, limits)
        return freshness_of(view, earlier(noted, marked), source, limits, self._clock())

    def _ends(self, view: str) -> tuple[datetime | None, datetime | None]:
        store = self._open_store()
        carrier = ViewCarrier(store, registered_view(store, view).name)
        return carrier.registered_end(), carrier.marked_end()

    async def _warn(self, found: FeatureFreshness) -> None:
        alerts, settings = self._alerts, self._config.alerting
        if alerts is None or not settings.enabled:
            return
        alert = alert_of(found, self._clock())
        if self._sent is None:
            await alerts.send(alert)
            return
        await self._sent.send_once(
            found.feature_view,
            found.status.value,
            found.age_hours,
            at=alert.at,
            within=timedelta(hours=settings.dedup_hours),
            send=lambda: alerts.send(alert),
        )


def alert_of(found: FeatureFreshness, at: datetime) -> Alert:
    """What somebody is told of a view that is too old."""
    return Alert(
        severity=_SEVERITIES[found.status],
        subject=f"Feature view {found.feature_view} is {found.status.value}",
        message=found.message,
        key=f"feature_freshness:{found.feature_view}:{found.status.value}",
        at=at,
        details={
            "feature_view": found.feature_view,
            "status": found.status.value,
            "age_hours": found.age_hours,
            "max_age_hours": found.max_age_hours,
        },
    )


def _answer(
    view: str,
    last: datetime | None,
    status: FreshnessStatus,
    age_hours: float | None,
    limits: FreshnessLimits,
    source: Source,
    message: str,
) -> FeatureFreshness:
    return FeatureFreshness(
        view, last, status, age_hours, limits.max_age_hours, limits.warning_threshold_hours, source, message
    )
