"""Do nominal 95 % intervals of the default path contain the truth as often as they say?

python -m benchmarks.causal.coverage [--draws 200] [--only NAME ...] [--write] [--json]

Every process is generated and answered ``--draws`` times from fixed seeds; the estimator is the
first of those the design chooses (``default_estimators``). Covered must be between .905 and .985,
the 99 % band of .95 over 200 draws; a refusal for want of overlap covers nothing and claims
nothing. Beside them: a hidden confounder as strong as a measured one must be flagged in every data
set (the sensitivity report calls the estimate fragile, or the interval covers no effect), and with
50 covariates, 300 rows and no effect at most 7 % may claim one. ``--write`` puts the table into
coverage.md. Exit code 1 when a line fails.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from src.causal_engine.estimators.registry import default_estimators, fit_estimator
from src.causal_engine.results import EffectEstimate
from src.causal_engine.sensitivity.report import sensitivity_report
from src.causal_engine.spec import CausalSpec, Design, Estimand
from src.causal_engine.study import Study, prepare_study
from src.errors import OverlapViolated
from src.synthetic.generation import generate

TABLE = Path(__file__).with_suffix(".md")
FIRST_STATE = 70_000
LOWEST, HIGHEST = 0.905, 0.985
LARGEST_FALSE_CLAIMS = 0.07


@dataclass(frozen=True)
class Drawn:
    """One data set as a study, and the truth of what it asks."""

    study: Study
    truth: float


@dataclass(frozen=True)
class Case:
    """A process, its question, its design, and what counts as right: covering the truth, being flagged, no claim."""

    name: str
    draw: Callable[[int], Drawn]
    design: Design = Design.OBSERVATIONAL
    judged: str = "covered"


@dataclass(frozen=True)
class Line:
    """Counts over the draws of one case, refusals among them; ``rms_z``: root mean square of error over its se."""

    name: str
    estimator: str
    estimand: str
    judged: str
    draws: int
    refused: int
    right: int
    share: float
    passed: bool
    rms_z: float
    mean_error: float
    mean_std_error: float
    seconds_each: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study; 1 when a line fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--only", nargs="*", default=[], choices=[case.name for case in CASES])
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    lines = []
    with threadpool_limits(1):
        for case in CASES:
            if not options.only or case.name in options.only:
                lines.append(run(case, options.draws))
                print(_row(lines[-1]), file=sys.stderr, flush=True)
    table = markdown(lines)
    if options.write:
        TABLE.write_text(f"# Coverage of 95 % intervals on the default path\n\n{table}\n", encoding="utf-8")
    print(json.dumps([asdict(line) for line in lines]) if options.json else table)
    return 0 if all(line.passed for line in lines) else 1


def run(case: Case, draws: int) -> Line:
    """Generate, answer and judge ``draws`` data sets of a case."""
    started = time.process_time()
    estimates: list[EffectEstimate] = []
    errors, right, refused = [], 0, 0
    for state in range(FIRST_STATE, FIRST_STATE + draws):
        drawn = case.draw(state)
        try:
            estimate = fit_estimator(default_estimators(drawn.study, case.design)[0], drawn.study).estimate
        except OverlapViolated:
            refused += 1
            right += case.judged == "not claimed"
            continue
        estimates.append(estimate)
        errors.append(estimate.value - drawn.truth)
        right += _right(case, drawn, estimate)
    widths = np.array([estimate.std_error for estimate in estimates])
    share = right / draws
    return Line(
        name=case.name,
        estimator=estimates[0].estimator,
        estimand=str(estimates[0].estimand),
        judged=case.judged,
        draws=draws,
        refused=refused,
        right=right,
        share=share,
        passed=_passed(case, share),
        rms_z=float(np.sqrt(np.mean((np.array(errors) / widths) ** 2))),
        mean_error=float(np.mean(errors)),
        mean_std_error=float(widths.mean()),
        seconds_each=(time.process_time() - started) / draws,
    )


def markdown(lines: Sequence[Line]) -> str:
    """The lines as a table."""
    header = (
        "| process | estimator | estimand | judged | right of draws | refused | share | rms z | error | se | s each |"
    )
    return "\n".join([header, "|---|---|---|---|---|---|---|---|---|---|---|", *(_row(line) for line in lines)])


def _row(line: Line) -> str:
    failed = "" if line.passed else " **fails**"
    return (
        f"| {line.name} | {line.estimator} | {line.estimand} | {line.judged} | {line.right} of {line.draws} "
        f"| {line.refused} | {line.share:.3f}{failed} | {line.rms_z:.2f} | {line.mean_error:+.4f} "
        f"| {line.mean_std_error:.4f} | {line.seconds_each:.1f} |"
    )


def _right(case: Case, drawn: Drawn, estimate: EffectEstimate) -> bool:
    if case.judged == "covered":
        return estimate.ci.covers(drawn.truth)
    if case.judged == "not claimed":
        return estimate.ci.covers(0.0)
    return estimate.ci.covers(0.0) or sensitivity_report(drawn.study, estimate, case.design).fragile


def _passed(case: Case, share: float) -> bool:
    if case.judged == "covered":
        return LOWEST <= share <= HIGHEST
    return share >= (1 - LARGEST_FALSE_CLAIMS if case.judged == "not claimed" else 1.0)


def _generated(process: str, *, rows: int = 2_000, estimand: Estimand = Estimand.ATE) -> Callable[[int], Drawn]:
    """A process of the library; the truth over its rows is the population's too, as effects are constant."""

    def draw(state: int) -> Drawn:
        data = generate(process, rows, state)
        spec, truth = data.spec, data.truth.att if estimand.on_treated else data.truth.ate
        assert data.frame is not None
        assert truth is not None
        question = CausalSpec(
            spec.treatment,
            spec.outcome,
            confounders=spec.confounders,
            unit_key=spec.unit_key,
            time_key=spec.time_key,
            cluster_key=spec.cluster_key,
            lag=spec.lag,
            estimand=estimand,
            random_state=state,
        )
        return Drawn(prepare_study(data.frame, question), truth)

    return draw


