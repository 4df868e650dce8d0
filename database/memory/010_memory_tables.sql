-- What the platform remembers: its learning cycles, episodes, procedures, and a tamper-evident record of runs.

CREATE TABLE cognitive_cycles (
    cycle_id uuid NOT NULL DEFAULT gen_random_uuid(),
    started_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    trigger text NOT NULL,
    items integer NOT NULL DEFAULT 0,
    decision text,
    status text NOT NULL DEFAULT 'running',
    summary jsonb NOT NULL DEFAULT '{}',
    CONSTRAINT cognitive_cycles_pk PRIMARY KEY (cycle_id),
    CONSTRAINT cognitive_cycles_trigger_allowed CHECK (trigger IN ('schedule', 'threshold', 'manual')),
    CONSTRAINT cognitive_cycles_status_allowed CHECK (status IN ('running', 'completed', 'failed')),
    CONSTRAINT cognitive_cycles_items_range CHECK (items >= 0),
    CONSTRAINT cognitive_cycles_time_order CHECK (ended_at >= started_at)
);

CREATE INDEX cognitive_cycles_started_at_idx ON cognitive_cycles (started_at);

CREATE TABLE episodic_memories (
    memory_id uuid NOT NULL DEFAULT gen_random_uuid(),
    agent agent_name_enum NOT NULL,
    content text NOT NULL,
    embedding_model text,
    embedding vector,
    importance double precision,
    occurred_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    CONSTRAINT episodic_memories_pk PRIMARY KEY (memory_id),
    CONSTRAINT episodic_memories_embedding_model_presence CHECK ((embedding IS NULL) = (embedding_model IS NULL)),
    CONSTRAINT episodic_memories_importance_range CHECK (importance >= 0 AND importance <= 1),
    CONSTRAINT episodic_memories_expiry_order CHECK (expires_at >= occurred_at)
);

CREATE INDEX episodic_memories_agent_idx ON episodic_memories (agent, occurred_at);

CREATE TABLE procedural_memories (
    procedure_id uuid NOT NULL DEFAULT gen_random_uuid(),
    name text NOT NULL,
    kind text NOT NULL,
    content jsonb NOT NULL,
    success_count integer NOT NULL DEFAULT 0,
    failure_count integer NOT NULL DEFAULT 0,
    last_used_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT procedural_memories_pk PRIMARY KEY (procedure_id),
    CONSTRAINT procedural_memories_name_unique UNIQUE (kind, name),
    CONSTRAINT procedural_memories_counts_range CHECK (success_count >= 0 AND failure_count >= 0)
);

CREATE TABLE audit_chain (
    chain_id uuid NOT NULL,
    sequence integer NOT NULL,
    agent agent_name_enum NOT NULL,
    node text NOT NULL,
    input_sha256 text NOT NULL,
    output_sha256 text NOT NULL,
    previous_sha256 text NOT NULL,
    entry_sha256 text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT audit_chain_sequence_unique UNIQUE (chain_id, sequence),
    CONSTRAINT audit_chain_sequence_range CHECK (sequence >= 0),
    CONSTRAINT audit_chain_digests_pattern CHECK (
        input_sha256 ~ '^[0-9a-f]{64}$' AND output_sha256 ~ '^[0-9a-f]{64}$'
        AND previous_sha256 ~ '^[0-9a-f]{64}$' AND entry_sha256 ~ '^[0-9a-f]{64}$'
    )
);

-- SHA-256 over the entry's fields and its predecessor's digest, joined by line feeds; time in UTC microseconds.
CREATE FUNCTION audit_entry_digest(entry audit_chain) RETURNS text
LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT encode(sha256(convert_to(concat_ws(E'\n',
        entry.chain_id::text, entry.sequence::text, entry.agent::text, entry.node, entry.input_sha256,
        entry.output_sha256, entry.previous_sha256, (extract(epoch FROM entry.created_at) * 1000000)::bigint::text
    ), 'UTF8')), 'hex')
$$;

-- Appends one entry; the first one follows a digest of zeros. Concurrent writers of a chain take turns.
CREATE FUNCTION append_audit_entry(chain uuid, agent text, node text, input_sha256 text, output_sha256 text)
RETURNS audit_chain
LANGUAGE plpgsql AS $$
DECLARE
    last_entry audit_chain;
    entry audit_chain;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext(chain::text));
    SELECT * INTO last_entry FROM audit_chain AS known WHERE known.chain_id = chain ORDER BY known.sequence DESC LIMIT 1;
    entry.chain_id := chain;
    entry.sequence := coalesce(last_entry.sequence + 1, 0);
    entry.agent := agent::agent_name_enum;
    entry.node := node;
    entry.input_sha256 := input_sha256;
    entry.output_sha256 := output_sha256;
    entry.previous_sha256 := coalesce(last_entry.entry_sha256, repeat('0', 64));
    entry.created_at := clock_timestamp();
    entry.entry_sha256 := audit_entry_digest(entry);
    INSERT INTO audit_chain SELECT entry.*;
    RETURN entry;
END
$$;

-- True when the chain has entries, none is missing before the last one, and every digest is what its fields give.
-- Entries cut off at the end leave an intact shorter chain: compare its length with the run's span count.
CREATE FUNCTION verify_chain(chain uuid) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT coalesce(bool_and(
        entry.sequence = entry.position - 1
        AND entry.previous_sha256 = entry.expected_previous
        AND entry.entry_sha256 = entry.digest
    ), false)
    FROM (
        SELECT known.sequence, known.previous_sha256, known.entry_sha256, audit_entry_digest(known) AS digest,
               row_number() OVER in_order AS position,
               coalesce(lag(known.entry_sha256) OVER in_order, repeat('0', 64)) AS expected_previous
        FROM audit_chain AS known WHERE known.chain_id = chain
        WINDOW in_order AS (ORDER BY known.sequence)
    ) AS entry
$$;
