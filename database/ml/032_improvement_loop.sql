-- What does a change go through, hop by hop, who answers with it meanwhile, and from which answers was it learnt?

-- One row for each hop of a change, never altered: each names the digest of the one before.
CREATE TABLE improvement_hops (
    action_id uuid NOT NULL,
    sequence integer NOT NULL,
    hop text NOT NULL,
    attempt integer NOT NULL,
    status action_status NOT NULL,
    actor text NOT NULL,
    parent_sha256 text,
    content_sha256 text,
    evidence jsonb NOT NULL,
    happened_at timestamptz NOT NULL,
    previous_sha256 text NOT NULL,
    entry_sha256 text NOT NULL,
    CONSTRAINT improvement_hops_pk PRIMARY KEY (action_id, sequence),
    CONSTRAINT improvement_hops_once UNIQUE (action_id, hop, attempt),
    CONSTRAINT improvement_hops_action_fk FOREIGN KEY (action_id) REFERENCES improvement_actions (action_id),
    CONSTRAINT improvement_hops_sequence_range CHECK (sequence >= 0),
    CONSTRAINT improvement_hops_hop_allowed CHECK (hop IN (
        'proposed', 'candidate', 'guarded', 'tested', 'approved', 'canary', 'promoted', 'measured', 'rolled_back',
        'closed'
    )),
    CONSTRAINT improvement_hops_attempt_range CHECK (attempt = 1 OR (attempt > 1 AND hop IN ('tested', 'measured'))),
    CONSTRAINT improvement_hops_actor_present CHECK (actor <> ''),
    CONSTRAINT improvement_hops_evidence_object CHECK (jsonb_typeof(evidence) = 'object'),
    CONSTRAINT improvement_hops_digests_pattern CHECK (
        previous_sha256 ~ '^[0-9a-f]{64}$' AND entry_sha256 ~ '^[0-9a-f]{64}$'
        AND parent_sha256 ~ '^[0-9a-f]{64}$' AND content_sha256 ~ '^[0-9a-f]{64}$'
    )
);

CREATE FUNCTION refuse_change_of_hops() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' AND NOT EXISTS (SELECT FROM improvement_hops) THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'improvement_hops is appended to, never changed: % refused', TG_OP
        USING ERRCODE = 'object_not_in_prerequisite_state';
END
$$;

CREATE TRIGGER improvement_hops_rows_stay BEFORE UPDATE OR DELETE ON improvement_hops
    FOR EACH ROW EXECUTE FUNCTION refuse_change_of_hops();
CREATE TRIGGER improvement_hops_table_stays BEFORE TRUNCATE ON improvement_hops
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_hops();

-- What a proposal says beside the change itself; ledger_sha256 is the digest of the last hop, so that hops cut off at
-- the end are missed.
ALTER TABLE improvement_actions
    ADD COLUMN cycle_id uuid,
    ADD COLUMN origin text,
    ADD COLUMN judged_by text,
    ADD COLUMN expected_gain double precision,
    ADD COLUMN evidence_ids text[] NOT NULL DEFAULT '{}',
    ADD COLUMN ledger_sha256 text,
    ADD CONSTRAINT improvement_actions_cycle_fk FOREIGN KEY (cycle_id) REFERENCES cognitive_cycles (cycle_id),
    ADD CONSTRAINT improvement_actions_origin_allowed CHECK (origin IN ('improvement', 'gepa')),
    ADD CONSTRAINT improvement_actions_judged_by_allowed CHECK (judged_by IN ('llm', 'heuristic', 'labels'));

-- SHA-256 over the hop's fields and its predecessor's digest, as a JSON array; time in UTC microseconds.
CREATE FUNCTION improvement_hop_digest(entry improvement_hops) RETURNS text
LANGUAGE sql STABLE STRICT AS $$
    SELECT encode(sha256(convert_to(jsonb_build_array(
        entry.action_id, entry.sequence, entry.hop, entry.attempt, entry.status, entry.actor, entry.parent_sha256,
        entry.content_sha256, entry.evidence, (extract(epoch FROM entry.happened_at) * 1000000)::bigint,
        entry.previous_sha256
    )::text, 'UTF8')), 'hex')
$$;

