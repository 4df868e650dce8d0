-- What was learned from answers, what was changed because of it, and whether the change helped.

CREATE TYPE improvement_type AS ENUM ('retrieval', 'prompt', 'workflow', 'none');
CREATE TYPE improvement_priority AS ENUM ('critical', 'high', 'medium', 'low', 'none');
CREATE TYPE signal_type AS ENUM (
    'thumbs_up', 'thumbs_down', 'correction', 'rating', 'implicit_positive', 'implicit_negative', 'evaluation', 'outcome'
);
CREATE TYPE action_status AS ENUM (
    'queued', 'proposed', 'awaiting_approval', 'blocked', 'rejected', 'applied', 'measuring', 'confirmed', 'rolled_back'
);

CREATE TABLE learning_signals (
    signal_id uuid NOT NULL DEFAULT gen_random_uuid(),
    cycle_id uuid,
    session_id uuid,
    interaction_id uuid,
    trace_id text,
    component text NOT NULL,
    prompt_version integer,
    signal_type signal_type NOT NULL,
    signal_value numeric,
    signal_details jsonb NOT NULL DEFAULT '{}',
    applies_to_type text,
    applies_to_id text,
    brand brand_type,
    region region_type,
    is_training_example boolean NOT NULL DEFAULT false,
    ragas_scores jsonb,
    ragas_weighted double precision,
    rubric_scores jsonb,
    rubric_total double precision,
    rubric_weighted double precision,
    rubric_decision text,
    combined_score double precision,
    improvement_type improvement_type,
    improvement_priority improvement_priority,
    improvement_applied boolean NOT NULL DEFAULT false,
    improvement_details jsonb,
    retrieved_chunks jsonb,
    retrieval_scores jsonb,
    processed_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT learning_signals_pk PRIMARY KEY (signal_id),
    CONSTRAINT learning_signals_cycle_fk FOREIGN KEY (cycle_id) REFERENCES cognitive_cycles (cycle_id),
    CONSTRAINT learning_signals_interaction_fk FOREIGN KEY (interaction_id) REFERENCES rag_interactions (interaction_id),
    CONSTRAINT learning_signals_ragas_weighted_range CHECK (ragas_weighted >= 0 AND ragas_weighted <= 1),
    CONSTRAINT learning_signals_rubric_total_range CHECK (rubric_total >= 5 AND rubric_total <= 25),
    CONSTRAINT learning_signals_rubric_weighted_range CHECK (rubric_weighted >= 1 AND rubric_weighted <= 5),
    CONSTRAINT learning_signals_rubric_decision_allowed CHECK (
        rubric_decision IN ('ACCEPTABLE', 'SUGGESTION', 'AUTO_UPDATE', 'ESCALATE')
    ),
    CONSTRAINT learning_signals_combined_score_range CHECK (combined_score >= 0 AND combined_score <= 1),
    CONSTRAINT learning_signals_processing_order CHECK (processed_at >= created_at)
);

CREATE INDEX learning_signals_component_idx ON learning_signals (component, created_at);
CREATE INDEX learning_signals_unprocessed_idx ON learning_signals (created_at) WHERE processed_at IS NULL;
CREATE UNIQUE INDEX learning_signals_evaluation_idx ON learning_signals (interaction_id, signal_type, component)
    WHERE signal_type = 'evaluation';

