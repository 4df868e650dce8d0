"""Which effect does a question in plain words ask for, over which rows?"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date

from src.domain.direction import is_reversed
from src.domain.intent import Classification, classify
from src.domain.matching import Match, find_names
from src.domain.period import MissingYear, Period, take_lag, take_periods
from src.domain.reading import Reading
from src.domain.unknown import refuse, refuse_foreign_names, unknown_phrases
from src.domain.vocabulary import Intent, Kind, Measure, Role, Vocabulary
from src.errors import QuestionNotUnderstood, nearest_names

_SURE = 0.7
_WORDS_UNUSED = 0.6


@dataclass(frozen=True, slots=True)
class Understood:
    """What a question asks. ``treatment`` and ``outcome`` are panel columns, both always set when
    ``intent`` is causal_effect and None otherwise; ``brand`` None means all brands together.

    ``lag`` is in months, None when the question names none. ``direction_pushed`` tells that the
    wording asks for a wanted answer, which changes nothing else.
    """

    intent: Intent
    treatment: str | None
    outcome: str | None
    brand: str | None
    region: str | None
    specialty: str | None
    period: Period | None
    lag: int | None
    direction_pushed: bool
    confidence: float
    matched: tuple[Match, ...]
    assumptions: tuple[str, ...]
    treatment_label: str = ""
    outcome_label: str = ""

    def sentence(self) -> str:
        """One plain sentence that says back what was understood."""
        if self.treatment is None:
            about = f" about {self.brand}" if self.brand else ""
            parts = [f"I understood: a question of the kind '{self.intent.replace('_', ' ')}'{about}"]
        else:
            brand = self.brand or "all brands together"
            parts = [f"I understood: effect of {self.treatment_label} on {self.outcome_label} of {brand}"]
        parts.append(f" in the {self.region.title()}" if self.region else "")
        parts.append(f" among {self.specialty} HCPs" if self.specialty else "")
        parts.append(f", {self.lag} month{'' if self.lag == 1 else 's'} later" if self.lag else "")
        parts.append(", in the same month" if self.lag == 0 else "")
        parts.append(f", {self.period}" if self.period else "")
        return "".join(parts) + "."


@dataclass(frozen=True, slots=True)
class ClarificationNeeded:
    """The question leaves something open: what to ask back, and the names to choose from."""

    question_back: str
    options: tuple[str, ...]


class _AskBack(Exception):
    def __init__(self, question_back: str, options: Sequence[str]) -> None:
        self.clarification = ClarificationNeeded(question_back, tuple(options))
        super().__init__(question_back)


def understand(
    question: str, vocabulary: Vocabulary, *, today: date, available_brands: Collection[str] | None = None
) -> Understood | ClarificationNeeded:
    """Read a question; say what it asks, or what to ask back.

    ``today`` anchors "last year" and "last quarter". ``available_brands`` are the brands the data
    hold. Raises QuestionNotUnderstood, one line, for text that is no question and for a brand,
    region, specialty or KPI that does not exist, naming the nearest ones.
    """
    reading = Reading(question)
    classified = classify(question, vocabulary)
    try:
        return _Parse(reading, vocabulary, classified, today, available_brands).understood()
    except _AskBack as open_question:
        return open_question.clarification


class _Parse:
    """One pass over one question: takes words out of the reading until only the unknown is left."""

    def __init__(
        self,
        reading: Reading,
        vocabulary: Vocabulary,
        classified: Classification,
        today: date,
        available_brands: Collection[str] | None,
    ) -> None:
        self.reading, self.vocabulary, self.classified = reading, vocabulary, classified
        self.available_brands = available_brands
        self.pushed = _take_pressure(reading, vocabulary)
        self.excluded = _take_exclusion(reading, vocabulary)
        self.lag = take_lag(reading)
        self.periods = take_periods(reading, today)
        self.matches = find_names(reading, vocabulary)
        self.assumptions: list[str] = []
        refuse_foreign_names(reading, vocabulary)
        self.unknown = unknown_phrases(reading, vocabulary, self.matches)

    def understood(self) -> Understood:
        """Fill the slots, or raise what is missing."""
        causal = self._is_causal()
        if causal:
            self._ask_exclusion()
            self._refuse_unknown()
        brand = self._brand()
        region, specialty = self._one(Kind.REGION), self._one(Kind.SPECIALTY)
        period = self._period()
        treatment, outcome = self._slots() if causal else (None, None)
        if treatment and brand is None:
            self.assumptions.append("no brand was named: all brands together")
        return Understood(
            intent=Intent.CAUSAL_EFFECT if causal else self.classified.intent,
            treatment=treatment.column if treatment else None,
            outcome=outcome.column if outcome else None,
            brand=brand,
            region=region,
            specialty=specialty,
            period=period,
            lag=self.lag if causal else None,
            direction_pushed=self.pushed,
            confidence=self._confidence(causal),
            matched=tuple(self.matches),
            assumptions=tuple(self.assumptions),
            treatment_label=treatment.label if treatment else "",
            outcome_label=outcome.label if outcome else "",
        )

    def _confidence(self, causal: bool) -> float:
        """That of the least certain reading: a guess at a name, words set aside, or the kind of question."""
        kind = 1.0 if causal else self.classified.confidence
        return min([kind, *(match.score for match in self.matches), *(_WORDS_UNUSED for _ in self.unknown)])

    def _is_causal(self) -> bool:
        """A causal pattern, or both sides of an effect named and no other kind of answer asked for."""
        intent, sure = self.classified.intent, self.classified.confidence >= _SURE
        if intent is Intent.CAUSAL_EFFECT:
            return True
        names_both = bool(self._measures(Role.TREATMENT)) and bool(self._measures(Role.OUTCOME))
        if names_both:
            return not sure or intent in {Intent.GENERAL, Intent.FEEDBACK}
        if sure:
            return False
        if not self.matches:
            if self.unknown:
                refuse(self.unknown[0], self.vocabulary)
            raise QuestionNotUnderstood(
                "the question names no measure; name one that acts and one it acts on, "
                'for example "effect of rep calls on new prescriptions of Kisqali"'
            )
        return True

    def _ask_exclusion(self) -> None:
        if self.excluded:
            raise _AskBack(f"'{self.excluded}' leaves something out; what should be included instead?", ())

    def _refuse_unknown(self) -> None:
        """An unknown name is refused; a stray ordinary word is set aside aloud when all slots are filled."""
        complete = bool(self._measures(Role.TREATMENT) and self._measures(Role.OUTCOME) and self._all(Kind.BRAND))
        for phrase in self.unknown:
            if phrase.slot or phrase.named or not complete:
                refuse(phrase, self.vocabulary)
            self.assumptions.append(f"the words '{phrase.text}' were not used")

    def _all(self, kind: Kind) -> list[Match]:
        firsts = {match.canonical: match for match in reversed(self.matches) if match.kind is kind}
        return sorted(firsts.values(), key=lambda match: match.position)

    def _one(self, kind: Kind) -> str | None:
        found = [match.canonical for match in self._all(kind)]
        if len(found) > 1:
            raise _AskBack(f"One {kind} at a time: which of {' and '.join(found)} do you mean?", found)
        return found[0] if found else None

    def _brand(self) -> str | None:
        named = dict.fromkeys(match.canonical for match in self._all(Kind.BRAND))
        for kind in (Kind.DRUG, Kind.INDICATION):
            for match in self._all(kind):
                self._add_brand_of(match, named)
        found = list(named)
        if len(found) > 1:
            raise _AskBack(f"One brand at a time: which of {' and '.join(found)} do you mean?", found)
        if self.available_brands is None:
            return found[0] if found else None
        return self._available(found[0] if found else None, sorted(self.available_brands))

    def _add_brand_of(self, match: Match, named: dict[str, None]) -> None:
        terms = self.vocabulary.drugs if match.kind is Kind.DRUG else self.vocabulary.indications
        brand = next(term.brand for term in terms if term.canonical == match.canonical)
        if brand not in named:
            self.assumptions.append(f"'{match.text}' read as the brand {brand}")
            named[brand] = None

    def _available(self, brand: str | None, available: list[str]) -> str | None:
        if brand is not None and brand not in available:
            raise QuestionNotUnderstood(f"brand '{brand}' is not in the data; {nearest_names(brand, available)}")
        if brand is None and len(available) == 1:
            self.assumptions.append(f"no brand was named: the data hold {available[0]} only")
            return available[0]
        return brand

    def _period(self) -> Period | None:
        for period in self.periods:
            if isinstance(period, MissingYear):
                raise _AskBack(f"Which year do you mean by '{period.text.capitalize()}'?", ())
        if len(self.periods) > 1:
            texts = [str(period) for period in self.periods]
            raise _AskBack(f"One period at a time: which of {' and '.join(texts)} do you mean?", texts)
        return self.periods[0] if self.periods and isinstance(self.periods[0], Period) else None

    def _measures(self, role: Role) -> list[Match]:
        return [
            match
            for match in self._all(Kind.MEASURE)
            if self.vocabulary.measure(match.canonical).role in {role, Role.BOTH}
        ]

    def _slots(self) -> tuple[Measure, Measure]:
        """Treatment and outcome; a measure that can be either takes the side left open."""
        self._settle_ambiguous()
        treatments, outcomes = self._measures(Role.TREATMENT), self._measures(Role.OUTCOME)
        both = [match for match in treatments if match in outcomes]
        if len(outcomes) > len(both):
            outcomes = [match for match in outcomes if match not in both]
        elif len(treatments) > len(both):
            treatments = [match for match in treatments if match not in both]
        elif both:
            outcomes = []
        outcome = self._chosen(outcomes, Role.OUTCOME)
        treatment = self._chosen(treatments, Role.TREATMENT)
        if is_reversed(self.reading, treatment.position, outcome.position):
            self._ask_direction(treatment, outcome)
        if outcome.assumed:
            label = self.vocabulary.measure(outcome.canonical).label
            self.assumptions.append(f"'{outcome.text}' read as {label}")
        return self.vocabulary.measure(treatment.canonical), self.vocabulary.measure(outcome.canonical)

    def _settle_ambiguous(self) -> None:
        for match in self.matches:
            if match.alternatives:
                labels = [self.vocabulary.measure(name).label for name in match.alternatives]
                raise _AskBack(f"'{match.text}' can mean several things: which one do you mean?", labels)

    def _chosen(self, found: list[Match], role: Role) -> Match:
        labels = [self.vocabulary.measure(match.canonical).label for match in found]
        if len(found) > 1:
            raise _AskBack(f"One {role} at a time: which of {' and '.join(labels)} do you mean?", labels)
        if found:
            return found[0]
        offered = [measure.label for measure in self.vocabulary.measures if measure.role in {role, Role.BOTH}]
        kpis = self._all(Kind.KPI)
        if role is Role.OUTCOME and kpis:
            raise _AskBack(f"'{kpis[0].text}' is a KPI, not a monthly measure per HCP; which outcome instead?", offered)
        wanted = "What should the effect be on?" if role is Role.OUTCOME else "The effect of what?"
        raise _AskBack(f"{wanted} The question names no {role}.", offered)

    def _ask_direction(self, treatment: Match, outcome: Match) -> None:
        first, second = (self.vocabulary.measure(match.canonical).label for match in (treatment, outcome))
        raise _AskBack(
            f"The question asks for the effect of {second} on {first}; only the effect of {first} on {second} "
            "can be answered. Do you mean that?",
            (f"effect of {first} on {second}",),
        )


def _take_pressure(reading: Reading, vocabulary: Vocabulary) -> bool:
    pushed = False
    for pattern in vocabulary.pressure:
        hit = reading.search(re.compile(rf"\b(?:{pattern})\b"), reading.free())
        if hit:
            reading.take(hit[1])
            pushed = True
    return pushed


def _take_exclusion(reading: Reading, vocabulary: Vocabulary) -> str | None:
    for pattern in vocabulary.exclusions:
        hit = reading.search(re.compile(rf"\b(?:{pattern})\b"), reading.free())
        if hit:
            return reading.take(hit[1]).text
    return None
