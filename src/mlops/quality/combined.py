"""What do the schema and Great Expectations say together about one frame?"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import asdict, dataclass
from numbers import Integral
from typing import Literal

from src.contracts.checking import RuleFailure
from src.contracts.describe import describe_failure, find_rule, table_rules
from src.contracts.model import TableContract
from src.mlops.quality.result import DataQualityResult, FailedExpectation, Json, QualityStatus

Layer = Literal["schema", "ge"]
NOT_RUN = "not_run"
_ROWS_IN_WORDS = 5


@dataclass(frozen=True, slots=True)
class SchemaValidation:
    """How a frame fared with its schema.

    ``skipped`` (Pandera is not there) and ``error`` (Pandera broke down) carry a ``reason``; neither is a pass.
    """

    status: Literal["passed", "failed", "skipped", "error"]
    errors: tuple[RuleFailure, ...]
    error_count: int
    rows_validated: int
    schema_name: str
    reason: str | None = None

    @property
    def passed(self) -> bool:
        """Whether the schema ran and nothing was wrong."""
        return self.status == "passed"


@dataclass(frozen=True, slots=True)
class MergedIssue:
    """One broken rule, as all layers found it.

    ``column`` joins the columns of a rule between columns with ", ". ``rows`` are the labels of the first
    broken rows and ``count`` is how many there are (None: the table or a whole column is at fault).
    Of equal values in a unique column the first row counts as right.
    """

    table: str
    column: str
    rule: str
    layers: tuple[Layer, ...]
    rows: tuple[Hashable, ...]
    count: int | None
    critical: bool
    message: str

    def headline(self) -> str:
        """One line for people."""
        if self.count is None:
            return f"{self.rule}: {self.message}"
        shown = [str(label) for label in self.rows[:_ROWS_IN_WORDS]]
        listed = ": " + ", ".join([*shown, *(["…"] if self.count > len(shown) else [])]) if shown else ""
        return f"{self.rule}: {self.message} ({self.count} {'row' if self.count == 1 else 'rows'}{listed})"


@dataclass(frozen=True, slots=True)
class CombinedValidation:
    """The merged result and the gate: ``passed`` only when both layers ran and neither blocks.

    ``quality`` is None when Great Expectations was not run. ``layers_run`` names the layers that reached a
    verdict. ``warnings`` are what Great Expectations found wanting and lets through.
    """

    passed: bool
    schema: SchemaValidation
    quality: DataQualityResult | None
    blocking_issues: tuple[str, ...]
    layers_run: tuple[Layer, ...]
    issues: tuple[MergedIssue, ...]
    warnings: tuple[str, ...] = ()

    @property
    def ge_status(self) -> str:
        """Status of Great Expectations, or ``not_run``."""
        return NOT_RUN if self.quality is None else str(self.quality.overall_status)

    def headline(self) -> str:
        """One line for people."""
        verdict = ("passed with warnings" if self.warnings else "passed") if self.passed else "blocked"
        found = self.blocking_issues or self.warnings
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        return f"{self.schema.schema_name}: {verdict}" + (f"; {found[0]}{more}" if found else "")

    def to_dict(self) -> Json:
        """JSON-safe; values of the frame are not in it, only row labels."""
        return {
            "passed": self.passed,
            "schema": {
                "status": self.schema.status,
                "schema_name": self.schema.schema_name,
                "error_count": self.schema.error_count,
                "rows_validated": self.schema.rows_validated,
                "reason": self.schema.reason,
            },
            "quality": None if self.quality is None else self.quality.to_dict(),
            "ge_status": self.ge_status,
            "blocking_issues": list(self.blocking_issues),
            "warnings": list(self.warnings),
            "layers_run": list(self.layers_run),
            "issues": [
                {**asdict(issue), "rows": [_json_label(label) for label in issue.rows]} for issue in self.issues
            ],
        }


def combine(
    table: TableContract,
    schema: SchemaValidation,
    quality: DataQualityResult | None,
    *,
    rows_named: int,
    counted: Callable[[MergedIssue], MergedIssue] = lambda issue: issue,
) -> CombinedValidation:
    """Merge what the layers found and decide; ``quality`` is None when Great Expectations was not run.

    ``counted`` puts in the number of rows where ``schema`` holds only the first of them.
    """
    failed = quality.failed_expectations if quality else ()
    issues = tuple(map(counted, merge_issues(table, schema.errors, failed, rows_named=rows_named)))
    ge_only = [f"ge: {issue.headline()}" for issue in issues if issue.layers == ("ge",)]
    blocking = _schema_blockers(schema, issues)
    warnings: list[str] = []
    if quality is None:
        blocking.append(f"ge: not run, since the schema {'failed' if schema.status == 'failed' else 'gave no verdict'}")
    elif quality.overall_status is QualityStatus.SKIPPED:
        blocking.append(f"ge: did not run ({quality.reason or 'no reason given'})")
    elif quality.blocking:
        blocking += [f"ge: {quality.headline()}", *ge_only]
    elif quality.overall_status is QualityStatus.WARNING:
        warnings = [f"ge: {quality.headline()}", *ge_only]
    else:
        warnings = ge_only
    return CombinedValidation(
        passed=not blocking,
        schema=schema,
        quality=quality,
        blocking_issues=tuple(blocking),
        layers_run=_layers_run(schema, quality),
        issues=issues,
        warnings=tuple(warnings),
    )


def _layers_run(schema: SchemaValidation, quality: DataQualityResult | None) -> tuple[Layer, ...]:
    ran: list[Layer] = ["schema"] if schema.status in ("passed", "failed") else []
    if quality is not None and quality.overall_status is not QualityStatus.SKIPPED:
        ran.append("ge")
    return tuple(ran)


def _schema_blockers(schema: SchemaValidation, issues: Iterable[MergedIssue]) -> list[str]:
    if schema.passed:
        return []
    if schema.status != "failed":
        return [f"schema: {schema.status}, nothing was checked ({schema.reason or 'no reason given'})"]
    return [f"schema: {issue.headline()}" for issue in issues if "schema" in issue.layers]


def merge_issues(
    table: TableContract,
    failures: Iterable[RuleFailure],
    expectations: Iterable[FailedExpectation],
    *,
    rows_named: int,
) -> tuple[MergedIssue, ...]:
    """One issue per broken rule, in the contract's order, then what is beside the contract."""
    by_schema: dict[str, list[RuleFailure]] = {}
    for failure in failures:
        by_schema.setdefault(failure.rule, []).append(failure)
    by_ge: dict[str, list[FailedExpectation]] = {}
    for failed in expectations:
        by_ge.setdefault(_rule_of(table, failed), []).append(failed)
    order = _order(table)
    names = sorted({*by_schema, *by_ge}, key=lambda name: (order.get(name, len(order)), name))
    return tuple(_merged(table, name, by_schema.get(name, []), by_ge.get(name, []), rows_named) for name in names)


