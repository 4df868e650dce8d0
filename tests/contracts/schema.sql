-- Tables, functions and the type catalogue that the gateway contract suite runs on.
CREATE TYPE colour AS ENUM ('red', 'green', 'Deep Blue');

CREATE TABLE things (
  id uuid CONSTRAINT things_pkey PRIMARY KEY DEFAULT gen_random_uuid(),
  code text NOT NULL CONSTRAINT things_code_key UNIQUE,
  amount numeric(12, 3),
  ratio double precision,
  quantity integer NOT NULL DEFAULT 7 CONSTRAINT things_quantity_check CHECK (quantity >= 0),
  big bigint,
  active boolean,
  kind colour,
  due date,
  happened_at timestamptz,
  payload jsonb NOT NULL DEFAULT '{}',
  tags text[],
  parents uuid[]
);

CREATE TABLE parts (
  thing text NOT NULL CONSTRAINT parts_thing_fkey REFERENCES things (code),
  ordinal integer NOT NULL,
  note text,
  CONSTRAINT parts_pkey PRIMARY KEY (thing, ordinal)
);

CREATE VIEW v_busy_things AS SELECT code, quantity, happened_at FROM things WHERE quantity > 5;

CREATE FUNCTION add_numbers(a integer, b integer DEFAULT 10) RETURNS integer LANGUAGE sql IMMUTABLE AS $$ SELECT a + b $$;

CREATE FUNCTION things_above(lowest integer) RETURNS TABLE (code text, seen_at timestamptz, amount numeric)
LANGUAGE sql STABLE AS $$
  SELECT t.code, t.happened_at, t.amount FROM things t WHERE t.quantity > lowest ORDER BY t.code
$$;

CREATE FUNCTION codes_of(kinds text[]) RETURNS SETOF text LANGUAGE sql STABLE AS $$
  SELECT code FROM things WHERE kind::text = ANY (kinds) ORDER BY code
$$;

CREATE FUNCTION merge_payload(left_side jsonb, right_side jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
  SELECT left_side || right_side
$$;

CREATE FUNCTION forget(which text) RETURNS void LANGUAGE sql AS $$ DELETE FROM things WHERE code = which $$;

CREATE FUNCTION refuse(why text) RETURNS integer LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION '%', why; END $$;

-- SQL types of columns and of function results, for clients that only see JSON.
CREATE VIEW v_column_types AS
SELECT 'relation' AS kind, c.relname::text AS name, a.attname::text AS column_name, format_type(a.atttypid, NULL) AS type_name
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'v', 'm', 'p', 'f')
  AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL
SELECT 'function', p.proname::text, coalesce(o.name, ''), format_type(o.type, NULL)
FROM pg_proc p, unnest(p.proallargtypes, p.proargmodes, p.proargnames) AS o(type, mode, name)
WHERE p.pronamespace = 'public'::regnamespace AND o.mode IN ('o', 'b', 't')
UNION ALL
SELECT 'function', p.proname::text, coalesce(a.attname::text, ''), format_type(coalesce(a.atttypid, p.prorettype), NULL)
FROM pg_proc p JOIN pg_type t ON t.oid = p.prorettype
LEFT JOIN pg_attribute a ON a.attrelid = t.typrelid AND t.typtype = 'c' AND a.attnum > 0 AND NOT a.attisdropped
WHERE p.pronamespace = 'public'::regnamespace AND p.proargmodes IS NULL AND p.prokind = 'f';