-- Appends one hop; the first one follows a digest of zeros. Writers of one change take turns at its row.
CREATE FUNCTION append_improvement_hop(
    action uuid, hop_name text, hop_attempt integer, acting text, before_sha256 text, after_sha256 text,
    evidence_found jsonb, at_time timestamptz
) RETURNS improvement_hops
LANGUAGE plpgsql AS $$
DECLARE
    changed improvement_actions;
    last_entry improvement_hops;
    entry improvement_hops;
BEGIN
    SELECT * INTO changed FROM improvement_actions AS known WHERE known.action_id = action FOR UPDATE;
    IF changed.action_id IS NULL THEN
        RAISE EXCEPTION 'no improvement action %', action USING ERRCODE = 'no_data_found';
    END IF;
    SELECT * INTO last_entry FROM improvement_hops AS known
    WHERE known.action_id = action ORDER BY known.sequence DESC LIMIT 1;
    entry.action_id := action;
    entry.sequence := coalesce(last_entry.sequence + 1, 0);
    entry.hop := hop_name;
    entry.attempt := hop_attempt;
    entry.status := changed.status;
    entry.actor := acting;
    entry.parent_sha256 := before_sha256;
    entry.content_sha256 := after_sha256;
    entry.evidence := evidence_found;
    entry.happened_at := coalesce(at_time, clock_timestamp());
    entry.previous_sha256 := coalesce(last_entry.entry_sha256, repeat('0', 64));
    entry.entry_sha256 := improvement_hop_digest(entry);
    INSERT INTO improvement_hops SELECT entry.*;
    UPDATE improvement_actions AS known SET ledger_sha256 = entry.entry_sha256 WHERE known.action_id = action;
    RETURN entry;
END
$$;

-- True when no hop is missing, every digest is what its fields give, and the last one is that of the action, which is
-- there.
CREATE FUNCTION verify_improvement_hops(action uuid) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT coalesce(bool_and(
        entry.sequence = entry.position - 1
        AND entry.previous_sha256 = entry.expected_previous
        AND entry.entry_sha256 = entry.digest
    ), true)
    AND EXISTS (
        SELECT FROM improvement_actions AS known
        WHERE known.action_id = action AND known.ledger_sha256 IS NOT DISTINCT FROM (
            SELECT hop.entry_sha256 FROM improvement_hops AS hop
            WHERE hop.action_id = action ORDER BY hop.sequence DESC LIMIT 1
        )
    )
    FROM (
        SELECT known.sequence, known.previous_sha256, known.entry_sha256, improvement_hop_digest(known) AS digest,
               row_number() OVER in_order AS position,
               coalesce(lag(known.entry_sha256) OVER in_order, repeat('0', 64)) AS expected_previous
        FROM improvement_hops AS known WHERE known.action_id = action
        WINDOW in_order AS (ORDER BY known.sequence)
    ) AS entry
$$;

-- One row: whether somebody has stopped all changes.
CREATE TABLE improvement_switch (
    singleton boolean NOT NULL DEFAULT true,
    paused boolean NOT NULL DEFAULT false,
    changed_by text,
    changed_at timestamptz,
    reason text,
    CONSTRAINT improvement_switch_pk PRIMARY KEY (singleton),
    CONSTRAINT improvement_switch_single CHECK (singleton),
    CONSTRAINT improvement_switch_author_presence CHECK (
        NOT paused OR (changed_by IS NOT NULL AND changed_at IS NOT NULL AND reason IS NOT NULL)
    )
);

INSERT INTO improvement_switch (singleton) VALUES (true);

CREATE FUNCTION set_improvement_switch(stop boolean, actor text, why text) RETURNS improvement_switch
LANGUAGE sql AS $$
    UPDATE improvement_switch SET paused = stop, changed_by = actor, changed_at = clock_timestamp(), reason = why
    RETURNING improvement_switch.*
$$;

-- What a component was given for an answer, so that it can be given the same again with another prompt.
CREATE TABLE interaction_inputs (
    interaction_id uuid NOT NULL,
    component text NOT NULL,
    inputs jsonb NOT NULL,
    CONSTRAINT interaction_inputs_pk PRIMARY KEY (interaction_id, component),
    CONSTRAINT interaction_inputs_interaction_fk FOREIGN KEY (interaction_id)
        REFERENCES rag_interactions (interaction_id) ON DELETE CASCADE,
    CONSTRAINT interaction_inputs_object CHECK (jsonb_typeof(inputs) = 'object')
);

