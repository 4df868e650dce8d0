"""Who tells what was found: a language model whose every number was checked, or a template?"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

from src.agents.ml_foundation.feature_analyzer.claims import NarrativeReply, unfounded
from src.agents.ml_foundation.feature_analyzer.facts import Facts
from src.agents.ml_foundation.feature_analyzer.result import Narrative
from src.agents.ml_foundation.feature_analyzer.services import Services
from src.agents.ml_foundation.feature_analyzer.template import from_template
from src.domain.prompts import Prompt
from src.errors import LLMError, ServiceOutage, ServiceRefused
from src.llm.client import LLMClient, Message
from src.resilience.outcomes import Unavailable

COMPONENT = "feature_analyzer"
ATTEMPTS = 2


@dataclass(frozen=True, slots=True)
class Told:
    """A narrative, and why it is not what was wanted: a warning where no model is configured, else degraded.

    ``prompt`` is the wording by which a model was asked, None where none was.
    """

    narrative: Narrative
    prompt: Prompt | None = None
    warnings: tuple[str, ...] = ()
    degraded: tuple[str, ...] = ()


class _Unbelievable(LLMError):
    """A reply says what the facts do not, also after it was told so."""


async def narrate(services: Services, facts: Facts) -> Told:
    """Ask the model; without one, or without a reply that holds, take the template and say why."""
    client = services.llm
    if client is None or client.provider == "none":
        return Told(from_template(facts), warnings=("narration: by template, no language model is configured",))
    prompt = await services.prompts.active(COMPONENT)
    try:
        async with asyncio.timeout(services.narration_seconds):
            reply = await _believable(client, prompt.text, facts)
    except TimeoutError:
        return _instead(facts, prompt, f"no reply within {services.narration_seconds:g} s")
    except (LLMError, ServiceRefused, ServiceOutage) as error:
        return _instead(facts, prompt, f"{type(error).__name__}: {error}")
    return Told(Narrative(reply.summary.strip(), tuple(reply.key_insights), tuple(reply.cautions), "llm"), prompt)


async def _believable(client: LLMClient, prompt: str, facts: Facts) -> NarrativeReply:
    """A reply without any number or name of its own; a wrong one is asked for once more."""
    messages = [Message("user", json.dumps(facts.document, ensure_ascii=False))]
    problems: tuple[str, ...] = ()
    for _ in range(ATTEMPTS):
        answer = await client.complete(messages, purpose="narration", schema=NarrativeReply, system=prompt)
        if isinstance(answer, Unavailable):
            raise ServiceOutage(answer.reason)
        reply = answer.parsed_as(NarrativeReply)
        problems = unfounded(reply, facts)
        if not problems:
            return reply
        again = "Say it again without these:\n" + "\n".join(f"- {problem}" for problem in problems)
        messages = [*messages, Message("assistant", reply.model_dump_json()), Message("user", again)]
    raise _Unbelievable(f"the reply does not hold: {'; '.join(problems[:3])}")


def _instead(facts: Facts, prompt: Prompt, reason: str) -> Told:
    return Told(from_template(facts), prompt, degraded=(f"narration: by template ({reason})",))
