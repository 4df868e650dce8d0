"""Why this design and these estimators, and what was passed over?"""

from __future__ import annotations

from src.app.report.blocks import Note, Paragraph, Section, Table
from src.app.report.wording import plain
from src.causal_engine.results import DesignChoice

_TITLE = "Why this design"
_MOST_IN_TERMINAL = 4


def choice_section(choice: DesignChoice | None) -> Section | None:
    """Design, estimators, the facts that decided, and every rejected option; None for runs that recorded none."""
    if choice is None:
        return None
    facts = Table(("Fact", "Value"), choice.facts, heading="What the decision looked at")
    if choice.rejected:
        rows = tuple((plain(one.name), one.reason) for one in choice.rejected)
        rejected = Table(("Option", "Why not"), rows, heading="Not taken", folded=len(rows) > 8)
        return Section("choice", _TITLE, (Paragraph(_said(choice)), facts, rejected))
    return Section("choice", _TITLE, (Paragraph(_said(choice)), facts, Note("There was no other option.")))


def choice_lines(choice: DesignChoice) -> tuple[str, ...]:
    """The choice for the terminal: a line on what was taken, one on each estimator that could not answer here."""
    refused = [one for one in choice.rejected if not one.reason.endswith("(shown beside)")]
    lines = [f"· not {plain(one.name)}: {one.reason}" for one in refused[:_MOST_IN_TERMINAL]]
    if len(refused) > _MOST_IN_TERMINAL:
        lines.append(f"· and {len(refused) - _MOST_IN_TERMINAL} more options, in the report")
    return (f"{_TITLE}: {_said(choice)}", *lines)


def _said(choice: DesignChoice) -> str:
    first = choice.estimators[0] if choice.estimators else "no estimator"
    beside = f" Beside it: {', '.join(choice.estimators[1:])}." if choice.estimators[1:] else ""
    return f"{plain(choice.design.value).capitalize()}, {first}; {'; '.join(choice.reasons)}.{beside}"
