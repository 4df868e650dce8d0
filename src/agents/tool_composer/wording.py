"""What do the steps say together? By template: every number is one of their figures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from src.agents.tool_composer.dag import is_share
from src.agents.tool_composer.decomposing import ROBUSTNESS, VALUE
from src.agents.tool_composer.state import Plan, StepResult, SubQuestion, Synthesis, ToolOutput
from src.domain.figures import Known, unfounded_numbers
from src.domain.findings import Evidence, Figure, Statement, StatementKind
from src.domain.vocabulary import Intent

LIMITS = (StatementKind.WARNING, StatementKind.CAVEAT)
MOST_FINDINGS = 3
MOST_INTERVALS = 8
SUREST, PER_ASSUMPTION = 0.9, 0.05
# What the words of a verdict count for.
WORDED = {"high": 0.9, "moderate": 0.7, "low": 0.4}
MOST_CONCLUSIONS = 4
# Whose conclusions answer a kind of question, the first one first; the first step's where nothing is said here.
_ANSWERING: Mapping[str, tuple[str, ...]] = {
    VALUE: ("roi_estimator", "causal_effect_estimator"),
    ROBUSTNESS: ("refutation_runner", "sensitivity_analyzer", "causal_effect_estimator"),
    Intent.RESOURCE_ALLOCATION.value: ("roi_estimator", "segment_ranker"),
    Intent.SEGMENT_ANALYSIS.value: ("cate_analyzer", "causal_effect_estimator"),
    Intent.PREDICTION.value: ("propensity_estimator", "risk_scorer"),
    Intent.DRIFT_CHECK.value: ("psi_calculator", "distribution_comparator"),
}
_MEASURES = ("treatment", "outcome", "measure")


@dataclass(frozen=True, slots=True)
class Material:
    """Everything an answer is told from. ``notes`` are what was left out or read as something."""

    query: str
    sub_questions: tuple[SubQuestion, ...]
    plan: Plan
    steps: tuple[StepResult, ...]
    notes: tuple[str, ...] = ()

    @property
    def done(self) -> tuple[tuple[StepResult, ToolOutput], ...]:
        """The steps that succeeded, with what they gave."""
        return tuple((step, step.output) for step in self.steps if step.output is not None)

    @property
    def figures(self) -> tuple[Figure, ...]:
        """All figures; those of one name about different things say what each is about."""
        abouts: dict[str, set[str]] = {}
        for step, output in self.done:
            for one in output.figures:
                abouts.setdefault(one.name, set()).add(self._about(step))
        return tuple(
            replace(one, name=f"{self._about(step)}: {one.name}") if len(abouts[one.name]) > 1 else one
            for step, output in self.done
            for one in output.figures
        )

    @property
    def statements(self) -> tuple[Statement, ...]:
        """What each step concluded, all it stated, each once, and what was assumed."""
        found = [one for _, output in self.done for one in (*_concluded(output), *output.statements)]
        own = [Statement(StatementKind.ASSUMPTION, text) for text in self.assumptions]
        return tuple(dict.fromkeys([*found, *own]))

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What the plan and the reading of the question filled in, and what shares came to in units."""
        shares = [text for step, _ in self.done for text in _shares_in_units(step, self.plan)]
        return tuple(dict.fromkeys([*self.plan.assumptions, *self.notes, *shares]))

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """Each successful step's summary under the id its figures name."""
        return tuple(Evidence(output.figures[0].evidence, output.summary) for _, output in self.done if output.figures)

    @property
    def caveats(self) -> tuple[str, ...]:
        """What limits the answer, the parts that were not computed first."""
        said = [one.text for one in self.statements if one.kind in LIMITS]
        return tuple(dict.fromkeys([*self.failures, *said]))

    @property
    def failures(self) -> tuple[str, ...]:
        """One sentence for each step that gave nothing."""
        return tuple(
            f"{spoken(step.tool)} gave no result: {_reason(step)}" for step in self.steps if step.status != "success"
        )

    def _about(self, step: StepResult) -> str:
        """What a step is about: "rep calls on nrx, Kisqali"; the tool's name where it names no measures."""
        named = [str(step.inputs[name]).replace("_", " ") for name in _MEASURES if step.inputs.get(name)]
        kept = next((one.scope.kept for one in self.plan.steps if one.ordinal == step.ordinal), ())
        what = " on ".join(named) or spoken(step.tool).lower()
        return ", ".join([what, *(" or ".join(values) for _, values in kept)])

    def planned_for(self, ordinal: int) -> int:
        """The part of the question that a step answers."""
        return next(step.sub_question for step in self.plan.steps if step.ordinal == ordinal)


