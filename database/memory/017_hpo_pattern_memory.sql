-- Which hyperparameters worked before, and how alike is a new problem?

CREATE TABLE ml_hpo_patterns (
    pattern_id uuid NOT NULL DEFAULT gen_random_uuid(),
    algorithm_name text NOT NULL,
    problem_type text NOT NULL,
    metric text NOT NULL,
    direction text NOT NULL,
    search_space jsonb NOT NULL,
    best_params jsonb NOT NULL,
    best_value double precision NOT NULL,
    n_samples bigint NOT NULL,
    n_features integer NOT NULL,
    n_classes integer,
    class_balance double precision,
    target_scale double precision,
    feature_types jsonb,
    procedure_id uuid,
    study_name text,
    times_used_as_warmstart integer NOT NULL DEFAULT 0,
    warmstart_improvement_avg double precision,
    last_used_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT ml_hpo_patterns_pk PRIMARY KEY (pattern_id),
    CONSTRAINT ml_hpo_patterns_procedure_fk FOREIGN KEY (procedure_id) REFERENCES procedural_memories (procedure_id),
    CONSTRAINT ml_hpo_patterns_direction_allowed CHECK (direction IN ('minimize', 'maximize')),
    CONSTRAINT ml_hpo_patterns_search_space_object CHECK (jsonb_typeof(search_space) = 'object'),
    CONSTRAINT ml_hpo_patterns_best_params_object CHECK (jsonb_typeof(best_params) = 'object'),
    CONSTRAINT ml_hpo_patterns_feature_types_object CHECK (jsonb_typeof(feature_types) = 'object'),
    CONSTRAINT ml_hpo_patterns_n_samples_range CHECK (n_samples > 0),
    CONSTRAINT ml_hpo_patterns_n_features_range CHECK (n_features > 0),
    CONSTRAINT ml_hpo_patterns_n_classes_range CHECK (n_classes >= 2),
    CONSTRAINT ml_hpo_patterns_class_balance_range CHECK (class_balance >= 0 AND class_balance <= 1),
    CONSTRAINT ml_hpo_patterns_target_scale_range CHECK (target_scale > 0),
    CONSTRAINT ml_hpo_patterns_times_used_range CHECK (times_used_as_warmstart >= 0)
);

CREATE INDEX ml_hpo_patterns_candidates_idx ON ml_hpo_patterns (algorithm_name, problem_type, metric);

-- 1 when equal, falling with the distance of the logarithms, 0 from a factor of 10^decades on.
CREATE FUNCTION log_similarity(a double precision, b double precision, decades double precision)
RETURNS double precision
LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT greatest(0, 1 - abs(ln(a) - ln(b)) / (decades * ln(10::double precision)))
$$;

-- 1 when the shares of the smaller class are equal, 0 when they differ by a half or more.
CREATE FUNCTION balance_similarity(a double precision, b double precision) RETURNS double precision
LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT greatest(0, 1 - 2 * abs(a - b))
$$;

-- 1 minus the total variation distance between two sets of counts {type: n}; NULL when one is empty.
CREATE FUNCTION mix_similarity(a jsonb, b jsonb) RETURNS double precision
LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT 1 - sum(abs(coalesce(x.value, 0) / x_total.n - coalesce(y.value, 0) / y_total.n)) / 2
    FROM (SELECT key, value::double precision FROM jsonb_each_text(a)) AS x
    FULL JOIN (SELECT key, value::double precision FROM jsonb_each_text(b)) AS y USING (key)
    CROSS JOIN (SELECT nullif(sum(value::double precision), 0) AS n FROM jsonb_each_text(a)) AS x_total
    CROSS JOIN (SELECT nullif(sum(value::double precision), 0) AS n FROM jsonb_each_text(b)) AS y_total
$$;

-- Shared parameter names over all parameter names; NULL when neither space has one.
CREATE FUNCTION space_similarity(a jsonb, b jsonb) RETURNS double precision
LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT count(*) FILTER (WHERE a ? name AND b ? name)::double precision / nullif(count(*), 0)
    FROM (SELECT jsonb_object_keys(a) AS name UNION SELECT jsonb_object_keys(b)) AS names
$$;

