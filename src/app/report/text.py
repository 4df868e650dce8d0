"""What does the terminal say when an analysis is done?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from src.app.registration.telling import registration_lines
from src.app.report.numbers import columns, interval, number
from src.app.report.plots.specification_curve import Specification, specifications
from src.app.report.sections.choice import choice_lines
from src.app.report.sections.heterogeneity import ACTIONS, cautions, may_decide
from src.app.report.sections.robustness import result_word
from src.app.report.wording import TONE, overstatements, plain
from src.causal_engine.heterogeneity.wording import bounds, segment_words
from src.causal_engine.results import Analysis, EffectEstimate, RefutationReport
from src.storage.records import RunRecord

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

_COLOURS = {"supported": "green", "caution": "yellow", "neutral": "blue", "stop": "red"}
_MOST_ESTIMATES = 8


def terminal_summary(run: RunRecord, analysis: Analysis) -> RenderableType:
    """A rich panel: what was understood, verdict, headline, findings, estimates, refutations, warnings, next step.

    Texts from the data are never read as rich markup.
    """
    from rich.console import Group
    from rich.panel import Panel
    from rich.text import Text

    conclusion = analysis.conclusion
    colour = _COLOURS[TONE[conclusion.verdict]]
    parts: list[RenderableType] = [Text(line, style="dim") for line in _understood(run)]
    parts += [Text(line, style="bold") for line in registration_lines(run, analysis)]
    parts += [
        Text.assemble(
            (str(conclusion.verdict).capitalize(), f"bold {colour}"), f"  (confidence: {conclusion.confidence})"
        ),
        Text(conclusion.headline),
    ]
    for heading, lines in (("Found", conclusion.findings), ("To do", conclusion.recommendations)):
        parts += [Text(), *(Text(f"{heading}: {line}" if line is lines[0] else f"· {line}") for line in lines)]
    for table in (_estimates(analysis), decision_table(analysis), _refutations(analysis.refutation)):
        parts += [Text(), table] if table is not None else []
    parts += [Text(), *(Text(line, style="dim") for line in choice_lines(analysis.choice))] if analysis.choice else []
    parts.append(Text())
    beyond = overstatements(conclusion.verdict, (conclusion.headline, *conclusion.findings))
    parts += [Text(f"! {warning}", style="yellow") for warning in conclusion.warnings]
    parts += [Text(f"! claims more than the verdict allows: {text}", style="yellow") for text in beyond]
    parts.append(Text.assemble("Next: ", (f"e2i report {run.run_id}", "bold")))
    title = Text(f"{analysis.treatment} → {analysis.outcome}")
    return Panel(Group(*parts), title=title, border_style=colour, padding=(1, 2))


def _understood(run: RunRecord) -> list[str]:
    """What was made of a question in plain words, with the assumptions made on the way."""
    sentence = run.understood.get("sentence")
    return [sentence, *(f"Assumed: {line}." for line in run.understood.get("assumptions", ()))] if sentence else []


def _estimates(analysis: Analysis) -> Table | None:
    from rich.table import Table
    from rich.text import Text

    specs = specifications(analysis.primary, analysis.naive, analysis.curve)
    if not specs:
        return None
    ordered = sorted(specs, key=lambda spec: _rank(spec, analysis.primary))
    table = Table(box=None, pad_edge=False, title_justify="left")
    for header in ("estimator", "controls", "effect", "95 % interval"):
        table.add_column(header, justify="right" if header in ("effect", "95 % interval") else "left")
    for spec in ordered[:_MOST_ESTIMATES]:
        estimate = spec.estimate
        mark = {"primary": " (primary)", "naive": "", "other": ""}[spec.role]
        controls = estimate.label or columns(estimate.adjusted_for, most=3)
        cells = (f"{estimate.estimator}{mark}", controls, number(estimate.value), interval(estimate.ci))
        table.add_row(*(Text(cell) for cell in cells))
    if len(ordered) > _MOST_ESTIMATES:
        table.add_row(Text(f"… and {len(ordered) - _MOST_ESTIMATES} more in the report", style="dim"))
    return table


def decision_table(analysis: Analysis) -> Table | None:
    """Whom to treat more, whom less: segments of named modifiers only; None where nothing is, or may be, decided."""
    from rich.table import Table
    from rich.text import Text

    report = analysis.heterogeneity
    if report is None or not report.modifiers_named or not report.decisions or not may_decide(analysis):
        return None
    money = report.cost_per_unit is not None
    warned = Text("\n".join(cautions(analysis)), style="yellow")
    table = Table(box=None, pad_edge=False, title=warned or None, title_justify="left")
    for header in ("segment", "treat", "effect", "net against today" if money else "extra outcome", "regret at most"):
        table.add_column(header)
    effects = {(one.column, one.segment): one.effect for one in report.segments}
    for one in report.decisions[:_MOST_ESTIMATES]:
        told = one.net if money else one.extra_outcome
        gain = "0" if told is None or one.action == "keep" else bounds(told)
        effect = effects.get((one.column, one.segment))
        shown = "–" if effect is None else bounds(effect)
        cells = (segment_words(one.column, one.segment), ACTIONS[one.action], shown, gain, number(one.regret))
        table.add_row(*(Text(cell) for cell in cells))
    if len(report.decisions) > _MOST_ESTIMATES:
        table.add_row(Text(f"… and {len(report.decisions) - _MOST_ESTIMATES} more in the report", style="dim"))
    return table


def _rank(spec: Specification, primary: EffectEstimate | None) -> int:
    """Primary, naive, other estimators with the primary's controls, the rest."""
    if spec.role != "other":
        return 0 if spec.role == "primary" else 1
    same = primary is not None and set(spec.estimate.adjusted_for) == set(primary.adjusted_for)
    return 2 if same else 3


def _refutations(refutation: RefutationReport | None) -> Table | None:
    from rich.table import Table
    from rich.text import Text

    if refutation is None or not refutation.tests:
        return None
    styles = {"passed": "green", "FAILED": "bold red", "not applicable": "dim"}
    table = Table(box=None, pad_edge=False)
    table.add_column("refutation test")
    table.add_column("result")
    for test in refutation.tests:
        word = result_word(test)
        table.add_row(Text(plain(test.name)), Text(word, style=styles[word]))
    return table
