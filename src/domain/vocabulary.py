"""Which names may a question use for brands, regions, specialties, measures, KPIs and intents?"""

from __future__ import annotations

import re
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from src.settings import CONFIG_DIR, ConfigModel, load_config

VOCABULARY_FILE = CONFIG_DIR / "domain_vocabulary.yaml"

_UNBOUNDED = re.compile(r"\)\s*[*+]|\)\{\d*,\}|\.[*+]|\.\{\d*,\}")


class Intent(StrEnum):
    """What kind of answer a question asks for."""

    CAUSAL_EFFECT = "causal_effect"
    PERFORMANCE_GAP = "performance_gap"
    SEGMENT_ANALYSIS = "segment_analysis"
    EXPERIMENT_DESIGN = "experiment_design"
    PREDICTION = "prediction"
    RESOURCE_ALLOCATION = "resource_allocation"
    EXPLANATION = "explanation"
    SYSTEM_HEALTH = "system_health"
    DRIFT_CHECK = "drift_check"
    FEEDBACK = "feedback"
    GENERAL = "general"
    MULTI_FACETED = "multi_faceted"


class Role(StrEnum):
    """Which side of a causal question a measure may stand on."""

    TREATMENT = "treatment"
    OUTCOME = "outcome"
    BOTH = "both"


class Kind(StrEnum):
    """What sort of thing a phrase names."""

    BRAND = "brand"
    REGION = "region"
    SPECIALTY = "specialty"
    VENDOR = "vendor"
    DRUG = "drug"
    INDICATION = "indication"
    MEASURE = "measure"
    KPI = "kpi"


def _bounded_pattern(pattern: str) -> str:
    """Refuse a pattern whose matching time could explode on a hostile question."""
    if _UNBOUNDED.search(pattern):
        raise ValueError(f"pattern '{pattern}' repeats a group or '.' without bound; write {{0,n}}")
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"pattern '{pattern}' is not a regular expression ({error})") from error
    return pattern


Pattern = Annotated[str, AfterValidator(_bounded_pattern)]


class Term(ConfigModel):
    """One thing with its names; ``spoken`` is false where the canonical name is an ordinary word."""

    canonical: str
    synonyms: tuple[str, ...] = ()
    patterns: tuple[Pattern, ...] = ()
    spoken: bool = True

    @property
    def phrases(self) -> tuple[str, ...]:
        """Every literal name of the term."""
        return (self.canonical, *self.synonyms) if self.spoken else self.synonyms


class BrandedTerm(Term):
    """A drug or an indication and the brand it stands for."""

    brand: str


class Measure(Term):
    """A column of the HCP-month panel; ``assumed`` are vaguer words read as it, with a note to the analyst."""

    column: str
    label: str
    role: Role
    kpi: str | None = None
    assumed: tuple[str, ...] = ()

    @property
    def phrases(self) -> tuple[str, ...]:
        """Every literal name of the measure, the vaguer ones included."""
        return (*super().phrases, *self.assumed)


class IntentRule(ConfigModel):
    """How an intent is recognised and which agents serve it; the higher priority wins a tie.

    The first agent answers, the others in its place where it cannot. ``order`` is when it is asked (1 first; equal
    ones at the same time). ``builds_on`` are intents whose answers this one needs when both are asked together.
    """

    patterns: tuple[Pattern, ...] = ()
    agents: tuple[str, ...] = Field(min_length=1)
    priority: int
    order: int = 1
    builds_on: tuple[Intent, ...] = ()


class Foreign(ConfigModel):
    """Names that exist in the world but not in the data, so that none is taken for a typing error."""

    brands: tuple[str, ...]
    regions: tuple[str, ...]
    specialties: tuple[str, ...]
    filters: tuple[str, ...]

    @property
    def words(self) -> tuple[str, ...]:
        """All of them."""
        return (*self.brands, *self.regions, *self.specialties, *self.filters)


class FollowUps(ConfigModel):
    """How a question leans on the ones before it.

    ``leads`` begin one, ``pointers`` stand for what was spoken of, ``about_the_answer`` is asked of the last answer
    itself, ``widen`` takes a selection back, by the slot it clears, and ``agree`` takes up what was offered.
    """

    leads: tuple[Pattern, ...]
    pointers: tuple[str, ...]
    about_the_answer: tuple[Pattern, ...]
    widen: dict[Kind, tuple[Pattern, ...]]
    agree: tuple[Pattern, ...]


class Words(ConfigModel):
    """Words that name nothing: ``function`` words separate phrases, ``neutral`` ones may stand inside one."""

    function: tuple[str, ...]
    common: tuple[str, ...]
    neutral: tuple[str, ...]


class Vocabulary(ConfigModel):
    """All names and patterns of config/domain_vocabulary.yaml."""

    brands: tuple[Term, ...]
    regions: tuple[Term, ...]
    specialties: tuple[Term, ...]
    vendors: tuple[Term, ...]
    kpis: tuple[Term, ...]
    drugs: tuple[BrandedTerm, ...]
    indications: tuple[BrandedTerm, ...]
    measures: tuple[Measure, ...]
    intents: dict[Intent, IntentRule]
    pressure: tuple[Pattern, ...]
    exclusions: tuple[Pattern, ...]
    idioms: tuple[Pattern, ...]
    drivers: tuple[Pattern, ...]
    comparisons: tuple[Pattern, ...]
    documents: tuple[Pattern, ...]
    topics: tuple[Pattern, ...]
    manner: tuple[Pattern, ...]
    audiences: dict[str, tuple[Pattern, ...]]
    follow_ups: FollowUps
    foreign: Foreign
    words: Words

    def terms(self, kind: Kind) -> tuple[Term, ...]:
        """All terms of one kind."""
        return {
            Kind.BRAND: self.brands,
            Kind.REGION: self.regions,
            Kind.SPECIALTY: self.specialties,
            Kind.VENDOR: self.vendors,
            Kind.DRUG: self.drugs,
            Kind.INDICATION: self.indications,
            Kind.MEASURE: self.measures,
            Kind.KPI: self.kpis,
        }[kind]

    def measure(self, name: str) -> Measure:
        """The measure of that canonical name (KeyError when there is none)."""
        return next(iter(found for found in self.measures if found.canonical == name))


class Held:
    """A vocabulary as the key of a cache: it never changes, so the very object stands for all that it says."""

    __slots__ = ("vocabulary",)

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Held) and other.vocabulary is self.vocabulary

    def __hash__(self) -> int:
        return id(self.vocabulary)


def load_vocabulary(path: Path | str = VOCABULARY_FILE) -> Vocabulary:
    """Read the vocabulary once per path. Raises ConfigError: unknown key, unsafe pattern, wrong type."""
    return _load(str(path))


@lru_cache(maxsize=8)
def _load(path: str) -> Vocabulary:
    return load_config(path, Vocabulary)
