"""Which feature values were known at each row's time? A point-in-time join, and figures over the whole history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from src.contracts.feature_views import FeatureViewDeclaration
from src.errors import ContractViolation
from src.feature_store.registered import ask_registered
from src.feature_store.requests import FeatureRef, entity_frame, views_of
from src.feature_store.results import FeatureStatistics

if TYPE_CHECKING:
    import pandas as pd

_ROW = "e2i_row"
_NUMBERS = ("Int64", "Float64")


def join_history(store: Any, refs: Sequence[FeatureRef], entity_df: pd.DataFrame) -> pd.DataFrame:
    """Join features to rows; see ``FeastClient.get_historical_features``."""
    taken = [ref.full_name for ref in refs if ref.full_name in entity_df.columns]
    if taken:
        raise ContractViolation(f"entity_df already has a column '{taken[0]}'")
    asked = entity_frame(views_of(refs), entity_df).reset_index(drop=True)
    asked[_ROW] = range(len(asked))
    answer = ask_registered(store, refs, lambda: _joined(store, refs, asked))
    if answer[_ROW].to_pylist() != list(range(len(asked))):
        raise ContractViolation("the offline store gave some rows more than one value, or none")
    result = entity_df.copy()
    for ref in refs:
        result[ref.full_name] = _column(answer[ref.full_name], entity_df.index)
    return result


def _joined(store: Any, refs: Sequence[FeatureRef], asked: pd.DataFrame) -> Any:
    job = store.get_historical_features(
        entity_df=asked,
        features=[ref.feast_name for ref in refs],
        full_feature_names=True,
        # A value that became known later than the row is from its future, whatever day it speaks of.
        filter_by_created_timestamp=True,
    )
    return job.to_arrow().sort_by(_ROW)


def describe_history(view: FeatureViewDeclaration, rows: Sequence[Mapping[str, Any]]) -> tuple[FeatureStatistics, ...]:
    """The figures of each feature, from the one row of ``statistics_query``."""
    row = rows[0]
    return tuple(
        FeatureStatistics(
            feature_view=view.name,
            feature=name,
            rows=int(row["n"]),
            missing_share=1 - row[f"filled_{i}"] / row["n"] if row["n"] else 0.0,
            distinct=int(row[f"distinct_{i}"]),
            mean=_number(row, f"mean_{i}"),
            std_dev=_number(row, f"deviation_{i}"),
            minimum=_number(row, f"minimum_{i}"),
            maximum=_number(row, f"maximum_{i}"),
        )
        for i, name in enumerate(view.features)
    )


def statistics_query(view: FeatureViewDeclaration, source: str) -> str:
    """The SELECT of figures over ``source``, for PostgreSQL and DuckDB alike; the deviation is the sample's."""
    columns = ["count(*) AS n"]
    for i, field in enumerate(view.fields):
        name = field.name
        columns += [f"count({name}) AS filled_{i}", f"count(DISTINCT {name}) AS distinct_{i}"]
        if field.value_type in _NUMBERS:
            number = f"{name}::double precision"
            columns += [
                f"avg({number}) AS mean_{i}",
                f"stddev_samp({number}) AS deviation_{i}",
                f"min({number}) AS minimum_{i}",
                f"max({number}) AS maximum_{i}",
            ]
    return f"SELECT {', '.join(columns)} FROM {source} AS history"


def query_parquet(query: str) -> list[dict[str, Any]]:
    """Run a query in a DuckDB of its own."""
    import duckdb

    with duckdb.connect() as connection:
        rows: list[dict[str, Any]] = connection.sql(query).to_arrow_table().to_pylist()
    return rows


def parquet_table(path: Any) -> str:
    """A Parquet file as DuckDB names it."""
    return f"read_parquet('{str(path).replace(chr(39), chr(39) * 2)}')"


def _column(values: Any, index: pd.Index[Any]) -> pd.Series[Any]:
    """The column with a type that does not depend on whether values are missing."""
    import pandas as pd
    import pyarrow as pa

    if pa.types.is_list(values.type) or pa.types.is_string(values.type):
        return pd.Series(values.to_pylist(), index=index, dtype=object)
    nullable = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
    column: pd.Series[Any] = values.to_pandas(types_mapper=nullable.get).set_axis(index)
    return column


def _number(row: Mapping[str, Any], name: str) -> float | None:
    value = row.get(name)
    return None if value is None else float(value)
