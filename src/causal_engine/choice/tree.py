"""The decision tree as data: which estimators a design offers, in which order, and what each demands.

``unfit`` says why an estimator cannot answer at all on these facts, ``behind`` why it is only shown
beside another one; None when nothing speaks against it. The first option with neither answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from src.causal_engine.choice.facts import Adoption, Facts
from src.causal_engine.spec import Design, Estimand
from src.causal_engine.study import MIN_PER_ARM
from src.domain.small_cells import counted
from src.errors import EstimationError, WeakInstrument

STRONG_F = 10.0
MIN_ROWS_PER_COLUMN = 10
_OWN_ORDER = (Estimand.ATT, Estimand.SATT, Estimand.SATE, Estimand.ATO)
Objection = Callable[[Facts], str | None]


def _nothing(_: Facts) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Option:
    """An estimator of a design. ``after``: refusals (of exactly these types) after which it may answer instead."""

    name: str
    because: str
    unfit: Objection = _nothing
    behind: Objection = _nothing
    after: tuple[type[EstimationError], ...] = ()


def _always(reason: str) -> Objection:
    return lambda _: reason


def _needs_arms(facts: Facts) -> str | None:
    return None if facts.binary else "it compares two arms; the treatment is not 0/1"


def _needs_columns(facts: Facts) -> str | None:
    return None if facts.columns else "nothing is adjusted for, so it would repeat the difference in means"


def _population_of_all(facts: Facts) -> str | None:
    return "it does not estimate the effect on the treated" if facts.estimand.on_treated else None


def _population_of_all_arms(facts: Facts) -> str | None:
    return _population_of_all(facts) if facts.binary else None


def _quantity(facts: Facts) -> str | None:
    return "two arms are compared directly" if facts.binary else None


def _many_adopters(facts: Facts) -> str | None:
    if facts.adopters >= MIN_PER_ARM:
        return None
    return f"{counted(facts.adopters)} units adopt; the errors of imputation need {MIN_PER_ARM}"


def _few_adopters(facts: Facts) -> str | None:
    return None if facts.adopters < MIN_PER_ARM else "enough units adopt for imputation, which needs no donor weights"


def _of_the_sample(facts: Facts) -> str | None:
    return None if facts.estimand.of_sample else "its interval is for the units in the data, which was not asked for"


def _enough_rows(facts: Facts) -> str | None:
    # Per column fewer rows than this, both nuisances must be shrunk so much that confounding is left in.
    if facts.n >= MIN_ROWS_PER_COLUMN * facts.columns or facts.estimand in _OWN_ORDER:
        return None
    return (
        f"{facts.rows_per_column:.1f} rows per column, fewer than {MIN_ROWS_PER_COLUMN}: flexible models would be "
        "shrunk so much that confounding is left in"
    )


def _first_of(*objections: Objection) -> Objection:
    return lambda facts: next((said for objection in objections if (said := objection(facts)) is not None), None)


def _strong(facts: Facts) -> str | None:
    if facts.first_stage_f is None or facts.first_stage_f >= STRONG_F:
        return None
    return f"weak instrument: first-stage F {facts.first_stage_f:.1f}, at least {STRONG_F:.0f} needed"


def _weak(facts: Facts) -> str | None:
    if facts.first_stage_f is not None and facts.first_stage_f < STRONG_F:
        return None
    return "the instrument is strong enough for two-stage least squares, whose interval is then as good and shorter"


def _longer(facts: Facts) -> str | None:
    return None if facts.periods > 3 else "with three periods or fewer there are no lags to follow"


OBSERVATIONAL = (
    Option("tmle", "it is doubly robust and its interval is that of the units in the data", _of_the_sample),
    Option(
        "aipw",
        "it is right when either the model of treatment or that of outcome is, and both are flexible",
        behind=_enough_rows,
    ),
    Option(
        "ols", "few rows per column leave a linear adjustment as the one that removes confounding", _population_of_all
    ),
    Option("lin", "linear, with effects that vary", _needs_arms),
    Option("ipw", "weighting alone", _needs_arms),
    Option("linear_dml", "one effect for everybody, flexible adjustment", _population_of_all),
)
ON_TREATED = tuple(OBSERVATIONAL[i] for i in (0, 1, 4, 3))
OVERLAP = (
    Option("aipw", "doubly robust, weighted to the units most alike"),
    Option("ipw", "weighting alone"),
)
DOSE = (
    Option("linear_dml", "it follows a treatment that is a quantity, with flexible adjustment"),
    Option("ols", "linear adjustment"),
)
RANDOMIZED = (
    Option("difference_in_means", "chance alone separates the arms; nothing needs to be modelled", _needs_arms),
    Option("lin", "sharpens the comparison by covariates", _first_of(_needs_arms, _needs_columns)),
    Option(
        "ols",
        "a treatment that is a quantity has no two arms to compare",
        _first_of(lambda facts: _needs_columns(facts) if facts.binary else None, _population_of_all_arms),
    ),
    Option("aipw", "sharpens the comparison flexibly", _first_of(_needs_arms, _needs_columns)),
    Option("linear_dml", "flexible adjustment", _quantity),
)
FEW_AT_RANDOM = (
    Option(
        "exact",
        "with so few in an arm no large-sample interval can be trusted; the assignments that might have been decide",
        _needs_arms,
    ),
    Option("ols", "a treatment that is a quantity has no two arms to compare", _quantity),
)
INSTRUMENT = (
    Option("iv_2sls", "the instrument moves the treatment strongly enough", _strong),
    Option(
        "anderson_rubin",
        "its confidence set holds however weak the instrument is",
        _weak,
        after=(WeakInstrument,),
    ),
    Option("ols", "what regression without the instrument would say", behind=_always("it does not use the instrument")),
)
DISCONTINUITY = (
    Option(
        "rdd",
        "treatment switches for everybody at the cutoff, and units just beside it are alike",
        lambda facts: None if facts.sharp else "treatment does not switch for everybody at the cutoff",
    ),
    Option(
        "fuzzy_rdd",
        "treatment becomes more likely at the cutoff, which serves as an instrument there",
        lambda facts: "treatment switches for everybody at the cutoff" if facts.sharp else None,
    ),
)
FRONT_DOOR = (
    Option("front_door", "all of the effect runs through measured mediators"),
    Option("ols", "what adjustment alone would say", behind=_always("nothing measured closes the back door")),
)
PANEL_LAGGED = (
    Option("distributed_lag", "it separates the lag asked for from its neighbours"),
    Option("twfe", "one lag alone", behind=_always("a single lag borrows from its neighbours")),
)
PANEL_STAGGERED = (
    Option(
        "imputation",
        "each unit's untreated course is imputed from rows not yet treated; no early adopter serves as a control",
        _many_adopters,
    ),
    Option(
        "synthetic_did",
        "with few adopters each is compared with a weighted average of units that moved like it before",
        _few_adopters,
    ),
    Option("ols", "pooled", behind=_always("units differ in what never changes")),
    Option(
        "twfe", "two-way fixed effects", _always("it would compare late adopters with early ones, with wrong weights")
    ),
    Option("did", "before and after one common date", _always("units adopt at different dates")),
)
PANEL_ADOPTED = (
    Option("did", "units that adopt are compared, before and after, with units that do not"),
    Option(
        "lagged_outcome",
        "adjusts for the past outcome",
        behind=_always("it assumes that past outcomes decide who adopts"),
    ),
    Option("twfe", "two-way fixed effects", behind=_always("it needs an effect that is the same at all times")),
    Option("ols", "pooled", behind=_always("units differ in what never changes")),
)
PANEL_MOVING = (
    Option("twfe", "units are compared with themselves over time, common shocks removed"),
    Option("distributed_lag", "with earlier periods beside", _longer, _always("no lag was asked for")),
    Option("ols", "pooled", behind=_always("units differ in what never changes")),
)

BY_ESTIMAND: Mapping[Estimand, tuple[Option, ...]] = MappingProxyType(
    {Estimand.SATT: ON_TREATED, Estimand.ATT: ON_TREATED, Estimand.ATO: OVERLAP}
)


def options_for(facts: Facts) -> tuple[Option, ...]:
    """The branch of the tree that the facts lead to, in order of preference."""
    match facts.design:
        case Design.RANDOMIZED:
            few = facts.smaller_arm is not None and facts.smaller_arm < MIN_PER_ARM
            return FEW_AT_RANDOM if few else RANDOMIZED
        case Design.INSTRUMENT:
            return INSTRUMENT
        case Design.DISCONTINUITY:
            return DISCONTINUITY
        case Design.FRONT_DOOR:
            return FRONT_DOOR
        case Design.PANEL:
            return _panel(facts)
    return BY_ESTIMAND.get(facts.estimand, OBSERVATIONAL) if facts.binary else DOSE


def _panel(facts: Facts) -> tuple[Option, ...]:
    if facts.lag:
        return PANEL_LAGGED
    if facts.adoption is Adoption.STAGGERED:
        return PANEL_STAGGERED
    return PANEL_MOVING if facts.adoption is Adoption.REPEATED else PANEL_ADOPTED
