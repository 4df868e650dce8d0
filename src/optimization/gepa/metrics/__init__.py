"""How good is what an agent's program gave, compared with what is known to be right? Scores with feedback in words."""

from __future__ import annotations

from src.optimization.gepa.configuration import GepaConfig, MetricName
from src.optimization.gepa.metrics.causal_impact import causal_impact_parts
from src.optimization.gepa.metrics.explainer import explainer_parts
from src.optimization.gepa.metrics.feedback_learner import feedback_learner_parts
from src.optimization.gepa.metrics.scored import GepaMetric, PartsOf
from src.optimization.gepa.metrics.standard import standard_parts
from src.optimization.gepa.metrics.tool_composer import tool_composer_parts

PARTS_OF: dict[MetricName, PartsOf] = {
    "causal_impact": causal_impact_parts,
    "feedback_learner": feedback_learner_parts,
    "explainer": explainer_parts,
    "tool_composer": tool_composer_parts,
    "standard": standard_parts,
}


def metric_for(agent: str, config: GepaConfig) -> GepaMetric:
    """The configured metric of an agent with its weights. Raises ConfigError for an agent that is not configured."""
    chosen = config.agent(agent)
    return GepaMetric(chosen.metric, PARTS_OF[chosen.metric], chosen.weights)