def by_template(material: Material) -> Synthesis:
    """The answer of at least one successful step, in the order of the question."""
    blocks = [_part(material, index) for index in range(len(material.sub_questions))]
    return synthesis(material, headline_of(material), [block for block in blocks if block], "template")


def headline_of(material: Material) -> str:
    """What every part comes to, in the order of the question: the conclusions of the tools that answer it."""
    told = [text for index in range(len(material.sub_questions)) for text in _conclusions(material, index)]
    return " ".join(_sentence(text) for text in dict.fromkeys(told))


def _conclusions(material: Material, index: int) -> list[str]:
    """Those of the tools that its kind of question is put to, else of the first one."""
    done = [(step.tool, output) for step, output in material.done if material.planned_for(step.ordinal) == index]
    if not done:
        return []
    answering = _ANSWERING.get(material.sub_questions[index].intent, ())
    wanted = [tool for tool in answering if any(name == tool for name, _ in done)] or [done[0][0]]
    return [output.summary for tool in wanted for name, output in done if name == tool][:MOST_CONCLUSIONS]


def synthesis(material: Material, headline: str, paragraphs: Sequence[str], source: str) -> Synthesis:
    """Paragraphs with everything that must not be lost: what failed, what was assumed, every caveat."""
    assumed = [
        _sentence(one.text) for one in material.statements if one.kind is StatementKind.ASSUMPTION and not one.evidence
    ]
    limits = [_sentence(text) for text in material.caveats if text not in material.failures]
    blocks = [
        *paragraphs,
        "\n".join(_sentence(text) for text in material.failures),
        _list("Read as follows:", assumed),
        _list("What limits this:", limits),
    ]
    return Synthesis(
        answer="\n\n".join(block for block in blocks if block),
        headline=headline,
        confidence=confidence_of(material),
        caveats=material.caveats,
        statements=material.statements,
        figures=material.figures,
        evidence=material.evidence,
        source=source,
    )


def confidence_of(material: Material) -> float | None:
    """How surely how much of the question was answered, less 0.05 for each of at most three assumptions.

    The least sure of the steps that say how sure they are (0.9 where none does), times the share of steps that gave a
    result; None where none did. It is no probability.
    """
    if not material.done:
        return None
    least = min([*filter(None, (_confidence(output) for _, output in material.done)), SUREST])
    answered = least * len(material.done) / len(material.steps)
    return round(max(answered - PER_ASSUMPTION * min(len(material.assumptions), 3), 0.05), 3)


def _confidence(output: ToolOutput) -> float | None:
    """What a step says of itself: in words, or by a first interval that does not exclude 0; None where in neither."""
    words = [output.confidence, *(str(row.get("confidence")) for row in output.rows)]
    said = [WORDED[word] for word in words if word in WORDED]
    first = next((one for one in output.figures if None not in (one.lower, one.upper)), None)
    if not said and first is not None and (first.lower or 0.0) <= 0 <= (first.upper or 0.0):
        said.append(WORDED["low"])
    return min(said, default=None)


def _concluded(output: ToolOutput) -> tuple[Statement, ...]:
    """The summary of a step on its evidence, where it stated it nowhere else."""
    if not output.figures or any(one.text == output.summary for one in output.statements):
        return ()
    return (Statement(StatementKind.FINDING, output.summary, (output.figures[0].evidence,)),)


