-- Written by scripts/gen_contract_sql.py from src/contracts; change the contract, not this file.

CREATE FUNCTION contract_all_match(items text[], pattern text) RETURNS boolean
LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT coalesce(bool_and(coalesce(item ~ pattern, false)), true) FROM unnest(items) AS item
$$;

CREATE FUNCTION contract_no_repeat(items text[]) RETURNS boolean
LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT count(item) = count(DISTINCT item) FROM unnest(items) AS item
$$;

CREATE FUNCTION contract_none_after(times jsonb, cutoff timestamptz) RETURNS boolean
LANGUAGE sql IMMUTABLE STRICT SET timezone = 'UTC' AS $$
    SELECT jsonb_typeof(times) = 'object'
        AND NOT EXISTS (
            SELECT FROM jsonb_each_text(CASE jsonb_typeof(times) WHEN 'object' THEN times ELSE '{}' END) AS entry
            WHERE entry.value IS NULL OR entry.value::timestamptz > cutoff
        )
$$;

CREATE TABLE patient_journeys (
    patient_journey_id text NOT NULL,
    patient_id text NOT NULL,
    patient_hash text,
    journey_start_date date NOT NULL,
    journey_end_date date,
    journey_duration_days bigint,
    journey_stage journey_stage_type NOT NULL,
    journey_status journey_status_type NOT NULL,
    primary_diagnosis_code text,
    secondary_diagnosis_codes text[],
    brand brand_type,
    age_group text,
    gender text,
    geographic_region region_type NOT NULL,
    state text,
    zip_code text,
    insurance_type text,
    data_quality_score double precision,
    comorbidities text[],
    risk_score double precision,
    data_source vendor_type,
    data_sources_matched text[],
    source_match_confidence double precision,
    source_stacking_flag boolean,
    source_combination_method text,
    source_timestamp timestamptz,
    ingestion_timestamp timestamptz,
    data_lag_hours double precision,
    data_split data_split_type,
    split_config_id text,
    CONSTRAINT patient_journeys_pk PRIMARY KEY (patient_journey_id),
    CONSTRAINT patient_journeys_patient_hash_pattern CHECK (patient_hash ~ '^(?:[0-9a-f]{64})$'),
    CONSTRAINT patient_journeys_journey_duration_days_range CHECK (journey_duration_days >= 0),
    CONSTRAINT patient_journeys_primary_diagnosis_code_pattern CHECK (primary_diagnosis_code ~ '^(?:[A-Z][0-9][0-9A-Z](?:\.[0-9A-Z]{1,4})?)$'),
    CONSTRAINT patient_journeys_secondary_diagnosis_codes_type CHECK (array_position(secondary_diagnosis_codes, NULL) IS NULL),
    CONSTRAINT patient_journeys_secondary_diagnosis_codes_pattern CHECK (contract_all_match(secondary_diagnosis_codes, '^(?:[A-Z][0-9][0-9A-Z](?:\.[0-9A-Z]{1,4})?)$')),
    CONSTRAINT patient_journeys_age_group_allowed CHECK (age_group IN ('18-34', '35-49', '50-64', '65+')),
    CONSTRAINT patient_journeys_gender_allowed CHECK (gender IN ('F', 'M', 'U')),
    CONSTRAINT patient_journeys_state_pattern CHECK (state ~ '^(?:[A-Z]{2})$'),
    CONSTRAINT patient_journeys_zip_code_pattern CHECK (zip_code ~ '^(?:[0-9]{3})$'),
    CONSTRAINT patient_journeys_insurance_type_allowed CHECK (insurance_type IN ('commercial', 'medicare', 'medicaid', 'uninsured')),
    CONSTRAINT patient_journeys_data_quality_score_finite CHECK (data_quality_score > '-Infinity' AND data_quality_score < 'Infinity'),
    CONSTRAINT patient_journeys_data_quality_score_range CHECK (data_quality_score >= 0 AND data_quality_score <= 1),
    CONSTRAINT patient_journeys_comorbidities_type CHECK (array_position(comorbidities, NULL) IS NULL),
    CONSTRAINT patient_journeys_risk_score_finite CHECK (risk_score > '-Infinity' AND risk_score < 'Infinity'),
    CONSTRAINT patient_journeys_risk_score_range CHECK (risk_score >= 0 AND risk_score <= 1),
    CONSTRAINT patient_journeys_data_sources_matched_type CHECK (array_position(data_sources_matched, NULL) IS NULL),
    CONSTRAINT patient_journeys_data_sources_matched_allowed CHECK (data_sources_matched <@ ARRAY['IQVIA_APLD', 'IQVIA_LAAD', 'HealthVerity', 'Komodo', 'Veeva']::text[]),
    CONSTRAINT patient_journeys_source_match_confidence_finite CHECK (source_match_confidence > '-Infinity' AND source_match_confidence < 'Infinity'),
    CONSTRAINT patient_journeys_source_match_confidence_range CHECK (source_match_confidence >= 0 AND source_match_confidence <= 1),
    CONSTRAINT patient_journeys_data_lag_hours_finite CHECK (data_lag_hours > '-Infinity' AND data_lag_hours < 'Infinity'),
    CONSTRAINT patient_journeys_data_lag_hours_range CHECK (data_lag_hours >= 0),
    CONSTRAINT patient_journeys_journey_order CHECK (journey_start_date <= journey_end_date),
    CONSTRAINT patient_journeys_ingestion_order CHECK (source_timestamp <= ingestion_timestamp),
    CONSTRAINT patient_journeys_patient_journey_id_patient_id_referenced UNIQUE (patient_journey_id, patient_id)
);

