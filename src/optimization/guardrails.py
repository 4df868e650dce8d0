"""May this change be made now, and does a person have to agree?"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import PurePosixPath

from src.domain.improvement import ChangeKind, Proposal
from src.optimization.configuration import GuardrailSettings, LoopSettings
from src.optimization.retrieval.settings import out_of_bounds
from src.optimization.text.copying import copied
from src.optimization.text.injection import hidden_characters, injected, shown
from src.optimization.text.language import foreign
from src.optimization.text.north_stars import (
    TOPICS,
    added_sentences,
    defences_lost,
    lost_or_weakened,
    overriding,
    parameter,
)
from src.optimization.text.privacy import personal
from src.optimization.text.released import changed_files

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Violation:
    """A guardrail that a change breaks: its id in the configuration or here, and why in one line."""

    id: str
    message: str


@dataclass(frozen=True, slots=True)
class ChangeContext:
    """What is known when a change is to be made; times are in UTC.

    ``last_activation`` is the component's last, whoever made it. ``burning_in_since`` is when a change of the component
    came into use that is neither confirmed nor rolled back. ``activations_today`` counts all components since midnight
    UTC. ``path`` is the file or folder that would change; None is the component's own. ``digests`` and ``released``
    are of the files that the guardrail fairness_unchanged names. The uncertainty scores (1–5) are of the answers to
    the adversarial questions by the text in use and the new one; both None before they are measured.
    """

    proposal: Proposal
    now: datetime
    paused: bool = False
    last_activation: datetime | None = None
    activations_today: int = 0
    burning_in_since: datetime | None = None
    path: str | None = None
    training_texts: Sequence[str] = ()
    private_values: Sequence[str] = field(default=(), repr=False)
    uncertainty_before: float | None = None
    uncertainty_after: float | None = None
    digests: Mapping[str, str] = field(default_factory=dict)
    released: Mapping[str, str] = field(default_factory=dict)

    @property
    def old(self) -> str:
        """The text in use."""
        return str(self.proposal.before.get("text", ""))

    @property
    def new(self) -> str:
        """The text that would be."""
        return str(self.proposal.after.get("text", ""))


def check_change(change: ChangeContext, settings: LoopSettings) -> tuple[Violation, ...]:
    """Every guardrail that the change breaks; none where it may be made. Raises ConfigError for a guardrail without
    its parameters."""
    checks: list[Callable[[ChangeContext, LoopSettings], Iterator[Violation]]] = [_when, _where, _files]
    if change.proposal.kind is ChangeKind.PROMPT:
        checks += [_north_stars, _text, _attacks]
    elif change.proposal.kind is ChangeKind.RETRIEVAL:
        checks.append(_settings_in_range)
    return tuple(violation for check in checks for violation in check(change, settings))


def approval_needed(proposal: Proposal, settings: LoopSettings) -> str | None:
    """Why a person has to agree; None where nobody has to."""
    component = settings.components.get(proposal.component)
    if component is None or component.mode == "manual":
        return f"{proposal.component} is changed by hand only"
    if component.risk == "high":
        return f"a change of {proposal.component} is of high risk"
    if settings.safety.require_approval:
        return "safety.require_approval asks for it"
    if proposal.judged_by == "heuristic":
        return "the wish for it rests on scores by rules alone"
    return None


def _when(change: ChangeContext, settings: LoopSettings) -> Iterator[Violation]:
    safety, now = settings.safety, change.now
    if change.paused or safety.pause_auto_updates:
        yield Violation("paused", "automatic changes are paused")
    if _within(change.last_activation, safety.cooldown_hours, now):
        yield Violation("cooldown", f"{_component(change)} was changed less than {safety.cooldown_hours:g} hours ago")
    if change.activations_today >= safety.max_updates_per_day:
        yield Violation("daily_cap", f"{change.activations_today} changes came into use today (UTC), which is the most")
    if _within(change.burning_in_since, safety.burn_in_hours, now):
        yield Violation("burn_in", f"the last change of {_component(change)} has been in use for too short a time")


def _where(change: ChangeContext, settings: LoopSettings) -> Iterator[Violation]:
    component = settings.components.get(change.proposal.component)
    if component is None:
        yield Violation("component", f"{_component(change)} is not among the components that may be changed")
        return
    if component.kind == "workflow" or component.kind != change.proposal.kind.value:
        yield Violation("component", f"of {_component(change)} only changes of the kind {component.kind} can be meant")
    path = change.path if change.path is not None else component.path
    if _is_untouchable(path, settings.never_modify):
        yield Violation("never_modify", f"{path} is among the paths that are never changed")


def _files(change: ChangeContext, settings: LoopSettings) -> Iterator[Violation]:
    for guardrail in settings.guardrails:
        if guardrail.check == "fairness_unchanged":
            files = parameter(guardrail, "files", list)
            yield from _violations(guardrail.id, changed_files(files, change.digests, change.released))


def _north_stars(change: ChangeContext, settings: LoopSettings) -> Iterator[Violation]:
    for guardrail in settings.guardrails:
        if guardrail.check in TOPICS:
            yield from _violations(guardrail.id, lost_or_weakened(change.old, change.new, guardrail))
        if guardrail.check == "uncertainty_kept":
            yield from _violations(guardrail.id, _uncertainty_falls(change, guardrail))


def _attacks(change: ChangeContext, settings: LoopSettings) -> Iterator[Violation]:
    old, new = change.old, change.new
    added = added_sentences(old, new)
    yield from _violations("injection", [*injected(added), *defences_lost(old, new)])
    yield from _violations("overriding", overriding(old, new))
    yield from _violations("hidden_text", [f"it holds {name}" for name in hidden_characters(new, old)])
    yield from _violations("language", [f"'{shown(one)}' is not English" for one in foreign(added, old)])


def _uncertainty_falls(change: ChangeContext, guardrail: GuardrailSettings) -> list[str]:
    before, after = change.uncertainty_before, change.uncertainty_after
    if before is None and after is None:
        return []
    if before is None or after is None:
        return ["uncertainty on the adversarial questions could not be measured for both texts"]
    allowed = float(parameter(guardrail, "max_drop", (int, float)))
    if before - after <= allowed + 1e-9:
        return []
    return [f"uncertainty on the adversarial questions falls from {before:.2f} to {after:.2f}; allowed is {allowed:g}"]


def _text(change: ChangeContext, settings: LoopSettings) -> Iterator[Violation]:
    old, new = change.old, change.new
    if not new.strip():
        yield Violation("text", "the new prompt is empty")
        return
    longest = settings.gate.longest_copy
    runs = copied(new, old, change.training_texts, longest)
    # Not the words themselves: they may be what somebody asked.
    yield from _violations(
        "copied", [f"{len(run.split())} words in a row are of the training material" for run in runs]
    )
    private = personal(new, old, private_values=change.private_values, training_texts=change.training_texts)
    yield from _violations("personal_data", [f"it holds {what}" for what in private])


def _settings_in_range(change: ChangeContext, settings: LoopSettings) -> Iterator[Violation]:
    yield from _violations("bounds", out_of_bounds(change.proposal.before, change.proposal.after))


def _violations(name: str, problems: Sequence[str]) -> Iterator[Violation]:
    """The first problems of one guardrail, one violation each; how many more there are."""
    yield from (Violation(name, problem) for problem in problems[:_SHOWN])
    if len(problems) > _SHOWN:
        yield Violation(name, f"and {len(problems) - _SHOWN} more of this kind")


def _component(change: ChangeContext) -> str:
    return change.proposal.component


def _within(moment: datetime | None, hours: float, now: datetime) -> bool:
    return moment is not None and now - moment < timedelta(hours=hours)


def _is_untouchable(path: str, never_modify: Sequence[str]) -> bool:
    plain = PurePosixPath(posixpath.normpath(path))
    named = [PurePosixPath(posixpath.normpath(one)) for one in never_modify]
    outside = plain.is_absolute() or plain.parts[:1] == ("..",)
    return outside or any(one == plain or one in plain.parents or plain in one.parents for one in named)