-- Weighted mean (.30 sample size, .20 features, .20 class balance or target scale, .15 feature types, .15 search
-- space) of the parts that are known on both sides; there is no floor.
CREATE FUNCTION hpo_pattern_similarity(
    pattern ml_hpo_patterns, n_samples bigint, n_features integer, class_balance double precision,
    target_scale double precision, feature_types jsonb, search_space jsonb
) RETURNS double precision
LANGUAGE sql IMMUTABLE AS $$
    SELECT sum(part.weight * part.similarity) / sum(part.weight)
    FROM (VALUES
        (0.30::double precision, log_similarity(pattern.n_samples, hpo_pattern_similarity.n_samples, 2)),
        (0.20::double precision, log_similarity(pattern.n_features, hpo_pattern_similarity.n_features, 2)),
        (0.20::double precision, coalesce(
            balance_similarity(pattern.class_balance, hpo_pattern_similarity.class_balance),
            log_similarity(pattern.target_scale, hpo_pattern_similarity.target_scale, 2)
        )),
        (0.15::double precision, mix_similarity(pattern.feature_types, hpo_pattern_similarity.feature_types)),
        (0.15::double precision, space_similarity(pattern.search_space, hpo_pattern_similarity.search_space))
    ) AS part (weight, similarity)
    WHERE part.similarity IS NOT NULL
$$;

-- Patterns of the same algorithm, problem type and metric, most alike first; unlike ones are left out.
CREATE FUNCTION find_similar_hpo_patterns(
    algorithm_name text, problem_type text, metric text, n_samples bigint, n_features integer,
    class_balance double precision DEFAULT NULL, target_scale double precision DEFAULT NULL,
    feature_types jsonb DEFAULT NULL, search_space jsonb DEFAULT NULL,
    min_similarity double precision DEFAULT 0, max_patterns integer DEFAULT 5
) RETURNS TABLE (pattern_id uuid, similarity double precision, best_params jsonb, best_value double precision)
LANGUAGE sql STABLE AS $$
    SELECT scored.pattern_id, scored.similarity, scored.best_params, scored.best_value
    FROM (
        SELECT pattern.pattern_id, pattern.best_params, pattern.best_value, pattern.created_at,
               hpo_pattern_similarity(
                   pattern, find_similar_hpo_patterns.n_samples, find_similar_hpo_patterns.n_features,
                   find_similar_hpo_patterns.class_balance, find_similar_hpo_patterns.target_scale,
                   find_similar_hpo_patterns.feature_types, find_similar_hpo_patterns.search_space
               ) AS similarity
        FROM ml_hpo_patterns AS pattern
        WHERE pattern.algorithm_name = find_similar_hpo_patterns.algorithm_name
            AND pattern.problem_type = find_similar_hpo_patterns.problem_type
            AND pattern.metric = find_similar_hpo_patterns.metric
    ) AS scored
    WHERE scored.similarity >= find_similar_hpo_patterns.min_similarity
    ORDER BY scored.similarity DESC, scored.created_at DESC, scored.pattern_id
    LIMIT find_similar_hpo_patterns.max_patterns
$$;

-- Adds one use; the average is the running mean (avg * n + x) / (n + 1) with n the uses before this one.
CREATE FUNCTION record_hpo_warmstart_usage(id uuid, improvement double precision) RETURNS double precision
LANGUAGE plpgsql AS $$
DECLARE
    average double precision;
BEGIN
    IF improvement IS NULL THEN
        RAISE EXCEPTION 'an improvement that was not measured cannot be averaged' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    UPDATE ml_hpo_patterns AS pattern
    SET warmstart_improvement_avg = (
            coalesce(pattern.warmstart_improvement_avg, 0) * pattern.times_used_as_warmstart + improvement
        ) / (pattern.times_used_as_warmstart + 1),
        times_used_as_warmstart = pattern.times_used_as_warmstart + 1,
        last_used_at = now()
    WHERE pattern.pattern_id = record_hpo_warmstart_usage.id
    RETURNING pattern.warmstart_improvement_avg INTO average;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no pattern %', record_hpo_warmstart_usage.id USING ERRCODE = 'no_data_found';
    END IF;
    RETURN average;
END
$$;
