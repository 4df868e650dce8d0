"""A wording of prompts that is not that of the files."""

from __future__ import annotations

from dataclasses import dataclass

from src.domain.prompts import Prompt


@dataclass(frozen=True)
class Worded:
    """Every component is told ``text``, which is its version ``version``."""

    text: str
    version: int = 7

    async def active(self, component: str) -> Prompt:
        return Prompt(component, self.version, self.text)
