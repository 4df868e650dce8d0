"""Who chooses what is said: a language model whose every number was checked, or the template?"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

from src.agents.explainer.claims import insight_confidence, problems_of
from src.agents.explainer.insights import insights_of, numbered
from src.agents.explainer.material import harmless
from src.agents.explainer.reply import ExplanationReply, document_of
from src.agents.explainer.services import PLACE, Services
from src.agents.explainer.state import ExplainRequest, Material, Quote, Reasoning
from src.domain.findings import Insight, StatementKind
from src.domain.prompts import Prompt
from src.errors import LLMError, ServiceOutage, ServiceRefused
from src.llm.client import LLMClient, Message
from src.resilience.outcomes import Unavailable

ATTEMPTS = 2
MOST_TOKENS = 2_000
MOST_PROBLEMS = 12


class Unbelievable(LLMError):
    """A reply says what the findings do not, also after it was told so."""


def by_template(material: Material, degraded: Sequence[str] = ()) -> Reasoning:
    """The findings in their own words."""
    return Reasoning(insights_of(material), "", (), "template", tuple(degraded))


async def by_model(
    client: LLMClient, services: Services, prompt: Prompt, request: ExplainRequest, material: Material
) -> Reasoning:
    """A model's words that hold, or the template and, in ``degraded``, why."""
    used = ((PLACE, prompt.version),)
    try:
        async with asyncio.timeout(services.reply_seconds):
            reply = await _believable(client, prompt.text, request, material)
    except TimeoutError:
        reason = f"no reply within {services.reply_seconds:g} s"
    except (LLMError, ServiceRefused, ServiceOutage) as error:
        reason = f"{type(error).__name__}: {error}"
    else:
        return _taken(reply, request, material, used)
    instead = by_template(material, [f"the explanation is by template ({reason})"])
    return Reasoning(instead.insights, "", (), "template", instead.degraded, used)


async def _believable(client: LLMClient, system: str, request: ExplainRequest, material: Material) -> ExplanationReply:
    """A reply without anything of its own; a wrong one is asked for once more, with what is wrong named."""
    messages = [Message("user", json.dumps(document_of(request, material), ensure_ascii=False))]
    problems: tuple[str, ...] = ()
    for _ in range(ATTEMPTS):
        answer = await client.complete(
            messages, purpose="reasoning", schema=ExplanationReply, system=system, max_tokens=MOST_TOKENS
        )
        if isinstance(answer, Unavailable):
            raise ServiceOutage(answer.reason)
        reply = answer.parsed_as(ExplanationReply)
        problems = problems_of(reply, request, material)
        if not problems:
            return reply
        again = "Write it again without these:\n" + "\n".join(f"- {one}" for one in problems[:MOST_PROBLEMS])
        messages = [*messages, Message("assistant", reply.model_dump_json()), Message("user", again)]
    raise Unbelievable(f"the reply does not hold: {'; '.join(problems[:3])}")


def _taken(
    reply: ExplanationReply, request: ExplainRequest, material: Material, used: tuple[tuple[str, int], ...]
) -> Reasoning:
    titles = {one.chunk_id: one.title for one in request.passages}
    return Reasoning(
        insights=_merged(reply, insights_of(material)),
        summary=reply.summary.strip(),
        points=tuple(one.text.strip() for one in reply.points),
        source="llm",
        prompt_versions=used,
        quotes=tuple(
            Quote(one.chunk_id.removeprefix("chunk:"), _title(one.chunk_id, titles), " ".join(one.text.split()))
            for one in reply.quotes
        ),
    )


def _title(chunk_id: str, titles: dict[str, str]) -> str:
    bare = chunk_id.removeprefix("chunk:")
    title = titles.get(bare) or titles.get(f"chunk:{bare}") or ""
    return harmless(title) or "A document"


def _merged(reply: ExplanationReply, own: Sequence[Insight]) -> tuple[Insight, ...]:
    """The model's insights in its order; recommendations and warnings in the agents' own words, and never fewer."""
    chosen = [
        Insight(one.category, one.text.strip(), insight_confidence(one.evidence, own), 0, tuple(one.evidence))
        for one in reply.insights
        if one.category in (StatementKind.FINDING, StatementKind.OPPORTUNITY)
    ]
    kept = [one for one in own if one.category in (StatementKind.RECOMMENDATION, StatementKind.WARNING)]
    return numbered([*chosen[:1], *kept, *chosen[1:]]) if chosen else tuple(own)
