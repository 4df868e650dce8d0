"""Does a sentence that was added to a prompt take back what the prompt demands?

No list of words finds every way to say so. What gets past this is measured: the uncertainty of the answers to the
adversarial questions, the criteria of the gate, and the canary. A harmless sentence that is refused costs one
candidate, so the rules lean to refusing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from src.domain.disguises import plain, readings
from src.optimization.text.language import listed
from src.optimization.text.topics import NEGATION, PERMISSION, RESTRICTION, SPELT, TOPICS, Topic, Words

# "neither … nor", "not … either": one negation in two words.
_DOUBLE = re.compile(r"\b(neither|not|never|no)\b(.*?)\bnor\b")
# A clause that begins with one of these has an order of its own: no negation before it reaches it.
_ORDER = re.compile(
    r"(?:and |but |then |always |also |instead )*(?:give|state|say|name|report|show|add|include|cite|quote|mention|keep"
    r"|use|write|tell|explain|follow|put|make|end|begin|start|spell|note|list|describe|copy|repeat|refer|speak|be)\b"
)
_CLAUSE = re.compile(r"\s*[,;:—–()]\s*|\s+(?:and|but|or)\s+|\s*\.\s+")
_PRONOUN = re.compile(r"\b(?:they|them|these|those|it|both)\b")
_SHORT = 4
"""Words of a clause that has no verb of its own: "do not mention figures, intervals or caveats"."""

_RULES = r"(?:rules?|instructions?|guidelines?|requirements?|prompts?|constraints?|restrictions?|directives?|demands?)"
_OF_INSTRUCTIONS = (
    r"(?:rules?|instructions?|guidelines?|sentences?|lines?|points?|bullets?|paragraphs?|sections?|requirements?|prompts?"
    r"|constraints?|restrictions?|directives?|statements?|text|demands?|parts?|items?|everything|anything)"
)
_OVERRIDING = re.compile(
    "|".join(
        (
            r"(?<!not )(?<!never )\b(?:ignore|disregard|forget)\w*\b",
            r"\b(?:override|overrule|bypass|supersede|replace|cancel|revoke|suspend|waive|set aside|skip|void|violate"
            rf"|break)\w*\b[^.]{{0,60}}\b{_OF_INSTRUCTIONS}\b",
            rf"\b(?:next|following|previous|preceding|above|below|foregoing)\s+(?:\w+ ){{0,2}}{_OF_INSTRUCTIONS}\b",
            rf"\b(?:these|those|last|first|other|earlier|remaining|all|any)\s+(?:\w+ ){{0,2}}{_RULES}\b",
            rf"\b{_OF_INSTRUCTIONS}\s+(?:\w+ ){{0,2}}(?:above|below|before|after this|that follows?(?! the\b))",
            r"\bno longer (?:appl|hold|valid|in force|count|bind)|\b(?:do|does|need) not (?:apply|hold|bind|count)\b",
            r"\b(?:not binding|takes? precedence|for reference only|obsolete|deprecated|outdated|out of date)\b",
            r"\bnull and void\b",
            r"\b(?:the opposite|the reverse|what not to|never do the|as a joke|ironic|sarcas)",
            r"\b(?:bad|wrong|counter|poor|negative).?examples?\b",
            r"\b(?:joke|joking|kidding|never mind|lol|haha|in theory|hypothetical)",
            r"^\W*(?:false|untrue|nonsense|wrong)\b",
            r"\b(?:nobody|no one) (?:follow|need|care|check|read)|\b(?:was|were) the rule|\buntil \d{4}\b|\barchive",
            rf"\b(?:apply|consider|treat|regard|see|view) (?:\w+ ){{0,3}}{_OF_INSTRUCTIONS}\b",
            rf"\b(?:remaining|(?:rest|remainder|end|beginning) of) (?:\w+ ){{0,2}}{_OF_INSTRUCTIONS}\b",
            r"\bfrom here on\b",
            r"\bwhat(?:ever)? (?:comes?|came|stands?|stood|follows) (?:next|after this|below|above|before this)\b",
            r"\b(?:another|other|different) (?:product|assistant|project|company|version)\b",
        )
    )
)
_TITLES = listed("""
    rules rule requirements requirement constraints constraint guidelines guideline instructions instruction
    principles principle scope privacy uncertainty evidence citations style tone language safety compliance
    format limits limitations task role standards structure wording
