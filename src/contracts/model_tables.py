"""What is promised about predictions, causal paths and agent activities?"""

from __future__ import annotations

from functools import partial

from src.contracts.enums import (
    AgentName,
    AgentTier,
    Brand,
    DataSplit,
    EstimatorName,
    PredictionType,
    Region,
    Workstream,
)
from src.contracts.model import (
    NON_NEGATIVE,
    POSITIVE,
    UNIT,
    Column,
    Dtype,
    FeastEntity,
    FeastSource,
    Range,
    Role,
    SourceColumn,
    TableContract,
)
from src.contracts.rules import (
    Comparison,
    LengthRule,
    NoRepeatRule,
    NotAfterRule,
    PairRule,
    PresenceRule,
    PresentWhenRule,
)

STR, INT, FLOAT, DATE, TS = Dtype.STR, Dtype.INT, Dtype.FLOAT, Dtype.DATE, Dtype.TS
JSON, LIST = Dtype.JSON, Dtype.LIST
K, T, D, F, Y, A, P = Role
mandatory = partial(Column, nullable=False, required=True)
identifier = partial(Column, nullable=False, required=True, unique=True, critical=True)

UUID_V7 = r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
MAX_JSON_BYTES = 65_536

ML_PREDICTIONS = TableContract(
    name="ml_predictions",
    primary_key="prediction_id",
    suite_name="ml_predictions_suite",
    columns=(
        identifier("prediction_id", STR, K, "one score"),
        mandatory("model_version", STR, A, "version of the model"),
        Column("model_type", STR, A, "algorithm"),
        mandatory("prediction_timestamp", TS, T, "when it was scored", critical=True),
        Column("patient_id", STR, K, "pseudonymous patient scored"),
        Column("hcp_id", STR, K, "professional scored"),
        mandatory("prediction_type", STR, D, "what is predicted", allowed=PredictionType),
        mandatory("prediction_value", FLOAT, F, "score", range=UNIT, critical=True),
        Column("prediction_class", STR, D, "class of the score"),
        Column("confidence_score", FLOAT, F, "confidence of the score", range=UNIT),
        Column("probability_scores", JSON, A, "probability by class"),
        Column("feature_importance", JSON, A, "importance by feature"),
        Column("shap_values", JSON, A, "SHAP value by feature"),
        Column("top_features", JSON, A, "features that mattered most"),
        Column("rank_metrics", JSON, A, "ranking quality"),
        Column("fairness_metrics", JSON, A, "differences between groups"),
        Column("model_auc", FLOAT, A, "ROC-AUC at scoring time", range=UNIT),
        Column("model_precision", FLOAT, A, "precision at scoring time", range=UNIT),
        Column("model_recall", FLOAT, A, "recall at scoring time", range=UNIT),
        Column("model_pr_auc", FLOAT, A, "PR-AUC at scoring time", range=UNIT),
        Column("brier_score", FLOAT, A, "Brier score at scoring time", range=UNIT),
        Column("calibration_score", FLOAT, A, "calibration slope", range=NON_NEGATIVE),
        Column("explanation_text", STR, A, "explanation in words"),
        Column("treatment_effect_estimate", FLOAT, Y, "effect of treatment on the unit"),
        Column("heterogeneous_effect", FLOAT, Y, "deviation from the average effect"),
        Column("counterfactual_outcome", FLOAT, Y, "outcome had the treatment been otherwise"),
        Column("segment_assignment", STR, D, "segment"),
        Column("causal_confidence", FLOAT, A, "confidence of the effect", range=UNIT),
        Column("actual_outcome", FLOAT, Y, "what happened", range=UNIT),
        Column("outcome_recorded_at", TS, Y, "when it was known"),
        Column("outcome_source", STR, Y, "where it is known from"),
        Column("outcome_window_days", INT, Y, "days within which it counts", range=Range(1)),
        Column("features_available_at_prediction", JSON, A, "time at which each feature was known", critical=True),
        Column("data_split", STR, A, "split of the modelling data", allowed=DataSplit),
    ),
    row_rules=(
        PresenceRule("subject_presence", ("patient_id", "hcp_id")),
        PairRule("outcome_order", "prediction_timestamp", Comparison.AT_MOST, "outcome_recorded_at"),
        NotAfterRule(
            "no_future_feature", "features_available_at_prediction", cutoff="prediction_timestamp", critical=True
        ),
    ),
    feast=FeastSource(
        entities=(
            FeastEntity("patient", SourceColumn("patient_id", ("patient_id",))),
            FeastEntity("hcp", SourceColumn("hcp_id", ("hcp_id",))),
        ),
        event_time="prediction_timestamp",
        created_time="prediction_timestamp",
    ),
)

