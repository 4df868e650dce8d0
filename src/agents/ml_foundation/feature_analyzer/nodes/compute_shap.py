"""Explain the model's predictions of real validation rows against real training rows."""

from __future__ import annotations

import asyncio

import pandas as pd
from langgraph.runtime import Runtime

from src.agents.ml_foundation.feature_analyzer.result import AnalyzeRequest, RankedFeature, ShapSummary
from src.agents.ml_foundation.feature_analyzer.services import PLACE, Services, Work, rows_of, services_of, work_of
from src.agents.ml_foundation.feature_analyzer.state import AnalyzeState, AnalyzeUpdate
from src.agents.runtime import Deps, traced_node
from src.errors import ContractViolation, ServiceOutage
from src.mlops.explanation.attribution import Attribution, ranked
from src.mlops.explanation.explainers import explain
from src.mlops.explanation.plots import bar_plot, beeswarm_plot
from src.mlops.modelling.bundle import ModelBundle, as_bundle
from src.resilience.outcomes import Unavailable


@traced_node(PLACE, "compute_shap")
async def compute_shap(state: AnalyzeState, runtime: Runtime[Deps]) -> AnalyzeUpdate:
    """Importances by raw feature, and plots. Fewer rows than asked for are explained where a model is slow.

    Raises ModelNotFound, ServiceOutage while MLflow is away, DataUnavailable without rows, UnknownColumn where the
    data lacks what the model needs, and NotAdditive.
    """
    request, deps = state["request"], runtime.context
    bundle = await _loaded(services_of(deps), request)
    train = (await rows_of(state, deps, "train")).frame
    validation = (await rows_of(state, deps, "validation")).frame
    work = work_of(deps)
    wanted = min(len(validation), request.max_samples)
    await asyncio.to_thread(_explain, work, bundle, train, validation, request)
    attribution = work.attribution
    assert attribution is not None
    return {"shap": summary_of(attribution), "warnings": _shortened(attribution, wanted)}


async def _loaded(services: Services, request: AnalyzeRequest) -> ModelBundle:
    assert request.model_uri is not None  # the route leads here only with one
    found = await services.models.load_model(request.model_uri)
    if isinstance(found, Unavailable):
        raise ServiceOutage(f"the model {request.model_uri} cannot be loaded: {found.reason}")
    bundle = as_bundle(found)
    if bundle.model.problem_type is not request.problem_type:
        raise ContractViolation(
            f"{request.model_uri} is a {bundle.model.problem_type} model; the request says {request.problem_type}"
        )
    return bundle


def _explain(
    work: Work, bundle: ModelBundle, train: pd.DataFrame, validation: pd.DataFrame, request: AnalyzeRequest
) -> None:
    drawn = validation.sample(min(len(validation), request.max_samples), random_state=request.random_state)
    rows = bundle.transform(drawn)
    found = explain(bundle.model, bundle.transform(train), rows, random_state=request.random_state)
    work.bundle, work.explained = bundle, rows.iloc[: len(found.values)]
    work.attribution = found.grouped(bundle.features)
    work.plots = {"beeswarm": beeswarm_plot(work.attribution), "bar": bar_plot(work.attribution)}


def summary_of(attribution: Attribution) -> ShapSummary:
    """The aggregate over the explained rows."""
    return ShapSummary(
        explainer=attribution.explainer,
        space=attribution.space,
        base_value=attribution.base_value,
        ranked=tuple(RankedFeature(one.feature, one.mean_abs, one.direction) for one in ranked(attribution)),
        n_rows=len(attribution.values),
        max_error=attribution.max_error,
    )


def _shortened(attribution: Attribution, wanted: int) -> tuple[str, ...]:
    explained = len(attribution.values)
    if explained == wanted:
        return ()
    return (f"{explained:,} of {wanted:,} rows are explained: more would take too long for this model",)
