"""What was laid down before the data were seen, and where does an analysis depart from it?"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Any

from src.errors import ContractViolation

SHORT_HASH = 12
NOTHING = "nothing"


class PlanChanged(ContractViolation):
    """A stored plan is not the one that was registered."""


@dataclass(frozen=True, slots=True)
class RegisteredPlan:
    """A question as it was locked.

    ``question`` holds every choice by its name in a plan file ("estimator", "where"…), the data under "dataset" (a
    name or id) or "data" (a file's path). ``spec`` and ``graph`` are the same for the engine, as JSON. ``design`` is
    the one expected, None where none was named. ``data_sha256``: the content of the dataset then, None where it was
    not known. ``seen_runs`` are the analyses of this outcome on these data that were there before.
    """

    plan_id: str
    title: str
    question: Mapping[str, Any]
    spec: Mapping[str, Any]
    graph: Mapping[str, Any] | None
    design: str | None
    data_sha256: str | None
    code_version: str
    seen_runs: tuple[str, ...]
    registered_by: str
    registered_at: datetime

    @property
    def before_data(self) -> bool:
        """Whether nobody had analysed this outcome on these data here."""
        return not self.seen_runs

    @property
    def dataset(self) -> str:
        """The dataset or file it names."""
        return str(self.question.get("dataset") or self.question.get("data"))

    @property
    def document(self) -> str:
        """The whole plan as canonical JSON: sorted keys, no spaces."""
        values = asdict(self) | {"registered_at": self.registered_at.astimezone(UTC).isoformat()}
        return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)

    @property
    def sha256(self) -> str:
        """Digest of ``document``."""
        return digest(self.document)


def digest(document: str) -> str:
    """SHA-256 of a plan's document, as 64 hex digits."""
    return hashlib.sha256(document.encode()).hexdigest()


def plan_from(document: str, sha256: str) -> RegisteredPlan:
    """The plan of a stored document. Raises PlanChanged where it does not have the digest it was registered with."""
    if digest(document) != sha256:
        raise PlanChanged(
            f"the stored plan was changed after it was registered: its hash is {digest(document)[:SHORT_HASH]}, "
            f"registered was {sha256[:SHORT_HASH]}; it is not used"
        )
    values = json.loads(document)
    known = {field.name for field in fields(RegisteredPlan)}
    if set(values) != known:
        raise PlanChanged("the stored plan was written by another version of E2I; register it again")
    values["seen_runs"] = tuple(values["seen_runs"])
    values["registered_at"] = datetime.fromisoformat(values["registered_at"])
    return RegisteredPlan(**values)


@dataclass(frozen=True, slots=True)
class Deviation:
    """One choice that is not the registered one, in words, and why."""

    what: str
    registered: str
    asked: str
    reason: str


def departures(registered: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Choice → (registered, asked) in words, for every choice that differs; one that is missing is nothing."""
    names = [name for name in dict.fromkeys((*registered, *asked)) if _plain(registered, name) != _plain(asked, name)]
    return {name: (in_words(registered.get(name)), in_words(asked.get(name))) for name in names}


def named_deviations(
    changed: Mapping[str, tuple[str, str]], reasons: Mapping[str, str], *, plan_id: str
) -> tuple[Deviation, ...]:
    """The departures with their reasons.

    Raises ContractViolation for a departure that nobody named, and for a name that departs from nothing.
    """
    for name, (registered, asked) in changed.items():
        if name not in reasons:
            raise ContractViolation(
                f"plan {plan_id[:8]} registered {name} as '{registered}', this asks for '{asked}'; leave it out, or "
                f"name the deviation: --deviation {name}=REASON"
            )
    for name in reasons:
        if name not in changed:
            raise ContractViolation(f"nothing departs from the plan in '{name}'; leave out --deviation {name}")
    return tuple(Deviation(name, *said, reasons[name]) for name, said in changed.items())


def mark(plan: RegisteredPlan, deviations: Sequence[Deviation], notes: Sequence[str]) -> dict[str, Any]:
    """What a run of the plan keeps of it, as JSON."""
    return {
        "plan_id": plan.plan_id,
        "title": plan.title,
        "sha256": plan.sha256,
        "registered_at": plan.registered_at.astimezone(UTC).isoformat(),
        "registered_by": plan.registered_by,
        "before_data": plan.before_data,
        "seen_runs": len(plan.seen_runs),
        "design": plan.design,
        "deviations": [asdict(one) for one in deviations],
        "notes": list(notes),
    }


def with_design(marked: Mapping[str, Any], design: str | None) -> tuple[Deviation, ...]:
    """The deviations of a run, and that of the design where the analysis found another than the registered one."""
    known = tuple(Deviation(**one) for one in marked["deviations"])
    expected = marked["design"]
    if expected is None or design is None or expected == design:
        return known
    return (*known, Deviation("design", expected, design, "found in the analysis, named by nobody"))


def statement(marked: Mapping[str, Any], design: str | None = None) -> tuple[str, ...]:
    """How a run stands to its plan, in sentences; ``design`` is the one the analysis found."""
    when = f"{datetime.fromisoformat(marked['registered_at']).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    who = f"on {when} by {marked['registered_by']} (hash {marked['sha256'][:SHORT_HASH]})"
    deviations = with_design(marked, design)
    if deviations:
        listed = "; ".join(f"{one.what}: {one.registered} → {one.asked} ({one.reason})" for one in deviations)
        first = f"Deviations from the registered plan: {listed}. The plan was registered {who}."
    else:
        first = f"As registered {who}."
    seen = "" if marked["before_data"] else seen_sentence(marked["seen_runs"])
    return tuple(line for line in (first, seen, *marked["notes"]) if line)


def seen_sentence(runs: int) -> str:
    """That a plan came too late to be called one made beforehand."""
    analyses = "an analysis" if runs == 1 else f"{runs:,} analyses"
    return f"Registered, but not before the data were seen: {analyses} of this outcome on these data came first."


def in_words(value: Any) -> str:
    """A choice for a reader."""
    if _is_nothing(value):
        return NOTHING
    if isinstance(value, list | tuple):
        return ", ".join(in_words(item) for item in value)
    if isinstance(value, dict):
        return json.dumps(value, sort_keys=True, ensure_ascii=False)
    return "yes" if value is True else str(value)


def _plain(choices: Mapping[str, Any], name: str) -> Any:
    """A choice for comparison: lists and tuples alike, in any order but for a panel; nothing said is nothing."""
    value = choices.get(name)
    if isinstance(value, list | tuple):
        value = [list(item) if isinstance(item, tuple) else item for item in value]
        value = value if name == "panel" else sorted(value, key=str)
    return None if _is_nothing(value) else value


def _is_nothing(value: Any) -> bool:
    """Whether a choice was not made; 0 is one."""
    return value is None or value is False or (isinstance(value, str | list | tuple | dict) and not value)
