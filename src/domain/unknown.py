"""Does a question name something that does not exist in the data?"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from rapidfuzz import process
from rapidfuzz.distance import OSA

from src.domain.direction import EFFECT_VERBS
from src.domain.matching import Match
from src.domain.reading import Reading, normalise
from src.domain.vocabulary import Kind, Role, Vocabulary
from src.errors import QuestionNotUnderstood, nearest_names

_REGION_LEADS = {"in", "across", "within", "throughout"}
_TREATMENT_LEADS = {"of", "do", "does", "did", "can", "will", "would", "could", "is", "are"}
_NAME_LEADS = {"of", "for", "with", "to"}
_SPECIALTY_ENDINGS = ("ist", "ists", "ians", "logy", "surgeons")
_SHOWN = 40

FOREIGN_SLOTS = frozenset({"brand", "region", "specialty", "filter"})


@dataclass(frozen=True, slots=True)
class UnknownPhrase:
    """Words nobody declared; ``slot`` says what they seem to name, None when it cannot be told."""

    text: str
    slot: str | None
    named: bool


def refuse_foreign_names(reading: Reading, vocabulary: Vocabulary, slots: Collection[str] = FOREIGN_SLOTS) -> None:
    """Raise QuestionNotUnderstood for a brand, region, specialty or filter of ``slots`` known not to be in the data."""
    foreign = vocabulary.foreign
    groups = (
        ("brand", foreign.brands),
        ("region", foreign.regions),
        ("specialty", foreign.specialties),
        ("filter", foreign.filters),
    )
    for slot, names in ((slot, names) for slot, names in groups if slot in slots):
        known = {normalise(name) for name in names}
        for at in reading.free():
            pair = f"{reading.norm(at)} {reading.norm(at + 1)}"
            if pair in known and reading.is_free(at + 1):
                raise _refusal(UnknownPhrase(reading.take([at, at + 1]).text, slot, named=True), vocabulary)
            if reading.norm(at) in known:
                raise _refusal(UnknownPhrase(reading.words[at].raw, slot, named=True), vocabulary)


def unknown_phrases(reading: Reading, vocabulary: Vocabulary, matches: Sequence[Match]) -> list[UnknownPhrase]:
    """Runs of free content words of which at least one is unknown, ordinary typing errors excepted."""
    function = set(vocabulary.words.function)
    ordinary = function.union(vocabulary.words.common, vocabulary.words.neutral)
    separating = function | EFFECT_VERBS
    phrases, run = [], list[int]()
    for at in range(len(reading.words) + 1):
        if reading.is_free(at) and reading.norm(at) not in separating:
            run.append(at)
            continue
        if any(not _is_ordinary(reading, i, ordinary) for i in run):
            phrases.append(_phrase(reading, run, vocabulary, matches, ordinary))
        run = []
    return phrases


def refuse(phrase: UnknownPhrase, vocabulary: Vocabulary) -> None:
    """Raise QuestionNotUnderstood naming the phrase and the nearest names of its slot."""
    raise _refusal(phrase, vocabulary)


def _is_ordinary(reading: Reading, at: int, ordinary: set[str]) -> bool:
    """A declared word, a plain number or a typing error of a declared word ("efect", "teh")."""
    word = reading.words[at]
    if word.norm in ordinary or (word.norm.isdigit() and len(word.norm) < 4):
        return True
    if word.named or len(word.norm) < 3:
        return False
    near = process.extract(word.norm, ordinary, scorer=OSA.distance, score_cutoff=1, limit=None)
    return any(len(word.norm) >= 5 or sorted(name) == sorted(word.norm) for name, _, _ in near)


def _phrase(
    reading: Reading, run: list[int], vocabulary: Vocabulary, matches: Sequence[Match], ordinary: set[str]
) -> UnknownPhrase:
    names = [reading.words[i].raw for i in run if reading.words[i].named and reading.norm(i) not in ordinary]
    text = " ".join(names or [reading.words[i].raw for i in run])
    return UnknownPhrase(text, _slot(reading, run, vocabulary, matches), bool(names))


def _slot(reading: Reading, run: list[int], vocabulary: Vocabulary, matches: Sequence[Match]) -> str | None:
    """What the words seem to name, from the word before them and the outcome beside them."""
    lead = reading.norm(run[0] - 1)
    if lead in {"the", "our", "a", "an", "all", "this"}:
        lead = reading.norm(run[0] - 2)
    measures = [match for match in matches if match.kind is Kind.MEASURE]
    outcomes = [match for match in measures if vocabulary.measure(match.canonical).role is not Role.TREATMENT]
    acts = any(vocabulary.measure(match.canonical).role is not Role.OUTCOME for match in measures)
    if reading.norm(run[-1]).endswith(_SPECIALTY_ENDINGS):
        return "specialty"
    if lead in _REGION_LEADS:
        return "region or period"
    if any(match.position == run[-1] + 1 for match in outcomes):
        return "brand"
    if not outcomes and (lead in {"on", "upon"} or lead in EFFECT_VERBS):
        return "outcome"
    if not acts and outcomes and run[-1] < outcomes[0].position and lead in _TREATMENT_LEADS:
        return "treatment"
    if lead in _NAME_LEADS and outcomes:
        return "brand"
    return None


def _refusal(phrase: UnknownPhrase, vocabulary: Vocabulary) -> QuestionNotUnderstood:
    text = phrase.text if len(phrase.text) <= _SHOWN else f"{phrase.text[:_SHOWN]}…"
    if phrase.slot == "filter":
        return QuestionNotUnderstood(f"a question cannot select by '{text}'; brand, region, specialty and period can")
    kind = phrase.slot or "brand, measure or other name"
    near = nearest_names(text, _names(phrase, vocabulary))
    return QuestionNotUnderstood(f"'{text}' is not {'an' if kind[0] in 'aeiou' else 'a'} {kind} in the data; {near}")


def _names(phrase: UnknownPhrase, vocabulary: Vocabulary) -> list[str]:
    brands = [term.canonical for term in vocabulary.brands if term.spoken]
    regions = [term.canonical for term in vocabulary.regions]
    specialties = [term.canonical for term in vocabulary.specialties]
    measures = [measure.label for measure in vocabulary.measures]
    outcomes = [measure.label for measure in vocabulary.measures if measure.role is not Role.TREATMENT]
    kpi_names = [max(term.synonyms, key=len) for term in vocabulary.kpis]
    treatments = [measure.label for measure in vocabulary.measures if measure.role is not Role.OUTCOME]
    choices = {
        "treatment": treatments,
        "brand": brands,
        "region": regions,
        "region or period": regions,
        "specialty": specialties,
        "outcome": [*outcomes, *kpi_names],
    }
    return choices.get(phrase.slot or "", [*brands, *measures, *regions, *specialties, *kpi_names])
