"""By which words does a sentence of a prompt speak of uncertainty, evidence, scope or persons, and how does it deny?"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Topic = Literal["uncertainty", "citations", "scope", "privacy"]

_BARS = re.compile(r"\s*\|\s*")


def begins(alternatives: str) -> re.Pattern[str]:
    """Any of the alternatives, separated by bars, where a word begins; line breaks and blanks about bars are none."""
    return re.compile(rf"\b(?:{_BARS.sub('|', alternatives.strip())})")


_HOW = re.compile(r"\bhow (?:sure|certain|confident)\b")


@dataclass(frozen=True, slots=True)
class Words:
    """What a topic is called. ``wanted`` must not be denied, ``unwanted`` must not be asked for."""

    wanted: re.Pattern[str] | None
    unwanted: re.Pattern[str]

    def about(self, text: str) -> bool:
        """Whether a text speaks of the topic at all."""
        return any(self.in_clause(text))

    def in_clause(self, clause: str) -> tuple[bool, bool]:
        """Whether a clause names something wanted, and something unwanted: "how certain it is" is wanted, "invented
        evidence" is not."""
        asked = _HOW.sub(" ", clause)
        plainly = self.wanted is not None and self.wanted.search(self.unwanted.sub(" ", clause)) is not None
        wanted = self.wanted is not None and (asked != clause or plainly)
        return wanted, self.unwanted.search(asked) is not None


TOPICS: dict[Topic, Words] = {
    "uncertainty": Words(
        begins(
            r"""interval | uncertain | caveat | hedg | likely | assumption | margins? of error | range | doubt
            | limitation | standard error | provisional | confidence (?:bound|limit) | cis?\b | plus.?minus | ±"""
        ),
        begins(
            r"""certain(?:ty|ly)?\b | proven?\b | proof | definitive | guarantee | conclusive | confident
            | as (?:a )?facts?\b | beyond (?:any )?doubt | for sure | sure\b | undoubted | categorical | assertive
            | unequivocal | decisive | point estimates? (?:alone|only) | (?:only|just) (?:the|a|one) (?:point|single)
            | single (?:number|figure|value)s?\b | one (?:number|figure|value) per\b | authorit | be bold\b | settled\b
            | (?:number|figure|value|effect|estimate)s? (?:\w+ ){0,2}(?:alone|on (?:its|their) own)\b
            | as (?:if|though) (?:\w+ ){1,4}(?:passed|supported)\b | as causal effect"""
        ),
    ),
    "citations": Words(
        begins(r"evidence | cit(?:e|es|ed|ing|ation|ations)\b | quot | support | sources?\b | references?\b"),
        begins(
            r"""(?:invent|fabricat|mak(?:e|es|ing) up)\w*(?: \w+){0,2} (?:evidence|sources?|references?)\b
            | (?:invent|fabricat|mak(?:e|es|ing) up)\w*(?: \w+){0,2} (?:citations?|quot\w*)
            | from memory | own knowledge | general knowledge | invent | made up | make up | guess"""
        ),
    ),
    "scope": Words(
        None,
        begins(
            r"""clinical(?! analytics) | dos(?:e|es|age|ing)\b | off.?label | (?:beyond|outside) the (?:\w+ )?label
            | unapproved | diagnos(?:e|is|ing) | therap(?:y|eutic) advice | treatment (?:advice|recommendation|choice)
            | medical advice | side effects? | prescribe\b | (?:higher|lower|other|larger) strengths?\b
            | (?:other|new|more|further) (?:disease|indication|condition)s?\b
            | treat(?:s|ing)? (?:\w+ ){0,2}(?:disease|patient|condition)"""
        ),
    ),
    "privacy": Words(
        None,
        begins(
            r"""(?:single|individual|named|specific|particular|each|every|one) (?:\w+ )?(?:patient|prescriber|physician)
            | (?:single|individual|named|specific|particular|each|every|one) (?:\w+ )?hcp
            | (?:patient|prescriber|physician|doctor|hcp)s?[’']? (?:names?|ids?|identifiers?|numbers?|records?)\b
            | (?:names?|ids?|identifiers?|identit\w+|records?|initials) of (?:\w+ ){0,2}(?:patient|prescriber|person)
            | identif(?:y|ies|ier|ying)\b | personal (?:data|information|details) | npis?\b"""
        ),
    ),
}

NEGATION = begins(
    r"""not\b | never\b | no\b | nor\b | none\b | nothing\b | neither\b | nobody\b | without\b | \w+n['’]t\b | cannot\b
    | avoid | omit | skip | drop(?:s|ped|ping)?\b | le(?:ave|aves|aving|ft) (?:out|off|away|aside|\w+ out) | remov
    | hid(?:e|es|ing|den)\b | suppress | exclu | refrain | stop | forget | ignor | disregard | neglect | unnecessar
    | needless | rather than | instead of | less\b | fewer\b | minimi[sz] | downplay | soften | weaken | reduc
    | withh[oe]ld | spare\b | refus | forgo | play down | rarely\b | seldom\b | cut\b | delet | free of\b | lacking
    | forbid | prohibit | dispens | eliminat | confus | nois[ey] | distract | clutter
    | burden | redundan | superfluous | unless\b | except | hate\b | dislik | annoy | tire(?:s|some)\b | bor(?:es|ing)\b
    | round(?:s|ed|ing)? (?:away|off)\b | belongs? (?:in|at)\b | lea(?:ve|ves|ving) (?:\w+ ){1,4}to\b"""
)
SPELT = (
    "interval",
    "intervals",
    "uncertainty",
    "uncertain",
    "caveats",
    "caveat",
    "evidence",
    "citations",
    "assumption",
)
"""What counts although a letter is wrong."""
PERMISSION = begins(
    r"""optional | need not\b | not (?:needed|necessary|required|obliged) | unnecessary
    | (?:if|when|where|as) (?:\w+ ){0,3}(?:ask|want|request)(?:s|ed)\b
    | may (?:be )?(?:omit|skip|drop|left|leave|ignor|name|give|suggest|recommend|state|advise) | feel free
    | allowed to\b | at your discretion | if (?:there is )?(?:space|room|time) | as (?:you|needed) see fit
    | where (?:helpful|useful|convenient) | prefer\w*\b.{1,60}\b(?:to|over)\b | at most one\b | sparing
    | keep (?:\w+ ){0,3}(?:minimum|minimal|brief|vague)"""
)
RESTRICTION = begins(r"unless\b | except | only (?:if|when|where|on|for|as)\b")
"""What limits that which it follows: "intervals only when asked" limits intervals, "causes only with evidence" does
not limit evidence."""
