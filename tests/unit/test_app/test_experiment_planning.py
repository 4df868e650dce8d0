"""Does a planned experiment count everything that was said, and say what it needs in whole clusters?"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from src.app.experiment_design.planning import DesignOrder, plan, planned_document
from src.causal_engine.spec import OutcomeKind
from src.errors import ContractViolation

SIZED = DesignOrder(sd=3.1, baseline_mean=2.4, units=200)
SHARE = DesignOrder(kind=OutcomeKind.BINARY, baseline_mean=0.2)


@pytest.mark.parametrize("size", [1.0, 2.5, 3.3, 7.0, 12.7])
@pytest.mark.parametrize("icc", [0.0, 0.05, 0.4])
def test_the_clusters_needed_are_the_fewest_that_find_the_effect(size: float, icc: float) -> None:
    done = plan(DesignOrder(sd=1.0, minimum_effect=0.5, icc=icc, cluster_size=size))
    clusters = done.clusters_needed
    assert clusters is not None
    assert done.trial.power_at(clusters * size, 0.5) >= 0.8 > done.trial.power_at((clusters - 1) * size, 0.5)


def test_the_curve_of_a_decrease_is_drawn_over_decreases() -> None:
    done = plan(replace(SHARE, minimum_effect=-0.08, units=300))
    assert done.curve[-1][0] == pytest.approx(-0.16)
    at_effect = [power for difference, power in done.curve if difference == pytest.approx(-0.08)]
    assert at_effect == [pytest.approx(done.power)]
    assert all(math.isfinite(power) for _, power in plan(replace(SHARE, minimum_effect=-0.19)).curve)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"before": 3}, "--before goes with --periods"),
        ({"autocorrelation": 0.3}, "--autocorrelation goes with --periods"),
        ({"persistent": 0.3}, "--persistent goes with --periods"),
        ({"washout": 1}, "--washout goes with --blocks"),
        ({"cluster_cv": 0.4}, "--cluster-cv goes with --cluster-size"),
        ({"clusters": 10, "icc": 0.1, "cluster_size": 5.0}, "--units or --clusters"),
        ({"blocks": 4, "periods": 8, "arms": 2}, "compares each unit with itself"),
        ({"blocks": 4, "periods": 8, "icc": 0.1, "cluster_size": 5.0}, "compares each unit with itself"),
        ({"blocks": 4, "periods": 10}, "cannot be cut into 4 blocks"),
        *(({name: value}, "is a finite number") for name in ("sd", "minimum_effect", "icc", "alpha", "baseline_mean")
          for value in (math.nan, math.inf)),
    ],
)  # fmt: skip
def test_what_would_count_for_nothing_is_refused(said: dict[str, Any], words: str) -> None:
    with pytest.raises(ContractViolation, match=words):
        plan(replace(SIZED, **said))


def test_a_plan_without_anything_beside_is_not_refused() -> None:
    assert planned_document(plan(SIZED))["minimum_detectable_effect"] > 0
    assert plan(replace(SIZED, blocks=4, periods=8, washout=1, autocorrelation=0.2)).detectable is not None
