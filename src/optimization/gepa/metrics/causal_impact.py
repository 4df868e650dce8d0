"""Is a causal analysis refuted, probed for sensitivity, estimated by a fitting method and of use to the business?

Gold: ``refuters`` that should be run, ``methods`` that fit, ``recommendation`` words a reader needs, ``refuted``
whether the estimate does not hold. Prediction: ``method``, ``refutation``, ``sensitivity``, ``interpretation``.
"""

from __future__ import annotations

import re
from typing import Any

from src.optimization.gepa.metrics.scored import Part, Parts, list_of, mentions, share_mentioned, text_of

_CAUTION = ("not supported", "refuted", "does not hold", "no causal", "cannot be concluded", "inconclusive")
_NUMBER = re.compile(r"\d")
_HIDDEN = ("unmeasured", "unobserved", "hidden", "omitted")


def causal_impact_parts(gold: Any, pred: Any) -> Parts:
    """The four parts."""
    refutation, sensitivity = text_of(pred, "refutation"), text_of(pred, "sensitivity")
    interpretation = text_of(pred, "interpretation")
    return {
        "refutation": _refutation(gold, refutation, interpretation),
        "sensitivity": _sensitivity(sensitivity),
        "method": _method(gold, text_of(pred, "method")),
        "business": _business(gold, interpretation),
    }


def _refutation(gold: Any, refutation: str, interpretation: str) -> Part:
    if not refutation.strip():
        return Part(0.0, "no refutation was reported")
    run = share_mentioned(refutation, [str(one) for one in list_of(gold, "refuters")], "refutation")
    cautious = any(sign in f"{refutation} {interpretation}".lower() for sign in _CAUTION)
    if bool(gold.get("refuted", False)) and not cautious:
        return Part(0.0, "the estimate did not survive its refutation and is reported as if it had")
    return run


def _sensitivity(said: str) -> Part:
    if not said.strip():
        return Part(0.0, "nothing says how strong a hidden confounder would have to be")
    names_a_size = bool(_NUMBER.search(said))
    names_confounding = any(sign in said.lower() for sign in _HIDDEN) or "confound" in said.lower()
    wrong = [] if names_a_size else ["no size is given"]
    wrong += [] if names_confounding else ["hidden confounding is not named"]
    return Part(0.5 * names_a_size + 0.5 * names_confounding, "; ".join(wrong))


def _method(gold: Any, said: str) -> Part:
    fitting = [str(one) for one in list_of(gold, "methods")]
    if not said.strip():
        return Part(0.0, "no method is named")
    if any(mentions(said, one) for one in fitting):
        return Part(1.0)
    return Part(0.0, f"'{said[:60]}' does not fit; {' or '.join(fitting) or 'no method'} would")


def _business(gold: Any, said: str) -> Part:
    if not said.strip():
        return Part(0.0, "nothing says what follows for the business")
    return share_mentioned(said, [str(one) for one in list_of(gold, "recommendation")], "interpretation")
