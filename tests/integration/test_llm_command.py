"""`e2i llm check` says which model is used and why, and whether it answers; it never shows or keeps the key."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from typer.testing import CliRunner, Result

from src.cli.main import app
from src.errors import BudgetExhausted, ConfigError, ContractViolation, E2IError
from src.mlops.opik_connector import reset_opik_connector
from src.mlops.tracing.configuration import load_observability_config
from src.mlops.tracing.orphans import find_orphans
from src.scripted_servers import faults
from src.scripted_servers.anthropic import ScriptedAnthropic
from src.scripted_servers.http import ScriptedServer
from src.scripted_servers.openai import ScriptedOpenAI
from src.scripted_servers.replies import Reply
from tests.e2e.command_line import CommandLine

# Of no known shape: what keeps it out is that nobody writes it, not that a pattern finds it.
KEY = "plainkeyZq7Wx2Lm9Rt4Vb8Nc3"
READY = Reply('{"word": "ready"}', input_tokens=1000, output_tokens=10)
MODELS = {"anthropic": "claude-haiku-5-5", "openai": "gpt-5-mini"}
SERVERS: dict[str, type[ScriptedAnthropic | ScriptedOpenAI]] = {
    "anthropic": ScriptedAnthropic,
    "openai": ScriptedOpenAI,
}
wires = pytest.mark.parametrize("wire", list(SERVERS))


@dataclass(frozen=True)
class Place:
    """Where a command leaves its traces."""

    var: Path
    url: str
    monkeypatch: pytest.MonkeyPatch

    def use(self, wire: str, server: ScriptedServer, **settings: str) -> None:
        """Let the environment point to a server that stands for the provider."""
        assert isinstance(server, ScriptedAnthropic | ScriptedOpenAI)
        values = {f"{wire.upper()}_API_KEY": KEY, f"{wire.upper()}_BASE_URL": server.base_url} | settings
        for name, value in values.items():
            self.monkeypatch.setenv(name, value)

    def spans(self) -> dict[str, dict[str, Any]]:
        """Stored spans by operation, after everything was delivered."""
        reset_opik_connector()
        with psycopg.connect(self.url, row_factory=dict_row) as connection:
            found = connection.execute("SELECT * FROM ml_observability_spans").fetchall()
        assert find_orphans(found) == []
        return {row["operation_type"]: row for row in found}

    def written(self) -> str:
        """Everything that is in files and in the database."""
        files = [file.read_bytes().decode(errors="replace") for file in self.var.rglob("*") if file.is_file()]
        with psycopg.connect(self.url) as connection:
            rows = connection.execute("SELECT s::text FROM ml_observability_spans s").fetchall()
        assert files
        assert rows
        return "".join([*files, *(row[0] for row in rows)])


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database_url: str) -> Iterator[Place]:
    """A database, a spool and a connector of the test's own."""
    monkeypatch.setenv("E2I_VAR_DIR", str(tmp_path / "var"))
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("COLUMNS", "160")
    reset_opik_connector()
    yield Place(tmp_path / "var", database_url, monkeypatch)
    reset_opik_connector()


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["llm", "check", *arguments])


def checked(*arguments: str, code: int = 0) -> Any:
    result = call(*arguments, "--json")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == code
    return json.loads(result.stdout)


@wires
def test_an_answer_is_shown_with_tokens_cost_and_trace_and_its_span_is_stored(wire: str, place: Place) -> None:
    with SERVERS[wire](READY) as server:
        place.use(wire, server)
        found = checked()
        address = server.base_url
    prices = load_observability_config().prices
    price = prices.models[MODELS[wire]]
    cost = (1000 * price.input + 10 * price.output) / 1e6
    asked = found["call"]
    assert (found["provider"], found["why"]) == (wire, f"its key is set by {wire.upper()}_API_KEY")
    assert (found["base_url"], found["usable"], found["prices_as_of"]) == (address, True, str(prices.as_of))
    assert found["models"][0] == {
        "purpose": "judge",
        "model": MODELS[wire],
        "price_per_million_tokens": {"input": price.input, "output": price.output},
    }
    assert (asked["input_tokens"], asked["output_tokens"], asked["attempts"]) == (1000, 10, 1)
    assert asked["cost"] == pytest.approx(cost)
    assert (asked["latency_ms"] > 0, asked["problem"], asked["unstored"]) == (True, None, None)
    stored = place.spans()
    span = stored["llm_call"]
    assert (span["trace_id"], span["parent_span_id"]) == (asked["trace_id"], stored["check_model"]["span_id"])
    assert (span["model_name"], span["input_tokens"], span["output_tokens"]) == (MODELS[wire], 1000, 10)
    assert float(span["total_cost"]) == pytest.approx(cost)
    assert KEY not in place.written()


