"""Published answers on real data: what is known must come out."""

from __future__ import annotations

from pathlib import Path

import causaldata
import numpy as np
import pandas as pd
import pytest

from src.causal_engine.diagnostics.panel import panel_diagnostics
from src.causal_engine.estimators.curve import naive_contrast
from src.causal_engine.estimators.registry import default_estimators, fit_estimator
from src.causal_engine.spec import CausalSpec, Design, Estimand
from src.causal_engine.study import Study, prepare_study
from src.errors import OverlapViolated

PROJECT_ROOT = Path(__file__).resolve().parents[3]
SHARED_DATA = PROJECT_ROOT.parent / "shared" / "data"
needs_shared_data = pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="needs ../shared/data")

NHEFS_CONFOUNDERS = (
    "sex",
    "race",
    "age",
    "education",
    "smokeintensity",
    "smokeyrs",
    "exercise",
    "active",
    "wt71",
)
LALONDE_CONFOUNDERS = ("age", "education", "black", "hispanic", "married", "nodegree", "re74", "re75")


def shared(name: str) -> pd.DataFrame:
    return pd.read_csv(SHARED_DATA / name)


def test_quitting_smoking_adds_three_and_a_half_kilograms() -> None:
    """Hernán & Robins, What If: 3.4–3.5 kg (2.4–4.5)."""
    frame = causaldata.nhefs_complete.load_pandas().data
    study = prepare_study(frame, CausalSpec("qsmk", "wt82_71", NHEFS_CONFOUNDERS))
    estimate = fit_estimator("aipw", study).estimate
    assert 3.2 < estimate.value < 3.7
    # What estimating the models adds is in the interval; the published one takes its models as right.
    assert estimate.ci.lower > 2.0
    assert naive_contrast(study).value == pytest.approx(2.54, abs=0.01)


def test_the_training_programme_of_lalonde_raises_earnings_by_1794_dollars() -> None:
    """Dehejia & Wahba (1999): 1,794 (SE 633 pooled; Welch 671)."""
    frame = causaldata.nsw_mixtape.load_pandas().data
    study = prepare_study(frame, CausalSpec("treat", "re78", randomized=True))
    estimate = fit_estimator("difference_in_means", study).estimate
    assert estimate.value == pytest.approx(1794.3, abs=0.5)
    assert 630 < estimate.std_error < 675


@needs_shared_data
@pytest.mark.parametrize("controls", ["cps_controls", "psid_controls"])
def test_survey_controls_are_refused_as_a_comparison_for_everyone(controls: str) -> None:
    rows = shared("causal/lalonde_all.csv.gz")
    frame = rows[((rows.file == "nsw_dw") & (rows.treat == 1)) | (rows.file == controls)]
    study = prepare_study(frame, CausalSpec("treat", "re78", LALONDE_CONFOUNDERS))
    assert naive_contrast(study).value < -8000
    for name in ("aipw", "ols"):
        with pytest.raises(OverlapViolated):
            fit_estimator(name, study)


@needs_shared_data
@pytest.mark.parametrize("controls", ["cps_controls", "psid_controls"])
def test_effects_on_the_trained_against_survey_controls_never_have_a_confident_wrong_sign(controls: str) -> None:
    rows = shared("causal/lalonde_all.csv.gz")
    frame = rows[((rows.file == "nsw_dw") & (rows.treat == 1)) | (rows.file == controls)]
    study = prepare_study(frame, CausalSpec("treat", "re78", LALONDE_CONFOUNDERS, estimand=Estimand.ATT))
    estimates = [fit_estimator(name, study).estimate for name in default_estimators(study, Design.OBSERVATIONAL)]
    assert all(estimate.ci.upper > 0 for estimate in estimates)
    assert any(estimate.ci.covers(1794) for estimate in estimates)


@needs_shared_data
def test_proximity_to_a_college_instruments_schooling() -> None:
    """Card (1995), table 3: IV .132 (.055), OLS .075."""
    frame = shared("causal/card_iv.csv.gz")
    regions = tuple(f"reg66{i}" for i in range(2, 10))
    controls = ("exper", "expersq", "black", "smsa", "south", "smsa66", *regions)
    study = prepare_study(frame, CausalSpec("educ", "lwage", controls, instruments=("nearc4",)))
    estimate = fit_estimator("iv_2sls", study).estimate
    assert estimate.value == pytest.approx(0.132, abs=0.001)
    assert estimate.std_error == pytest.approx(0.054, abs=0.002)
    assert 10 < (estimate.diagnostic("first_stage_f") or 0) < 20
    assert fit_estimator("ols", study).estimate.value == pytest.approx(0.075, abs=0.001)


