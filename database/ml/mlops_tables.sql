-- Experiments, training runs, models, data quality, explanations, deployments and spans.

CREATE TYPE dq_status_enum AS ENUM ('passed', 'warning', 'failed', 'skipped');

CREATE TABLE ml_experiments (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    experiment_name text NOT NULL,
    mlflow_experiment_id text,
    description text,
    prediction_target text NOT NULL,
    target_population text,
    observation_window_days integer,
    prediction_horizon_days integer,
    minimum_auc double precision,
    minimum_precision_at_k double precision,
    maximum_fpr double precision,
    brand brand_type,
    region region_type,
    energy_score_enabled boolean NOT NULL DEFAULT false,
    selection_strategy text,
    data_split data_split_type,
    created_by text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT ml_experiments_pk PRIMARY KEY (id),
    CONSTRAINT ml_experiments_mlflow_experiment_id_unique UNIQUE (mlflow_experiment_id),
    CONSTRAINT ml_experiments_observation_window_days_range CHECK (observation_window_days > 0),
    CONSTRAINT ml_experiments_prediction_horizon_days_range CHECK (prediction_horizon_days > 0),
    CONSTRAINT ml_experiments_minimum_auc_range CHECK (minimum_auc >= 0.5 AND minimum_auc <= 1),
    CONSTRAINT ml_experiments_minimum_precision_at_k_range CHECK (
        minimum_precision_at_k >= 0 AND minimum_precision_at_k <= 1
    ),
    CONSTRAINT ml_experiments_maximum_fpr_range CHECK (maximum_fpr >= 0 AND maximum_fpr <= 1)
);

CREATE INDEX ml_experiments_experiment_name_idx ON ml_experiments (experiment_name);
CREATE INDEX ml_experiments_mlflow_experiment_id_idx ON ml_experiments (mlflow_experiment_id);
CREATE INDEX ml_experiments_brand_idx ON ml_experiments (brand);

CREATE TABLE ml_training_runs (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    experiment_id uuid NOT NULL,
    model_registry_id uuid,
    run_name text NOT NULL,
    mlflow_run_id text,
    algorithm text NOT NULL,
    hyperparameters jsonb NOT NULL,
    training_samples bigint NOT NULL,
    validation_samples bigint,
    test_samples bigint,
    feature_names jsonb,
    train_metrics jsonb NOT NULL DEFAULT '{}',
    validation_metrics jsonb NOT NULL DEFAULT '{}',
    test_metrics jsonb NOT NULL DEFAULT '{}',
    status text NOT NULL,
    error_type text,
    error_message text,
    started_at timestamptz NOT NULL,
    completed_at timestamptz,
    duration_seconds double precision,
    compute_type text,
    gpu_used boolean,
    optuna_study_name text,
    optuna_trial_number integer,
    is_best_trial boolean,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT ml_training_runs_pk PRIMARY KEY (id),
    CONSTRAINT ml_training_runs_experiment_fk FOREIGN KEY (experiment_id) REFERENCES ml_experiments (id),
    CONSTRAINT ml_training_runs_mlflow_run_id_unique UNIQUE (mlflow_run_id),
    CONSTRAINT ml_training_runs_training_samples_range CHECK (training_samples > 0),
    CONSTRAINT ml_training_runs_other_samples_range CHECK (validation_samples >= 0 AND test_samples >= 0),
    CONSTRAINT ml_training_runs_status_allowed CHECK (
        status IN ('pending', 'running', 'completed', 'failed', 'cancelled')
    ),
    CONSTRAINT ml_training_runs_time_order CHECK (completed_at >= started_at),
    CONSTRAINT ml_training_runs_duration_seconds_range CHECK (duration_seconds >= 0),
    CONSTRAINT ml_training_runs_optuna_trial_number_range CHECK (optuna_trial_number >= 0),
    CONSTRAINT ml_training_runs_completed_time CHECK (status <> 'completed' OR completed_at IS NOT NULL),
    CONSTRAINT ml_training_runs_failed_error CHECK (status <> 'failed' OR error_message IS NOT NULL)
);

CREATE INDEX ml_training_runs_experiment_id_idx ON ml_training_runs (experiment_id);
CREATE INDEX ml_training_runs_status_idx ON ml_training_runs (status);
CREATE INDEX ml_training_runs_best_idx ON ml_training_runs (experiment_id) WHERE is_best_trial;

