"""Which data-generating processes are there?"""

from __future__ import annotations

from collections.abc import Mapping

from src.errors import ContractViolation, nearest_names
from src.synthetic import (
    collider_trap,
    confounded,
    heterogeneous,
    instrument_available,
    null_effect,
    positivity_violation,
    selection_bias,
    simple_linear,
    time_series,
    unobserved_confounder,
)
from src.synthetic.model import Process

_MODULES = (
    simple_linear,
    confounded,
    heterogeneous,
    time_series,
    selection_bias,
    instrument_available,
    positivity_violation,
    unobserved_confounder,
    collider_trap,
    null_effect,
)

PROCESSES: Mapping[str, Process] = {module.PROCESS.name: module.PROCESS for module in _MODULES}
PANEL = "panel"
PROCESS_NAMES = (*PROCESSES, PANEL)


def get_process(name: str) -> Process:
    """The process of that name; ContractViolation with the nearest names otherwise."""
    if name == PANEL:
        raise ContractViolation("the panel has HCPs and eight tables, not single rows; use generate_panel")
    if name not in PROCESSES:
        raise ContractViolation(f"there is no process '{name}'; {nearest_names(name, PROCESS_NAMES)}")
    return PROCESSES[name]
