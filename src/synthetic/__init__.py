"""Data-generating processes whose causal truth is simulated and stored beside the data.

``generate`` makes rows of one of ten processes, ``generate_panel`` the HCP-month panel with the
eight tables recorded in the same world; ``declared`` and ``panel_declared`` say what an analyst
would be told about them.
"""

from src.synthetic.generation import SyntheticDataset, generate
from src.synthetic.library import PROCESS_NAMES
from src.synthetic.panel.generation import PanelDataset, generate_panel, hcps_for_rows
from src.synthetic.panel.knowledge import PANEL_QUESTIONS, PanelQuestion, panel_declared
from src.synthetic.panel.truth import EffectTruth, PanelTruth
from src.synthetic.spec import DeclaredGraph, ProcessSpec, declared
from src.synthetic.truth import GroundTruth, SegmentTruth

__all__ = [
    "PANEL_QUESTIONS",
    "PROCESS_NAMES",
    "DeclaredGraph",
    "EffectTruth",
    "GroundTruth",
    "PanelDataset",
    "PanelQuestion",
    "PanelTruth",
    "ProcessSpec",
    "SegmentTruth",
    "SyntheticDataset",
    "declared",
    "generate",
    "generate_panel",
    "hcps_for_rows",
    "panel_declared",
]
