-- What people look at first: where each KPI stands, and which causes of it are established.

-- The latest value of each metric by brand and region, judged by the target stored with it, for which higher is
-- better: warning below 90 %, critical below 75 % of it. KPIs with fixed thresholds or a falling direction are judged
-- by config/kpi_definitions.yaml instead; without a positive target there is no judgement.
CREATE VIEW v_kpi_current AS
SELECT
    latest.metric_name,
    latest.metric_type,
    latest.brand,
    latest.region,
    latest.metric_date,
    latest.value,
    latest.target,
    latest.achievement_rate,
    latest.month_over_month_change,
    latest.year_over_year_change,
    latest.sample_size,
    CASE
        WHEN latest.target IS NULL OR latest.target <= 0 THEN 'no_threshold'
        WHEN latest.value >= latest.target THEN 'on_target'
        WHEN latest.value >= 0.90 * latest.target THEN 'below_target'
        WHEN latest.value >= 0.75 * latest.target THEN 'warning'
        ELSE 'critical'
    END AS status
FROM (
    SELECT DISTINCT ON (metric_name, brand, region) *
    FROM business_metrics
    ORDER BY metric_name, brand, region, metric_date DESC, created_at DESC NULLS LAST
) AS latest;

-- Paths whose effect passed the refutation tests, strongest first.
CREATE VIEW v_driver_paths AS
SELECT path_id, start_node, end_node, intermediate_nodes, path_length, causal_effect_size, effect_raw, effect_se,
       confidence_level, p_value, method_used, confounders_controlled, time_lag_days, business_impact_estimate,
       brand, region, discovery_date
FROM causal_paths
WHERE validation_status = 'proceed'
ORDER BY abs(causal_effect_size) DESC, path_id;

-- SQL types of columns and of function results, for clients that only see JSON.
CREATE VIEW v_column_types AS
SELECT 'relation' AS kind, c.relname::text AS name, a.attname::text AS column_name, format_type(a.atttypid, NULL) AS type_name
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'v', 'm', 'p', 'f')
  AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL
SELECT 'function', p.proname::text, coalesce(o.name, ''), format_type(o.type, NULL)
FROM pg_proc p, unnest(p.proallargtypes, p.proargmodes, p.proargnames) AS o(type, mode, name)
WHERE p.pronamespace = 'public'::regnamespace AND o.mode IN ('o', 'b', 't')
UNION ALL
SELECT 'function', p.proname::text, coalesce(a.attname::text, ''), format_type(coalesce(a.atttypid, p.prorettype), NULL)
FROM pg_proc p JOIN pg_type t ON t.oid = p.prorettype
LEFT JOIN pg_attribute a ON a.attrelid = t.typrelid AND t.typtype = 'c' AND a.attnum > 0 AND NOT a.attisdropped
WHERE p.pronamespace = 'public'::regnamespace AND p.proargmodes IS NULL AND p.prokind = 'f';
