"""Does a new prompt keep what no change may touch: privacy, uncertainty, scope, evidence?

What a prompt demands of these is kept word for word, for a paraphrase can be read as less than what it replaces. A
sentence counts only where it still instructs (``sentences``) and every line that it stands under is one of its own or
takes nothing back; nothing that is added may weaken it (``weakening``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from src.errors import ConfigError
from src.optimization.configuration import Check, GuardrailSettings, LoopSettings
from src.optimization.text.injection import defends, shown
from src.optimization.text.sentences import Sentence, sentences, texts_of
from src.optimization.text.topics import Topic
from src.optimization.text.weakening import may_lead, refers_to_other_instructions, weakened

TOPICS: Mapping[Check, Topic] = {
    "sentences_kept": "privacy",
    "uncertainty_kept": "uncertainty",
    "scope_kept": "scope",
    "citations_kept": "citations",
}


def protected_sentences(prompt: str, settings: LoopSettings) -> tuple[str, ...]:
    """The sentences of a prompt that its successors must hold word for word, in their order."""
    words = [word for one in settings.guardrails if one.check in TOPICS for word in about(one)]
    is_protected = _begins_with(words)
    return tuple(
        dict.fromkeys(one.text for one in sentences(prompt) if is_protected.search(one.text) or defends(one.text))
    )


def lost_or_weakened(old: str, new: str, guardrail: GuardrailSettings) -> list[str]:
    """Why the new prompt does not keep what the guardrail protects, one line each."""
    is_about = _begins_with(about(guardrail))
    protected = [one.text for one in sentences(old) if is_about.search(one.text)]
    problems = not_kept(protected, old, new)
    added = added_sentences(old, new)
    problems += [f"an added sentence weakens it: '{shown(one)}'" for one in weakened(added, TOPICS[guardrail.check])]
    return problems


def not_kept(protected: Sequence[str], old: str, new: str) -> list[str]:
    """Which of the protected sentences are gone, or stand where they may not bind."""
    before, after = _places(old), _places(new)
    problems = []
    for text in dict.fromkeys(protected):
        if text not in after:
            problems.append(f"this sentence is not there word for word: '{shown(text)}'")
            continue
        own = {lead for one in before.get(text, ()) for lead in one.leads}
        doubtful = [[lead for lead in one.leads if lead not in own and not may_lead(lead)] for one in after[text]]
        if all(doubtful):
            problems.append(f"this sentence stands under another line, '{shown(doubtful[0][0])}': '{shown(text)}'")
    return problems


def _places(prompt: str) -> Mapping[str, Sequence[Sentence]]:
    """Where each sentence of a prompt stands."""
    found: dict[str, list[Sentence]] = {}
    for one in sentences(prompt):
        found.setdefault(one.text, []).append(one)
    return found


def overriding(old: str, new: str) -> list[str]:
    """Added sentences that speak of other sentences of the prompt, as one that takes them back must."""
    found = [one for one in added_sentences(old, new) if refers_to_other_instructions(one)]
    return [f"an added sentence speaks of other instructions: '{shown(one)}'" for one in found]


def defences_lost(old: str, new: str) -> list[str]:
    """Which sentences against instructions in documents and questions are gone."""
    return not_kept([one.text for one in sentences(old) if defends(one.text)], old, new)


def added_sentences(old: str, new: str) -> tuple[str, ...]:
    """Sentences of the new prompt that the old one has not, in their order."""
    before = texts_of(old)
    return tuple(dict.fromkeys(one.text for one in sentences(new) if one.text not in before))


def about(guardrail: GuardrailSettings) -> tuple[str, ...]:
    """The beginnings of words that a guardrail is about. Raises ConfigError."""
    return tuple(map(str, parameter(guardrail, "about", list)))


def parameter(guardrail: GuardrailSettings, name: str, kind: type | tuple[type, ...]) -> Any:
    """A parameter of a guardrail. Raises ConfigError where it is missing or of another type."""
    value = guardrail.parameters.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ConfigError(f"guardrails: {guardrail.id} needs the parameter '{name}'")
    return value


def _begins_with(words: Sequence[str]) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, words))})", re.IGNORECASE)