CREATE TABLE ml_model_registry (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    experiment_id uuid NOT NULL,
    model_name text NOT NULL,
    model_version text NOT NULL,
    mlflow_run_id text,
    mlflow_model_uri text,
    algorithm text NOT NULL,
    hyperparameters jsonb,
    feature_count integer,
    training_samples bigint,
    auc double precision,
    pr_auc double precision,
    brier_score double precision,
    calibration_slope double precision,
    fairness_metrics jsonb,
    stage model_stage_enum NOT NULL DEFAULT 'development',
    is_champion boolean NOT NULL DEFAULT false,
    approved_by text,
    artifact_path text,
    trained_at timestamptz,
    registered_at timestamptz NOT NULL DEFAULT now(),
    promoted_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT ml_model_registry_pk PRIMARY KEY (id),
    CONSTRAINT ml_model_registry_experiment_fk FOREIGN KEY (experiment_id) REFERENCES ml_experiments (id),
    CONSTRAINT ml_model_registry_version_unique UNIQUE (model_name, model_version),
    CONSTRAINT ml_model_registry_auc_range CHECK (auc >= 0 AND auc <= 1),
    CONSTRAINT ml_model_registry_pr_auc_range CHECK (pr_auc >= 0 AND pr_auc <= 1),
    CONSTRAINT ml_model_registry_brier_score_range CHECK (brier_score >= 0 AND brier_score <= 1),
    CONSTRAINT ml_model_registry_counts_range CHECK (feature_count >= 0 AND training_samples >= 0)
);

CREATE UNIQUE INDEX ml_model_registry_champion_idx ON ml_model_registry (model_name) WHERE is_champion;
CREATE INDEX ml_model_registry_stage_idx ON ml_model_registry (model_name, stage);
CREATE INDEX ml_model_registry_experiment_id_idx ON ml_model_registry (experiment_id);

ALTER TABLE ml_training_runs ADD CONSTRAINT ml_training_runs_model_registry_fk
    FOREIGN KEY (model_registry_id) REFERENCES ml_model_registry (id);

CREATE TABLE ml_feature_store (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    feature_name text NOT NULL,
    feature_view text,
    entity text,
    dtype text,
    description text,
    source_table text,
    owner text,
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT ml_feature_store_pk PRIMARY KEY (id),
    CONSTRAINT ml_feature_store_feature_name_unique UNIQUE (feature_name)
);

CREATE TABLE ml_data_quality_reports (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    report_name text NOT NULL,
    suite_name text NOT NULL,
    table_name text NOT NULL,
    data_split data_split_type,
    brand brand_type,
    region region_type,
    training_run_id uuid,
    overall_status dq_status_enum NOT NULL,
    expectations_evaluated integer NOT NULL,
    expectations_passed integer NOT NULL,
    expectations_failed integer NOT NULL,
    success_rate double precision,
    failed_expectations jsonb NOT NULL DEFAULT '[]',
    completeness_score double precision,
    validity_score double precision,
    consistency_score double precision,
    timeliness_score double precision,
    uniqueness_score double precision,
    accuracy_score double precision,
    leakage_detected boolean NOT NULL DEFAULT false,
    validation_ms double precision,
    run_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT ml_data_quality_reports_pk PRIMARY KEY (id),
    CONSTRAINT ml_data_quality_reports_training_run_fk FOREIGN KEY (training_run_id) REFERENCES ml_training_runs (id),
    CONSTRAINT ml_data_quality_reports_counts_range CHECK (
        expectations_evaluated >= 0 AND expectations_passed >= 0 AND expectations_failed >= 0
    ),
    CONSTRAINT ml_data_quality_reports_counts_sum CHECK (
        expectations_evaluated = expectations_passed + expectations_failed
    ),
    CONSTRAINT ml_data_quality_reports_success_rate_range CHECK (success_rate >= 0 AND success_rate <= 1),
    CONSTRAINT ml_data_quality_reports_completeness_score_range CHECK (
        completeness_score >= 0 AND completeness_score <= 1
    ),
    CONSTRAINT ml_data_quality_reports_validity_score_range CHECK (validity_score >= 0 AND validity_score <= 1),
    CONSTRAINT ml_data_quality_reports_consistency_score_range CHECK (
        consistency_score >= 0 AND consistency_score <= 1
    ),
    CONSTRAINT ml_data_quality_reports_timeliness_score_range CHECK (timeliness_score >= 0 AND timeliness_score <= 1),
    CONSTRAINT ml_data_quality_reports_uniqueness_score_range CHECK (uniqueness_score >= 0 AND uniqueness_score <= 1),
    CONSTRAINT ml_data_quality_reports_accuracy_score_range CHECK (accuracy_score >= 0 AND accuracy_score <= 1),
    CONSTRAINT ml_data_quality_reports_validation_ms_range CHECK (validation_ms >= 0)
);

