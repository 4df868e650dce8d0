"""Why may, or may not, a difference be read as an effect?"""

from __future__ import annotations

from functools import partial

from src.app.report.blocks import Block, Figure, Note, Paragraph, Section, Table, bullets
from src.app.report.numbers import columns
from src.app.report.plots.graph import draw_graph, is_drawable, node_roles
from src.app.report.wording import plain
from src.causal_engine.results import Analysis, Identification


def identification_section(analysis: Analysis) -> Section:
    """Strategy, adjustment set, columns kept out and why, and the graph."""
    how = analysis.identification
    state = "identified" if how.identified else "not identified"
    said = f"The effect is {state}. Strategy: {plain(how.strategy)}; design: {plain(str(how.design))}."
    blocks: list[Block] = [Paragraph(said), *bullets(how.reasons), _sets(how), *_picture(analysis)]
    if how.excluded:
        rows = tuple((node.name, node.role, node.reason) for node in how.excluded)
        blocks.append(Table(("Column", "Role", "Reason"), rows, heading="Kept out of the adjustment"))
    return Section("identification", "Why this can (or cannot) be read as an effect", tuple(blocks))


def _sets(how: Identification) -> Table:
    rows = [("Adjusted for", columns(how.adjustment_set))]
    rows += [("Another valid set", columns(names)) for names in how.alternatives]
    if how.instruments:
        rows.append(("Instruments", columns(how.instruments)))
    if how.mediators:
        rows.append(("Mediators", columns(how.mediators)))
    if how.latent:
        rows.append(("Unmeasured", columns(how.latent)))
    return Table(("Set", "Columns"), tuple(rows))


def _picture(analysis: Analysis) -> tuple[Block, ...]:
    how = analysis.identification
    if not is_drawable(how):
        reason = "its edges run in a circle" if how.edges else "no causal graph was given"
        return (Note(f"No graph is drawn: {reason}."),)
    roles = node_roles(how, analysis.treatment, analysis.outcome)
    listed = "; ".join(f"{name} is {role}" for name, role in roles.items())
    alt = f"Causal graph of {len(roles)} columns and {len(how.edges)} arrows. {listed}."
    caption = (
        "Causal graph, read from left to right. Filled: treatment and outcome; thick line: adjusted for; dashed: "
        "kept out; dotted: unmeasured."
    )
    return (Figure(partial(draw_graph, how, analysis.treatment, analysis.outcome), alt, caption),)
