"""Where do the nodes of one run find its rows and fitted models?"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import pandas as pd

from src.agents.causal_impact.state import CausalImpactState, ImpactRequest
from src.agents.computing import in_thread
from src.agents.runtime import Deps
from src.causal_engine.estimation import FittedStudy, fit_primary, study_for

Arguments = ParamSpec("Arguments")
Value = TypeVar("Value")


async def compute(work: Callable[Arguments, Value], *args: Arguments.args, **kwargs: Arguments.kwargs) -> Value:
    """Run numeric work in a thread, with linear algebra on one core: sums in the same order give the same bits."""
    return await in_thread(lambda: work(*args, **kwargs))


async def rows(request: ImpactRequest, deps: Deps) -> pd.DataFrame:
    """The frame of a run, loaded once per process."""
    if "frame" not in deps.workspace:
        loaded = await deps.datasets.load(request.dataset_id, filters=request.filters)
        deps.workspace["frame"], deps.workspace["query"] = loaded.frame, loaded.query
    return cast(pd.DataFrame, deps.workspace["frame"])


async def fitted_study(state: CausalImpactState, deps: Deps) -> FittedStudy:
    """The study with its fitted primary estimator; fitted again, to the same numbers, after a restart."""
    if "fitted" not in deps.workspace:
        frame = await rows(state["request"], deps)
        study = study_for(frame, state["request"].spec, state["identification"])
        fitted, _ = await compute(fit_primary, study, state["identification"])
        deps.workspace["fitted"] = FittedStudy(study, fitted)
    return cast(FittedStudy, deps.workspace["fitted"])
