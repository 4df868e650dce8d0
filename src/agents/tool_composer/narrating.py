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
from src.domain.figures import Known, unfounded_names, unfounded_numbers
from src.domain.identifiers import find_identifiers

LONGEST_HEADLINE = 400
LONGEST_PARAGRAPH = 1_200

_PROOF = re.compile(r"\b(?:prov(?:e|es|ed|en|ing)|proof|guarantee\w{0,2}|undoubtedly|certainly)\b", re.IGNORECASE)
_CAUSAL = re.compile(
    r"\b(?:caus(?:e|es|ed|ing)|due to|leads? to|led to|drives?|drove|driven|because of|results? in|resulted in)\b",
    re.IGNORECASE,
)
_DENIED = re.compile(r"\b(?:not?|never|nor|cannot|without|whether|if)\b|n't\b", re.IGNORECASE)


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
    found += [f"{one} is not in the facts" for one in unfounded_names(text, (*_texts(material), *_names(material)))]
    if _PROOF.search(text):
        found.append("nothing is proven or guaranteed; say what was found and how sure it is")
    if not _causes(material) and any(_claims_cause(sentence) for sentence in re.split(r"(?<=[.!?;])\s+", text)):
        found.append("a sentence claims a cause; no step's verdict supports one")
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


def _causes(material: Material) -> bool:
    """Whether some step's verdict is that a causal effect is supported."""
    return any(row.get("verdict") == Verdict.SUPPORTED.value for _, output in material.done for row in output.rows)


def _claims_cause(sentence: str) -> bool:
    return _CAUSAL.search(sentence) is not None and _DENIED.search(sentence) is None
