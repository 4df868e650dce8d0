-- Documents are found again by their source, chunks know their place, and evaluations are kept by dataset version.

ALTER TABLE rag_documents
    ADD COLUMN content_sha256 text,
    ADD COLUMN chunking text,
    ADD COLUMN uri text,
    ADD COLUMN sections jsonb NOT NULL DEFAULT '[]',
    ADD COLUMN metadata jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now(),
    ADD CONSTRAINT rag_documents_source_unique UNIQUE (source_type, source_id),
    ADD CONSTRAINT rag_documents_source_type_allowed CHECK (
        source_type IN ('file', 'kpi_summary', 'causal_path', 'definition', 'run_report')
    ),
    ADD CONSTRAINT rag_documents_sections_array CHECK (jsonb_typeof(sections) = 'array');

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
    judge text,
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
    details jsonb NOT NULL DEFAULT '{}',
    CONSTRAINT rag_evaluation_scores_pk PRIMARY KEY (run_id, sample_id),
    CONSTRAINT rag_evaluation_scores_run_fk FOREIGN KEY (run_id) REFERENCES rag_evaluation_runs (run_id)
        ON DELETE CASCADE,
    CONSTRAINT rag_evaluation_scores_overall_range CHECK (overall_score >= 0 AND overall_score <= 1),
    CONSTRAINT rag_evaluation_scores_method_allowed CHECK (method IN ('ragas', 'heuristic'))
);

-- Why a metric has no value, who judged by the rubric, what the rules gave beside it, and what it cost.
ALTER TABLE evaluation_results
    ADD COLUMN unmeasured jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN rubric_method text,
    ADD COLUMN rubric_decision text,
    ADD COLUMN rubric_version integer,
    ADD COLUMN rubric_model text,
    ADD COLUMN rubric_heuristic jsonb,
    ADD COLUMN cost_dollars double precision,
    ADD CONSTRAINT evaluation_results_rubric_method_allowed CHECK (rubric_method IN ('llm', 'heuristic')),
    ADD CONSTRAINT evaluation_results_cost_range CHECK (cost_dollars >= 0);

CREATE INDEX evaluation_results_judged_idx ON evaluation_results (rubric_version, created_at)
    WHERE rubric_method = 'llm';

-- Stores the evaluation of an answer: one signal for each interaction and component, one result for each signal.
-- Evaluated again, both are replaced; what follows from the scores is computed here.
CREATE FUNCTION store_evaluation(signal jsonb, result jsonb) RETURNS uuid
LANGUAGE plpgsql AS $$
DECLARE
    given learning_signals := jsonb_populate_record(NULL::learning_signals, signal);
    measured evaluation_results := jsonb_populate_record(NULL::evaluation_results, result);
    kept uuid;
BEGIN
    SELECT known.signal_id INTO kept
    FROM learning_signals AS known
    WHERE known.signal_type = 'evaluation'
        AND known.interaction_id = given.interaction_id
        AND known.component = given.component;
    kept := coalesce(kept, given.signal_id);
    INSERT INTO learning_signals (
        signal_id, cycle_id, session_id, interaction_id, trace_id, component, prompt_version, signal_type, signal_value,
        signal_details, brand, region, rubric_decision, retrieved_chunks, retrieval_scores
    ) VALUES (
        kept, given.cycle_id, given.session_id, given.interaction_id, given.trace_id, given.component,
        given.prompt_version, 'evaluation', given.signal_value, given.signal_details, given.brand, given.region,
        given.rubric_decision, given.retrieved_chunks, given.retrieval_scores
    )
    ON CONFLICT (signal_id) DO UPDATE SET
        cycle_id = excluded.cycle_id,
        session_id = excluded.session_id,
        trace_id = excluded.trace_id,
        prompt_version = excluded.prompt_version,
        signal_value = excluded.signal_value,
        signal_details = excluded.signal_details,
        brand = excluded.brand,
        region = excluded.region,
        rubric_decision = excluded.rubric_decision,
        retrieved_chunks = excluded.retrieved_chunks,
        retrieval_scores = excluded.retrieval_scores,
        created_at = now(),
        processed_at = NULL;
    PERFORM update_learning_signal_evaluation(kept, given.ragas_scores, given.rubric_scores);
    DELETE FROM evaluation_results WHERE learning_signal_id = kept;
    measured.learning_signal_id := kept;
    INSERT INTO evaluation_results SELECT measured.*;
    RETURN kept;
END
$$;

-- The run that gave an answer, so that a person who knows the run can rate it; whether it is in the sample that is
-- scored unasked; and the claim of the worker that evaluates it.
ALTER TABLE rag_interactions
    ADD COLUMN run_id uuid,
    ADD COLUMN method text,
    ADD COLUMN declined text,
    ADD COLUMN sampled boolean NOT NULL DEFAULT true,
    ADD COLUMN evaluation_claimed_at timestamptz;

CREATE INDEX rag_interactions_run_id_idx ON rag_interactions (run_id);

-- The baseline joins scores after ranks: better than ranks alone on questions that no weight was chosen on
-- (benchmarks/rag/retrieval.md). Nothing has been retrieved by it before this file: its version stays.
UPDATE retrieval_configurations SET rerank = true WHERE version = 1;
