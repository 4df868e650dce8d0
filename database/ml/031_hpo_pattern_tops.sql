-- What came close to the best of a search: [{params, value}], the better first.

ALTER TABLE ml_hpo_patterns
    ADD COLUMN runners_up jsonb NOT NULL DEFAULT '[]',
    ADD CONSTRAINT ml_hpo_patterns_runners_up_array CHECK (jsonb_typeof(runners_up) = 'array');
