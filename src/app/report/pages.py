"""How does a page become one self-contained HTML text, and how does a text get on disk whole or not at all?"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

TEMPLATES = Path(__file__).parent / "templates"


def render_page(template: str, report: Any) -> str:
    """Fill ``template``, which extends ``page.html.j2``.

    ``report`` has at least ``title``, ``stamp`` and ``sections`` (``blocks.Section``). Every text is escaped.
    """
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["kind"] = lambda block: type(block).__name__
    environment.filters["draw"] = lambda figure: Markup(figure.draw())  # noqa: S704
    style = Markup((TEMPLATES / "report.css").read_text(encoding="utf-8"))  # noqa: S704
    return environment.get_template(template).render(report=report, style=style)


def write_whole(text: str, path: Path) -> Path:
    """Write ``text`` to ``path`` (its folder is made if need be) and return the path.

    A reader sees the old file or the new one, never half a file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("wb", dir=path.parent, prefix=f".{path.name}.", delete=False) as unfinished:
        try:
            unfinished.write(text.encode("utf-8"))
            unfinished.flush()
            os.fsync(unfinished.fileno())
            Path(unfinished.name).chmod(0o644)
            Path(unfinished.name).replace(path)
        except BaseException:
            Path(unfinished.name).unlink(missing_ok=True)
            raise
    return path
