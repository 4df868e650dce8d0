-- How are experiments, studies and stages written whole, however many trainings and readers there are at once?

-- The id of the experiment of that name, made where there is none. A row made while MLflow was away gets its
-- MLflow id later; an experiment that MLflow made anew is another row.
CREATE FUNCTION ensure_ml_experiment(given jsonb) RETURNS uuid
LANGUAGE plpgsql AS $$
DECLARE
    wanted ml_experiments := jsonb_populate_record(NULL::ml_experiments, given);
    kept ml_experiments;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('ml_experiment:' || wanted.experiment_name));
    SELECT * INTO kept FROM ml_experiments AS other
    WHERE other.mlflow_experiment_id = wanted.mlflow_experiment_id AND other.experiment_name <> wanted.experiment_name;
    IF FOUND THEN
        RAISE EXCEPTION 'MLflow experiment % is recorded as ''%'', not ''%''; keep one database for each MLflow store',
            wanted.mlflow_experiment_id, kept.experiment_name, wanted.experiment_name USING ERRCODE = 'unique_violation';
    END IF;
    SELECT * INTO kept FROM ml_experiments AS experiment
    WHERE experiment.experiment_name = wanted.experiment_name
        AND coalesce(experiment.mlflow_experiment_id = wanted.mlflow_experiment_id, true)
    ORDER BY (experiment.mlflow_experiment_id IS NULL), experiment.created_at DESC, experiment.id
    LIMIT 1;
    IF NOT FOUND THEN
        INSERT INTO ml_experiments (
            experiment_name, mlflow_experiment_id, description, prediction_target, target_population,
            observation_window_days, prediction_horizon_days, minimum_auc, minimum_precision_at_k, maximum_fpr,
            brand, region, selection_strategy, created_by
        ) VALUES (
            wanted.experiment_name, wanted.mlflow_experiment_id, wanted.description, wanted.prediction_target,
            wanted.target_population, wanted.observation_window_days, wanted.prediction_horizon_days,
            wanted.minimum_auc, wanted.minimum_precision_at_k, wanted.maximum_fpr, wanted.brand, wanted.region,
            wanted.selection_strategy, wanted.created_by
        ) RETURNING * INTO kept;
    ELSIF kept.prediction_target <> wanted.prediction_target THEN
        RAISE EXCEPTION 'experiment ''%'' predicts ''%'', not ''%''; give the other target an experiment of its own',
            kept.experiment_name, kept.prediction_target, wanted.prediction_target USING ERRCODE = 'check_violation';
    ELSIF (kept.brand, kept.region) IS DISTINCT FROM (wanted.brand, wanted.region) THEN
        RAISE EXCEPTION 'experiment ''%'' is of %, %, not of %, %; give other rows an experiment of their own',
            kept.experiment_name, coalesce(kept.brand::text, 'all brands'), coalesce(kept.region::text, 'all regions'),
            coalesce(wanted.brand::text, 'all brands'), coalesce(wanted.region::text, 'all regions')
            USING ERRCODE = 'check_violation';
    ELSIF kept.mlflow_experiment_id IS NULL AND wanted.mlflow_experiment_id IS NOT NULL THEN
        UPDATE ml_experiments SET mlflow_experiment_id = wanted.mlflow_experiment_id, updated_at = now()
        WHERE id = kept.id;
    END IF;
    RETURN kept.id;
END
$$;

-- Writes a study and all its trials, in place of what was known of the study of that name. Finished trials never become
-- fewer, so a save with fewer than are stored is an older one: it gives the study its experiment at most.
CREATE FUNCTION save_hpo_study(study jsonb, trials jsonb) RETURNS uuid
LANGUAGE plpgsql AS $$
DECLARE
    given ml_hpo_studies := jsonb_populate_record(NULL::ml_hpo_studies, study);
    kept uuid;
