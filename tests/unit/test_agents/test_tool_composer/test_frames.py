"""Are rows read once for many questions, never told as new when they are old, and never held without end?"""

from __future__ import annotations

import dataclasses
from typing import Any

import pandas as pd
import pytest

from src.agents.tool_composer.frame_memory import FrameMemory, Rows
from src.agents.tool_composer.state import ComposeContext, ToolOutput
from src.agents.tool_composer.tools.contract import ToolArguments, ToolInputs
from tests.unit.test_agents.test_tool_composer.parts import (
    ONE_FACET,
    Datasets,
    compose,
    panel,
    told,
    tool,
    tools,
)


@dataclasses.dataclass(frozen=True)
class VersionedRows:
    frame: pd.DataFrame
    version: str

    @property
    def query(self) -> dict[str, Any]:
        return {"rows_after": len(self.frame), "content_sha256": self.version}


class Versioned(Datasets):
    """Frames whose content has a hash that changes with them."""

    current = "first"

    async def version(self, name: str) -> str:
        return f"{name}/{self.current}"

    async def load(self, dataset_id: str, **conditions: Any) -> Any:
        rows = await super().load(dataset_id, **conditions)
        return VersionedRows(rows.frame, await self.version(dataset_id))


def seeing(seen: list[float]) -> Any:
    def look(inputs: ToolInputs, arguments: ToolArguments) -> ToolOutput:
        seen.append(float(inputs.frame["nrx"].sum()))
        return told(inputs, "effect", 1.0)

    return tools(causal_effect_estimator=tool("causal_effect_estimator", look))


async def test_a_later_question_reads_the_rows_of_an_earlier_one() -> None:
    datasets, seen = Versioned(), list[float]()
    memory = FrameMemory(datasets.version)
    for question in (ONE_FACET, ONE_FACET, "What is the effect of samples on NRx of Kisqali?"):
        await compose(question, datasets=datasets, memory=memory, tools=seeing(seen))
    assert datasets.loaded == ["hcp_month_panel"]
    assert len(set(seen)) == 1


async def test_rows_that_changed_are_read_again() -> None:
    datasets, seen = Versioned(), list[float]()
    memory = FrameMemory(datasets.version)
    await compose(datasets=datasets, memory=memory, tools=seeing(seen))
    datasets.frames["hcp_month_panel"] = panel().assign(nrx=0)
    datasets.current = "second"
    await compose(datasets=datasets, memory=memory, tools=seeing(seen))
    assert seen[0] > 0
    assert seen[1] == 0


async def test_rows_that_changed_while_they_were_read_are_not_held() -> None:
    datasets, seen = Versioned(), list[float]()

    async def late(name: str) -> str:
        return f"{name}/before"

    memory = FrameMemory(late)
    await compose(datasets=datasets, memory=memory, tools=seeing(seen))
    assert memory.held_bytes == 0


async def test_what_is_hidden_from_one_role_is_not_read_from_what_another_was_shown() -> None:
    datasets, columns = Versioned(), list[set[str]]()
    memory = FrameMemory(datasets.version)

    def look(inputs: ToolInputs, arguments: ToolArguments) -> ToolOutput:
        columns.append(set(inputs.frame.columns))
        return told(inputs, "effect", 1.0)

    for hidden in ((), ("specialty",)):
        await compose(
            ONE_FACET,
            ComposeContext(hidden_columns=hidden),
            datasets=datasets,
            memory=memory,
            tools=tools(causal_effect_estimator=tool("causal_effect_estimator", look)),
        )
    assert columns[0] - columns[1] == {"specialty"}


async def test_a_tool_that_adds_a_column_adds_it_for_nobody_else() -> None:
    datasets, columns = Versioned(), list[set[str]]()
    memory = FrameMemory(datasets.version)

    def add(inputs: ToolInputs, arguments: ToolArguments) -> ToolOutput:
        columns.append(set(inputs.frame.columns))
        inputs.frame["mine"] = 1
        return told(inputs, "effect", 1.0)

    for _ in range(2):
        own = tools(causal_effect_estimator=tool("causal_effect_estimator", add))
        await compose(ONE_FACET, datasets=datasets, memory=memory, tools=own)
    assert columns[0] == columns[1]


async def test_the_rows_of_a_brand_are_told_with_the_scope_they_were_narrowed_to() -> None:
    datasets = Versioned()
    memory = FrameMemory(datasets.version)
    queries = [
        (await compose(f"What is the effect of rep calls on NRx of {brand}?", datasets=datasets, memory=memory))
        .result.steps[0]
        .output
        for brand in ("Kisqali", "Fabhalta", "Kisqali")
    ]
    assert [one.query["scope"] for one in queries if one] == ["Kisqali", "Fabhalta", "Kisqali"]
    assert queries[0] is not None
    assert queries[0].query["rows_in_scope"] == 120
    assert queries[0].figures[0].value == queries[2].figures[0].value if queries[2] else False


def rows_of(size: int) -> Rows:
    frame = pd.DataFrame({"x": range(size)}, dtype="int64")
    return Rows(frame, {}, frame)


async def version(name: str) -> str:
    return name


def test_what_was_used_longest_ago_is_let_go_first() -> None:
    memory = FrameMemory(version, most_bytes=30_000)
    for name in "abc":
        memory.hold(name, rows_of(1_000))
    assert memory.find("a") is not None
    memory.hold("d", rows_of(1_000))
    assert [memory.find(name) is not None for name in "abcd"] == [True, False, True, True]
    assert memory.held_bytes <= 30_000


@pytest.mark.parametrize(("size", "held"), [(1_000, True), (4_000, False)])
def test_rows_that_would_fill_the_memory_are_not_held(size: int, held: bool) -> None:
    memory = FrameMemory(version, most_bytes=30_000)
    memory.hold("a", rows_of(size))
    assert (memory.find("a") is not None) is held