CREATE INDEX ml_data_quality_reports_table_idx ON ml_data_quality_reports (table_name, run_at);
CREATE INDEX ml_data_quality_reports_training_run_idx ON ml_data_quality_reports (training_run_id);

CREATE TABLE ml_shap_analyses (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    training_run_id uuid,
    model_uri text NOT NULL,
    explainer_type text NOT NULL,
    sample_size integer NOT NULL,
    base_value double precision,
    global_importance jsonb NOT NULL,
    top_features jsonb,
    interactions jsonb,
    narrative text,
    narrative_source text,
    trace_id text,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT ml_shap_analyses_pk PRIMARY KEY (id),
    CONSTRAINT ml_shap_analyses_training_run_fk FOREIGN KEY (training_run_id) REFERENCES ml_training_runs (id),
    CONSTRAINT ml_shap_analyses_sample_size_range CHECK (sample_size > 0)
);

CREATE INDEX ml_shap_analyses_model_uri_idx ON ml_shap_analyses (model_uri);

CREATE TABLE ml_deployments (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    model_registry_id uuid NOT NULL,
    environment text NOT NULL,
    strategy text NOT NULL,
    endpoint_name text,
    endpoint_url text,
    status text NOT NULL,
    latency_p50_ms double precision,
    latency_p95_ms double precision,
    latency_p99_ms double precision,
    error_rate double precision,
    shadow_started_at timestamptz,
    shadow_requests bigint,
    deployed_at timestamptz,
    rolled_back_at timestamptz,
    rollback_reason text,
    previous_deployment_id uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT ml_deployments_pk PRIMARY KEY (id),
    CONSTRAINT ml_deployments_model_registry_fk FOREIGN KEY (model_registry_id) REFERENCES ml_model_registry (id),
    CONSTRAINT ml_deployments_previous_fk FOREIGN KEY (previous_deployment_id) REFERENCES ml_deployments (id),
    CONSTRAINT ml_deployments_status_allowed CHECK (
        status IN ('pending', 'deploying', 'active', 'draining', 'rolled_back', 'failed')
    ),
    CONSTRAINT ml_deployments_strategy_allowed CHECK (strategy IN ('direct', 'blue_green', 'canary', 'shadow')),
    CONSTRAINT ml_deployments_latency_range CHECK (latency_p50_ms >= 0 AND latency_p95_ms >= 0 AND latency_p99_ms >= 0),
    CONSTRAINT ml_deployments_error_rate_range CHECK (error_rate >= 0 AND error_rate <= 1),
    CONSTRAINT ml_deployments_shadow_requests_range CHECK (shadow_requests >= 0)
);

CREATE INDEX ml_deployments_model_registry_idx ON ml_deployments (model_registry_id);
CREATE INDEX ml_deployments_environment_idx ON ml_deployments (environment, status);

