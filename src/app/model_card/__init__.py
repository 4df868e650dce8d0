"""What does a reader get of a model: one page with its evidence, its limits and where it comes from?"""

from src.app.model_card.card import ModelCard
from src.app.model_card.page import CardPage, compose
from src.app.report.pages import render_page

__all__ = ["CardPage", "ModelCard", "compose", "render_model_card"]


def render_model_card(card: ModelCard) -> str:
    """The self-contained HTML page of a model; the same card gives the same bytes."""
    return render_page("model_card.html.j2", compose(card))