CREATE INDEX patient_journeys_patient_id_idx ON patient_journeys (patient_id);
CREATE INDEX patient_journeys_journey_start_date_idx ON patient_journeys (journey_start_date);
CREATE INDEX patient_journeys_brand_geographic_region_idx ON patient_journeys (brand, geographic_region);

CREATE FUNCTION patient_journeys_one_split_per_patient() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('patient_journeys_one_split_per_patient'));
    IF EXISTS (
        SELECT FROM patient_journeys AS known
        WHERE known.patient_id IN (SELECT patient_id FROM written WHERE data_split IS NOT NULL)
        GROUP BY known.patient_id HAVING count(DISTINCT known.data_split) > 1
    ) THEN
        RAISE EXCEPTION 'patient_journeys: one patient_id has two data_splits'
            USING ERRCODE = 'check_violation', TABLE = 'patient_journeys', CONSTRAINT = 'patient_journeys_one_split_per_patient';
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER patient_journeys_one_split_per_patient_insert AFTER INSERT ON patient_journeys
    REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION patient_journeys_one_split_per_patient();
CREATE TRIGGER patient_journeys_one_split_per_patient_update AFTER UPDATE ON patient_journeys
    REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION patient_journeys_one_split_per_patient();

CREATE VIEW v_train_patient_journeys AS SELECT * FROM patient_journeys WHERE data_split = 'train';
CREATE VIEW v_validation_patient_journeys AS SELECT * FROM patient_journeys WHERE data_split = 'validation';
CREATE VIEW v_test_patient_journeys AS SELECT * FROM patient_journeys WHERE data_split = 'test';
CREATE VIEW v_holdout_patient_journeys AS SELECT * FROM patient_journeys WHERE data_split = 'holdout';

