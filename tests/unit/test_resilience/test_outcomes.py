"""Can anybody take an answer that did not come, or was only kept for later, for success?"""

from __future__ import annotations

from dataclasses import FrozenInstanceError, asdict
from typing import Any

import pytest

from src.resilience.outcomes import Spooled, Unavailable

UNAVAILABLE = Unavailable("mlflow", "connection refused", retry_after_s=12.5)
SPOOLED = Spooled("mlflow", "var/spool/mlflow/1.jsonl", "log_params")

both = pytest.mark.parametrize("outcome", [UNAVAILABLE, SPOOLED], ids=["Unavailable", "Spooled"])


@both
def test_it_is_falsy_and_not_persisted(outcome: Any) -> None:
    assert not outcome
    assert outcome.persisted is False


@both
@pytest.mark.parametrize("name", ["component", "persisted"])
def test_nobody_can_turn_it_into_a_success(outcome: Any, name: str) -> None:
    with pytest.raises((FrozenInstanceError, AttributeError, TypeError)):
        setattr(outcome, name, True)
    assert outcome.persisted is False


@both
def test_it_cannot_be_made_as_persisted(outcome: Any) -> None:
    with pytest.raises(TypeError):
        type(outcome)(**asdict(outcome), persisted=True)


@both
def test_it_equals_its_copy_and_can_be_kept_in_a_set(outcome: Any) -> None:
    assert {outcome, type(outcome)(**asdict(outcome))} == {outcome}


def test_they_say_what_is_known() -> None:
    assert asdict(UNAVAILABLE) == {"component": "mlflow", "reason": "connection refused", "retry_after_s": 12.5}
    assert Unavailable("mlflow", "connection refused").retry_after_s is None
    assert asdict(SPOOLED) == {
        "component": "mlflow",
        "spool_path": "var/spool/mlflow/1.jsonl",
        "operation": "log_params",
    }
