"""Can an MCP client list the tools, ask, and fetch a report? The SDK's own client over standard input and output."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters

from src.settings import PROJECT_ROOT
from tests.integration.answering_panel import AnsweringPanel, answering_panel

QUESTION = "Did more rep calls cause more Kisqali prescriptions in the Northeast?"


@pytest.fixture(scope="module")
def panel(
    postgres_dsn: str, template_database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AnsweringPanel]:
    with answering_panel(
        postgres_dsn, template_database, "mcp_panel", tmp_path_factory.mktemp("mcp"), hcps=300
    ) as filled:
        yield filled


def server(panel: AnsweringPanel) -> StdioServerParameters:
    return StdioServerParameters(
        command=str(Path(sys.executable).with_name("e2i")),
        args=["mcp"],
        env={**os.environ, **panel.environment},
        cwd=PROJECT_ROOT,
    )


async def called(client: Client, tool: str, **arguments: Any) -> Any:
    done = await client.call_tool(tool, arguments)
    assert not done.is_error, done.content
    return done.structured_content


async def test_a_client_lists_asks_and_fetches_a_report(panel: AnsweringPanel) -> None:
    async with Client(server(panel)) as client:
        tools = {tool.name for tool in (await client.list_tools()).tools}
        assert tools == {"ask", "effect", "datasets", "runs", "report"}
        answer = await called(client, "ask", question=QUESTION)
        assert answer["answer"]
        assert answer["stamp"].startswith("Internal use only")
        again = await called(client, "ask", question="and in the South?", session_id=answer["session_id"])
        assert again["classification"]["parts"][0]["understood"]["region"] == "south"
        listed = (await called(client, "runs"))["result"]
        assert {one["status"] for one in listed} == {"completed"}
        assert any(one["name"] == "hcp_month_panel" for one in (await called(client, "datasets"))["result"])
        report = (await called(client, "report", run_id=listed[0]["run_id"]))["result"]
        assert listed[0]["run_id"] in report
        personal = {"dataset": "table:hcp_profiles", "treatment": "npi", "outcome": "decile"}
        await _refused(client, "effect", personal, "'npi' may not be shown to your role")
        by_role = {"dataset": "hcp_month_panel", "treatment": "rep_calls", "outcome": "trx", "confounders": ["decile"]}
        await _refused(client, "effect", {**by_role, "role": "field"}, "'decile' may not be shown to your role")
        await _refused(client, "effect", {**by_role, "role": "nobody"}, "there is no role 'nobody'")
        refused = await client.call_tool("report", {"run_id": "ffffffff"})
        assert refused.is_error
        assert "Traceback" not in str(refused.content)


async def _refused(client: Client, tool: str, arguments: dict[str, Any], reason: str) -> None:
    done = await client.call_tool(tool, arguments)
    assert done.is_error
    assert reason in str(done.content)