CREATE TABLE hcp_profiles (
    hcp_id text NOT NULL,
    npi text,
    first_name text,
    last_name text,
    specialty specialty_type NOT NULL,
    sub_specialty text,
    practice_type text,
    practice_size text,
    geographic_region region_type NOT NULL,
    state text,
    city text,
    zip_code text,
    priority_tier bigint,
    decile bigint,
    total_patient_volume bigint,
    target_patient_volume bigint,
    prescribing_volume bigint,
    years_experience bigint,
    affiliations text[],
    digital_engagement_score double precision,
    peer_influence_score double precision,
    preferred_channel text,
    last_interaction_date date,
    interaction_frequency double precision,
    influence_network_size bigint,
    adoption_category text,
    coverage_status boolean,
    territory_id text,
    sales_rep_id text,
    CONSTRAINT hcp_profiles_pk PRIMARY KEY (hcp_id),
    CONSTRAINT hcp_profiles_npi_pattern CHECK (npi ~ '^(?:[0-9]{10})$'),
    CONSTRAINT hcp_profiles_npi_unique UNIQUE (npi),
    CONSTRAINT hcp_profiles_practice_type_allowed CHECK (practice_type IN ('solo', 'group', 'hospital', 'academic')),
    CONSTRAINT hcp_profiles_practice_size_allowed CHECK (practice_size IN ('small', 'medium', 'large')),
    CONSTRAINT hcp_profiles_priority_tier_range CHECK (priority_tier >= 1 AND priority_tier <= 5),
    CONSTRAINT hcp_profiles_decile_range CHECK (decile >= 1 AND decile <= 10),
    CONSTRAINT hcp_profiles_total_patient_volume_range CHECK (total_patient_volume >= 0),
    CONSTRAINT hcp_profiles_target_patient_volume_range CHECK (target_patient_volume >= 0),
    CONSTRAINT hcp_profiles_prescribing_volume_range CHECK (prescribing_volume >= 0),
    CONSTRAINT hcp_profiles_years_experience_range CHECK (years_experience >= 0 AND years_experience <= 60),
    CONSTRAINT hcp_profiles_affiliations_type CHECK (array_position(affiliations, NULL) IS NULL),
    CONSTRAINT hcp_profiles_digital_engagement_score_finite CHECK (digital_engagement_score > '-Infinity' AND digital_engagement_score < 'Infinity'),
    CONSTRAINT hcp_profiles_digital_engagement_score_range CHECK (digital_engagement_score >= 0 AND digital_engagement_score <= 1),
    CONSTRAINT hcp_profiles_peer_influence_score_finite CHECK (peer_influence_score > '-Infinity' AND peer_influence_score < 'Infinity'),
    CONSTRAINT hcp_profiles_peer_influence_score_range CHECK (peer_influence_score >= 0 AND peer_influence_score <= 1),
    CONSTRAINT hcp_profiles_preferred_channel_allowed CHECK (preferred_channel IN ('rep', 'email', 'webinar', 'phone', 'portal')),
    CONSTRAINT hcp_profiles_interaction_frequency_finite CHECK (interaction_frequency > '-Infinity' AND interaction_frequency < 'Infinity'),
    CONSTRAINT hcp_profiles_interaction_frequency_range CHECK (interaction_frequency >= 0),
    CONSTRAINT hcp_profiles_influence_network_size_range CHECK (influence_network_size >= 0),
    CONSTRAINT hcp_profiles_adoption_category_allowed CHECK (adoption_category IN ('innovator', 'early', 'majority', 'late', 'non_adopter')),
    CONSTRAINT hcp_profiles_patient_volume_order CHECK (target_patient_volume <= total_patient_volume)
);

CREATE INDEX hcp_profiles_last_interaction_date_idx ON hcp_profiles (last_interaction_date);
CREATE INDEX hcp_profiles_geographic_region_idx ON hcp_profiles (geographic_region);

CREATE TABLE business_metrics (
    metric_id text NOT NULL,
    metric_date date NOT NULL,
    metric_type text NOT NULL,
    metric_name text NOT NULL,
    brand brand_type,
    region region_type,
    value double precision NOT NULL,
    target double precision,
    achievement_rate double precision,
    year_over_year_change double precision,
    month_over_month_change double precision,
    roi double precision,
    statistical_significance double precision,
    confidence_interval_lower double precision,
    confidence_interval_upper double precision,
    sample_size bigint,
    created_at timestamptz DEFAULT now(),
    CONSTRAINT business_metrics_pk PRIMARY KEY (metric_id),
    CONSTRAINT business_metrics_value_finite CHECK (value > '-Infinity' AND value < 'Infinity'),
    CONSTRAINT business_metrics_target_finite CHECK (target > '-Infinity' AND target < 'Infinity'),
    CONSTRAINT business_metrics_achievement_rate_finite CHECK (achievement_rate > '-Infinity' AND achievement_rate < 'Infinity'),
    CONSTRAINT business_metrics_achievement_rate_range CHECK (achievement_rate >= 0),
    CONSTRAINT business_metrics_year_over_year_change_finite CHECK (year_over_year_change > '-Infinity' AND year_over_year_change < 'Infinity'),
    CONSTRAINT business_metrics_month_over_month_change_finite CHECK (month_over_month_change > '-Infinity' AND month_over_month_change < 'Infinity'),
    CONSTRAINT business_metrics_roi_finite CHECK (roi > '-Infinity' AND roi < 'Infinity'),
    CONSTRAINT business_metrics_statistical_significance_finite CHECK (statistical_significance > '-Infinity' AND statistical_significance < 'Infinity'),
    CONSTRAINT business_metrics_statistical_significance_range CHECK (statistical_significance >= 0 AND statistical_significance <= 1),
    CONSTRAINT business_metrics_confidence_interval_lower_finite CHECK (confidence_interval_lower > '-Infinity' AND confidence_interval_lower < 'Infinity'),
    CONSTRAINT business_metrics_confidence_interval_upper_finite CHECK (confidence_interval_upper > '-Infinity' AND confidence_interval_upper < 'Infinity'),
    CONSTRAINT business_metrics_sample_size_range CHECK (sample_size >= 0),
    CONSTRAINT business_metrics_confidence_interval_order CHECK (confidence_interval_lower <= confidence_interval_upper),
    CONSTRAINT business_metrics_achievement_rate_ratio CHECK (CASE WHEN target > 0 THEN abs(achievement_rate - value / target) <= 0.01 * abs(value / target) + 1e-9 END)
);

