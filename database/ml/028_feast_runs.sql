-- Which run a portion belongs to, how far that run was to go, and which state of the source it read.

ALTER TABLE ml_feast_materialization_jobs
    ADD COLUMN run_start timestamptz,
    ADD COLUMN run_end timestamptz,
    ADD COLUMN source_sha256 text,
    ADD CONSTRAINT ml_feast_materialization_jobs_run_order CHECK (run_end >= run_start),
    ADD CONSTRAINT ml_feast_materialization_jobs_source_sha256_pattern CHECK (source_sha256 ~ '^[0-9a-f]{64}$');
