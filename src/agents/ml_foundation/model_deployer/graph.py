"""In which order does model_deployer work, and which steps belong to which action?"""

from __future__ import annotations

from collections.abc import Callable

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from src.agents.ml_foundation.model_deployer.nodes.check_health import check_health
from src.agents.ml_foundation.model_deployer.nodes.check_rollback_availability import check_rollback_availability
from src.agents.ml_foundation.model_deployer.nodes.containerize_model import containerize_model
from src.agents.ml_foundation.model_deployer.nodes.deploy_to_endpoint import deploy_to_endpoint
from src.agents.ml_foundation.model_deployer.nodes.execute_rollback import execute_rollback
from src.agents.ml_foundation.model_deployer.nodes.package_model import package_model
from src.agents.ml_foundation.model_deployer.nodes.plan_deployment import LAST, plan_deployment
from src.agents.ml_foundation.model_deployer.nodes.promote_stage import promote_stage
from src.agents.ml_foundation.model_deployer.nodes.register_model import register_model
from src.agents.ml_foundation.model_deployer.nodes.validate_deployment_plan import validate_deployment_plan
from src.agents.ml_foundation.model_deployer.nodes.validate_promotion import validate_promotion
from src.agents.ml_foundation.model_deployer.state import DeployState
from src.agents.runtime import Deps, Node

PLAN = "plan_deployment"
STEPS: tuple[tuple[str, Node[DeployState]], ...] = (
    (PLAN, plan_deployment),
    ("validate_deployment_plan", validate_deployment_plan),
    ("register_model", register_model),
    ("execute_rollback", execute_rollback),
    ("validate_promotion", validate_promotion),
    ("promote_stage", promote_stage),
    ("package_model", package_model),
    ("containerize_model", containerize_model),
    ("deploy_to_endpoint", deploy_to_endpoint),
    ("check_health", check_health),
    (LAST, check_rollback_availability),
)


def after(name: str) -> Callable[[DeployState], str]:
    """Go on with the step the plan names next.

    An error ends the run. A version that was not moved is not deployed either; what is left is to say whether
    there is a way back.
    """

    def following(state: DeployState) -> str:
        if "error" in state or "plan" not in state:
            return END
        if "promotion" in state and not state["promotion"].ok:
            return LAST
        steps = state["plan"].steps
        return steps[0] if name == PLAN else steps[steps.index(name) + 1]

    return following


def build_graph() -> CompiledStateGraph[DeployState, Deps, DeployState, DeployState]:
    """One graph; the plan says which of its steps an action takes."""
    graph = StateGraph(DeployState, context_schema=Deps)
    for name, node in STEPS:
        graph.add_node(name, node)
    graph.add_edge(START, PLAN)
    names = [name for name, _ in STEPS]
    for position, name in enumerate(names[:-1]):
        graph.add_conditional_edges(name, after(name), [*names[position + 1 :], END])
    graph.add_edge(LAST, END)
    return graph.compile()
