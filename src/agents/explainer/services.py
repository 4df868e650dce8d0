"""What do the nodes of explainer work with?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

from src.agents.runtime import Deps
from src.domain.prompts import FilePrompts, PromptSource
from src.llm.client import LLMClient

PLACE = "explainer"


@dataclass(frozen=True)
class Services:
    """The wording and, where one is configured, the model, whose calls must be traced.

    A reply, its repair included, is waited for at most ``reply_seconds``.
    """

    prompts: PromptSource = field(default_factory=FilePrompts)
    llm: LLMClient | None = None
    reply_seconds: float = 50.0


def services_of(deps: Deps) -> Services:
    """The services of this run."""
    return cast(Services, deps.workspace[PLACE])
