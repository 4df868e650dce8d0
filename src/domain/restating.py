"""How is what was understood said as a question that is understood the same way?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from src.domain.period import Period
from src.domain.question import Understood
from src.domain.reading import normalise
from src.domain.vocabulary import Kind, Vocabulary


def effect_question(readings: Sequence[Understood], vocabulary: Vocabulary) -> str:
    """One question for the effects of ``readings``: every combination of what they name."""
    first = readings[0]
    treatments = _joined(spoken_measure(one.treatment, vocabulary) for one in readings if one.treatment)
    outcomes = _joined(spoken_measure(one.outcome, vocabulary) for one in readings if one.outcome)
    parts = [f"What is the effect of {treatments} on {outcomes}"]
    for lead, names in (
        ("of", (one.brand for one in readings)),
        ("in the", (one.region and one.region.title() for one in readings)),
        ("among", (one.specialty and f"{one.specialty} HCPs" for one in readings)),
    ):
        if joined := _joined(name for name in names if name):
            parts.append(f"{lead} {joined}")
    if periods := _joined(spoken_period(one.period) for one in readings if one.period):
        parts.append(periods)
    if first.lag is not None:
        parts.append(
            "in the same month" if first.lag == 0 else f"{first.lag} month{'' if first.lag == 1 else 's'} later"
        )
    return " ".join(parts) + "?"


def spoken_measure(column: str, vocabulary: Vocabulary) -> str:
    """A name of a panel column that is read as that column: its label where the label is one of its names."""
    measure = next(one for one in vocabulary.measures if one.column == column)
    short = measure.label.partition(" (")[0]
    known = {normalise(phrase) for phrase in measure.phrases}
    return short if normalise(short) in known else measure.canonical.replace("_", " ")


def spoken_period(period: Period) -> str:
    """A period so that it is read as the same one."""
    if period.since_launch or period.start is None or period.end is None:
        return str(period)
    return f"from {period}"


def spoken(kind: Kind, canonical: str, vocabulary: Vocabulary) -> str:
    """A known name with the preposition it stands with in a question."""
    if kind is Kind.MEASURE:
        return f"for {spoken_measure(vocabulary.measure(canonical).column, vocabulary)}"
    if kind is Kind.REGION:
        return f"in the {canonical.title()}"
    if kind is Kind.SPECIALTY:
        return f"among {canonical} HCPs"
    return f"for {canonical}"


def _joined(names: Iterable[str]) -> str:
    *most, last = [*dict.fromkeys(names)] or [""]
    return f"{', '.join(most)} and {last}" if most else last
