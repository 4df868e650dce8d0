"""How much of the contexts does an answer repeat word for word, beyond what a quote takes?

Counted in the contexts, not in the answer, so that text added to a copy hides nothing; in runs of three content
words wherever they stand, so that neither order nor a changed word here and there does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from src.rag.heuristics.claims import sentence_tokens
from src.rag.heuristics.tokens import Sort, Token

RUN = 3
"""Content words in a row that make a copied run. A number, brand or region matches any other in its place."""
ALLOWED = 0.5
"""Share of the contexts a quote may take; more where one of two sentences, or two of several, are longer."""
WHOLE_FROM = 0.6
"""Of the share beyond the allowed one, what counts as everything: a few words left out hide no copy."""
COPIED = 0.35
"""Factor for an answer that repeats everything."""
_OWNERS = ("brand:", "region:")
_NUMBER = "#"
_ANY = frozenset({_NUMBER, *_OWNERS})

Run = tuple[int, tuple[str, ...]]


def copied_share(answer: str, contexts: Sequence[str]) -> tuple[float, float]:
    """Share of the contexts' words in runs that the answer repeats, and the share that a quote may take."""
    said = {run for _, run in _runs([token for sentence in sentence_tokens(answer) for token in sentence])}
    runs = {tuple(_runs(sentence)) for context in contexts for sentence in sentence_tokens(context)}
    lengths = sorted((_words_in(found) for found in runs if found), reverse=True)
    if len(lengths) < 2:
        return 0.0, 1.0
    quoted = sum(lengths[: 1 if len(lengths) == 2 else 2])
    copied = sum(_words_in([(at, run) for at, run in found if run in said]) for found in runs)
    return copied / sum(lengths), max(ALLOWED, quoted / sum(lengths))


def kept_of_copy(answer: str, contexts: Sequence[str]) -> float:
    """The factor from COPIED to 1 that an answer keeps; 1 for contexts of one sentence."""
    share, allowed = copied_share(answer, contexts)
    beyond = max(0.0, share - allowed) / max(1e-9, WHOLE_FROM * (1 - allowed))
    return 1 - (1 - COPIED) * min(1.0, beyond)


def _runs(tokens: Sequence[Token]) -> list[Run]:
    """Runs of content words with their places; those mostly of figures, brands and regions tell no copy from a fact
    told in the same form."""
    forms = [_form(token) for token in tokens if token.content]
    places = range(len(forms) - RUN + 1)
    found = [(at, tuple(forms[at : at + RUN])) for at in places]
    return [(at, run) for at, run in found if sum(form in _ANY for form in run) <= 1]


def _form(token: Token) -> str:
    if token.sort is Sort.NUMBER:
        return _NUMBER
    return next((owner for owner in _OWNERS if token.norm.startswith(owner)), token.norm)


def _words_in(found: Iterable[Run]) -> int:
    return len({place for at, _ in found for place in range(at, at + RUN)})
