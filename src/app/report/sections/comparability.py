"""Were treated and untreated comparable, and was there enough data?"""

from __future__ import annotations

from functools import partial

from src.app.report.blocks import Block, Figure, Note, Paragraph, Section, Table
from src.app.report.numbers import count, number, p_value, percent
from src.app.report.plots.comparability import BALANCED, draw_love_plot, draw_overlap_plot, sorted_balance
from src.app.report.small_cells import SUPPRESSED, overlap_hidden
from src.causal_engine.results import Analysis, BalanceRow, OverlapReport, PowerReport


def comparability_section(analysis: Analysis) -> Section:
    """Balance, overlap, confounders left out, and power."""
    blocks = (
        *_balance(analysis.balance),
        *_overlap(analysis.overlap),
        *_confounding(analysis),
        *_power(analysis.power),
    )
    return Section("comparability", "Comparability and power", blocks)


def _balance(rows: tuple[BalanceRow, ...]) -> tuple[Block, ...]:
    ordered = sorted_balance(rows)
    if not ordered:
        return (Note("No balance plot: balance was not measured (no covariates, or no two arms to compare)."),)
    before = sum(abs(row.smd_raw) > BALANCED for row in ordered)
    weighted = [row for row in ordered if row.smd_weighted is not None]
    after = sum(abs(row.smd_weighted or 0.0) > BALANCED for row in weighted)
    said = f"{before} of {len(ordered)} covariates differ by more than {BALANCED} before adjustment"
    said += f", {after} of {len(weighted)} after." if weighted else "; balance after adjustment was not measured."
    if len(ordered) < len(rows):
        said += f" {len(rows) - len(ordered)} without a finite difference are in the table only."
    listed = [*ordered, *(row for row in rows if row not in ordered)]
    table = Table(
        ("Covariate", "Before", "After"),
        tuple((row.covariate, number(row.smd_raw), number(row.smd_weighted)) for row in listed),
        heading="Standardised mean differences",
        folded=True,
    )
    return (Figure(partial(draw_love_plot, ordered), f"Love plot of covariate balance: {said}", said), table)


def _overlap(overlap: OverlapReport | None) -> tuple[Block, ...]:
    if overlap is None:
        return (Note("No overlap plot: there is no propensity (randomised, continuous, or panel treatment)."),)
    if overlap_hidden(overlap):
        return (Note(f"No overlap plot: an arm has {SUPPRESSED}."),)
    judged = "adequate" if overlap.adequate else "not adequate: treated and untreated are hardly comparable"
    said = (
        f"Overlap is {judged}: {percent(overlap.share_outside)} of units lie outside propensities 0.02 to 0.98; "
        f"propensities run from {number(overlap.min_propensity)} to {number(overlap.max_propensity)}."
    )
    table = Table(
        ("Measure", "Value"),
        (
            ("Effective rows, treated", number(overlap.effective_n_treated)),
            ("Effective rows, untreated", number(overlap.effective_n_control)),
            ("How well treatment is predicted (AUC)", number(overlap.auc)),
            ("Share outside 0.02 to 0.98", percent(overlap.share_outside)),
        ),
    )
    alt = f"Mirrored histograms of the propensity by arm. {said}"
    drawable = len(overlap.bins) >= 2
    picture: Block = Figure(partial(draw_overlap_plot, overlap), alt, said) if drawable else Paragraph(said)
    return (picture, table)


def _confounding(analysis: Analysis) -> tuple[Block, ...]:
    if not analysis.confounding and analysis.primary is None:
        return (Note("Confounders that were left out were not searched for: there is no estimate they could bias."),)
    if not analysis.confounding:
        return (
            Paragraph("No measured column was found that differs between arms, predicts the outcome and was left out."),
        )
    rows = tuple((found.column, number(found.smd), p_value(found.p_value)) for found in analysis.confounding)
    heading = "Measured columns that look like confounders and were not adjusted for"
    return (Table(("Column", "Difference between arms", "p with the outcome"), rows, heading=heading),)


def _power(power: PowerReport | None) -> tuple[Block, ...]:
    if power is None:
        return (Note("Power was not worked out."),)
    rows = (
        ("Rows", count(power.n)),
        ("Independent clusters", "not clustered" if power.n_clusters is None else count(power.n_clusters)),
        ("Minimum detectable effect (80 % power)", number(power.minimum_detectable_effect)),
        (
            "Smallest effect of interest",
            f"{number(power.smallest_effect_of_interest)} ({power.smallest_effect_source})",
        ),
        ("Enough data", "yes" if power.adequate else f"no, about {count(power.n_needed)} rows are needed"),
    )
    return (Table(("Power", "Value"), rows),)
