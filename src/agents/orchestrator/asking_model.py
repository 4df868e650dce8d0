"""What does a language model make of a question whose kind the patterns leave open, and may that be believed?"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from src.agents.orchestrator.clarifying import OFF_TOPIC, last_question, off_topic
from src.agents.orchestrator.classification import Known, of_facets
from src.agents.orchestrator.facets import Facet, audience_of
from src.agents.orchestrator.reading import SURE, Features, read
from src.agents.orchestrator.services import PLACE, Services
from src.agents.orchestrator.state import Classification, Pattern, Turn
from src.domain.prompts import FilePrompts
from src.domain.vocabulary import Intent
from src.errors import LLMError, QuestionNotUnderstood, ServiceOutage, ServiceRefused
from src.llm.client import LLMClient, Message
from src.resilience.outcomes import Unavailable

MOST_PARTS = 4
_STEM = 4
"""Letters by which a word of a part is found again in the question: "leave" in "leaving"."""
_NOT_PARTS = (Intent.MULTI_FACETED,)
_TYPICAL = {
    Intent.CAUSAL_EFFECT: "Do rep calls raise new prescriptions of Kisqali?",
    Intent.PERFORMANCE_GAP: "Where are our HCP-targeting gaps?",
    Intent.SEGMENT_ANALYSIS: "Which segments respond best to rep visits?",
    Intent.EXPERIMENT_DESIGN: "Design a test of the new trigger",
    Intent.PREDICTION: "Which share of HCPs will convert next quarter?",
    Intent.RESOURCE_ALLOCATION: "Where should ten extra reps go?",
    Intent.EXPLANATION: "Explain this result to an executive",
    Intent.SYSTEM_HEALTH: "Is the platform healthy?",
    Intent.DRIFT_CHECK: "Is the churn model drifting?",
    Intent.FEEDBACK: "This answer was wrong",
    Intent.GENERAL: "Which territories lead Remibrutinib sales? What does the launch plan say?",
}


class PartReply(BaseModel):
    """One thing that is asked for."""

    model_config = ConfigDict(extra="forbid")

    text: Annotated[str, Field(min_length=1, max_length=2000)]
    kind: str


class SortedReply(BaseModel):
    """How a model sorts a question."""

    model_config = ConfigDict(extra="forbid")

    about_this_business: bool
    unclear: bool
    parts: Annotated[list[PartReply], Field(max_length=MOST_PARTS)]


@dataclass(frozen=True, slots=True)
class Sorted:
    """The reading that counts, and why it is not the model's where one was asked in vain."""

    classification: Classification
    degraded: tuple[str, ...] = ()


class _NotBelieved(LLMError):
    """A reply that the question and the vocabulary do not bear out."""


async def classified_by_model(
    query: str, found: Classification, turns: Sequence[Turn], known: Known, services: Services
) -> Sorted:
    """Ask the model about ``found``, which is not sure; without one, or a reply that holds, ``found`` stands.

    The model only says which parts there are and of which kind: names are read from its parts by the vocabulary, and
    none may stand there that is not in the question.
    """
    client = services.llm
    final = found.pattern is Pattern.DECLINED and found.rule != OFF_TOPIC
    if client is None or client.provider == "none" or final:
        return Sorted(found)
    try:
        prompt = await (services.prompts or FilePrompts()).active(PLACE)
        async with asyncio.timeout(services.reply_seconds):
            reply = await _ask(client, prompt.text, _document(found, turns, known))
        better = _checked(reply, query, found, turns, known)
    except TimeoutError:
        return Sorted(found, (f"classification: by patterns (no reply within {services.reply_seconds:g} s)",))
    except (LLMError, ServiceRefused, ServiceOutage, QuestionNotUnderstood) as error:
        return Sorted(found, (f"classification: by patterns ({type(error).__name__}: {error})",))
    return Sorted(replace(better, method="llm", prompt_versions=((PLACE, prompt.version),)))


async def _ask(client: LLMClient, prompt: str, document: str) -> SortedReply:
    messages = [Message("user", document)]
    answer = await client.complete(
        messages, purpose="classification", schema=SortedReply, system=prompt, cache_system=True
    )
    if isinstance(answer, Unavailable):
        raise ServiceOutage(answer.reason)
    return answer.parsed_as(SortedReply)


def _document(found: Classification, turns: Sequence[Turn], known: Known) -> str:
    last = last_question(turns)
    features = read(found.resolved, known.vocabulary, known.today)
    return json.dumps(
        {
            "question": found.resolved,
            "question_before": last.resolved if last else None,
            "kinds": {str(intent): typical for intent, typical in _TYPICAL.items()},
            "names": sorted({match.canonical for match in features.matches}),
        },
        ensure_ascii=False,
    )


def _checked(
    reply: SortedReply, query: str, found: Classification, turns: Sequence[Turn], known: Known
) -> Classification:
    if not reply.about_this_business:
        return off_topic(found.resolved)
    if reply.unclear or not reply.parts:
        return found
    whole = read(found.resolved, known.vocabulary, known.today)
    facets = [_facet(part, whole, known) for part in reply.parts]
    better = of_facets(found.resolved, facets, turns, known, settle=False)
    return replace(better, expertise=audience_of(query, known.vocabulary))


def _facet(part: PartReply, whole: Features, known: Known) -> Facet:
    try:
        intent = Intent(part.kind)
    except ValueError:
        raise _NotBelieved(f"there is no kind of question '{part.kind[:40]}'") from None
    if intent in _NOT_PARTS:
        raise _NotBelieved(f"'{intent}' is no kind of a part")
    features = read(part.text, known.vocabulary, known.today)
    if added := _added(features, whole, known):
        raise _NotBelieved(f"the question does not say {added[0]}")
    sure = replace(features, intent=intent, confidence=max(features.confidence, SURE), on_topic=True)
    return Facet(part.text, intent, sure.confidence, sure)


def _added(part: Features, whole: Features, known: Known) -> list[str]:
    """Names and words of a part that do not stand in the question; little words may be added."""
    names, known_names = ({match.canonical for match in one.matches} for one in (part, whole))
    said = {word[:_STEM] for word in whole.text.split()}
    words = [word for word in part.text.split() if word[:_STEM] not in said]
    return sorted(names - known_names) or [word for word in words if word not in known.vocabulary.words.function]
