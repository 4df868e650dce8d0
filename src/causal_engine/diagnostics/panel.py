"""Does treatment lead the outcome, or follow it; were trends parallel before adoption?"""

from __future__ import annotations

import numpy as np
from scipy.special import fdtrc

from src.causal_engine.estimators.event_study import lead_regression, permuted_pre_trend
from src.causal_engine.estimators.fixed_effects import LAGS_BEYOND, lag_profile, within_regression
from src.causal_engine.estimators.inference import LinearFit, fit_linear, independent_columns, p_value
from src.causal_engine.estimators.panel_data import Adoption, Panel, adoption_of, panel_of, share_within, shifted
from src.causal_engine.results import LeadTest, PanelDiagnostics
from src.causal_engine.spec import OutcomeKind
from src.causal_engine.study import MIN_PER_ARM, FloatArray, Study
from src.errors import EstimationError, TooFewRows

LEAD_ALPHA = 0.01
NEGLIGIBLE_LEAD = 0.10
_MIN_PERIODS_FOR_LEADS = 3
_NEWTON_STEPS = 100


def panel_diagnostics(study: Study) -> PanelDiagnostics:
    """Lead test, pre-trend test, pooled count model, within-unit variation and lag profile of a panel.

    Tests that the data cannot carry are absent (no leads, p-value None with the reason in the note).
    """
    panel = panel_of(study)
    adoption = adoption_of(study, panel)
    leads, lead_note = lead_tests(study, panel, adoption)
    trend, trend_note = pre_trend(study, panel, adoption)
    pooled, pooled_note = _pooled(study)
    profile, profile_note = _profile(study)
    return PanelDiagnostics(
        n_units=panel.n_units,
        n_periods=panel.n_periods,
        leads=leads,
        pre_trend_p_value=trend,
        pre_trend_note="; ".join(note for note in (trend_note, lead_note, pooled_note, profile_note) if note),
        pooled_elasticity=None if pooled is None else pooled[0] * float(study.t.mean()),
        pooled_semi_elasticity=None if pooled is None else pooled[0],
        pooled_std_error=None if pooled is None else pooled[1],
        treatment_varies_within=share_within(study.t, panel),
        staggered=adoption is not None and adoption.staggered,
        lag_profile=profile,
    )


