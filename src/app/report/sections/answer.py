"""What is the answer, what should be done with it, and what must not be read into it?"""

from __future__ import annotations

from src.app.report.blocks import AnswerBox, Block, Bullets, Note, Section, bullets
from src.app.report.numbers import count, effect, units_of
from src.app.report.small_cells import SUPPRESSED, arms_hidden
from src.app.report.wording import INTRODUCTION, MEANING, NO_EFFECT_REPORTED, NOT_TO_CONCLUDE, TONE, overstatements, say
from src.causal_engine.results import Analysis, EffectEstimate
from src.causal_engine.spec import Estimand
from src.storage.records import Json, RunRecord

ESTIMANDS = {
    Estimand.AT_CUTOFF: "the effect on units at the cutoff",
    Estimand.ATE: "average over all units (ATE)",
    Estimand.ATT: "average over the treated (ATT)",
    Estimand.SATE: "average over the units in the data (SATE)",
    Estimand.SATT: "average over the treated units in the data (SATT)",
    Estimand.ATO: "overlap-weighted: units with uncertain treatment count most (ATO)",
    Estimand.ATE_TRIMMED: "average over comparable units only (trimmed ATE)",
    Estimand.LATE: "average over units the instrument moves (LATE)",
    Estimand.WITHIN: "change within units over time",
    Estimand.LAG: "change within units after a lag",
}
_SHOWN_UNDERSTOOD = 12


def run_units(run: RunRecord, analysis: Analysis) -> str:
    """Units of the effect of this run, in words."""
    two_arms = analysis.primary is not None and analysis.primary.n_treated is not None
    return units_of(run.understood, analysis.treatment, analysis.outcome, two_arms=two_arms)


def answer_box(run: RunRecord, analysis: Analysis) -> AnswerBox:
    """The box at the head: verdict, what it means, headline, effect with interval and units, confidence."""
    conclusion = analysis.conclusion
    primary = analysis.primary
    facts = [("Question", run.question or "(asked by naming treatment and outcome)"), *_understood(run.understood)]
    facts += [
        ("Treatment", analysis.treatment),
        ("Outcome", analysis.outcome),
        ("Rows analysed", count(analysis.n_rows)),
    ]
    if primary is not None:
        facts += [("Whose effect", ESTIMANDS[primary.estimand]), ("Units per arm", arms(primary))]
    return AnswerBox(
        verdict=str(conclusion.verdict),
        tone=TONE[conclusion.verdict],
        meaning=say(MEANING[conclusion.verdict], analysis.treatment, analysis.outcome),
        headline=conclusion.headline,
        effect=effect_line(run, analysis),
        confidence=conclusion.confidence,
        facts=tuple(facts),
    )


def effect_line(run: RunRecord, analysis: Analysis) -> str:
    """The estimate with units and interval, introduced as what the verdict allows it to be called."""
    introduction = INTRODUCTION.get(analysis.conclusion.verdict)
    if introduction is None or analysis.primary is None:
        return NO_EFFECT_REPORTED
    return f"{introduction}: {effect(analysis.primary, run_units(run, analysis))}"


def arms(estimate: EffectEstimate) -> str:
    """Rows of either arm, hidden when one of them is small."""
    if estimate.n_treated is None:
        return f"{count(estimate.n)} rows, no separate arms"
    if arms_hidden(estimate):
        return SUPPRESSED
    return f"{count(estimate.n_treated)} treated, {count(estimate.n - estimate.n_treated)} untreated"


def _understood(understood: Json) -> list[tuple[str, str]]:
    sentence = understood.get("sentence")
    if isinstance(sentence, str) and sentence:
        taken = [str(item) for item in understood.get("assumptions") or ()]
        return [("Understood as", sentence), *([("Taken for granted", "; ".join(taken))] if taken else [])]
    scalars = [
        (f"Understood: {key.replace('_', ' ')}", str(value))
        for key, value in sorted(understood.items())
        if value and key not in ("treatment", "outcome", "units") and isinstance(value, str | int | float)
    ]
    return scalars[:_SHOWN_UNDERSTOOD]


def answer_sections(analysis: Analysis) -> tuple[Section, ...]:
    """Findings, what to do, what not to conclude."""
    conclusion = analysis.conclusion
    findings = (
        *bullets(conclusion.findings),
        *bullets(conclusion.reasons, "Why this verdict"),
        *bullets(_warnings(analysis), "Warnings"),
    )
    do = bullets(conclusion.recommendations) or (Note("No action follows from this analysis."),)
    avoid = tuple(say(text, analysis.treatment, analysis.outcome) for text in NOT_TO_CONCLUDE[conclusion.verdict])
    changes: tuple[Block, ...] = bullets(conclusion.would_change, "What would change this answer")
    return (
        Section("findings", "Findings", findings or (Note("There is nothing to add to the answer above."),)),
        Section("actions", "What to do", (*do, *changes)),
        Section("cautions", "What not to conclude", (Bullets(avoid),)),
    )


def _warnings(analysis: Analysis) -> tuple[str, ...]:
    conclusion = analysis.conclusion
    beyond = overstatements(conclusion.verdict, (conclusion.headline, *conclusion.findings))
    own = tuple(
        f"This sentence claims more than the verdict '{conclusion.verdict}' allows: “{text}”" for text in beyond
    )
    return (*conclusion.warnings, *own)
