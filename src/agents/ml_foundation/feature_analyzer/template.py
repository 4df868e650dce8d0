"""What is said of an analysis when no language model answers, or none that can be believed?"""

from __future__ import annotations

from typing import Any

from src.agents.ml_foundation.feature_analyzer.facts import Facts
from src.agents.ml_foundation.feature_analyzer.result import Narrative

NAMED = 3
_VERBS = {"rises": "rises", "falls": "falls"}
_REASONS = {
    "variance": "hardly varies (variance {value})",
    "correlation": "repeats another feature (rank correlation {value})",
    "vif": "follows from other features (variance inflation {value})",
    "stability": "was chosen in too few subsamples (share {value})",
}


def from_template(facts: Facts) -> Narrative:
    """The facts in fixed sentences."""
    document = facts.document
    insights = [*map(_insight, _features(document)[:NAMED]), *map(_pair, document.get("interactions", [])[:NAMED])]
    return Narrative(_summary(document), tuple(insights), tuple(_cautions(document)), "template")


def _features(document: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = document.get("explanation", {}).get("features", [])
    return [feature for feature in found if feature["mean_abs"] > 0]


def _summary(document: dict[str, Any]) -> str:
    parts = []
    explanation, features = document.get("explanation"), _features(document)
    if explanation is not None and features:
        names = _listed([f"`{feature['name']}`" for feature in features[:NAMED]])
        parts.append(
            f"The model's predictions of `{document['target']}` rest most on {names} "
            f"({explanation['explainer']} SHAP over {explanation['rows_explained']:,} validation rows)."
        )
    elif explanation is not None:
        parts.append(f"No feature moves the model's predictions of `{document['target']}`.")
    if "selection" in document:
        counts = document["selection"]
        of_all = f"{counts['selected']:,} of {counts['candidates']:,} candidate features"
        # A model that is there was trained with all of them.
        parts.append(f"{of_all} would be enough." if explanation is not None else f"{of_all} were selected.")
    return " ".join(parts)


def _insight(feature: dict[str, Any]) -> str:
    moved = f"`{feature['name']}` moves the prediction by {feature['mean_abs']:,} on average"
    share = f", {feature['share_percent']:,} % of all features together"
    direction = _VERBS.get(feature["direction"])
    return moved + share + (f"; the prediction {direction} with it." if direction else ".")


def _pair(pair: dict[str, Any]) -> str:
    return f"`{pair['a']}` and `{pair['b']}` act together (strength {pair['strength']:,}, {pair['method']})."


def _cautions(document: dict[str, Any]) -> list[str]:
    explanation, lines = document.get("explanation"), []
    if explanation is not None:
        lines.append(f"Values are in {explanation['space']} and say what the model does, not what causes the outcome.")
    removed = document.get("selection", {}).get("removed", [])
    for one in removed[:NAMED]:
        how = "was left out" if explanation is None else "could be left out"
        lines.append(f"`{one['name']}` {how}: it {_REASONS[one['reason']].format(value=one['value'])}.")
    return lines


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