CREATE INDEX business_metrics_metric_date_idx ON business_metrics (metric_date);
CREATE INDEX business_metrics_brand_region_idx ON business_metrics (brand, region);
CREATE UNIQUE INDEX business_metrics_metric_key_by_brand_region ON business_metrics (metric_name, metric_date, brand, region) WHERE brand IS NOT NULL AND region IS NOT NULL;
CREATE UNIQUE INDEX business_metrics_metric_key_by_region ON business_metrics (metric_name, metric_date, region) WHERE region IS NOT NULL AND brand IS NULL;
CREATE UNIQUE INDEX business_metrics_metric_key_by_brand ON business_metrics (metric_name, metric_date, brand) WHERE brand IS NOT NULL AND region IS NULL;
CREATE UNIQUE INDEX business_metrics_metric_key_by_none ON business_metrics (metric_name, metric_date) WHERE brand IS NULL AND region IS NULL;

CREATE TABLE ml_predictions (
    prediction_id text NOT NULL,
    model_version text NOT NULL,
    model_type text,
    prediction_timestamp timestamptz NOT NULL,
    patient_id text,
    hcp_id text,
    prediction_type prediction_type_enum NOT NULL,
    prediction_value double precision NOT NULL,
    prediction_class text,
    confidence_score double precision,
    probability_scores jsonb,
    feature_importance jsonb,
    shap_values jsonb,
    top_features jsonb,
    rank_metrics jsonb,
    fairness_metrics jsonb,
    model_auc double precision,
    model_precision double precision,
    model_recall double precision,
    model_pr_auc double precision,
    brier_score double precision,
    calibration_score double precision,
    explanation_text text,
    treatment_effect_estimate double precision,
    heterogeneous_effect double precision,
    counterfactual_outcome double precision,
    segment_assignment text,
    causal_confidence double precision,
    actual_outcome double precision,
    outcome_recorded_at timestamptz,
    outcome_source text,
    outcome_window_days bigint,
    features_available_at_prediction jsonb,
    data_split data_split_type,
    CONSTRAINT ml_predictions_pk PRIMARY KEY (prediction_id),
    CONSTRAINT ml_predictions_prediction_value_finite CHECK (prediction_value > '-Infinity' AND prediction_value < 'Infinity'),
    CONSTRAINT ml_predictions_prediction_value_range CHECK (prediction_value >= 0 AND prediction_value <= 1),
    CONSTRAINT ml_predictions_confidence_score_finite CHECK (confidence_score > '-Infinity' AND confidence_score < 'Infinity'),
    CONSTRAINT ml_predictions_confidence_score_range CHECK (confidence_score >= 0 AND confidence_score <= 1),
    CONSTRAINT ml_predictions_probability_scores_type CHECK (jsonb_typeof(probability_scores) IN ('object', 'array')),
    CONSTRAINT ml_predictions_feature_importance_type CHECK (jsonb_typeof(feature_importance) IN ('object', 'array')),
    CONSTRAINT ml_predictions_shap_values_type CHECK (jsonb_typeof(shap_values) IN ('object', 'array')),
    CONSTRAINT ml_predictions_top_features_type CHECK (jsonb_typeof(top_features) IN ('object', 'array')),
    CONSTRAINT ml_predictions_rank_metrics_type CHECK (jsonb_typeof(rank_metrics) IN ('object', 'array')),
    CONSTRAINT ml_predictions_fairness_metrics_type CHECK (jsonb_typeof(fairness_metrics) IN ('object', 'array')),
    CONSTRAINT ml_predictions_model_auc_finite CHECK (model_auc > '-Infinity' AND model_auc < 'Infinity'),
    CONSTRAINT ml_predictions_model_auc_range CHECK (model_auc >= 0 AND model_auc <= 1),
    CONSTRAINT ml_predictions_model_precision_finite CHECK (model_precision > '-Infinity' AND model_precision < 'Infinity'),
    CONSTRAINT ml_predictions_model_precision_range CHECK (model_precision >= 0 AND model_precision <= 1),
    CONSTRAINT ml_predictions_model_recall_finite CHECK (model_recall > '-Infinity' AND model_recall < 'Infinity'),
    CONSTRAINT ml_predictions_model_recall_range CHECK (model_recall >= 0 AND model_recall <= 1),
    CONSTRAINT ml_predictions_model_pr_auc_finite CHECK (model_pr_auc > '-Infinity' AND model_pr_auc < 'Infinity'),
    CONSTRAINT ml_predictions_model_pr_auc_range CHECK (model_pr_auc >= 0 AND model_pr_auc <= 1),
    CONSTRAINT ml_predictions_brier_score_finite CHECK (brier_score > '-Infinity' AND brier_score < 'Infinity'),
    CONSTRAINT ml_predictions_brier_score_range CHECK (brier_score >= 0 AND brier_score <= 1),
    CONSTRAINT ml_predictions_calibration_score_finite CHECK (calibration_score > '-Infinity' AND calibration_score < 'Infinity'),
    CONSTRAINT ml_predictions_calibration_score_range CHECK (calibration_score >= 0),
    CONSTRAINT ml_predictions_treatment_effect_estimate_finite CHECK (treatment_effect_estimate > '-Infinity' AND treatment_effect_estimate < 'Infinity'),
    CONSTRAINT ml_predictions_heterogeneous_effect_finite CHECK (heterogeneous_effect > '-Infinity' AND heterogeneous_effect < 'Infinity'),
    CONSTRAINT ml_predictions_counterfactual_outcome_finite CHECK (counterfactual_outcome > '-Infinity' AND counterfactual_outcome < 'Infinity'),
    CONSTRAINT ml_predictions_causal_confidence_finite CHECK (causal_confidence > '-Infinity' AND causal_confidence < 'Infinity'),
    CONSTRAINT ml_predictions_causal_confidence_range CHECK (causal_confidence >= 0 AND causal_confidence <= 1),
    CONSTRAINT ml_predictions_actual_outcome_finite CHECK (actual_outcome > '-Infinity' AND actual_outcome < 'Infinity'),
    CONSTRAINT ml_predictions_actual_outcome_range CHECK (actual_outcome >= 0 AND actual_outcome <= 1),
    CONSTRAINT ml_predictions_outcome_window_days_range CHECK (outcome_window_days >= 1),
    CONSTRAINT ml_predictions_features_available_at_prediction_type CHECK (jsonb_typeof(features_available_at_prediction) IN ('object', 'array')),
    CONSTRAINT ml_predictions_subject_presence CHECK (patient_id IS NOT NULL OR hcp_id IS NOT NULL),
    CONSTRAINT ml_predictions_outcome_order CHECK (prediction_timestamp <= outcome_recorded_at),
    CONSTRAINT ml_predictions_no_future_feature CHECK (contract_none_after(features_available_at_prediction, prediction_timestamp))
);