BEGIN
    IF coalesce(given.n_trials, 0) IS DISTINCT FROM jsonb_array_length(trials) THEN
        RAISE EXCEPTION 'study ''%'' counts % trials, and % are given; save it with all of them',
            given.study_name, coalesce(given.n_trials, 0), jsonb_array_length(trials) USING ERRCODE = 'check_violation';
    END IF;
    INSERT INTO ml_hpo_studies AS stored (
        study_name, experiment_id, algorithm_name, problem_type, direction, sampler_name, pruner_name, metric,
        search_space, fixed_params, n_trials, n_completed, n_pruned, n_failed, best_trial_number, best_value,
        best_params, duration_seconds, started_at, completed_at, status, error_message
    ) VALUES (
        given.study_name, given.experiment_id, given.algorithm_name, given.problem_type, given.direction,
        given.sampler_name, given.pruner_name, given.metric, given.search_space, coalesce(given.fixed_params, '{}'),
        coalesce(given.n_trials, 0), coalesce(given.n_completed, 0), coalesce(given.n_pruned, 0),
        coalesce(given.n_failed, 0), given.best_trial_number, given.best_value, given.best_params,
        given.duration_seconds, given.started_at, given.completed_at, given.status, given.error_message
    )
    ON CONFLICT (study_name) DO UPDATE SET
        experiment_id = coalesce(excluded.experiment_id, stored.experiment_id), algorithm_name = excluded.algorithm_name,
        problem_type = excluded.problem_type, direction = excluded.direction, sampler_name = excluded.sampler_name,
        pruner_name = excluded.pruner_name, metric = excluded.metric, search_space = excluded.search_space,
        fixed_params = excluded.fixed_params, n_trials = excluded.n_trials, n_completed = excluded.n_completed,
        n_pruned = excluded.n_pruned, n_failed = excluded.n_failed, best_trial_number = excluded.best_trial_number,
        best_value = excluded.best_value, best_params = excluded.best_params,
        duration_seconds = excluded.duration_seconds, started_at = excluded.started_at,
        completed_at = excluded.completed_at, status = excluded.status, error_message = excluded.error_message
    WHERE stored.n_trials <= excluded.n_trials
    RETURNING stored.id INTO kept;
    IF NOT FOUND THEN
        UPDATE ml_hpo_studies AS stored SET experiment_id = coalesce(stored.experiment_id, given.experiment_id)
        WHERE stored.study_name = given.study_name RETURNING stored.id INTO kept;
        RETURN kept;
    END IF;
    DELETE FROM ml_hpo_trials AS trial WHERE trial.study_id = kept;
    INSERT INTO ml_hpo_trials (
        study_id, trial_number, state, params, value, intermediate_values, started_at, completed_at,
        duration_seconds, error_message, attrs
    )
    SELECT kept, trial.trial_number, trial.state, trial.params, trial.value, coalesce(trial.intermediate_values, '{}'),
           trial.started_at, trial.completed_at, trial.duration_seconds, trial.error_message, coalesce(trial.attrs, '{}')
    FROM jsonb_populate_recordset(NULL::ml_hpo_trials, trials) AS trial;
    RETURN kept;
END
$$;

-- A version belongs to the run that registered it first, however many register at once.
CREATE FUNCTION ml_model_registry_keeps_run() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'version % of model ''%'' is recorded with run %, not %; keep one database for each MLflow store',
        old.model_version, old.model_name, coalesce(old.mlflow_run_id, 'none'), coalesce(new.mlflow_run_id, 'none')
        USING ERRCODE = 'unique_violation';
END
$$;
CREATE TRIGGER ml_model_registry_keeps_run_update BEFORE UPDATE ON ml_model_registry
    FOR EACH ROW WHEN (old.mlflow_run_id IS DISTINCT FROM new.mlflow_run_id)
    EXECUTE FUNCTION ml_model_registry_keeps_run();

-- Moves one version to a stage and gives its row. Staging, shadow and production hold one version each: the one that
-- was there is set aside, and the champion is the version in production. Readers see all of it or nothing.
CREATE FUNCTION move_model_stage(
    name text, version text, to_stage model_stage_enum, approver text DEFAULT NULL, archive_existing boolean DEFAULT true
) RETURNS SETOF ml_model_registry
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('ml_model:' || name));
    PERFORM FROM ml_model_registry AS model WHERE model.model_name = name AND model.model_version = version;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no version % of model ''%'' is registered', version, name USING ERRCODE = 'no_data_found';
    END IF;
    IF to_stage = 'production' OR (to_stage IN ('staging', 'shadow') AND archive_existing) THEN
        UPDATE ml_model_registry AS model
        SET stage = CASE WHEN archive_existing THEN 'archived' ELSE 'deprecated' END::model_stage_enum,
            is_champion = false
        WHERE model.model_name = name AND model.model_version <> version AND model.stage = to_stage;
    END IF;
    RETURN QUERY
    UPDATE ml_model_registry AS model
    SET stage = to_stage, is_champion = (to_stage = 'production'), approved_by = coalesce(approver, model.approved_by),
        promoted_at = CASE WHEN to_stage IN ('staging', 'shadow', 'production') THEN now() ELSE model.promoted_at END
    WHERE model.model_name = name AND model.model_version = version
    RETURNING model.*;
END
$$;

-- How often training an algorithm came to its end.
CREATE VIEW v_training_history AS
SELECT algorithm, count(*) FILTER (WHERE status = 'completed') AS completed,
       count(*) FILTER (WHERE status = 'failed') AS failed
FROM ml_training_runs
GROUP BY algorithm;
