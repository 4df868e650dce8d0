-- Which sessions are there, how much did each ask and spend, and which questions are not answered yet?

CREATE TABLE conversations (
    session_id uuid NOT NULL,
    user_role text NOT NULL,
    user_expertise text NOT NULL,
    questions integer NOT NULL DEFAULT 0,
    tokens bigint NOT NULL DEFAULT 0,
    dollars double precision NOT NULL DEFAULT 0,
    started_at timestamptz NOT NULL DEFAULT now(),
    last_used_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT conversations_pk PRIMARY KEY (session_id),
    CONSTRAINT conversations_counts_range CHECK (questions >= 0 AND tokens >= 0 AND dollars >= 0),
    CONSTRAINT conversations_time_order CHECK (last_used_at >= started_at)
);

CREATE INDEX conversations_last_used_at_idx ON conversations (last_used_at);

CREATE TABLE conversation_questions (
    trace_id text NOT NULL,
    session_id uuid NOT NULL,
    asked_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    status text NOT NULL DEFAULT 'running',
    request jsonb,
    rule text,
    tokens bigint NOT NULL DEFAULT 0,
    dollars double precision NOT NULL DEFAULT 0,
    CONSTRAINT conversation_questions_pk PRIMARY KEY (trace_id),
    CONSTRAINT conversation_questions_session_fk FOREIGN KEY (session_id)
        REFERENCES conversations (session_id) ON DELETE CASCADE,
    CONSTRAINT conversation_questions_status_allowed CHECK (
        status IN ('running', 'answered', 'asked_back', 'declined', 'refused', 'failed')
    ),
    CONSTRAINT conversation_questions_rule_presence CHECK ((status IN ('declined', 'refused')) = (rule IS NOT NULL)),
    CONSTRAINT conversation_questions_ended_presence CHECK ((status = 'running') = (ended_at IS NULL)),
    CONSTRAINT conversation_questions_request_presence CHECK ((status = 'running') = (request IS NOT NULL)),
    CONSTRAINT conversation_questions_counts_range CHECK (tokens >= 0 AND dollars >= 0)
);

CREATE INDEX conversation_questions_session_idx ON conversation_questions (session_id, asked_at);
CREATE INDEX conversation_questions_running_idx ON conversation_questions (asked_at) WHERE status = 'running';
