-- Written by scripts/gen_contract_sql.py from src/contracts; change the contract, not this file.

ALTER TABLE causal_paths DROP CONSTRAINT causal_paths_method_used_allowed;
ALTER TABLE causal_paths ADD CONSTRAINT causal_paths_method_used_allowed
    CHECK (method_used IN ('difference_in_means', 'ols', 'lin', 'ipw', 'aipw', 's_learner', 't_learner', 'x_learner', 'dr_learner', 'linear_dml', 'causal_forest', 'iv_2sls', 'twfe', 'did', 'lagged_outcome', 'distributed_lag', 'front_door', 'tmle', 'anderson_rubin', 'rdd', 'fuzzy_rdd', 'imputation', 'synthetic_did', 'exact', 'dose_response'));