CREATE TABLE evaluation_results (
    evaluation_id uuid NOT NULL DEFAULT gen_random_uuid(),
    learning_signal_id uuid NOT NULL,
    cycle_id uuid,
    query text NOT NULL,
    response text NOT NULL,
    ground_truth text,
    retrieved_contexts jsonb NOT NULL,
    context_count integer,
    faithfulness double precision,
    answer_relevancy double precision,
    context_precision double precision,
    context_recall double precision,
    answer_correctness double precision,
    ragas_aggregate double precision,
    causal_validity double precision,
    actionability double precision,
    evidence_chain double precision,
    regulatory_awareness double precision,
    uncertainty_communication double precision,
    rubric_aggregate double precision,
    method text NOT NULL,
    evaluation_model text,
    duration_ms double precision,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT evaluation_results_pk PRIMARY KEY (evaluation_id),
    CONSTRAINT evaluation_results_signal_fk FOREIGN KEY (learning_signal_id) REFERENCES learning_signals (signal_id),
    CONSTRAINT evaluation_results_cycle_fk FOREIGN KEY (cycle_id) REFERENCES cognitive_cycles (cycle_id),
    CONSTRAINT evaluation_results_contexts_array CHECK (jsonb_typeof(retrieved_contexts) = 'array'),
    CONSTRAINT evaluation_results_context_count_agrees CHECK (
        jsonb_typeof(retrieved_contexts) <> 'array' OR context_count = jsonb_array_length(retrieved_contexts)
    ),
    CONSTRAINT evaluation_results_faithfulness_range CHECK (faithfulness >= 0 AND faithfulness <= 1),
    CONSTRAINT evaluation_results_answer_relevancy_range CHECK (answer_relevancy >= 0 AND answer_relevancy <= 1),
    CONSTRAINT evaluation_results_context_precision_range CHECK (context_precision >= 0 AND context_precision <= 1),
    CONSTRAINT evaluation_results_context_recall_range CHECK (context_recall >= 0 AND context_recall <= 1),
    CONSTRAINT evaluation_results_answer_correctness_range CHECK (answer_correctness >= 0 AND answer_correctness <= 1),
    CONSTRAINT evaluation_results_ragas_aggregate_range CHECK (ragas_aggregate >= 0 AND ragas_aggregate <= 1),
    CONSTRAINT evaluation_results_causal_validity_range CHECK (causal_validity >= 1 AND causal_validity <= 5),
    CONSTRAINT evaluation_results_actionability_range CHECK (actionability >= 1 AND actionability <= 5),
    CONSTRAINT evaluation_results_evidence_chain_range CHECK (evidence_chain >= 1 AND evidence_chain <= 5),
    CONSTRAINT evaluation_results_regulatory_awareness_range CHECK (
        regulatory_awareness >= 1 AND regulatory_awareness <= 5
    ),
    CONSTRAINT evaluation_results_uncertainty_communication_range CHECK (
        uncertainty_communication >= 1 AND uncertainty_communication <= 5
    ),
    CONSTRAINT evaluation_results_rubric_aggregate_range CHECK (rubric_aggregate >= 1 AND rubric_aggregate <= 5),
    CONSTRAINT evaluation_results_method_allowed CHECK (method IN ('ragas', 'heuristic')),
    CONSTRAINT evaluation_results_duration_ms_range CHECK (duration_ms >= 0)
);

CREATE INDEX evaluation_results_signal_idx ON evaluation_results (learning_signal_id);
CREATE INDEX evaluation_results_created_at_idx ON evaluation_results (created_at);

CREATE TABLE retrieval_configurations (
    config_id uuid NOT NULL DEFAULT gen_random_uuid(),
    version integer NOT NULL,
    k integer NOT NULL,
    chunk_size integer NOT NULL,
    chunk_overlap integer NOT NULL,
    dense_weight double precision NOT NULL,
    text_weight double precision NOT NULL,
    graph_weight double precision NOT NULL,
    rerank boolean NOT NULL DEFAULT false,
    is_active boolean NOT NULL DEFAULT false,
    parent_id uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT retrieval_configurations_pk PRIMARY KEY (config_id),
    CONSTRAINT retrieval_configurations_version_unique UNIQUE (version),
    CONSTRAINT retrieval_configurations_parent_fk FOREIGN KEY (parent_id) REFERENCES retrieval_configurations (config_id),
    CONSTRAINT retrieval_configurations_k_range CHECK (k >= 1 AND k <= 50),
    CONSTRAINT retrieval_configurations_chunk_overlap_range CHECK (chunk_overlap >= 0 AND chunk_overlap < chunk_size),
    CONSTRAINT retrieval_configurations_weights_range CHECK (
        dense_weight >= 0 AND text_weight >= 0 AND graph_weight >= 0
    ),
    CONSTRAINT retrieval_configurations_weights_sum CHECK (abs(dense_weight + text_weight + graph_weight - 1) <= 1e-6)
);

