-- What a stored validation looked at, and why one that did not run has no figures.

ALTER TABLE ml_data_quality_reports
    ADD COLUMN rows_validated bigint,
    ADD COLUMN reason text,
    ADD CONSTRAINT ml_data_quality_reports_rows_validated_range CHECK (rows_validated >= 0);
