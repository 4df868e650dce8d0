"""Do intervals in few clusters, after staggered adoption and along both paths of an effect cover the truth?"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pandas as pd
import pytest

from src.causal_engine.estimators.registry import fit_estimator
from src.causal_engine.mediation.report import MediationReport
from src.causal_engine.spec import CausalSpec
from src.causal_engine.study import prepare_study
from tests.unit.test_causal_engine import test_cluster_errors as clustered
from tests.unit.test_causal_engine import test_dose_response as doses
from tests.unit.test_causal_engine import test_exact_inference as trials
from tests.unit.test_causal_engine import test_mediation as paths
from tests.unit.test_causal_engine import test_staggered_adoption as panels

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

DRAWS = 200
LOWEST, HIGHEST = 0.90, 0.99


def coverage(covers: Callable[[int], bool], draws: int = DRAWS) -> float:
    return float(np.mean([covers(seed) for seed in range(1_000, 1_000 + draws)]))


@pytest.mark.parametrize("groups", [8, 10, 12])
def test_ols_covers_with_few_clusters(groups: int) -> None:
    def covers(seed: int) -> bool:
        frame = clustered.territories(groups, seed)
        study = clustered.study_of(frame, confounders=("size",), randomized=True)
        return fit_estimator("ols", study).estimate.ci.covers(0.5)

    assert LOWEST <= coverage(covers) <= HIGHEST


@pytest.mark.parametrize("groups", [8, 12])
def test_two_way_fixed_effects_cover_with_few_clusters(groups: int) -> None:
    def covers(seed: int) -> bool:
        study = clustered.study_of(clustered.regions(groups, seed), unit_key="hcp", time_key="month")
        return fit_estimator("twfe", study).estimate.ci.covers(0.5)

    assert LOWEST <= coverage(covers) <= HIGHEST


@pytest.mark.parametrize("gaps", [0.0, 0.15])
def test_imputation_covers_effects_that_differ_by_unit_date_and_time(gaps: float) -> None:
    def covers(seed: int) -> bool:
        frame, truth = panels.staggered(150, seed=seed, gaps=gaps)
        return fit_estimator("imputation", panels.study_of(frame)).estimate.ci.covers(truth)

    assert LOWEST <= coverage(covers) <= HIGHEST


@pytest.mark.parametrize("dates", [(9,), (7, 10)])
def test_synthetic_did_covers_for_twelve_adopters(dates: tuple[int, ...]) -> None:
    def covers(seed: int) -> bool:
        # Placebos stand for adopters only where who adopts does not go with how a unit moves.
        study = panels.study_of(panels.few_adopters(seed, dates, selected=0.0))
        return fit_estimator("synthetic_did", study).estimate.ci.covers(1.0)

    assert 0.88 <= coverage(covers, 60) <= 1.0


def test_exact_intervals_cover_in_small_trials() -> None:
    def covers(seed: int) -> bool:
        return fit_estimator("exact", trials.study_of(trials.trial(effect=0.7, seed=seed))).estimate.ci.covers(0.7)

    assert 0.92 <= coverage(covers) <= 1.0


@cache
def split(seed: int) -> MediationReport:
    return paths.split(paths.mediated(400, seed))


@pytest.mark.parametrize("part", ["total", "direct", "indirect"])
def test_both_paths_of_an_effect_are_covered(part: str) -> None:
    def covers(seed: int) -> bool:
        found = split(seed).effect(part)
        return found.lower <= paths.TRUTH[part] <= found.upper

    assert LOWEST <= coverage(covers, 100) <= 1.0


def test_a_curve_that_bends_is_covered_dose_by_dose() -> None:
    def share(seed: int) -> float:
        rng = np.random.default_rng(seed)
        need, size = rng.normal(size=(2, 500))
        dose = 0.7 * need + rng.normal(size=500)
        scripts = 0.5 * dose + 0.3 * dose**2 + need + size + rng.normal(size=500)
        frame = pd.DataFrame({"dose": dose, "scripts": scripts, "need": need, "size": size})
        study = prepare_study(frame, CausalSpec("dose", "scripts", ("need", "size")))
        profile = fit_estimator("dose_response", study).estimate.profile
        assert profile is not None
        return float(np.mean([point.ci.covers(0.5 * point.at + 0.3 * point.at**2) for point in profile.points]))

    assert np.mean([share(seed) for seed in range(20)]) >= 0.86


def test_the_average_slope_of_a_dose_is_covered() -> None:
    def covers(seed: int) -> bool:
        return fit_estimator("dose_response", doses.study_of(doses.dosed(500, seed))).estimate.ci.covers(0.5)

    assert 0.88 <= coverage(covers, 60) <= 1.0
