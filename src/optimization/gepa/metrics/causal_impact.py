"""Is a causal analysis refuted, probed for sensitivity, estimated by a fitting method and of use to the business?

Gold: ``refuters`` that should be run, ``methods`` that fit, ``sensitivity``: the figures that say how strong a hidden
confounder would have to be, ``recommendation`` words a reader needs, ``refuted`` whether the estimate does not hold.
Prediction: ``method``, ``refutation``, ``sensitivity``, ``interpretation``.
"""

from __future__ import annotations

import re
from typing import Any

from src.optimization.gepa.metrics.scored import Part, Parts, list_of, share_mentioned, text_of, words

_CAUTION = ("not supported", "refuted", "does not hold", "no causal", "cannot be concluded", "inconclusive")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_HIDDEN = ("unmeasured", "unobserved", "hidden", "omitted")


def causal_impact_parts(gold: Any, pred: Any) -> Parts:
    """The four parts."""
    refutation, sensitivity = text_of(pred, "refutation"), text_of(pred, "sensitivity")
    interpretation = text_of(pred, "interpretation")
    return {
        "refutation": _refutation(gold, refutation, interpretation),
        "sensitivity": _sensitivity(gold, sensitivity),
        "method": _method(gold, text_of(pred, "method")),
        "business": _business(gold, interpretation),
    }


def _refutation(gold: Any, refutation: str, interpretation: str) -> Part | None:
    if not refutation.strip():
        return Part(0.0, "no refutation was reported")
    run = share_mentioned(refutation, [str(one) for one in list_of(gold, "refuters")], "refutation")
    cautious = any(sign in f"{refutation} {interpretation}".lower() for sign in _CAUTION)
    if bool(gold.get("refuted", False)) and not cautious:
        return Part(0.0, "the estimate did not survive its refutation and is reported as if it had")
    return run


def _sensitivity(gold: Any, said: str) -> Part | None:
    sizes = set(_NUMBER.findall(text_of(gold, "sensitivity")))
    if not sizes:
        return None
    if not said.strip():
        return Part(0.0, "nothing says how strong a hidden confounder would have to be")
    found = set(_NUMBER.findall(said))
    share = len(found & sizes) / len(found | sizes)
    names_confounding = any(sign in said.lower() for sign in _HIDDEN) or "confound" in said.lower()
    wrong = [] if found == sizes else [f"the size of a hidden confounder is {', '.join(sorted(sizes))}"]
    wrong += [] if names_confounding else ["hidden confounding is not named"]
    return Part(share * (0.5 + 0.5 * names_confounding), "; ".join(wrong))


def _method(gold: Any, said: str) -> Part | None:
    """The best F1 of the words with a fitting method: who names them all names none."""
    fitting = [str(one) for one in list_of(gold, "methods")]
    if not fitting:
        return None
    if not said.strip():
        return Part(0.0, "no method is named")
    best = max(_likeness(said, one) for one in fitting)
    return Part(best, "" if best == 1 else f"'{said[:60]}' does not fit; {' or '.join(fitting)} would")


def _likeness(one: str, other: str) -> float:
    mine, its = words(one.replace("_", " ")), words(other.replace("_", " "))
    return 2 * len(mine & its) / (len(mine) + len(its)) if mine and its else 0.0


def _business(gold: Any, said: str) -> Part | None:
    if not said.strip():
        return Part(0.0, "nothing says what follows for the business")
    return share_mentioned(said, [str(one) for one in list_of(gold, "recommendation")], "interpretation")