CREATE INDEX ml_predictions_patient_id_idx ON ml_predictions (patient_id);
CREATE INDEX ml_predictions_hcp_id_idx ON ml_predictions (hcp_id);
CREATE INDEX ml_predictions_prediction_timestamp_idx ON ml_predictions (prediction_timestamp);

CREATE VIEW v_train_ml_predictions AS SELECT * FROM ml_predictions WHERE data_split = 'train';
CREATE VIEW v_validation_ml_predictions AS SELECT * FROM ml_predictions WHERE data_split = 'validation';
CREATE VIEW v_test_ml_predictions AS SELECT * FROM ml_predictions WHERE data_split = 'test';
CREATE VIEW v_holdout_ml_predictions AS SELECT * FROM ml_predictions WHERE data_split = 'holdout';

CREATE TABLE triggers (
    trigger_id text NOT NULL,
    patient_id text NOT NULL,
    hcp_id text,
    trigger_timestamp timestamptz NOT NULL,
    trigger_type text NOT NULL,
    priority priority_type NOT NULL,
    confidence_score double precision,
    lead_time_days bigint,
    expiration_date date,
    delivery_channel text,
    delivery_status text,
    delivery_timestamp timestamptz,
    view_timestamp timestamptz,
    acceptance_status text,
    acceptance_timestamp timestamptz,
    action_taken text,
    action_timestamp timestamptz,
    false_positive_flag boolean,
    trigger_reason text,
    recommended_action text,
    causal_chain jsonb,
    supporting_evidence jsonb,
    outcome_tracked boolean,
    outcome_value double precision,
    previous_trigger_id text,
    change_type text,
    change_reason text,
    change_timestamp timestamptz,
    change_failed boolean,
    change_outcome_delta double precision,
    brand brand_type,
    data_split data_split_type,
    CONSTRAINT triggers_pk PRIMARY KEY (trigger_id),
    CONSTRAINT triggers_confidence_score_finite CHECK (confidence_score > '-Infinity' AND confidence_score < 'Infinity'),
    CONSTRAINT triggers_confidence_score_range CHECK (confidence_score >= 0 AND confidence_score <= 1),
    CONSTRAINT triggers_lead_time_days_range CHECK (lead_time_days >= 0),
    CONSTRAINT triggers_acceptance_status_allowed CHECK (acceptance_status IN ('accepted', 'rejected', 'ignored', 'pending')),
    CONSTRAINT triggers_causal_chain_type CHECK (jsonb_typeof(causal_chain) IN ('object', 'array')),
    CONSTRAINT triggers_supporting_evidence_type CHECK (jsonb_typeof(supporting_evidence) IN ('object', 'array')),
    CONSTRAINT triggers_outcome_value_finite CHECK (outcome_value > '-Infinity' AND outcome_value < 'Infinity'),
    CONSTRAINT triggers_change_type_allowed CHECK (change_type IN ('new', 'update', 'escalation', 'downgrade')),
    CONSTRAINT triggers_change_outcome_delta_finite CHECK (change_outcome_delta > '-Infinity' AND change_outcome_delta < 'Infinity'),
    CONSTRAINT triggers_expiration_order CHECK ((trigger_timestamp AT TIME ZONE 'UTC')::date <= expiration_date),
    CONSTRAINT triggers_view_order CHECK (delivery_timestamp <= view_timestamp)
);