def _nonlinear(estimand: Estimand, rows: int = 2_000, columns: int = 6) -> Callable[[int], Drawn]:
    """Curved confounding, effect 1 + x₂/2: logit e = sin 2x₁ + (x₂² − 1)/2, y₀ = 2 sin 2x₁ + x₂² + x₁x₃."""

    def draw(state: int) -> Drawn:
        rng = np.random.default_rng([FIRST_STATE, state])
        x = rng.standard_normal((rows, columns))
        curve = np.sin(2 * x[:, 0])
        t = (rng.random(rows) < 1 / (1 + np.exp(-curve - 0.5 * (x[:, 1] ** 2 - 1)))).astype(np.float64)
        effect = 1 + 0.5 * x[:, 1]
        y = 2 * curve + x[:, 1] ** 2 + x[:, 0] * x[:, 2] + t * effect + rng.standard_normal(rows)
        truths = {Estimand.ATE: 1.0, Estimand.SATE: float(effect.mean()), Estimand.SATT: float(effect[t == 1].mean())}
        return Drawn(_named(x, t, y, estimand, state), truths[estimand])

    return draw


def _weak_overlap(estimand: Estimand, rows: int = 2_000) -> Callable[[int], Drawn]:
    """P(t) = σ(2.5x₁), a third of the rows outside [.05, .95]; effect .5 for everybody, y₀ = x₁ + x₂ + x₁x₂/2."""

    def draw(state: int) -> Drawn:
        rng = np.random.default_rng([FIRST_STATE, state, 1])
        x = rng.standard_normal((rows, 4))
        t = (rng.random(rows) < 1 / (1 + np.exp(-2.5 * x[:, 0]))).astype(np.float64)
        y = x[:, 0] + x[:, 1] + 0.5 * x[:, 0] * x[:, 1] + 0.5 * t + rng.standard_normal(rows)
        return Drawn(_named(x, t, y, estimand, state), 0.5)

    return draw


def _many_columns(state: int, rows: int = 300, columns: int = 50) -> Drawn:
    """No effect, 300 rows, 50 covariates of which five confound."""
    rng = np.random.default_rng([FIRST_STATE, state, 2])
    x = rng.standard_normal((rows, columns))
    t = (rng.random(rows) < 1 / (1 + np.exp(-0.4 * x[:, :5].sum(axis=1)))).astype(np.float64)
    y = 0.5 * x[:, :5].sum(axis=1) + rng.standard_normal(rows)
    return Drawn(_named(x, t, y, Estimand.ATE, state), 0.0)


def _named(x: np.ndarray, t: np.ndarray, y: np.ndarray, estimand: Estimand, state: int) -> Study:
    names = [f"x{j + 1}" for j in range(x.shape[1])]
    spec = CausalSpec("t", "y", confounders=tuple(names), estimand=estimand, random_state=state)
    return prepare_study(pd.DataFrame(x, columns=names).assign(t=t, y=y), spec)


CASES = (
    Case("linear", _generated("confounded")),
    Case("nonlinear", _nonlinear(Estimand.ATE)),
    Case("strong selection", _generated("selection_bias")),
    Case("panel with clusters", _generated("time_series"), Design.PANEL),
    Case("weak overlap, overlap-weighted", _weak_overlap(Estimand.ATO)),
    Case("linear, on the sample", _generated("confounded", estimand=Estimand.SATE)),
    Case("nonlinear, on the sample", _nonlinear(Estimand.SATE)),
    Case("nonlinear, on the treated of the sample", _nonlinear(Estimand.SATT)),
    Case("strong selection, on the treated of the sample", _generated("selection_bias", estimand=Estimand.SATT)),
    Case("hidden confounder", _generated("unobserved_confounder"), judged="flagged"),
    Case("no effect, 50 columns, 300 rows", _many_columns, judged="not claimed"),
)


if __name__ == "__main__":
    sys.exit(main())
