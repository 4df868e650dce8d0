"""Which study do a tool's arguments, its rows and what is declared about them make, and what does it show?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from src.agents.tool_composer.tools.contract import ToolInputs
from src.agents.tool_composer.tools.panel_rows import checked_columns, rows_of
from src.causal_engine.conclusion import Evidence
from src.causal_engine.declaration import KEYS, Asked, declared_for, graph_for, spec_of
from src.causal_engine.estimation import FittedStudy, estimate_effect, fit_primary, study_for
from src.causal_engine.estimators.base import FittedEffect
from src.causal_engine.estimators.panel_data import calendar_steps
from src.causal_engine.estimators.registry import get_estimator
from src.causal_engine.identification import identify
from src.causal_engine.identification.declared import identify_declared
from src.causal_engine.refutation.refute import refute
from src.causal_engine.results import Identification
from src.causal_engine.sensitivity.report import sensitivity_report
from src.causal_engine.spec import CausalSpec, Design, OutcomeKind
from src.causal_engine.study import Study
from src.causal_engine.wording import effect_unit, plain
from src.errors import ContractViolation, EstimationError

BRAND = "brand"
# Tests that must fit an estimator again on many rows stop here with fewer draws, which they report.
TESTING_S = 6.0


@dataclass(frozen=True)
class AskedStudy:
    """A causal question over rows, and how its effect is identified. ``frame`` has codes for unit and time."""

    frame: pd.DataFrame
    spec: CausalSpec
    identification: Identification

    @property
    def why_not(self) -> str:
        """Why there is no effect to speak of, in one line; empty where it is identified."""
        if self.identification.identified:
            return ""
        reasons = self.identification.reasons or ("nothing that is declared identifies it",)
        return (
            f"the effect of {plain(self.spec.treatment)} on {plain(self.spec.outcome)} is not identified: {reasons[0]}"
        )

    def study(self) -> Study:
        """The checked study. Raises StudyInvalid or TooFewRows."""
        return study_for(self.frame, self.spec, self.identification)

    def fitted(self) -> FittedStudy:
        """The study and its main estimate. Raises EstimationError where there is none, with the reason."""
        if self.why_not:
            raise EstimationError(self.why_not)
        study = self.study()
        fitted, failed = fit_primary(study, self.identification)
        if fitted is None:
            raise EstimationError(failed.message if failed else "no estimate could be made")
        return FittedStudy(study, fitted)


def ask(
    inputs: ToolInputs, treatment: str, outcome: str, *, lag: int | None = None, estimator: str | None = None
) -> AskedStudy:
    """The study of a tool's arguments on its rows.

    Raises DataUnavailable without rows, UnknownColumn for a column they do not have, EstimationError for an unknown
    estimator, ContractViolation for keys as treatment or outcome.
    """
    frame = rows_of(inputs)
    checked_columns(frame, (treatment, outcome))
    if estimator is not None:
        get_estimator(estimator)
    asked = Asked(
        treatment=treatment,
        outcome=outcome,
        lag=lag,
        estimator=estimator,
        random_state=inputs.context.random_state,
    )
    spec = spec_of(asked, declared_for(inputs.declared, treatment, outcome, None))
    _refuse_keys(spec, treatment, outcome)
    return question_on(_with_codes(frame, spec), asked, inputs.declared)


def asked_about(inputs: ToolInputs, measure: str) -> AskedStudy:
    """The rows with their keys, where only a measure and no cause is asked about; nothing is identified by it.

    Raises DataUnavailable without rows, UnknownColumn for a measure they do not have, ContractViolation for a key.
    """
    frame = rows_of(inputs)
    checked_columns(frame, (measure,))
    unit, time, cluster = (key if (key := inputs.declared.get(name)) in frame.columns else None for name in KEYS)
    spec = CausalSpec("", measure, unit_key=unit, time_key=time, cluster_key=cluster)
    _refuse_keys(spec, measure)
    return AskedStudy(_with_codes(frame, spec), spec, identify_declared(spec))


def question_on(frame: pd.DataFrame, asked: Asked, declared: Mapping[str, Any]) -> AskedStudy:
    """The question on some of the rows; what differs by brand holds where all of them are of that brand."""
    known = declared_for(declared, str(asked.treatment), str(asked.outcome), only_brand(frame))
    spec = spec_of(asked, known)
    return AskedStudy(frame, spec, identify(spec, [str(name) for name in frame.columns], graph_for(spec, known)))


def only_brand(frame: pd.DataFrame) -> str | None:
    """The brand of all rows, None where they differ or have none."""
    if BRAND not in frame.columns or frame.empty:
        return None
    first = frame[BRAND].iloc[0]
    return str(first) if (frame[BRAND] == first).all() else None


def evidence_of(asked: AskedStudy) -> tuple[Evidence, FittedStudy]:
    """Everything a verdict is drawn from: estimate, design diagnostics, refutation tests, sensitivity.

    The specification curve is computed where the verdict depends on it.
    """
    identification = asked.identification
    outcome, held = estimate_effect(
        asked.frame,
        asked.spec,
        identification,
        specifications=identification.design is Design.OBSERVATIONAL,
    )
    if held.fitted is None:
        return Evidence(asked.spec, identification, outcome), held
    refutation = refute(
        held.study,
        held.fitted,
        random_state=asked.spec.random_state,
        negative_controls=asked.spec.negative_controls,
        time_budget_s=TESTING_S,
    )
    sensitivity = sensitivity_report(held.study, held.fitted.estimate, identification.design)
    return Evidence(asked.spec, identification, outcome, refutation, sensitivity), held


def fitted_effect(held: FittedStudy) -> FittedEffect:
    """The main estimate of a fitted study."""
    if held.fitted is None:
        raise EstimationError("no estimate could be made")
    return held.fitted


def unit_of_effect(study: Study) -> str:
    """What one unit of the effect is, in words."""
    return effect_unit(study.spec, binary=study.is_binary, binary_outcome=study.outcome_kind is OutcomeKind.BINARY)


def n_units(frame: pd.DataFrame, spec: CausalSpec) -> int:
    """Whoever is to be protected: units of a panel, else rows."""
    return len(frame) if spec.unit_key is None else int(frame[spec.unit_key].nunique())


def units_in_words(unit_key: str | None) -> str:
    """The units of a key: ``hcp_id`` → "HCPs"; rows without one."""
    return "rows" if unit_key is None else several(plain(unit_key.removesuffix("_id")))


def periods_in_words(time_key: str | None) -> str:
    """The periods of a time key: ``month`` → "months"; "periods" without one."""
    return "periods" if time_key is None else several(plain(time_key))


def several(word: str) -> str:
    """The plural: "territory" → "territories"."""
    return f"{word[:-1]}ies" if word.endswith("y") else f"{word}s"


def row_in_words(unit_key: str | None, time_key: str | None) -> str:
    """What one row is: "HCP and month"; "row" without keys."""
    if unit_key is None:
        return "row"
    unit = plain(unit_key.removesuffix("_id"))
    return unit if time_key is None else f"{unit} and {plain(time_key)}"


def _refuse_keys(spec: CausalSpec, *names: str) -> None:
    for name in names:
        if name in (spec.unit_key, spec.time_key):
            raise ContractViolation(f"'{name}' says whose row it is, or of when; name a measured column")


def _with_codes(frame: pd.DataFrame, spec: CausalSpec) -> pd.DataFrame:
    """The rows in order of unit and period, with whole numbers for both.

    Texts and dates are read once, not by every estimate, and what is drawn does not depend on the order of the rows.
    """
    coded: dict[str, np.ndarray] = {}
    for key in dict.fromkeys(key for key in (spec.unit_key, spec.cluster_key) if key in frame.columns):
        codes, _ = pd.factorize(frame[key], sort=True)
        if (codes >= 0).all():
            coded[str(key)] = codes
    if spec.time_key is not None and spec.time_key in frame.columns:
        codes, periods = pd.factorize(frame[spec.time_key])
        if (codes >= 0).all():
            coded[spec.time_key] = calendar_steps(pd.Series(periods, name=spec.time_key))[codes]
    order = [coded[key] for key in (spec.time_key, spec.unit_key) if key is not None and key in coded]
    frame = frame.assign(**coded)
    return (frame.iloc[np.lexsort(order)] if order else frame).reset_index(drop=True)
