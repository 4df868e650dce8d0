-- The composition that used a plan last: one that is carried out again after an interruption is no second use.

ALTER TABLE composer_plans ADD COLUMN last_composition_id uuid;