def _rule_of(table: TableContract, failed: FailedExpectation) -> str:
    """An expectation's id is ``<table>.<rule>``; a rule that takes several has ``#n`` behind it."""
    return failed.id.removeprefix(f"{table.name}.").split("#")[0]


def _order(table: TableContract) -> Mapping[str, int]:
    return {rule.name: number for number, rule in enumerate(table_rules(table))}


def _merged(
    table: TableContract,
    name: str,
    failures: list[RuleFailure],
    expectations: list[FailedExpectation],
    rows_named: int,
) -> MergedIssue:
    rows, count = _rows_of_failures(failures) if failures else _rows_of_expectations(expectations)
    rule = find_rule(table, name)
    columns = rule.columns if rule else tuple(dict.fromkeys(c for failed in expectations for c in failed.columns))
    layers: list[Layer] = ["schema"] if failures else []
    if expectations:
        layers.append("ge")
    return MergedIssue(
        table=table.name,
        column=", ".join(columns),
        rule=name,
        layers=tuple(layers),
        rows=rows[:rows_named],
        count=count,
        critical=any([*(failure.critical for failure in failures), *(failed.critical for failed in expectations)]),
        message=describe_failure(rule) if rule and failures else _message(table, name, expectations),
    )


def _rows_of_failures(failures: list[RuleFailure]) -> tuple[tuple[Hashable, ...], int | None]:
    rows = tuple(failure.index for failure in failures if failure.index is not None)
    return rows, len(rows) or None


def _rows_of_expectations(expectations: list[FailedExpectation]) -> tuple[tuple[Hashable, ...], int | None]:
    """Several expectations of one rule may name the same row; of those not named the larger number is known."""
    rows = tuple(dict.fromkeys(label for failed in expectations for label in failed.rows))
    counts = [failed.count for failed in expectations if failed.count is not None]
    return rows, max([*counts, len(rows)]) if counts else None


def _message(table: TableContract, name: str, expectations: list[FailedExpectation]) -> str:
    rule = find_rule(table, name)
    what = describe_failure(rule) if rule else f"{expectations[0].type} does not hold: {expectations[0].observed}"
    errors = dict.fromkeys(failed.error for failed in expectations if failed.error)
    return f"{what}; it could not be told ({'; '.join(errors)})" if errors else what


def _json_label(label: Hashable) -> int | str:
    return int(label) if isinstance(label, Integral) else str(label)
