"""What is asked of model_deployer? Requests come typed or as JSON; both are checked before anything is done."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeVar, get_args

from src.agents.ml_foundation.model_deployer.result import (
    Action,
    Approval,
    DeployRequest,
    Environment,
    ShadowEvidence,
    Strategy,
)
from src.agents.requests import check_keys
from src.errors import ContractViolation, nearest_names
from src.mlops.mlflow_connector import ModelStage

# Each rule that somebody may answer for, by the name the registry uses; "shadow" is the whole stage.
SHADOW = "shadow"
SHADOW_RULES = frozenset({"min_hours", "min_requests", "max_error_rate", "max_p99_ms"})
WAIVABLE = frozenset({SHADOW, "min_auc", "min_r2", "min_samples", "champion_ratio"}) | SHADOW_RULES
TARGETS = tuple(stage.value for stage in ModelStage if stage is not ModelStage.DEVELOPMENT)
ENVIRONMENTS: tuple[str, ...] = get_args(Environment)
STRATEGIES: tuple[str, ...] = get_args(Strategy)
NOT_SUPPORTED = {
    "blue_green": "it has no router that could switch between two environments",
    "canary": "it has no router that could send a share of the requests elsewhere",
}
NEEDED_TO_REGISTER = ("run_id", "experiment_id", "algorithm")

Part = TypeVar("Part", Approval, ShadowEvidence)


def request_from(raw: DeployRequest | Mapping[str, Any]) -> DeployRequest:
    """Accept a request or its JSON form (approval and shadow_evidence as objects, times as ISO 8601 with a zone).

    Raises ContractViolation for an unknown or missing key, a value of the wrong kind, for what an action needs
    and was not given, and for a strategy of deploying that cannot be carried out here.
    """
    request = raw if isinstance(raw, DeployRequest) else _read(raw)
    _check_values(request)
    _check_needs(request)
    return request


def _read(raw: Mapping[str, Any]) -> DeployRequest:
    check_keys(raw, DeployRequest, "request")
    actions = [action.value for action in Action]
    if raw["action"] not in actions:
        raise ContractViolation(f"unknown action '{raw['action']}'; {nearest_names(str(raw['action']), actions)}")
    parts = {"approval": _part(raw, "approval", Approval), "evidence": _part(raw, "shadow_evidence", ShadowEvidence)}
    rest = {**raw, "action": Action(raw["action"])}
    return DeployRequest(**{**rest, "approval": parts["approval"], "shadow_evidence": parts["evidence"]})


def _part(raw: Mapping[str, Any], key: str, kind: type[Part]) -> Part | None:
    given = raw.get(key)
    if given is None or isinstance(given, kind):
        return given
    if not isinstance(given, Mapping):
        raise ContractViolation(f"{key} must be an object")
    check_keys(given, kind, key)
    values = dict(given)
    if kind is Approval:
        values["at"] = _moment(values["at"])
        values["waives"] = frozenset(values.get("waives") or ())
    return kind(**values)


def _moment(said: Any) -> Any:
    try:
        return datetime.fromisoformat(said) if isinstance(said, str) else said
    except ValueError as error:
        raise ContractViolation(f"approval.at: '{said[:40]}' is no time like 2026-01-31T09:00:00Z") from error


def _check_values(request: DeployRequest) -> None:
    # The name is also the name of a folder.
    if not request.model_name.strip(" ."):
        raise ContractViolation("model_name is empty; name the registered model")
    for name, value, allowed in (
        ("environment", request.environment, ENVIRONMENTS),
        ("strategy", request.strategy, STRATEGIES),
        ("target_stage", request.target_stage, TARGETS),
    ):
        if value is not None and value not in allowed:
            raise ContractViolation(f"unknown {name} '{value}'; {nearest_names(str(value), allowed)}")
    if request.version is not None and (isinstance(request.version, bool) or request.version < 1):
        raise ContractViolation("version must be a number from 1")
    if request.port is not None and not 1 <= request.port <= 65_535:
        raise ContractViolation("port must be a number from 1 to 65535")
    if request.approval is not None:
        check_approval(request.approval)
    if request.shadow_evidence is not None:
        _check_evidence(request.shadow_evidence)


def check_approval(approval: Approval) -> None:
    """Raise ContractViolation without a person, a reason or a time, and for a rule that cannot be waived."""
    if not approval.approver.strip() or not approval.reason.strip():
        raise ContractViolation("an approval needs the name of the person who gives it, and a reason")
    if not isinstance(approval.at, datetime) or approval.at.tzinfo is None:
        raise ContractViolation("approval.at must be a time with a zone")
    for rule in sorted(approval.waives - WAIVABLE):
        raise ContractViolation(f"'{rule}' is no rule that can be waived; {nearest_names(rule, sorted(WAIVABLE))}")


def _check_evidence(evidence: ShadowEvidence) -> None:
    if evidence.requests < 0 or evidence.hours < 0 or evidence.p99_ms < 0 or not 0 <= evidence.error_rate <= 1:
        raise ContractViolation("shadow_evidence: counts and times cannot be negative, error_rate lies in 0–1")


def _check_needs(request: DeployRequest) -> None:
    if request.action is Action.DEPLOY and request.strategy in NOT_SUPPORTED:
        raise ContractViolation(
            f"strategy '{request.strategy}' is not supported by the local serving adapter: "
            f"{NOT_SUPPORTED[request.strategy]}; use direct, or shadow to observe a version beside the present one"
        )
    needed = {Action.REGISTER: NEEDED_TO_REGISTER, Action.PROMOTE: ("target_stage",)}.get(request.action, ())
    if request.action is Action.DEPLOY and request.run_id is not None:
        needed = NEEDED_TO_REGISTER
    for name in needed:
        if getattr(request, name) is None:
            raise ContractViolation(f"to {request.action} a model the request needs '{name}'")
    if request.action is Action.ROLLBACK and request.approval is None:
        raise ContractViolation("a rollback changes what is in production: name who approves it, and why (approval)")
