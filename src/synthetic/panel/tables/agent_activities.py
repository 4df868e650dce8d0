"""The table of what the platform's agents did in the panel's last year."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from src.synthetic.panel.tables.cells import LAST_DAY, MINUTES_PER_DAY, choose, keys, objects, timestamps
from src.synthetic.streams import IntArray, Streams

if TYPE_CHECKING:
    import pandas as pd

ACTIVITIES = 3_000
USERS = 60
# Agent → tier, what it does, workstream, share of activity.
AGENTS = (
    ("data_preparer", "ml_foundation", "data_quality_check", "WS1", 8),
    ("feature_analyzer", "ml_foundation", "feature_analysis", "WS1", 4),
    ("model_selector", "ml_foundation", "model_selection", "WS1", 3),
    ("model_trainer", "ml_foundation", "training", "WS1", 3),
    ("model_deployer", "ml_foundation", "deployment", "WS1", 2),
    ("observability_connector", "ml_foundation", "telemetry", "WS1", 10),
    ("orchestrator", "coordination", "question", "WS3", 30),
    ("tool_composer", "coordination", "composition", "WS2", 10),
    ("causal_impact", "causal_analytics", "effect_estimation", "WS3", 15),
    ("explainer", "self_improvement", "explanation", "WS3", 12),
    ("feedback_learner", "self_improvement", "learning_cycle", "WS1", 3),
)
STATUSES = ("completed", "failed", "partial", "timeout", "started")
ERRORS = {
    "failed": ("DataUnavailable", "no rows for the period asked for"),
    "timeout": ("TimeoutError", "time limit of the agent reached"),
}


def agent_activities(streams: Streams) -> pd.DataFrame:
    """3,000 activities of the last year, in order of time, with the user who asked."""
    import pandas as pd

    n = ACTIVITIES
    rng = streams.rng("table agent_activities")
    minutes = np.sort(rng.integers((LAST_DAY - 364) * MINUTES_PER_DAY, (LAST_DAY + 1) * MINUTES_PER_DAY, n))
    agent = rng.choice(len(AGENTS), size=n, p=np.array([row[4] for row in AGENTS]) / sum(row[4] for row in AGENTS))
    status = choose(rng, STATUSES, (93, 3, 2, 1, 1), n)
    duration = np.round(rng.lognormal(6.5, 1.0, n), 1)
    tokens = rng.integers(0, 4_000, n)
    return pd.DataFrame(
        {
            "activity_id": keys("act_", np.arange(n), 7),
            "agent_name": [AGENTS[code][0] for code in agent],
            "agent_tier": [AGENTS[code][1] for code in agent],
            "activity_timestamp": timestamps(minutes),
            "activity_type": [AGENTS[code][2] for code in agent],
            "workstream": [AGENTS[code][3] for code in agent],
            "processing_duration_ms": duration,
            "input_data": objects([{"user_id": f"user_{user:03d}"} for user in rng.integers(1, USERS + 1, n).tolist()]),
            "resource_usage": objects([{"tokens": count} for count in tokens.tolist()]),
            "records_processed": rng.integers(0, 50_000, n),
            "confidence_level": rng.beta(8, 2, n),
            "status": status,
            "error_type": [ERRORS[word][0] if word in ERRORS else None for word in status],
            "error_message": [ERRORS[word][1] if word in ERRORS else None for word in status],
            "trace_id": _trace_ids(rng, minutes),
        }
    )


def _trace_ids(rng: np.random.Generator, minutes: IntArray) -> list[str]:
    """UUID v7: 48 bits of milliseconds, version 7, 74 random bits (RFC 9562, section 5.7)."""
    ids = []
    for minute in minutes.tolist():
        stamp, high, low = f"{minute * 60_000:012x}", int(rng.integers(0, 1 << 12)), int(rng.integers(0, 1 << 62))
        tail = f"{(0b10 << 62) | low:016x}"
        ids.append(f"{stamp[:8]}-{stamp[8:]}-7{high:03x}-{tail[:4]}-{tail[4:]}")
    return ids
