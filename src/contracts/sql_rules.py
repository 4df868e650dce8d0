"""How does PostgreSQL enforce a rule between columns, rows or tables?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from src.contracts.model import Dtype, TableContract
from src.contracts.rules import (
    LengthRule,
    NoRepeatRule,
    NotAfterRule,
    OneValuePerRule,
    PairRule,
    PresenceRule,
    PresentWhenRule,
    RatioRule,
    RowRule,
    WithinParentRule,
)

FUNCTIONS = (
    """
CREATE FUNCTION contract_all_match(items text[], pattern text) RETURNS boolean
LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT coalesce(bool_and(coalesce(item ~ pattern, false)), true) FROM unnest(items) AS item
$$;""",
    """
CREATE FUNCTION contract_no_repeat(items text[]) RETURNS boolean
LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT count(item) = count(DISTINCT item) FROM unnest(items) AS item
$$;""",
    # The time zone is fixed, so that a text without zone always means UTC and the result never varies.
    """
CREATE FUNCTION contract_none_after(times jsonb, cutoff timestamptz) RETURNS boolean
LANGUAGE sql IMMUTABLE STRICT SET timezone = 'UTC' AS $$
    SELECT jsonb_typeof(times) = 'object'
        AND NOT EXISTS (
            SELECT FROM jsonb_each_text(CASE jsonb_typeof(times) WHEN 'object' THEN times ELSE '{}' END) AS entry
            WHERE entry.value IS NULL OR entry.value::timestamptz > cutoff
        )
$$;""",
)


def quoted(text: str) -> str:
    """``text`` as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def check_expression(table: TableContract, rule: RowRule) -> str | None:
    """The CHECK expression for ``rule``, or None when more than one row must be seen."""
    build = _EXPRESSIONS.get(type(rule))
    return build(table, rule) if build else None


def _pair(table: TableContract, rule: PairRule) -> str:
    left, right = rule.left, rule.right
    if table.column(left).dtype is not table.column(right).dtype:
        left, right = (_utc_day(table, name) for name in (left, right))
    return f"{left} {rule.comparison} {right}"


def _utc_day(table: TableContract, name: str) -> str:
    return f"({name} AT TIME ZONE 'UTC')::date" if table.column(name).dtype is Dtype.TS else name


def _ratio(table: TableContract, rule: RatioRule) -> str:
    expected = f"{rule.numerator} / {rule.denominator}"
    return (
        f"CASE WHEN {rule.denominator} > 0 THEN "
        f"abs({rule.ratio} - {expected}) <= {rule.tolerance:g} * abs({expected}) + 1e-9 END"
    )


def _presence(table: TableContract, rule: PresenceRule) -> str:
    return " OR ".join(f"{name} IS NOT NULL" for name in rule.one_of)


def _present_when(table: TableContract, rule: PresentWhenRule) -> str:
    due = f"{rule.when} IN ({', '.join(quoted(value) for value in rule.values)})"
    present = " AND ".join(f"{name} IS NOT NULL" for name in rule.present)
    absent = " AND ".join(f"{name} IS NULL" for name in rule.present)
    return f"CASE WHEN {due} THEN {present} ELSE {absent} END"


def _length(table: TableContract, rule: LengthRule) -> str:
    return f"{rule.length} = coalesce(cardinality({rule.items}), 0) + {rule.offset}"


def _no_repeat(table: TableContract, rule: NoRepeatRule) -> str:
    return f"contract_no_repeat(ARRAY[{', '.join(rule.scalars)}] || coalesce({rule.items}, ARRAY[]::text[]))"


def _not_after(table: TableContract, rule: NotAfterRule) -> str:
    return f"contract_none_after({rule.times}, {rule.cutoff})"


_EXPRESSIONS: dict[type[Any], Callable[[TableContract, Any], str]] = {
    PairRule: _pair,
    RatioRule: _ratio,
    PresenceRule: _presence,
    PresentWhenRule: _present_when,
    LengthRule: _length,
    NoRepeatRule: _no_repeat,
    NotAfterRule: _not_after,
}


def trigger_statements(table: TableContract) -> Iterator[str]:
    """Functions and triggers for the rules a CHECK cannot express; they look at all rows of a statement at once."""
    for rule in table.row_rules:
        if isinstance(rule, OneValuePerRule):
            yield _trigger_function(table, rule, _one_value_query(table, rule), f"one {rule.key} has two {rule.value}s")
            yield _triggers(table, rule)
        elif isinstance(rule, WithinParentRule):
            message = f"{rule.column} lies outside its {rule.parent} row"
            yield _trigger_function(table, rule, _within_query(table, rule), message)
            yield _triggers(table, rule)


def _one_value_query(table: TableContract, rule: OneValuePerRule) -> str:
    return f"""
        SELECT FROM {table.name} AS known
        WHERE known.{rule.key} IN (SELECT {rule.key} FROM written WHERE {rule.value} IS NOT NULL)
        GROUP BY known.{rule.key} HAVING count(DISTINCT known.{rule.value}) > 1"""


def _within_query(table: TableContract, rule: WithinParentRule) -> str:
    return f"""
        SELECT FROM written JOIN {rule.parent} AS parent ON parent.{rule.key} = written.{rule.key}
        WHERE written.{rule.column} < parent.{rule.start} OR written.{rule.column} > parent.{rule.end}"""


def _trigger_function(table: TableContract, rule: OneValuePerRule | WithinParentRule, query: str, message: str) -> str:
    # Writers of one table take turns, or two of them could each write half of a contradiction.
    name = f"{table.name}_{rule.name}"
    return f"""
CREATE FUNCTION {name}() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('{name}'));
    IF EXISTS ({query}
    ) THEN
        RAISE EXCEPTION '{table.name}: {message}'
            USING ERRCODE = 'check_violation', TABLE = '{table.name}', CONSTRAINT = '{name}';
    END IF;
    RETURN NULL;
END
$$;"""


def _triggers(table: TableContract, rule: OneValuePerRule | WithinParentRule) -> str:
    return "\n".join(
        f"CREATE TRIGGER {table.name}_{rule.name}_{event} AFTER {event.upper()} ON {table.name}\n"
        f"    REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION {table.name}_{rule.name}();"
        for event in ("insert", "update")
    )
