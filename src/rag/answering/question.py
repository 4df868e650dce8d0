"""What does a question ask for that evidence has to speak of?"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from src.domain.vocabulary import load_vocabulary
from src.rag.answering.reading import EFFECT, FALLS, INDICATION, MEASURE, MOVES, OVERRIDING, RISES, kind, read, senses
from src.rag.heuristics.tokens import Token, stem


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text))


# Words of questions themselves; evidence need not repeat them.
_ASKING = _words(
    "what which who whom whose when where why how do does did is are was were can could should would will shall "
    "may might must have has had tell me us show give explain describe list please about any there much many mean "
    "means define definition happen happened between during compare summarise summarize number amount figure long "
    "reach reached stand stood current currently latest"
)
# What sort of quantity is asked for, where the words behind it say of what.
_QUANTITIES = _words("share percentage proportion rate kind type sort level total average portion part")
_JOINING = _words("and or vs versus between compare compared both than against")
_SHORTEST_BEGINNING = 4
_PRESUPPOSING = re.compile(r"(?i)\s*(?:why|how (?:much|many|far|strongly)|by how much)\b")
_CATEGORIES: Mapping[str, str] = {
    stem(word): prefix for word, prefix in (("brand", "brand:"), ("region", "region:"), ("specialty", "specialty:"))
}


@dataclass(frozen=True, slots=True)
class Binding:
    """Something that an answer must be about: one of the ``forms`` that mean it."""

    kind: str
    forms: frozenset[str]
    shown: str


@dataclass(frozen=True, slots=True)
class Question:
    """``terms``: weight by form; ``shown``: how the question writes it; ``bindings``: brands, regions, periods,
    numbers and names; ``measures`` the KPIs and measures; ``heads`` what kind of thing is asked for.

    ``direction`` is the movement that the question takes for granted ("why did it fall").
    ``joins``: several of a kind may be spoken of one by one ("Kisqali and Fabhalta").
    """

    terms: Mapping[str, float]
    shown: Mapping[str, str]
    bindings: tuple[Binding, ...]
    measures: frozenset[str]
    heads: frozenset[str]
    direction: frozenset[str]
    joins: bool

    @property
    def plain(self) -> frozenset[str]:
        """The terms that neither bind nor measure, nor say what kind of thing is asked for."""
        bound = frozenset[str]().union(*(one.forms for one in self.bindings))
        return frozenset(self.terms) - bound - self.measures - self.heads

    @property
    def placing(self) -> frozenset[str]:
        """The terms that name a brand, a place or a time."""
        return frozenset[str]().union(*(one.forms for one in self.bindings if one.kind in OVERRIDING))

    @property
    def names_nothing_to_say(self) -> bool:
        """Whether it asks of nothing but a region, a period or a number ("What about the South?")."""
        kinds = {one.kind for one in self.bindings}
        return not (self.plain or self.heads or self.measures) and bool(kinds) and kinds <= {*OVERRIDING[1:], "number"}

    def coverage(self, there: frozenset[str]) -> float:
        """Weighted share of the terms in ``there``, 0–1."""
        return self._share(self.terms, there)

    def plain_coverage(self, there: frozenset[str]) -> float:
        """The same of the terms that neither bind nor measure; 1 where there are none."""
        return self._share(self.plain, there) if self.plain else 1.0

    def words(self, missing: Iterable[str]) -> str:
        """Terms as the question writes them."""
        return ", ".join(sorted({self.shown[norm] for norm in missing}))

    def _share(self, norms: Iterable[str], there: frozenset[str]) -> float:
        weights = {norm: self.terms[norm] for norm in norms}
        total = sum(weights.values())
        return sum(weight for norm, weight in weights.items() if speaks_of(norm, there)) / total if total else 0.0


def speaks_of(norm: str, there: frozenset[str]) -> bool:
    """Whether a term stands among ``there``, or a word that begins with it; "brand" by the name of any, and so on."""
    if norm in there:
        return True
    if (prefix := _CATEGORIES.get(norm)) is not None:
        return any(one.startswith(prefix) for one in there)
    return len(norm) >= _SHORTEST_BEGINNING and norm.isalpha() and any(one.startswith(norm) for one in there)


def read_question(query: str) -> Question:
    """The terms of a question, without those that only ask."""
    every = read(query.lower() if query.isupper() else query)  # where all is in capitals, none is a name
    asked = [token for token in every if token.content and token.surface not in _ASKING]
    tokens = [_meant(token) for token in asked if not _is_quantity(token)] or asked
    directions = frozenset[str]().union(*map(senses, every)) & {RISES, FALLS}
    return Question(
        terms={token.norm: token.weight for token in tokens},
        shown={token.norm: token.surface for token in tokens},
        bindings=tuple(_bindings(tokens)),
        measures=frozenset(token.norm for token in tokens if token.norm.startswith(MEASURE)),
        heads=frozenset(_heads(every)) & {token.norm for token in tokens},
        direction=directions if _PRESUPPOSING.match(query) and len(directions) == 1 else frozenset(),
        joins=any(token.surface in _JOINING for token in every),
    )


def _is_quantity(token: Token) -> bool:
    return token.surface in _QUANTITIES


def _meant(token: Token) -> Token:
    """Words of moving and of effect by their sense."""
    if token.norm.startswith(MEASURE) or kind(token) is not None:
        return token
    sense = next((one for one in (MOVES, EFFECT) if one in senses(token)), None)
    return token if sense is None else replace(token, norm=sense)


def _bindings(tokens: Sequence[Token]) -> list[Binding]:
    found = {
        token.norm: Binding(one, _meanings(token.norm, one), token.surface)
        for token in tokens
        if (one := kind(token)) is not None and token.norm not in _CATEGORIES
    }
    return list(found.values())


def _meanings(norm: str, of: str) -> frozenset[str]:
    """An indication is also spoken of by its brand."""
    if of != INDICATION:
        return frozenset({norm})
    named = norm.partition(":")[2]
    brands = {f"brand:{one.brand.lower()}" for one in load_vocabulary().indications if one.canonical.lower() == named}
    return frozenset({norm, *brands})


def _heads(tokens: Sequence[Token]) -> list[str]:
    """The noun behind "which", "what" or "how many", the one before "of", and a content word at the beginning."""
    found = []
    for at, token in enumerate(tokens):
        if not token.content or token.surface in _ASKING | _QUANTITIES or kind(token) or token.norm.startswith(MEASURE):
            continue
        before = tokens[at - 1].surface if at else ""
        after = tokens[at + 1].surface if at + 1 < len(tokens) else ""
        if at == 0 or before in ("which", "what", "many") or after == "of":
            found.append(token.norm)
    return found
