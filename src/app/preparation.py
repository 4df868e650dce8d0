"""May data be used for training? One traced run of the agent that prepares data, kept as one activity."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from src.agents.ml_foundation.data_preparer.agent import DataPreparerAgent, PrepareResult
from src.agents.ml_foundation.data_preparer.request import request_from
from src.agents.ml_foundation.data_preparer.services import Services
from src.agents.ml_foundation.data_preparer.source import filters_of, refuse_identifying
from src.agents.ml_foundation.data_preparer.state import PrepareRequest
from src.agents.runtime import Deps
from src.app.agent_runs import run_deps, run_recorded
from src.app.features import feature_client
from src.app.tracing import traced_database
from src.contracts.enums import Brand, Region
from src.contracts.tables import get_table
from src.domain.splits import SplitPlan
from src.errors import ContractViolation, DataUnavailable, UnknownColumn
from src.feature_store.feast_client import FeastClient
from src.mlops.data_quality import DataQualityValidator
from src.mlops.quality.configuration import load_data_quality_config
from src.mlops.quality.engine import missing
from src.storage.catalogue import TABLE_PREFIX
from src.storage.database import Database
from src.storage.postgres_gateway import PostgresGateway
from src.storage.preparation import PreparationRepository
from src.storage.quality_reports import QualityReportRepository

ACTIVITY_TYPE = "data_preparation"
WORKSTREAM = "WS1"
LOADING = "load_data"


@dataclass(frozen=True, slots=True)
class Prepared:
    """What was asked and decided."""

    request: PrepareRequest
    result: PrepareResult

    def document(self) -> dict[str, Any]:
        """JSON form."""
        result = self.result
        return {
            "request": dataclasses.asdict(self.request),
            "gate": dataclasses.asdict(result.gate),
            "is_ready": result.is_ready,
            "splits": None if result.splits is None else _plan_document(result.splits),
            "target_rate": dict(result.target_rate),
            "feature_stats": dict(result.feature_stats),
            "feast": {
                "registered": list(result.feast.registered),
                "freshness": [dataclasses.asdict(view) for view in result.feast.freshness],
            },
            "error": None if result.error is None else dataclasses.asdict(result.error),
            "status": result.meta.status,
            "warnings": list(result.meta.warnings),
            "degraded": list(result.meta.degraded),
            "trace_id": result.meta.trace_id,
            "duration_ms": result.meta.duration_ms,
        }


def preparation_request(
    source: str,
    *,
    target: str,
    features: Sequence[str],
    brand: str | None = None,
    region: str | None = None,
    days: tuple[str | None, str | None] = (None, None),
    known_at: Sequence[str] = (),
    experiment_id: str,
    split_id: str | None = None,
    split_strategy: str | None = None,
    skip_leakage_check: bool = False,
) -> PrepareRequest:
    """A checked request for a contract table; brand and region in any case, ``known_at`` as "feature=column".

    Raises ContractViolation, with the nearest names, for an unknown table, brand, region or split strategy, days
    that are none, and target or features that identify somebody; UnknownColumn for a target, feature or time,
    or a brand or region to filter by, that the table does not have.
    """
    table = get_table(source.removeprefix(TABLE_PREFIX))
    times = dict(map(_known_at, known_at))
    roles = {"target": [target], "feature": features, "time": times.values()}
    for role, name in ((role, name) for role, names in roles.items() for name in names):
        if name not in table.column_names:
            raise UnknownColumn(name, table.column_names, role=role)
    period = {key: _day(text, key) for key, text in zip(("start", "end"), days, strict=True) if text}
    request = request_from(
        {
            "experiment_id": experiment_id,
            "data_source": f"{TABLE_PREFIX}{table.name}",
            "scope": {
                "target": target,
                "required_features": list(features),
                "brand": _word(brand, Brand),
                "region": _word(region, Region),
                "period": period or None,
                "known_at": times,
            },
            "split_id": split_id,
            "split_strategy": split_strategy,
            "skip_leakage_check": skip_leakage_check,
        }
    )
    refuse_identifying(request.scope, table)
    filters_of(request.scope, table)
    return request


async def prepare_data(request: PrepareRequest, *, on_progress: Callable[[str], None] = lambda _: None) -> Prepared:
    """Run data_preparer on the configured database; one ``agent_activities`` row says how that went.

    Raises DataUnavailable when the rows cannot be loaded, none is within the scope, or the run takes longer than
    its budget in config/agents.yaml, DatabaseUnavailable and MigrationError. A shut gate is a result.
    """
    on_progress("opening the database")
    async with traced_database() as database, feature_client(database) as features:
        on_progress("loading the libraries")
        deps = run_deps(database, DataPreparerAgent.agent_name, on_progress)
        prepared = await prepare_on(database, features, request, deps)
    if prepared.result.error is not None and prepared.result.error.node == LOADING:
        # Nothing was judged, so there is no verdict: what was asked for has no rows.
        raise DataUnavailable(prepared.result.error.message)
    return prepared


async def prepare_on(database: Database, features: FeastClient, request: PrepareRequest, deps: Deps) -> Prepared:
    """Run data_preparer on an open database; one ``agent_activities`` row says how that went.

    Raises DataUnavailable when the run takes longer than its budget. A shut gate, and rows that cannot be loaded
    (``result.error``), are results.
    """
    await _load_libraries(features)
    result = await run_recorded(
        DataPreparerAgent(_services(database, features)),
        request,
        deps,
        database,
        activity_type=ACTIVITY_TYPE,
        workstream=WORKSTREAM,
        records=_rows,
        too_slow=f"did not prepare {request.data_source} within its time budget: narrow brand, region or period",
    )
    return Prepared(request, result)


def _plan_document(plan: SplitPlan) -> dict[str, Any]:
    return {
        "split_config_id": plan.split_config_id,
        "strategy": str(plan.strategy),
        "ratios": dataclasses.asdict(plan.ratios),
        "cuts": [cut.isoformat() for cut in plan.cuts],
        "gap_days": plan.gap_days,
        "unit": plan.unit,
        "rows": dict(plan.rows),
    }


async def _load_libraries(features: FeastClient) -> None:
    """What takes seconds once per process is no part of the run's time budget; what is missing the agent finds."""
    await features.initialize()
    await asyncio.to_thread(missing)


def _services(database: Database, features: FeastClient) -> Services:
    gateway, config = PostgresGateway(database), load_data_quality_config()
    return Services(
        expectations=DataQualityValidator(config=config),
        preparation=PreparationRepository(gateway),
        reports=QualityReportRepository(gateway),
        config=config,
        features=features,
    )


def _rows(result: PrepareResult) -> int:
    return sum(result.splits.rows.values()) if result.splits is not None else 0


def _word(text: str | None, words: type[Brand] | type[Region]) -> str | None:
    """The word as it is stored, whatever its case; any other is left for the request to refuse."""
    by_lower: Mapping[str, str] = {str(word).lower(): str(word) for word in words}
    return None if text is None else by_lower.get(text.strip().lower(), text)


def _known_at(text: str) -> tuple[str, str]:
    feature, _, column = (part.strip() for part in text.partition("="))
    if not feature or not column:
        raise ContractViolation(f"--known-at '{text}' is not like confidence_score=trigger_timestamp")
    return feature, column


def _day(text: str, which: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError as error:
        option = {"start": "--from", "end": "--to"}[which]
        raise ContractViolation(f"{option} '{text}' is not a day like 2026-03-31") from error