CREATE INDEX triggers_patient_id_idx ON triggers (patient_id);
CREATE INDEX triggers_hcp_id_idx ON triggers (hcp_id);
CREATE INDEX triggers_trigger_timestamp_idx ON triggers (trigger_timestamp);
CREATE INDEX triggers_brand_idx ON triggers (brand);

CREATE VIEW v_train_triggers AS SELECT * FROM triggers WHERE data_split = 'train';
CREATE VIEW v_validation_triggers AS SELECT * FROM triggers WHERE data_split = 'validation';
CREATE VIEW v_test_triggers AS SELECT * FROM triggers WHERE data_split = 'test';
CREATE VIEW v_holdout_triggers AS SELECT * FROM triggers WHERE data_split = 'holdout';

CREATE TABLE causal_paths (
    path_id text NOT NULL,
    discovery_date date NOT NULL,
    causal_chain jsonb,
    start_node text NOT NULL,
    end_node text NOT NULL,
    intermediate_nodes text[],
    path_length bigint NOT NULL,
    causal_effect_size double precision NOT NULL,
    effect_raw double precision,
    effect_se double precision,
    confidence_level double precision,
    p_value double precision,
    method_used text NOT NULL,
    confounders_controlled text[],
    mediators_identified text[],
    interaction_effects jsonb,
    time_lag_days bigint,
    validation_status text,
    business_impact_estimate double precision,
    brand brand_type,
    region region_type,
    CONSTRAINT causal_paths_pk PRIMARY KEY (path_id),
    CONSTRAINT causal_paths_causal_chain_type CHECK (jsonb_typeof(causal_chain) IN ('object', 'array')),
    CONSTRAINT causal_paths_intermediate_nodes_type CHECK (array_position(intermediate_nodes, NULL) IS NULL),
    CONSTRAINT causal_paths_path_length_range CHECK (path_length >= 1),
    CONSTRAINT causal_paths_causal_effect_size_finite CHECK (causal_effect_size > '-Infinity' AND causal_effect_size < 'Infinity'),
    CONSTRAINT causal_paths_causal_effect_size_range CHECK (causal_effect_size >= -1 AND causal_effect_size <= 1),
    CONSTRAINT causal_paths_effect_raw_finite CHECK (effect_raw > '-Infinity' AND effect_raw < 'Infinity'),
    CONSTRAINT causal_paths_effect_se_finite CHECK (effect_se > '-Infinity' AND effect_se < 'Infinity'),
    CONSTRAINT causal_paths_effect_se_range CHECK (effect_se > 0),
    CONSTRAINT causal_paths_confidence_level_finite CHECK (confidence_level > '-Infinity' AND confidence_level < 'Infinity'),
    CONSTRAINT causal_paths_confidence_level_range CHECK (confidence_level >= 0 AND confidence_level <= 1),
    CONSTRAINT causal_paths_p_value_finite CHECK (p_value > '-Infinity' AND p_value < 'Infinity'),
    CONSTRAINT causal_paths_p_value_range CHECK (p_value >= 0 AND p_value <= 1),
    CONSTRAINT causal_paths_method_used_allowed CHECK (method_used IN ('difference_in_means', 'ols', 'lin', 'ipw', 'aipw', 's_learner', 't_learner', 'x_learner', 'dr_learner', 'linear_dml', 'causal_forest', 'iv_2sls', 'twfe', 'did', 'lagged_outcome', 'distributed_lag', 'front_door')),
    CONSTRAINT causal_paths_confounders_controlled_type CHECK (array_position(confounders_controlled, NULL) IS NULL),
    CONSTRAINT causal_paths_mediators_identified_type CHECK (array_position(mediators_identified, NULL) IS NULL),
    CONSTRAINT causal_paths_interaction_effects_type CHECK (jsonb_typeof(interaction_effects) IN ('object', 'array')),
    CONSTRAINT causal_paths_time_lag_days_range CHECK (time_lag_days >= 0),
    CONSTRAINT causal_paths_validation_status_allowed CHECK (validation_status IN ('proceed', 'review', 'block', 'unvalidated')),
    CONSTRAINT causal_paths_business_impact_estimate_finite CHECK (business_impact_estimate > '-Infinity' AND business_impact_estimate < 'Infinity'),
    CONSTRAINT causal_paths_ends_differ CHECK (start_node <> end_node),
    CONSTRAINT causal_paths_path_length_edges CHECK (path_length = coalesce(cardinality(intermediate_nodes), 0) + 1),
    CONSTRAINT causal_paths_no_repeated_node CHECK (contract_no_repeat(ARRAY[start_node, end_node] || coalesce(intermediate_nodes, ARRAY[]::text[])))
);

