"""What does a model without any feature reach, and is the choice better than that?"""

from __future__ import annotations

from langgraph.runtime import Runtime

from src.agents.ml_foundation.model_selector.result import Baseline, Benchmark
from src.agents.ml_foundation.model_selector.services import PLACE, services_of
from src.agents.ml_foundation.model_selector.state import SelectState, SelectUpdate
from src.agents.runtime import Deps, traced_node
from src.domain.modelling import ProblemType
from src.mlops.modelling.metrics import DIRECTIONS

# What chance gives by definition, whatever the rows.
BY_CHANCE = {"roc_auc": 0.5}
NO_METRIC = Baseline("none", None, "a true effect is never seen on a row: there is nothing to compare with")


@traced_node(PLACE, "compare_baselines")
async def compare_baselines(state: SelectState, runtime: Runtime[Deps]) -> SelectUpdate:
    """The value to beat, and by how much the choice did so where it was measured."""
    problem = state["request"].problem_type
    if problem is ProblemType.EFFECT:
        return {"baseline": NO_METRIC}
    metric = services_of(runtime.context).config.metrics.of(problem)
    floor = state.get("floor")
    to_beat = BY_CHANCE.get(metric) if floor is None else floor
    name = state["primary"].algorithm
    measured = next((one for one in state.get("benchmark", ()) if one.algorithm == name), None)
    if measured is None or measured.mean is None or to_beat is None:
        return {"baseline": Baseline(metric, to_beat, f"{name} was not measured: no benchmark ran for it")}
    told = comparison(measured, to_beat)
    warnings = () if _better(measured, to_beat) else (f"{told}: the features may tell nothing of the target",)
    return {"baseline": Baseline(metric, to_beat, told), "warnings": warnings}


def comparison(measured: Benchmark, to_beat: float) -> str:
    """The difference in words; standard deviation over folds."""
    if measured.mean is None:
        return f"{measured.algorithm} was not measured"
    better = "better than" if _better(measured, to_beat) else "not better than"
    return (
        f"{measured.algorithm} reaches {measured.metric} {measured.mean:.3f} (sd {measured.sd:.3f} over "
        f"{measured.folds} folds), {better} the {to_beat:.3f} of a model without features"
    )


def _better(measured: Benchmark, to_beat: float) -> bool:
    if measured.mean is None:
        return False
    gain = measured.mean - to_beat
    return gain > 0 if DIRECTIONS[measured.metric] == "maximize" else gain < 0
