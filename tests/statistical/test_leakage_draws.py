"""Over many draws, is every planted leak found and no honest frame accused?"""

from __future__ import annotations

import numpy as np
import pytest

from tests.unit.test_mlops.modelling_frames import LEAKS, honest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

DRAWS = 200
PLANTED_DRAWS = 40
FIRST_STATE = 50_000


def test_clean_data_raises_nothing_in_200_draws() -> None:
    reports = [honest(FIRST_STATE + draw).search() for draw in range(DRAWS)]
    assert [finding.message for report in reports for finding in report.findings] == []
    assert sum("target" in report.checked for report in reports) >= 0.9 * DRAWS


@pytest.mark.parametrize("name", LEAKS)
def test_a_planted_leak_is_found_in_every_draw(name: str) -> None:
    check, plant, told = LEAKS[name]
    missed = []
    for draw in range(PLANTED_DRAWS):
        report = plant(honest(FIRST_STATE + draw), np.random.default_rng(draw)).search(**told)
        # Rare targets in small frames are reported as unknown: no leak can be told there.
        if check not in {finding.check for finding in report.findings} and check in report.checked:
            missed.append(draw)
    assert missed == []
