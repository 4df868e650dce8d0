"""Run rows through the real Great Expectations and the real PostgreSQL."""

from __future__ import annotations

from typing import Any

import pandas as pd
import psycopg

from src.contracts.expectations import ExpectationDeclaration
from src.contracts.model import Dtype, TableContract
from src.contracts.values import json_text


def run_suite(
    context: Any, key: str, frame: pd.DataFrame, declarations: tuple[ExpectationDeclaration, ...]
) -> dict[str, Any]:
    """Outcome of each declaration by its id: the real thing, one suite, one run."""
    import great_expectations as gx
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    source = context.data_sources.add_pandas(key)
    definition = source.add_dataframe_asset(key).add_batch_definition_whole_dataframe(key)
    suite = gx.ExpectationSuite(
        name=key,
        expectations=[
            ExpectationConfiguration(
                type=declaration.type,
                kwargs=dict(declaration.kwargs),
                meta={"id": declaration.id, "critical": declaration.critical},
            ).to_domain_obj()
            for declaration in declarations
        ],
    )
    batch = definition.get_batch(batch_parameters={"dataframe": frame})
    outcome = batch.validate(suite, result_format="COMPLETE")
    return {result.expectation_config.meta["id"]: result for result in outcome.results}


def insert(connection: psycopg.Connection[Any], table: TableContract, row: dict[str, Any]) -> None:
    values = {column.name: _parameter(column.dtype, row[column.name]) for column in table.columns}
    names = ", ".join(values)
    places = ", ".join(f"%({column})s" for column in values)
    with connection.transaction():
        connection.execute(f"INSERT INTO {table.name} ({names}) VALUES ({places})".encode(), values)


def _parameter(dtype: Dtype, value: Any) -> Any:
    if dtype is Dtype.JSON and isinstance(value, dict | list):
        return json_text(value)
    return None if value is pd.NaT else value
