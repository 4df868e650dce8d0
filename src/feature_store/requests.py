"""Does a request name features that exist, and for whom? Checked before Feast is asked; nothing of Feast is needed."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from src.contracts.feature_views import FEATURE_VIEWS, FeatureViewDeclaration, get_feature_view
from src.contracts.tables import TABLES
from src.errors import ContractViolation, UnknownColumn, UnknownFeature, nearest_names
from src.feature_store.repository import EVENT_COLUMN

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class JoinKey:
    """A view's join key and the columns that make it; one where the key is a column itself."""

    view: str
    name: str
    parts: tuple[str, ...]

    @classmethod
    def of(cls, view: FeatureViewDeclaration) -> JoinKey:
        """The key of a view."""
        source = TABLES[view.table].feast
        assert source is not None
        column = next(entity.join_key for entity in source.entities if entity.name == view.entity)
        return cls(view.name, column.name, column.parts)

    @property
    def names(self) -> tuple[str, ...]:
        """All columns it may be given by."""
        return tuple({self.name: 0, **dict.fromkeys(self.parts)})

    def given_by(self, columns: Container[str]) -> tuple[str, ...]:
        """The columns to take it from: the key itself where it is there, else its parts."""
        return (self.name,) if self.name in columns else self.parts

    def __str__(self) -> str:
        alternative = f" (or {' and '.join(self.parts)})" if self.parts != (self.name,) else ""
        return f"view '{self.view}' needs the key '{self.name}'{alternative}"


@dataclass(frozen=True, slots=True)
class FeatureRef:
    """A feature of a view."""

    view: FeatureViewDeclaration
    feature: str

    @property
    def feast_name(self) -> str:
        """As Feast is asked for it."""
        return f"{self.view.name}:{self.feature}"

    @property
    def full_name(self) -> str:
        """As it is called in an answer."""
        return f"{self.view.name}__{self.feature}"


def parse_refs(feature_refs: Sequence[str]) -> tuple[FeatureRef, ...]:
    """References ``view:feature``, each once.

    Raises UnknownFeature with the nearest names, ContractViolation for none or one named twice.
    """
    if isinstance(feature_refs, str) or not feature_refs:
        raise ContractViolation("no feature is asked for; give a list of 'view:feature'")
    refs = tuple(_parse(ref) for ref in feature_refs)
    names = [ref.feast_name for ref in refs]
    for name in names:
        if names.count(name) > 1:
            raise ContractViolation(f"feature '{name}' is asked for twice")
    return refs


def views_of(refs: Iterable[FeatureRef]) -> tuple[FeatureViewDeclaration, ...]:
    """The views of the references, each once, in order."""
    return tuple({ref.view.name: ref.view for ref in refs}.values())


def key_parts(view: FeatureViewDeclaration) -> tuple[str, ...]:
    """The columns that make a view's join key; one where the key is a column itself."""
    return JoinKey.of(view).parts


def entity_keys(
    views: Sequence[FeatureViewDeclaration], entity_rows: Sequence[Mapping[str, Any]]
) -> dict[str, list[str]]:
    """The values of every join key the views need, row by row.

    A composite key may be given whole (``hcp_brand_id``) or by its parts (``hcp_id`` and ``brand``).
    Raises ContractViolation: no row, a key that is missing (nearest names) or empty, a column that is no key.
    """
    if not entity_rows:
        raise ContractViolation("no entity is asked for; give at least one row of keys")
    keys = [JoinKey.of(view) for view in views]
    known = {name for key in keys for name in key.names}
    for row in entity_rows:
        for name in row.keys() - known:
            raise UnknownFeature(f"'{name}' is no key of the views asked; {nearest_names(name, sorted(known))}")
    return {key.name: [_key(key, row, i) for i, row in enumerate(entity_rows)] for key in keys}


def entity_frame(views: Sequence[FeatureViewDeclaration], entity_df: pd.DataFrame) -> pd.DataFrame:
    """What Feast is given of ``entity_df``: join keys as text and ``event_timestamp`` in UTC, the index as in it.

    A key may be empty: such a row has no features. Raises ContractViolation: no rows, a column twice,
    a key missing, times that are missing, empty or without time zone.
    """
    import pandas as pd

    columns = [str(name) for name in entity_df.columns]
    if len(entity_df) == 0:
        raise ContractViolation("entity_df has no rows; there is nothing to join features to")
    for name in columns:
        if columns.count(name) > 1:
            raise ContractViolation(f"entity_df has the column '{name}' twice")
    keys = {key.name: _key_column(key, entity_df) for key in map(JoinKey.of, views)}
    return pd.DataFrame(keys | {EVENT_COLUMN: _event_times(entity_df)}, index=entity_df.index)


def _parse(ref: str) -> FeatureRef:
    name, colon, feature = str(ref).partition(":")
    if not colon or not feature:
        raise UnknownFeature(f"'{ref}' names no feature; write 'view:feature', for example '{_example()}'")
    view = get_feature_view(name)
    if feature not in view.features:
        raise UnknownFeature(f"view '{name}' has no feature '{feature}'; {nearest_names(feature, view.features)}")
    return FeatureRef(view, feature)


def _example() -> str:
    return f"{FEATURE_VIEWS[0].name}:{FEATURE_VIEWS[0].features[0]}"


def _key(key: JoinKey, row: Mapping[str, Any], number: int) -> str:
    names = key.given_by(row)
    for name in names:
        if name not in row:
            raise ContractViolation(f"row {number}: {key}; {nearest_names(name, map(str, row))}")
        if _is_empty(row[name]):
            raise ContractViolation(f"row {number}: the key '{name}' is empty")
    return "_".join(str(row[name]) for name in names)


def _is_empty(value: Any) -> bool:
    try:
        is_itself = bool(value == value)  # what NaN and NaT are not
    except TypeError:  # pandas.NA is neither equal nor unequal to itself
        return True
    return value is None or not is_itself or str(value) == ""


def _key_column(key: JoinKey, entity_df: pd.DataFrame) -> pd.Series[Any]:
    names = key.given_by(entity_df.columns)
    for name in names:
        if name not in entity_df.columns:
            raise ContractViolation(f"{key}; {nearest_names(name, map(str, entity_df.columns))}")
    chosen = entity_df[list(names)]
    text = chosen[names[0]].astype("string")
    for name in names[1:]:
        text = text + "_" + chosen[name].astype("string")
    column: pd.Series[Any] = text.astype(object).where(chosen.notna().all(axis=1), None)
    return column


def _event_times(entity_df: pd.DataFrame) -> pd.Series[Any]:
    import pandas as pd

    if EVENT_COLUMN not in entity_df.columns:
        raise UnknownColumn(EVENT_COLUMN, list(map(str, entity_df.columns)))
    times = entity_df[EVENT_COLUMN]
    if not isinstance(times.dtype, pd.DatetimeTZDtype):
        raise ContractViolation(
            f"'{EVENT_COLUMN}' must be timestamps with a time zone, for example pd.to_datetime(…, utc=True)"
        )
    if times.isna().any():
        raise ContractViolation(f"'{EVENT_COLUMN}' is empty in {int(times.isna().sum())} row(s)")
    # Feast's stores keep microseconds; a later one would be rounded into the future.
    utc: pd.Series[Any] = times.dt.tz_convert("UTC").dt.floor("us")
    return utc