""")
_ABOUT_TITLES = listed("""
    general always must mandatory important key core essential critical strict hard regulatory commercial
    clinical personal confidence causality causal claims numbers figures writing output reporting reader readers
    audience your you and or of the for in on to a an all every each about how follow keep
""")
_LONGEST_LEAD = 8
_REMARK = re.compile(r"\W*(?:or )?(?:not|except|unless|only|maybe|perhaps|if|when)\b")
_LEANING = 6
"""Words of a remark that has nothing of its own to be about."""


def refers_to_other_instructions(sentence: str) -> bool:
    """Whether a sentence speaks of other sentences of the prompt, as one that takes them back must, or leans on the
    one before it: "(optional)", "Unless asked."."""
    return any(_OVERRIDING.search(one) is not None or _leans(one) for one in _readings(sentence))


def _leans(text: str) -> bool:
    return len(text.split()) <= _LEANING and any(
        (PERMISSION.search(text), RESTRICTION.search(text), _REMARK.match(text))
    )


def may_lead(line: str) -> bool:
    """Whether instructions may stand under a new heading, tag or line: a short title that names a kind of instructions
    in words known to take nothing back. "Rules" may, "Archive" and "Rules of another assistant" may not."""
    words = re.findall(r"[^\W_]+", _read(line))
    known = all(word in _TITLES or word in _ABOUT_TITLES for word in words)
    return known and len(words) <= _LONGEST_LEAD and any(word in _TITLES for word in words)


def weakens(sentence: str, topic: Topic) -> bool:
    """Whether a sentence denies, makes optional or restricts what a topic demands, or asks for what it forbids.

    A clause about what is wanted is refused with an odd number of negations ("never a figure without its interval"
    has two), one about what is unwanted with an even number; both with a word of permission.
    """
    return any(_weakens(one, TOPICS[topic]) for one in _readings(sentence))


def _weakens(text: str, words: Words) -> bool:
    if words.about(text) and (PERMISSION.search(text) or _restricts(text, words)):
        return True
    spoken_of = False
    for clause, negations in _clauses(text):
        wanted, unwanted = words.in_clause(clause)
        if (wanted or (spoken_of and _PRONOUN.search(clause))) and negations % 2 == 1:
            return True
        if unwanted and negations % 2 == 0:
            return True
        spoken_of = spoken_of or wanted
    return False


def _restricts(text: str, words: Words) -> bool:
    limit = RESTRICTION.search(text)
    return limit is not None and (not text[: limit.start()].strip(" -(") or words.about(text[: limit.start()]))


def weakened(added: Iterable[str], topic: Topic) -> list[str]:
    """Those of the added sentences that weaken a topic."""
    return [sentence for sentence in added if weakens(sentence, topic)]


def _clauses(text: str) -> Iterator[tuple[str, int]]:
    """Clauses with the number of negations that bear on them.

    The negations of the clause before count too where a clause has no verb of its own, or begins with "without".
    """
    before = 0
    for clause in filter(None, _CLAUSE.split(text)):
        own = _negations(clause)
        carried = clause.startswith("without ") or (
            len(clause.split()) <= _SHORT and not own and not _ORDER.match(clause)
        )
        before = own + before if carried else own
        yield clause, before


def _negations(clause: str) -> int:
    return len(NEGATION.findall(_DOUBLE.sub(r"\1\2", clause)))


def _readings(sentence: str) -> tuple[str, ...]:
    """The sentence as it stands and as it may be meant: decoded, mirrored, with letters for digits, spelt right."""
    joined = dict.fromkeys((sentence, sentence.replace("-", "")))
    return tuple(_unmarked(one.signs or one.words) for text in joined for one in readings(text, SPELT))


def _read(sentence: str) -> str:
    return _unmarked(plain(sentence))


def _unmarked(text: str) -> str:
    return " ".join(text.replace("`", "").replace("*", "").split())
