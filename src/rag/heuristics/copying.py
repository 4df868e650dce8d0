"""How much of the contexts does an answer repeat word for word, beyond what a quote takes?

Counted in the contexts, not in the answer, so that text added to a copy hides nothing; in runs of three content
words wherever they stand, so that neither order nor a changed word here and there does.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from src.rag.heuristics.claims import sentence_tokens
from src.rag.heuristics.passages import Sentence
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


def copied_share(answer: str, contexts: Sequence[str]) -> tuple[float, float]:
    """Share of the contexts' content words in runs the answer repeats, and the share that a quote may take."""
    said = set(_runs([token for sentence in sentence_tokens(answer) for token in sentence]))
    there = {_forms(sentence) for context in contexts for sentence in sentence_tokens(context)}
    lengths = sorted((len(forms) for forms in there if len(forms) >= RUN), reverse=True)
    if len(lengths) < 2:
        return 0.0, 1.0
    quoted = sum(lengths[: 1 if len(lengths) == 2 else 2])
    copied = sum(_covered(forms, said) for forms in there)
    return copied / sum(lengths), max(ALLOWED, quoted / sum(lengths))


def kept_of_copy(answer: str, contexts: Sequence[str]) -> float:
    """The factor from COPIED to 1 that an answer keeps; 1 for contexts of one sentence."""
    share, allowed = copied_share(answer, contexts)
    beyond = max(0.0, share - allowed) / max(1e-9, WHOLE_FROM * (1 - allowed))
    return 1 - (1 - COPIED) * min(1.0, beyond)


def _form(token: Token) -> str:
    if token.sort is Sort.NUMBER:
        return "#"
    return next((owner for owner in _OWNERS if token.norm.startswith(owner)), token.norm)


def _forms(tokens: Sequence[Token] | Sentence) -> tuple[str, ...]:
    return tuple(_form(token) for token in tokens if token.content)


def _runs(tokens: Sequence[Token]) -> list[tuple[str, ...]]:
    return _runs_of(_forms(tokens))


def _runs_of(forms: tuple[str, ...]) -> list[tuple[str, ...]]:
    return [forms[at : at + RUN] for at in range(len(forms) - RUN + 1)]


def _covered(forms: tuple[str, ...], said: set[tuple[str, ...]]) -> int:
    """Words of a sentence that stand in at least one run of the answer."""
    starts = [at for at, run in enumerate(_runs_of(forms)) if run in said]
    return len({*chain.from_iterable(range(at, at + RUN) for at in starts)})
