"""Somebody at the command line is told of an alert, and a time out of range is bad input."""

from __future__ import annotations

import logging

import pytest

from src.app.feature_requests import moment_from
from src.cli.main import ALERTS_LOG, _AlertLines, show_alerts
from src.errors import ContractViolation


@pytest.mark.parametrize("times", [1, 2])
def test_an_alert_is_one_line_on_standard_error(
    times: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    alerts = logging.getLogger(ALERTS_LOG)
    monkeypatch.setattr(alerts, "handlers", [])
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    for _ in range(times):
        show_alerts()
    alerts.error("data quality of %s: failed\n2 rules", "triggers")
    assert capsys.readouterr() == ("", "e2i: alert (error): data quality of triggers: failed 2 rules\n")
    assert [type(handler) for handler in alerts.handlers] == [_AlertLines]


def test_a_time_before_the_first_year_in_utc_is_bad_input() -> None:
    with pytest.raises(ContractViolation, match="--start '0001-01-01"):
        moment_from("0001-01-01T00:00+14:00", "--start")
