"""Does the cutoff decide who is treated, and nothing else?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from src.causal_engine.diagnostics.density import density_test
from src.causal_engine.diagnostics.discontinuity_report import Bin, CovariateJump, DiscontinuityReport
from src.causal_engine.estimators.discontinuity import Cut, cut_of, jump_at, jump_uncertainty, switch_direction
from src.causal_engine.estimators.inference import p_value
from src.causal_engine.results import EffectEstimate
from src.causal_engine.study import FloatArray, Study
from src.domain.small_cells import SMALLEST_CELL

BINS_PER_SIDE = 10
SPAN = 2.0


def discontinuity_report(study: Study, estimate: EffectEstimate | None) -> DiscontinuityReport | None:
    """Density at the cutoff, jumps of the study's confounders and modifiers, and binned means.

    None when the study has no two sides. Bins lie within twice the bandwidth (all units without an
    estimate), cells of fewer than 11 units are left out.
    """
    cut = cut_of(study)
    distance = study.frame[str(study.spec.running_variable)].to_numpy(dtype=np.float64) - float(
        study.spec.cutoff or 0.0
    )
    density = density_test(distance)
    widths = dict(estimate.diagnostics) if estimate is not None else {}
    bandwidth = widths.get("bandwidth", float(np.abs(distance).max()))
    return DiscontinuityReport(
        running_variable=str(study.spec.running_variable),
        cutoff=float(study.spec.cutoff or 0.0),
        bandwidth=bandwidth,
        n_left=int(widths.get("n_left", len(cut.left.x))),
        n_right=int(widths.get("n_right", len(cut.right.x))),
        sharp=switch_direction(study) != 0,
        density_left=density.left if density else None,
        density_right=density.right if density else None,
        density_p_value=density.p_value if density else None,
        covariates=covariate_jumps(study, cut),
        bins=tuple(_bins(study, distance, SPAN * bandwidth)),
    )


def covariate_jumps(study: Study, cut: Cut) -> tuple[CovariateJump, ...]:
    """Bias-corrected jump at the cutoff of every encoded confounder and effect modifier, each at its own bandwidth."""
    matrix, names, sources = study.design
    found = []
    for position, name in enumerate(names):
        values = matrix[:, position]
        if sources[position] == study.spec.running_variable or not _varies(values, cut):
            continue
        jump = jump_at(cut, values[:, None])
        error = jump_uncertainty(jump.influence[:, 0], cut)
        if error.std_error > 0:
            value = float(jump.value[0])
            found.append(CovariateJump(name, value, error.std_error, p_value(value, error)))
    return tuple(found)


def _varies(values: FloatArray, cut: Cut) -> bool:
    return all(values[side.rows].std() > 0 for side in (cut.left, cut.right))


def _bins(study: Study, distance: FloatArray, span: float) -> Iterator[Bin]:
    """Equal intervals on either side, none of them across the cutoff."""
    width = span / BINS_PER_SIDE
    code = np.floor(distance / width).astype(np.int64)
    for bin_code in range(-BINS_PER_SIDE, BINS_PER_SIDE):
        rows = code == bin_code
        n = int(rows.sum())
        if n >= SMALLEST_CELL:
            middle = float(study.spec.cutoff or 0.0) + (bin_code + 0.5) * width
            yield Bin(middle, float(study.y[rows].mean()), float(study.t[rows].mean()), n)
