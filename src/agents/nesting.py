"""How does an agent that another agent asks run as a run of its own?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from langchain_core.runnables.config import var_child_runnable_config


@contextmanager
def no_part_of_the_caller() -> Iterator[None]:
    """Graphs begun in here are no subgraphs of the graph whose node is running.

    A subgraph keeps its states in its caller's checkpoints, written by the caller's serializer: that costs writes at
    each of its nodes, and what comes back from them after an interruption is no longer what was put in.
    """
    token = var_child_runnable_config.set(None)
    try:
        yield
    finally:
        var_child_runnable_config.reset(token)
