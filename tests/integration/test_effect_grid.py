"""Are the cells of a grid answered once, told apart, and allowed for in their number?"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from src.app.grid.page import grid_page
from src.app.grid.panel_memory import PanelMemory
from src.app.grid.results import GridResult, grid_result
from src.app.grid.running import OpenExecutor, Order, run_grid
from src.app.grid.telling import grid_csv, grid_document
from src.app.grid.worker import CellTask, end_worker
from src.app.registration.registering import register_plan
from src.app.session import Session, open_session
from src.causal_engine.experiment.multiplicity import Adjustment
from src.domain.guards import load_guards
from src.errors import ConfigError, ContractViolation, E2IError, GuardrailViolation, UnknownColumn
from src.execution.executor import Outcome, answer, outcome_of
from src.storage.catalogue import Catalogue, register_file
from src.storage.effect_grids import GridRepository

GRID = """
dataset: panel
by:
  brand: all
  region: [north, south]
treatments: [calls]
outcomes: [nrx, trx]
randomized: true
estimator: ols
confounders: [x]
"""


class OneThread:
    """Answers the tasks in one thread of this process, as many as ``most`` of them."""

    workers = 1

    def __init__(self, thread: ThreadPoolExecutor, most: int, spoil: Callable[[CellTask], bool]) -> None:
        self.thread, self.most, self.spoil = thread, most, spoil
        self.asked: list[CellTask] = []

    async def run(self, function: Callable[[Any], Any], arguments: Sequence[Any]) -> AsyncIterator[Outcome]:
        for index, task in enumerate(arguments[: self.most]):
            self.asked.append(task)
            done = _broken if self.spoil(task) else function
            answered = await asyncio.get_running_loop().run_in_executor(self.thread, answer, done, task)
            yield outcome_of(index, answered)
        if len(arguments) > self.most:
            raise KeyboardInterrupt


def _broken(task: CellTask) -> None:
    raise RuntimeError("the disk is on fire")


class Grids:
    """Runs grids of one session, and remembers which cells were asked."""

    def __init__(self, session: Session, folder: Path, thread: ThreadPoolExecutor) -> None:
        self.session, self.folder, self.thread = session, folder, thread
        self.asked: list[CellTask] = []

    async def run(
        self,
        text: str = GRID,
        *,
        most: int = 1_000,
        spoil: Callable[[CellTask], bool] = lambda _: False,
        plan: str | None = None,
        role: str = "analyst",
    ) -> GridResult:
        (self.folder / "grid.yaml").write_text(text)
        order = Order(self.folder / "grid.yaml", load_guards(), plan=plan, role=role)
        return await run_grid(self.session, order, self._executor(most, spoil))

    def _executor(self, most: int, spoil: Callable[[CellTask], bool]) -> OpenExecutor:
        @asynccontextmanager
        async def opened(_: int) -> AsyncIterator[OneThread]:
            executor = OneThread(self.thread, most, spoil)
            try:
                yield executor
            finally:
                self.asked = executor.asked

        return opened


def panel() -> pd.DataFrame:
    """Calls are random; they move nrx of brand a in the north only, trx nowhere; brand b in the south is small."""
    rng = np.random.default_rng(12)
    n = 440
    brand, region = np.repeat(["a", "b"], n // 2), np.tile(["north", "south"], n // 2)
    calls, x = rng.integers(0, 2, n), rng.normal(size=n)
    effect = np.where((brand == "a") & (region == "north"), 1.5, 0.0)
    made = {"brand": brand, "region": region, "calls": calls, "x": x, "nrx": effect * calls + x + rng.normal(size=n)}
    frame = pd.DataFrame({**made, "trx": x + rng.normal(size=n), "npi": np.arange(n)})
    return frame.drop(index=frame.index[(frame.brand == "b") & (frame.region == "south")][20:])


def _huge() -> str:
    """A grid that would not fit in memory, were its cells listed before they are counted."""
    values = list(range(400))
    return GRID.replace("brand: all", f"brand: {values}\n  calls: {values}\n  x: {values}\n  trx: [1]").replace(
        "[north, south]", str(values[:100])
    )


@pytest.fixture
async def grids(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Grids]:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("E2I_VAR_DIR", str(tmp_path / "var"))
    panel().to_csv(tmp_path / "panel.csv", index=False)
    with ThreadPoolExecutor(1) as thread:
        async with open_session() as session:
            await register_file(session.catalogue, tmp_path / "panel.csv")
            yield Grids(session, tmp_path, thread)
        thread.submit(end_worker).result()


async def test_a_grid_is_interrupted_taken_up_again_and_told(grids: Grids) -> None:
    with pytest.raises(KeyboardInterrupt):
        await grids.run(most=3)
    broken = await grids.run(spoil=lambda task: task.number == 4)
    assert [task.number for task in grids.asked] == [3, 4, 5, 6, 7]
    assert [cell.status for cell in broken.cells] == ["answered"] * 4 + ["failed", "answered", "refused", "refused"]
    assert (broken.grid.status, [cell.reason for cell in broken.failed]) == ("partial", ["the disk is on fire"])

    whole = await grids.run()
    assert [task.number for task in grids.asked] == [4]
    assert (whole.grid.grid_id, whole.grid.status) == (broken.grid.grid_id, "completed")
    assert [dict(cell.name) for cell in whole.discoveries] == [
        {"brand": "a", "region": "north", "treatment": "calls", "outcome": "nrx"}
    ]
    assert whole.refusals == {"TooFewRows": 2}
    assert whole.headline.startswith("1 of 6 tested cells at 5 % FDR")
    runs = await grids.session.database.fetch("SELECT trace_id, status FROM analysis_runs")
    assert [run["status"] for run in runs] == ["completed"] * 6
    assert {run["trace_id"] for run in runs} == {whole.grid.grid_id}
    _look_at(whole)

    grids.asked.clear()
    again = await grids.run("title: the same\n" + GRID)
    assert (again, grids.asked) == (whole, [])
    holm = await grid_result(GridRepository(grids.session.database), again.grid.grid_id[:13], Adjustment.HOLM)
    assert holm.headline.startswith("1 of 6 tested cells at 5 % family-wise error")
    with pytest.raises(KeyboardInterrupt):
        await grids.run(GRID + "level: 0.2\n", most=0)
    kept = await GridRepository(grids.session.database).recent(5)
    assert [one.document["level"] for one in kept] == [0.2, 0.05]


def _look_at(result: GridResult) -> None:
    """The refused cells say why without their number of rows, and every form shows the same cells."""
    page, lines, document = grid_page(result), grid_csv(result).splitlines(), grid_document(result)
    assert page == grid_page(result)
    assert page.count("<svg") == 3
    assert result.headline in page
    assert "too few rows" in page
    assert len(lines) == 1 + len(document["cells"]) == 9
    assert lines[0].startswith("brand,region,treatment,outcome,status")
    assert json.loads(json.dumps(document))["n_discoveries"] == 1
    assert [cell["reason"] for cell in document["cells"] if cell["status"] == "refused"] == ["too few rows"] * 2


async def test_cells_say_how_they_stand_to_the_plan_they_are_held_against(grids: Grids) -> None:
    (grids.folder / "plan.yaml").write_text(
        "dataset: panel\ntreatment: calls\noutcome: nrx\nrandomized: true\nestimator: ols\nconfounders: [x]\n"
        "where: [brand=a, region=north]\n"
    )
    done = await register_plan(
        grids.session.database, grids.folder / "plan.yaml", by="ann", at=datetime.now(UTC), guards=load_guards()
    )
    result = await grids.run(GRID.replace("brand: all", "brand: [a]"), plan=done.plan.plan_id)
    told = {(cell.name["region"], cell.name["outcome"]): cell.registration[0] for cell in result.cells}
    assert told["north", "nrx"].startswith("As registered on ")
    assert "outcome: nrx → trx (set by the grid)" in told["north", "trx"]
    assert "where: brand=a, region=north → brand=a, region=south" in told["south", "nrx"]
    assert "1 of 4 answered cells are as registered" in grid_page(result)


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("treatments: [", ConfigError, "not valid YAML"),
        (GRID.replace("outcomes: [nrx, trx]", "outcomes: []"), ConfigError, "outcomes"),
        (GRID.replace("[nrx, trx]", "[nrx, nrx]"), ConfigError, "names one column twice"),
        (GRID + "leval: 0.1\n", ConfigError, "leval: unknown key"),
        (GRID.replace("region:", "regoin:"), UnknownColumn, "did you mean 'region'"),
        (GRID.replace("[nrx, trx]", "[nrx, nrxx]"), UnknownColumn, "'nrxx' is not in the data"),
        (GRID.replace("estimator: ols", "estimator: olz"), E2IError, "did you mean 'ols'"),
        (GRID + "where: ['x>99']\n", ContractViolation, "'brand' has 0 values in these rows"),
        (GRID.replace("[x]", "[npi]"), GuardrailViolation, "may not be shown"),
        (GRID + "where: [region]\n", ContractViolation, "cannot read the filter"),
        (GRID.replace("brand: all", "brand: [a, b, a]"), ConfigError, "'brand' names one value twice"),
        (GRID.replace("brand: all", "x: [1, '1']"), ConfigError, "'x' names one value twice"),
        (GRID.replace("brand: all", "brand: []"), ConfigError, "'brand' needs a list of values, or 'all'"),
        (GRID.replace("brand: all", "brand: [null]"), ConfigError, "'brand' needs a list of values, or 'all'"),
        (GRID.replace("brand: all", "treatment: [a]"), ConfigError, "cannot be told from the treatment of a cell"),
        (_huge(), ContractViolation, "has 12,800,000,000 cells"),
    ],
)
async def test_a_bad_grid_is_refused_before_anything_is_written(
    grids: Grids, text: str, error: type[E2IError], said: str
) -> None:
    with pytest.raises(error, match=said):
        await grids.run(text)
    assert await grids.session.database.fetch("SELECT FROM effect_grids") == []


async def test_no_value_of_a_personal_column_is_read_for_a_grid(grids: Grids, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: Any, **__: Any) -> None:
        raise AssertionError("rows were read")

    monkeypatch.setattr(Catalogue, "load", never)
    with pytest.raises(GuardrailViolation, match="'npi' may not be shown"):
        await grids.run(GRID.replace("brand: all", "npi: all"))


async def test_rows_of_one_brand_are_read_once_for_all_its_cells(grids: Grids) -> None:
    memory, catalogue = PanelMemory(grids.session.database), Catalogue(grids.session.database)
    record = await memory.get("panel")
    for brand in ("a", "b"):
        for region in ("north", "south"):
            filters = [("brand", "eq", brand), ("region", "eq", region)]
            mine, theirs = await memory.load(record, filters=filters), await catalogue.load(record, filters=filters)
            pd.testing.assert_frame_equal(mine.frame, theirs.frame)
            assert mine.query == theirs.query
    assert memory.reads == 2