def known_numbers(output: ToolOutput) -> tuple[Known, ...]:
    """Every number a step computed: its figures with their intervals, its table, how many rows it read."""
    found = [
        Known(value, figure.unit)
        for figure in output.figures
        for value in (figure.value, figure.lower, figure.upper)
        if value is not None
    ]
    cells = (value for row in output.rows for value in row.values())
    found += [Known(float(value)) for value in cells if isinstance(value, int | float) and not isinstance(value, bool)]
    return (*found, Known(float(output.n_rows), "rows"))


def founded(output: ToolOutput, arguments: Mapping[str, Any], texts: Iterable[str]) -> ToolOutput:
    """The output with a summary whose every number is known: computed, given as an argument, or of ``texts``.

    Statements name the step as their evidence and stand; a summary that says more than they and the figures do is
    replaced by the figures.
    """
    given = [Known(float(one)) for one in _numbers(arguments.values())]
    said = [*texts, *(one.text for one in output.statements if one.evidence)]
    if not unfounded_numbers(output.summary, (*known_numbers(output), *given), said):
        return output
    told = figures_in_words(output.figures) or ", ".join(f"{one.name} {one.value:.4g}" for one in output.figures[:3])
    return replace(output, summary=f"The figures are: {told}." if told else "It gave no figure.")


def _numbers(values: Iterable[Any]) -> Iterator[float]:
    for value in values:
        if isinstance(value, list | tuple):
            yield from _numbers(value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield float(value)


def figures_in_words(figures: Iterable[Figure], most: int = MOST_INTERVALS) -> str:
    """Figures that have an interval: "effect 0.21 scripts (95 % interval 0.12 to 0.31)"."""
    spoken_figures = [_figure(one) for one in figures if one.lower is not None and one.upper is not None]
    return "; ".join(spoken_figures[:most])


def spoken(tool: str) -> str:
    """A tool's name as words begin a sentence."""
    return tool.replace("_", " ").capitalize()


def _shares_in_units(step: StepResult, plan: Plan) -> Iterator[str]:
    planned = next(one for one in plan.steps if one.ordinal == step.ordinal)
    for name, value in planned.arguments.items():
        if is_share(value):
            column = str(value["of"]).replace("_", " ")
            share, units = 100.0 * value["share"], step.inputs[name]
            yield f"a change of {share:+.0f} % in {column} was read as {units:+.3g} in each row, by the mean of today"


def _part(material: Material, index: int) -> str:
    steps = [(step, output) for step, output in material.done if material.planned_for(step.ordinal) == index]
    lines = []
    for step, output in steps:
        where = next(one.scope for one in material.plan.steps if one.ordinal == step.ordinal)
        lines.append(_sentence(output.summary) + (f" ({where})" if len(steps) > 1 and where.kept else ""))
        findings = [one.text for one in output.statements if one.kind is StatementKind.FINDING]
        others = [one.text for one in output.statements if one.kind in _ADVICE]
        new = [text for text in dict.fromkeys([*findings[:MOST_FINDINGS], *others]) if text != output.summary]
        lines += [f"- {_sentence(text)}" for text in new]
    if not lines:
        return ""
    asked = material.sub_questions[index].text.rstrip("?.! ")
    title = f"{asked[:1].upper()}{asked[1:]}:"
    return "\n".join([title, *lines] if len(material.sub_questions) > 1 else lines)


_ADVICE = (StatementKind.OPPORTUNITY, StatementKind.RECOMMENDATION, StatementKind.WOULD_CHANGE)


def _reason(step: StepResult) -> str:
    return step.error_message or step.error_type or step.status


def _list(title: str, lines: Sequence[str]) -> str:
    return "\n".join([title, *(f"- {line}" for line in lines)]) if lines else ""


def _sentence(text: str) -> str:
    text = text.strip()
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _figure(one: Figure) -> str:
    unit = f" {one.unit}" if one.unit else ""
    name = one.name.replace("_", " ")
    return f"{name} {one.value:.4g}{unit} (95 % interval {one.lower:.4g} to {one.upper:.4g})"
