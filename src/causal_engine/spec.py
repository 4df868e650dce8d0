"""What is asked of the data: treatment, outcome, roles of the other columns, estimand."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class TreatmentKind(StrEnum):
    BINARY = "binary"
    CONTINUOUS = "continuous"


class OutcomeKind(StrEnum):
    BINARY = "binary"
    CONTINUOUS = "continuous"
    COUNT = "count"


class Estimand(StrEnum):
    """Whose effect is averaged.

    SATE and SATT (Imbens 2004, sec. II.A) are the effects on the units, or the treated units, in the
    data: the mean of E[Y(1) − Y(0) | X] over them. ATE and ATT are those of the population the units
    were drawn from, with intervals that also hold for another sample. ATO weights each unit by
    e(1 − e), most where treatment was least predictable (Li, Morgan & Zaslavsky 2018). LATE:
    compliers of an instrument; WITHIN: change within units of a panel; AT_CUTOFF: units at the cutoff
    of a running variable.
    """

    ATE = "ATE"
    ATT = "ATT"
    SATE = "SATE"
    SATT = "SATT"
    ATO = "ATO"
    ATE_TRIMMED = "ATE_trimmed"
    LATE = "LATE"
    WITHIN = "WITHIN"
    LAG = "LAG"
    AT_CUTOFF = "RD"

    @property
    def on_treated(self) -> bool:
        """Whether treated units only are averaged over."""
        return self in (Estimand.ATT, Estimand.SATT)

    @property
    def of_sample(self) -> bool:
        """Whether the units in the data are all that the answer is about."""
        return self in (Estimand.SATE, Estimand.SATT)

    @property
    def of_population(self) -> Estimand:
        """The same average over the population: ATE for SATE, ATT for SATT, else itself."""
        return {Estimand.SATE: Estimand.ATE, Estimand.SATT: Estimand.ATT}.get(self, self)


class Design(StrEnum):
    """Why a difference may be read as an effect."""

    RANDOMIZED = "randomized"
    OBSERVATIONAL = "observational"
    INSTRUMENT = "instrument"
    PANEL = "panel"
    FRONT_DOOR = "front_door"
    DISCONTINUITY = "discontinuity"


@dataclass(frozen=True, slots=True)
class CausalSpec:
    """One causal question over one frame; column names refer to that frame.

    ``confounders`` are what the analyst says must be adjusted for; a ``graph`` (see
    ``identification``) replaces them by the adjustment set it implies before estimation.
    ``bad_controls`` are columns known to be measured after the
    treatment. ``lag`` is the number of periods between treatment and outcome on a panel.
    ``running_variable`` is the column whose ``cutoff`` decides who is treated (regression discontinuity).
    ``second_cluster_key`` adds a second way of clustering. With ``heterogeneity`` the effects of single
    units are estimated, tested and turned into a policy; with ``mediation`` the effect is split into
    what runs through ``mediators`` and what does not. ``cost_per_unit`` of treatment and ``value_per_outcome``
    are in one currency and only turn heterogeneity into decisions.
    """

    treatment: str
    outcome: str
    confounders: tuple[str, ...] = ()
    effect_modifiers: tuple[str, ...] = ()
    instruments: tuple[str, ...] = ()
    mediators: tuple[str, ...] = ()
    negative_controls: tuple[str, ...] = ()
    unit_key: str | None = None
    time_key: str | None = None
    cluster_key: str | None = None
    lag: int = 0
    estimand: Estimand = Estimand.ATE
    randomized: bool = False
    treated_value: str | None = None
    control_value: str | None = None
    trim: bool = False
    minimum_effect: float | None = None
    estimator: str | None = None
    random_state: int = 20_260_101
    bad_controls: tuple[str, ...] = field(default=())
    running_variable: str | None = None
    cutoff: float | None = None
    second_cluster_key: str | None = None
    heterogeneity: bool = False
    mediation: bool = False
    cost_per_unit: float | None = None
    value_per_outcome: float | None = None

    @property
    def is_panel(self) -> bool:
        """Whether units repeat over time."""
        return self.unit_key is not None and self.time_key is not None

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column the question names, each once, in a stable order."""
        named = (
            self.treatment,
            self.outcome,
            *self.confounders,
            *self.effect_modifiers,
            *self.instruments,
            *self.mediators,
            *self.negative_controls,
            *(key for key in (self.running_variable, *self._keys) if key),
        )
        return tuple(dict.fromkeys(named))

    @property
    def _keys(self) -> tuple[str | None, ...]:
        return self.unit_key, self.time_key, self.cluster_key, self.second_cluster_key
