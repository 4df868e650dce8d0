"""Which effect does a question in plain words ask for, over which rows?"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date

from src.domain.direction import is_reversed
from src.domain.intent import Classification, classify
from src.domain.matching import Match, find_names
from src.domain.period import Period, months_ahead, take_lag, take_periods
from src.domain.reading import Reading
from src.domain.unknown import FOREIGN_SLOTS, refuse, refuse_foreign_names, unknown_phrases
from src.domain.vocabulary import Intent, Kind, Measure, Role, Vocabulary
from src.errors import QuestionNotUnderstood, nearest_names

MOST_READINGS = 6
WORDS_UNUSED = "the words"
"""How an assumption begins that tells which words of the question were set aside."""
NO_BRAND = "no brand was named"
"""How an assumption begins that stands in for the name of a brand."""

_SURE = 0.7
_WORDS_UNUSED = 0.6
_ON_THE_PANEL = frozenset(
    {
        *(Intent.PERFORMANCE_GAP, Intent.SEGMENT_ANALYSIS, Intent.EXPERIMENT_DESIGN, Intent.PREDICTION),
        *(Intent.RESOURCE_ALLOCATION, Intent.DRIFT_CHECK, Intent.MULTI_FACETED),
    }
)
"""Kinds of question that are computed on rows, which may be grouped by any of their columns."""
_NOT_ON_THE_DATA = frozenset({Intent.SYSTEM_HEALTH, Intent.FEEDBACK, Intent.EXPLANATION})


@dataclass(frozen=True, slots=True)
class Understood:
    """What a question asks. ``treatment`` and ``outcome`` are panel columns, both always set when
    ``intent`` is causal_effect and None otherwise; ``brand`` None means all brands together.

    ``lag`` is in months, None when the question names none. ``direction_pushed`` tells that the
    wording asks for a wanted answer, which changes nothing else. ``measures`` are the panel columns named, in the
    order of the question, and ``kpis`` the ids of KPIs; ``horizon`` is how many months ahead a question that is not
    of an effect looks.
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
    measures: tuple[str, ...] = ()
    kpis: tuple[str, ...] = ()
    horizon: int | None = None

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
    """The question leaves something open: what to ask back, and the names to choose from.

    ``missing`` is what is open (treatment, outcome, measure, brand, region, specialty, period, direction, exclusion,
    fewer), ``phrase`` the words that leave it open, empty where there are none.
    """

    question_back: str
    options: tuple[str, ...]
    missing: str = ""
    phrase: str = ""


class _AskBack(Exception):
    def __init__(self, question_back: str, options: Sequence[str], missing: str, phrase: str = "") -> None:
        self.clarification = ClarificationNeeded(question_back, tuple(options), missing, phrase)
        super().__init__(question_back)


def understand(
    question: str, vocabulary: Vocabulary, *, today: date, available_brands: Collection[str] | None = None
) -> Understood | ClarificationNeeded:
    """Read a question; say what it asks, or what to ask back.

    ``today`` anchors "last year" and "last quarter". ``available_brands`` are the brands the data
    hold. Raises QuestionNotUnderstood, one line, for text that is no question and for a brand,
    region, specialty or KPI that does not exist, naming the nearest ones.
    """
    found = understand_each(question, vocabulary, today=today, available_brands=available_brands, most=1)
    return found if isinstance(found, ClarificationNeeded) else found[0]


def understand_each(
    question: str,
    vocabulary: Vocabulary,
    *,
    today: date,
    available_brands: Collection[str] | None = None,
    most: int = MOST_READINGS,
    intent: Intent | None = None,
    settle: bool = False,
) -> tuple[Understood, ...] | ClarificationNeeded:
    """Like ``understand`` for a question that may name several treatments, outcomes, brands, regions or periods.

    One reading for each combination, never more than ``most``. A question for what drives an outcome is one about
    every treatment that the data hold. ``intent`` is the kind of question where it is already known. With ``settle``
    what is open is assumed where a sensible guess exists, and the reading says so; the rest is still asked back.
    """
    reading = Reading(question)
    classified = classify(question, vocabulary) if intent is None else _told(intent, vocabulary)
    try:
        parse = _Parse(reading, vocabulary, classified, today, available_brands, most, settle)
        return parse.readings(causal=None if intent is None else intent is Intent.CAUSAL_EFFECT)
    except _AskBack as open_question:
        return open_question.clarification


def _told(intent: Intent, vocabulary: Vocabulary) -> Classification:
    return Classification(intent, 1.0, vocabulary.intents[intent].agents)


