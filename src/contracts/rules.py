"""What must hold between columns or rows of a table? Declarations only; each layer builds its own check."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar


class Scope(StrEnum):
    """What a check must see: one row, all rows of the table, or another table as well."""

    ROW = "row"
    TABLE = "table"
    DATABASE = "database"


class Comparison(StrEnum):
    """How the left column must relate to the right one."""

    AT_MOST = "<="
    DIFFERENT = "<>"


@dataclass(frozen=True, slots=True)
class PairRule:
    """``left`` compared with ``right`` where both are present; a date meets a timestamp on its UTC day."""

    name: str
    left: str
    comparison: Comparison
    right: str
    critical: bool = False
    scope: ClassVar[Scope] = Scope.ROW

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.left, self.right)


@dataclass(frozen=True, slots=True)
class RatioRule:
    """``ratio`` equals ``numerator / denominator`` within the share ``tolerance``.

    It says something only where all three are present and the denominator is positive.
    """

    name: str
    ratio: str
    numerator: str
    denominator: str
    tolerance: float
    critical: bool = False
    scope: ClassVar[Scope] = Scope.ROW

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.ratio, self.numerator, self.denominator)


@dataclass(frozen=True, slots=True)
class PresenceRule:
    """At least one of the columns is present."""

    name: str
    one_of: tuple[str, ...]
    critical: bool = False
    scope: ClassVar[Scope] = Scope.ROW

    @property
    def columns(self) -> tuple[str, ...]:
        return self.one_of


@dataclass(frozen=True, slots=True)
class PresentWhenRule:
    """``present`` columns are all there when ``when`` is one of ``values``, and all absent otherwise."""

    name: str
    present: tuple[str, ...]
    when: str
    values: tuple[str, ...]
    critical: bool = False
    scope: ClassVar[Scope] = Scope.ROW

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.when, *self.present)


@dataclass(frozen=True, slots=True)
class LengthRule:
    """``length`` equals the number of elements of ``items`` plus ``offset``; an empty cell counts as no element."""

    name: str
    length: str
    items: str
    offset: int
    critical: bool = False
    scope: ClassVar[Scope] = Scope.ROW

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.length, self.items)


@dataclass(frozen=True, slots=True)
class NoRepeatRule:
    """No value occurs twice within a row among the scalar columns and the elements of ``items``."""

    name: str
    scalars: tuple[str, ...]
    items: str
    critical: bool = False
    scope: ClassVar[Scope] = Scope.ROW

    @property
    def columns(self) -> tuple[str, ...]:
        return (*self.scalars, self.items)


@dataclass(frozen=True, slots=True)
class NotAfterRule:
    """Every value of the JSON object ``times`` (name → ISO time with zone) is at or before ``cutoff``."""

    name: str
    times: str
    cutoff: str
    critical: bool = False
    scope: ClassVar[Scope] = Scope.ROW

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.times, self.cutoff)


@dataclass(frozen=True, slots=True)
class UniqueTogetherRule:
    """No two rows agree in all ``together`` columns; an empty cell is a value of its own if ``nulls_equal``."""

    name: str
    together: tuple[str, ...]
    nulls_equal: bool
    critical: bool = False
    scope: ClassVar[Scope] = Scope.TABLE

    @property
    def columns(self) -> tuple[str, ...]:
        return self.together


@dataclass(frozen=True, slots=True)
class OneValuePerRule:
    """All rows of one ``key`` hold the same ``value`` where they hold one."""

    name: str
    key: str
    value: str
    critical: bool = False
    scope: ClassVar[Scope] = Scope.TABLE

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.key, self.value)


@dataclass(frozen=True, slots=True)
class WithinParentRule:
    """Date ``column`` lies between ``start`` and ``end`` (open when empty) of the ``parent`` row that ``key`` names."""

    name: str
    column: str
    parent: str
    key: str
    start: str
    end: str
    critical: bool = False
    scope: ClassVar[Scope] = Scope.DATABASE

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column, self.key)


RowRule = (
    PairRule
    | RatioRule
    | PresenceRule
    | PresentWhenRule
    | LengthRule
    | NoRepeatRule
    | NotAfterRule
    | UniqueTogetherRule
    | OneValuePerRule
    | WithinParentRule
)
