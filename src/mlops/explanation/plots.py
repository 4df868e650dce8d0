"""What does an explanation look like? PNG files, drawn without any window or global state."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from src.mlops.explanation.attribution import Attribution, ranked

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

MOST_FEATURES = 15
LONGEST_NAME = 40
DPI = 110
_WORDS = {
    "probability": "probability",
    "log_odds": "log-odds",
    "class_score": "class score",
    "target": "units of the target",
}
_DARK, _LOW, _HIGH, _GREY = "#1f4e79", "#2b7bba", "#d1495b", "#8a8a8a"


def bar_plot(attribution: Attribution) -> bytes:
    """Mean absolute SHAP value of the 15 most important features."""
    found = ranked(attribution)[:MOST_FEATURES]
    figure, axes = _axes(len(found))
    positions = range(len(found), 0, -1)
    axes.barh(list(positions), [one.mean_abs for one in found], color=_DARK, height=0.7)
    axes.set_yticks(list(positions), [_short(one.feature) for one in found])
    axes.set_xlabel(f"mean |SHAP value| ({_WORDS[attribution.space]})")
    return _png(figure)


def beeswarm_plot(attribution: Attribution) -> bytes:
    """One dot per explained row and feature: where it lies is the SHAP value, its colour the feature's own value.

    Blue is low, red is high; grey where a feature has no single number.
    """
    import numpy as np

    names = [one.feature for one in ranked(attribution)[:MOST_FEATURES]]
    figure, axes = _axes(len(names))
    for position, name in zip(range(len(names), 0, -1), names, strict=True):
        column = attribution.columns.index(name)
        values, data = attribution.values[:, column], attribution.data[:, column]
        colours = _GREY if np.isnan(data).any() else _between(data)
        axes.scatter(values, position + _spread(values), c=colours, s=9, linewidths=0, alpha=0.8)
    axes.axvline(0.0, color=_GREY, linewidth=0.8)
    axes.set_yticks(range(len(names), 0, -1), [_short(name) for name in names])
    axes.set_xlabel(f"SHAP value ({_WORDS[attribution.space]}); blue: low, red: high value of the feature")
    return _png(figure)


def _axes(features: int) -> tuple[Figure, Axes]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, 1.2 + 0.36 * features), dpi=DPI, layout="tight")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def _png(figure: Figure) -> bytes:
    written = io.BytesIO()
    # Without these, the same plot would be other bytes with another version or at another time.
    figure.savefig(written, format="png", metadata={"Software": None})
    return written.getvalue()


def _spread(values: Floats, bins: int = 40) -> Floats:
    """Vertical places of dots: those of nearly the same value stand above and below one another."""
    import numpy as np

    width = float(np.ptp(values)) or 1.0
    bin_of = np.round((values - values.min()) / width * bins).astype(np.int64)
    places = np.zeros(len(values))
    for number in np.unique(bin_of):
        there = np.flatnonzero(bin_of == number)
        places[there] = np.arange(len(there)) - (len(there) - 1) / 2
    return 0.4 * places / max(1.0, float(np.abs(places).max()))


def _between(data: Floats) -> NDArray[np.float64]:
    """Colours from low to high by rank, as rows of red, green and blue."""
    import numpy as np
    from matplotlib.colors import to_rgb
    from scipy.stats import rankdata

    share = ((rankdata(data) - 1) / max(1, len(data) - 1))[:, None]
    colours: Floats = (1 - share) * np.array(to_rgb(_LOW)) + share * np.array(to_rgb(_HIGH))
    return colours


def _short(name: str) -> str:
    # A dollar sign would begin a formula.
    shown = name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
    return shown.replace("$", r"\$")
