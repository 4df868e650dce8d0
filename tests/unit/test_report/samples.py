"""Analyses as they come out of real questions: one supported, one association only, one not identified."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from src.causal_engine.results import (
    Analysis,
    BalanceRow,
    Benchmark,
    Conclusion,
    ConfoundingFinding,
    EffectEstimate,
    ExcludedNode,
    FailedEstimate,
    Gate,
    Identification,
    Interval,
    LeadTest,
    OverlapReport,
    PanelDiagnostics,
    PowerReport,
    RefutationReport,
    RefutationTest,
    SegmentEffect,
    SensitivityReport,
    Verdict,
)
from src.causal_engine.spec import Design, Estimand
from src.storage.records import DatasetRecord, RunRecord

CONTROLS = ("specialty", "prior_trx", "decile", "region", "practice_size")


def estimate(value: float, se: float, estimator: str = "aipw", **changes: object) -> EffectEstimate:
    """An ATE over 4,200 rows with a normal 95 % interval."""
    plain = EffectEstimate(
        estimator=estimator,
        estimand=Estimand.ATE,
        value=value,
        std_error=se,
        se_method="influence function",
        ci=Interval(value - 1.96 * se, value + 1.96 * se),
        p_value=0.0004,
        n=4200,
        n_treated=1650,
        n_dropped=0,
        adjusted_for=CONTROLS,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def refutations(*, placebo: bool = True) -> RefutationReport:
    """The five tests, the placebo passed or failed."""
    tests = (
        RefutationTest("placebo_treatment", True, 0.25, True, placebo, 0.012, 0.09, "20 permuted treatments", 20),
        RefutationTest("random_common_cause", True, 0.25, True, True, 0.004, 0.09, "shift of the estimate", 1),
        RefutationTest("data_subset", False, 0.15, True, True, 1.0, 0.8, "share inside the interval", 10),
        RefutationTest("bootstrap", False, 0.15, True, True, 0.04, 0.5, "width ratio", 500),
        RefutationTest("sensitivity_e_value", True, 0.2, False, None, None, None, "interval covers 0"),
    )
    gate = Gate.PROCEED if placebo else Gate.BLOCK
    return RefutationReport(tests, 1.0 if placebo else 0.67, gate, () if placebo else ("placebo failed",), 20_260_101)


def supported() -> Analysis:
    """Rep calls raise NRx; a graph is given; every part is present."""
    primary = estimate(
        0.436,
        0.061,
        segments=(
            SegmentEffect("specialty", "Dermatology", 0.51, 0.09, Interval(0.33, 0.69), 2100),
            SegmentEffect("specialty", "Allergy/Immunology", 0.37, 0.1, Interval(0.17, 0.57), 2093),
            SegmentEffect("specialty", "Rheumatology", 3.14159, 9.0, Interval(-14.5, 20.8), 7),
        ),
        diagnostics=(("propensity_auc", 0.71),),
    )
    leave_out = [
        estimate(
            0.436 + shift, 0.062, adjusted_for=tuple(c for c in CONTROLS if c != column), label=f"without {column}"
        )
        for column, shift in zip(CONTROLS, (0.02, 0.31, 0.11, -0.004, 0.03), strict=True)
    ]
    linear = [estimate(0.402, 0.058, "ols", se_method="HC3"), estimate(0.455, 0.07, "ipw")]
    names = ("territory_potential", *CONTROLS, "rep_access", "samples_left", "calls", "nrx", "payer_mix")
    edges = (
        *((c, t) for c in CONTROLS for t in ("calls", "nrx")),
        ("rep_access", "calls"),
        ("calls", "samples_left"),
        ("samples_left", "nrx"),
        ("calls", "nrx"),
        ("territory_potential", "prior_trx"),
        ("payer_mix", "nrx"),
    )
    return Analysis(
        treatment="calls",
        outcome="nrx",
        n_rows=4200,
        identification=Identification(
            identified=True,
            strategy="back_door",
            design=Design.OBSERVATIONAL,
            adjustment_set=CONTROLS,
            alternatives=(("prior_trx", "decile"),),
            instruments=("rep_access",),
            mediators=(),
            excluded=(
                ExcludedNode("samples_left", "mediator", "it lies on the way from calls to nrx"),
                ExcludedNode("rep_access", "instrument", "it moves calls only"),
            ),
            assumptions=("No unmeasured common cause of calls and nrx.",),
            reasons=("Adjusting for five columns closes every back-door path.",),
            nodes=names,
            edges=edges,
            latent=("territory_potential",),
            version_hash="9b1f03aa",
        ),
        primary=primary,
        naive=estimate(1.21, 0.07, "naive", adjusted_for=(), se_method="HC3", label="none"),
        curve=(*linear, *leave_out),
        failures=(FailedEstimate("ipw", "none", "OverlapViolated", "12 % of units outside [.02, .98]"),),
        overlap=OverlapReport(
            0.04, 0.93, 0.006, 1480.2, 2310.7, 0.71,
            tuple(i / 20 for i in range(21)),
            (0, 5, 14, 30, 55, 80, 110, 140, 160, 170, 180, 170, 150, 130, 100, 70, 50, 25, 10, 1),
            (0, 60, 180, 290, 340, 330, 300, 260, 220, 180, 140, 100, 70, 45, 20, 10, 5, 0, 0, 0),
        ),
        balance=tuple(
            BalanceRow(name, raw, raw / 15)
            for name, raw in zip(CONTROLS, (0.12, 0.62, -0.41, 0.03, 0.2), strict=True)
        ),
        power=PowerReport(4200, None, 0.171, 0.3, "0.2 standard deviations of nrx", True, 1400),
        panel=None,
        confounding=(),
        refutation=refutations(),
        sensitivity=SensitivityReport(
            2.41, 2.1, 1.41, 0.118, 0.089,
            (
                Benchmark("prior_trx", 1.0, 0.05, 0.08, 0.31, Interval(0.18, 0.44)),
                Benchmark("prior_trx", 3.0, 0.15, 0.24, 0.06, Interval(-0.08, 0.2)),
            ),
            False,
            "A confounder 2.6 times as strong as prior_trx would explain the effect away.",
        ),
        conclusion=Conclusion(
            verdict=Verdict.SUPPORTED,
            confidence="moderate",
            headline="Each call brings about 0.44 more new prescriptions per month.",
            findings=("Without adjustment the difference looks almost three times as large.",),
            assumptions=("Calls to one prescriber do not change scripts of another.",),
            limitations=("One quarter of data.",),
            recommendations=("Keep calls at prescribers of deciles 6 to 10.",),
            would_change=("A randomised hold-out of calls.",),
            warnings=("Column 'decile' holds -999 in 12 rows.",),
            reasons=("Gate: proceed.",),
        ),
    )  # fmt: skip


def association_only() -> Analysis:
    """Detailing panel: the lead fails, so treatment follows the outcome."""
    base = supported()
    within = estimate(0.18, 0.03, "twfe", estimand=Estimand.WITHIN, n=24_000, n_treated=None, adjusted_for=("samples",))
    return replace(
        base,
        treatment="details",
        outcome="scripts",
        n_rows=24_000,
        identification=replace(
            base.identification, strategy="fixed_effects", design=Design.PANEL, adjustment_set=("samples",),
            nodes=(), edges=(), latent=(), excluded=(), alternatives=(), instruments=(),
        ),
        primary=within,
        naive=estimate(0.94, 0.02, "naive", n=24_000, n_treated=None, adjusted_for=()),
        curve=(estimate(0.176, 0.03, "twfe", n=24_000, n_treated=None, adjusted_for=(), label="none"),),
        failures=(),
        overlap=None,
        balance=(),
        power=PowerReport(24_000, 1000, 0.09, 0.4, "0.2 standard deviations of scripts", True, 3200),
        panel=PanelDiagnostics(
            1000, 24,
            (LeadTest(1, 0.14, 0.03, 0.0001, False, 0.78), LeadTest(2, 0.02, 0.03, 0.51, True, 0.11)),
            None, "adoption is not staggered", 0.14, 0.0755, 0.006, 0.41, False,
            ((0, 0.18, 0.03), (1, 0.09, 0.03), (2, 0.03, 0.03)),
        ),
        confounding=(ConfoundingFinding("specialty", 0.22, 0.0001),),
        refutation=refutations(placebo=False),
        sensitivity=None,
        conclusion=replace(
            base.conclusion, verdict=Verdict.ASSOCIATION_ONLY, confidence="low",
            headline="Association only: calls follow expected scripts.", findings=("The lead test fails.",),
            recommendations=(), warnings=(),
        ),
    )  # fmt: skip


def not_identified() -> Analysis:
    """A hidden common cause and nothing to get round it: no number at all."""
    base = supported()
    return replace(
        base,
        identification=replace(
            base.identification, identified=False, strategy="none", adjustment_set=(), alternatives=(), instruments=(),
            reasons=("calls ← territory_potential → nrx cannot be closed: territory_potential is unmeasured.",),
            nodes=("calls", "nrx", "territory_potential"), excluded=(),
            edges=(("territory_potential", "calls"), ("territory_potential", "nrx"), ("calls", "nrx")),
        ),
        primary=None, naive=None, curve=(), failures=(), overlap=None, balance=(), power=None, panel=None,
        confounding=(), refutation=None, sensitivity=None,
        conclusion=replace(
            base.conclusion, verdict=Verdict.NOT_IDENTIFIED, confidence="high",
            headline="Not identified: an unmeasured column moves both calls and nrx.", findings=(), warnings=(),
            recommendations=("Measure territory potential, or randomise calls in some territories.",),
        ),
    )  # fmt: skip


SAMPLES = {"supported": supported, "association_only": association_only, "not_identified": not_identified}

DATASET = DatasetRecord(
    dataset_id="ds_0f3c",
    name="detailing_q3",
    kind="file",
    source="/data/detailing_q3.csv",
    content_sha256="a" * 64,
    n_rows=4312,
    columns={"calls": "int64", "nrx": "int64", **dict.fromkeys(CONTROLS, "object")},
    created_at=datetime(2026, 11, 3, 8, 15, tzinfo=UTC),
    path=None,
    declared={},
)
RUN = RunRecord(
    run_id="run_7d20",
    trace_id="0191c2f4-77aa-7bbb-8ccc-0123456789ab",
    question="Do rep calls raise NRx for Fabhalta in the northeast?",
    understood={"brand": "Fabhalta", "region": "northeast", "kpi": "NRx", "units": "NRx per call"},
    request={"treatment": "calls", "outcome": "nrx"},
    request_sha256="c" * 64,
    dataset_id="ds_0f3c",
    data_sha256="a" * 64,
    code_version="4324ac1",
    random_state=20_260_101,
    versions={"numpy": "2.4.6", "lightgbm": "4.7.0", "scikit-learn": "1.9.1"},
    queries=[{"dataset": "ds_0f3c", "filters": {"region": "northeast"}, "rows_before": 4312, "rows_after": 4200}],
    status="completed",
    verdict="causal effect supported",
    analysis=None,
    error_type=None,
    error_message=None,
    started_at=datetime(2026, 11, 3, 9, 0, tzinfo=UTC),
    ended_at=datetime(2026, 11, 3, 9, 0, 12, tzinfo=UTC),
)


def crowded(n_estimates: int = 40, n_covariates: int = 60, n_nodes: int = 30) -> Analysis:
    """Sizes and names at the limits of what a report has to hold: 60-character names, wild intervals."""
    base = supported()
    names = tuple(
        f"{'prior_year_specialty_drug_volume_in_territory_' * 2}"[:56] + f"_{i:03d}" for i in range(n_covariates)
    )
    curve = tuple(
        estimate(0.3 + 0.01 * i, 0.05 + 0.001 * i, ("aipw", "ols", "ipw", "dml")[i % 4],
                 adjusted_for=names[: i + 1] if i % 2 else names, label=f"set {i}")
        for i in range(max(n_estimates - 2, 0))
    )  # fmt: skip
    wild = tuple(replace(e, ci=Interval(-900.0, 1200.0)) if i == 5 else e for i, e in enumerate(curve))
    nodes = ("calls", "nrx", *names[: max(n_nodes - 2, 0)])
    third = len(nodes) // 3
    edges = [("calls", "nrx")]
    edges += [(name, target) for name in nodes[2:third] for target in ("calls", "nrx")]
    edges += [(nodes[i], nodes[i - third + 2]) for i in range(max(third, 2), len(nodes)) if i - third + 2 < i]
    return replace(
        base,
        primary=replace(estimate(0.436, 0.061), adjusted_for=names),
        naive=base.naive if n_estimates > 1 else None,
        curve=wild,
        balance=tuple(BalanceRow(name, 0.9 - 0.02 * i, 0.05 - 0.001 * i) for i, name in enumerate(names)),
        identification=replace(
            base.identification, adjustment_set=names[:8], nodes=nodes, edges=tuple(dict.fromkeys(edges)),
            latent=names[9:10], instruments=(),
            excluded=tuple(ExcludedNode(name, "collider", "both arrows meet here") for name in names[10:11]),
        ),
    )  # fmt: skip
