"""How long do the refutations take next to DoWhy's default refuters, and do both say the same?

One run on the same confounded data: E2I's five tests (least squares) against DoWhy 0.14's placebo,
random-common-cause, data-subset and bootstrap refuters with their own default settings and its
linear-regression estimator. Imports are not counted. Exit code 1 when a verdict differs or E2I needs
more than a twentieth of DoWhy's CPU time.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd
from threadpoolctl import threadpool_limits

from src.causal_engine.estimators.registry import fit_estimator
from src.causal_engine.refutation.refute import refute
from src.causal_engine.results import RefutationReport
from src.causal_engine.spec import CausalSpec
from src.causal_engine.study import prepare_study
from src.synthetic import generate

TARGET = 1 / 20
LEVEL = 0.05
REFUTERS = {
    "placebo_treatment": "placebo_treatment_refuter",
    "random_common_cause": "random_common_cause",
    "data_subset": "data_subset_refuter",
    "bootstrap": "bootstrap_refuter",
}


@dataclass(frozen=True)
class Timed:
    """CPU and wall seconds of one call, and whether each test passed."""

    cpu_s: float
    wall_s: float
    effect: float
    verdicts: dict[str, bool | None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--random-state", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    dataset = generate("confounded", arguments.rows, arguments.random_state)
    spec = dataset.spec
    # Types as generated: on a float treatment DoWhy's default placebo draws constant zeros.
    frame = dataset.frame[[spec.treatment, spec.outcome, *spec.confounders]]
    question = CausalSpec(spec.treatment, spec.outcome, confounders=tuple(spec.confounders))
    # One thread each: CPU seconds then count work, not waiting threads.
    with threadpool_limits(1):
        ours = _ours(frame, question, arguments.random_state)
        theirs = _dowhy(frame, question, arguments.random_state)
    ratio = ours.cpu_s / theirs.cpu_s
    agree = all(ours.verdicts[name] == passed for name, passed in theirs.verdicts.items())
    if arguments.json:
        result = {"rows": arguments.rows, "e2i": asdict(ours), "dowhy": asdict(theirs), "cpu_ratio": ratio}
        print(json.dumps({**result, "target_ratio": TARGET, "verdicts_agree": agree}))
    else:
        _print_table(arguments.rows, ours, theirs, ratio)
    sys.exit(0 if agree and ratio <= TARGET else 1)


def _timed(run: Callable[[], tuple[float, dict[str, bool | None]]]) -> Timed:
    cpu, wall = time.process_time(), time.perf_counter()
    effect, verdicts = run()
    return Timed(time.process_time() - cpu, time.perf_counter() - wall, effect, verdicts)


def _ours(frame: pd.DataFrame, question: CausalSpec, random_state: int) -> Timed:
    small = prepare_study(frame.head(500), question)
    refute(small, fit_estimator("ols", small), random_state=random_state)  # loads what is imported on first use

    def run() -> tuple[float, dict[str, bool | None]]:
        study = prepare_study(frame, question)
        fitted = fit_estimator("ols", study)
        report: RefutationReport = refute(study, fitted, random_state=random_state)
        return fitted.estimate.value, {test.name: test.passed for test in report.tests}

    return _timed(run)


def _dowhy(frame: pd.DataFrame, question: CausalSpec, random_state: int) -> Timed:
    warnings.simplefilter("ignore")
    logging.getLogger("dowhy").setLevel(logging.ERROR)
    from dowhy import CausalModel

    def model_of(data: pd.DataFrame) -> tuple[Any, Any, Any]:
        model = CausalModel(data, question.treatment, question.outcome, common_causes=list(question.confounders))
        estimand = model.identify_effect(proceed_when_unidentifiable=True)
        estimate = model.estimate_effect(estimand, method_name="backdoor.linear_regression")
        return model, estimand, estimate

    model_of(frame.head(500))

    def run() -> tuple[float, dict[str, bool | None]]:
        model, estimand, estimate = model_of(frame)
        verdicts: dict[str, bool | None] = {}
        for name, refuter in REFUTERS.items():
            result = model.refute_estimate(estimand, estimate, method_name=refuter, random_seed=random_state)
            verdicts[name] = bool(result.refutation_result["p_value"] >= LEVEL)
        return float(estimate.value), verdicts

    return _timed(run)


def _print_table(rows: int, ours: Timed, theirs: Timed, ratio: float) -> None:
    print(f"{rows:,} rows, linear regression: E2I {ours.effect:.4f}, DoWhy {theirs.effect:.4f}")
    print(f"{'test':<22} {'E2I':<8} DoWhy")
    words = {True: "passed", False: "failed", None: "n/a"}
    for name, passed in ours.verdicts.items():
        other = words[theirs.verdicts[name]] if name in theirs.verdicts else "no such test"
        print(f"{name:<22} {words[passed]:<8} {other}")
    print(f"{'CPU seconds':<22} {ours.cpu_s:<8.3f} {theirs.cpu_s:.3f}")
    print(f"{'wall seconds':<22} {ours.wall_s:<8.3f} {theirs.wall_s:.3f}")
    met = "met" if ratio <= TARGET else "missed"
    print(f"{'CPU ratio':<22} 1/{1 / ratio:.0f}   (target 1/{1 / TARGET:.0f}: {met})")


if __name__ == "__main__":
    main()
