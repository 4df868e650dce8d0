"""What did a grid find, once many questions at once are allowed for?"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from src.app.report.small_cells import SUPPRESSED, arms_hidden
from src.causal_engine.experiment.multiplicity import Adjustment, adjusted
from src.causal_engine.results import Analysis, EffectEstimate, Verdict
from src.causal_engine.serialise import from_json
from src.domain.registration import statement
from src.domain.small_cells import hidden_cells, is_small
from src.storage.database import Row
from src.storage.effect_grids import CellRecord, GridRecord, GridRepository

TOO_FEW = "TooFewRows"
NOT_ANSWERED = "not answered yet"


@dataclass(frozen=True, slots=True)
class CellResult:
    """One cell. ``estimate`` is None without one, ``reason`` then says why; ``q_value`` counts all tested cells in.

    ``suppressed`` are the words to show instead of every number of a cell that is too small, or would reveal one that
    is. ``size``: units on a panel, else rows.
    """

    number: int
    name: Mapping[str, str]
    status: str
    run_id: str | None = None
    verdict: str | None = None
    estimate: EffectEstimate | None = None
    size: int | None = None
    q_value: float | None = None
    reason_type: str | None = None
    reason: str | None = None
    suppressed: str | None = None
    registration: tuple[str, ...] = ()

    @property
    def tested(self) -> bool:
        """Whether it has a p-value, shown or not."""
        return self.estimate is not None and math.isfinite(self.estimate.p_value)

    @property
    def z(self) -> float | None:
        """Estimate over standard error; None where there is none to show."""
        if self.estimate is None or self.suppressed or not self.estimate.std_error > 0:
            return None
        return self.estimate.value / self.estimate.std_error


@dataclass(frozen=True, slots=True)
class GridResult:
    """A grid and its cells in order; see ``discoveries`` for what is left after allowing for their number."""

    grid: GridRecord
    cells: tuple[CellResult, ...]
    adjustment: Adjustment

    @property
    def level(self) -> float:
        """Share of false discoveries (or chance of any) that is accepted."""
        return float(self.grid.document["level"])

    @property
    def tested(self) -> tuple[CellResult, ...]:
        """Cells with a p-value."""
        return tuple(cell for cell in self.cells if cell.tested)

    @property
    def discoveries(self) -> tuple[CellResult, ...]:
        """Tested cells whose adjusted p-value is at most the level."""
        return tuple(cell for cell in self.tested if cell.q_value is not None and cell.q_value <= self.level)

    @property
    def supported(self) -> int:
        """Discoveries whose own checks support an effect."""
        return sum(cell.verdict == Verdict.SUPPORTED.value for cell in self.discoveries)

    @property
    def refusals(self) -> Mapping[str, int]:
        """Why there is no estimate → how many cells; the most frequent first."""
        kinds = Counter(cell.reason_type or "" for cell in self.cells if cell.status == "refused")
        return dict(kinds.most_common())

    @property
    def failed(self) -> tuple[CellResult, ...]:
        """Cells that ended unexpectedly."""
        return tuple(cell for cell in self.cells if cell.status == "failed")

    @property
    def suppressed(self) -> int:
        """Cells whose numbers are not shown."""
        return sum(cell.suppressed is not None for cell in self.cells)

    @property
    def headline(self) -> str:
        """The result in a sentence."""
        control = "family-wise error" if self.adjustment is Adjustment.HOLM else "FDR"
        found = f"{len(self.discoveries):,} of {len(self.tested):,} tested cells at {100 * self.level:g} % {control}"
        return f"{found}; the checks of {self.supported:,} of them support a causal effect."


async def grid_result(grids: GridRepository, grid_id: str, adjustment: Adjustment) -> GridResult:
    """The grid of that id as it stands in the database. Raises RunNotFound."""
    grid = await grids.get(grid_id)
    ended, analyses = await grids.cells(grid.grid_id), await grids.analyses(grid.grid_id)
    names: Sequence[Mapping[str, str]] = grid.document["cells"]
    by = list(grid.document["by"])
    cells = [_cell(i, _ordered(name, by), ended.get(i), analyses.get(i)) for i, name in enumerate(names)]
    return GridResult(grid, tuple(_suppressed(_with_q(cells, adjustment), by)), adjustment)


def _ordered(name: Mapping[str, str], by: Sequence[str]) -> dict[str, str]:
    """A jsonb object does not keep the order of its keys."""
    return {key: name[key] for key in (*by, "treatment", "outcome")}


def _cell(number: int, name: Mapping[str, str], ended: CellRecord | None, row: Row | None) -> CellResult:
    if ended is None:
        return CellResult(number, name, "open", reason_type="Open", reason=NOT_ANSWERED)
    if ended.status != "answered" or row is None or row["analysis"] is None:
        # How many rows there were is told of no cell that has too few of them.
        reason = "too few rows" if ended.reason_type == TOO_FEW else ended.reason
        return CellResult(number, name, ended.status, reason_type=ended.reason_type, reason=reason)
    analysis = from_json(Analysis, row["analysis"])
    marked = row["understood"].get("plan")
    held = () if not marked else statement(marked, analysis.identification.design.value)
    found = CellResult(number, name, "answered", row["run_id"], row["verdict"], analysis.primary, registration=held)
    if analysis.primary is None:
        kind, reason = _why_none(analysis)
        return replace(found, status="refused", reason_type=kind, reason=reason)
    return replace(found, size=_size(analysis, analysis.primary))


def _why_none(analysis: Analysis) -> tuple[str, str]:
    """The refusal of the estimator, or what keeps the effect from being identified."""
    if analysis.failures:
        first = analysis.failures[0]
        return first.error, "too few rows" if first.error == TOO_FEW else first.message
    return "NotIdentified", "; ".join(analysis.identification.reasons) or analysis.conclusion.headline


def _size(analysis: Analysis, primary: EffectEstimate) -> int:
    return primary.n if analysis.panel is None else analysis.panel.n_units


def _with_q(cells: Sequence[CellResult], adjustment: Adjustment) -> list[CellResult]:
    tested = [cell for cell in cells if cell.tested]
    q_values = adjusted([cell.estimate.p_value for cell in tested if cell.estimate is not None], adjustment)
    known = {cell.number: float(q) for cell, q in zip(tested, q_values, strict=True)}
    return [replace(cell, q_value=known.get(cell.number)) for cell in cells]


def _suppressed(cells: Sequence[CellResult], by: Sequence[str]) -> list[CellResult]:
    """Hide cells below eleven units, or with an arm below eleven rows, and those that would give one away."""
    hidden: dict[int, str] = {}
    pairs = {(cell.name["treatment"], cell.name["outcome"]) for cell in cells}
    for pair in pairs:
        alike = [cell for cell in cells if (cell.name["treatment"], cell.name["outcome"]) == pair and cell.size]
        sizes = {tuple(cell.name[column] for column in by): _smallest(cell) for cell in alike}
        words = hidden_cells(sizes) if by else {key: SUPPRESSED for key, size in sizes.items() if is_small(size)}
        hidden |= {cell.number: words[key] for cell in alike if (key := tuple(cell.name[c] for c in by)) in words}
    return [replace(cell, suppressed=hidden.get(cell.number)) for cell in cells]


def _smallest(cell: CellResult) -> int:
    """The group that must not be small: the cell, or its smaller arm."""
    size = cell.size or 0
    return 0 if cell.estimate is not None and arms_hidden(cell.estimate) else size
