-- Which wording does each component use, which did it use before, and which is on trial?

CREATE TABLE prompt_versions (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    component text NOT NULL,
    version integer NOT NULL,
    content text NOT NULL,
    content_sha256 text NOT NULL,
    parent_version integer,
    status text NOT NULL DEFAULT 'candidate',
    origin text NOT NULL,
    source_action_id uuid,
    offline_score double precision,
    baseline_score double precision,
    activated_at timestamptz,
    activated_by text,
    retired_at timestamptz,
    rollback_reason text,
    created_by text,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT prompt_versions_pk PRIMARY KEY (id),
    CONSTRAINT prompt_versions_version_unique UNIQUE (component, version),
    CONSTRAINT prompt_versions_parent_fk FOREIGN KEY (component, parent_version)
        REFERENCES prompt_versions (component, version),
    CONSTRAINT prompt_versions_parent_differs CHECK (parent_version <> version),
    CONSTRAINT prompt_versions_version_range CHECK (version >= 1),
    CONSTRAINT prompt_versions_content_digest CHECK (
        content_sha256 = encode(sha256(convert_to(content, 'UTF8')), 'hex')
    ),
    CONSTRAINT prompt_versions_status_allowed CHECK (
        status IN ('candidate', 'approved', 'active', 'retired', 'rolled_back', 'rejected')
    ),
    CONSTRAINT prompt_versions_origin_allowed CHECK (origin IN ('file', 'improvement', 'gepa')),
    CONSTRAINT prompt_versions_active_time CHECK (status <> 'active' OR activated_at IS NOT NULL)
);

CREATE UNIQUE INDEX prompt_versions_active_idx ON prompt_versions (component) WHERE status = 'active';

CREATE TABLE prompt_ab_tests (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    component text NOT NULL,
    control_version integer NOT NULL,
    treatment_version integer NOT NULL,
    split double precision NOT NULL,
    target_samples integer NOT NULL,
    alpha double precision NOT NULL DEFAULT 0.05,
    min_hours double precision NOT NULL DEFAULT 24,
    max_hours double precision NOT NULL DEFAULT 168,
    status text NOT NULL DEFAULT 'running',
    winner text,
    looks jsonb NOT NULL DEFAULT '[]',
    started_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    CONSTRAINT prompt_ab_tests_pk PRIMARY KEY (id),
    CONSTRAINT prompt_ab_tests_control_fk FOREIGN KEY (component, control_version)
        REFERENCES prompt_versions (component, version),
    CONSTRAINT prompt_ab_tests_treatment_fk FOREIGN KEY (component, treatment_version)
        REFERENCES prompt_versions (component, version),
    CONSTRAINT prompt_ab_tests_versions_differ CHECK (control_version <> treatment_version),
    CONSTRAINT prompt_ab_tests_split_range CHECK (split > 0 AND split < 1),
    CONSTRAINT prompt_ab_tests_target_samples_range CHECK (target_samples > 0),
    CONSTRAINT prompt_ab_tests_alpha_range CHECK (alpha > 0 AND alpha < 1),
    CONSTRAINT prompt_ab_tests_hours_order CHECK (min_hours >= 0 AND max_hours >= min_hours),
    CONSTRAINT prompt_ab_tests_status_allowed CHECK (status IN ('running', 'completed', 'stopped')),
    CONSTRAINT prompt_ab_tests_winner_allowed CHECK (winner IN ('control', 'treatment', 'none')),
    CONSTRAINT prompt_ab_tests_time_order CHECK (ended_at >= started_at)
);

CREATE UNIQUE INDEX prompt_ab_tests_running_idx ON prompt_ab_tests (component) WHERE status = 'running';

CREATE TABLE prompt_ab_observations (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    test_id uuid NOT NULL,
    unit_id text NOT NULL,
    variant text NOT NULL,
    score double precision NOT NULL,
    latency_ms double precision,
    trace_id text,
    observed_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT prompt_ab_observations_pk PRIMARY KEY (id),
    CONSTRAINT prompt_ab_observations_test_fk FOREIGN KEY (test_id) REFERENCES prompt_ab_tests (id),
    CONSTRAINT prompt_ab_observations_variant_allowed CHECK (variant IN ('control', 'treatment')),
    CONSTRAINT prompt_ab_observations_score_finite CHECK (score > '-Infinity' AND score < 'Infinity'),
    CONSTRAINT prompt_ab_observations_latency_ms_range CHECK (latency_ms >= 0)
);

CREATE INDEX prompt_ab_observations_test_idx ON prompt_ab_observations (test_id, variant);

-- Makes a version the active one and retires the one before, both or neither; the one before becomes its parent
-- unless it has one. Activating the active version again changes nothing.
CREATE FUNCTION activate_prompt_version(component text, version integer, actor text) RETURNS prompt_versions
LANGUAGE plpgsql AS $$
DECLARE
    chosen prompt_versions;
    current prompt_versions;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('prompt:' || activate_prompt_version.component));
    SELECT * INTO chosen FROM prompt_versions AS p
    WHERE p.component = activate_prompt_version.component AND p.version = activate_prompt_version.version FOR UPDATE;
    IF chosen.id IS NULL THEN
        RAISE EXCEPTION 'prompt % has no version %', activate_prompt_version.component, activate_prompt_version.version
            USING ERRCODE = 'no_data_found';
    ELSIF chosen.status = 'active' THEN
        RETURN chosen;
    ELSIF chosen.status IN ('rejected', 'rolled_back') THEN
        RAISE EXCEPTION 'version % of prompt % was % and cannot be activated', chosen.version, chosen.component, chosen.status
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    UPDATE prompt_versions AS p SET status = 'retired', retired_at = now()
    WHERE p.component = chosen.component AND p.status = 'active' RETURNING p.* INTO current;
    UPDATE prompt_versions AS p
    SET status = 'active', activated_at = now(), activated_by = actor, retired_at = NULL,
        parent_version = coalesce(p.parent_version, current.version)
    WHERE p.id = chosen.id RETURNING p.* INTO chosen;
    RETURN chosen;
END
$$;

-- Takes the active version back and makes its parent active again, both or neither.
CREATE FUNCTION rollback_prompt_version(component text, reason text) RETURNS prompt_versions
LANGUAGE plpgsql AS $$
DECLARE
    current prompt_versions;
    restored prompt_versions;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('prompt:' || rollback_prompt_version.component));
    SELECT * INTO current FROM prompt_versions AS p
    WHERE p.component = rollback_prompt_version.component AND p.status = 'active' FOR UPDATE;
    IF current.id IS NULL THEN
        RAISE EXCEPTION 'prompt % has no active version', rollback_prompt_version.component USING ERRCODE = 'no_data_found';
    ELSIF current.parent_version IS NULL THEN
        RAISE EXCEPTION 'version % of prompt % has no parent to go back to', current.version, current.component
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    UPDATE prompt_versions AS p SET status = 'rolled_back', retired_at = now(), rollback_reason = reason
    WHERE p.id = current.id;
    UPDATE prompt_versions AS p SET status = 'active', activated_at = now(), retired_at = NULL
    WHERE p.component = current.component AND p.version = current.parent_version RETURNING p.* INTO restored;
    RETURN restored;
END
$$;
