-- What datasets there are, and what was asked of them.

CREATE TABLE datasets (
    dataset_id text NOT NULL,
    name text NOT NULL,
    kind text NOT NULL,
    source text NOT NULL,
    content_sha256 text NOT NULL,
    n_rows bigint NOT NULL,
    columns jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    path text,
    declared jsonb NOT NULL DEFAULT '{}',
    removed_at timestamptz,
    CONSTRAINT datasets_pk PRIMARY KEY (dataset_id),
    CONSTRAINT datasets_name_present CHECK (name <> ''),
    CONSTRAINT datasets_kind_allowed CHECK (kind IN ('file', 'synthetic', 'table')),
    CONSTRAINT datasets_content_sha256_pattern CHECK (content_sha256 ~ '^[0-9a-f]{64}$'),
    CONSTRAINT datasets_n_rows_range CHECK (n_rows >= 0),
    CONSTRAINT datasets_columns_object CHECK (jsonb_typeof(columns) = 'object'),
    CONSTRAINT datasets_declared_object CHECK (jsonb_typeof(declared) = 'object'),
    CONSTRAINT datasets_removal_order CHECK (removed_at >= created_at)
);

-- A name may be used again once the dataset that held it is removed.
CREATE UNIQUE INDEX datasets_active_name_idx ON datasets (name) WHERE removed_at IS NULL;
CREATE INDEX datasets_content_sha256_idx ON datasets (content_sha256);

-- dataset_id has no foreign key: a contract table is a dataset too ("table:<name>") and a run outlives its dataset.
CREATE TABLE analysis_runs (
    run_id uuid NOT NULL,
    trace_id text NOT NULL,
    question text NOT NULL,
    understood jsonb NOT NULL,
    request jsonb NOT NULL,
    request_sha256 text NOT NULL,
    dataset_id text NOT NULL,
    data_sha256 text NOT NULL,
    code_version text NOT NULL,
    random_state bigint NOT NULL,
    versions jsonb NOT NULL,
    queries jsonb NOT NULL,
    status text NOT NULL,
    verdict text,
    analysis jsonb,
    error_type text,
    error_message text,
    started_at timestamptz NOT NULL,
    ended_at timestamptz,
    CONSTRAINT analysis_runs_pk PRIMARY KEY (run_id),
    CONSTRAINT analysis_runs_status_allowed CHECK (status IN ('running', 'completed', 'failed')),
    CONSTRAINT analysis_runs_time_order CHECK (ended_at >= started_at),
    CONSTRAINT analysis_runs_ended_presence CHECK ((status = 'running') = (ended_at IS NULL)),
    CONSTRAINT analysis_runs_completed_answer CHECK (status <> 'completed' OR (verdict IS NOT NULL AND analysis IS NOT NULL)),
    CONSTRAINT analysis_runs_failed_error CHECK (
        CASE WHEN status = 'failed' THEN error_type IS NOT NULL AND error_message IS NOT NULL
             ELSE error_type IS NULL AND error_message IS NULL END
    )
);

CREATE INDEX analysis_runs_request_sha256_idx ON analysis_runs (request_sha256);
CREATE INDEX analysis_runs_dataset_id_idx ON analysis_runs (dataset_id);
CREATE INDEX analysis_runs_started_at_idx ON analysis_runs (started_at);
CREATE INDEX analysis_runs_trace_id_idx ON analysis_runs (trace_id);
