"""Is config/observability.yaml complete, right in every environment, and is each mistake in it one clear line?"""

from __future__ import annotations

import copy
import traceback
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from src.domain.agents import TIER_OF_AGENT
from src.errors import ConfigError
from src.mlops.tracing.configuration import (
    OBSERVABILITY_FILE,
    ObservabilityConfig,
    SamplingSettings,
    load_observability_config,
)
from src.resilience.circuit_breaker import CircuitBreakerConfig

ENVIRONMENTS = ["development", "staging", "production"]
Load = Callable[..., ObservabilityConfig]
SECRET = "hunter22"


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Load a copy of the shipped file with some keys (dotted) set to other values."""

    def load_changed(changes: dict[str, Any] | None = None, **environ: str) -> ObservabilityConfig:
        raw = yaml.safe_load(OBSERVABILITY_FILE.read_text("utf-8"))
        for key, value in (changes or {}).items():
            *sections, name = key.split("/")
            target = raw
            for section in sections:
                target = target.setdefault(section, {})
            target[name] = copy.deepcopy(value)
        file = tmp_path / "observability.yaml"
        file.write_text(yaml.safe_dump(raw), encoding="utf-8")
        return load_observability_config(file, environ=environ)

    return load_changed


def problem(load: Load, changes: dict[str, Any] | None = None, **environ: str) -> str:
    """The message a changed file is refused with, without the folder."""
    with pytest.raises(ConfigError) as caught:
        load(changes, **environ)
    message = str(caught.value)
    assert "\n" not in message
    return message[message.find("observability.yaml") :] if "observability.yaml" in message else message


# The shipped file


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_the_shipped_file_loads_without_any_variable(name: str) -> None:
    config = load_observability_config(environ={"E2I_ENV": name})
    assert config.opik.project_name == "e2i-causal-analytics"
    assert not config.opik.enabled
    assert config.circuit_breaker.breaker() == CircuitBreakerConfig(5, 30.0, 3, 2)
    assert config.fallback.database
    assert config.sampling.always_sample_errors
    assert config.prices.as_of <= date(2026, 12, 31)
    assert config.prices.models
    assert all(price.input > 0 for price in config.prices.models.values())
    # An embedding has no output to pay for.
    assert all(price.output > 0 or "embedding" in model for model, price in config.prices.models.items())


@pytest.mark.parametrize("environ", [{}, {"E2I_ENV": ""}])
def test_development_is_the_default(environ: dict[str, str]) -> None:
    assert load_observability_config(environ=environ) == load_observability_config(environ={"E2I_ENV": "development"})


def test_the_shipped_defaults_are_those_of_the_contract() -> None:
    config = load_observability_config(environ={})
    assert (config.batching.max_batch_size, config.batching.max_wait_seconds) == (100, 5)
    assert (config.batching.max_retries, config.batching.retry_delay_seconds) == (3, 1)
    assert config.sampling.default_rate == 1.0
    assert config.sampling.tier_rates == {0: 0.5, 1: 1.0, 2: 1.0, 3: 0.5, 4: 0.8, 5: 1.0}
    assert config.sampling.agent_rates == {"observability_connector": 0.01}
    assert config.sampling.always_sample_agents == ("orchestrator", "causal_impact")
    assert (config.cache.backend, config.cache.ttl) == ("memory", {"1h": 60, "24h": 300, "7d": 600})
    assert (config.retention.days, config.retention.batch) == (30, 1000)
    assert (config.spans.max_input_kb, config.spans.max_output_kb, config.spans.max_attributes_kb) == (10, 10, 4)


def test_production_mirrors_a_tenth_in_larger_batches_and_keeps_it_longer() -> None:
    development, production = (load_observability_config(environ={"E2I_ENV": name}) for name in ENVIRONMENTS[::2])
    assert production.sampling.default_rate == 0.1
    assert (production.batching.max_batch_size, production.batching.max_wait_seconds) == (200, 10)
    assert production.retention.days == 90
    changed = {"sampling", "batching", "retention"}
    assert production.model_dump(exclude=changed) == development.model_dump(exclude=changed)
    assert production.sampling.tier_rates == development.sampling.tier_rates, "an override replaces one key only"
    assert production.retention.batch == development.retention.batch


@pytest.mark.parametrize(
    ("variables", "address"),
    [
        ({}, "http://localhost:5173/api"),
        ({"OPIK_URL_OVERRIDE": "http://127.0.0.1:9/api/"}, "http://127.0.0.1:9/api"),
        ({"OPIK_ENDPOINT": "https://opik.corp/api"}, "https://opik.corp/api"),
        ({"OPIK_ENDPOINT": "https://a/api", "OPIK_URL_OVERRIDE": "http://b/api"}, "https://a/api"),
    ],
)
def test_variables_say_where_opik_is(variables: dict[str, str], address: str) -> None:
    config = load_observability_config(environ={"OPIK_ENABLED": "true", "OPIK_API_KEY": "abc"} | variables)
    assert (config.opik.enabled, config.opik.api_key, config.opik.base_url) == (True, "abc", address)


def test_without_an_own_server_there_is_no_address(load: Load) -> None:
    assert load({"opik/use_local": False}).opik.base_url == ""


# Sampling rates

SAMPLING = SamplingSettings(
    default_rate=0.6,
    always_sample_agents=("orchestrator", "explainer"),
    tier_rates={0: 0.5, 1: 0.2, 2: 0.9, 5: 0.1},
    agent_rates={"model_trainer": 0.01, "feedback_learner": 0.8, "explainer": 0.0},
)


@pytest.mark.parametrize(
    ("agent", "rate", "why"),
    [
        ("orchestrator", 1.0, "named agents go before their tier"),
        ("explainer", 1.0, "named agents go before their own rate"),
        ("model_trainer", 0.01, "an agent's own rate goes before its tier's"),
        ("feedback_learner", 0.8, "an agent's own rate may lie above the default"),
        ("data_preparer", 0.5, "the tier's rate goes before the default"),
        ("causal_impact", 0.6, "the tier's rate does not raise the default"),
    ],
)
def test_precedence_of_sampling_rates(agent: str, rate: float, why: str) -> None:
    assert SAMPLING.rate(agent, TIER_OF_AGENT[agent]) == rate, why


def test_a_tier_without_a_rate_has_the_default() -> None:
    assert SAMPLING.rate("unknown", 3) == 0.6


@pytest.mark.parametrize(
    ("name", "rates"),
    [
        ("development", {"causal_impact": 1.0, "tool_composer": 1.0, "model_trainer": 0.5, "unknown": 0.5}),
        ("staging", {"causal_impact": 1.0, "tool_composer": 0.5, "model_trainer": 0.5, "unknown": 0.5}),
        ("production", {"causal_impact": 1.0, "tool_composer": 0.1, "model_trainer": 0.1, "unknown": 0.1}),
    ],
)
def test_the_environment_lowers_every_rate_but_that_of_named_agents(name: str, rates: dict[str, float]) -> None:
    sampling = load_observability_config(environ={"E2I_ENV": name}).sampling
    assert {agent: sampling.rate(agent, TIER_OF_AGENT.get(agent, 3)) for agent in rates} == rates
    assert sampling.rate("observability_connector", 0) == 0.01


# Prices


def test_the_shipped_prices_cost_known_models_and_no_others() -> None:
    prices = load_observability_config(environ={}).prices
    assert prices.cost("claude-sonnet-5-5", 1000, 500) == pytest.approx(0.007)
    assert prices.cost("claude-haiku-5-5", 100_000, 0) == pytest.approx(0.01)
    assert prices.cost("claude-haiku-5-5", 100_001, 0) is None
    assert prices.cost("a-model-of-tomorrow", 1000, 500) is None


# Mistakes


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("surprise", 1, "surprise: unknown key"),
        ("opik/projectname", "x", "opik.projectname: unknown key"),
        ("prices/models/gpt-5/outptu", 1, "prices.models.gpt-5.outptu: unknown key"),
        ("batching/max_batch_size", "many", "batching.max_batch_size: Input should be a valid integer"),
        ("batching/max_batch_size", 1001, "batching.max_batch_size: Input should be less than or equal to 1000"),
        ("batching/max_batch_size", 0, "batching.max_batch_size: Input should be greater than or equal to 1"),
        ("batching/max_retries", -1, "batching.max_retries: Input should be greater than or equal to 0"),
        ("circuit_breaker/failure_threshold", 0, "circuit_breaker.failure_threshold: Input should be greater than"),
        ("circuit_breaker/half_open_max_calls", 0, "circuit_breaker.half_open_max_calls: Input should be greater"),
        ("circuit_breaker/success_threshold", 0, "circuit_breaker.success_threshold: Input should be greater than"),
        ("circuit_breaker/reset_timeout_seconds", 0, "circuit_breaker.reset_timeout_seconds: Input should be"),
        ("circuit_breaker/reset_timeout_seconds", float("inf"), "circuit_breaker.reset_timeout_seconds: Input should"),
        ("sampling/default_rate", 1.5, "sampling.default_rate: Input should be less than or equal to 1"),
        ("sampling/default_rate", float("nan"), "sampling.default_rate: Input should be"),
        ("sampling/tier_rates", {0: 2}, "sampling.tier_rates.0: Input should be less than or equal to 1"),
        ("sampling/tier_rates", {6: 0.5}, "sampling.tier_rates.6.[key]: Input should be less than or equal to 5"),
        (
            "sampling/agent_rates",
            {"orchestratr": 0.5},
            "sampling.agent_rates.orchestratr.[key]: Value error, no agent is called 'orchestratr'; "
            "did you mean 'orchestrator'?",
        ),
        (
            "sampling/always_sample_agents",
            ["orchestrator", "gap_analyzer"],
            "sampling.always_sample_agents.1: Value error, no agent is called 'gap_analyzer'",
        ),
        ("opik/local_endpoint", "localhost:5173", "opik.local_endpoint: Value error, the address must start with http"),
        ("opik", {"enabled": True, "use_local": False}, "opik: Value error, enabled without an address: set url"),
        ("cache/backend", "disk", "cache.backend: Input should be 'memory' or 'redis'"),
        ("cache/backend", "redis", "cache: Value error, backend redis needs redis_url"),
        ("cache/ttl", {"1h": 60, "7d": 600}, "cache: Value error, ttl has no seconds for 24h"),
        ("cache/ttl", {"1h": 0, "24h": 1, "7d": 1}, "cache.ttl.1h: Input should be greater than 0"),
        ("cache/ttl", {"2h": 1}, "cache.ttl.2h.[key]: Input should be '1h', '24h' or '7d'"),
        ("retention/days", 0, "retention.days: Input should be greater than 0"),
        ("spans/max_input_kb", -1, "spans.max_input_kb: Input should be greater than 0"),
        ("prices", {"models": {}}, "prices.as_of: Field required"),
        ("prices/models/gpt-5/input", -1, "prices.models.gpt-5.input: Input should be greater than or equal to 0"),
        ("prices/models/gpt-5/input", float("inf"), "prices.models.gpt-5.input: Input should be a finite number"),
        ("environments/prod", {}, "environments.prod.[key]: Input should be 'development', 'staging' or 'production'"),
        ("environments/production", None, "environments.production: Input should be a valid dictionary"),
        ("otlp/headers", {"authorization": "${COLLECTOR_KEY}"}, "otlp.headers.authorization: environment variable"),
    ],
)
def test_a_mistake_is_one_line_naming_file_and_key(load: Load, key: str, value: Any, expected: str) -> None:
    assert problem(load, {key: value}).startswith(f"observability.yaml: {expected}")


@pytest.mark.parametrize("active", ENVIRONMENTS)
@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ({"sampling": {"rate": 0.1}}, "sampling.rate: unknown key"),
        ({"smapling": {"default_rate": 0.1}}, "smapling: unknown key"),
        ({"sampling": {"default_rate": 7}}, "sampling.default_rate: Input should be less than or equal to 1"),
        ({"batching": {"max_batch_size": "huge"}}, "batching.max_batch_size: Input should be a valid integer"),
        ({"sampling": None}, "sampling: Input should be a valid dictionary"),
        ({"circuit_breaker": {"failure_threshold": 0}}, "circuit_breaker.failure_threshold: Input should be greater"),
        ({"environments": {"staging": {}}}, "environments: unknown key"),
    ],
)
def test_a_bad_override_is_refused_whichever_environment_is_active(
    load: Load, active: str, override: dict[str, Any], expected: str
) -> None:
    message = problem(load, {"environments/production": override}, E2I_ENV=active)
    assert message.startswith(f"observability.yaml: environments.production.{expected}")


@pytest.mark.parametrize("name", ["prod", "Production", " staging", "test"])
def test_an_unknown_environment_is_refused(load: Load, name: str) -> None:
    assert problem(load, E2I_ENV=name) == f"E2I_ENV is '{name}'; it must be development, staging or production"


def test_the_message_names_the_file_that_was_read(load: Load, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load({"environments/staging": {"x": 1}})
    assert str(caught.value) == f"{tmp_path / 'observability.yaml'}: environments.staging.x: unknown key"


@pytest.mark.parametrize(
    ("changes", "variables"),
    [
        ({}, {"OPIK_ENDPOINT": f"ftp://user:{SECRET}@opik"}),
        ({"opik/use_local": False}, {"OPIK_ENABLED": "true"}),
        ({"opik/surprise": 1}, {}),
        ({"cache/backend": "redis", "cache/ttl": {"1h": 1}}, {"REDIS_URL": f"redis://:{SECRET}@cache"}),
        ({"environments/staging": {"opik": {"use_local": False, "enabled": True}}}, {}),
    ],
)
def test_no_secret_is_in_an_error_nor_in_what_caused_it(
    load: Load, changes: dict[str, Any], variables: dict[str, str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(changes, **{"OPIK_API_KEY": SECRET} | variables)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_no_secret_is_in_the_printed_configuration(load: Load) -> None:
    config = load(
        {"otlp/headers": {"authorization": "${COLLECTOR_KEY}"}},
        OPIK_API_KEY=SECRET,
        REDIS_URL=f"redis://:{SECRET}@cache",
        COLLECTOR_KEY=SECRET,
    )
    assert config.opik.api_key == config.otlp.headers["authorization"] == SECRET
    assert SECRET not in repr(config)


def test_it_cannot_be_changed_after_loading(load: Load) -> None:
    with pytest.raises(ValueError, match="frozen"):
        load().sampling.default_rate = 0.0  # type: ignore[misc]
