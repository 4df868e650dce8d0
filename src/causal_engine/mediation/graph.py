"""By the graph, can the effect be split at these mediators, and holding what fixed?"""

from __future__ import annotations

from collections.abc import Collection

from src.causal_engine.identification.graph import CausalGraph


def covariates_for_split(
    graph: CausalGraph,
    treatment: str,
    outcome: str,
    mediators: tuple[str, ...],
    adjustment: tuple[str, ...],
    measured: Collection[str],
) -> tuple[tuple[str, ...], str]:
    """Covariates that identify natural effects through ``mediators``, and "" or why there are none.

    A common cause of mediator and outcome that the treatment itself changes (a recanting witness;
    Avin, Shpitser & Pearl 2005) forbids them whatever is measured, and is named. Otherwise
    ``adjustment``, or all measured causes that the treatment cannot change, must close the back doors of
    treatment and mediator, treatment and outcome, and mediator and outcome (Pearl 2001, theorem 2).
    """
    import networkx as nx

    from src.causal_engine.identification.separation import open_path, path_in_words, separated, without_outgoing

    drawn = graph.digraph
    missing = [name for name in mediators if name not in drawn]
    if missing:
        return (), f"'{missing[0]}' is not in the graph, which therefore does not say where it lies"
    after = nx.descendants(drawn, treatment)
    off = [name for name in mediators if name not in after or outcome not in nx.descendants(drawn, name)]
    if off:
        return (), f"by the graph '{off[0]}' does not lie between {treatment} and {outcome}"
    witness = _changed_common_cause(graph, treatment, outcome, mediators)
    if witness:
        return (), (
            f"by the graph {treatment} changes '{witness}', which changes both a mediator and {outcome} by another "
            f"way, so the natural effects cannot be told apart; name '{witness}' among the mediators to split at both"
        )
    causes = {treatment, outcome, *mediators}
    causes = causes.union(*(nx.ancestors(drawn, name) for name in causes)) - after - causes - set(graph.latent)
    wide = tuple(sorted({*adjustment, *(causes & set(measured))}))
    nothing: tuple[str, ...] = ()
    cut = without_outgoing(drawn, (treatment,))
    checks = [(cut, treatment, end, nothing) for end in (outcome, *mediators)]
    checks += [(without_outgoing(drawn, mediators), mediator, outcome, (treatment,)) for mediator in mediators]
    for chosen in (adjustment, wide):
        if all(separated(cut, left, right, {*chosen, *held}) for cut, left, right, held in checks):
            return chosen, ""
    cut, left, right, held = next(
        check for check in checks if not separated(check[0], check[1], check[2], {*wide, *check[3]})
    )
    path = open_path(cut, left, right, {*wide, *held})
    hidden = {name for name in graph.nodes if name not in measured}
    return (), f"{left} and {right} share causes that are not held fixed ({path_in_words(graph, path, hidden)})"


def _changed_common_cause(graph: CausalGraph, treatment: str, outcome: str, mediators: tuple[str, ...]) -> str:
    """A node that treatment changes, that changes a mediator, and the outcome by a way round the mediators; or ""."""
    import networkx as nx

    drawn = graph.digraph
    around = drawn.copy()
    around.remove_nodes_from(mediators)
    for node in sorted(nx.descendants(drawn, treatment) - {outcome, *mediators}):
        before = any(mediator in nx.descendants(drawn, node) for mediator in mediators)
        if before and nx.has_path(around, node, outcome) and nx.has_path(around, treatment, node):
            return str(node)
    return ""
