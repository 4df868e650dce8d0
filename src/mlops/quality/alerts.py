"""Who is told about poor data, how urgently, and how often?"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from urllib.parse import urlsplit

from src.contracts.values import json_text
from src.domain.alerts import Alert, AlertSeverity
from src.errors import ServiceOutage, ServiceRefused
from src.mlops.quality.configuration import AlertConfig, load_data_quality_config
from src.mlops.quality.result import DataQualityResult, QualityStatus

logger = logging.getLogger(__name__)

CRITICAL_RATE = 0.5
_RULES_NAMED = 20
_LEVELS = {
    AlertSeverity.INFO: logging.INFO,
    AlertSeverity.WARNING: logging.WARNING,
    AlertSeverity.ERROR: logging.ERROR,
    AlertSeverity.CRITICAL: logging.CRITICAL,
}
# Nothing was checked, so nothing may be built on it: as urgent as a failure.
_SEVERITIES = {
    QualityStatus.PASSED: AlertSeverity.INFO,
    QualityStatus.WARNING: AlertSeverity.WARNING,
    QualityStatus.FAILED: AlertSeverity.ERROR,
    QualityStatus.SKIPPED: AlertSeverity.ERROR,
}


class AlertHandler(Protocol):
    """One way to reach somebody; ``name`` is unique within an alerter."""

    @property
    def name(self) -> str: ...

    async def handle(self, alert: Alert) -> None:
        """Deliver ``alert``, or raise."""
        ...


class LogAlertHandler:
    """Writes alerts to the log, at the level of their severity."""

    name = "log"

    async def handle(self, alert: Alert) -> None:
        """One line."""
        logger.log(_LEVELS[alert.severity], "%s: %s", alert.subject, alert.message)


class WebhookAlertHandler:
    """POSTs alerts as JSON; ``text`` is one line for chat systems, the other keys are those of ``Alert``.

    ``timeout`` is in seconds and bounds the whole call. The address may hold a secret in its path, so only
    its host is ever shown. Raises ServiceOutage or ServiceRefused when the alert was not taken.
    """

    name = "webhook"

    def __init__(self, url: str, timeout: float = 5.0) -> None:
        self._url = url
        self._timeout_s = timeout
        logging.getLogger("httpx").setLevel(logging.WARNING)  # its INFO lines show the whole address

    async def handle(self, alert: Alert) -> None:
        """One request."""
        import httpx

        try:
            async with asyncio.timeout(self._timeout_s), httpx.AsyncClient(timeout=self._timeout_s) as client:
                response = await client.post(
                    self._url, content=_payload(alert), headers={"content-type": "application/json"}
                )
        except (TimeoutError, httpx.RequestError) as error:
            raise ServiceOutage(f"the webhook at {self._host} did not answer ({type(error).__name__})") from error
        if not response.is_success:
            outage = response.status_code >= 500 or response.status_code == 429
            said = f"the webhook at {self._host} answered {response.status_code}"
            raise ServiceOutage(said) if outage else ServiceRefused(said)

    @property
    def _host(self) -> str:
        return urlsplit(self._url).hostname or "an address without a host"


def _payload(alert: Alert) -> bytes:
    document = {
        "severity": str(alert.severity),
        "subject": alert.subject,
        "message": alert.message,
        "key": alert.key,
        "at": alert.at.astimezone(UTC).isoformat(),
        "details": dict(alert.details),
        "text": f"[{alert.severity}] {alert.subject}: {alert.message}",
    }
    return json_text(document).encode()


@dataclass(frozen=True, slots=True, eq=False)
class _Told:
    """When a matter was last told through a handler, and how urgent it was then."""

    at: datetime
    rank: int


class DataQualityAlerter:
    """The shared alerter: sends any ``Alert``, and makes one of a quality result.

    Too mild alerts are not sent. A handler is told the same matter (``Alert.key``) once in ``dedup_hours``,
    unless it has become more urgent; a delivery that failed is logged, does not count as told, and keeps
    the alert from no other handler. The memory is this object's: it ends with the process.

    ``config`` is read from ``config/data_quality.yaml`` when it is None. Without ``handlers`` there are those
    of the configuration: the log, and the webhook where one is set. ``clock`` gives the time in UTC.
    """

    def __init__(
        self,
        config: AlertConfig | None = None,
        *handlers: AlertHandler,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.config = config if config is not None else load_data_quality_config().alerting
        self._period = timedelta(hours=self.config.dedup_hours)
        self._clock = clock
        self._handlers: dict[str, AlertHandler] = {}
        self._told: dict[tuple[str, str], _Told] = {}
        for handler in handlers or _configured_handlers(self.config):
            self.add_handler(handler)

    def add_handler(self, handler: AlertHandler) -> None:
        """Tell ``handler`` too; ValueError when one of that name is already told."""
        if handler.name in self._handlers:
            raise ValueError(f"there is already an alert handler named '{handler.name}'")
        self._handlers[handler.name] = handler

    def remove_handler(self, handler: AlertHandler) -> None:
        """No longer tell ``handler``; ValueError when it was not told."""
        if self._handlers.get(handler.name) is not handler:
            raise ValueError(f"there is no alert handler '{handler.name}' to remove")
        del self._handlers[handler.name]

    def determine_severity(self, result: DataQualityResult) -> AlertSeverity:
        """How urgent a result is: leakage, or fewer than half of the expectations met, is critical."""
        if result.leakage_detected or (result.success_rate is not None and result.success_rate < CRITICAL_RATE):
            return AlertSeverity.CRITICAL
        return _SEVERITIES[result.overall_status]

    def should_alert(self, result: DataQualityResult) -> bool:
        """Whether anybody is to be told of such a result, however often they were."""
        return self._is_urgent(self.determine_severity(result))

    async def send_alert(self, result: DataQualityResult) -> bool:
        """Tell of a result; False when not everybody who was due was told; see ``send``."""
        return await self.send(_alert_of(result, self.determine_severity(result), self._clock()))

    async def send(self, alert: Alert) -> bool:
        """Deliver to every handler that is due; False when none was, or one of them did not take it.

        Sent again after a failure, only the handlers that failed are told.
        """
        if not self._is_urgent(alert.severity):
            return False
        now = self._clock()
        self._told = {key: told for key, told in self._told.items() if self._is_recent(told, now)}
        due = [handler for handler in self._handlers.values() if self._is_due(handler, alert)]
        # Noted before the first await: of two alerts sent at once only one is delivered.
        deliveries = [self._deliver(handler, alert, self._note(handler, alert, now)) for handler in due]
        return bool(due) and all(await asyncio.gather(*deliveries))

    def _is_urgent(self, severity: AlertSeverity) -> bool:
        return self.config.enabled and severity.rank >= self.config.min_severity.rank

    def _is_recent(self, told: _Told, now: datetime) -> bool:
        """A clock that was set back forgets rather than staying silent until it has caught up."""
        return timedelta(0) <= now - told.at < self._period

    def _is_due(self, handler: AlertHandler, alert: Alert) -> bool:
        told = self._told.get((handler.name, alert.key))
        return told is None or alert.severity.rank > told.rank

    def _note(self, handler: AlertHandler, alert: Alert, now: datetime) -> Callable[[], None]:
        """Note that ``handler`` was told; returns how to take that back."""
        key = (handler.name, alert.key)
        before, noted = self._told.get(key), _Told(now, alert.severity.rank)
        self._told[key] = noted

        def take_back() -> None:
            if self._told.get(key) is noted:
                del self._told[key]
                if before is not None:
                    self._told[key] = before

        return take_back

    async def _deliver(self, handler: AlertHandler, alert: Alert, take_back: Callable[[], None]) -> bool:
        delivered = False
        try:
            await handler.handle(alert)
            delivered = True
        except Exception as error:  # noqa: BLE001 - whatever one handler does, the others are told
            logger.error(
                "the alert '%s' did not reach the %s: %s: %s",
                alert.subject, handler.name, type(error).__name__, error,
            )  # fmt: skip
        finally:
            if not delivered:
                take_back()
        return delivered


def _configured_handlers(config: AlertConfig) -> list[AlertHandler]:
    handlers: list[AlertHandler] = [LogAlertHandler()]
    if config.webhook_url:
        handlers.append(WebhookAlertHandler(config.webhook_url, config.webhook_timeout_seconds))
    return handlers


def _alert_of(result: DataQualityResult, severity: AlertSeverity, at: datetime) -> Alert:
    """Rule names and figures only: row labels and observed values may belong to a person."""
    scope = [result.table_name, result.suite_name, result.data_split, result.brand, result.region]
    rules = [failed.id for failed in result.failed_expectations]
    details: dict[str, Any] = {
        "result_id": result.id,
        "table": result.table_name,
        "suite": result.suite_name,
        "data_split": result.data_split,
        "brand": result.brand,
        "region": result.region,
        "status": str(result.overall_status),
        "success_rate": result.success_rate,
        "rows": result.rows_validated,
        "failed_expectations": rules[:_RULES_NAMED],
        "failed_expectations_in_all": len(rules),
        "leakage_detected": result.leakage_detected,
        "run_at": result.run_at.isoformat(),
    }
    return Alert(
        severity=severity,
        subject=f"data quality of {result.table_name}" + (f", {result.data_split}" if result.data_split else ""),
        message=result.headline(),
        key="data_quality:" + ":".join(part or "-" for part in scope),
        at=at,
        details=details,
    )
