-- Which feature views exist, when they were materialised, and when someone was warned that one is stale.

CREATE TABLE ml_feast_feature_views (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    name text NOT NULL,
    entities jsonb NOT NULL,
    ttl_seconds bigint,
    source text NOT NULL,
    schema jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT ml_feast_feature_views_pk PRIMARY KEY (id),
    CONSTRAINT ml_feast_feature_views_name_unique UNIQUE (name),
    CONSTRAINT ml_feast_feature_views_entities_array CHECK (jsonb_typeof(entities) = 'array'),
    CONSTRAINT ml_feast_feature_views_ttl_seconds_range CHECK (ttl_seconds > 0)
);

-- A job may be written before its view is registered, so feature_view names it without a foreign key.
CREATE TABLE ml_feast_materialization_jobs (
    job_id uuid NOT NULL DEFAULT gen_random_uuid(),
    feature_view text NOT NULL,
    mode text NOT NULL,
    window_start timestamptz NOT NULL,
    window_end timestamptz NOT NULL,
    rows bigint,
    status text NOT NULL,
    error_message text,
    started_at timestamptz NOT NULL,
    ended_at timestamptz,
    CONSTRAINT ml_feast_materialization_jobs_pk PRIMARY KEY (job_id),
    CONSTRAINT ml_feast_materialization_jobs_mode_allowed CHECK (mode IN ('full', 'incremental')),
    CONSTRAINT ml_feast_materialization_jobs_window_order CHECK (window_end >= window_start),
    CONSTRAINT ml_feast_materialization_jobs_rows_range CHECK (rows >= 0),
    CONSTRAINT ml_feast_materialization_jobs_status_allowed CHECK (status IN ('running', 'completed', 'failed')),
    CONSTRAINT ml_feast_materialization_jobs_completed_rows CHECK (
        status <> 'completed' OR (rows IS NOT NULL AND ended_at IS NOT NULL)
    ),
    CONSTRAINT ml_feast_materialization_jobs_failed_error CHECK (status <> 'failed' OR error_message IS NOT NULL),
    CONSTRAINT ml_feast_materialization_jobs_time_order CHECK (ended_at >= started_at)
);

CREATE INDEX ml_feast_materialization_jobs_view_idx ON ml_feast_materialization_jobs (feature_view, ended_at);

CREATE TABLE ml_feast_freshness_alerts (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    feature_view text NOT NULL,
    status text NOT NULL,
    age_hours double precision,
    sent_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT ml_feast_freshness_alerts_pk PRIMARY KEY (id),
    CONSTRAINT ml_feast_freshness_alerts_status_allowed CHECK (
        status IN ('FRESH', 'WARNING', 'STALE', 'EXPIRED', 'UNKNOWN')
    ),
    CONSTRAINT ml_feast_freshness_alerts_age_hours_range CHECK (age_hours >= 0)
);

CREATE INDEX ml_feast_freshness_alerts_view_idx ON ml_feast_freshness_alerts (feature_view, sent_at);
