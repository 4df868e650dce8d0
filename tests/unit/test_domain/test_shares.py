"""Is the interval of a share that of Wilson?"""

from __future__ import annotations

import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from src.domain.shares import wilson


@pytest.mark.parametrize(("successes", "n"), [(0, 12), (3, 12), (12, 12), (500, 1000), (1, 1)])
def test_the_interval_of_a_share_is_that_of_two_other_packages(successes: int, n: int) -> None:
    expected = stats.binomtest(successes, n).proportion_ci(method="wilson")
    assert wilson(successes, n) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert wilson(successes, n) == pytest.approx(proportion_confint(successes, n, method="wilson"), abs=1e-12)
