"""How old are online values, who hears of it, and what is built on it?"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from src.domain.alerts import Alert, AlertSeverity
from src.errors import MaterializationFailed, UnknownFeature
from src.feature_store.configuration import FreshnessLimits
from src.feature_store.freshness import FreshnessReader, freshness_of
from src.feature_store.materialization import Materializer
from src.feature_store.portions import EARLIEST
from src.feature_store.results import FeatureFreshness, FreshnessStatus
from src.mlops.quality.alerts import DataQualityAlerter
from src.mlops.quality.configuration import AlertConfig
from src.resilience.outcomes import Unavailable
from src.settings import PROJECT_ROOT
from src.storage.database import Database
from src.storage.feature_jobs import FeatureJobs, SentAlerts
from tests.feature_rows import (
    BEGIN,
    DAY,
    HOUR,
    NOW,
    VIEW,
    Clock,
    FailingWrites,
    FeatureRow,
    applied,
    feature_client,
    feature_config,
    random_rows,
    write_source,
)
from tests.unit.test_agents.test_ml_foundation.test_data_preparer.parts import world


class Inbox:
    """An alert sender that keeps what it is given."""

    def __init__(self) -> None:
        self.alerts: list[Alert] = []

    async def send(self, alert: Alert) -> bool:
        self.alerts.append(alert)
        return True


LIMITS = FreshnessLimits(max_age_hours=2, warning_threshold_hours=1)


async def materialized(folder: Path, until: datetime, **settings: Any) -> Any:
    """A client whose view was carried over up to ``until``."""
    client = await applied(folder, [FeatureRow(BEGIN, "T1", 0.5)], **settings)
    await client.materialize(EARLIEST, until)
    return client


class FreshnessCases:
    """How old online values are, who hears of it, and what is built on it."""

    @pytest.mark.parametrize(
        ("age_hours", "status"),
        [
            (0, FreshnessStatus.FRESH),
            (1, FreshnessStatus.FRESH),
            (1.001, FreshnessStatus.WARNING),
            (2, FreshnessStatus.WARNING),
            (2.001, FreshnessStatus.STALE),
            (4, FreshnessStatus.STALE),
            (4.001, FreshnessStatus.EXPIRED),
            (9_000, FreshnessStatus.EXPIRED),
        ],
    )
    def test_freshness_warning_threshold(self, age_hours: float, status: FreshnessStatus) -> None:
        found = freshness_of(VIEW, NOW - timedelta(hours=age_hours), "registry", LIMITS, NOW)
        assert found.status is status
        assert found.age_hours == pytest.approx(age_hours)
        assert found.is_fresh is (age_hours <= 2)

    async def test_feature_freshness_calculation(self, tmp_path: Path) -> None:
        client = await materialized(tmp_path, NOW - timedelta(minutes=90))
        found = await client.get_feature_freshness(VIEW)
        assert isinstance(found, FeatureFreshness)
        assert (found.last_materialized, found.age_hours) == (NOW - timedelta(minutes=90), 1.5)
        assert (found.status, found.source, found.is_fresh) == (FreshnessStatus.WARNING, "registry", True)
        assert (found.max_age_hours, found.warning_threshold_hours) == (2, 1)
        assert await client.get_all_freshness() == {VIEW: found}
        await client.close()

    async def test_a_view_never_materialized_is_unknown(self, tmp_path: Path) -> None:
        client = await applied(tmp_path, [])
        found = await client.get_feature_freshness(VIEW)
        assert (found.status, found.last_materialized, found.age_hours) == (FreshnessStatus.UNKNOWN, None, None)
        assert (found.source, found.is_fresh) == ("none", False)
        assert "never materialised" in found.message
        await client.close()

    async def test_a_view_may_have_limits_of_its_own(self, tmp_path: Path) -> None:
        views = {VIEW: {"max_age_hours": 168, "warning_threshold_hours": 84}}
        client = await materialized(tmp_path, NOW - 4 * DAY, feature_freshness={"views": views})
        found = await client.get_feature_freshness(VIEW)
        assert (found.status, found.max_age_hours) == (FreshnessStatus.WARNING, 168)
        await client.close()

    async def test_a_clock_that_is_behind_makes_a_view_fresh_and_says_so(self, tmp_path: Path) -> None:
        client = await materialized(tmp_path, NOW)
        client.clock.now = NOW - 5 * HOUR
        found = await client.get_feature_freshness(VIEW)
        assert (found.status, found.age_hours) == (FreshnessStatus.FRESH, 0.0)
        assert "after this machine's clock" in found.message
        await client.close()

    async def test_an_unknown_view_is_refused_with_the_nearest_name(self, tmp_path: Path) -> None:
        client = await applied(tmp_path, [])
        with pytest.raises(UnknownFeature, match=f"did you mean '{VIEW}'"):
            await client.get_feature_freshness("trigger_efectiveness")
        await client.close()

    async def test_a_failed_materialization_leaves_freshness_as_it_was(self, tmp_path: Path, db: Database) -> None:
        client = await materialized(tmp_path, NOW - 3 * HOUR, materialization={"max_retries": 0})
        write_source(tmp_path, [FeatureRow(NOW - HOUR, "T1", 0.9)])
        before = await client.get_feature_freshness(VIEW)
        FailingWrites(client.store(), times=1)
        materializer = Materializer(client.store, client.config, jobs=FeatureJobs(db), clock=Clock(NOW))
        with pytest.raises(MaterializationFailed):
            await materializer.materialize_incremental(NOW, [VIEW])
        assert await client.get_feature_freshness(VIEW) == before
        assert before.status is FreshnessStatus.STALE
        await client.close()

    async def test_another_processs_materialization_shows_at_once(self, tmp_path: Path) -> None:
        client = await materialized(tmp_path, NOW - 9 * HOUR)
        assert (await client.get_feature_freshness(VIEW)).status is FreshnessStatus.EXPIRED
        other = feature_client(client.config, clock=Clock(NOW))
        await other.materialize_incremental(NOW)
        assert (await client.get_feature_freshness(VIEW)).status is FreshnessStatus.FRESH
        await client.close()
        await other.close()

    async def test_a_new_process_in_another_time_zone_gives_the_same_answer(self, tmp_path: Path) -> None:
        # In New York the clocks went from 2 to 3 on this day, at 07:00 UTC.
        last, now = datetime(2026, 3, 8, 6, 30, tzinfo=UTC), datetime(2026, 3, 8, 8, 0, tzinfo=UTC)
        client = await materialized(tmp_path, last)
        client.clock.now = now
        here = await client.get_feature_freshness(VIEW)
        await client.close()
        answer = subprocess.run(
            [sys.executable, "-m", "tests.feature_child", "freshness", str(tmp_path), now.isoformat()],
            cwd=PROJECT_ROOT, env={**os.environ, "TZ": "America/New_York"}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        there = json.loads(answer.stdout)
        assert there == {"last_materialized": last.isoformat(), "status": "WARNING", "age_hours": 1.5}
        assert (here.last_materialized, here.status, here.age_hours) == (last, FreshnessStatus.WARNING, 1.5)

    async def test_recorded_jobs_answer_where_the_registry_was_made_anew(self, tmp_path: Path, db: Database) -> None:
        client = await applied(tmp_path, random_rows(20, 5))
        jobs = FeatureJobs(db)
        await Materializer(client.store, client.config, jobs=jobs, clock=Clock(NOW)).materialize(
            EARLIEST, NOW - HOUR, [VIEW]
        )
        await client.close()
        (tmp_path / "registry.db").unlink()
        await client.apply()
        reader = FreshnessReader(client.store, client.config, jobs=jobs, clock=Clock(NOW))
        found = await reader.get_feature_freshness(VIEW)
        assert (found.source, found.last_materialized, found.status) == ("jobs", NOW - HOUR, FreshnessStatus.FRESH)
        await client.close()

    async def test_a_stale_view_is_told_once_and_again_when_it_gets_worse(self, tmp_path: Path, db: Database) -> None:
        client = await materialized(tmp_path, NOW - 3 * HOUR)
        inbox, clock = Inbox(), Clock(NOW)

        async def poll() -> list[str]:
            # As a new process would, with nothing in memory.
            reader = FreshnessReader(
                client.store, client.config, jobs=None, clock=clock, alerts=inbox, sent=SentAlerts(db)
            )
            await reader.get_all_freshness()
            return [alert.subject.rsplit(" ", 1)[1] for alert in inbox.alerts]

        assert await poll() == ["STALE"]
        assert await poll() == ["STALE"]
        clock.now = NOW + 2 * HOUR
        assert await poll() == ["STALE", "EXPIRED"]
        clock.now = NOW + 7 * HOUR
        assert await poll() == ["STALE", "EXPIRED"]
        clock.now = NOW + 8 * HOUR
        assert await poll() == ["STALE", "EXPIRED", "EXPIRED"]
        assert [alert.severity for alert in inbox.alerts[:2]] == [AlertSeverity.WARNING, AlertSeverity.ERROR]
        assert VIEW in inbox.alerts[0].message
        await client.close()

    async def test_readers_at_the_same_time_send_one_alert(self, tmp_path: Path, db: Database) -> None:
        client = await applied(tmp_path, [])
        inbox = Inbox()
        readers = [
            FreshnessReader(client.store, client.config, jobs=None, clock=Clock(NOW), alerts=inbox, sent=SentAlerts(db))
            for _ in range(5)
        ]
        await asyncio.gather(*(reader.get_feature_freshness(VIEW) for reader in readers))
        assert [alert.details["status"] for alert in inbox.alerts] == ["UNKNOWN"]
        await client.close()

    async def test_an_alert_that_was_not_delivered_is_sent_with_the_next_reading(
        self, tmp_path: Path, db: Database
    ) -> None:
        class Refusing(Inbox):
            async def send(self, alert: Alert) -> bool:
                await super().send(alert)
                return False

        client = await applied(tmp_path, [])
        inbox = Refusing()
        reader = FreshnessReader(
            client.store, client.config, jobs=None, clock=Clock(NOW), alerts=inbox, sent=SentAlerts(db)
        )
        for _ in range(2):
            await reader.get_feature_freshness(VIEW)
        assert len(inbox.alerts) == 2
        await client.close()

    async def test_a_handler_that_was_down_is_told_with_the_next_reading_and_the_others_are_not_told_again(
        self, tmp_path: Path, db: Database
    ) -> None:
        class Handler:
            def __init__(self, name: str) -> None:
                self.name, self.is_down, self.taken = name, False, 0

            async def handle(self, alert: Alert) -> None:
                if self.is_down:
                    raise ConnectionError("down")
                self.taken += 1

        client = await applied(tmp_path, [])
        log, webhook = Handler("log"), Handler("webhook")
        webhook.is_down = True
        reader = FreshnessReader(
            client.store,
            client.config,
            jobs=None,
            clock=Clock(NOW),
            alerts=DataQualityAlerter(AlertConfig(), log, webhook, clock=Clock(NOW)),
            sent=SentAlerts(db),
        )
        await reader.get_feature_freshness(VIEW)
        webhook.is_down = False
        for _ in range(2):
            await reader.get_feature_freshness(VIEW)
        assert (log.taken, webhook.taken) == (1, 1)
        await client.close()

    @pytest.mark.parametrize(("age", "enabled", "told"), [(HOUR, True, 0), (3 * HOUR, True, 1), (3 * HOUR, False, 0)])
    async def test_nobody_is_told_of_a_fresh_view_or_when_alerting_is_off(
        self, tmp_path: Path, age: timedelta, enabled: bool, told: int
    ) -> None:
        inbox = Inbox()
        client = await materialized(tmp_path, NOW - age, alerting={"enabled": enabled})
        client.alerts = inbox
        await client.get_feature_freshness(VIEW)
        assert len(inbox.alerts) == told
        await client.close()

    async def test_graceful_degradation_no_feast(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write_source(tmp_path, [FeatureRow(BEGIN, "T1", 0.5)])
        client = feature_client(feature_config(tmp_path), clock=Clock(NOW))
        monkeypatch.setitem(sys.modules, "feast", None)
        answers = [
            await client.initialize(),
            await client.apply(),
            await client.get_online_features([{"trigger_id": "T1"}], [f"{VIEW}:confidence_score"]),
            await client.materialize(EARLIEST, NOW),
            await client.materialize_incremental(),
            await client.get_feature_freshness(VIEW),
            await client.get_all_freshness(),
            await client.list_feature_views(),
        ]
        assert all(isinstance(answer, Unavailable) and not answer for answer in answers)
        assert {answer.component for answer in answers} == {"feast"}
        assert "pip install 'e2i[features]'" in answers[0].reason
        assert not (tmp_path / "online.db").exists()

    async def test_agent_integration_data_preparer(self, tmp_path: Path) -> None:
        client = await materialized(tmp_path, NOW - HOUR)
        fresh = await world(features=client).run()
        assert (fresh.gate.passed, fresh.is_ready) == (True, True)
        assert [view.status for view in fresh.feast.freshness] == [FreshnessStatus.FRESH]
        client.clock.now = NOW + 2 * HOUR
        stale = await world(features=client).run()
        assert (stale.gate.passed, stale.is_ready) == (True, False)
        assert [view.status for view in stale.feast.freshness] == [FreshnessStatus.STALE]
        assert any(f"feature view {VIEW} is STALE" in warning for warning in stale.meta.warnings)
        await client.materialize_incremental()
        assert (await world(features=client).run()).is_ready
        await client.close()