@wires
def test_people_read_provider_models_prices_budget_and_the_answer(wire: str, place: Place) -> None:
    with SERVERS[wire](READY) as server:
        place.use(wire, server, E2I_LLM_MAX_DOLLARS="2.5")
        shown = call("--purpose", "narration")
    asked = load_observability_config().prices.models
    model = next(name for name in ("claude-sonnet-5-5", "gpt-5") if name in shown.stdout)
    assert shown.exit_code == 0
    assert f"provider {wire}: its key is set by {wire.upper()}_API_KEY" in shown.stdout
    assert f"{model} answered in " in shown.stdout
    assert (
        f"1,000 tokens in, 10 out, ${(1000 * asked[model].input + 10 * asked[model].output) / 1e6:.6f}" in shown.stdout
    )
    assert "budget of a run: 2,000,000 tokens, $2.5" in shown.stdout
    assert f"trace {place.spans()['llm_call']['trace_id']} " in shown.stdout


class Indiscreet(ScriptedAnthropic):
    """Says the key in its refusals."""

    def error_payload(self, status: int) -> Any:
        return {"type": "error", "error": {"type": "authentication_error", "message": f"invalid x-api-key: {KEY}"}}


@pytest.mark.parametrize(
    ("script", "fault", "kind", "says"),
    [
        (READY, faults.status(401), "ServiceRefused", "HTTP 401 (authentication_error); check the API key"),
        ("no JSON at all", None, "MalformedReply", "did not answer as OneWord, also when asked again"),
        (Reply.json({"word": "sorry"}), None, "MalformedReply", "was asked for the word 'ready'"),
        (Reply("", end="refused"), None, "ModelRefused", "claude-haiku-5-5"),
    ],
    ids=["401", "malformed", "another word", "refused"],
)
def test_a_model_that_does_not_answer_as_asked_exits_with_1(
    place: Place, script: Any, fault: Any, kind: str, says: str
) -> None:
    with Indiscreet(script, fault=fault) as server:
        place.use("anthropic", server)
        found = checked(code=1)
        shown = call()
    problem = found["call"]["problem"]
    assert (found["usable"], problem["type"]) == (False, kind)
    assert says in problem["message"]
    assert (shown.exit_code, f"claude-haiku-5-5 did not answer as asked: {kind}: " in shown.stdout) == (1, True)
    stored = place.spans()
    assert (stored["check_model"]["status"], stored["check_model"]["error_type"]) == ("error", kind)
    assert "llm_call" in stored
    assert KEY not in shown.output + json.dumps(found) + place.written()


@wires
def test_a_server_that_is_down_exits_with_1_and_leaves_failed_spans(wire: str, place: Place) -> None:
    with SERVERS[wire](READY) as server:
        place.use(wire, server)
        with server.down():
            found = checked(code=1)
    problem = found["call"]["problem"]
    assert problem["type"] == "ServiceOutage"
    assert problem["message"].startswith(f"{wire} could not be reached")
    stored = place.spans()
    assert {name: stored[name]["status"] for name in ("check_model", "llm_call")} == dict.fromkeys(stored, "error")
    assert (stored["llm_call"]["input_tokens"], stored["llm_call"]["total_cost"]) == (None, None)
    assert KEY not in json.dumps(found) + place.written()


def test_without_a_provider_nothing_is_asked_and_that_is_fine(place: Place) -> None:
    found = checked()
    assert (found["provider"], found["usable"], found["call"], found["models"]) == ("none", True, None, [])
    shown = call()
    assert (shown.exit_code, "the deterministic paths are used" in shown.stdout) == (0, True)
    assert "neither ANTHROPIC_API_KEY nor OPENAI_API_KEY" in shown.stdout


def test_a_server_address_alone_is_not_used_and_the_check_says_what_is_missing(place: Place) -> None:
    place.monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9")
    assert "a server of your own needs E2I_LLM_PROVIDER beside its address" in checked()["why"]


def test_a_chosen_provider_wins_over_a_key_and_a_password_in_its_address_is_not_shown(place: Place) -> None:
    with ScriptedOpenAI(READY) as server:
        place.use("openai", server, ANTHROPIC_API_KEY=KEY, E2I_LLM_PROVIDER="openai")
        address = server.base_url
        place.monkeypatch.setenv("OPENAI_BASE_URL", address.replace("http://", f"http://user:{KEY}@"))
        result = call("--json")
    found = json.loads(result.stdout)
    assert (found["provider"], found["why"], found["base_url"]) == ("openai", "set by E2I_LLM_PROVIDER", address)
    assert place.spans()
    assert KEY not in result.output + place.written()


def test_an_answer_from_the_cache_proves_nothing_so_the_server_is_asked_each_time(place: Place) -> None:
    with ScriptedAnthropic(READY) as server:
        place.use("anthropic", server, E2I_LLM_CACHE="true")
        assert [checked()["usable"], checked()["usable"]] == [True, True]
        assert len(server.requests) == 2