CREATE UNIQUE INDEX retrieval_configurations_active_idx ON retrieval_configurations (is_active) WHERE is_active;

INSERT INTO retrieval_configurations
    (version, k, chunk_size, chunk_overlap, dense_weight, text_weight, graph_weight, is_active)
VALUES (1, 10, 512, 50, 0.4, 0.3, 0.3, true);

ALTER TABLE rag_interactions ADD CONSTRAINT rag_interactions_retrieval_config_fk
    FOREIGN KEY (retrieval_config_id) REFERENCES retrieval_configurations (config_id);

CREATE TABLE improvement_actions (
    action_id uuid NOT NULL DEFAULT gen_random_uuid(),
    learning_signal_id uuid,
    component text NOT NULL,
    trigger_score double precision,
    decision text NOT NULL,
    improvement_type improvement_type NOT NULL,
    priority improvement_priority NOT NULL,
    status action_status NOT NULL,
    action_description text NOT NULL,
    before_config jsonb,
    after_config jsonb,
    prompt_version_id uuid,
    retrieval_config_id uuid,
    knowledge_ids uuid[] NOT NULL DEFAULT '{}',
    approved_by text,
    blocked_reason text,
    idempotency_key text NOT NULL,
    baseline_score double precision,
    outcome_measured boolean NOT NULL DEFAULT false,
    outcome_improved boolean,
    outcome_delta double precision,
    samples_measured integer,
    applied_at timestamptz,
    measured_at timestamptz,
    rolled_back_at timestamptz,
    rollback_reason text,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT improvement_actions_pk PRIMARY KEY (action_id),
    CONSTRAINT improvement_actions_signal_fk FOREIGN KEY (learning_signal_id) REFERENCES learning_signals (signal_id),
    CONSTRAINT improvement_actions_prompt_version_fk FOREIGN KEY (prompt_version_id) REFERENCES prompt_versions (id),
    CONSTRAINT improvement_actions_retrieval_config_fk FOREIGN KEY (retrieval_config_id)
        REFERENCES retrieval_configurations (config_id),
    CONSTRAINT improvement_actions_idempotency_key_unique UNIQUE (idempotency_key),
    CONSTRAINT improvement_actions_decision_allowed CHECK (
        decision IN ('ACCEPTABLE', 'SUGGESTION', 'AUTO_UPDATE', 'ESCALATE')
    ),
    CONSTRAINT improvement_actions_blocked_reason_presence CHECK (status <> 'blocked' OR blocked_reason IS NOT NULL),
    CONSTRAINT improvement_actions_outcome_presence CHECK (
        NOT outcome_measured
        OR (outcome_improved IS NOT NULL AND outcome_delta IS NOT NULL AND samples_measured IS NOT NULL)
    ),
    CONSTRAINT improvement_actions_samples_measured_range CHECK (samples_measured >= 0),
    CONSTRAINT improvement_actions_rollback_presence CHECK (
        status <> 'rolled_back' OR (rolled_back_at IS NOT NULL AND rollback_reason IS NOT NULL)
    ),
    CONSTRAINT improvement_actions_time_order CHECK (measured_at >= applied_at AND rolled_back_at >= applied_at)
);

CREATE INDEX improvement_actions_component_idx ON improvement_actions (component, applied_at);
CREATE INDEX improvement_actions_status_idx ON improvement_actions (status);

