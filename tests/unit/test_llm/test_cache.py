"""Is a repeated request answered from disk, and only with a reply worth keeping?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from src.errors import DataUnavailable, MalformedReply, ModelRefused
from src.llm.budget import Budget
from src.llm.cache import cache_key
from src.llm.client import LLMClient, LLMReply, LLMRequest, Message, Tool
from src.llm.detection import open_client
from src.scripted_servers import faults
from src.scripted_servers.replies import Reply, ToolUse
from tests.unit.test_llm.wires import ASK, PRICES, SECRET_PROMPT, Server, Verdict, serve, settings

CACHE = {"cache": {"enabled": True}}
VALID = Reply.json({"reason": "stated", "supported": True})


@pytest.fixture(autouse=True)
def var_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("E2I_VAR_DIR", str(tmp_path))
    return tmp_path / "cache" / "llm"


@pytest.fixture
def server() -> Iterator[Server]:
    with serve("anthropic", "ok") as server:
        yield server


def opened(server: Server, **changes: Any) -> LLMClient:
    return open_client(settings("anthropic", server, **{**CACHE, **changes}), prices=PRICES)


async def test_a_repeated_request_is_not_sent_and_costs_nothing(server: Server, var_folder: Path) -> None:
    budget = Budget(max_tokens=10_000)
    first_client = open_client(settings("anthropic", server, **CACHE), prices=PRICES, budget=budget)
    first = await first_client.complete(ASK)
    spent = budget.spent
    await first_client.aclose()
    again = opened(server)
    second = await again.complete(ASK)
    await again.aclose()
    assert isinstance(first, LLMReply)
    assert isinstance(second, LLMReply)
    assert (first.cached, second.cached) == (False, True)
    assert (second.text, second.model, second.stop_reason) == (first.text, first.model, first.stop_reason)
    assert (second.cost, second.input_tokens, second.output_tokens) == (0.0, 0, 0)
    assert len(server.requests) == 1
    assert budget.spent == spent
    (file,) = var_folder.iterdir()
    assert SECRET_PROMPT not in file.read_text()


async def test_the_cache_is_off_unless_asked_for(server: Server, var_folder: Path) -> None:
    client = open_client(settings("anthropic", server), prices=PRICES)
    await client.complete(ASK)
    await client.complete(ASK)
    await client.aclose()
    assert len(server.requests) == 2
    assert not var_folder.exists()


async def test_a_kept_structured_reply_and_its_tool_calls_come_back(var_folder: Path) -> None:
    tool = Tool("lookup", "Looks up", {"type": "object"})
    script = {"tool": Reply(tool_uses=(ToolUse("lookup", {"kpi": "TRx"}),)), "": VALID}
    with serve("anthropic", script) as server:
        client = opened(server)
        parsed = [await client.complete(ASK, schema=Verdict) for _ in range(2)]
        called = [await client.complete([Message("user", "tool")], tools=[tool]) for _ in range(2)]
        await client.aclose()
        assert len(server.requests) == 2
    assert [reply.parsed_as(Verdict).supported for reply in parsed if isinstance(reply, LLMReply)] == [True, True]
    assert [reply.tool_calls[0].arguments for reply in called if isinstance(reply, LLMReply)] == [{"kpi": "TRx"}] * 2


async def test_a_stream_is_kept_and_replayed(server: Server) -> None:
    client = opened(server)
    texts = []
    for _ in range(2):
        async with client.stream(ASK) as stream:
            texts.append("".join([piece async for piece in stream]))
    await client.aclose()
    assert texts == ["ok", "ok"]
    assert isinstance(stream.reply, LLMReply)
    assert stream.reply.cached
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Reply("no JSON"), MalformedReply),
        (Reply('{"reason": "cut', end="cut_off"), MalformedReply),
        (Reply("No.", end="refused"), ModelRefused),
    ],
    ids=["malformed", "cut off", "refused"],
)
async def test_a_reply_nobody_could_use_is_not_kept(reply: Reply, error: type[Exception], var_folder: Path) -> None:
    with serve("anthropic", reply) as server:
        client = opened(server)
        with pytest.raises(error):
            await client.complete(ASK, schema=Verdict)
        await client.aclose()
    assert not var_folder.exists()


async def test_an_outage_is_not_kept(server: Server, var_folder: Path) -> None:
    server.fault = faults.status(503)
    client = opened(server, retries={"attempts": 1})
    await client.complete(ASK)
    await client.aclose()
    assert not var_folder.exists()


async def test_a_damaged_file_is_named_and_not_guessed_at(server: Server, var_folder: Path) -> None:
    client = opened(server)
    await client.complete(ASK)
    (file,) = var_folder.iterdir()
    file.write_text("{}")
    with pytest.raises(DataUnavailable, match=file.name):
        await client.complete(ASK)
    await client.aclose()


REQUEST = LLMRequest(ASK, "priced", 10)


@pytest.mark.parametrize(
    "other",
    [
        replace(REQUEST, model="other"),
        replace(REQUEST, system="s"),
        replace(REQUEST, messages=(Message("assistant", SECRET_PROMPT),)),
        replace(REQUEST, schema=Verdict),
        replace(REQUEST, tools=(Tool("t", "d", {}),)),
        replace(REQUEST, max_tokens=11),
    ],
    ids=["model", "system", "role", "schema", "tools", "limit"],
)
def test_whatever_can_change_the_reply_is_in_the_key(other: LLMRequest) -> None:
    assert cache_key("anthropic", other) != cache_key("anthropic", REQUEST)
    assert cache_key("openai", REQUEST) != cache_key("anthropic", REQUEST)
    assert cache_key("anthropic", replace(REQUEST, purpose="judge")) == cache_key("anthropic", REQUEST)
