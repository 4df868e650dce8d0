"""Which versions of a model are registered, and how does one move? MLflow decides; the database says the same after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from src.agents.ml_foundation.model_deployer.request import SHADOW, SHADOW_RULES
from src.agents.ml_foundation.model_deployer.result import Approval, DeployRequest, ShadowEvidence
from src.agents.ml_foundation.model_deployer.services import RegistryRows, TrainingRuns
from src.errors import ContractViolation, ModelNotFound, PromotionRefused, ServiceOutage
from src.mlops.mlflow_connector import Evidence, MLflowConnector, ModelStage, ModelVersion, StageTransition, Waiver
from src.resilience.outcomes import Unavailable

# The way of a version. Everything may be archived; production from staging needs shadow to be waived by name.
TRANSITIONS: dict[ModelStage, frozenset[ModelStage]] = {
    ModelStage.DEVELOPMENT: frozenset({ModelStage.STAGING, ModelStage.ARCHIVED}),
    ModelStage.STAGING: frozenset({ModelStage.SHADOW, ModelStage.ARCHIVED}),
    ModelStage.SHADOW: frozenset({ModelStage.PRODUCTION, ModelStage.ARCHIVED}),
    ModelStage.PRODUCTION: frozenset({ModelStage.DEPRECATED, ModelStage.ARCHIVED}),
    ModelStage.DEPRECATED: frozenset({ModelStage.ARCHIVED}),
    ModelStage.ARCHIVED: frozenset(),
}
# The registry's mark of the version to go back to, and figures of the run by the column that keeps them.
PREVIOUS_CHAMPION = "previous_champion"
FIGURES = {
    "auc": "test_roc_auc",
    "pr_auc": "test_pr_auc",
    "brier_score": "test_brier_score",
    "calibration_slope": "test_calibration_slope",
}
# Largest difference in recall between the values of a column, by that column.
GAP = "test_fairness_gap_"
NOBODY = "nobody who is named"

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class RecordedApproval:
    """Who let a version into production, when it entered, why, and which rules were set aside."""

    version: int
    approver: str
    reason: str
    waived: tuple[str, ...]
    entered_at: str | None


@dataclass(frozen=True, slots=True)
class RegistryManager:
    """Registers and moves the versions of models; holds nothing itself.

    Every operation that changes something compares the database with MLflow afterwards, and mends it.
    All of them raise ServiceOutage while the MLflow store is away, ModelNotFound for what does not exist.
    """

    connector: MLflowConnector
    rows: RegistryRows
    trainings: TrainingRuns | None = None

    async def register(self, request: DeployRequest) -> tuple[ModelVersion, str]:
        """The version of the request's run, made in development, and the id of its row.

        A run that has a version already keeps it: registering is repeatable. Raises ContractViolation for an unknown
        experiment or training.
        """
        if request.run_id is None or request.experiment_id is None or request.algorithm is None:
            raise ContractViolation("to register a model the request needs run_id, experiment_id and algorithm")
        version = await self._version_of_run(request.model_name, request.run_id, request.model_path)
        row = await self.rows.register(
            request.model_name,
            version.version,
            experiment_id=request.experiment_id,
            algorithm=request.algorithm,
            mlflow_run_id=request.run_id,
            mlflow_model_uri=version.uri,
            **await self._figures(request.run_id),
        )
        if self.trainings is not None and request.training_run_id is not None:
            await self.trainings.link_model(request.training_run_id, row)
        return version, row

    async def versions(self, name: str) -> list[ModelVersion]:
        """All versions, the newest first."""
        return _reached(await self.connector.get_model_versions(name))

    async def version(self, name: str, number: int | None = None) -> ModelVersion:
        """One version; without a number the newest."""
        there = await self.versions(name)
        for version in there:
            if number in (None, version.version):
                return version
        if not there:
            raise ModelNotFound(f"no model '{name}' is registered; 'e2i models list' shows all")
        known = ", ".join(str(version.version) for version in there)
        raise ModelNotFound(f"model '{name}' has no version {number}; its versions: {known}")

    async def champion(self, name: str) -> ModelVersion | None:
        """The version in production."""
        return _reached(await self.connector.get_latest_model_version(name, ModelStage.PRODUCTION))

    async def previous_champion(self, name: str) -> ModelVersion | None:
        """The version that was in production before the present one, where there is one to go back to."""
        there = await self.versions(name)
        return next((v for v in there if v.tags.get(PREVIOUS_CHAMPION) == "true" and not _serves(v)), None)

    async def approvals(self, name: str) -> list[RecordedApproval]:
        """What was approved, by the newest version first."""
        return [_approval(version) for version in await self.versions(name) if version.tags.get("approved_by")]

    async def check(self, name: str, number: int, stage: ModelStage | str, approval: Approval | None) -> ModelVersion:
        """The version, if there is a way from its stage to ``stage``. Raises PromotionRefused naming the ways."""
        wanted, version = ModelStage(stage), await self.version(name, number)
        if version.stage is wanted or wanted in TRANSITIONS[version.stage]:
            return version
        skips_shadow = version.stage is ModelStage.STAGING and wanted is ModelStage.PRODUCTION
        if skips_shadow and approval is not None and SHADOW in approval.waives:
            return version
        raise PromotionRefused(_no_way(version, wanted, skips_shadow))

    async def promote(
        self,
        name: str,
        number: int,
        stage: ModelStage | str,
        *,
        approval: Approval | None = None,
        shadow: ShadowEvidence | None = None,
        observed: bool = False,
    ) -> StageTransition:
        """Move a version by the rules of the configuration; false, with every reason, where they are not met.

        ``shadow`` counts for production, where the run itself says nothing of requests, errors and latency. Unless it
        was ``observed`` here, the version is marked with who states it, and its hours count in place of those since
        the version entered shadow, which they cannot exceed. Raises PromotionRefused where there is no way from the
        version's stage to ``stage``.
        """
        await self.check(name, number, stage, approval)
        moved = await self.connector.transition_model_stage(
            name,
            number,
            stage,
            approval=approval.approver if approval is not None else None,
            approval_reason=approval.reason if approval is not None else None,
            evidence=_evidence(shadow, approval, observed) if ModelStage(stage) is ModelStage.PRODUCTION else None,
            waiver=_waiver(approval),
        )
        await self.reconcile(name)
        return moved

    async def rollback(self, name: str, approval: Approval, *, to: int | None = None) -> StageTransition:
        """Put the previous champion back into production (``to``: only if that is it); readers find one throughout.

        Raises PromotionRefused where there is no champion before the present one.
        """
        previous = await self.previous_champion(name)
        if previous is None:
            raise PromotionRefused(f"model '{name}' has no earlier version in production to go back to")
        if to not in (None, previous.version):
            raise PromotionRefused(
                f"a rollback of model '{name}' leads to version {previous.version}, the champion before the present "
                f"one, not to version {to}; promote that one instead"
            )
        moved = await self.connector.transition_model_stage(
            name,
            previous.version,
            ModelStage.PRODUCTION,
            approval=approval.approver,
            approval_reason=approval.reason,
            waiver=_waiver(approval),
        )
        await self.reconcile(name)
        return moved

    async def reconcile(self, name: str) -> tuple[str, ...]:
        """Give the database the stages that MLflow shows; versions it has no row of, in words.

        Production comes first: its row becomes the champion in the same moment as the other one ceases to be.
        """
        stored = {row.model_version: row for row in await self.rows.versions(name)}
        there = await self.versions(name)
        for version in sorted(there, key=lambda v: v.stage is not ModelStage.PRODUCTION):
            row = stored.get(str(version.version))
            if row is not None and _differs(row, version):
                await self.rows.move_stage(
                    name, version.version, version.stage.value, approved_by=version.tags.get("approved_by")
                )
                # Moving one row sets others aside.
                stored = {other.model_version: other for other in await self.rows.versions(name)}
        return tuple(
            f"version {version.version} of '{name}' has no row in the database: it was not registered through E2I"
            for version in there
            if str(version.version) not in stored
        )

    async def row_id(self, name: str, number: int) -> str:
        """Id of a version's row. Raises ModelNotFound."""
        for row in await self.rows.versions(name):
            if row.model_version == str(number):
                return str(row.id)
        raise ModelNotFound(f"version {number} of model '{name}' has no row in the database; register it first")

    async def _version_of_run(self, name: str, run_id: str, path: str) -> ModelVersion:
        made = next((version for version in await self.versions(name) if version.run_id == run_id), None)
        return made or _reached(await self.connector.register_model(run_id, name, path))

    async def _figures(self, run_id: str) -> dict[str, Any]:
        metrics = _reached(await self.connector.get_run(run_id)).metrics
        figures: dict[str, Any] = {column: metrics[name] for column, name in FIGURES.items() if name in metrics}
        gaps = {name.removeprefix(GAP): value for name, value in metrics.items() if name.startswith(GAP)}
        return figures | ({"fairness_metrics": {"recall_gap": gaps}} if gaps else {})


