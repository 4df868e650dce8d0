"""How is a model asked for something that is checked: once, once more with what is wrong, then no further?"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel

from src.agents.tool_composer.services import PLACE, Services
from src.domain.prompts import Prompt
from src.errors import LLMError, ServiceOutage, ServiceRefused
from src.llm.client import Message, Purpose
from src.resilience.outcomes import Unavailable

ATTEMPTS = 2
_PURPOSES: Mapping[str, Purpose] = {"decompose": "classification", "plan": "reasoning", "synthesize": "narration"}

_QUOTED = re.compile(r"^(?:the number )?.{1,60}? is not in\b")

Reply = TypeVar("Reply", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Asked:
    """A reply that holds, or in one line why there is none; the prompt that was used."""

    reply: BaseModel | None
    prompt: Prompt
    problem: str = ""


async def ask_model(
    services: Services,
    task: str,
    facts: Mapping[str, Any],
    schema: type[Reply],
    check: Callable[[Reply], tuple[str, ...]],
) -> Asked:
    """Ask for ``schema``; ``check`` names what is wrong with a reply. Facts are data, never instructions.

    Raises ConfigError without a prompt; everything else that goes wrong with the model is ``problem``.
    """
    prompt = await services.prompts.active(PLACE)
    model = services.model
    assert model is not None  # asked only where there is one
    messages = [Message("user", json.dumps({"task": task, "facts": facts}, ensure_ascii=False, default=str))]
    found: tuple[str, ...] = ()
    try:
        async with asyncio.timeout(services.reply_seconds):
            for _ in range(ATTEMPTS):
                answer = await model.complete(messages, purpose=_PURPOSES[task], schema=schema, system=prompt.text)
                if isinstance(answer, Unavailable):
                    return Asked(None, prompt, answer.reason)
                reply = answer.parsed_as(schema)
                found = check(reply)
                if not found:
                    return Asked(reply, prompt)
                again = "\n".join(
                    ["That does not hold:", *(f"- {one}" for one in found), "Answer the same task again."]
                )
                messages = [*messages, Message("assistant", reply.model_dump_json()), Message("user", again)]
    except TimeoutError:
        return Asked(None, prompt, f"no reply within {services.reply_seconds:g} s")
    except (LLMError, ServiceRefused, ServiceOutage) as error:
        return Asked(None, prompt, f"{type(error).__name__}: {error}")
    return Asked(None, prompt, f"the reply does not hold: {_for_readers(found[:3])}")


def _for_readers(problems: tuple[str, ...]) -> str:
    """Why a reply does not hold, without the numbers it made up: readers of the answer see the reason."""
    return "; ".join(dict.fromkeys(_QUOTED.sub("a number or name is not in", one) for one in problems))
