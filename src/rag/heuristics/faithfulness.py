"""How far do the contexts support what an answer claims?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from src.rag.heuristics.calibration import Calibrated, CalibrationFile, Shape, calibrate, load_calibration
from src.rag.heuristics.claims import claims
from src.rag.heuristics.commitment import committal_parts
from src.rag.heuristics.doubt import counts_for
from src.rag.heuristics.effort import too_much
from src.rag.heuristics.evidence import evidence, traits
from src.rag.heuristics.evidence_weights import load_weights
from src.rag.heuristics.passages import passages
from src.rag.heuristics.support import Support, support_in
from src.rag.heuristics.tokens import tokenize
from src.rag.scores import MetricScore

UNSUPPORTED_BELOW = 0.35
"""A claim whose words are found to less than this is reported as without support."""
NOTHING_BELOW = 0.1
"""Support beyond doubt below this counts as none in the mean."""
MEAN_SHARE = 0.7
"""The rest is the weakest claim: one invention is not outweighed by many supported claims."""


@dataclass(frozen=True, slots=True)
class RawFaithfulness:
    """``value`` in 0–1 before calibration, and the support of each claim in order."""

    value: float
    claims: tuple[Support, ...]

    @property
    def unsupported(self) -> int:
        """Claims that find next to nothing in the contexts."""
        return sum(claim.value < UNSUPPORTED_BELOW for claim in self.claims)


def raw_faithfulness(answer: str, contexts: Sequence[str], question: str = "") -> RawFaithfulness | None:
    """Faithfulness before calibration; None when the answer claims nothing or there is no context with words.

    Of the question only matters whether there is one.
    """
    read = tuple(context for context in contexts if passages(context).sentences)
    made = claims(answer)
    if not read or not made:
        return None
    supported = tuple(support_in(claim, read) for claim in made)
    weights, asked = load_weights(), bool(tokenize(question))
    found = [
        evidence(traits(claim, read, support), asked=asked, weights=weights)
        for claim, support in zip(made, supported, strict=True)
    ]
    return RawFaithfulness(mean_and_weakest(found, [counts_for(claim) for claim in made]), supported)


def mean_and_weakest(values: Sequence[float], counted: Sequence[int], *, nothing_below: float = NOTHING_BELOW) -> float:
    """Mostly the weighted mean of what exceeds the least support, partly the weakest claim.

    An added claim that is not supported adds 0 to the mean's sum and can only lower the weakest.
    """
    excess = [max(0.0, (value - nothing_below) / (1 - nothing_below)) for value in values]
    mean = sum(one * part for one, part in zip(excess, counted, strict=True)) / sum(counted)
    return MEAN_SHARE * mean + (1 - MEAN_SHARE) * min(values)


def faithfulness(
    answer: str, contexts: Sequence[str], question: str = "", *, calibration: CalibrationFile | None = None
) -> MetricScore:
    """The calibrated probability that people would call the answer supported by the contexts.

    None, with the reason: no contexts with words, an answer that claims nothing, or a regime in which such a
    judgement without a model agrees with people too rarely. The configured tables apply by default.
    """
    if not any(passages(context).sentences for context in contexts):
        return MetricScore(None, "there are no contexts with words")
    if not claims(answer):
        return MetricScore(None, "the answer claims nothing" if answer.strip() else "the answer is empty")
    if reason := too_much(claims(answer), list(map(passages, contexts))):
        return MetricScore(None, reason)
    if not committal_parts(answer)[0]:
        return MetricScore(None, "the answer claims nothing: it only says that nothing is known")
    raw = raw_faithfulness(answer, contexts, question)
    assert raw is not None  # contexts and claims were seen above
    found = calibrate(raw.value, item_shape(answer, contexts, question), calibration or load_calibration())
    if found.probability is None:
        return MetricScore(None, _too_rarely(found), found.regime, found.agreement)
    return MetricScore(found.probability, _grounds(raw, found), found.regime, found.agreement)


def item_shape(answer: str, contexts: Sequence[str], question: str) -> Shape:
    """What the regime of an item is recognised by."""
    made = claims(answer)
    tokens = sum(len(sentence) for context in contexts for sentence in passages(context).sentences)
    return Shape(bool(tokenize(question)), tokens, len(made), max(map(len, made), default=0))


def _too_rarely(found: Calibrated) -> str:
    return (
        f"regime {found.regime}: verdicts without a model agree with people in {found.agreement:.0%} of balanced "
        f"cases of one labelled set, less than {found.least_agreement:.0%}"
    )


def _grounds(raw: RawFaithfulness, found: Calibrated) -> str:
    parts = [f"{raw.unsupported} of {len(raw.claims)} claims without support"]
    if numbers := sum(len(claim.unseen_numbers) for claim in raw.claims):
        parts.append(f"{numbers} number{'s' if numbers > 1 else ''} not in the contexts")
    if names := sum(len(claim.unseen_names) for claim in raw.claims):
        parts.append(f"{names} name{'s' if names > 1 else ''} not in the contexts")
    if opposite := sum(claim.contradicted for claim in raw.claims):
        parts.append(f"{opposite} contradicted in direction or negation")
    measured = (
        f"regime {found.regime}, balanced agreement at least {found.agreement:.0%} in each set of "
        f"{found.items:,} labelled answers"
    )
    return f"{'; '.join(parts)}; {measured}"
