"""Does the vocabulary cover the contract, refuse what it does not know, and match in bounded time?"""

from __future__ import annotations

import re
import time
from collections import Counter
from enum import StrEnum
from pathlib import Path

import pytest
import yaml

from src.contracts.enums import AgentName, Brand, Region, Specialty, Vendor
from src.domain.kpis import load_kpis
from src.domain.reading import normalise
from src.domain.vocabulary import VOCABULARY_FILE, Intent, Kind, Role, load_vocabulary
from src.errors import ConfigError

PANEL_MEASURES = {"rep_calls", "email_opens", "samples", "speaker_programs", "trigger_delivered", "trx", "nrx", "nbrx"}


@pytest.mark.parametrize(
    ("kind", "names"),
    [(Kind.BRAND, Brand), (Kind.REGION, Region), (Kind.SPECIALTY, Specialty), (Kind.VENDOR, Vendor)],
)
def test_canonical_names_are_those_of_the_contract(kind: Kind, names: type[StrEnum]) -> None:
    assert {term.canonical for term in load_vocabulary().terms(kind)} == {str(name) for name in names}


def test_every_kpi_has_a_spoken_name() -> None:
    terms = load_vocabulary().kpis
    assert [term.canonical for term in terms] == [kpi.id for kpi in load_kpis()]
    assert all(term.synonyms for term in terms)


def test_measures_are_columns_of_the_panel_and_name_existing_kpis() -> None:
    measures = load_vocabulary().measures
    assert {measure.column for measure in measures} >= PANEL_MEASURES
    assert {measure.kpi for measure in measures if measure.kpi} <= {kpi.id for kpi in load_kpis()}
    assert {measure.column for measure in measures if measure.role is Role.TREATMENT}.isdisjoint({"trx", "nrx", "nbrx"})


def test_drugs_and_indications_lead_to_brands() -> None:
    vocabulary = load_vocabulary()
    assert {term.brand for term in (*vocabulary.drugs, *vocabulary.indications)} <= set(map(str, Brand))


def test_every_intent_is_served_by_known_agents() -> None:
    intents = load_vocabulary().intents
    assert set(intents) == set(Intent)
    assert {agent for rule in intents.values() for agent in rule.agents} <= set(map(str, AgentName))


def test_no_phrase_belongs_to_two_things_of_one_kind_unless_it_is_asked_back() -> None:
    vocabulary = load_vocabulary()
    for kind in Kind:
        phrases = Counter(p for term in vocabulary.terms(kind) for p in {normalise(name) for name in term.phrases})
        shared = {phrase for phrase, count in phrases.items() if count > 1}
        assert shared == ({"engagement", "touchpoints", "promotion"} if kind is Kind.MEASURE else set())


def test_no_foreign_name_is_also_one_of_ours() -> None:
    vocabulary = load_vocabulary()
    ours = {normalise(name) for kind in Kind for term in vocabulary.terms(kind) for name in term.phrases}
    assert ours.isdisjoint(normalise(name) for name in vocabulary.foreign.words)


def test_words_that_name_nothing_are_not_names() -> None:
    vocabulary = load_vocabulary()
    names = {
        normalise(p) for kind in (Kind.BRAND, Kind.REGION) for term in vocabulary.terms(kind) for p in term.phrases
    }
    assert names.isdisjoint((*vocabulary.words.common, *vocabulary.words.function))


def test_every_pattern_ends_quickly_on_a_hostile_question() -> None:
    vocabulary = load_vocabulary()
    patterns = [p for kind in Kind for term in vocabulary.terms(kind) for p in term.patterns]
    patterns += [p for rule in vocabulary.intents.values() for p in rule.patterns]
    patterns += [*vocabulary.pressure, *vocabulary.exclusions, *vocabulary.idioms, *vocabulary.manner]
    patterns += [*vocabulary.drivers, *vocabulary.comparisons, *vocabulary.documents, *vocabulary.topics]
    patterns += [p for names in vocabulary.audiences.values() for p in names]
    follow_ups = vocabulary.follow_ups
    patterns += [*follow_ups.leads, *follow_ups.about_the_answer, *follow_ups.agree]
    patterns += [p for widening in follow_ups.widen.values() for p in widening]
    hostile = ["a " * 1_000, "do " * 660, "which " * 333, "we need it to be " * 117, "rep our " * 250, "effect " * 285]
    for pattern in patterns:
        started = time.process_time()
        for text in hostile:
            re.search(rf"\b(?:{pattern})\b", text)
        assert time.process_time() - started < 0.25, pattern


@pytest.mark.parametrize("pattern", ["(a+)+b", "(?:a|b)*c", "x.*y", "(ab){2,}", "(unclosed"])
def test_unsafe_pattern_is_refused(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(ConfigError, match="pressure"):
        load_vocabulary(changed(tmp_path, pressure=[pattern]))


@pytest.mark.parametrize(
    "path", [("surprise",), ("measures", 0, "colour"), ("intents", "general", "weight"), ("words", "x")]
)
def test_unknown_key_is_refused_by_name(tmp_path: Path, path: tuple[str | int, ...]) -> None:
    content = yaml.safe_load(VOCABULARY_FILE.read_text("utf-8"))
    inner = content
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = "x"
    file = tmp_path / "vocabulary.yaml"
    file.write_text(yaml.safe_dump(content), "utf-8")
    with pytest.raises(ConfigError, match=f"{path[-1]}: unknown key"):
        load_vocabulary(file)


def changed(folder: Path, **values: object) -> Path:
    content = yaml.safe_load(VOCABULARY_FILE.read_text("utf-8")) | values
    file = folder / "vocabulary.yaml"
    file.write_text(yaml.safe_dump(content), "utf-8")
    return file
