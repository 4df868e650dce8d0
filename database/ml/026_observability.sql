-- Feedback and metrics of traces. Spans are in ml_observability_spans.

CREATE TABLE ml_observability_feedback (
    feedback_id uuid NOT NULL,
    trace_id text NOT NULL,
    span_id text,
    name text NOT NULL,
    value double precision NOT NULL,
    reason text,
    category text,
    source text NOT NULL DEFAULT 'sdk',
    recorded_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT ml_observability_feedback_pk PRIMARY KEY (feedback_id),
    CONSTRAINT ml_observability_feedback_name_present CHECK (name <> ''),
    CONSTRAINT ml_observability_feedback_value_finite CHECK (
        value > '-Infinity'::double precision AND value < 'Infinity'::double precision
    ),
    CONSTRAINT ml_observability_feedback_source_allowed CHECK (source IN ('ui', 'sdk', 'online_scoring'))
);

CREATE INDEX ml_observability_feedback_trace_id_idx ON ml_observability_feedback (trace_id);
CREATE INDEX ml_observability_feedback_recorded_at_idx ON ml_observability_feedback (recorded_at);

CREATE TABLE ml_observability_metrics (
    metric_id uuid NOT NULL,
    trace_id text,
    span_id text,
    name text NOT NULL,
    value double precision NOT NULL,
    metadata jsonb NOT NULL DEFAULT '{}',
    recorded_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT ml_observability_metrics_pk PRIMARY KEY (metric_id),
    CONSTRAINT ml_observability_metrics_name_present CHECK (name <> ''),
    CONSTRAINT ml_observability_metrics_value_finite CHECK (
        value > '-Infinity'::double precision AND value < 'Infinity'::double precision
    )
);

CREATE INDEX ml_observability_metrics_trace_id_idx ON ml_observability_metrics (trace_id);
CREATE INDEX ml_observability_metrics_name_idx ON ml_observability_metrics (name, recorded_at);
