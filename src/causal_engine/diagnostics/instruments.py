"""Is there a sign that an instrument reaches the outcome by another way than the treatment?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy.special import chdtrc

from src.causal_engine.estimators.inference import fit_linear, independent_columns
from src.causal_engine.study import FloatArray, Study, encode
from src.errors import EstimationError

LEVEL = 0.01
LEAST_SHARE = 0.02
LEAST_ROWS = 50
MOST_LEVELS = 12


def instrument_doubts(study: Study, *, conditional: bool) -> tuple[str, ...]:
    """What speaks against the instruments of ``study``, in words; empty when nothing does.

    ``conditional``: a causal graph says that the instruments are valid only given the confounders, so
    that going with these is no surprise.
    """
    found = [] if conditional else list(_with_confounders(study))
    return (*found, *_where_it_cannot_treat(study))


def _with_confounders(study: Study) -> Iterator[str]:
    """Instruments that measured confounders explain: at least 2 % of the variance, p < .01 over the instruments.

    Lagrange-multiplier test, n·R² ~ χ² (Wooldridge 2010, section 4.2.3). An instrument as good as random
    goes with nothing settled before it, measured or not.
    """
    x = study.x[:, independent_columns(study.x)]
    if not x.shape[1]:
        return
    instruments, names, _ = encode(study.frame, study.spec.instruments)
    for position, name in enumerate(names):
        share = _explained(x, instruments[:, position])
        p_value = float(chdtrc(x.shape[1], study.n * share))
        if share >= LEAST_SHARE and p_value < LEVEL / len(names):
            yield (
                f"the instrument '{name}' goes with the measured confounders, which explain {share:.0%} of it: what "
                "decides the instrument may reach the outcome by other ways"
            )


def _explained(x: FloatArray, values: FloatArray) -> float:
    centred, target = x - x.mean(axis=0), values - values.mean()
    total = float(target @ target)
    if total == 0:
        return 0.0
    fitted = centred @ np.linalg.lstsq(centred, target, rcond=None)[0]
    return float(fitted @ fitted) / total


def _where_it_cannot_treat(study: Study) -> Iterator[str]:
    """Groups of units whose treatment never varies, in which the instrument goes with the outcome all the same.

    Where nobody can be treated, an instrument that works through the treatment alone shows nothing (the
    zero-first-stage test; Bound & Jaeger 2000, van Kippersluis & Rietveld 2018). p < .01 over the groups.
    """
    groups = list(_untreatable(study))
    for column, level, rows in groups:
        p_value = _reduced_form_p_value(study, rows)
        if p_value is not None and p_value < LEVEL / len(groups):
            yield (
                f"the instrument goes with '{study.spec.outcome}' where '{column}' is {level}, though nobody's "
                f"'{study.spec.treatment}' varies there (p = {p_value:.2g}): it reaches the outcome by another way"
            )


def _untreatable(study: Study) -> Iterator[tuple[str, str, np.ndarray]]:
    for column in dict.fromkeys((*study.spec.confounders, *study.spec.effect_modifiers)):
        codes, levels = pd.factorize(study.frame[column])
        if len(levels) > MOST_LEVELS:
            continue
        for code, level in enumerate(levels):
            rows = codes == code
            if int(rows.sum()) >= LEAST_ROWS and np.ptp(study.t[rows]) == 0:
                yield column, str(level), rows


def _reduced_form_p_value(study: Study, rows: np.ndarray) -> float | None:
    instruments = encode(study.frame, study.spec.instruments)[0][rows]
    instruments = instruments[:, independent_columns(instruments)]
    controls = study.x[rows]
    joined = np.column_stack([instruments, controls])
    kept = independent_columns(joined)
    tested = int((kept < instruments.shape[1]).sum())
    if not tested:
        return None
    design = np.column_stack([joined[:, kept], np.ones(len(joined))])
    clusters = None if study.clusters is None else np.unique(study.clusters[rows], return_inverse=True)[1]
    try:
        fit = fit_linear(study.y[rows], design, clusters)
    except EstimationError:
        return None  # too few rows or clusters in this group to say anything
    first = fit.coefficients[:tested]
    return float(chdtrc(tested, first @ np.linalg.pinv(fit.covariance[:tested, :tested]) @ first))