CREATE INDEX causal_paths_discovery_date_idx ON causal_paths (discovery_date);
CREATE INDEX causal_paths_brand_region_idx ON causal_paths (brand, region);

CREATE TABLE agent_activities (
    activity_id text NOT NULL,
    agent_name agent_name_enum NOT NULL,
    agent_tier agent_tier_enum NOT NULL,
    activity_timestamp timestamptz NOT NULL,
    activity_type text NOT NULL,
    workstream workstream_type,
    processing_duration_ms double precision,
    input_data jsonb,
    analysis_results jsonb,
    recommendations jsonb,
    resource_usage jsonb,
    records_processed bigint,
    confidence_level double precision,
    impact_estimate double precision,
    roi_estimate double precision,
    status text NOT NULL,
    error_type text,
    error_message text,
    trace_id text,
    CONSTRAINT agent_activities_pk PRIMARY KEY (activity_id),
    CONSTRAINT agent_activities_processing_duration_ms_finite CHECK (processing_duration_ms > '-Infinity' AND processing_duration_ms < 'Infinity'),
    CONSTRAINT agent_activities_processing_duration_ms_range CHECK (processing_duration_ms >= 0),
    CONSTRAINT agent_activities_input_data_type CHECK (jsonb_typeof(input_data) IN ('object', 'array')),
    CONSTRAINT agent_activities_input_data_size CHECK (octet_length(input_data::text) <= 65536),
    CONSTRAINT agent_activities_analysis_results_type CHECK (jsonb_typeof(analysis_results) IN ('object', 'array')),
    CONSTRAINT agent_activities_analysis_results_size CHECK (octet_length(analysis_results::text) <= 65536),
    CONSTRAINT agent_activities_recommendations_type CHECK (jsonb_typeof(recommendations) IN ('object', 'array')),
    CONSTRAINT agent_activities_recommendations_size CHECK (octet_length(recommendations::text) <= 65536),
    CONSTRAINT agent_activities_resource_usage_type CHECK (jsonb_typeof(resource_usage) IN ('object', 'array')),
    CONSTRAINT agent_activities_resource_usage_size CHECK (octet_length(resource_usage::text) <= 65536),
    CONSTRAINT agent_activities_records_processed_range CHECK (records_processed >= 0),
    CONSTRAINT agent_activities_confidence_level_finite CHECK (confidence_level > '-Infinity' AND confidence_level < 'Infinity'),
    CONSTRAINT agent_activities_confidence_level_range CHECK (confidence_level >= 0 AND confidence_level <= 1),
    CONSTRAINT agent_activities_impact_estimate_finite CHECK (impact_estimate > '-Infinity' AND impact_estimate < 'Infinity'),
    CONSTRAINT agent_activities_roi_estimate_finite CHECK (roi_estimate > '-Infinity' AND roi_estimate < 'Infinity'),
    CONSTRAINT agent_activities_status_allowed CHECK (status IN ('started', 'completed', 'failed', 'partial', 'timeout')),
    CONSTRAINT agent_activities_trace_id_pattern CHECK (trace_id ~ '^(?:[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12})$'),
    CONSTRAINT agent_activities_error_presence CHECK (CASE WHEN status IN ('failed', 'timeout') THEN error_type IS NOT NULL AND error_message IS NOT NULL ELSE error_type IS NULL AND error_message IS NULL END)
);

