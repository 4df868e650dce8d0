"""How much of the contexts does an answer repeat word for word, beyond what a quote takes?

Counted in the contexts, not in the answer, so that text added to a copy hides nothing; in runs of three content
words wherever they stand, so that neither order nor a changed word here and there does.
"""

from __future__ import annotations

from collections.abc import Sequence

from src.rag.heuristics.claims import sentence_tokens
from src.rag.heuristics.tokens import Sort, Token

Forms = tuple[tuple[str, str, str], ...]

RUN = 3
"""Content words in a row that make a copied run. Another brand or region is no other run, nor is another figure
between two words."""
COPIED_FROM = 0.6
"""Share of a sentence's words from which it counts as copied: common phrases make no copy."""
ALLOWED = 0.5
"""Share of the contexts a quote may take; more where one of two sentences, or two of several, are longer."""
WHOLE_FROM = 0.35
"""Of the share beyond the allowed one, what counts as everything: a few words left out hide no copy."""
COPIED = 0.35
"""Factor for an answer that repeats everything."""
_OWNERS = ("brand:", "region:")
_NUMBER = "#"


def copied_share(answer: str, contexts: Sequence[str]) -> tuple[float, float]:
    """Share of the contexts' content words in sentences the answer repeats, and the share that a quote may take."""
    told = _forms([token for sentence in sentence_tokens(answer) for token in sentence])
    said = {run for at in range(len(told)) for run in _runs(told, at)}
    exact = {norm for norm, _, _ in told}
    there = {_forms(sentence) for context in contexts for sentence in sentence_tokens(context)}
    lengths = sorted((len(forms) for forms in there if len(forms) >= RUN), reverse=True)
    if len(lengths) < 2:
        return 0.0, 1.0
    quoted = sum(lengths[: 1 if len(lengths) == 2 else 2])
    covered = [(_covered(forms, said, exact), len(forms)) for forms in there if len(forms) >= RUN]
    copied = sum(words for words, length in covered if words >= COPIED_FROM * length)
    return copied / sum(lengths), max(ALLOWED, quoted / sum(lengths))


def kept_of_copy(answer: str, contexts: Sequence[str]) -> float:
    """The factor from COPIED to 1 that an answer keeps; 1 for contexts of one sentence."""
    share, allowed = copied_share(answer, contexts)
    beyond = max(0.0, share - allowed) / max(1e-9, WHOLE_FROM * (1 - allowed))
    return 1 - (1 - COPIED) * min(1.0, beyond)


def _forms(tokens: Sequence[Token]) -> Forms:
    """Content words: as they stand, as they are compared in a run, and in a run without its figure."""
    content = [token for token in tokens if token.content]
    return tuple((one.norm, _form(one), _NUMBER if one.sort is Sort.NUMBER else _form(one)) for one in content)


def _form(token: Token) -> str:
    return next((owner for owner in _OWNERS if token.norm.startswith(owner)), token.norm)


def _runs(forms: Forms, at: int) -> list[tuple[str, ...]]:
    """The run that begins at a place, and the one without its figure where it has two words beside."""
    here = forms[at : at + RUN]
    if len(here) < RUN:
        return []
    loose = tuple(form for _, _, form in here)
    words = sum(form != _NUMBER and form not in _OWNERS for form in loose)
    return [tuple(form for _, form, _ in here), *([loose] if words == RUN - 1 else [])]


def _covered(forms: Forms, said: set[tuple[str, ...]], exact: set[str]) -> int:
    """Words of a sentence that stand in at least one run of the answer; figures, brands and regions only as they are,
    for a fact told in the form of another is no copy of it."""
    starts = [at for at in range(len(forms)) if any(run in said for run in _runs(forms, at))]
    places = {place for at in starts for place in range(at, at + RUN)}
    return sum(forms[place][0] in exact for place in places)
