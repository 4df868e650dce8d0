"""Which expectations is a table held to?"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from itertools import count
from types import MappingProxyType
from typing import Any, Self

from src.contracts.expectations import ExpectationDeclaration, build_expectations
from src.contracts.model import TableContract
from src.contracts.tables import TABLES, get_table
from src.errors import ConfigError, nearest_names
from src.mlops.quality.configuration import DataQualityConfig, load_data_quality_config

ROW_COUNT = "expect_table_row_count_to_be_between"


@dataclass(frozen=True, slots=True)
class ExpectationSuite:
    """What a frame of ``table_name`` is held to.

    ``statistical`` names, by id, the expectations about what is usual rather than allowed, with the
    fewest rows at which each says something: they count in the rate but never block by themselves.
    ``contract`` is that of a dataset that is no declared table. Raises ContractViolation when there is no
    such table and no contract.
    """

    name: str
    table_name: str
    expectations: tuple[ExpectationDeclaration, ...]
    statistical: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    contract: TableContract | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "table_name", self.table.name)
        object.__setattr__(self, "statistical", MappingProxyType(dict(self.statistical)))

    @property
    def table(self) -> TableContract:
        """The contract of the table."""
        return self.contract if self.contract is not None else get_table(self.table_name)

    def for_rows(self, rows: int) -> ExpectationSuite:
        """Without the statistical expectations that say nothing about so few rows."""
        kept = tuple(one for one in self.expectations if self.statistical.get(one.id, 0) <= rows)
        return replace(self, expectations=kept)

    def copy(self) -> ExpectationSuite:
        """A suite whose arguments are its own."""
        own = tuple(replace(one, kwargs=deepcopy(one.kwargs)) for one in self.expectations)
        return replace(self, expectations=own)


class ExpectationSuiteBuilder:
    """Puts a suite together: ``ExpectationSuiteBuilder("mine", "triggers").add(…).add(…).build()``.

    With ``base`` it starts from the expectations of that suite.
    """

    def __init__(self, name: str, table_name: str, *, base: ExpectationSuite | None = None) -> None:
        self._suite = ExpectationSuite(name, table_name, base.expectations if base else ())
        if base is not None:
            self._suite = replace(self._suite, statistical=base.statistical)

    @classmethod
    def contract_suite(
        cls, table_name: str, present: Collection[str] | None = None, config: DataQualityConfig | None = None
    ) -> ExpectationSuite:
        """Everything the contract of a table asks of the columns ``present`` (default: all), and what is usual.

        The statistical expectations come from ``config``, by default ``config/data_quality.yaml``.
        Raises ContractViolation, with the nearest names, for a table that is not in the contract, and
        ConfigError for statistics about a table or column that is not.
        """
        table = get_table(table_name)
        declared = build_expectations(table, present=present)
        usual = list(_statistical(table, present, config or load_data_quality_config()))
        expectations = (*declared, *(one for one, _ in usual))
        fewest = {one.id: rows for one, rows in usual}
        return ExpectationSuite(table.suite_name, table.name, expectations, fewest).copy()

    @classmethod
    def suite_of(cls, contract: TableContract, present: Collection[str] | None = None) -> ExpectationSuite:
        """Everything a contract that is no declared table asks of the columns ``present`` (default: all)."""
        declared = build_expectations(contract, present=present)
        return ExpectationSuite(contract.suite_name, contract.name, tuple(declared), contract=contract).copy()

    def add(self, type: str, kwargs: Mapping[str, Any], *, critical: bool = False, id: str | None = None) -> Self:
        """Expect ``type`` (in Great Expectations' words) with ``kwargs``; ``id`` is put after ``<table>.``."""
        prefix = f"{self._suite.table_name}."
        named = f"{prefix}{id.removeprefix(prefix)}" if id else self._free_id(type, kwargs)
        declaration = ExpectationDeclaration(type, deepcopy(dict(kwargs)), critical, named)
        self._suite = replace(self._suite, expectations=(*self._suite.expectations, declaration))
        return self

    def build(self) -> ExpectationSuite:
        """The suite so far; what is added later does not change it."""
        return self._suite.copy()

    def _free_id(self, type: str, kwargs: Mapping[str, Any]) -> str:
        taken = {one.id for one in self._suite.expectations}
        base = "_".join((*_named_columns(kwargs), type.removeprefix("expect_").removeprefix("column_")))
        numbered = (f"{self._suite.table_name}.{base}" + (f"#{n}" if n else "") for n in count())
        return next(name for name in numbered if name not in taken)


def columns_of(declaration: ExpectationDeclaration) -> tuple[str, ...]:
    """The columns an expectation looks at, the one its row condition asks about last."""
    condition = declaration.kwargs.get("row_condition")
    asked = condition.get("column") if isinstance(condition, Mapping) else None
    name = asked.get("name") if isinstance(asked, Mapping) else None
    named = (*_named_columns(declaration.kwargs), *([str(name)] if name else []))
    return tuple(dict.fromkeys(named))


def is_about_columns(declaration: ExpectationDeclaration) -> bool:
    """Whether ``columns_of`` names all that it looks at, as far as its arguments tell."""
    condition = declaration.kwargs.get("row_condition")
    told = condition is None or (isinstance(condition, Mapping) and "column" in condition)
    return told and bool(_named_columns(declaration.kwargs))


def _named_columns(kwargs: Mapping[str, Any]) -> tuple[str, ...]:
    single = [kwargs[key] for key in ("column", "column_A", "column_B") if key in kwargs]
    several = kwargs.get("column_list", ())
    return tuple(str(name) for name in (*single, *(several if isinstance(several, list | tuple) else ())))


def _statistical(
    table: TableContract, present: Collection[str] | None, config: DataQualityConfig
) -> Iterator[tuple[ExpectationDeclaration, int]]:
    _refuse_unknown(table, config)
    seen: dict[str, int] = {}
    for usual in config.statistics.get(table.name, []):
        if present is not None and usual.column not in present:
            continue
        base = f"{table.name}.stat_{usual.column}_{usual.type.removeprefix('expect_column_')}"
        number = seen[base] = seen.get(base, -1) + 1
        arguments = {"column": usual.column, **deepcopy(usual.kwargs)}
        identity = f"{base}#{number}" if number else base
        yield ExpectationDeclaration(usual.type, arguments, critical=False, id=identity), usual.min_rows


def _refuse_unknown(table: TableContract, config: DataQualityConfig) -> None:
    for name in config.statistics:
        if name not in TABLES:
            raise ConfigError(f"data quality: statistics for no table '{name}'; {nearest_names(name, TABLES)}")
    for usual in config.statistics.get(table.name, []):
        if usual.column not in table.column_names:
            near = nearest_names(usual.column, table.column_names)
            raise ConfigError(f"data quality: {table.name} has no column '{usual.column}' for statistics; {near}")
