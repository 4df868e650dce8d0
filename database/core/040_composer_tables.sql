-- How composed questions were planned, executed step by step, and answered.

CREATE TABLE composer_plans (
    plan_id uuid NOT NULL DEFAULT gen_random_uuid(),
    query_sha256 text NOT NULL,
    plan jsonb NOT NULL,
    success_count integer NOT NULL DEFAULT 0,
    failure_count integer NOT NULL DEFAULT 0,
    last_used_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT composer_plans_pk PRIMARY KEY (plan_id),
    CONSTRAINT composer_plans_query_sha256_unique UNIQUE (query_sha256),
    CONSTRAINT composer_plans_counts_range CHECK (success_count >= 0 AND failure_count >= 0)
);

CREATE TABLE composer_compositions (
    composition_id uuid NOT NULL DEFAULT gen_random_uuid(),
    trace_id text NOT NULL,
    query text NOT NULL,
    answer text,
    confidence double precision,
    caveats jsonb NOT NULL DEFAULT '[]',
    plan_id uuid,
    status text NOT NULL,
    sub_questions integer NOT NULL DEFAULT 0,
    tools_used integer NOT NULL DEFAULT 0,
    retries integer NOT NULL DEFAULT 0,
    decompose_latency_ms double precision,
    plan_latency_ms double precision,
    execute_latency_ms double precision,
    synthesize_latency_ms double precision,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT composer_compositions_pk PRIMARY KEY (composition_id),
    CONSTRAINT composer_compositions_plan_fk FOREIGN KEY (plan_id) REFERENCES composer_plans (plan_id),
    CONSTRAINT composer_compositions_confidence_range CHECK (confidence >= 0 AND confidence <= 1),
    CONSTRAINT composer_compositions_status_allowed CHECK (status IN ('completed', 'partial', 'failed')),
    CONSTRAINT composer_compositions_counts_range CHECK (sub_questions >= 0 AND tools_used >= 0 AND retries >= 0),
    CONSTRAINT composer_compositions_latency_range CHECK (
        decompose_latency_ms >= 0 AND plan_latency_ms >= 0 AND execute_latency_ms >= 0 AND synthesize_latency_ms >= 0
    )
);

CREATE INDEX composer_compositions_trace_id_idx ON composer_compositions (trace_id);
CREATE INDEX composer_compositions_created_at_idx ON composer_compositions (created_at);

CREATE TABLE composer_steps (
    step_id uuid NOT NULL DEFAULT gen_random_uuid(),
    composition_id uuid NOT NULL,
    ordinal integer NOT NULL,
    tool text NOT NULL,
    depends_on integer[] NOT NULL DEFAULT '{}',
    inputs jsonb,
    output jsonb,
    status text NOT NULL,
    error_type text,
    error_message text,
    attempts integer NOT NULL DEFAULT 1,
    latency_ms double precision,
    CONSTRAINT composer_steps_pk PRIMARY KEY (step_id),
    CONSTRAINT composer_steps_composition_fk FOREIGN KEY (composition_id)
        REFERENCES composer_compositions (composition_id) ON DELETE CASCADE,
    CONSTRAINT composer_steps_ordinal_unique UNIQUE (composition_id, ordinal),
    CONSTRAINT composer_steps_ordinal_range CHECK (ordinal >= 0),
    CONSTRAINT composer_steps_status_allowed CHECK (status IN ('success', 'failed', 'skipped')),
    CONSTRAINT composer_steps_error_presence CHECK (
        status <> 'failed' OR (error_type IS NOT NULL AND error_message IS NOT NULL)
    ),
    CONSTRAINT composer_steps_no_self_dependency CHECK (NOT ordinal = ANY (depends_on)),
    CONSTRAINT composer_steps_attempts_range CHECK (attempts >= 1),
    CONSTRAINT composer_steps_latency_ms_range CHECK (latency_ms >= 0)
);