class _Parse:
    """One pass over one question: takes words out of the reading until only the unknown is left."""

    def __init__(
        self,
        reading: Reading,
        vocabulary: Vocabulary,
        classified: Classification,
        today: date,
        available_brands: Collection[str] | None,
        most: int,
        settle: bool,
    ) -> None:
        self.reading, self.vocabulary, self.classified = reading, vocabulary, classified
        self.available_brands, self.today, self.most, self.settle = available_brands, today, most, settle
        self.text = " ".join(word.norm for word in reading.words)
        self.pushed = take_any(reading, vocabulary.pressure, every=True) is not None
        take_any(reading, (*vocabulary.idioms, *vocabulary.manner), every=True)
        self.excluded = take_any(reading, vocabulary.exclusions)
        self.horizon = months_ahead(reading)
        self.lag = take_lag(reading)
        self.periods = take_periods(reading, today)
        self.matches = find_names(reading, vocabulary)
        self.assumptions: list[str] = []
        refuse_foreign_names(reading, vocabulary, self._foreign_slots())
        self.unknown = unknown_phrases(reading, vocabulary, self.matches)

    def _foreign_slots(self) -> frozenset[str]:
        """Documents may speak of anything, rows be grouped by any column; else only what the data hold can be asked."""
        if self.classified.confidence < _SURE or self.classified.intent is Intent.CAUSAL_EFFECT:
            return FOREIGN_SLOTS
        if self.classified.intent in _NOT_ON_THE_DATA:
            return frozenset()
        if self.classified.intent is Intent.GENERAL and matches_any(self.vocabulary.documents, self.text):
            return frozenset()
        return FOREIGN_SLOTS - {"filter"} if self.classified.intent in _ON_THE_PANEL else FOREIGN_SLOTS

    def readings(self, causal: bool | None = None) -> tuple[Understood, ...]:
        """Fill the slots, or raise what is missing; ``causal`` where the kind of question is already known."""
        if not (self._is_causal() if causal is None else causal):
            return (self._other_kind(),)
        self._ask_exclusion()
        self._refuse_unknown()
        brands = self._brands()
        regions, specialties = self._several(Kind.REGION), self._several(Kind.SPECIALTY)
        periods = self._periods()
        treatments, outcomes = self._slots()
        if brands == [None]:
            self.assumptions.append(f"{NO_BRAND}: all brands together")
        combined = list(itertools.product(treatments, outcomes, brands, regions, specialties, periods))
        self._ask_fewer(
            len(combined),
            [one.label for one in treatments],
            [one.label for one in outcomes],
            *([str(name) for name in names if name] for names in (brands, regions, specialties, periods)),
        )
        return tuple(self._effect(*one) for one in combined)

    def _ask_fewer(self, wanted: int, *several: Sequence[str]) -> None:
        """Offer what the most names stand for: choosing one of them leaves the fewest effects."""
        limit = max(self.most, len(self._all_treatments()) if self._asks_for_drivers() else 0)
        if wanted > limit:
            raise _AskBack(
                f"The question asks for {wanted} effects at once, and at most {limit} are answered together; "
                "which of them first?",
                max(several, key=len),
                "fewer",
            )

    def _effect(
        self,
        treatment: Measure,
        outcome: Measure,
        brand: str | None,
        region: str | None,
        specialty: str | None,
        period: Period | None,
    ) -> Understood:
        return Understood(
            intent=Intent.CAUSAL_EFFECT,
            treatment=treatment.column,
            outcome=outcome.column,
            brand=brand,
            region=region,
            specialty=specialty,
            period=period,
            lag=self.lag,
            direction_pushed=self.pushed,
            confidence=self._confidence(causal=True),
            matched=tuple(self.matches),
            assumptions=tuple(self.assumptions),
            treatment_label=treatment.label,
            outcome_label=outcome.label,
            measures=(treatment.column, outcome.column),
            kpis=self._kpis(),
        )

    def _other_kind(self) -> Understood:
        """The names of a question that is not of an effect; one of several brands or regions is left to its reader."""
        on_rows = self.classified.intent in _ON_THE_PANEL
        if on_rows:
            self._ask_exclusion()
        brands = self._named_brands()
        return Understood(
            intent=self.classified.intent,
            treatment=None,
            outcome=None,
            brand=self._available(brands[0] if len(brands) == 1 else None),
            region=self._single(Kind.REGION),
            specialty=self._single(Kind.SPECIALTY),
            period=self._single_period(on_rows),
            lag=None,
            direction_pushed=self.pushed,
            confidence=self._confidence(causal=False),
            matched=tuple(self.matches),
            assumptions=tuple(self.assumptions),
            measures=self._columns(),
            kpis=self._kpis(),
            horizon=self.horizon,
        )

    def _columns(self) -> tuple[str, ...]:
        named = [match for match in self.matches if match.kind is Kind.MEASURE and not match.alternatives]
        return tuple(dict.fromkeys(self.vocabulary.measure(match.canonical).column for match in named))

    def _kpis(self) -> tuple[str, ...]:
        return tuple(match.canonical for match in self._all(Kind.KPI))

    def _single(self, kind: Kind) -> str | None:
        found = self._all(kind)
        return found[0].canonical if len(found) == 1 else None

    def _single_period(self, on_rows: bool) -> Period | None:
        if on_rows:
            self._ask_year()
        found = [period for period in self.periods if isinstance(period, Period)]
        return found[0] if len(found) == 1 else None

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
            raise _AskBack(
                f"'{self.excluded}' leaves something out; what should be included instead?",
                (),
                "exclusion",
                self.excluded,
            )

    def _refuse_unknown(self) -> None:
        """An unknown name is refused; a stray ordinary word is set aside aloud when all slots are filled."""
        complete = bool(self._measures(Role.TREATMENT) and self._measures(Role.OUTCOME) and self._all(Kind.BRAND))
        for phrase in self.unknown:
            if phrase.slot or phrase.named or not complete:
                refuse(phrase, self.vocabulary)
            self.assumptions.append(f"{WORDS_UNUSED} '{phrase.text}' were not used")

    def _all(self, kind: Kind) -> list[Match]:
        firsts = {match.canonical: match for match in reversed(self.matches) if match.kind is kind}
        return sorted(firsts.values(), key=lambda match: match.position)

    def _several(self, kind: Kind) -> list[str | None]:
        found = [match.canonical for match in self._all(kind)]
        self._ask_one(str(kind), found, found)
        return [*found] or [None]

    def _ask_one(self, kind: str, names: Sequence[str], options: Sequence[str]) -> None:
        if len(names) > 1 and self.most == 1:
            raise _AskBack(f"One {kind} at a time: which of {' and '.join(names)} do you mean?", options, kind)

    def _brands(self) -> list[str | None]:
        found = self._named_brands()
        self._ask_one("brand", found, found)
        wanted: list[str | None] = [*found] or [None]
        return [self._available(brand) for brand in wanted]

    def _named_brands(self) -> list[str]:
        named = dict.fromkeys(match.canonical for match in self._all(Kind.BRAND))
        for kind in (Kind.DRUG, Kind.INDICATION):
            for match in self._all(kind):
                self._add_brand_of(match, named)
        return list(named)

    def _add_brand_of(self, match: Match, named: dict[str, None]) -> None:
        terms = self.vocabulary.drugs if match.kind is Kind.DRUG else self.vocabulary.indications
        brand = next(term.brand for term in terms if term.canonical == match.canonical)
        if brand not in named:
            self.assumptions.append(f"'{match.text}' read as the brand {brand}")
            named[brand] = None

    def _available(self, brand: str | None) -> str | None:
        if self.available_brands is None:
            return brand
        available = sorted(self.available_brands)
        if brand is not None and brand not in available:
            raise QuestionNotUnderstood(f"brand '{brand}' is not in the data; {nearest_names(brand, available)}")
        if brand is None and len(available) == 1:
            self.assumptions.append(f"{NO_BRAND}: the data hold {available[0]} only")
            return available[0]
        return brand

    def _periods(self) -> list[Period | None]:
        self._ask_year()
        found = [period for period in self.periods if isinstance(period, Period)]
        texts = [str(period) for period in found]
        self._ask_one("period", texts, texts)
        return [*found] or [None]

    def _ask_year(self) -> None:
        for at, period in enumerate(self.periods):
            if isinstance(period, Period):
                continue
            latest = period.latest(self.today) if self.settle else None
            if latest is None:
                text = period.text.capitalize()
                raise _AskBack(f"Which year do you mean by '{text}'?", (), "period", period.text)
            self.assumptions.append(f"'{period.text.capitalize()}' read as {latest}")
            self.periods[at] = latest

    def _measures(self, role: Role) -> list[Match]:
        return [
            match
            for match in self._all(Kind.MEASURE)
            if self.vocabulary.measure(match.canonical).role in {role, Role.BOTH}
        ]

    def _slots(self) -> tuple[list[Measure], list[Measure]]:
        """Treatments and outcomes; a measure that can be either takes the side left open."""
        self._settle_ambiguous()
        treatments, outcomes = self._measures(Role.TREATMENT), self._measures(Role.OUTCOME)
        both = [match for match in treatments if match in outcomes]
        if len(outcomes) > len(both):
            outcomes = [match for match in outcomes if match not in both]
        elif len(treatments) > len(both):
            treatments = [match for match in treatments if match not in both]
        elif both:
            outcomes = []
        effects, causes = self._outcomes(outcomes), self._treatments(treatments)
        if treatments and outcomes and is_reversed(self.reading, treatments[0].position, outcomes[0].position):
            self._ask_direction(causes[0], effects[0])
        return [measure for measure in causes if measure not in effects], effects

    def _outcomes(self, found: list[Match]) -> list[Measure]:
        for match in found:
            if match.assumed:
                label = self.vocabulary.measure(match.canonical).label
                self.assumptions.append(f"'{match.text}' read as {label}")
        if found:
            return self._chosen(found, Role.OUTCOME)
        if kpis := self._all(Kind.KPI):
            question = f"'{kpis[0].text}' is a KPI, not a monthly measure per HCP; which outcome instead?"
        else:
            question = "What should the effect be on? The question names no outcome."
        if self.settle:
            usual = next(measure for measure in self.vocabulary.measures if measure.role is Role.OUTCOME)
            self.assumptions.append(f"no outcome was named: {usual.label} taken")
            return [usual]
        raise _AskBack(question, self._offered(Role.OUTCOME), "outcome", kpis[0].text if kpis else "")

    def _treatments(self, found: list[Match]) -> list[Measure]:
        if found:
            return self._chosen(found, Role.TREATMENT)
        if self.most > 1 and (self.settle or self._asks_for_drivers()):
            everything = self._all_treatments()
            self.assumptions.append(
                f"no treatment was named: each of the {len(everything)} that the data hold was examined by itself"
            )
            return everything
        question = "The effect of what? The question names no treatment."
        raise _AskBack(question, self._offered(Role.TREATMENT), "treatment")

    def _asks_for_drivers(self) -> bool:
        return self.settle or matches_any(self.vocabulary.drivers, self.text)

    def _all_treatments(self) -> list[Measure]:
        outcomes = {match.canonical for match in self._measures(Role.OUTCOME)}
        return [
            measure
            for measure in self.vocabulary.measures
            if measure.role in {Role.TREATMENT, Role.BOTH} and measure.canonical not in outcomes
        ]

    def _offered(self, role: Role) -> list[str]:
        return [measure.label for measure in self.vocabulary.measures if measure.role in {role, Role.BOTH}]

    def _settle_ambiguous(self) -> None:
        """A phrase that several measures share is asked back; settled, it is read as the first of them."""
        for match in self.matches:
            if not match.alternatives:
                continue
            if not self.settle:
                labels = [self.vocabulary.measure(name).label for name in match.alternatives]
                raise _AskBack(
                    f"'{match.text}' can mean several things: which one do you mean?", labels, "measure", match.text
                )
            label = self.vocabulary.measure(match.canonical).label
            self.assumptions.append(f"'{match.text}' read as {label}")

    def _chosen(self, found: list[Match], role: Role) -> list[Measure]:
        measures = [self.vocabulary.measure(match.canonical) for match in found]
        labels = [measure.label for measure in measures]
        self._ask_one(str(role), labels, labels)
        return measures

    def _ask_direction(self, treatment: Measure, outcome: Measure) -> None:
        first, second = treatment.label, outcome.label
        if self.settle:
            self.assumptions.append(f"only the effect of {first} on {second} can be answered")
            return
        raise _AskBack(
            f"The question asks for the effect of {second} on {first}; only the effect of {first} on {second} "
            "can be answered. Do you mean that?",
            (f"effect of {first} on {second}",),
            "direction",
        )


def matches_any(patterns: Sequence[str], text: str) -> bool:
    """Whether a pattern of the vocabulary stands in a normalised text."""
    return any(re.search(rf"\b(?:{pattern})\b", text) for pattern in patterns)


def take_any(reading: Reading, patterns: Sequence[str], *, every: bool = False) -> str | None:
    """Take the first match of any pattern, or one of ``every`` pattern; its words as typed, None where none matched."""
    taken: str | None = None
    for pattern in patterns:
        hit = reading.search(re.compile(rf"\b(?:{pattern})\b"), reading.free())
        if hit:
            taken = reading.take(hit[1]).text
            if not every:
                return taken
    return taken
