"""What was found about the neighbourhood of a cutoff: frozen values, JSON-safe."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bin:
    """Mean outcome of the units in one interval of the running variable; ``middle`` is that of the interval."""

    middle: float
    mean_outcome: float
    share_treated: float
    n: int


@dataclass(frozen=True, slots=True)
class CovariateJump:
    """Jump of a column settled before the treatment; a cutoff that decides nothing else leaves none."""

    covariate: str
    value: float
    std_error: float
    p_value: float


@dataclass(frozen=True, slots=True)
class DiscontinuityReport:
    """Design facts of a regression discontinuity.

    ``density_*``: density of the running variable just left and right, None where too few units lie
    near. ``sharp``: treatment switches for everybody.
    """

    running_variable: str
    cutoff: float
    bandwidth: float
    n_left: int
    n_right: int
    sharp: bool
    density_left: float | None
    density_right: float | None
    density_p_value: float | None
    covariates: tuple[CovariateJump, ...]
    bins: tuple[Bin, ...]
