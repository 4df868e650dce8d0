-- What was planned before the data were seen, which effects were asked for together, and who was assigned to what?

-- document is the whole plan as canonical JSON, sha256 its digest; the other columns repeat parts of it for lists.
CREATE TABLE registered_plans (
    plan_id uuid NOT NULL,
    title text NOT NULL,
    dataset text NOT NULL,
    treatment text NOT NULL,
    outcome text NOT NULL,
    document text NOT NULL,
    sha256 text NOT NULL,
    before_data boolean NOT NULL,
    registered_by text NOT NULL,
    registered_at timestamptz NOT NULL,
    CONSTRAINT registered_plans_pk PRIMARY KEY (plan_id),
    CONSTRAINT registered_plans_sha256_unique UNIQUE (sha256),
    CONSTRAINT registered_plans_sha256_pattern CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    CONSTRAINT registered_plans_author_present CHECK (registered_by <> '')
);

CREATE INDEX registered_plans_registered_at_idx ON registered_plans (registered_at);

CREATE FUNCTION refuse_change_of_plans() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a registered plan is never changed: % refused', TG_OP
        USING ERRCODE = 'object_not_in_prerequisite_state';
END
$$;

CREATE TRIGGER registered_plans_stay BEFORE UPDATE OR DELETE ON registered_plans
    FOR EACH ROW EXECUTE FUNCTION refuse_change_of_plans();
CREATE TRIGGER registered_plans_stay_together BEFORE TRUNCATE ON registered_plans
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_plans();

-- The runs of a plan name it in what was understood.
CREATE INDEX analysis_runs_plan_idx ON analysis_runs ((understood -> 'plan' ->> 'plan_id'));
CREATE INDEX analysis_runs_outcome_idx ON analysis_runs (dataset_id, (request -> 'spec' ->> 'outcome'));

-- digest is over the questions, the data and the code: the same grid again goes on where it stopped.
CREATE TABLE effect_grids (
    grid_id uuid NOT NULL,
    digest text NOT NULL,
    document jsonb NOT NULL,
    dataset_id text NOT NULL,
    n_cells integer NOT NULL,
    status text NOT NULL DEFAULT 'running',
    started_at timestamptz NOT NULL,
    ended_at timestamptz,
    CONSTRAINT effect_grids_pk PRIMARY KEY (grid_id),
    CONSTRAINT effect_grids_digest_pattern CHECK (digest ~ '^[0-9a-f]{64}$'),
    CONSTRAINT effect_grids_document_object CHECK (jsonb_typeof(document) = 'object'),
    CONSTRAINT effect_grids_n_cells_range CHECK (n_cells > 0),
    CONSTRAINT effect_grids_status_allowed CHECK (status IN ('running', 'partial', 'completed')),
    CONSTRAINT effect_grids_end_presence CHECK ((status = 'running') = (ended_at IS NULL))
);

CREATE INDEX effect_grids_digest_idx ON effect_grids (digest, started_at);

CREATE TABLE effect_grid_cells (
    grid_id uuid NOT NULL,
    cell integer NOT NULL,
    status text NOT NULL,
    run_id uuid,
    reason_type text,
    reason text,
    CONSTRAINT effect_grid_cells_pk PRIMARY KEY (grid_id, cell),
    CONSTRAINT effect_grid_cells_grid_fk FOREIGN KEY (grid_id) REFERENCES effect_grids (grid_id),
    CONSTRAINT effect_grid_cells_run_fk FOREIGN KEY (run_id) REFERENCES analysis_runs (run_id),
    CONSTRAINT effect_grid_cells_cell_range CHECK (cell >= 0),
    CONSTRAINT effect_grid_cells_status_allowed CHECK (status IN ('answered', 'refused', 'failed')),
    CONSTRAINT effect_grid_cells_run_presence CHECK (status <> 'answered' OR run_id IS NOT NULL),
    CONSTRAINT effect_grid_cells_reason_presence CHECK ((status = 'answered') = (reason_type IS NULL)),
    CONSTRAINT effect_grid_cells_words_presence CHECK ((reason_type IS NULL) = (reason IS NULL))
);

CREATE INDEX effect_grid_cells_run_idx ON effect_grid_cells (run_id);

-- A file of assignments is known again by its bytes; who is in which arm stands in the file only.
CREATE TABLE experiment_assignments (
    assignment_id uuid NOT NULL,
    sha256 text NOT NULL,
    dataset text NOT NULL,
    unit_key text NOT NULL,
    strata text[] NOT NULL DEFAULT '{}',
    units_per_arm jsonb NOT NULL,
    random_state bigint NOT NULL,
    draws integer NOT NULL,
    acceptance double precision,
    assigned_by text NOT NULL,
    assigned_at timestamptz NOT NULL,
    CONSTRAINT experiment_assignments_pk PRIMARY KEY (assignment_id),
    CONSTRAINT experiment_assignments_sha256_pattern CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    CONSTRAINT experiment_assignments_units_object CHECK (jsonb_typeof(units_per_arm) = 'object'),
    CONSTRAINT experiment_assignments_draws_range CHECK (draws > 0),
    CONSTRAINT experiment_assignments_acceptance_range CHECK (acceptance > 0 AND acceptance <= 1),
    CONSTRAINT experiment_assignments_author_present CHECK (assigned_by <> '')
);

CREATE INDEX experiment_assignments_sha256_idx ON experiment_assignments (sha256);
