-- How rows were split for modelling, and the evidence that nothing leaked.

CREATE TABLE ml_split_registry (
    split_config_id text NOT NULL,
    strategy split_strategy_type NOT NULL,
    train_ratio double precision NOT NULL DEFAULT 0.60,
    validation_ratio double precision NOT NULL DEFAULT 0.20,
    test_ratio double precision NOT NULL DEFAULT 0.15,
    holdout_ratio double precision NOT NULL DEFAULT 0.05,
    train_until date,
    validation_until date,
    test_until date,
    gap_days integer NOT NULL DEFAULT 7,
    random_state bigint,
    source_table text,
    created_by text,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT ml_split_registry_pk PRIMARY KEY (split_config_id),
    CONSTRAINT ml_split_registry_ratios_positive CHECK (
        train_ratio > 0 AND validation_ratio > 0 AND test_ratio > 0 AND holdout_ratio > 0
    ),
    CONSTRAINT ml_split_registry_ratios_sum CHECK (
        abs(train_ratio + validation_ratio + test_ratio + holdout_ratio - 1) <= 1e-6
    ),
    CONSTRAINT ml_split_registry_date_order CHECK (train_until < validation_until AND validation_until < test_until),
    CONSTRAINT ml_split_registry_gap_days_range CHECK (gap_days >= 0)
);

CREATE TABLE ml_patient_split_assignments (
    split_config_id text NOT NULL,
    patient_id text NOT NULL,
    data_split data_split_type NOT NULL,
    index_date date,
    assigned_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT ml_patient_split_assignments_pk PRIMARY KEY (split_config_id, patient_id),
    CONSTRAINT ml_patient_split_assignments_config_fk FOREIGN KEY (split_config_id)
        REFERENCES ml_split_registry (split_config_id)
);

CREATE INDEX ml_patient_split_assignments_patient_idx ON ml_patient_split_assignments (patient_id);
CREATE INDEX ml_patient_split_assignments_split_idx ON ml_patient_split_assignments (split_config_id, data_split);

-- A journey may not contradict the assignment of its patient, whichever of the two is written last.
CREATE FUNCTION refuse_split_contradiction() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('refuse_split_contradiction'));
    IF EXISTS (
        SELECT FROM written
        JOIN patient_journeys AS journey USING (patient_id, split_config_id)
        JOIN ml_patient_split_assignments AS assigned USING (patient_id, split_config_id)
        WHERE journey.data_split <> assigned.data_split
    ) THEN
        RAISE EXCEPTION '%: data_split contradicts the assignment of the patient', TG_TABLE_NAME
            USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = TG_TABLE_NAME || '_assigned_split';
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER patient_journeys_assigned_split_insert AFTER INSERT ON patient_journeys
    REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION refuse_split_contradiction();
CREATE TRIGGER patient_journeys_assigned_split_update AFTER UPDATE ON patient_journeys
    REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION refuse_split_contradiction();
CREATE TRIGGER ml_patient_split_assignments_assigned_split_insert AFTER INSERT ON ml_patient_split_assignments
    REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION refuse_split_contradiction();
CREATE TRIGGER ml_patient_split_assignments_assigned_split_update AFTER UPDATE ON ml_patient_split_assignments
    REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION refuse_split_contradiction();

CREATE TABLE ml_preprocessing_metadata (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    split_config_id text NOT NULL,
    feature_name text NOT NULL,
    transformation text NOT NULL,
    parameters jsonb NOT NULL,
    computed_on_split data_split_type NOT NULL DEFAULT 'train',
    n_rows bigint,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT ml_preprocessing_metadata_pk PRIMARY KEY (id),
    CONSTRAINT ml_preprocessing_metadata_config_fk FOREIGN KEY (split_config_id)
        REFERENCES ml_split_registry (split_config_id),
    CONSTRAINT ml_preprocessing_metadata_train_only CHECK (computed_on_split = 'train'),
    CONSTRAINT ml_preprocessing_metadata_n_rows_range CHECK (n_rows >= 0),
    CONSTRAINT ml_preprocessing_metadata_feature_unique UNIQUE (split_config_id, feature_name, transformation)
);

CREATE TABLE ml_leakage_audit (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    split_config_id text,
    table_name text NOT NULL,
    check_type text NOT NULL,
    leakage_detected boolean NOT NULL,
    severity text NOT NULL,
    affected_rows bigint NOT NULL DEFAULT 0,
    details jsonb NOT NULL DEFAULT '{}',
    trace_id text,
    audited_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT ml_leakage_audit_pk PRIMARY KEY (id),
    CONSTRAINT ml_leakage_audit_config_fk FOREIGN KEY (split_config_id) REFERENCES ml_split_registry (split_config_id),
    CONSTRAINT ml_leakage_audit_check_type_allowed CHECK (
        check_type IN ('temporal', 'target', 'train_test_overlap', 'preprocessing')
    ),
    CONSTRAINT ml_leakage_audit_severity_allowed CHECK (severity IN ('info', 'warning', 'error', 'critical')),
    CONSTRAINT ml_leakage_audit_affected_rows_range CHECK (affected_rows >= 0)
);

CREATE INDEX ml_leakage_audit_table_idx ON ml_leakage_audit (table_name, audited_at);