CREATE TABLE ml_observability_spans (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    trace_id text NOT NULL,
    span_id text NOT NULL,
    parent_span_id text,
    agent_name agent_name_enum NOT NULL,
    agent_tier agent_tier_enum NOT NULL,
    operation_type text NOT NULL,
    started_at timestamptz NOT NULL,
    ended_at timestamptz,
    duration_ms double precision,
    model_name text,
    input_tokens bigint,
    output_tokens bigint,
    total_tokens bigint,
    total_cost double precision,
    status text NOT NULL,
    error_type text,
    error_message text,
    fallback_used boolean NOT NULL DEFAULT false,
    fallback_chain jsonb,
    attributes jsonb NOT NULL DEFAULT '{}',
    prompt_versions jsonb,
    experiment_id uuid,
    training_run_id uuid,
    deployment_id uuid,
    user_id text,
    session_id text,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT ml_observability_spans_pk PRIMARY KEY (id),
    CONSTRAINT ml_observability_spans_span_unique UNIQUE (trace_id, span_id),
    CONSTRAINT ml_observability_spans_time_order CHECK (ended_at >= started_at),
    CONSTRAINT ml_observability_spans_duration_ms_range CHECK (duration_ms >= 0),
    CONSTRAINT ml_observability_spans_tokens_range CHECK (
        input_tokens >= 0 AND output_tokens >= 0 AND total_tokens >= 0
    ),
    CONSTRAINT ml_observability_spans_tokens_sum CHECK (
        total_tokens = coalesce(input_tokens, 0) + coalesce(output_tokens, 0)
    ),
    CONSTRAINT ml_observability_spans_total_cost_range CHECK (total_cost >= 0),
    CONSTRAINT ml_observability_spans_status_allowed CHECK (status IN ('success', 'error', 'timeout')),
    CONSTRAINT ml_observability_spans_error_presence CHECK (
        CASE WHEN status = 'success' THEN error_type IS NULL AND error_message IS NULL
             ELSE error_type IS NOT NULL AND error_message IS NOT NULL END
    )
);

CREATE INDEX ml_observability_spans_trace_id_idx ON ml_observability_spans (trace_id);
CREATE INDEX ml_observability_spans_agent_name_idx ON ml_observability_spans (agent_name);
CREATE INDEX ml_observability_spans_agent_tier_idx ON ml_observability_spans (agent_tier);
CREATE INDEX ml_observability_spans_started_at_idx ON ml_observability_spans (started_at);
CREATE INDEX ml_observability_spans_status_idx ON ml_observability_spans (status);
CREATE INDEX ml_observability_spans_fallback_used_idx ON ml_observability_spans (fallback_used);

CREATE VIEW v_agent_latency_summary AS
SELECT
    agent_name,
    agent_tier,
    count(*) AS total_spans,
    avg(duration_ms) AS avg_duration_ms,
    percentile_cont(0.50) WITHIN GROUP (ORDER BY duration_ms) AS p50_ms,
    percentile_cont(0.95) WITHIN GROUP (ORDER BY duration_ms) AS p95_ms,
    percentile_cont(0.99) WITHIN GROUP (ORDER BY duration_ms) AS p99_ms,
    avg((status <> 'success')::integer)::double precision AS error_rate,
    avg(fallback_used::integer)::double precision AS fallback_rate,
    coalesce(sum(total_tokens), 0)::bigint AS total_tokens_used
FROM ml_observability_spans
WHERE started_at >= now() - interval '24 hours'
GROUP BY agent_name, agent_tier;

CREATE VIEW v_champion_models AS
SELECT model_name, model_version, id AS model_registry_id, experiment_id, algorithm, stage, auc, pr_auc, brier_score,
       calibration_slope, mlflow_model_uri, approved_by, promoted_at
FROM ml_model_registry
WHERE is_champion;

CREATE VIEW v_latest_data_quality AS
SELECT DISTINCT ON (table_name, data_split) *
FROM ml_data_quality_reports
ORDER BY table_name, data_split, run_at DESC, created_at DESC;

-- The model of that name registered last in that stage; no row when there is none.
CREATE FUNCTION get_latest_model(name text, stage text) RETURNS SETOF ml_model_registry
LANGUAGE sql STABLE AS $$
    SELECT * FROM ml_model_registry AS model
    WHERE model.model_name = get_latest_model.name AND model.stage = get_latest_model.stage::model_stage_enum
    ORDER BY model.registered_at DESC, model.created_at DESC LIMIT 1
$$;

-- True when the run has reports and the latest one of every table and split is good enough and free of leakage.
-- A skipped validation is no evidence: it counts as not passed.
CREATE FUNCTION check_data_quality_for_training(run uuid, min_score double precision) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT coalesce(bool_and(
        latest.overall_status IN ('passed', 'warning') AND coalesce(latest.success_rate >= min_score, false)
        AND NOT latest.leakage_detected
    ), false)
    FROM (
        SELECT DISTINCT ON (report.table_name, report.data_split) report.*
        FROM ml_data_quality_reports AS report WHERE report.training_run_id = run
        ORDER BY report.table_name, report.data_split, report.run_at DESC, report.created_at DESC
    ) AS latest
$$;
