"""What did the search for leakage find, what did it look at, and what could it not decide?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from src.domain.alerts import AlertSeverity

Json = dict[str, Any]
CheckName = Literal["target", "temporal", "group", "duplicate", "preprocessing"]
# Words of ml_leakage_audit.check_type; a repeated unit and a repeated row are both an overlap.
_AUDIT_TYPES: dict[CheckName, str] = {
    "target": "target",
    "temporal": "temporal",
    "group": "train_test_overlap",
    "duplicate": "train_test_overlap",
    "preprocessing": "preprocessing",
}


@dataclass(frozen=True, slots=True)
class LeakageFinding:
    """Something a model would learn that it cannot know when it is used. Message and details hold no cell values."""

    check: CheckName
    severity: AlertSeverity
    columns: tuple[str, ...]
    affected_rows: int
    message: str
    details: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Unchecked:
    """What a check could not decide, and why; it is not clean, only unknown. No columns: the whole check."""

    check: CheckName
    reason: str
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one check found, and what it could not decide."""

    findings: tuple[LeakageFinding, ...] = ()
    skipped: tuple[Unchecked, ...] = ()


@dataclass(frozen=True, slots=True)
class LeakageReport:
    """``checked``: checks that looked at something; ``skipped``: what they, or whole checks, could not decide."""

    findings: tuple[LeakageFinding, ...]
    checked: tuple[CheckName, ...]
    skipped: tuple[Unchecked, ...]

    @property
    def detected(self) -> bool:
        """Whether anything leaks."""
        return bool(self.findings)

    @property
    def blocking(self) -> tuple[LeakageFinding, ...]:
        """Findings that forbid training."""
        return tuple(found for found in self.findings if found.severity.rank >= AlertSeverity.ERROR.rank)

    def joined(self, later: LeakageReport) -> LeakageReport:
        """Both together; what ``later`` checked is no longer unknown."""
        known = tuple(item for item in self.skipped if item.check not in later.checked)
        checked = tuple(dict.fromkeys((*self.checked, *later.checked)))
        return LeakageReport((*self.findings, *later.findings), checked, (*known, *later.skipped))

    def to_dict(self) -> Json:
        """JSON-safe."""
        return asdict(self)

    def audit_rows(
        self, table_name: str, *, split_config_id: str | None = None, trace_id: str | None = None
    ) -> list[Json]:
        """Rows for ``ml_leakage_audit``: one per finding, and one per check that found nothing.

        A check that was skipped as a whole has no row: nothing was audited.
        """
        common = {"table_name": table_name, "split_config_id": split_config_id, "trace_id": trace_id}
        return [common | row for check in self.checked for row in self._rows(check)]

    def _rows(self, check: CheckName) -> Iterable[Json]:
        found = [finding for finding in self.findings if finding.check == check]
        unknown = [{"reason": item.reason, "columns": item.columns} for item in self.skipped if item.check == check]
        for finding in found:
            details = {"message": finding.message, "columns": finding.columns, **finding.details}
            yield _audit_row(check, finding.severity, details, affected=finding.affected_rows, detected=True)
        if not found:
            yield _audit_row(check, AlertSeverity.INFO, {"undecided": unknown} if unknown else {})


def _audit_row(
    check: CheckName, severity: AlertSeverity, details: Json, *, affected: int = 0, detected: bool = False
) -> Json:
    return {
        "check_type": _AUDIT_TYPES[check],
        "leakage_detected": detected,
        "severity": str(severity),
        "affected_rows": affected,
        "details": {"check": check, **details},
    }
