-- Which hyperparameter searches ran, and what each trial gave.

CREATE TABLE ml_hpo_studies (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    study_name text NOT NULL,
    experiment_id uuid,
    algorithm_name text NOT NULL,
    problem_type text NOT NULL,
    direction text NOT NULL,
    sampler_name text,
    pruner_name text,
    metric text NOT NULL,
    search_space jsonb NOT NULL,
    fixed_params jsonb NOT NULL DEFAULT '{}',
    n_trials integer NOT NULL DEFAULT 0,
    n_completed integer NOT NULL DEFAULT 0,
    n_pruned integer NOT NULL DEFAULT 0,
    n_failed integer NOT NULL DEFAULT 0,
    best_trial_number integer,
    best_value double precision,
    best_params jsonb,
    duration_seconds double precision,
    started_at timestamptz NOT NULL,
    completed_at timestamptz,
    status text NOT NULL,
    error_message text,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT ml_hpo_studies_pk PRIMARY KEY (id),
    CONSTRAINT ml_hpo_studies_study_name_unique UNIQUE (study_name),
    CONSTRAINT ml_hpo_studies_experiment_fk FOREIGN KEY (experiment_id) REFERENCES ml_experiments (id),
    CONSTRAINT ml_hpo_studies_direction_allowed CHECK (direction IN ('minimize', 'maximize')),
    CONSTRAINT ml_hpo_studies_status_allowed CHECK (status IN ('running', 'completed', 'failed')),
    CONSTRAINT ml_hpo_studies_counts_range CHECK (n_completed >= 0 AND n_pruned >= 0 AND n_failed >= 0),
    CONSTRAINT ml_hpo_studies_counts_sum CHECK (n_trials = n_completed + n_pruned + n_failed),
    CONSTRAINT ml_hpo_studies_completed_best CHECK (
        status <> 'completed' OR (n_completed > 0 AND best_value IS NOT NULL AND best_params IS NOT NULL)
    ),
    CONSTRAINT ml_hpo_studies_failed_error CHECK (status <> 'failed' OR error_message IS NOT NULL),
    CONSTRAINT ml_hpo_studies_duration_seconds_range CHECK (duration_seconds >= 0),
    CONSTRAINT ml_hpo_studies_time_order CHECK (completed_at >= started_at)
);

CREATE INDEX ml_hpo_studies_experiment_idx ON ml_hpo_studies (experiment_id);
CREATE INDEX ml_hpo_studies_algorithm_idx ON ml_hpo_studies (algorithm_name, problem_type);

CREATE TABLE ml_hpo_trials (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    study_id uuid NOT NULL,
    trial_number integer NOT NULL,
    state text NOT NULL,
    params jsonb NOT NULL,
    value double precision,
    intermediate_values jsonb NOT NULL DEFAULT '{}',
    started_at timestamptz,
    completed_at timestamptz,
    duration_seconds double precision,
    error_message text,
    attrs jsonb NOT NULL DEFAULT '{}',
    CONSTRAINT ml_hpo_trials_pk PRIMARY KEY (id),
    CONSTRAINT ml_hpo_trials_study_fk FOREIGN KEY (study_id) REFERENCES ml_hpo_studies (id) ON DELETE CASCADE,
    CONSTRAINT ml_hpo_trials_number_unique UNIQUE (study_id, trial_number),
    CONSTRAINT ml_hpo_trials_trial_number_range CHECK (trial_number >= 0),
    CONSTRAINT ml_hpo_trials_state_allowed CHECK (state IN ('COMPLETE', 'PRUNED', 'FAIL')),
    CONSTRAINT ml_hpo_trials_value_presence CHECK ((state = 'COMPLETE') = (value IS NOT NULL)),
    CONSTRAINT ml_hpo_trials_duration_seconds_range CHECK (duration_seconds >= 0),
    CONSTRAINT ml_hpo_trials_time_order CHECK (completed_at >= started_at)
);
