"""Which provider is chosen, and does the configuration file mean what it says?"""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import yaml

from src.errors import ConfigError
from src.llm.client import LLMReply
from src.llm.configuration import LLM_FILE, LLMSettings, load_llm_config
from src.llm.detection import detect_provider, open_client
from src.llm.none import NoModel
from src.resilience.outcomes import Unavailable
from src.settings import PROJECT_ROOT
from tests.unit.test_llm.wires import ASK, PRICES, WIRES, WireName, serve, settings

ANTHROPIC_KEY, OPENAI_KEY = {"ANTHROPIC_API_KEY": "a"}, {"OPENAI_API_KEY": "o"}


@pytest.mark.parametrize(
    ("environ", "provider"),
    [
        ({}, "none"),
        (ANTHROPIC_KEY, "anthropic"),
        (OPENAI_KEY, "openai"),
        (ANTHROPIC_KEY | OPENAI_KEY, "anthropic"),
        (ANTHROPIC_KEY | OPENAI_KEY | {"E2I_LLM_PROVIDER": "openai"}, "openai"),
        (ANTHROPIC_KEY | OPENAI_KEY | {"E2I_LLM_PROVIDER": "none"}, "none"),
        ({"E2I_LLM_PROVIDER": "anthropic", "ANTHROPIC_BASE_URL": "http://127.0.0.1:1"}, "anthropic"),
        ({"E2I_LLM_PROVIDER": "openai", "OPENAI_BASE_URL": "http://127.0.0.1:1/v1"}, "openai"),
        ({"ANTHROPIC_BASE_URL": "http://127.0.0.1:1"}, "none"),
        ({"E2I_LLM_PROVIDER": "scripted", "E2I_SCRIPTED_REPLIES": "replies.yaml"}, "scripted"),
    ],
)
def test_the_provider_is_the_named_one_or_the_one_with_a_key(environ: dict[str, str], provider: str) -> None:
    assert detect_provider(load_llm_config(environ=environ)) == provider


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        ({"E2I_LLM_PROVIDER": "anthropic"}, "neither ANTHROPIC_API_KEY nor ANTHROPIC_BASE_URL"),
        ({"E2I_LLM_PROVIDER": "openai"} | ANTHROPIC_KEY, "neither OPENAI_API_KEY nor OPENAI_BASE_URL"),
        ({"E2I_LLM_PROVIDER": "scripted"}, "E2I_SCRIPTED_REPLIES"),
    ],
)
def test_a_named_provider_that_cannot_be_reached_is_a_mistake(environ: dict[str, str], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        detect_provider(load_llm_config(environ=environ))


async def test_without_a_provider_the_answer_says_what_to_do() -> None:
    client = open_client(load_llm_config(environ={}), prices=PRICES)
    reply = await client.complete(ASK)
    async with client.stream(ASK) as stream:
        assert [piece async for piece in stream] == []
    await client.aclose()
    assert isinstance(client, NoModel)
    assert isinstance(reply, Unavailable)
    assert reply == stream.reply
    assert reply.component == "llm"
    assert "ANTHROPIC_API_KEY" in reply.reason


@pytest.mark.parametrize("wire", WIRES)
async def test_a_base_url_is_enough_for_a_local_server(wire: WireName) -> None:
    with serve(wire, "local") as server:
        environ = {"E2I_LLM_PROVIDER": wire, f"{wire.upper()}_BASE_URL": server.base_url}
        client = open_client(load_llm_config(environ=environ), prices=PRICES)
        reply = await client.complete(ASK)
        await client.aclose()
    assert isinstance(reply, LLMReply)
    assert (reply.text, client.provider) == ("local", wire)


def test_a_model_about_to_end_is_announced_with_its_date() -> None:
    with serve("anthropic") as server:
        with pytest.warns(UserWarning, match="claude-sonnet-4-5 is deprecated and ends on November 30th, 2026"):
            open_client(settings("anthropic", server, judge="claude-sonnet-4-5"), prices=PRICES)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            open_client(load_llm_config(environ=ANTHROPIC_KEY), prices=PRICES)


@pytest.mark.parametrize(("environ", "imported"), [({}, set()), (OPENAI_KEY, {"openai"})], ids=["none", "openai"])
def test_only_the_sdk_in_use_is_imported(environ: dict[str, str], imported: set[str]) -> None:
    code = (
        "import sys, src.llm.detection as d, src.llm.configuration as c, tests.unit.test_llm.wires as w\n"
        f"d.open_client(c.load_llm_config(environ={environ!r}), prices=w.PRICES)\n"
        "print(*(name for name in ('anthropic', 'openai', 'langchain_core') if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == imported


def test_a_missing_sdk_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "src.llm.openai", raising=False)
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(ConfigError, match=r"openai package is not installed.*e2i\[llm\]"):
        open_client(load_llm_config(environ=OPENAI_KEY), prices=PRICES)


def test_the_shipped_models_follow_the_purposes() -> None:
    models = load_llm_config(environ={}).anthropic.models
    assert models.judge == models.classification == "claude-haiku-5-5"
    assert models.reasoning == models.narration == models.reflection == "claude-sonnet-5-5"


def test_a_key_never_shows_in_the_settings() -> None:
    config = load_llm_config(environ={"ANTHROPIC_API_KEY": "sk-secret-1"})
    assert config.anthropic.key == "sk-secret-1"
    assert "sk-secret-1" not in repr(config)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"providor": "openai"}, "providor: unknown key"),
        ({"provider": "gemini"}, "provider: "),
        ({"timeouts": {"request_seconds": 10, "deadline_seconds": 5}}, "request_seconds must not exceed"),
        ({"concurrency": 0}, "concurrency: "),
        ({"budget": {"max_dollars": -1}}, "budget.max_dollars"),
        ({"retries": {"attempts": 0}}, "retries.attempts"),
        ({"circuit_breaker": {"failure_threshold": 0}}, "circuit_breaker.failure_threshold"),
        ({"anthropic": {"models": {"judge": "x"}}}, "anthropic.models.classification"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_mistake_in_the_file_is_one_line_naming_the_key(tmp_path: Path, change: dict[str, Any], problem: str) -> None:
    file = tmp_path / "llm.yaml"
    file.write_text(yaml.safe_dump({**yaml.safe_load(LLM_FILE.read_text()), **change}))
    with pytest.raises(ConfigError, match=problem) as caught:
        load_llm_config(file, environ={})
    assert "\n" not in str(caught.value)


def test_limits_come_from_the_environment() -> None:
    environ = {"E2I_LLM_MAX_TOKENS": "1000", "E2I_LLM_MAX_DOLLARS": "2.5", "E2I_LLM_CACHE": "true"}
    config = load_llm_config(environ=environ)
    assert (config.budget.max_tokens, config.budget.max_dollars, config.cache.enabled) == (1000, 2.5, True)
    assert load_llm_config(environ={}).budget.max_dollars is None


def test_every_key_of_the_file_is_declared() -> None:
    shipped = yaml.safe_load(LLM_FILE.read_text())
    assert set(shipped) == set(LLMSettings.model_fields)
