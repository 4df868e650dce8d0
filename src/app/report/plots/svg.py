"""How does a matplotlib figure become inline SVG that is the same for the same data?"""

from __future__ import annotations

import io
import re
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from src.app.report.numbers import MINUS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#1f2933"
MUTED = "#6b7785"
FAINT = "#d5dae0"
ACCENT = "#1f5fa8"
WARM = "#b4541a"
PALE = "#eef2f6"

_SETTINGS: dict[Any, Any] = {
    "svg.hashsalt": "e2i",
    # Text stays text: searchable, small, read aloud; widths are laid out for a wide font.
    "svg.fonttype": "none",
    # Column names may hold dollar signs.
    "text.parse_math": False,
    "font.family": ["DejaVu Sans"],
    "font.size": 9.0,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.unicode_minus": True,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "hatch.linewidth": 0.6,
}
_LOCK = threading.Lock()


@contextmanager
def drawing(width: float, height: float) -> Iterator[Figure]:
    """Yield an empty figure of that size in inches under the report's settings.

    matplotlib's settings are global to the process, hence the lock.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with _LOCK, mpl.rc_context(_SETTINGS), warnings.catch_warnings():
        # Text stays text, so a script the layout font lacks is drawn by the reader's own font.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield Figure(figsize=(width, height))


def to_svg(figure: Figure) -> str:
    """Return ``figure`` as an ``<svg>`` element without ids of its own, dates, metadata or addresses.

    Call it inside ``drawing``. The element scales with its container.
    """
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(buffer, format="svg", metadata=nothing, transparent=True)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    opening, body = svg.split(">", 1)
    size = re.search(r'viewBox="([^"]*)"', opening)
    box = size[1] if size else "0 0 1 1"
    body = re.sub(r'<g id="[^"]*"', "<g", body).replace("xlink:href", "href")
    # Groups keep no ids, so several pictures in one page cannot clash; definitions are hashed by content.
    width = float(box.split()[2]) / 0.75
    return f'<svg viewBox="{box}" style="max-width:{width:.0f}px" aria-hidden="true" focusable="false">{body.strip()}'


def label_room(labels: Sequence[str], *, least: float) -> float:
    """Inches to leave for row labels at 8 points, reckoned for a wide font."""
    return max(least, 0.15 + 0.074 * max(map(len, labels), default=0))


def tick_text(value: float, _position: float = 0.0) -> str:
    """A short axis label without offsets: "0.25", "12,000", "1.2e+06"."""
    text = f"{value:.4g}" if abs(value) >= 1e5 else f"{value:,.6g}"
    return text.replace("-", MINUS)


def bare(axes: Axes) -> None:
    """Leave only the bottom and left lines of ``axes``."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=3, width=0.7)
