"""What is a table contract made of? Frozen declarations that know nothing of any library."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from src.contracts.rules import RowRule


class Dtype(StrEnum):
    """Type of a column's values; TS is a UTC timestamp, LIST a list of strings."""

    STR = "str"
    INT = "int"
    FLOAT = "float"
    BOOL = "bool"
    DATE = "date"
    TS = "ts"
    JSON = "json"
    LIST = "list[str]"


class Role(StrEnum):
    """What a column may be used for. OUTCOME never enters a feature view, PERSONAL never a log, prompt or trace."""

    KEY = "key"
    TIME = "time"
    DIMENSION = "dimension"
    FEATURE = "feature"
    OUTCOME = "outcome"
    ADMINISTRATION = "administration"
    PERSONAL = "personal"


@dataclass(frozen=True, slots=True)
class Range:
    """Bounds of a number, ends included unless ``above`` (then the minimum itself is excluded)."""

    minimum: float | None = None
    maximum: float | None = None
    above: bool = False

    def __str__(self) -> str:
        if self.minimum is not None and self.maximum is not None:
            return f"between {self.minimum:g} and {self.maximum:g}"
        if self.minimum is not None:
            return f"{'above' if self.above else 'at least'} {self.minimum:g}"
        return f"at most {self.maximum:g}"


UNIT = Range(0, 1)
NON_NEGATIVE = Range(0)
POSITIVE = Range(0, above=True)


@dataclass(frozen=True, slots=True)
class Column:
    """One column. ``required``: must be in a frame; ``nullable``: may be empty in a row.

    ``allowed`` is an enum of ``contracts.enums`` or a tuple of words; on a LIST it holds for every
    element, and so does ``regex`` (a pattern for the whole text, without anchors). A ``critical``
    column blocks on one violation. ``personal`` marks a key that also identifies a person.
    ``max_bytes`` bounds the JSON text; ``sql_default`` is used when a row leaves the column out.
    """

    name: str
    dtype: Dtype
    role: Role
    description: str
    nullable: bool = True
    required: bool = False
    allowed: type[StrEnum] | tuple[str, ...] | None = None
    range: Range | None = None
    regex: str | None = None
    unique: bool = False
    critical: bool = False
    personal: bool = False
    max_bytes: int | None = None
    sql_default: str | None = None

    @property
    def is_personal(self) -> bool:
        """Whether values of this column may appear in no log, prompt, trace or message."""
        return self.personal or self.role is Role.PERSONAL

    @property
    def words(self) -> tuple[str, ...]:
        """The allowed words, or nothing when any word will do."""
        return tuple(str(word) for word in self.allowed) if self.allowed is not None else ()


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """``columns`` must be found together as ``parent_columns`` of ``parent`` (unless one is empty)."""

    name: str
    columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SourceColumn:
    """A column of a feature source: an existing column, or several joined by ``_`` into a composite key."""

    name: str
    parts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FeastEntity:
    """A thing features are about, and the source column that identifies it."""

    name: str
    join_key: SourceColumn


@dataclass(frozen=True, slots=True)
class FeastSource:
    """How a table feeds the feature store: entities, event time, and when a row became known."""

    entities: tuple[FeastEntity, ...]
    event_time: str
    created_time: str


@dataclass(frozen=True, slots=True)
class TableContract:
    """Everything that is promised about one table; Pandera, Great Expectations, SQL and Feast are built from it.

    ``personal_columns``: columns whose values may not be shown.
    """

    name: str
    primary_key: str
    columns: tuple[Column, ...]
    row_rules: tuple[RowRule, ...]
    suite_name: str
    feast: FeastSource | None
    foreign_keys: tuple[ForeignKey, ...] = ()
    personal_columns: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Asked for once per value that is shown, so it is not built each time.
        personal = frozenset(column.name for column in self.columns if column.is_personal)
        object.__setattr__(self, "personal_columns", personal)

    def column(self, name: str) -> Column:
        """The column of that name; KeyError when the contract has none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    @property
    def column_names(self) -> tuple[str, ...]:
        """All column names in table order."""
        return tuple(column.name for column in self.columns)

    @property
    def has_split(self) -> bool:
        """Whether rows carry ``data_split``."""
        return "data_split" in self.column_names
