"""How hard was it tried to break the estimate, and what would it take?"""

from __future__ import annotations

from src.app.report.blocks import Block, Note, Paragraph, Section, Table, bullets
from src.app.report.numbers import count, interval, number
from src.app.report.wording import plain
from src.causal_engine.results import Gate, RefutationReport, RefutationTest, SensitivityReport

_GATES = {
    Gate.PROCEED: "the tests allow the claim to stand",
    Gate.REVIEW: "the claim needs review before use",
    Gate.BLOCK: "the tests block the claim",
    Gate.NO_EFFECT: "no effect was detected, so there is no claim to test",
}


def result_word(test: RefutationTest) -> str:
    """Passed, FAILED or not applicable."""
    if not test.applicable or test.passed is None:
        return "not applicable"
    return "passed" if test.passed else "FAILED"


def refutation_section(refutation: RefutationReport | None) -> Section:
    """The table of refutation tests with the gate they lead to."""
    title = "Attempts to refute the estimate"
    if refutation is None:
        return Section("refutation", title, (Note("No refutation tests were run: there was no estimate to test."),))
    score = "no score" if refutation.score is None else f"score {number(refutation.score)}"
    said = f"Result: {_GATES[refutation.gate]} ({score}; random state {refutation.random_state})."
    rows = tuple(
        (
            plain(test.name),
            "yes" if test.critical else "no",
            "–" if test.statistic is None else number(test.statistic),
            "–" if test.threshold is None else number(test.threshold),
            count(test.draws) if test.draws else "–",
            result_word(test),
            test.detail,
        )
        for test in refutation.tests
    )
    header = ("Test", "Critical", "Statistic", "Threshold", "Draws", "Result", "Detail")
    caveat = Paragraph("Passing these tests is no evidence that unmeasured confounding is absent.")
    return Section("refutation", title, (Paragraph(said), Table(header, rows), *bullets(refutation.reasons), caveat))


def sensitivity_section(sensitivity: SensitivityReport | None) -> Section:
    """How strong an unmeasured common cause would have to be, against measured ones."""
    title = "Sensitivity to unmeasured confounding"
    if sensitivity is None:
        return Section("sensitivity", title, (Note("Sensitivity was not worked out: there was no estimate to test."),))
    measures = Table(
        ("Measure", "Value"),
        (
            ("E-value of the estimate", number(sensitivity.e_value)),
            ("E-value of the interval limit nearest to no effect", number(sensitivity.e_value_limit)),
            ("Risk ratio used", number(sensitivity.risk_ratio)),
            ("Robustness value (estimate to zero)", number(sensitivity.robustness_value)),
            ("Robustness value (interval to zero)", number(sensitivity.robustness_value_alpha)),
            ("Fragile", "yes" if sensitivity.fragile else "no"),
        ),
    )
    blocks: list[Block] = [Paragraph(sensitivity.statement), measures]
    if sensitivity.benchmarks:
        rows = tuple(
            (
                f"{mark.multiple:g} × {mark.covariate}",
                number(mark.r2_treatment),
                number(mark.r2_outcome),
                number(mark.adjusted_estimate),
                interval(mark.adjusted_ci),
            )
            for mark in sensitivity.benchmarks
        )
        header = ("As strong as", "Partial R² treatment", "Partial R² outcome", "Effect left", "95 % interval left")
        blocks.append(Table(header, rows, heading="What a hypothetical common cause would leave"))
    else:
        blocks.append(Note("There is no measured covariate to hold an unmeasured one against."))
    return Section("sensitivity", title, tuple(blocks))
