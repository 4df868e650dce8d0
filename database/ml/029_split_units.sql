-- What a split keeps together, and how its patients and transformations are stored: whole, or not at all.

ALTER TABLE ml_split_registry ADD COLUMN unit text;

-- Only patients are kept together by name.
UPDATE ml_split_registry SET unit = 'patient_id'
WHERE split_config_id IN (SELECT split_config_id FROM ml_patient_split_assignments);

-- Records the splits of many patients and returns how many were new; runs that do so at once agree.
CREATE FUNCTION assign_patient_splits(config text, patients text[], splits text[], index_dates date[]) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    added bigint;
    moved bigint;
BEGIN
    -- In one order, so that two runs wait for one another and never both.
    INSERT INTO ml_patient_split_assignments (split_config_id, patient_id, data_split, index_date)
    SELECT config, given.patient_id, given.data_split::data_split_type, given.index_date
    FROM unnest(patients, splits, index_dates) AS given (patient_id, data_split, index_date)
    ORDER BY given.patient_id
    ON CONFLICT (split_config_id, patient_id) DO NOTHING;
    GET DIAGNOSTICS added = ROW_COUNT;
    SELECT count(*) INTO moved
    FROM unnest(patients, splits) AS given (patient_id, data_split)
    JOIN ml_patient_split_assignments AS kept ON kept.split_config_id = config AND kept.patient_id = given.patient_id
    WHERE kept.data_split <> given.data_split::data_split_type;
    IF moved > 0 THEN
        RAISE EXCEPTION '% patients have another split in ''%''; a patient has one: plan a new split', moved, config
            USING ERRCODE = 'check_violation', TABLE = 'ml_patient_split_assignments';
    END IF;
    RETURN added;
END
$$;

-- Puts the transformations of one run in the place of those of an earlier run with the same split.
CREATE FUNCTION replace_preprocessing(config text, fitted jsonb) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('preprocessing:' || config));
    DELETE FROM ml_preprocessing_metadata WHERE split_config_id = config;
    INSERT INTO ml_preprocessing_metadata
        (split_config_id, feature_name, transformation, parameters, computed_on_split, n_rows)
    SELECT config, given.feature_name, given.transformation, given.parameters, given.computed_on_split, given.n_rows
    FROM jsonb_to_recordset(fitted) AS given (
        feature_name text, transformation text, parameters jsonb, computed_on_split data_split_type, n_rows bigint
    );
END
$$;
