"""What does a reader get of a validation: one page that says whether the data may be used, and why not?"""

from src.app.quality_page.contents import QualityPage, compose
from src.app.report.pages import render_page
from src.app.validated import Validated

__all__ = ["QualityPage", "compose", "render_quality_page"]


def render_quality_page(validated: Validated) -> str:
    """The self-contained HTML page of a validation; the same validation gives the same bytes."""
    return render_page("quality.html.j2", compose(validated))