def lead_tests(study: Study, panel: Panel, adoption: Adoption | None = None) -> tuple[tuple[LeadTest, ...], str]:
    """Next period's treatment beside this period's (and its lags, when a lag is asked for), two-way effects.

    If next period's treatment 'explains' today's outcome, treatment follows the outcome (Granger
    1969; Rothstein 2010) and the effect is not identified. Passes when the lead is not significant
    at 1 %, or is below a tenth of the effect in size: in large panels trifles are significant.
    Without three periods, or when the lead does not vary beside the treatment, there are no tests
    and the second value says why. Nor are there with staggered adoption, where effects of early adopters
    leak into the leads of late ones (Sun & Abraham 2021): ``pre_trend`` asks the question there.
    """
    if adoption is not None and adoption.staggered:
        return (), "no lead test: adoption is staggered, the pre-trend test takes its place"
    if panel.n_periods < _MIN_PERIODS_FOR_LEADS:
        return (), f"no lead test: it takes {_MIN_PERIODS_FOR_LEADS} periods"
    lag = study.spec.lag
    lags = range(min(lag + LAGS_BEYOND, panel.n_periods // 2) + 1) if lag else range(1)
    terms = [shifted(study.t, panel, -k) for k in lags] + [shifted(study.t, panel, 1)]
    try:
        fit, _, _ = within_regression(study, panel, np.column_stack(terms))
    except EstimationError as error:
        return (), f"no lead test: {error}"
    lead, effect = float(fit.coefficients[len(terms) - 1]), float(fit.coefficients[min(lag, len(terms) - 2)])
    uncertainty = fit.uncertainty(len(terms) - 1)
    chance = p_value(lead, uncertainty)
    relative = abs(lead) / abs(effect) if effect != 0 else float("inf")
    passed = chance >= LEAD_ALPHA or relative < NEGLIGIBLE_LEAD
    return (LeadTest(1, lead, uncertainty.std_error, chance, passed, relative),), ""


def pre_trend(study: Study, panel: Panel, adoption: Adoption | None) -> tuple[float | None, str]:
    """Joint p-value that adopters moved like others before they adopted, or None and why.

    Event-time leads −2, −3, … (relative to −1) in the rows not yet treated, two-way effects, Wald F
    clustered by unit (Borusyak, Jaravel & Spiess 2024, sec. 4.3). At most five leads, the last open-ended.
    With fewer than 30 adopters, where such a test rejects far too often, it is made by permutation.
    """
    if adoption is None or not adoption.absorbing:
        return None, "no pre-trend test: treatment is not adopted once and for all"
    if adoption.always_treated and not adoption.staggered:
        return None, "no pre-trend test: some units are treated from their first period on"
    if int((adoption.first_period > 0).sum()) < MIN_PER_ARM:
        return permuted_pre_trend(study, panel, adoption)
    try:
        found = lead_regression(study, panel, adoption)
    except EstimationError as error:
        return None, f"no pre-trend test: {error}"
    if found is None:
        return None, "no pre-trend test: it takes at least two periods before adoption"
    try:
        return _joint_p_value(found.fit, len(found.leads)), f"{len(found.leads)} periods before adoption tested jointly"
    except EstimationError as error:
        return None, f"no pre-trend test: {error}"


def poisson_slope(study: Study) -> tuple[float, float]:
    """Semi-elasticity of a count and its error: pooled Poisson regression, log link, clustered by unit.

    log E[y] = a + b·t + X·c; b is the proportional change per unit of treatment, and b times the
    mean of treatment the elasticity there. Sandwich of Gourieroux, Monfort & Trognon (1984), factor
    G/(G−1)·(n−1)/(n−k). Raises EstimationError when the fit does not converge.
    """
    x = study.x[:, independent_columns(study.x)]
    design = np.column_stack([np.ones(study.n), study.t, x])
    # Scaled columns keep Newton's steps well conditioned; the slope is scaled back at the end.
    scale = np.maximum(np.abs(design).max(axis=0), 1e-300)
    coefficients = _poisson_newton(study.y, design / scale) / scale
    mean = np.exp(design @ coefficients)
    # At the optimum the sandwich is that of weighted least squares on the working residual.
    root = np.sqrt(mean)
    fit = fit_linear((study.y - mean) / root, design * root[:, None], study.clusters)
    return float(coefficients[1]), fit.uncertainty(1).std_error


def _pooled(study: Study) -> tuple[tuple[float, float] | None, str]:
    if study.outcome_kind is not OutcomeKind.COUNT:
        return None, ""
    try:
        return poisson_slope(study), ""
    except EstimationError as error:
        return None, f"no pooled count model: {error}"


def _profile(study: Study) -> tuple[tuple[tuple[int, float, float], ...], str]:
    if study.spec.lag == 0:
        return (), ""
    try:
        return lag_profile(study), ""
    except EstimationError as error:
        return (), f"no lag profile: {error}"


def _poisson_newton(y: FloatArray, design: FloatArray) -> FloatArray:
    coefficients = np.zeros(design.shape[1])
    coefficients[0] = np.log(y.mean()) / design[0, 0]
    for _ in range(_NEWTON_STEPS):
        mean = np.exp(np.clip(design @ coefficients, -700.0, 700.0))
        step = np.linalg.lstsq((design * mean[:, None]).T @ design, design.T @ (y - mean), rcond=1e-14)[0]
        # Long steps overshoot on the log scale.
        longest = float(np.abs(design @ step).max())
        coefficients = coefficients + step * min(1.0, 5.0 / max(longest, 1e-300))
        if longest < 1e-10:
            return coefficients
    raise EstimationError("the pooled count model did not converge; check the outcome for extreme values")


def _joint_p_value(fit: LinearFit, k: int) -> float:
    if fit.df < k:
        raise TooFewRows("there are fewer clusters than pre-adoption periods")
    if np.linalg.matrix_rank(fit.covariance[:k, :k], hermitian=True) < k:
        raise EstimationError("outcomes before adoption vary too little for their errors to be told apart")
    wald = float(fit.coefficients[:k] @ np.linalg.solve(fit.covariance[:k, :k], fit.coefficients[:k]))
    return float(fdtrc(k, fit.df, wald / k))
