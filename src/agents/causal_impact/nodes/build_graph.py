"""Is the effect identified from what is declared, and by which adjustment?"""

from __future__ import annotations

from langgraph.runtime import Runtime

from src.agents.causal_impact.state import CausalImpactState, CausalImpactUpdate, DeclaredGraph
from src.agents.causal_impact.workspace import rows
from src.agents.runtime import Deps, traced_node
from src.causal_engine.identification import CausalGraph, graph_from_declared, identify


def causal_graph(declared: DeclaredGraph | None) -> CausalGraph | None:
    """The declared graph as the engine's, or None."""
    if declared is None:
        return None
    return graph_from_declared(
        {
            "edges": [list(edge) for edge in declared.edges],
            "latent": list(declared.latent),
            "time_invariant": list(declared.time_invariant),
        }
    )


@traced_node("causal_impact", "graph_builder")
async def build_graph(state: CausalImpactState, runtime: Runtime[Deps]) -> CausalImpactUpdate:
    """Identify the effect from the graph, or from the roles the analyst named."""
    request = state["request"]
    frame = await rows(request, runtime.context)
    graph = causal_graph(request.graph)
    return {"identification": identify(request.spec, list(frame.columns), graph)}