-- An answer is learnt from by one cycle: claimed, then learnt from, or given back.
ALTER TABLE rag_interactions
    ADD COLUMN learning_cycle_id uuid,
    ADD COLUMN learning_claimed_at timestamptz,
    ADD COLUMN learnt_at timestamptz,
    ADD CONSTRAINT rag_interactions_learning_cycle_fk FOREIGN KEY (learning_cycle_id)
        REFERENCES cognitive_cycles (cycle_id),
    ADD CONSTRAINT rag_interactions_learning_claim CHECK (
        (learning_cycle_id IS NULL) = (learning_claimed_at IS NULL)
    ),
    ADD CONSTRAINT rag_interactions_learnt_order CHECK (
        learnt_at IS NULL OR (learning_claimed_at IS NOT NULL AND learnt_at >= learning_claimed_at)
    );

CREATE INDEX rag_interactions_learning_cycle_idx ON rag_interactions (learning_cycle_id);
CREATE INDEX rag_interactions_unlearnt_idx ON rag_interactions (created_at) WHERE learning_cycle_id IS NULL;
CREATE INDEX rag_interactions_retrieval_config_idx ON rag_interactions (retrieval_config_id);
CREATE INDEX learning_signals_interaction_idx ON learning_signals (interaction_id);

-- A cycle that was killed is found again, and no second one runs beside it.
CREATE UNIQUE INDEX cognitive_cycles_running_idx ON cognitive_cycles (status) WHERE status = 'running';

-- A lesson is learnt once from its source; success_rate is the mean over times_measured outcomes.
ALTER TABLE experiment_knowledge_store
    ADD COLUMN times_measured integer NOT NULL DEFAULT 0,
    ADD CONSTRAINT experiment_knowledge_store_times_measured_range CHECK (times_measured >= 0),
    ADD CONSTRAINT experiment_knowledge_store_source_unique UNIQUE (source_type, source_id, lesson_type);

CREATE INDEX experiment_knowledge_store_change_idx
    ON experiment_knowledge_store ((knowledge_json ->> 'change_sha256'));

ALTER TABLE retrieval_configurations
    ADD COLUMN status text NOT NULL DEFAULT 'candidate',
    ADD COLUMN source_action_id uuid,
    ADD COLUMN activated_at timestamptz,
    ADD COLUMN activated_by text,
    ADD COLUMN retired_at timestamptz,
    ADD COLUMN rollback_reason text;

UPDATE retrieval_configurations SET status = 'active', activated_at = created_at WHERE is_active;

ALTER TABLE retrieval_configurations
    ADD CONSTRAINT retrieval_configurations_status_allowed CHECK (
        status IN ('candidate', 'approved', 'active', 'retired', 'rolled_back', 'rejected')
    ),
    ADD CONSTRAINT retrieval_configurations_active_agrees CHECK (is_active = (status = 'active')),
    ADD CONSTRAINT retrieval_configurations_action_unique UNIQUE (source_action_id);

CREATE UNIQUE INDEX prompt_versions_action_idx ON prompt_versions (source_action_id);

-- Makes settings the active ones and retires those before, both or neither; those before become their parent unless
-- they have one. Activating the active settings again changes nothing.
CREATE FUNCTION activate_retrieval_configuration(wanted integer, actor text) RETURNS retrieval_configurations
LANGUAGE plpgsql AS $$
DECLARE
    chosen retrieval_configurations;
    current retrieval_configurations;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('retrieval configuration'));
    SELECT * INTO chosen FROM retrieval_configurations AS r WHERE r.version = wanted FOR UPDATE;
    IF chosen.config_id IS NULL THEN
        RAISE EXCEPTION 'there are no retrieval settings %', wanted USING ERRCODE = 'no_data_found';
    ELSIF chosen.status = 'active' THEN
        RETURN chosen;
    ELSIF chosen.status IN ('rejected', 'rolled_back') THEN
        RAISE EXCEPTION 'retrieval settings % were % and cannot be activated', wanted, chosen.status
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    UPDATE retrieval_configurations AS r SET status = 'retired', is_active = false, retired_at = now()
    WHERE r.is_active RETURNING r.* INTO current;
    UPDATE retrieval_configurations AS r
    SET status = 'active', is_active = true, activated_at = now(), activated_by = actor, retired_at = NULL,
        parent_id = coalesce(r.parent_id, current.config_id)
    WHERE r.config_id = chosen.config_id RETURNING r.* INTO chosen;
    RETURN chosen;