CREATE TABLE experiment_knowledge_store (
    knowledge_id uuid NOT NULL DEFAULT gen_random_uuid(),
    source_type text NOT NULL,
    source_id text,
    lesson_type text NOT NULL,
    title text NOT NULL,
    description text NOT NULL,
    knowledge_json jsonb NOT NULL,
    applicable_brands text[] NOT NULL DEFAULT '{}',
    applicable_contexts text[] NOT NULL DEFAULT '{}',
    embedding_model text,
    embedding vector,
    confidence_level double precision,
    validated boolean NOT NULL DEFAULT false,
    times_applied integer NOT NULL DEFAULT 0,
    success_rate double precision,
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT experiment_knowledge_store_pk PRIMARY KEY (knowledge_id),
    CONSTRAINT experiment_knowledge_store_lesson_type_allowed CHECK (lesson_type IN ('success', 'failure', 'constraint')),
    CONSTRAINT experiment_knowledge_store_embedding_model_presence CHECK (
        (embedding IS NULL) = (embedding_model IS NULL)
    ),
    CONSTRAINT experiment_knowledge_store_confidence_level_range CHECK (confidence_level >= 0 AND confidence_level <= 1),
    CONSTRAINT experiment_knowledge_store_times_applied_range CHECK (times_applied >= 0),
    CONSTRAINT experiment_knowledge_store_success_rate_range CHECK (success_rate >= 0 AND success_rate <= 1)
);

CREATE INDEX experiment_knowledge_store_active_idx ON experiment_knowledge_store (lesson_type) WHERE is_active;

-- Weighted mean over the scores that are there, weights re-normalised; NULL when none is. Summed in the order of
-- ``names``, so that any other implementation in double precision can give the same bits.
CREATE FUNCTION weighted_mean_of_present(scores jsonb, names text[], weights double precision[])
RETURNS double precision
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    score double precision;
    weighted double precision := 0;
    total double precision := 0;
BEGIN
    FOR i IN 1 .. cardinality(names) LOOP
        score := (scores ->> names[i])::double precision;
        IF score IS NOT NULL THEN
            weighted := weighted + weights[i] * score;
            total := total + weights[i];
        END IF;
    END LOOP;
    RETURN weighted / nullif(total, 0);
END
$$;

CREATE FUNCTION ragas_weighted_mean(ragas jsonb) RETURNS double precision
LANGUAGE sql IMMUTABLE AS $$
    SELECT weighted_mean_of_present(
        ragas,
        ARRAY['faithfulness', 'answer_relevancy', 'context_precision', 'context_recall', 'answer_correctness'],
        ARRAY[0.25, 0.20, 0.20, 0.20, 0.15]::double precision[]
    )
$$;

CREATE FUNCTION rubric_weighted_mean(rubric jsonb) RETURNS double precision
LANGUAGE sql IMMUTABLE AS $$
    SELECT weighted_mean_of_present(
        rubric,
        ARRAY['causal_validity', 'actionability', 'evidence_chain', 'regulatory_awareness', 'uncertainty_communication'],
        ARRAY[0.25, 0.25, 0.20, 0.15, 0.15]::double precision[]
    )
$$;

-- 0.4 of the RAGAS mean and 0.6 of the rubric mean brought to 0..1; the one that is there when the other is not.
CREATE FUNCTION calculate_combined_score(ragas jsonb, rubric jsonb) RETURNS double precision
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    ragas_mean double precision := ragas_weighted_mean(ragas);
    rubric_share double precision := (rubric_weighted_mean(rubric) - 1) / 4;
BEGIN
    IF ragas_mean IS NULL OR rubric_share IS NULL THEN
        RETURN coalesce(ragas_mean, rubric_share);
    END IF;
    RETURN 0.4::double precision * ragas_mean + 0.6::double precision * rubric_share;
END
$$;

-- r: RAGAS mean 0..1, q: rubric mean 1..5. What was not measured is not below anything.
CREATE FUNCTION determine_improvement_type(r double precision, q double precision) RETURNS improvement_type
LANGUAGE sql IMMUTABLE AS $$
    SELECT (CASE
        WHEN r < 0.70::double precision AND (q - 1) / 4 < 0.70::double precision THEN 'workflow'
        WHEN r < 0.70::double precision THEN 'retrieval'
        WHEN (q - 1) / 4 < 0.70::double precision THEN 'prompt'
        ELSE 'none'
    END)::improvement_type
$$;

