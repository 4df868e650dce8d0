"""What do all phases of a composition leave in the state and on their spans?"""

from __future__ import annotations

import time
from typing import Any

from src.agents.runtime import Deps
from src.agents.tool_composer.state import ComposerState, ComposerUpdate
from src.domain.prompts import Prompt


def phase_update(state: ComposerState, update: ComposerUpdate, phase: str, began: float) -> ComposerUpdate:
    """``update`` with the phase's milliseconds; what adds up over phases is added to what earlier ones left."""
    merged: dict[str, Any] = dict(update)
    merged["phase_ms"] = {**state.get("phase_ms", {}), phase: (time.monotonic() - began) * 1000.0}
    for name in ("warnings", "degraded", "prompt_versions", "notes"):
        if name in merged:
            merged[name] = tuple(dict.fromkeys([*state.get(name, ()), *merged[name]]))
    return merged  # type: ignore[return-value]


def prompt_used(deps: Deps, prompt: Prompt, *, fallback: bool) -> tuple[tuple[str, int], ...]:
    """Note the prompt's version on the open span, and that rules or a template answered in the model's place."""
    span = deps.tracer.current_span()
    if span is not None:
        span.prompt_versions = {prompt.component: prompt.version}
        span.set_attribute("prompt_sha256", prompt.fingerprint)
        if fallback:
            span.set_fallback(("llm", "rules"))
    return ((prompt.component, prompt.version),)
