"""Overlap and balance against hand computations; what they show on good and bad data."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from src.causal_engine.diagnostics.balance import balance_table
from src.causal_engine.diagnostics.overlap import effective_size, overlap_report
from src.causal_engine.spec import CausalSpec, Estimand
from src.causal_engine.study import Study, prepare_study
from src.errors import StudyInvalid


def assigned(slope: float, n: int = 4000, **changes: object) -> tuple[Study, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=n)
    e = 1 / (1 + np.exp(-slope * x))
    t = (rng.random(n) < e).astype(int)
    group = np.where(rng.random(n) < 0.3 + 0.3 * t, "a", "b")
    frame = pd.DataFrame({"t": t, "y": x + rng.normal(size=n), "x": x, "group": group, "flat": 1.0})
    return prepare_study(frame, CausalSpec("t", "y", ("x", "group", "flat"), **changes)), e  # type: ignore[arg-type]


def test_overlap_is_adequate_when_assignment_is_mild_and_not_when_it_is_sharp() -> None:
    mild, sharp = (overlap_report(*assigned(slope)) for slope in (0.5, 6.0))
    assert mild.adequate
    assert mild.share_outside == 0
    assert not sharp.adequate
    assert sharp.auc > mild.auc


def test_overlap_figures_equal_hand_computations() -> None:
    study, e = assigned(1.0)
    report = overlap_report(study, e)
    treated = study.t == 1
    assert report.auc == pytest.approx(roc_auc_score(treated, e), rel=1e-12)
    weights = 1 / np.clip(e[treated], 0.01, 0.99)
    assert report.effective_n_treated == pytest.approx(weights.sum() ** 2 / (weights**2).sum(), rel=1e-12)
    assert sum(report.counts_treated) == treated.sum()
    assert sum(report.counts_control) == (~treated).sum()
    assert (report.bins[0], report.bins[-1]) == (0.0, 1.0)
    assert len(report.bins) == len(report.counts_treated) + 1
    assert (report.min_propensity, report.max_propensity) == (e.min(), e.max())


def test_overlap_of_the_treated_counts_treated_units_without_counterparts() -> None:
    study, e = assigned(4.0)
    report = overlap_report(study.with_spec(estimand=Estimand.ATT), e)
    assert report.share_outside == pytest.approx(np.mean(e[study.t == 1] > 0.98))
    assert report.effective_n_treated == pytest.approx(study.t.sum())


def test_constant_propensities_carry_no_information() -> None:
    study, _ = assigned(1.0)
    report = overlap_report(study, np.full(study.n, 0.5))
    assert report.auc == pytest.approx(0.5)
    assert report.effective_n_control == pytest.approx((study.t == 0).sum())


def test_equal_weights_are_worth_their_number() -> None:
    assert effective_size(np.full(7, 3.0)) == pytest.approx(7.0)
    assert effective_size(np.array([1.0, 0.0, 0.0])) == pytest.approx(1.0)


@pytest.mark.parametrize("estimand", [Estimand.ATE, Estimand.ATT])
def test_weighting_by_the_true_propensity_balances_what_was_unbalanced(estimand: Estimand) -> None:
    study, e = assigned(1.0, estimand=estimand)
    row = next(row for row in balance_table(study, e) if row.covariate == "x")
    assert row.smd_raw > 0.5
    assert row.smd_weighted == pytest.approx(0.0, abs=0.08)


def test_raw_differences_equal_hand_computations() -> None:
    study, _ = assigned(1.0)
    rows = {row.covariate: row for row in balance_table(study, None)}
    treated, control = (study.frame.loc[study.t == arm, "x"] for arm in (1, 0))
    pooled = np.sqrt((treated.var() + control.var()) / 2)
    assert rows["x"].smd_raw == pytest.approx((treated.mean() - control.mean()) / pooled, rel=1e-10)
    assert rows["x"].smd_weighted is None
    assert rows["group=b"].smd_raw < -0.3
    assert rows["flat"].smd_raw == 0


def test_a_dose_has_neither_overlap_nor_balance_between_arms() -> None:
    study, e = assigned(1.0)
    dose = prepare_study(study.frame.assign(t=np.arange(study.n) % 5), CausalSpec("t", "y", ("x",)))
    with pytest.raises(StudyInvalid, match="0/1"):
        overlap_report(dose, e)
    with pytest.raises(StudyInvalid, match="0/1"):
        balance_table(dose, e)
