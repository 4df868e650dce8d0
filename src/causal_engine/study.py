"""Is this frame an analysable study, and what are its arrays?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from src.causal_engine.spec import CausalSpec, OutcomeKind, TreatmentKind
from src.contracts.tables import PERSONAL_COLUMNS
from src.domain.small_cells import SMALLEST_CELL, counted
from src.errors import StudyInvalid, TooFewRows, UnknownColumn

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MIN_PER_ARM = 30
MIN_PER_ARM_EXACT = 5
MAX_LEVELS = 60
SENTINELS = (-999.0, -9999.0, 999999.0)


@dataclass(frozen=True)
class Study:
    """A checked frame with its question.

    ``frame`` keeps the caller's rows in the caller's order, restricted to the columns named; the
    treatment is numeric (0/1 when binary), the outcome float64, neither has missing values.
    """

    frame: pd.DataFrame
    spec: CausalSpec
    treatment_kind: TreatmentKind
    outcome_kind: OutcomeKind
    warnings: tuple[str, ...] = ()

    @property
    def n(self) -> int:
        """Rows."""
        return len(self.frame)

    @cached_property
    def t(self) -> FloatArray:
        """Treatment, shape (n,)."""
        return self.frame[self.spec.treatment].to_numpy(dtype=np.float64)

    @cached_property
    def y(self) -> FloatArray:
        """Outcome, shape (n,)."""
        return self.frame[self.spec.outcome].to_numpy(dtype=np.float64)

    @cached_property
    def clusters(self) -> IntArray | None:
        """Codes of the cluster (or, on panels, the unit) of each row, shape (n,), or None."""
        key = self.spec.cluster_key or self.spec.unit_key
        if key is None:
            return None
        codes, _ = pd.factorize(self.frame[key])
        return np.asarray(codes, dtype=np.int64)

    @cached_property
    def design(self) -> tuple[FloatArray, tuple[str, ...], tuple[str, ...]]:
        """Adjustment matrix (n, p), the name of each column and the source column it came from."""
        return encode(self.frame, tuple(dict.fromkeys((*self.spec.confounders, *self.spec.effect_modifiers))))

    @property
    def x(self) -> FloatArray:
        """Adjustment matrix, shape (n, p): numeric columns as they are, categories one-hot, no intercept."""
        return self.design[0]

    @property
    def is_binary(self) -> bool:
        """Whether the treatment is 0/1."""
        return self.treatment_kind is TreatmentKind.BINARY

    def with_spec(self, **changes: object) -> Study:
        """The same rows under a changed question (for example another adjustment set)."""
        return Study(self.frame, replace(self.spec, **changes), self.treatment_kind, self.outcome_kind, self.warnings)  # type: ignore[arg-type]

    def with_frame(self, frame: pd.DataFrame) -> Study:
        """The same question over other rows or altered columns (refutations)."""
        return Study(frame, self.spec, self.treatment_kind, self.outcome_kind, self.warnings)


def encode(frame: pd.DataFrame, columns: tuple[str, ...]) -> tuple[FloatArray, tuple[str, ...], tuple[str, ...]]:
    """Encode ``columns`` as a float matrix (n, p) without intercept.

    Numeric: as is, missing values set to the median with a 0/1 column ``name?missing`` beside.
    Others: one-hot without the first level (missing is a level of its own).
    Raises StudyInvalid for a text column with more than ``MAX_LEVELS`` levels.
    """
    blocks: list[FloatArray] = []
    names: list[str] = []
    sources: list[str] = []
    for column in columns:
        series = frame[column]
        if pd.api.types.is_numeric_dtype(series) or pd.api.types.is_bool_dtype(series):
            values = series.to_numpy(dtype=np.float64, na_value=np.nan)
            missing = ~np.isfinite(values)
            if missing.any():
                median = float(np.median(values[~missing])) if not missing.all() else 0.0
                values = np.where(missing, median, values)
                blocks.append(missing.astype(np.float64)[:, None])
                names.append(f"{column}?missing")
                sources.append(column)
            blocks.append(values[:, None])
            names.append(column)
            sources.append(column)
            continue
        labels = series.astype("object").where(series.notna(), "(missing)").astype(str)
        levels = sorted(labels.unique())
        if len(levels) > MAX_LEVELS:
            raise StudyInvalid(
                f"column '{column}' has {len(levels)} different text values and cannot be adjusted for as it is; "
                f"group it into at most {MAX_LEVELS} levels or leave it out"
            )
        for level in levels[1:]:
            blocks.append((labels == level).to_numpy(dtype=np.float64)[:, None])
            names.append(f"{column}={level}")
            sources.append(column)
    matrix = np.hstack(blocks) if blocks else np.empty((len(frame), 0))
    return np.ascontiguousarray(matrix), tuple(names), tuple(sources)


def prepare_study(frame: pd.DataFrame, spec: CausalSpec) -> Study:
    """Check ``frame`` against ``spec`` and return the study.

    Raises UnknownColumn, StudyInvalid (constant or missing treatment or outcome, text outcome,
    duplicate panel keys, roles that contradict one another) or TooFewRows. Nothing is imputed in
    treatment or outcome.
    """
    for column in spec.columns:
        if column not in frame.columns:
            raise UnknownColumn(column, list(frame.columns), role=_role_of(column, spec))
    _check_roles(spec)
    if frame.empty:
        raise TooFewRows("no rows are left; loosen the filters or check their values")
    data = frame.loc[:, list(spec.columns)].reset_index(drop=True)
    warnings: list[str] = []
    data = select_arms(data, spec)
    data[spec.treatment], treatment_kind = _numeric_treatment(data[spec.treatment], spec)
    data[spec.outcome] = _numeric_outcome(data[spec.outcome], spec)
    for column in spec.columns:
        _refuse_sentinels(data[column])
    for column in (*spec.confounders, *spec.effect_modifiers):
        warnings.extend(_missing_warnings(data[column]))
    _check_clusters(data, spec)
    if spec.is_panel:
        _check_panel(data, spec)
    _check_running_variable(data, spec)
    _check_size(data, spec, treatment_kind)
    return Study(data, spec, treatment_kind, _outcome_kind(data[spec.outcome]), tuple(warnings))


def _role_of(column: str, spec: CausalSpec) -> str:
    roles = {
        "treatment": (spec.treatment,),
        "outcome": (spec.outcome,),
        "confounder": spec.confounders,
        "effect modifier": spec.effect_modifiers,
        "instrument": spec.instruments,
        "mediator": spec.mediators,
        "negative control": spec.negative_controls,
    }
    return next((role for role, names in roles.items() if column in names), "key")


def _check_roles(spec: CausalSpec) -> None:
    if spec.treatment == spec.outcome:
        raise StudyInvalid(f"'{spec.treatment}' cannot be both treatment and outcome")
    others = {
        "confounders": spec.confounders,
        "effect modifiers": spec.effect_modifiers,
        "instruments": spec.instruments,
        "mediators": spec.mediators,
        "negative controls": spec.negative_controls,
        "panel keys": tuple(key for key in (spec.unit_key, spec.time_key) if key),
    }
    for role, names in others.items():
        for special, what in ((spec.treatment, "treatment"), (spec.outcome, "outcome")):
            if special in names:
                raise StudyInvalid(f"the {what} '{special}' is also among the {role}; name it once")
    both = set(spec.instruments) & set(spec.confounders)
    if both:
        raise StudyInvalid(f"'{min(both)}' is named as instrument and as confounder; it can be only one")


def select_arms(data: pd.DataFrame, spec: CausalSpec) -> pd.DataFrame:
    """Rows of the two arms named by ``treated_value`` and ``control_value``, treatment as 1/0; all rows without them.

    Raises UnknownColumn or StudyInvalid when an arm is missing.
    """
    if spec.treated_value is None and spec.control_value is None:
        return data
    if spec.treatment not in data.columns:
        raise UnknownColumn(spec.treatment, list(data.columns), role="treatment")
    if spec.treated_value is None or spec.control_value is None:
        raise StudyInvalid("name both arms: the treated value and the control value")
    labels = data[spec.treatment].astype(str)
    for value in (spec.treated_value, spec.control_value):
        if not (labels == value).any():
            levels = _quotable(data[spec.treatment], spec)[:8]
            known = f"; there is: {', '.join(levels)}" if levels else ""
            raise StudyInvalid(f"treatment '{spec.treatment}' has no value '{value}'{known}")
    kept = labels.isin([spec.treated_value, spec.control_value])
    data = data.loc[kept].reset_index(drop=True)
    return data.assign(**{spec.treatment: (data[spec.treatment].astype(str) == spec.treated_value).astype(np.float64)})


def _numeric_treatment(series: pd.Series, spec: CausalSpec) -> tuple[pd.Series, TreatmentKind]:
    name = spec.treatment
    if series.isna().any():
        raise StudyInvalid(
            f"treatment '{name}' is missing in {int(series.isna().sum())} rows; remove or complete those rows first"
        )
    levels = series.unique()
    if len(levels) < 2:
        held = _quotable(series, spec)
        only = f" ({held[0]})" if held else ""
        raise StudyInvalid(f"treatment '{name}' is constant{only}; without variation there is no effect to find")
    if not (pd.api.types.is_numeric_dtype(series) or pd.api.types.is_bool_dtype(series)):
        held = _quotable(series, spec)[:6]
        shown = f" ({', '.join(held)})" if held else ""
        raise StudyInvalid(
            f"treatment '{name}' is text with {len(levels)} values{shown}; name the two arms to compare "
            "(--treated VALUE --control VALUE)"
        )
    values = series.astype(np.float64)
    if not np.isfinite(values.to_numpy()).all():
        raise StudyInvalid(f"treatment '{name}' has infinite values")
    if len(levels) == 2:
        low = float(values.min())
        return (values > low).astype(np.float64), TreatmentKind.BINARY
    return values, TreatmentKind.CONTINUOUS


def _quotable(series: pd.Series, spec: CausalSpec) -> list[str]:
    """The values of a column that a message may repeat: those of groups, never those of single persons."""
    if series.name in {spec.unit_key, spec.cluster_key, *PERSONAL_COLUMNS}:
        return []
    counts = series.astype("object").astype(str).value_counts()
    return [f"'{value[:30]}'" for value in sorted(counts.index[counts >= SMALLEST_CELL])]


def _numeric_outcome(series: pd.Series, spec: CausalSpec) -> pd.Series:
    name = spec.outcome
    if not (pd.api.types.is_numeric_dtype(series) or pd.api.types.is_bool_dtype(series)):
        held = _quotable(series.dropna(), spec)[:1]
        example = f" (for example {held[0]})" if held else ""
        raise StudyInvalid(f"outcome '{name}' is not numeric{example}; name a numeric or 0/1 column")
    if series.isna().any():
        raise StudyInvalid(
            f"outcome '{name}' is missing in {int(series.isna().sum())} rows; remove or complete those rows first"
        )
    values = series.astype(np.float64)
    if not np.isfinite(values.to_numpy()).all():
        raise StudyInvalid(f"outcome '{name}' has infinite values")
    if values.nunique() < 2:
        raise StudyInvalid(f"outcome '{name}' is constant; there is nothing to explain")
    return values


def _outcome_kind(values: pd.Series) -> OutcomeKind:
    array = values.to_numpy(dtype=np.float64)
    if set(np.unique(array)) <= {0.0, 1.0}:
        return OutcomeKind.BINARY
    if (array >= 0).all() and (array == np.round(array)).all():
        return OutcomeKind.COUNT
    return OutcomeKind.CONTINUOUS


def _refuse_sentinels(series: pd.Series) -> None:
    """Refuse -999 and its like where the other values lie far away: it stands for "missing"."""
    if not pd.api.types.is_numeric_dtype(series):
        return
    values = series.to_numpy(dtype=np.float64, na_value=np.nan)
    for sentinel in SENTINELS:
        others = values[np.isfinite(values) & (values != sentinel)]
        count = int(np.count_nonzero(values == sentinel))
        if count and len(others) and np.abs(others - sentinel).min() > np.ptp(others):
            raise StudyInvalid(
                f"column '{series.name}' holds {sentinel:g} in {count} rows, far from all other values; it seems to "
                "stand for 'missing': leave those cells empty, or remove the rows"
            )


def _missing_warnings(series: pd.Series) -> list[str]:
    missing = int(series.isna().sum())
    if not missing:
        return []
    return [
        f"'{series.name}' is missing in {missing:,} of {len(series):,} rows; a level of its own stands for 'missing', "
        "which adjusts fully only if missingness itself tells what matters"
    ]


def _check_clusters(data: pd.DataFrame, spec: CausalSpec) -> None:
    for key in (spec.cluster_key, spec.second_cluster_key):
        if key is not None and (missing := int(data[key].isna().sum())):
            raise StudyInvalid(
                f"cluster column '{key}' is missing in {missing} rows; say to which cluster they belong, or remove them"
            )


def _check_panel(data: pd.DataFrame, spec: CausalSpec) -> None:
    keys = [str(spec.unit_key), str(spec.time_key)]
    duplicated = data.duplicated(keys)
    if duplicated.any():
        period = data.loc[duplicated, keys[1]].iloc[0]
        raise StudyInvalid(
            f"the panel has {int(duplicated.sum())} duplicate ({keys[0]}, {keys[1]}) keys, "
            f"the first at {period}; keep one row per unit and period"
        )
    if data[keys[1]].nunique() < 2:
        raise StudyInvalid(f"time key '{keys[1]}' has a single period; a panel needs at least two")
    if data[keys[0]].nunique() < 2:
        raise StudyInvalid(f"unit key '{keys[0]}' has a single unit; a panel needs at least two")


def _check_running_variable(data: pd.DataFrame, spec: CausalSpec) -> None:
    name, cutoff = spec.running_variable, spec.cutoff
    if name is None and cutoff is None:
        return
    if name is None or cutoff is None:
        missing = "--running-variable COLUMN" if name is None else "--cutoff NUMBER"
        raise StudyInvalid(f"a regression discontinuity needs a running variable and its cutoff; name also {missing}")
    if name in (spec.treatment, spec.outcome):
        raise StudyInvalid(f"the running variable '{name}' is also the treatment or the outcome; name another column")
    series = data[name]
    if not pd.api.types.is_numeric_dtype(series) or pd.api.types.is_bool_dtype(series):
        raise StudyInvalid(f"running variable '{name}' is not numeric; name the number that the cutoff is about")
    if not np.isfinite(series.to_numpy(dtype=np.float64, na_value=np.nan)).all():
        raise StudyInvalid(f"running variable '{name}' is missing in some rows; remove or complete those rows first")
    if not series.min() < cutoff <= series.max():
        raise StudyInvalid(f"all rows of '{name}' lie on one side of {cutoff:g}; name a cutoff within its range")


def _check_size(data: pd.DataFrame, spec: CausalSpec, kind: TreatmentKind) -> None:
    if kind is TreatmentKind.BINARY:
        treated = int(data[spec.treatment].sum())
        smaller = min(treated, len(data) - treated)
        least = MIN_PER_ARM_EXACT if _may_be_exact(spec) else MIN_PER_ARM
        if smaller < least:
            raise TooFewRows(
                f"the smaller arm has {counted(smaller)} rows; this design needs at least {least} treated and {least} "
                "untreated"
            )
    elif len(data) < 2 * MIN_PER_ARM:
        raise TooFewRows(f"the data has {len(data)} rows; this design needs at least {2 * MIN_PER_ARM}")


def _may_be_exact(spec: CausalSpec) -> bool:
    """Whether exact inference for a randomised treatment may answer, which needs few rows only."""
    return spec.randomized and not spec.is_panel and spec.estimator in (None, "exact")
