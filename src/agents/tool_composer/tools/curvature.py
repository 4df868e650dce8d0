"""Does another unit of a treatment bring less where there is already more of it?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from src.agents.tool_composer.tools.studies import AskedStudy
from src.causal_engine.estimators.fixed_effects import within_regression
from src.causal_engine.estimators.inference import interval
from src.causal_engine.estimators.panel_data import panel_of, shifted
from src.causal_engine.results import Interval
from src.causal_engine.spec import Design
from src.errors import EstimationError


@dataclass(frozen=True, slots=True)
class Curvature:
    """Outcome ~ linear · t + squared · t², units and periods held fixed, with the 95 % interval of ``squared``.

    ``mean_level`` is the mean treatment per row.
    """

    linear: float
    squared: float
    ci: Interval
    mean_level: float

    @property
    def diminishing(self) -> bool:
        """Whether returns fall beyond chance."""
        return self.ci.upper < 0

    def marginal(self, level: float) -> float:
        """What one more unit brings where there are ``level`` units per row."""
        return self.linear + 2 * self.squared * level


def curvature_of(asked: AskedStudy) -> Curvature | None:
    """The curvature on a panel; None for other designs, 0/1 treatments, and where it cannot be estimated."""
    if not asked.identification.identified or asked.identification.design is not Design.PANEL:
        return None
    study = asked.study()
    if study.is_binary or len(np.unique(study.t)) < 3:
        return None
    panel = panel_of(study)
    treatment = shifted(study.t, panel, -study.spec.lag) if study.spec.lag else study.t
    try:
        fit, rows, _ = within_regression(study, panel, np.column_stack([treatment, treatment**2]))
    except EstimationError:
        return None
    squared = float(fit.coefficients[1])
    return Curvature(
        linear=float(fit.coefficients[0]),
        squared=squared,
        ci=interval(squared, fit.uncertainty(1)),
        mean_level=float(treatment[rows].mean()),
    )
