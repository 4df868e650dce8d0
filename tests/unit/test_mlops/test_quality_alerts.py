"""Is everybody told of poor data, once, and at the right urgency, whatever fails on the way?"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from src.domain.alerts import Alert, AlertSender, AlertSeverity
from src.errors import ServiceOutage, ServiceRefused
from src.mlops.quality.alerts import (
    AlertHandler,
    DataQualityAlerter,
    LogAlertHandler,
    WebhookAlertHandler,
)
from src.mlops.quality.configuration import AlertConfig, load_data_quality_config
from src.mlops.quality.result import (
    Counts,
    DataQualityResult,
    FailedExpectation,
    QualityScores,
    QualityStatus,
)
from src.scripted_servers import faults
from src.scripted_servers.http import Answer, ScriptedServer, json_answer
from src.storage.database import Database
from src.storage.feature_jobs import SentAlerts

NOW = datetime(2024, 3, 1, 9, tzinfo=UTC)
INFO, WARNING, ERROR, CRITICAL = AlertSeverity


@dataclass
class Told:
    """Keeps the alerts it is given, or refuses them while it is broken."""

    name: str = "told"
    broken: bool = False
    alerts: list[Alert] = field(default_factory=list)

    async def handle(self, alert: Alert) -> None:
        await asyncio.sleep(0)
        if self.broken:
            raise ServiceOutage("no line")
        self.alerts.append(alert)


@dataclass
class Clock:
    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **by: float) -> None:
        self.now += timedelta(**by)


def _alert(severity: AlertSeverity = ERROR, key: str = "a", **changes: object) -> Alert:
    return replace(Alert(severity, "features of brand", "stale for 3 h", key, NOW, {"age_hours": 3.0}), **changes)


def _result(
    status: QualityStatus = QualityStatus.FAILED, rate: float | None = 0.9, **changes: object
) -> DataQualityResult:
    failed = FailedExpectation(
        id="patient_journeys.patient_hash_pattern",
        type="expect_column_values_to_match_regex",
        kwargs={"column": "patient_hash"},
        columns=("patient_hash",),
        observed="f00d in 1 row",
        critical=False,
        count=1,
        rows=("pat_000123",),
    )
    result = DataQualityResult(
        id="018e2f3a-0000-7000-8000-000000000001",
        suite_name="patient_journeys_suite",
        table_name="patient_journeys",
        run_at=NOW,
        overall_status=status,
        expectations=Counts(10, 9, 1),
        success_rate=rate,
        failed_expectations=(failed,),
        scores=QualityScores(1.0, 0.9, 1.0, 1.0, 1.0, None),
        validation_ms=12.0,
    )
    return replace(result, **changes)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def alerter(told: Told, clock: Clock) -> DataQualityAlerter:
    return DataQualityAlerter(AlertConfig(), told, clock=clock)


@pytest.mark.parametrize(
    ("status", "rate", "leakage", "severity"),
    [
        (QualityStatus.PASSED, 1.0, False, INFO),
        (QualityStatus.WARNING, 0.9, False, WARNING),
        (QualityStatus.FAILED, 0.7, False, ERROR),
        (QualityStatus.FAILED, 0.5, False, ERROR),
        (QualityStatus.FAILED, 0.49, False, CRITICAL),
        (QualityStatus.PASSED, 1.0, True, CRITICAL),
        (QualityStatus.SKIPPED, None, False, ERROR),
    ],
)
def test_severity_follows_from_status_rate_and_leakage(
    alerter: DataQualityAlerter, status: QualityStatus, rate: float | None, leakage: bool, severity: AlertSeverity
) -> None:
    assert alerter.determine_severity(_result(status, rate, leakage_detected=leakage)) is severity


@pytest.mark.parametrize("lowest", list(AlertSeverity))
@pytest.mark.parametrize("severity", list(AlertSeverity))
async def test_milder_alerts_than_the_minimum_are_not_sent(
    told: Told, lowest: AlertSeverity, severity: AlertSeverity
) -> None:
    alerter = DataQualityAlerter(AlertConfig(min_severity=lowest), told)
    assert await alerter.send(_alert(severity)) is (severity.rank >= lowest.rank)
    assert len(told.alerts) == (severity.rank >= lowest.rank)


async def test_nobody_is_told_while_alerting_is_disabled(told: Told) -> None:
    alerter = DataQualityAlerter(AlertConfig(enabled=False), told)
    assert not alerter.should_alert(_result(leakage_detected=True))
    assert not await alerter.send_alert(_result(leakage_detected=True))
    assert told.alerts == []


async def test_a_result_becomes_an_alert_that_names_table_and_rules(
    alerter: DataQualityAlerter, told: Told, clock: Clock
) -> None:
    assert await alerter.send_alert(_result(data_split="train", leakage_detected=True))
    (alert,) = told.alerts
    assert (alert.severity, alert.at) == (CRITICAL, clock.now)
    assert alert.subject == "data quality of patient_journeys, train"
    assert "patient_hash_pattern" in alert.message
    assert "leakage" in alert.message
    assert alert.details["failed_expectations"] == ["patient_journeys.patient_hash_pattern"]


async def test_an_alert_shows_no_row_and_no_value(alerter: DataQualityAlerter, told: Told) -> None:
    await alerter.send_alert(_result())
    assert "pat_000123" not in repr(told.alerts)
    assert "f00d" not in repr(told.alerts)


async def test_the_details_of_a_result_with_many_broken_rules_stay_short(
    alerter: DataQualityAlerter, told: Told
) -> None:
    (failed,) = _result().failed_expectations
    many = tuple(replace(failed, id=f"patient_journeys.rule_{number}") for number in range(300))
    await alerter.send_alert(_result(failed_expectations=many))
    assert len(told.alerts[0].details["failed_expectations"]) == 20
    assert told.alerts[0].details["failed_expectations_in_all"] == 300


async def test_a_good_result_is_no_alert(alerter: DataQualityAlerter, told: Told) -> None:
    assert not await alerter.send_alert(_result(QualityStatus.PASSED, 1.0, failed_expectations=()))
    assert told.alerts == []


async def test_the_same_matter_is_told_once_per_period(alerter: DataQualityAlerter, told: Told, clock: Clock) -> None:
    sent = []
    for _ in range(14):
        sent.append(await alerter.send(_alert()))
        clock.advance(hours=1)
    assert [hour for hour, told_then in enumerate(sent) if told_then] == [0, 6, 12]
    assert len(told.alerts) == 3


@pytest.mark.parametrize("change", [{"data_split": "test"}, {"brand": "Kisqali"}, {"region": "west"}])
async def test_another_split_brand_or_region_is_another_matter(
    alerter: DataQualityAlerter, told: Told, change: dict[str, str]
) -> None:
    assert [await alerter.send_alert(_result()), await alerter.send_alert(_result(**change))] == [True, True]
    assert not await alerter.send_alert(_result(**change))


async def test_a_rise_in_severity_is_told_at_once_and_a_fall_is_not(alerter: DataQualityAlerter, told: Told) -> None:
    sent = [await alerter.send(_alert(severity)) for severity in (WARNING, ERROR, WARNING, ERROR, CRITICAL, ERROR)]
    assert sent == [True, True, False, False, True, False]
    assert [alert.severity for alert in told.alerts] == [WARNING, ERROR, CRITICAL]


async def test_without_a_period_every_alert_is_told(told: Told, clock: Clock) -> None:
    alerter = DataQualityAlerter(AlertConfig(dedup_hours=0), told, clock=clock)
    assert [await alerter.send(_alert()) for _ in range(3)] == [True, True, True]


async def test_a_clock_set_back_does_not_silence_the_alerter(
    alerter: DataQualityAlerter, told: Told, clock: Clock
) -> None:
    await alerter.send(_alert())
    clock.advance(days=-30)
    assert await alerter.send(_alert())


async def test_of_alerts_sent_at_the_same_time_one_is_delivered(alerter: DataQualityAlerter, told: Told) -> None:
    sent = await asyncio.gather(*(alerter.send(_alert()) for _ in range(10)))
    assert sent.count(True) == len(told.alerts) == 1


async def test_a_failing_handler_keeps_the_alert_from_no_other(
    told: Told, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    alerter = DataQualityAlerter(AlertConfig(), Told("broken", broken=True), told, clock=clock)
    with caplog.at_level(logging.ERROR):
        assert not await alerter.send(_alert())
    assert len(told.alerts) == 1
    assert "'features of brand' did not reach the broken: ServiceOutage: no line" in caplog.text


async def test_a_delivery_that_failed_is_tried_again_with_that_handler_only(told: Told, clock: Clock) -> None:
    flaky = Told("flaky", broken=True)
    alerter = DataQualityAlerter(AlertConfig(), flaky, told, clock=clock)
    await alerter.send(_alert())
    flaky.broken = False
    assert await alerter.send(_alert())
    assert not await alerter.send(_alert())
    assert (len(flaky.alerts), len(told.alerts)) == (1, 1)


@pytest.mark.parametrize("is_new_process", [True, False])
async def test_a_warning_that_only_the_log_took_is_still_owed_to_the_webhook(
    db: Database, told: Told, clock: Clock, is_new_process: bool
) -> None:
    away = Told("away", broken=True)

    def opened() -> DataQualityAlerter:
        return DataQualityAlerter(AlertConfig(), away, told, clock=clock)

    async def read(alerter: DataQualityAlerter) -> bool:
        period = timedelta(hours=6)
        return await SentAlerts(db).send_once(
            "brand", "STALE", 3, at=clock.now, within=period, send=lambda: alerter.send(_alert())
        )

    alerter = opened()
    assert not await read(alerter)
    away.broken = False
    clock.advance(minutes=1)
    assert await read(opened() if is_new_process else alerter)
    assert not await read(opened())
    assert (len(away.alerts), len(told.alerts)) == (1, 2 if is_new_process else 1)


async def test_a_failed_rise_is_tried_again_without_forgetting_what_was_told(
    alerter: DataQualityAlerter, told: Told
) -> None:
    await alerter.send(_alert(WARNING))
    told.broken = True
    assert not await alerter.send(_alert(CRITICAL))
    told.broken = False
    assert not await alerter.send(_alert(WARNING))
    assert await alerter.send(_alert(CRITICAL))


async def test_a_cancelled_delivery_does_not_count_as_told(clock: Clock) -> None:
    @dataclass
    class Stuck(Told):
        async def handle(self, alert: Alert) -> None:
            await asyncio.Event().wait()

    stuck, told = Stuck("line"), Told("line")
    alerter = DataQualityAlerter(AlertConfig(), stuck, clock=clock)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await alerter.send(_alert())
    alerter.remove_handler(stuck)
    alerter.add_handler(told)
    assert await alerter.send(_alert())


async def test_handlers_come_and_go(alerter: DataQualityAlerter, told: Told) -> None:
    second = Told("second")
    alerter.add_handler(second)
    await alerter.send(_alert())
    alerter.remove_handler(second)
    await alerter.send(_alert(key="b"))
    assert (len(told.alerts), len(second.alerts)) == (2, 1)


def test_a_second_handler_of_a_name_and_the_removal_of_a_stranger_are_refused(alerter: DataQualityAlerter) -> None:
    with pytest.raises(ValueError, match="already an alert handler named 'told'"):
        alerter.add_handler(Told())
    with pytest.raises(ValueError, match="no alert handler 'told' to remove"):
        alerter.remove_handler(Told())


async def test_an_alerter_without_handlers_tells_nobody_and_says_so(told: Told) -> None:
    alerter = DataQualityAlerter(AlertConfig(), told)
    alerter.remove_handler(told)
    assert not await alerter.send(_alert())


def test_the_alerter_serves_whoever_sends_alerts(alerter: DataQualityAlerter, told: Told) -> None:
    sender: AlertSender = alerter
    handler: AlertHandler = told
    assert asyncio.run(sender.send(_alert()))
    assert handler is told


def test_without_a_configuration_the_file_decides() -> None:
    assert DataQualityAlerter().config == load_data_quality_config().alerting


@pytest.mark.parametrize("severity", list(AlertSeverity))
async def test_the_log_shows_an_alert_at_its_level(severity: AlertSeverity, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        await LogAlertHandler().handle(_alert(severity))
    (record,) = caplog.records
    assert record.levelname == severity.upper()
    assert record.getMessage() == "features of brand: stale for 3 h"


class TestWebhook:
    @pytest.fixture
    def server(self) -> Iterator[ScriptedServer]:
        with ScriptedServer(lambda _: json_answer({"ok": True})) as server:
            yield server

    async def test_it_posts_the_whole_alert_as_json(self, server: ScriptedServer) -> None:
        await WebhookAlertHandler(f"{server.url}/hook").handle(_alert())
        (request,) = server.requests_to("/hook")
        assert (request.method, request.headers["content-type"]) == ("POST", "application/json")
        assert request.json == {
            "severity": "error",
            "subject": "features of brand",
            "message": "stale for 3 h",
            "key": "a",
            "at": "2024-03-01T09:00:00+00:00",
            "details": {"age_hours": 3.0},
            "text": "[error] features of brand: stale for 3 h",
        }

    @pytest.mark.parametrize(
        ("status", "error"),
        [(500, ServiceOutage), (429, ServiceOutage), (404, ServiceRefused), (302, ServiceRefused)],
    )
    async def test_an_answer_that_is_no_success_is_an_error(self, status: int, error: type[Exception]) -> None:
        refusal = Answer(status, {"location": "http://127.0.0.1:9/"})
        with ScriptedServer(lambda _: refusal) as server, pytest.raises(error, match=f"127.0.0.1 answered {status}"):
            await WebhookAlertHandler(f"{server.url}/hook").handle(_alert())

    async def test_a_server_that_does_not_answer_is_left_after_the_timeout(self, server: ScriptedServer) -> None:
        server.fault = faults.BLACK_HOLE
        with pytest.raises(ServiceOutage, match="did not answer"):
            await WebhookAlertHandler(f"{server.url}/hook", timeout=0.2).handle(_alert())

    async def test_a_server_that_answers_drop_by_drop_is_left_after_the_timeout(self) -> None:
        left = threading.Event()

        def drops() -> Iterator[bytes]:
            while not left.wait(0.05):
                yield b"."

        with ScriptedServer(lambda _: Answer(200, {}, drops())) as server:
            with pytest.raises(ServiceOutage, match="did not answer"):
                async with asyncio.timeout(10):
                    await WebhookAlertHandler(f"{server.url}/hook", timeout=0.3).handle(_alert())
            left.set()

    async def test_its_failure_never_loses_the_log_alert(self, caplog: pytest.LogCaptureFixture) -> None:
        config = AlertConfig(webhook_url="http://127.0.0.1:9/services/s3cret", webhook_timeout_seconds=1)
        with caplog.at_level(logging.DEBUG):
            assert not await DataQualityAlerter(config).send(_alert())
        assert "features of brand: stale for 3 h" in caplog.messages
        assert any("did not reach the webhook: ServiceOutage" in message for message in caplog.messages)

    async def test_its_address_is_not_logged(self, server: ScriptedServer, caplog: pytest.LogCaptureFixture) -> None:
        config = AlertConfig(webhook_url=f"{server.url}/services/s3cret")
        with caplog.at_level(logging.INFO):
            await DataQualityAlerter(config).send(_alert())
        assert server.requests_to("/services/s3cret")
        assert "s3cret" not in caplog.text

    async def test_details_that_are_no_json_are_an_error_the_log_alert_survives(
        self, server: ScriptedServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        config = AlertConfig(webhook_url=f"{server.url}/hook")
        alert = _alert(details={"age_hours": float("nan")})
        with caplog.at_level(logging.WARNING):
            assert not await DataQualityAlerter(config).send(alert)
        assert any("did not reach the webhook: ValueError" in message for message in caplog.messages)
        assert server.requests_to("/hook") == []

    async def test_a_result_is_json_whatever_it_holds(self, server: ScriptedServer) -> None:
        config = AlertConfig(webhook_url=f"{server.url}/hook")
        await DataQualityAlerter(config).send_alert(_result(success_rate=None))
        (request,) = server.requests_to("/hook")
        assert json.loads(request.body)["details"]["success_rate"] is None
