"""How does a language model write an answer from retrieved documents?"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel, Field

from src.domain.prompts import Prompt
from src.errors import BudgetExhausted, MalformedReply, ModelRefused, ServiceRefused
from src.llm.client import LLMClient, Message
from src.rag.answering.grounding import Source, WrittenSentence
from src.rag.answering.quotable import subject_of
from src.rag.retrieval_results import RetrievedChunk
from src.resilience.outcomes import Unavailable

MAX_TOKENS = 1200


class QuotedSource(BaseModel):
    """Words of one document."""

    document: int = Field(description="number of the document")
    quote: str = Field(description="words of that document, exactly as they stand there")


class AnswerSentence(BaseModel):
    """One sentence of the answer."""

    text: str
    sources: list[QuotedSource]


class WrittenAnswer(BaseModel):
    """The whole answer; ``missing`` says what the documents lack when they do not answer."""

    sentences: list[AnswerSentence]
    missing: str = ""


@dataclass(frozen=True, slots=True)
class Written:
    """What the model wrote: its sentences, what it misses, its name and the cost in US dollars where known."""

    sentences: tuple[WrittenSentence, ...]
    missing: str
    model: str
    cost: float | None


async def write_answer(
    llm: LLMClient,
    prompt: Prompt,
    query: str,
    chunks: Sequence[RetrievedChunk],
    *,
    max_chars: int,
    timeout_seconds: float,
) -> Written | Unavailable:
    """Ask the model once. Unavailable when there is no model, or it did not answer in a form that can be used, or
    not within ``timeout_seconds``, retries included.
    """
    request = [Message("user", question_with_documents(query, chunks, max_chars=max_chars))]
    try:
        async with asyncio.timeout(timeout_seconds) as deadline:
            reply = await llm.complete(
                request,
                purpose="reasoning",
                max_tokens=MAX_TOKENS,
                schema=WrittenAnswer,
                system=prompt.text,
                cache_system=True,
            )
    except TimeoutError:
        if not deadline.expired():
            raise
        return Unavailable("llm", f"it gave no answer within {timeout_seconds:g} s")
    except (MalformedReply, ModelRefused, BudgetExhausted, ServiceRefused) as error:
        return Unavailable("llm", f"{type(error).__name__}: {error}")
    if isinstance(reply, Unavailable):
        return reply
    answer = reply.parsed_as(WrittenAnswer)
    return Written(
        tuple(
            WrittenSentence(one.text, tuple(Source(source.document - 1, source.quote) for source in one.sources))
            for one in answer.sentences
            if one.text.strip()
        ),
        answer.missing.strip(),
        reply.model,
        reply.cost,
    )


def question_with_documents(query: str, chunks: Sequence[RetrievedChunk], *, max_chars: int) -> str:
    """The message: documents numbered from 1, each between marks that its own text cannot hold, then the question.

    Documents beyond ``max_chars`` characters in all are left out, the last one cut.
    """
    parts = ["<documents>"]
    left = max_chars
    for number, chunk in enumerate(chunks, start=1):
        if left <= 0:
            break
        text = _without_marks(chunk.text)[:left]
        left -= len(text)
        about = _without_marks(subject_of(chunk))
        parts.append(f'<document number="{number}">\n<about>{about}</about>\n{text}\n</document>')
    parts += ["</documents>", "", f"<question>{_without_marks(query)}</question>"]
    return "\n".join(parts)


def _without_marks(text: str) -> str:
    return text.replace("<", "‹").replace(">", "›")