CAUSAL_PATHS = TableContract(
    name="causal_paths",
    primary_key="path_id",
    suite_name="causal_paths_suite",
    columns=(
        identifier("path_id", STR, K, "one path from cause to effect"),
        mandatory("discovery_date", DATE, T, "when it was found"),
        Column("causal_chain", JSON, A, "ordered nodes"),
        mandatory("start_node", STR, D, "cause", critical=True),
        mandatory("end_node", STR, D, "effect", critical=True),
        Column("intermediate_nodes", LIST, D, "nodes between, in order"),
        mandatory("path_length", INT, A, "number of edges", range=Range(1)),
        mandatory("causal_effect_size", FLOAT, Y, "standardised effect", range=Range(-1, 1), critical=True),
        Column("effect_raw", FLOAT, Y, "effect in natural units"),
        Column("effect_se", FLOAT, Y, "standard error in natural units", range=POSITIVE),
        Column("confidence_level", FLOAT, A, "confidence of the path", range=UNIT),
        Column("p_value", FLOAT, A, "p-value of the effect", range=UNIT),
        mandatory("method_used", STR, D, "estimator", allowed=EstimatorName),
        Column("confounders_controlled", LIST, D, "columns adjusted for"),
        Column("mediators_identified", LIST, D, "columns on the path"),
        Column("interaction_effects", JSON, A, "effect by modifier"),
        Column("time_lag_days", INT, F, "days from cause to effect", range=NON_NEGATIVE),
        Column(
            "validation_status",
            STR,
            D,
            "what the refutation tests allow",
            allowed=("proceed", "review", "block", "unvalidated"),
        ),
        Column("business_impact_estimate", FLOAT, Y, "yearly impact in US dollars"),
        Column("brand", STR, D, "brand concerned", allowed=Brand),
        Column("region", STR, D, "region concerned", allowed=Region),
    ),
    row_rules=(
        PairRule("ends_differ", "start_node", Comparison.DIFFERENT, "end_node", critical=True),
        LengthRule("path_length_edges", "path_length", "intermediate_nodes", offset=1),
        NoRepeatRule("no_repeated_node", ("start_node", "end_node"), "intermediate_nodes"),
    ),
    feast=FeastSource(
        entities=(FeastEntity("brand", SourceColumn("brand", ("brand",))),),
        event_time="discovery_date",
        created_time="discovery_date",
    ),
)

AGENT_ACTIVITIES = TableContract(
    name="agent_activities",
    primary_key="activity_id",
    suite_name="agent_activities_suite",
    columns=(
        identifier("activity_id", STR, K, "one run of one agent"),
        mandatory("agent_name", STR, D, "agent", allowed=AgentName),
        mandatory("agent_tier", STR, D, "tier of the agent", allowed=AgentTier, critical=True),
        mandatory("activity_timestamp", TS, T, "when it began", critical=True),
        mandatory("activity_type", STR, D, "what it did"),
        Column("workstream", STR, D, "workstream served", allowed=Workstream),
        Column("processing_duration_ms", FLOAT, F, "milliseconds taken", range=NON_NEGATIVE),
        Column("input_data", JSON, A, "redacted input", max_bytes=MAX_JSON_BYTES),
        Column("analysis_results", JSON, A, "redacted results", max_bytes=MAX_JSON_BYTES),
        Column("recommendations", JSON, A, "redacted recommendations", max_bytes=MAX_JSON_BYTES),
        Column("resource_usage", JSON, A, "memory, time and tokens", max_bytes=MAX_JSON_BYTES),
        Column("records_processed", INT, A, "rows read", range=NON_NEGATIVE),
        Column("confidence_level", FLOAT, F, "confidence of the result", range=UNIT),
        Column("impact_estimate", FLOAT, Y, "estimated impact"),
        Column("roi_estimate", FLOAT, Y, "estimated return per unit spent"),
        mandatory("status", STR, D, "how it went", allowed=("started", "completed", "failed", "partial", "timeout")),
        Column("error_type", STR, A, "class of the error"),
        Column("error_message", STR, A, "what went wrong"),
        Column("trace_id", STR, A, "UUID v7 of the trace", regex=UUID_V7),
    ),
    row_rules=(
        PresentWhenRule("error_presence", ("error_type", "error_message"), when="status", values=("failed", "timeout")),
    ),
    feast=None,
)
