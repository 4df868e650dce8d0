-- Written by scripts/gen_contract_sql.py from src/contracts; change the contract, not this file.

CREATE TYPE brand_type AS ENUM ('Remibrutinib', 'Fabhalta', 'Kisqali', 'competitor', 'other');
CREATE TYPE region_type AS ENUM ('northeast', 'south', 'midwest', 'west');
CREATE TYPE specialty_type AS ENUM ('Allergy/Immunology', 'Dermatology', 'Hematology', 'Oncology', 'Internal Medicine', 'Rheumatology');
CREATE TYPE vendor_type AS ENUM ('IQVIA_APLD', 'IQVIA_LAAD', 'HealthVerity', 'Komodo', 'Veeva');
CREATE TYPE workstream_type AS ENUM ('WS1', 'WS2', 'WS3');
CREATE TYPE data_split_type AS ENUM ('train', 'validation', 'test', 'holdout', 'unassigned');
CREATE TYPE split_strategy_type AS ENUM ('chronological', 'patient_stratified', 'rolling_window', 'causal_holdout');
CREATE TYPE priority_type AS ENUM ('critical', 'high', 'medium', 'low');
CREATE TYPE journey_stage_type AS ENUM ('diagnosis', 'initial_treatment', 'treatment_optimization', 'maintenance', 'treatment_switch');
CREATE TYPE journey_status_type AS ENUM ('active', 'stable', 'transitioning', 'completed');
CREATE TYPE event_type_enum AS ENUM ('diagnosis', 'prescription', 'lab_test', 'procedure', 'consultation', 'hospitalization');
CREATE TYPE prediction_type_enum AS ENUM ('trigger', 'propensity', 'risk', 'churn', 'next_best_action');
CREATE TYPE agent_tier_enum AS ENUM ('ml_foundation', 'coordination', 'causal_analytics', 'monitoring', 'ml_predictions', 'self_improvement');
CREATE TYPE agent_name_enum AS ENUM ('data_preparer', 'feature_analyzer', 'model_selector', 'model_trainer', 'model_deployer', 'observability_connector', 'orchestrator', 'tool_composer', 'causal_impact', 'explainer', 'feedback_learner', 'unknown');
CREATE TYPE model_stage_enum AS ENUM ('development', 'staging', 'shadow', 'production', 'archived', 'deprecated');
CREATE TYPE user_expertise_type AS ENUM ('executive', 'analyst', 'data_scientist');
