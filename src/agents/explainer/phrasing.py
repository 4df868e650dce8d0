"""How are a figure, its interval and a confidence put into words?"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

from src.agents.explainer.material import intervals_of
from src.agents.explainer.state import Material
from src.causal_engine.wording import MINUS, number
from src.contracts.enums import EstimatorName
from src.domain.figures import is_rounding, stated_ranges
from src.domain.findings import Figure, Finding

HIGH, MODERATE = 0.75, 0.45
_EFFECT = re.compile(
    r"(?i)\b(?:effects?|differences?|lift|uplift|changes?|impact|ATE|CATE|slope|elasticity|gain|gaps?)\b"
)
_SHARE = re.compile(r"(?i)^(?:share|proportion|fraction|rate|probability)s?$")
_PERCENT = re.compile(r"(?i)^(?:%|per ?cent)$")


def ended(text: str) -> str:
    """An agent's own words with an end."""
    text = text.strip()
    return text if not text or text[-1] in ".!?…" else f"{text}."


def sentence(text: str) -> str:
    """A text with a capital first letter and an end; names of estimators and codes keep their small letters."""
    text = ended(text)
    first = re.split(r"[\s,;:]", text, maxsplit=1)[0]
    if first.isalpha() and first.islower() and first not in list(EstimatorName):
        text = text[0].upper() + text[1:]
    return text


def confidence_word(confidence: float | None) -> str:
    """high, moderate or low; "not stated" for None."""
    if confidence is None:
        return "not stated"
    return "high" if confidence >= HIGH else "moderate" if confidence >= MODERATE else "low"


def interval_words(figure: Figure) -> str:
    """ "0.432 to 0.639", in percent where the figure is a share."""
    low, high = _shown(figure, figure.lower), _shown(figure, figure.upper)
    return f"{low} to {high} %" if _in_percent(figure) else f"{low} to {high}"


def value_words(figure: Figure) -> str:
    """The value with its unit: "12 %", "0.535 NRx per call"."""
    value = _shown(figure, figure.value)
    if _in_percent(figure):
        return f"{value} %"
    return f"{value} {figure.unit}".strip()


def figure_sentence(figure: Figure) -> str:
    """ "Effect: 0.535 NRx per call (95 % interval 0.432 to 0.639)." """
    interval = "" if None in (figure.lower, figure.upper) else f" (95 % interval {interval_words(figure)})"
    return sentence(f"{figure.name}: {value_words(figure)}{interval}")


def exact(value: float) -> str:
    """To four digits at least, whole numbers whole: "0.5354", "1,500", "−2.1e-07"; "unlimited" for what has no end."""
    if not math.isfinite(value):
        return number(None) if math.isnan(value) else f"{MINUS if value < 0 else ''}unlimited"
    whole = abs(value) >= 1e4 or value == round(value)
    text = f"{abs(value):,.0f}" if whole and abs(value) < 1e15 else f"{abs(value):.4g}"
    return f"{MINUS if value < 0 else ''}{text}"


def reach(figure: Figure) -> str:
    """What the interval of a figure leaves open, in words and numbers, as a clause."""
    span = interval_words(figure)
    low, high = figure.lower or 0.0, figure.upper or 0.0
    if not _EFFECT.search(figure.name):
        return f"the plausible range of {figure.name} is {span} (95 % interval)"
    if low > 0 or high < 0:
        side = "above" if low > 0 else "below"
        return f"the plausible range is {span}, all of it {side} zero, so the direction is clearer than the size"
    return f"the plausible range is {span} and includes zero, so there may be no effect at all"


def sureness(material: Material, *, reason: bool = True) -> str:
    """How sure the answer is, and that absent agents make it less so, as a clause."""
    word = confidence_word(material.confidence)
    said = f"confidence in this answer is {word}"
    if material.missing and reason:
        return f"{said}, lowered because part of the question went unanswered"
    return said


def tells(text: str, figure: Figure) -> bool:
    """Whether a text states both ends of a figure's interval as a range."""
    for low, high in stated_ranges(text):
        scale = 100.0 if (low.percent or high.percent) and not _PERCENT.match(figure.unit) else 1.0
        if is_rounding(low, scale * (figure.lower or 0.0)) and is_rounding(high, scale * (figure.upper or 0.0)):
            return True
    return False


def untold(findings: Iterable[Finding], texts: Sequence[str]) -> list[Figure]:
    """The figures whose interval none of the texts states."""
    return [one for one in intervals_of(findings) if not any(tells(text, one) for text in texts)]


def main_interval(findings: Sequence[Finding]) -> Figure | None:
    """The interval of the first finding's first figure that has one."""
    found = intervals_of(findings[:1])
    return found[0] if found else None


def _in_percent(figure: Figure) -> bool:
    return bool(_SHARE.match(figure.unit) or _PERCENT.match(figure.unit))


def _shown(figure: Figure, value: float | None) -> str:
    return number(None if value is None else 100.0 * value if _SHARE.match(figure.unit) else value)
