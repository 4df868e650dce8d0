-- Documents are found again by their source, chunks know their place, and evaluations are kept by dataset version.

ALTER TABLE rag_documents
    ADD COLUMN content_sha256 text,
    ADD COLUMN chunking text,
    ADD COLUMN uri text,
    ADD COLUMN metadata jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now(),
    ADD CONSTRAINT rag_documents_source_unique UNIQUE (source_type, source_id),
    ADD CONSTRAINT rag_documents_source_type_allowed CHECK (
        source_type IN ('file', 'kpi_summary', 'causal_path', 'definition', 'run_report')
    );

ALTER TABLE rag_chunks
    ADD COLUMN section text NOT NULL DEFAULT '',
    ADD COLUMN char_start integer,
    ADD COLUMN char_end integer,
    ADD CONSTRAINT rag_chunks_place_order CHECK (char_end >= char_start AND char_start >= 0);

-- One row that changes whenever chunks do, so that an index kept elsewhere knows whether it is current.
CREATE TABLE rag_corpus_state (
    singleton boolean NOT NULL DEFAULT true,
    version bigint NOT NULL DEFAULT 0,
    changed_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT rag_corpus_state_pk PRIMARY KEY (singleton),
    CONSTRAINT rag_corpus_state_single CHECK (singleton)
);

INSERT INTO rag_corpus_state (singleton) VALUES (true);

CREATE TABLE rag_evaluation_datasets (
    dataset_hash text NOT NULL,
    name text NOT NULL,
    samples jsonb NOT NULL,
    sample_count integer NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT rag_evaluation_datasets_pk PRIMARY KEY (dataset_hash),
    CONSTRAINT rag_evaluation_datasets_samples_array CHECK (jsonb_typeof(samples) = 'array'),
    CONSTRAINT rag_evaluation_datasets_count_agrees CHECK (
        jsonb_typeof(samples) <> 'array' OR sample_count = jsonb_array_length(samples)
    )
);

CREATE TABLE rag_evaluation_runs (
    run_id uuid NOT NULL,
    dataset_hash text NOT NULL,
    pipeline_called boolean NOT NULL,
    method text NOT NULL,
    model text,
    aggregates jsonb NOT NULL,
    thresholds jsonb NOT NULL,
    all_thresholds_passed boolean NOT NULL,
    cost jsonb NOT NULL DEFAULT '{}',
    trace_id text,
    mlflow_run_id text,
    retrieval_config_id uuid,
    started_at timestamptz NOT NULL,
    duration_seconds double precision NOT NULL,
    CONSTRAINT rag_evaluation_runs_pk PRIMARY KEY (run_id),
    CONSTRAINT rag_evaluation_runs_dataset_fk FOREIGN KEY (dataset_hash)
        REFERENCES rag_evaluation_datasets (dataset_hash),
    CONSTRAINT rag_evaluation_runs_retrieval_config_fk FOREIGN KEY (retrieval_config_id)
        REFERENCES retrieval_configurations (config_id),
    CONSTRAINT rag_evaluation_runs_method_allowed CHECK (method IN ('ragas', 'heuristic', 'mixed')),
    CONSTRAINT rag_evaluation_runs_duration_range CHECK (duration_seconds >= 0)
);

CREATE INDEX rag_evaluation_runs_dataset_idx ON rag_evaluation_runs (dataset_hash, started_at);

CREATE TABLE rag_evaluation_scores (
    run_id uuid NOT NULL,
    sample_id text NOT NULL,
    scores jsonb NOT NULL,
    overall_score double precision,
    passed boolean NOT NULL,
    method text NOT NULL,
    error text,
    CONSTRAINT rag_evaluation_scores_pk PRIMARY KEY (run_id, sample_id),
    CONSTRAINT rag_evaluation_scores_run_fk FOREIGN KEY (run_id) REFERENCES rag_evaluation_runs (run_id)
        ON DELETE CASCADE,
    CONSTRAINT rag_evaluation_scores_overall_range CHECK (overall_score >= 0 AND overall_score <= 1),
    CONSTRAINT rag_evaluation_scores_method_allowed CHECK (method IN ('ragas', 'heuristic'))
);

-- Why a metric has no value, who judged by the rubric, and what it cost.
ALTER TABLE evaluation_results
    ADD COLUMN unmeasured jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN rubric_method text,
    ADD COLUMN rubric_decision text,
    ADD COLUMN cost_dollars double precision,
    ADD CONSTRAINT evaluation_results_rubric_method_allowed CHECK (rubric_method IN ('llm', 'heuristic')),
    ADD CONSTRAINT evaluation_results_cost_range CHECK (cost_dollars >= 0);

-- The run that gave an answer, so that a person who knows the run can rate it; and the worker that evaluates it.
ALTER TABLE rag_interactions
    ADD COLUMN run_id uuid,
    ADD COLUMN method text,
    ADD COLUMN declined text,
    ADD COLUMN evaluation_claimed_at timestamptz;

CREATE INDEX rag_interactions_run_id_idx ON rag_interactions (run_id);
