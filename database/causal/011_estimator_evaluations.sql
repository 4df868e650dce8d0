-- Every estimator that was tried for a question, and every test its estimate was put to.

CREATE TABLE estimator_evaluations (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    experiment_id uuid,
    run_id uuid,
    mlflow_run_id text,
    query_hash text,
    estimator text NOT NULL,
    selected boolean NOT NULL DEFAULT false,
    energy_score double precision,
    distance_component double precision,
    dr_loss_component double precision,
    ate double precision,
    ate_se double precision,
    ci_lower double precision,
    ci_upper double precision,
    n_samples bigint,
    error_type text,
    error_message text,
    duration_ms double precision,
    brand brand_type,
    region region_type,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT estimator_evaluations_pk PRIMARY KEY (id),
    CONSTRAINT estimator_evaluations_experiment_fk FOREIGN KEY (experiment_id) REFERENCES ml_experiments (id),
    CONSTRAINT estimator_evaluations_run_fk FOREIGN KEY (run_id) REFERENCES analysis_runs (run_id),
    CONSTRAINT estimator_evaluations_ate_finite CHECK (ate > '-Infinity' AND ate < 'Infinity'),
    CONSTRAINT estimator_evaluations_ate_se_range CHECK (ate_se > 0 AND ate_se < 'Infinity'),
    CONSTRAINT estimator_evaluations_interval_order CHECK (ci_lower <= ci_upper),
    CONSTRAINT estimator_evaluations_answer_or_error CHECK ((ate IS NULL) = (error_type IS NOT NULL)),
    CONSTRAINT estimator_evaluations_error_presence CHECK ((error_type IS NULL) = (error_message IS NULL)),
    CONSTRAINT estimator_evaluations_selected_answered CHECK (NOT selected OR ate IS NOT NULL),
    CONSTRAINT estimator_evaluations_n_samples_range CHECK (n_samples >= 0),
    CONSTRAINT estimator_evaluations_duration_ms_range CHECK (duration_ms >= 0)
);

CREATE INDEX estimator_evaluations_experiment_idx ON estimator_evaluations (experiment_id);
CREATE INDEX estimator_evaluations_run_idx ON estimator_evaluations (run_id);
CREATE INDEX estimator_evaluations_estimator_idx ON estimator_evaluations (estimator, created_at);
CREATE INDEX estimator_evaluations_query_hash_idx ON estimator_evaluations (query_hash);

CREATE TABLE causal_validations (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    estimation_id uuid NOT NULL,
    test_name text NOT NULL,
    passed boolean,
    applicable boolean NOT NULL,
    critical boolean NOT NULL,
    statistic double precision,
    threshold double precision,
    detail text,
    gate text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT causal_validations_pk PRIMARY KEY (id),
    CONSTRAINT causal_validations_estimation_fk FOREIGN KEY (estimation_id) REFERENCES estimator_evaluations (id),
    CONSTRAINT causal_validations_test_unique UNIQUE (estimation_id, test_name),
    CONSTRAINT causal_validations_passed_presence CHECK (NOT applicable OR passed IS NOT NULL),
    CONSTRAINT causal_validations_gate_allowed CHECK (gate IN ('proceed', 'review', 'block', 'no_effect'))
);

CREATE VIEW v_estimator_performance AS
SELECT
    estimator,
    count(*) AS evaluations,
    count(*) FILTER (WHERE selected) AS times_selected,
    count(*) FILTER (WHERE error_type IS NOT NULL) AS failures,
    avg((error_type IS NOT NULL)::integer)::double precision AS failure_rate,
    avg(energy_score) AS avg_energy_score,
    count(energy_score) AS energy_scored,
    avg(ate_se) AS avg_ate_se,
    avg(duration_ms) AS avg_duration_ms,
    max(created_at) AS last_evaluated_at
FROM estimator_evaluations
GROUP BY estimator;
