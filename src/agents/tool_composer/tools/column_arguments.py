"""How does a planner name the columns of a causal question?"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

TreatmentColumn = Annotated[
    str,
    Field(
        min_length=1,
        max_length=120,
        description="Column of what was done to, or received by, the unit (a count per month, or 0/1).",
        examples=["rep_calls", "email_opens", "samples", "speaker_programs", "trigger_delivered"],
    ),
]
OutcomeColumn = Annotated[
    str,
    Field(
        min_length=1,
        max_length=120,
        description="Column of what should have changed (numeric or 0/1).",
        examples=["nrx", "trx", "nbrx"],
    ),
]
Lag = Annotated[
    int | None,
    Field(
        ge=0,
        le=24,
        description="Periods between treatment and outcome; leave out for the declared one.",
        examples=[2],
    ),
]
EstimatorName = Annotated[
    str | None,
    Field(
        max_length=40,
        description="Name of an estimator to use instead of the design's own; leave out unless asked for by name.",
        examples=["twfe", "distributed_lag"],
    ),
]
SegmentColumn = Annotated[
    str,
    Field(
        min_length=1,
        max_length=120,
        description="Column whose values are the segments; a numeric one with many values makes four groups.",
        examples=["region", "specialty", "decile", "practice_type", "brand", "territory_id"],
    ),
]
