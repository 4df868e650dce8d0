"""Who tells what the steps found: a language model whose every number was checked, or the template?"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from src.agents.tool_composer.asking_models import Asked, ask_model
from src.agents.tool_composer.services import Services
from src.agents.tool_composer.state import Synthesis
from src.agents.tool_composer.wording import Material, by_template, figures_in_words, known_numbers, synthesis
from src.causal_engine.results import Verdict
from src.domain.attribution import misattributed
from src.domain.causal_words import claims_cause, claims_proof
from src.domain.figures import Known, unfounded_names, unfounded_numbers
from src.domain.identifiers import find_identifiers

LONGEST_HEADLINE = 400
LONGEST_PARAGRAPH = 1_200

_SENTENCES = re.compile(r"(?<=[.!?;])\s+")


class NarratedReply(BaseModel):
    """What a language model is asked for."""

    model_config = ConfigDict(extra="forbid")

    headline: str = Field(min_length=1)
    paragraphs: list[str] = Field(min_length=1, max_length=8)


@dataclass(frozen=True, slots=True)
class Told:
    """A synthesis, and why it is not what was wanted."""

    synthesis: Synthesis
    asked: Asked | None = None
    degraded: tuple[str, ...] = ()


async def tell(services: Services, material: Material) -> Told:
    """By the model where there is one and its words hold, else by the template, and why."""
    if services.model is None:
        return Told(by_template(material))
    asked = await ask_model(
        services, "synthesize", facts_of(material), NarratedReply, lambda one: problems(one, material)
    )
    if not isinstance(asked.reply, NarratedReply):
        return Told(by_template(material), asked, (f"synthesize: by template ({asked.problem})",))
    intervals = figures_in_words(material.figures)
    extra = [f"Figures: {intervals}."] if intervals else []
    paragraphs = [text.strip() for text in (asked.reply.headline, *asked.reply.paragraphs)]
    return Told(synthesis(material, asked.reply.headline.strip(), [*paragraphs, *extra], "llm"), asked)


def facts_of(material: Material) -> dict[str, object]:
    """What the model is given: aggregates of the steps, and what failed."""
    steps = [
        {
            "part": material.planned_for(step.ordinal),
            "tool": step.tool,
            "summary": output.summary,
            "figures": [
                {"name": one.name, "value": one.value, "unit": one.unit, "lower": one.lower, "upper": one.upper}
                for one in output.figures
            ],
            "statements": [{"kind": one.kind.value, "text": one.text} for one in output.statements],
        }
        for step, output in material.done
    ]
    return {
        "question": material.query,
        "parts": [one.text for one in material.sub_questions],
        "steps": steps,
        "not_computed": list(material.failures),
    }


def problems(reply: NarratedReply, material: Material) -> tuple[str, ...]:
    """What is wrong with a reply, one line each; () when it holds. None quotes it beyond a number."""
    found = []
    if len(reply.headline) > LONGEST_HEADLINE or any(len(text) > LONGEST_PARAGRAPH for text in reply.paragraphs):
        found.append("a text is too long")
    text = "\n".join([reply.headline, *reply.paragraphs])
    found += [
        f"the number {one} is not in the facts" for one in unfounded_numbers(text, _known(material), _texts(material))
    ]
    found += [f"the number {one}" for one in misattributed(text, material.figures, _texts(material))]
    found += [f"{one} is not in the facts" for one in unfounded_names(text, (*_texts(material), *_names(material)))]
    if claims_proof(text):
        found.append("nothing is proven or guaranteed; say what was found and how sure it is")
    if any(claims_cause(one) and not _may_say_cause(one, material) for one in _SENTENCES.split(text)):
        found.append("a sentence claims a cause that no step's verdict supports")
    if find_identifiers(text):
        found.append("a sentence names a single person")
    return tuple(dict.fromkeys(found))


def _known(material: Material) -> tuple[Known, ...]:
    return tuple(known for _, output in material.done for known in known_numbers(output))


def _texts(material: Material) -> tuple[str, ...]:
    said = [text for _, output in material.done for text in (output.summary, *(one.text for one in output.statements))]
    return (*said, *material.failures)


def _names(material: Material) -> tuple[str, ...]:
    """Where dates, quarters and codes may come from besides what was found: the question, groups and figures."""
    cells = [str(cell) for _, output in material.done for row in output.rows for cell in row.values()]
    asked = [material.query, *(f"{one.text} {one.scope}" for one in material.sub_questions)]
    return (*asked, *cells, *(one.name for one in material.figures))


def _may_say_cause(sentence: str, material: Material) -> bool:
    """Whether all that acts in a sentence has the verdict that a causal effect is supported.

    One that names nothing that acts is about all steps.
    """
    supported: set[str] = set()
    others: set[str] = set()
    for step, output in material.done:
        if not (acts := str(step.inputs.get("treatment") or "")):
            continue
        verdicts = {row.get("verdict") for row in output.rows if row.get("verdict")}
        if verdicts:
            (supported if verdicts == {Verdict.SUPPORTED.value} else others).add(acts)
    named = {one for one in supported | others if _names_it(sentence, one)}
    return bool(supported) and not (named or supported | others) & others


def _names_it(sentence: str, column: str) -> bool:
    """Whether a sentence speaks of a column, by its words or the last of them: "rep calls", "calls"."""
    words = column.replace("_", " ").lower().split()
    return re.search(rf"\b{re.escape(words[-1].removesuffix('s'))}", sentence.lower()) is not None