END
$$;

-- Takes the active settings back and makes those before active again, both or neither: their parent, or where that was
-- taken back itself, those retired last. With ``keep``, only where they are among so many that were active last.
CREATE FUNCTION rollback_retrieval_configuration(reason text, keep integer DEFAULT NULL)
RETURNS retrieval_configurations
LANGUAGE plpgsql AS $$
DECLARE
    current retrieval_configurations;
    restored retrieval_configurations;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('retrieval configuration'));
    SELECT * INTO current FROM retrieval_configurations AS r WHERE r.is_active FOR UPDATE;
    IF current.config_id IS NULL THEN
        RAISE EXCEPTION 'no retrieval settings are active' USING ERRCODE = 'no_data_found';
    END IF;
    SELECT * INTO restored FROM retrieval_configurations AS r WHERE r.status = 'retired'
    ORDER BY r.config_id IS NOT DISTINCT FROM current.parent_id DESC, r.retired_at DESC, r.version DESC LIMIT 1;
    IF current.parent_id IS NULL OR restored.config_id IS NULL THEN
        RAISE EXCEPTION 'retrieval settings % have no parent to go back to', current.version
            USING ERRCODE = 'object_not_in_prerequisite_state';
    ELSIF keep <= (
        SELECT count(*) + 1 FROM retrieval_configurations AS r
        WHERE r.status = 'retired' AND r.retired_at > restored.retired_at
    ) THEN
        RAISE EXCEPTION 'retrieval settings % are not among the % kept', restored.version, keep
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    UPDATE retrieval_configurations AS r
    SET status = 'rolled_back', is_active = false, retired_at = now(), rollback_reason = reason
    WHERE r.config_id = current.config_id;
    UPDATE retrieval_configurations AS r
    SET status = 'active', is_active = true, activated_at = now(), retired_at = NULL
    WHERE r.config_id = restored.config_id RETURNING r.* INTO restored;
    RETURN restored;
END
$$;

DROP FUNCTION rollback_prompt_version(text, text);

-- Takes the active version back and makes the one before active again, both or neither: its parent, or where that was
-- taken back itself, the one retired last. With ``keep``, only where it is among so many that were active last.
CREATE FUNCTION rollback_prompt_version(component text, reason text, keep integer DEFAULT NULL)
RETURNS prompt_versions
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
    END IF;
    SELECT * INTO restored FROM prompt_versions AS p
    WHERE p.component = current.component AND p.status = 'retired'
    ORDER BY p.version IS NOT DISTINCT FROM current.parent_version DESC, p.retired_at DESC, p.version DESC LIMIT 1;
    IF current.parent_version IS NULL OR restored.id IS NULL THEN
        RAISE EXCEPTION 'version % of prompt % has no parent to go back to', current.version, current.component
            USING ERRCODE = 'object_not_in_prerequisite_state';
    ELSIF keep <= (
        SELECT count(*) + 1 FROM prompt_versions AS p
        WHERE p.component = current.component AND p.status = 'retired' AND p.retired_at > restored.retired_at
    ) THEN
        RAISE EXCEPTION 'version % of prompt % is not among the % kept', restored.version, current.component, keep
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    UPDATE prompt_versions AS p SET status = 'rolled_back', retired_at = now(), rollback_reason = reason
    WHERE p.id = current.id;
    UPDATE prompt_versions AS p SET status = 'active', activated_at = now(), retired_at = NULL
    WHERE p.id = restored.id RETURNING p.* INTO restored;
    RETURN restored;
END
$$;

