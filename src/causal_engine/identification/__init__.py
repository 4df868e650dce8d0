"""Is an effect identified from a causal graph or a declared design?"""

from src.causal_engine.identification.graph import CausalGraph, make_graph
from src.causal_engine.identification.identify import identify
from src.causal_engine.identification.readers import graph_from_declared, load_graph

__all__ = ["CausalGraph", "graph_from_declared", "identify", "load_graph", "make_graph"]
