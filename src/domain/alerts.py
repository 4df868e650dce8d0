"""What is an alert, and how urgent can it be? The one vocabulary of everything that warns somebody."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol


class AlertSeverity(StrEnum):
    """From least to most urgent; compare with ``rank``."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for INFO to 3 for CRITICAL."""
        return list(AlertSeverity).index(self)


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing somebody should know. ``key``: alerts of one key are the same matter and are sent once per period.

    ``details`` is JSON without personal values; ``at`` is UTC.
    """

    severity: AlertSeverity
    subject: str
    message: str
    key: str
    at: datetime
    details: Mapping[str, Any] = field(default_factory=dict)


class AlertSender(Protocol):
    """Whatever carries alerts; the shared alerter in production."""

    async def send(self, alert: Alert) -> bool:
        """Deliver to every handler; False when it was not sent: too mild, just sent, or not taken by one of them."""
        ...