CREATE FUNCTION determine_improvement_priority(c double precision) RETURNS improvement_priority
LANGUAGE sql IMMUTABLE AS $$
    SELECT (CASE
        WHEN c < 0.40::double precision THEN 'critical'
        WHEN c < 0.55::double precision THEN 'high'
        WHEN c < 0.70::double precision THEN 'medium'
        WHEN c < 0.85::double precision THEN 'low'
        ELSE 'none'
    END)::improvement_priority
$$;

-- Writes the scores of an answer and everything that follows from them. The total needs all five criteria.
CREATE FUNCTION update_learning_signal_evaluation(signal uuid, ragas jsonb, rubric jsonb) RETURNS learning_signals
LANGUAGE plpgsql AS $$
DECLARE
    combined double precision := calculate_combined_score(ragas, rubric);
    updated learning_signals;
BEGIN
    UPDATE learning_signals AS known
    SET ragas_scores = ragas,
        ragas_weighted = ragas_weighted_mean(ragas),
        rubric_scores = rubric,
        rubric_total = (rubric ->> 'causal_validity')::double precision + (rubric ->> 'actionability')::double precision
            + (rubric ->> 'evidence_chain')::double precision + (rubric ->> 'regulatory_awareness')::double precision
            + (rubric ->> 'uncertainty_communication')::double precision,
        rubric_weighted = rubric_weighted_mean(rubric),
        combined_score = combined,
        improvement_type = determine_improvement_type(ragas_weighted_mean(ragas), rubric_weighted_mean(rubric)),
        improvement_priority = determine_improvement_priority(combined)
    WHERE known.signal_id = signal
    RETURNING known.* INTO updated;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no learning signal %', signal USING ERRCODE = 'no_data_found';
    END IF;
    RETURN updated;
END
$$;

CREATE FUNCTION get_active_retrieval_config() RETURNS SETOF retrieval_configurations
LANGUAGE sql STABLE AS $$
    SELECT * FROM retrieval_configurations WHERE is_active
$$;

CREATE VIEW v_ragas_performance_trends AS
SELECT
    date_trunc('day', result.created_at AT TIME ZONE 'UTC')::date AS day,
    signal.component,
    result.method,
    count(*) AS evaluations,
    avg(result.faithfulness) AS avg_faithfulness,
    avg(result.answer_relevancy) AS avg_answer_relevancy,
    avg(result.context_precision) AS avg_context_precision,
    avg(result.context_recall) AS avg_context_recall,
    avg(result.answer_correctness) AS avg_answer_correctness,
    avg(result.ragas_aggregate) AS avg_ragas_aggregate,
    count(result.ragas_aggregate) AS ragas_measured,
    avg(result.rubric_aggregate) AS avg_rubric_aggregate,
    count(result.rubric_aggregate) AS rubric_measured
FROM evaluation_results AS result
JOIN learning_signals AS signal ON signal.signal_id = result.learning_signal_id
GROUP BY 1, 2, 3;

CREATE VIEW v_improvement_summary AS
SELECT
    component,
    improvement_type,
    count(*) AS actions,
    count(*) FILTER (WHERE status = 'confirmed') AS confirmed,
    count(*) FILTER (WHERE status = 'rolled_back') AS rolled_back,
    count(*) FILTER (WHERE status = 'blocked') AS blocked,
    count(*) FILTER (WHERE status IN ('queued', 'proposed', 'awaiting_approval')) AS waiting,
    count(*) FILTER (WHERE outcome_measured) AS measured,
    avg(outcome_improved::integer) FILTER (WHERE outcome_measured)::double precision AS improved_share,
    avg(outcome_delta) FILTER (WHERE outcome_measured) AS avg_outcome_delta
FROM improvement_actions
GROUP BY component, improvement_type;

CREATE VIEW v_learning_signal_distribution AS
SELECT
    component,
    signal_type,
    count(*) AS signals,
    count(*) FILTER (WHERE processed_at IS NULL) AS unprocessed,
    avg(signal_value)::double precision AS avg_signal_value,
    avg(combined_score) AS avg_combined_score,
    min(created_at) AS first_at,
    max(created_at) AS last_at
FROM learning_signals
GROUP BY component, signal_type;
