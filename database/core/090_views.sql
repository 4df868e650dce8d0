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
