"""Is what a question takes for granted looked up in the data?"""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pytest

from src.app.specialists.premises import change_of, presumed
from src.domain.period import Period


@pytest.mark.parametrize(
    ("question", "direction"),
    [
        ("Why did Kisqali TRx fall in the Midwest?", -1),
        ("why are new prescriptions of Kisqali growing?", 1),
        ("Why has NRx of Fabhalta gone down since March 2025?", -1),
        ("Why did more rep calls increase NRx of Kisqali?", 0),
        ("What drives NRx of Kisqali?", 0),
        ("Did TRx fall?", 0),
        ("Why?", 0),
    ],
)
def test_what_is_taken_for_granted_is_read_from_the_words(question: str, direction: int) -> None:
    assert presumed(question) == direction


def rows(step: float, units: int = 40, months: int = 12, noise: float = 0.1) -> pd.DataFrame:
    """Units with a level of their own that changes by ``step`` in the last three months."""
    rng = np.random.default_rng(0)
    unit, month = np.repeat(np.arange(units), months), np.tile(np.arange(months), units)
    values = rng.gamma(5.0, 1.0, units)[unit] + step * (month >= months - 3) + noise * rng.normal(size=len(unit))
    days = pd.to_datetime([f"2025-{one + 1:02d}-01" for one in month])
    return pd.DataFrame({"hcp_id": unit, "month": days, "trx": values})


@pytest.mark.parametrize("step", [-1.0, 0.0, 0.5])
def test_the_change_lies_in_its_interval_and_only_a_real_one_excludes_zero(step: float) -> None:
    found = change_of(rows(step), "hcp_id", "month", "trx")
    assert found is not None
    assert found.lower <= step <= found.upper
    assert (found.lower <= 0 <= found.upper) is (step == 0.0)
    assert (found.span, found.reference, found.n_units) == ("2025-10 to 2025-12", "2025-07 to 2025-09", 40)


def test_a_period_that_is_named_is_compared_with_as_many_months_before_it() -> None:
    period = Period(date(2025, 7, 1), date(2025, 9, 30))
    found = change_of(rows(-1.0), "hcp_id", "month", "trx", period)
    assert found is not None
    assert (found.span, found.reference) == ("2025-07 to 2025-09", "2025-04 to 2025-06")
    assert found.lower <= 0 <= found.upper


@pytest.mark.parametrize("frame", [rows(1.0, units=10), rows(1.0, months=3), rows(1.0).iloc[:0]])
def test_of_a_handful_of_units_or_without_months_before_nothing_is_said(frame: pd.DataFrame) -> None:
    assert change_of(frame, "hcp_id", "month", "trx") is None
