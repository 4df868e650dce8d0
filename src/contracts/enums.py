"""Which words may a categorical column hold, and what is the PostgreSQL type of each vocabulary?"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class Brand(StrEnum):
    """A cross-brand aggregate has no brand (NULL)."""

    REMIBRUTINIB = "Remibrutinib"
    FABHALTA = "Fabhalta"
    KISQALI = "Kisqali"
    COMPETITOR = "competitor"
    OTHER = "other"


class Region(StrEnum):
    NORTHEAST = "northeast"
    SOUTH = "south"
    MIDWEST = "midwest"
    WEST = "west"


class Specialty(StrEnum):
    ALLERGY_IMMUNOLOGY = "Allergy/Immunology"
    DERMATOLOGY = "Dermatology"
    HEMATOLOGY = "Hematology"
    ONCOLOGY = "Oncology"
    INTERNAL_MEDICINE = "Internal Medicine"
    RHEUMATOLOGY = "Rheumatology"


class Vendor(StrEnum):
    IQVIA_APLD = "IQVIA_APLD"
    IQVIA_LAAD = "IQVIA_LAAD"
    HEALTH_VERITY = "HealthVerity"
    KOMODO = "Komodo"
    VEEVA = "Veeva"


class Workstream(StrEnum):
    """WS1 data and model quality, WS2 triggers, WS3 business."""

    WS1 = "WS1"
    WS2 = "WS2"
    WS3 = "WS3"


class DataSplit(StrEnum):
    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"
    HOLDOUT = "holdout"
    UNASSIGNED = "unassigned"


class SplitStrategy(StrEnum):
    CHRONOLOGICAL = "chronological"
    PATIENT_STRATIFIED = "patient_stratified"
    ROLLING_WINDOW = "rolling_window"
    CAUSAL_HOLDOUT = "causal_holdout"


class Priority(StrEnum):
    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class JourneyStage(StrEnum):
    DIAGNOSIS = "diagnosis"
    INITIAL_TREATMENT = "initial_treatment"
    TREATMENT_OPTIMIZATION = "treatment_optimization"
    MAINTENANCE = "maintenance"
    TREATMENT_SWITCH = "treatment_switch"


class JourneyStatus(StrEnum):
    ACTIVE = "active"
    STABLE = "stable"
    TRANSITIONING = "transitioning"
    COMPLETED = "completed"


class EventType(StrEnum):
    DIAGNOSIS = "diagnosis"
    PRESCRIPTION = "prescription"
    LAB_TEST = "lab_test"
    PROCEDURE = "procedure"
    CONSULTATION = "consultation"
    HOSPITALIZATION = "hospitalization"


class PredictionType(StrEnum):
    TRIGGER = "trigger"
    PROPENSITY = "propensity"
    RISK = "risk"
    CHURN = "churn"
    NEXT_BEST_ACTION = "next_best_action"


class AgentTier(StrEnum):
    """Tiers 0 to 5, in this order."""

    ML_FOUNDATION = "ml_foundation"
    COORDINATION = "coordination"
    CAUSAL_ANALYTICS = "causal_analytics"
    MONITORING = "monitoring"
    ML_PREDICTIONS = "ml_predictions"
    SELF_IMPROVEMENT = "self_improvement"


class AgentName(StrEnum):
    """The eleven agents; UNKNOWN stands for spans from unregistered callers."""

    DATA_PREPARER = "data_preparer"
    FEATURE_ANALYZER = "feature_analyzer"
    MODEL_SELECTOR = "model_selector"
    MODEL_TRAINER = "model_trainer"
    MODEL_DEPLOYER = "model_deployer"
    OBSERVABILITY_CONNECTOR = "observability_connector"
    ORCHESTRATOR = "orchestrator"
    TOOL_COMPOSER = "tool_composer"
    CAUSAL_IMPACT = "causal_impact"
    EXPLAINER = "explainer"
    FEEDBACK_LEARNER = "feedback_learner"
    UNKNOWN = "unknown"


class ModelStage(StrEnum):
    DEVELOPMENT = "development"
    STAGING = "staging"
    SHADOW = "shadow"
    PRODUCTION = "production"
    ARCHIVED = "archived"
    DEPRECATED = "deprecated"


class UserExpertise(StrEnum):
    EXECUTIVE = "executive"
    ANALYST = "analyst"
    DATA_SCIENTIST = "data_scientist"


class EstimatorName(StrEnum):
    """How an effect was estimated; checked as text, so that a new estimator needs no new SQL type."""

    DIFFERENCE_IN_MEANS = "difference_in_means"
    OLS = "ols"
    LIN = "lin"
    IPW = "ipw"
    AIPW = "aipw"
    S_LEARNER = "s_learner"
    T_LEARNER = "t_learner"
    X_LEARNER = "x_learner"
    DR_LEARNER = "dr_learner"
    LINEAR_DML = "linear_dml"
    CAUSAL_FOREST = "causal_forest"
    IV_2SLS = "iv_2sls"
    TWFE = "twfe"
    DID = "did"
    LAGGED_OUTCOME = "lagged_outcome"
    DISTRIBUTED_LAG = "distributed_lag"
    FRONT_DOOR = "front_door"
    TMLE = "tmle"
    ANDERSON_RUBIN = "anderson_rubin"
    RDD = "rdd"
    FUZZY_RDD = "fuzzy_rdd"
    IMPUTATION = "imputation"
    SYNTHETIC_DID = "synthetic_did"
    EXACT = "exact"
    DOSE_RESPONSE = "dose_response"


SQL_ENUM_TYPES: Mapping[type[StrEnum], str] = MappingProxyType(
    {
        Brand: "brand_type",
        Region: "region_type",
        Specialty: "specialty_type",
        Vendor: "vendor_type",
        Workstream: "workstream_type",
        DataSplit: "data_split_type",
        SplitStrategy: "split_strategy_type",
        Priority: "priority_type",
        JourneyStage: "journey_stage_type",
        JourneyStatus: "journey_status_type",
        EventType: "event_type_enum",
        PredictionType: "prediction_type_enum",
        AgentTier: "agent_tier_enum",
        AgentName: "agent_name_enum",
        ModelStage: "model_stage_enum",
        UserExpertise: "user_expertise_type",
    }
)

ADDED_VALUES: Mapping[type[StrEnum], frozenset[StrEnum]] = MappingProxyType(
    {
        EstimatorName: frozenset(
            {
                EstimatorName.TMLE,
                EstimatorName.ANDERSON_RUBIN,
                EstimatorName.RDD,
                EstimatorName.FUZZY_RDD,
                EstimatorName.IMPUTATION,
                EstimatorName.SYNTHETIC_DID,
                EstimatorName.EXACT,
                EstimatorName.DOSE_RESPONSE,
            }
        )
    }
)
"""Values that came after the tables were first made: a later SQL file allows them, in existing databases as well."""