@pytest.fixture(scope="module")
def detailing() -> pd.DataFrame:
    return shared("pharma/detailing_bayesm.csv.gz")


def detailing_study(frame: pd.DataFrame, *controls: str) -> Study:
    return prepare_study(
        frame, CausalSpec("detail_calls", "new_scripts", controls, unit_key="physician_id", time_key="month")
    )


@needs_shared_data
def test_calls_on_physicians_follow_expected_prescriptions(detailing: pd.DataFrame) -> None:
    """Manchanda, Rossi & Chintagunta (2004): calls go to high-volume physicians; the lead is as large as the effect."""
    study = detailing_study(detailing)
    assert fit_estimator("twfe", study).estimate.value == pytest.approx(0.18, abs=0.005)
    (lead,) = panel_diagnostics(study).leads
    assert not lead.passed
    assert lead.value == pytest.approx(0.113, abs=0.001)
    assert lead.value / lead.ratio_to_effect == pytest.approx(0.138, abs=0.001)


@needs_shared_data
def test_the_pooled_elasticity_of_calls_is_014_given_specialty_and_samples(detailing: pd.DataFrame) -> None:
    found = panel_diagnostics(detailing_study(detailing, "generalphys", "specialist", "mean_samples"))
    assert found.pooled_elasticity == pytest.approx(0.14, abs=0.005)
    assert found.pooled_semi_elasticity == pytest.approx(0.0755, abs=0.0005)


@needs_shared_data
def test_meals_have_no_detectable_effect_on_claims() -> None:
    """Prescribers seen in both years without a meal in 2013; adopters have a meal in 2014.

    Outcome: the brand's share of class claims in points. Controls as of 2013: specialty, class
    claims, all claims. Without controls the difference in differences is −.52 (.29).
    """
    frame = shared("pharma/nasonex_meals_panel.csv.gz")
    frame = frame[(frame.target_brand == "Nasonex") & (frame.total_class_claims > 0)]
    frame["share"] = 100 * frame.total_target_claims / frame.total_class_claims
    both_years = frame.groupby("prescriber_id").year.transform("nunique") == 2
    earlier = frame[(frame.year == 2013) & (frame.any_target_meal == 1)].prescriber_id
    frame = frame[both_years & ~frame.prescriber_id.isin(earlier)]
    controls = ("doc_specialty", "total_class_claims", "doc_total_claims")
    spec = CausalSpec("any_target_meal", "share", controls, unit_key="prescriber_id", time_key="year")
    study = prepare_study(frame, spec)
    second_year = prepare_study(frame[frame.year == 2014], CausalSpec("any_target_meal", "share"))
    assert naive_contrast(second_year).value == pytest.approx(3.72, abs=0.005)
    did, lagged = (fit_estimator(name, study).estimate for name in ("did", "lagged_outcome"))
    assert (did.value, did.std_error) == pytest.approx((-0.35, 0.28), abs=0.05)
    assert (lagged.value, lagged.std_error) == pytest.approx((0.34, 0.25), abs=0.02)
    assert did.ci.covers(0)
    assert lagged.ci.covers(0)
    assert default_estimators(study, Design.PANEL)[:2] == ("did", "lagged_outcome")


@needs_shared_data
@pytest.mark.parametrize(("arm", "points"), [("Mens E-Mail", 7.66), ("Womens E-Mail", 4.52)])
def test_a_randomised_email_brings_visits(arm: str, points: float) -> None:
    frame = shared("pharma/hillstrom_email_rct.csv.gz")
    frame["channel"] = frame.channel.astype(str)
    spec = CausalSpec(
        "treatment",
        "visit",
        ("recency", "history", "newbie"),
        randomized=True,
        treated_value=arm,
        control_value="No E-Mail",
    )
    study = prepare_study(frame, spec)
    estimates = {name: fit_estimator(name, study).estimate for name in ("difference_in_means", "lin", "ols")}
    assert 100 * estimates["difference_in_means"].value == pytest.approx(points, abs=0.005)
    assert np.ptp([estimate.value for estimate in estimates.values()]) < 0.001
    assert all(estimate.ci.lower > 0.03 for estimate in estimates.values())