CREATE INDEX agent_activities_activity_timestamp_idx ON agent_activities (activity_timestamp);

CREATE TABLE treatment_events (
    treatment_event_id text NOT NULL,
    patient_journey_id text NOT NULL,
    patient_id text NOT NULL,
    hcp_id text,
    event_date date NOT NULL,
    event_type event_type_enum NOT NULL,
    event_subtype text,
    brand brand_type,
    drug_name text,
    drug_ndc text,
    drug_class text,
    dosage text,
    duration_days bigint,
    icd_codes text[],
    cpt_codes text[],
    loinc_codes text[],
    lab_values jsonb,
    location_type text,
    cost double precision,
    outcome_indicator text,
    adverse_event_flag boolean,
    discontinuation_flag boolean,
    discontinuation_reason text,
    sequence_number bigint,
    days_from_diagnosis bigint,
    previous_treatment text,
    next_treatment text,
    CONSTRAINT treatment_events_pk PRIMARY KEY (treatment_event_id),
    CONSTRAINT treatment_events_duration_days_range CHECK (duration_days >= 0),
    CONSTRAINT treatment_events_icd_codes_type CHECK (array_position(icd_codes, NULL) IS NULL),
    CONSTRAINT treatment_events_cpt_codes_type CHECK (array_position(cpt_codes, NULL) IS NULL),
    CONSTRAINT treatment_events_loinc_codes_type CHECK (array_position(loinc_codes, NULL) IS NULL),
    CONSTRAINT treatment_events_lab_values_type CHECK (jsonb_typeof(lab_values) IN ('object', 'array')),
    CONSTRAINT treatment_events_location_type_allowed CHECK (location_type IN ('office', 'hospital', 'lab', 'pharmacy', 'infusion')),
    CONSTRAINT treatment_events_cost_finite CHECK (cost > '-Infinity' AND cost < 'Infinity'),
    CONSTRAINT treatment_events_cost_range CHECK (cost >= 0),
    CONSTRAINT treatment_events_outcome_indicator_allowed CHECK (outcome_indicator IN ('improved', 'stable', 'worsened', 'unknown')),
    CONSTRAINT treatment_events_sequence_number_range CHECK (sequence_number >= 1),
    CONSTRAINT treatment_events_days_from_diagnosis_range CHECK (days_from_diagnosis >= 0),
    CONSTRAINT treatment_events_sequence_in_journey UNIQUE (patient_journey_id, sequence_number),
    CONSTRAINT treatment_events_journey_fk FOREIGN KEY (patient_journey_id, patient_id) REFERENCES patient_journeys (patient_journey_id, patient_id),
    CONSTRAINT treatment_events_hcp_fk FOREIGN KEY (hcp_id) REFERENCES hcp_profiles (hcp_id)
);

CREATE INDEX treatment_events_patient_journey_id_idx ON treatment_events (patient_journey_id);
CREATE INDEX treatment_events_patient_id_idx ON treatment_events (patient_id);
CREATE INDEX treatment_events_hcp_id_idx ON treatment_events (hcp_id);
CREATE INDEX treatment_events_event_date_idx ON treatment_events (event_date);
CREATE INDEX treatment_events_brand_idx ON treatment_events (brand);

CREATE FUNCTION treatment_events_event_within_journey() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('treatment_events_event_within_journey'));
    IF EXISTS (
        SELECT FROM written JOIN patient_journeys AS parent ON parent.patient_journey_id = written.patient_journey_id
        WHERE written.event_date < parent.journey_start_date OR written.event_date > parent.journey_end_date
    ) THEN
        RAISE EXCEPTION 'treatment_events: event_date lies outside its patient_journeys row'
            USING ERRCODE = 'check_violation', TABLE = 'treatment_events', CONSTRAINT = 'treatment_events_event_within_journey';
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER treatment_events_event_within_journey_insert AFTER INSERT ON treatment_events
    REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION treatment_events_event_within_journey();
CREATE TRIGGER treatment_events_event_within_journey_update AFTER UPDATE ON treatment_events
    REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION treatment_events_event_within_journey();
