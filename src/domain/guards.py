"""Which questions are not answered, what may a role see, and how much may a session ask?"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated

from pydantic import Field, PositiveFloat, PositiveInt, TypeAdapter, model_validator

from src.contracts.tables import TABLES
from src.domain.disguises import Reading, readings
from src.domain.identifiers import IdentifierKind, find_identifiers
from src.domain.vocabulary import Pattern
from src.errors import ConfigError, nearest_names
from src.settings import CONFIG_DIR, ConfigModel, load_config

GUARDS_FILE = CONFIG_DIR / "guards.yaml"
_FRAGMENT = re.compile(r"<([a-z_]+)>")

Glued = Annotated[str, Field(pattern="^[a-z]{6,40}$")]


class Rule(StrEnum):
    """Why a question is not answered."""

    CLINICAL_ADVICE = "clinical_advice"
    INDIVIDUALS = "individuals"
    INSTRUCTION_OVERRIDE = "instruction_override"
    OFF_LABEL = "off_label"
    EXFILTRATION = "exfiltration"


REASONS: Mapping[Rule, str] = {
    Rule.CLINICAL_ADVICE: "this asks for clinical advice, and only questions of commercial analytics are answered",
    Rule.INDIVIDUALS: (
        "this asks for single patients or prescribers, and only groups of at least eleven are shown; ask for a region, "
        "a specialty, a decile or another group"
    ),
    Rule.INSTRUCTION_OVERRIDE: (
        "this tells the assistant to change its rules or to show its instructions, which no question can do; ask about "
        "the business"
    ),
    Rule.OFF_LABEL: (
        "this asks for promotion beyond the approved label, or for a claim to be made of an internal analysis, and "
        "neither is supported"
    ),
    Rule.EXFILTRATION: (
        "this asks for stored data, secrets or questions of others instead of an analysis; ask for the figure you need"
    ),
}


@dataclass(frozen=True, slots=True)
class Declined:
    """Why a question is not answered, in one line for the one who asked, and the name of the rule that says so."""

    rule: str
    reason: str


@dataclass(frozen=True, slots=True)
class SessionUse:
    """What a session has used: questions in the last hour, tokens and US dollars in all (None: no price is known)."""

    questions_last_hour: int
    tokens: int
    dollars: float | None


class Patterns(ConfigModel):
    """What a rule looks for; see the head of the file."""

    words: tuple[str, ...]
    signs: tuple[str, ...]
    glued: tuple[Glued, ...]
    unless: tuple[str, ...]


class Spelling(ConfigModel):
    """Words that count although they are misspelt, and others that are close to them and stay as they are."""

    words: tuple[str, ...]
    leave: tuple[str, ...]


class RoleRules(ConfigModel):
    """What a role does not see beyond personal data."""

    hidden: frozenset[str]


class Limits(ConfigModel):
    """How much a session may ask and spend."""

    questions_per_hour: PositiveInt
    tokens_per_session: PositiveInt
    dollars_per_session: PositiveFloat

    def check(self, used: SessionUse) -> Declined | None:
        """None where one more question may be asked. Unpriced calls count by their tokens only."""
        if used.questions_last_hour >= self.questions_per_hour:
            return Declined(
                "questions_per_hour",
                f"{used.questions_last_hour:,} questions were asked in the last hour and at most "
                f"{self.questions_per_hour:,} are answered; ask again later",
            )
        if used.tokens >= self.tokens_per_session:
            return Declined(
                "tokens_per_session",
                f"this session has used {used.tokens:,} of {self.tokens_per_session:,} tokens; start a new one",
            )
        if used.dollars is not None and used.dollars >= self.dollars_per_session:
            return Declined(
                "dollars_per_session",
                f"this session has spent ${used.dollars:.2f} of ${self.dollars_per_session:.2f}; start a new one",
            )
        return None


@dataclass(frozen=True, slots=True)
class _Compiled:
    words: re.Pattern[str] | None
    signs: re.Pattern[str] | None
    unless: re.Pattern[str] | None
    glued: tuple[str, ...]

    def holds(self, one: Reading) -> bool:
        if _found(self.signs, one.signs) or any(piece in word for word in one.glued for piece in self.glued):
            return True
        return _found(self.words, one.words) and not _found(self.unless, one.words)


def _found(pattern: re.Pattern[str] | None, text: str) -> bool:
    return pattern is not None and pattern.search(text) is not None


class Guards(ConfigModel):
    """``config/guards.yaml``."""

    stamp: Annotated[str, Field(min_length=1)]
    """Stands under every answer that leaves the screen."""
    fragments: dict[str, str]
    rules: dict[Rule, Patterns]
    spelling: Spelling
    identifiers: frozenset[str]
    roles: dict[str, RoleRules]
    limits: Limits

    @model_validator(mode="after")
    def _complete(self) -> Guards:
        if missing := [rule.value for rule in Rule if rule not in self.rules]:
            raise ValueError(f"rules: '{missing[0]}' is missing")
        self._compiled  # noqa: B018 — a wrong expression is found here, not at a question
        return self

    def screen(self, question: str) -> Declined | None:
        """None for a question that may be answered. What it hides in look-alike letters or codes counts."""
        asked = self._readings(question)
        broken = (rule for rule in Rule if any(self._compiled[rule].holds(one) for one in asked))
        named = _names_a_person(question) or any(_names_a_person(one.signs) for one in asked)
        rule = next(broken, Rule.INDIVIDUALS if named else None)
        return None if rule is None else Declined(rule.value, REASONS[rule])

    def breaks(self, rule: Rule, question: str) -> bool:
        """Whether a question is one that ``rule`` does not let through."""
        return any(self._compiled[rule].holds(one) for one in self._readings(question))

    def remaining(self, used: SessionUse) -> tuple[int, float]:
        """Tokens and US dollars that a session has left."""
        limits = self.limits
        return (
            max(0, limits.tokens_per_session - used.tokens),
            max(0.0, limits.dollars_per_session - (used.dollars or 0.0)),
        )

    def hidden_columns(self, role: str) -> frozenset[str]:
        """Columns nobody of that role is shown or may filter and group by. Raises ConfigError for an unknown role.

        Personal data of the data contract and ids of single persons are among them for every role.
        """
        return self._of(role) | _personal() | self.identifiers

    def withheld_columns(self, role: str) -> frozenset[str]:
        """The hidden columns that computations do without too: ids stay, because estimates need their units."""
        return self.hidden_columns(role) - self.identifiers

    def _of(self, role: str) -> frozenset[str]:
        if role not in self.roles:
            raise ConfigError(f"there is no role '{role[:40]}'; {nearest_names(role, self.roles)}")
        return self.roles[role].hidden

    def _readings(self, question: str) -> tuple[Reading, ...]:
        return readings(question, self.spelling.words, self.spelling.leave)

    @cached_property
    def _compiled(self) -> dict[Rule, _Compiled]:
        return {rule: self._compile(patterns) for rule, patterns in self.rules.items()}

    def _compile(self, patterns: Patterns) -> _Compiled:
        return _Compiled(
            self._joined(patterns.words), self._joined(patterns.signs), self._joined(patterns.unless), patterns.glued
        )

    def _joined(self, patterns: tuple[str, ...]) -> re.Pattern[str] | None:
        whole = [self._whole(one) for one in patterns]
        return re.compile("|".join(f"(?:{one})" for one in whole)) if whole else None

    def _whole(self, pattern: str) -> str:
        """A pattern with its fragments in place. Raises ValueError."""
        found = pattern
        while names := [name for name in _FRAGMENT.findall(found) if name in self.fragments]:
            found = found.replace(f"<{names[0]}>", self.fragments[names[0]])
        return _BOUNDED.validate_python(found)


_BOUNDED: TypeAdapter[str] = TypeAdapter(Pattern)
_PERSONS = frozenset(IdentifierKind) - {IdentifierKind.EMAIL, IdentifierKind.PHONE}


def _names_a_person(question: str) -> bool:
    """An id or a number of a patient or prescriber; an address may be the asker's own."""
    return any(one.kind in _PERSONS for one in find_identifiers(question))


@cache
def _personal() -> frozenset[str]:
    return frozenset(column.name for table in TABLES.values() for column in table.columns if column.is_personal)


@cache
def load_guards(path: Path = GUARDS_FILE) -> Guards:
    """Read ``config/guards.yaml``; raises ConfigError."""
    return load_config(path, Guards)
