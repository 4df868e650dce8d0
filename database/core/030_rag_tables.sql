-- What can be retrieved, and what was asked and answered.

CREATE EXTENSION IF NOT EXISTS vector;

CREATE TABLE rag_documents (
    document_id uuid NOT NULL DEFAULT gen_random_uuid(),
    source_type text NOT NULL,
    source_id text NOT NULL,
    title text NOT NULL,
    brand brand_type,
    region region_type,
    effective_date date,
    checksum text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT rag_documents_pk PRIMARY KEY (document_id),
    CONSTRAINT rag_documents_checksum_unique UNIQUE (checksum)
);

CREATE INDEX rag_documents_source_idx ON rag_documents (source_type, source_id);
CREATE INDEX rag_documents_brand_region_idx ON rag_documents (brand, region);

CREATE TABLE rag_chunks (
    chunk_id uuid NOT NULL DEFAULT gen_random_uuid(),
    document_id uuid NOT NULL,
    ordinal integer NOT NULL,
    content text NOT NULL,
    token_count integer NOT NULL,
    tsv tsvector GENERATED ALWAYS AS (to_tsvector('english'::regconfig, content)) STORED,
    metadata jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT rag_chunks_pk PRIMARY KEY (chunk_id),
    CONSTRAINT rag_chunks_document_fk FOREIGN KEY (document_id) REFERENCES rag_documents (document_id) ON DELETE CASCADE,
    CONSTRAINT rag_chunks_ordinal_unique UNIQUE (document_id, ordinal),
    CONSTRAINT rag_chunks_ordinal_range CHECK (ordinal >= 0),
    CONSTRAINT rag_chunks_token_count_range CHECK (token_count >= 0),
    CONSTRAINT rag_chunks_content_present CHECK (content <> '')
);

CREATE INDEX rag_chunks_tsv_idx ON rag_chunks USING gin (tsv);

-- The column has no fixed dimension, so that several models can be kept side by side; they are never compared.
CREATE TABLE rag_embeddings (
    chunk_id uuid NOT NULL,
    model text NOT NULL,
    dims integer NOT NULL,
    embedding vector NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT rag_embeddings_pk PRIMARY KEY (chunk_id, model),
    CONSTRAINT rag_embeddings_chunk_fk FOREIGN KEY (chunk_id) REFERENCES rag_chunks (chunk_id) ON DELETE CASCADE,
    CONSTRAINT rag_embeddings_dims_agree CHECK (vector_dims(embedding) = dims)
);

CREATE INDEX rag_embeddings_minilm_idx ON rag_embeddings
    USING hnsw ((embedding::vector(384)) vector_cosine_ops) WHERE model = 'all-MiniLM-L6-v2';
CREATE INDEX rag_embeddings_openai_small_idx ON rag_embeddings
    USING hnsw ((embedding::vector(1536)) vector_cosine_ops) WHERE model = 'text-embedding-3-small';

CREATE TABLE rag_interactions (
    interaction_id uuid NOT NULL DEFAULT gen_random_uuid(),
    session_id uuid,
    trace_id text NOT NULL,
    query text NOT NULL,
    answer text,
    contexts jsonb NOT NULL DEFAULT '[]',
    citations jsonb NOT NULL DEFAULT '[]',
    agents jsonb NOT NULL DEFAULT '[]',
    prompt_versions jsonb NOT NULL DEFAULT '{}',
    retrieval_config_id uuid,
    confidence double precision,
    latency_ms double precision,
    user_expertise user_expertise_type,
    brand brand_type,
    created_at timestamptz NOT NULL DEFAULT now(),
    evaluated_at timestamptz,
    CONSTRAINT rag_interactions_pk PRIMARY KEY (interaction_id),
    CONSTRAINT rag_interactions_contexts_array CHECK (jsonb_typeof(contexts) = 'array'),
    CONSTRAINT rag_interactions_confidence_range CHECK (confidence >= 0 AND confidence <= 1),
    CONSTRAINT rag_interactions_latency_ms_range CHECK (latency_ms >= 0),
    CONSTRAINT rag_interactions_evaluation_order CHECK (evaluated_at >= created_at)
);

CREATE INDEX rag_interactions_trace_id_idx ON rag_interactions (trace_id);
CREATE INDEX rag_interactions_session_id_idx ON rag_interactions (session_id);
CREATE INDEX rag_interactions_unevaluated_idx ON rag_interactions (created_at) WHERE evaluated_at IS NULL;
