"""How are prompts improved by GEPA on what a component really says?"""

from __future__ import annotations

from src.optimization.gepa.ab_test import GEPAABTest
from src.optimization.gepa.learner_optimizer import FeedbackLearnerOptimizer
from src.optimization.gepa.optimizer import OptimizationResult, create_gepa_optimizer, optimize_agent

__all__ = [
    "FeedbackLearnerOptimizer",
    "GEPAABTest",
    "OptimizationResult",
    "create_gepa_optimizer",
    "optimize_agent",
]