def _reached(found: Found | Unavailable) -> Found:
    if isinstance(found, Unavailable):
        raise ServiceOutage(f"{found.component}: {found.reason}")
    return found


def _serves(version: ModelVersion) -> bool:
    return version.stage is ModelStage.PRODUCTION


def _differs(row: Any, version: ModelVersion) -> bool:
    return bool(row.stage != version.stage.value or row.is_champion != _serves(version))


def _evidence(shadow: ShadowEvidence | None, approval: Approval | None, observed: bool) -> Evidence | None:
    if shadow is None:
        return None
    return Evidence(
        requests=float(shadow.requests),
        error_rate=shadow.error_rate,
        p99_ms=shadow.p99_ms,
        # Copies come only with requests: the time in the stage is longer than that between the first and the last.
        hours=None if observed else shadow.hours,
        stated_by=None if observed else (approval.approver.strip() if approval is not None else NOBODY),
    )


def _waiver(approval: Approval | None) -> Waiver | None:
    if approval is None or not approval.waives:
        return None
    rules = approval.waives | (SHADOW_RULES | {"path"} if SHADOW in approval.waives else frozenset())
    return Waiver(rules - {SHADOW}, approval.approver, approval.reason)


def _approval(version: ModelVersion) -> RecordedApproval:
    tags = version.tags
    waived: Sequence[str] = tags.get("waived_rules", "").split(", ")
    return RecordedApproval(
        version.version,
        tags["approved_by"],
        tags.get("approval_reason", ""),
        tuple(rule for rule in waived if rule),
        tags.get(f"entered_{ModelStage.PRODUCTION}"),
    )


def _no_way(version: ModelVersion, wanted: ModelStage, skips_shadow: bool) -> str:
    if skips_shadow:
        return (
            f"version {version.version} is in staging: it goes to shadow first, or to production with an approval "
            f"that waives '{SHADOW}'"
        )
    ways = " or ".join(sorted(TRANSITIONS[version.stage])) or "nowhere"
    return f"version {version.version} is in {version.stage}: from there it goes to {ways}, not to {wanted}"
