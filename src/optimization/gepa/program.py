"""How does dspy see a component? As a module whose instruction is the prompt and whose forward runs the component."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from src.domain.identifiers import without_identifiers
from src.domain.improvement import LearningItem
from src.optimization.gepa.evaluations import Evaluations
from src.optimization.gepa.library import load_dspy, score_with_feedback

PREDICTOR = "component"
"""Name of the one predictor, and so of the text that is optimised."""
LONGEST_SHOWN = 4_000
"""Characters of what a component was given, or said, that the reflecting model is shown."""

Metric = Callable[..., Any]


def examples(items: Mapping[str, LearningItem]) -> list[Any]:
    """One dspy example per item; what it shows is without identifiers of persons."""
    dspy = load_dspy()
    return [
        dspy.Example(item=key, question=clean(item.query), given=_given(item)).with_inputs("item", "question", "given")
        for key, item in items.items()
    ]


def numbered(items: Sequence[LearningItem], share: str) -> dict[str, LearningItem]:
    """Items under short keys that say nothing about them."""
    return {f"{share}{place}": item for place, item in enumerate(items)}


def student(text: str, evaluations: Evaluations) -> Any:
    """The program whose instruction is ``text``.

    dspy takes tabs and common indentation out of an instruction; the component is given ``text`` as it is.
    """
    program = _program_class()(_signature().with_instructions(text), evaluations)
    evaluations.exact[instruction_of(program)] = text
    return program


def instruction_of(program: Any) -> str:
    """The wording of a program."""
    return str(program.component.signature.instructions)


def judged_metric(evaluations: Evaluations) -> Metric:
    """The metric of a component: what the optimising judge says; synchronous, with five arguments, as GEPA calls it."""

    def metric(gold: Any, pred: Any, trace: Any = None, pred_name: Any = None, pred_trace: Any = None) -> Any:
        judgement = evaluations.judged(pred.wording, gold.item)
        return score_with_feedback(judgement.score, judgement.feedback)

    return metric


def clean(text: str) -> str:
    """Without identifiers of persons, and no longer than what is shown."""
    text = without_identifiers(text)
    return text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + " […]"


def _given(item: LearningItem) -> str:
    if not item.inputs:
        return clean("\n\n".join(item.contexts))
    return clean(json.dumps(dict(item.inputs), ensure_ascii=False, default=str))


@functools.cache
def _signature() -> Any:
    dspy = load_dspy()

    class Component(dspy.Signature):  # type: ignore[misc,name-defined]  # dspy is loaded on first use
        """Replaced by the prompt."""

        item: str = dspy.InputField(desc="Key of the item.")
        question: str = dspy.InputField(desc="What was asked.")
        given: str = dspy.InputField(desc="What the component was given with it.")
        answer: str = dspy.OutputField(desc="What the component said.")

    return Component


@functools.cache
def _program_class() -> Any:
    dspy = load_dspy()

    class ComponentCall(dspy.Predict):  # type: ignore[misc,name-defined]  # as above
        """Asks the component instead of a model, and leaves the trace that GEPA reads."""

        def __init__(self, signature: Any, evaluations: Evaluations) -> None:
            super().__init__(signature)
            self.evaluations = _Shared(evaluations)

        def forward(self, **inputs: Any) -> Any:
            wording = self.signature.instructions
            ran = self.evaluations.of.ran(wording, inputs["item"])
            said = dspy.Prediction(answer=clean(ran.answer))
            if dspy.settings.trace is not None:
                dspy.settings.trace.append((self, dict(inputs), said))
            return dspy.Prediction(answer=said.answer, wording=wording)

    class ComponentProgram(dspy.Module):  # type: ignore[misc,name-defined]  # as above
        """The component as the one predictor of a program."""

        def __init__(self, signature: Any, evaluations: Evaluations) -> None:
            super().__init__()
            self.component = ComponentCall(signature, evaluations)

        def forward(self, item: str, question: str, given: str) -> Any:
            return self.component(item=item, question=question, given=given)

    return ComponentProgram


class _Shared:
    """One object in all copies that dspy makes of a program."""

    def __init__(self, of: Evaluations) -> None:
        self.of = of

    def __deepcopy__(self, memo: dict[int, Any]) -> _Shared:
        return self