-- A test compares two versions of a prompt or two retrieval settings. recorded_at is the database's own time:
-- answers since then are observed, whatever clock the rest goes by.
ALTER TABLE prompt_ab_tests
    ALTER COLUMN control_version DROP NOT NULL,
    ALTER COLUMN treatment_version DROP NOT NULL,
    ADD COLUMN control_retrieval integer,
    ADD COLUMN treatment_retrieval integer,
    ADD COLUMN action_id uuid,
    ADD COLUMN min_per_arm integer NOT NULL DEFAULT 30,
    ADD COLUMN recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ADD CONSTRAINT prompt_ab_tests_control_retrieval_fk FOREIGN KEY (control_retrieval)
        REFERENCES retrieval_configurations (version),
    ADD CONSTRAINT prompt_ab_tests_treatment_retrieval_fk FOREIGN KEY (treatment_retrieval)
        REFERENCES retrieval_configurations (version),
    ADD CONSTRAINT prompt_ab_tests_action_fk FOREIGN KEY (action_id) REFERENCES improvement_actions (action_id),
    ADD CONSTRAINT prompt_ab_tests_action_unique UNIQUE (action_id),
    ADD CONSTRAINT prompt_ab_tests_one_pair CHECK (
        num_nonnulls(control_version, treatment_version) IN (0, 2)
        AND num_nonnulls(control_retrieval, treatment_retrieval) IN (0, 2)
        AND num_nonnulls(control_version, control_retrieval) = 1
    ),
    ADD CONSTRAINT prompt_ab_tests_retrieval_differs CHECK (control_retrieval <> treatment_retrieval),
    ADD CONSTRAINT prompt_ab_tests_min_per_arm_range CHECK (min_per_arm > 0),
    ADD CONSTRAINT prompt_ab_tests_looks_array CHECK (jsonb_typeof(looks) = 'array');

CREATE UNIQUE INDEX prompt_ab_observations_once_idx
    ON prompt_ab_observations (test_id, unit_id, (coalesce(trace_id, '')));

-- Where a unit stands in a test, 0 to 9999: SHA-256 of "test:unit" modulo 10 000. Units below split * 10 000 get the
-- treatment, the same ones in every process.
CREATE FUNCTION canary_place(test uuid, unit text) RETURNS integer
LANGUAGE plpgsql IMMUTABLE STRICT AS $$
DECLARE
    digest bytea := sha256(convert_to(test::text || ':' || unit, 'UTF8'));
    place integer := 0;
BEGIN
    FOR i IN 0 .. 31 LOOP
        place := (place * 256 + get_byte(digest, i)) % 10000;
    END LOOP;
    RETURN place;
END
$$;

-- Observes the evaluated answers of a running test, each once: rubric points for prompts, the RAGAS mean for retrieval.
-- An answer counts where its unit was given the variant that it should have had. Returns how many are new.
CREATE FUNCTION collect_canary_observations(test uuid) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    collected integer;
BEGIN
    INSERT INTO prompt_ab_observations (test_id, unit_id, variant, score, latency_ms, trace_id, observed_at)
    SELECT canary.id, answer.unit, answer.variant, judged.score, answer.latency_ms, answer.trace_id, answer.created_at
    FROM prompt_ab_tests AS canary
    LEFT JOIN retrieval_configurations AS control ON control.version = canary.control_retrieval
    LEFT JOIN retrieval_configurations AS treatment ON treatment.version = canary.treatment_retrieval
    CROSS JOIN LATERAL (
        SELECT given.interaction_id, given.trace_id, given.latency_ms, given.created_at,
               coalesce(given.session_id::text, given.trace_id) AS unit,
               CASE
                   WHEN given.prompt_versions ->> canary.component = canary.control_version::text
                       OR given.retrieval_config_id = control.config_id THEN 'control'
                   WHEN given.prompt_versions ->> canary.component = canary.treatment_version::text
                       OR given.retrieval_config_id = treatment.config_id THEN 'treatment'
               END AS variant
        FROM rag_interactions AS given
        WHERE given.created_at >= canary.recorded_at AND given.evaluated_at IS NOT NULL
    ) AS answer
    CROSS JOIN LATERAL (
        SELECT CASE WHEN canary.control_version IS NULL THEN known.ragas_weighted ELSE known.rubric_weighted END AS score
        FROM learning_signals AS known
        WHERE known.interaction_id = answer.interaction_id AND known.signal_type = 'evaluation'
        ORDER BY known.created_at DESC, known.signal_id LIMIT 1
    ) AS judged
    WHERE canary.id = test AND canary.status = 'running' AND judged.score IS NOT NULL
        AND answer.variant = CASE
            WHEN canary_place(canary.id, answer.unit) < canary.split * 10000 THEN 'treatment' ELSE 'control'
        END
    ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS collected = ROW_COUNT;
    RETURN collected;
END
$$;