def test_a_model_without_a_price_has_an_unknown_cost(place: Place) -> None:
    with ScriptedOpenAI(READY) as server:
        place.use("openai", server, E2I_OPENAI_SMALL_MODEL="qwen3-4b")
        found, shown = checked(), call().stdout
    assert (found["models"][0]["price_per_million_tokens"], found["call"]["cost"]) == (None, None)
    assert "1,000 tokens in, 10 out, cost unknown" in shown


def test_without_a_database_the_model_is_checked_and_the_trace_waits(place: Place) -> None:
    with ScriptedAnthropic(READY) as server:
        place.use("anthropic", server)
        place.monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1:9/e2i")
        found = checked()
    assert (found["usable"], found["call"]["output_tokens"]) == (True, 10)
    assert found["call"]["unstored"].startswith("the trace waits in the spool: ")
    reset_opik_connector()
    spooled = "".join(file.read_text(errors="replace") for file in (place.var / "spool").rglob("*") if file.is_file())
    assert found["call"]["trace_id"] in spooled
    assert KEY not in spooled


def test_a_model_that_is_about_to_end_is_a_warning_of_the_result(place: Place, tmp_path: Path) -> None:
    from anthropic.resources.messages.messages import DEPRECATED_MODELS

    import src.app.models as models
    from src.llm.configuration import LLM_FILE, load_llm_config

    ending = next(iter(DEPRECATED_MODELS))
    file = tmp_path / "llm.yaml"
    file.write_text(LLM_FILE.read_text().replace("judge: claude-haiku-5-5", f"judge: {ending}"))
    place.monkeypatch.setattr(models, "load_llm_config", lambda: load_llm_config(file))
    with ScriptedAnthropic(READY) as server, warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("ignore", DeprecationWarning)  # the SDK's own, hidden outside tests
        place.use("anthropic", server)
        found = checked()
    assert [ending in warning and "is deprecated" in warning for warning in found["call"]["warnings"]] == [True]


@pytest.mark.parametrize(
    ("environment", "arguments", "kind", "says"),
    [
        ({"E2I_LLM_PROVIDER": "llama"}, [], ConfigError, "config/llm.yaml: provider: Input should be"),
        ({"E2I_LLM_PROVIDER": "openai"}, [], ConfigError, "neither OPENAI_API_KEY nor OPENAI_BASE_URL is set"),
        ({"E2I_LLM_MAX_TOKENS": "-4"}, [], ConfigError, "budget.max_tokens"),
        ({"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": "localhost:1"}, [], ConfigError, "openai.base_url"),
        ({"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": "http://[::1"}, [], ConfigError, "openai.base_url"),
        ({"E2I_LLM_PROVIDER": "scripted", "E2I_SCRIPTED_REPLIES": "/none"}, [], ConfigError, "scripted replies"),
        ({}, ["--purpose", "juge"], ContractViolation, "there is no purpose 'juge'; did you mean 'judge'"),
        ({"OPENAI_API_KEY": KEY, "E2I_OPENAI_SMALL_MODEL": "qwen", "E2I_LLM_MAX_DOLLARS": "1"}, [],
         BudgetExhausted, "the cost of this call to qwen is unknown"),
    ],
)  # fmt: skip
def test_a_wrong_configuration_is_one_line(
    place: Place, environment: dict[str, str], arguments: list[str], kind: type[E2IError], says: str
) -> None:
    for name, value in environment.items():
        place.monkeypatch.setenv(name, value)
    error = call(*arguments).exception
    assert isinstance(error, kind)
    assert says in str(error)
    assert "\n" not in str(error)
    assert KEY not in str(error)


def test_the_installed_command_exits_with_2_for_a_wrong_setting_and_traces_a_check_under_its_own_span(
    place: Place,
) -> None:
    e2i = CommandLine(place.var, place.url)
    place.monkeypatch.setenv("E2I_LLM_PROVIDER", "anthropic")
    wrong = e2i("llm", "check")
    assert (wrong.code, wrong.out) == (2, "")
    assert (
        wrong.err
        == "e2i: the model provider is anthropic but neither ANTHROPIC_API_KEY nor ANTHROPIC_BASE_URL is set\n"
    )
    with ScriptedAnthropic(READY) as server:
        place.use("anthropic", server)
        done = e2i("llm", "check", "--json")
    assert (done.code, done.err, done.document["usable"]) == (0, "", True)
    stored = place.spans()
    assert stored["check_model"]["parent_span_id"] == stored["e2i llm check"]["span_id"]
    assert stored["llm_call"]["trace_id"] == stored["e2i llm check"]["trace_id"] == done.document["call"]["trace_id"]
    assert KEY not in done.out + done.err + place.written()
