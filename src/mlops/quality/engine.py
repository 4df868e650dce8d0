"""What does Great Expectations say of a frame? The one place that calls the library."""

from __future__ import annotations

import threading
import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

from src.contracts.expectations import ExpectationDeclaration
from src.mlops.quality.suites import ROW_COUNT, columns_of, is_about_columns

if TYPE_CHECKING:
    import pandas as pd

Declarations = Sequence[ExpectationDeclaration]

# One context serves the process; the library shares state between its objects, so one caller works at a time.
_LOCK = threading.Lock()
_NUMBERS = count(1)
_context: Any = None
_COMPLETE = {"result_format": "COMPLETE", "return_unexpected_index_query": False}
# Above so many rows, copying columns costs more than starting the library again for the next few.
_COLUMNS_TOGETHER, _FEW_ROWS = 4, 20_000
NOT_UNIQUE = "the id is not unique in the suite"
NO_OUTCOME = "Great Expectations gave no outcome"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was found for one expectation.

    ``error`` says why there is no verdict (then it does not hold). ``considered`` and ``unexpected``
    count values or rows, 0 where they were not counted; ``positions`` are the rows of the unexpected
    ones; ``observed`` is the figure of an expectation about a table as a whole.
    """

    holds: bool
    considered: int = 0
    unexpected: int = 0
    positions: tuple[int, ...] = ()
    observed: Any = None
    error: str | None = None


def missing() -> str | None:
    """Why Great Expectations cannot be used, or None when it can."""
    try:
        _import()
    except ImportError as error:
        return f"Great Expectations is not installed ({error})"
    return None


def evaluate(frame: pd.DataFrame, declarations: Declarations, *, counted: Collection[str] = ()) -> dict[str, Outcome]:
    """The outcome of each declaration, by its id, on ``frame`` (rows labelled 0 … n − 1).

    Rows are counted and named where an expectation does not hold, and for the ids ``counted``.
    A verdict is taken only from the result that carries the declaration's own id: one that cannot be
    built, shares its id, fails while it is evaluated or has no result gets an ``error``.
    """
    import numpy as np

    outcomes = dict(_ambiguous(declarations))
    sound = [one for one in declarations if one.id not in outcomes]
    # Infinite values are data to be judged, not a mishap of the arithmetic.
    with _LOCK, np.errstate(invalid="ignore", over="ignore"):
        for group in _groups(sound, len(frame)):
            with _batch(_asked_about(frame, group)) as batch:
                outcomes |= _outcomes(batch, group, counted)
    return outcomes


def unusable(declarations: Declarations) -> dict[str, str]:
    """Why the declarations that cannot be evaluated on any frame cannot, by id."""
    with _LOCK:
        _, refused = _build(declarations)
    return {one: outcome.error or NO_OUTCOME for one, outcome in (refused | dict(_ambiguous(declarations))).items()}


def _outcomes(batch: Any, declarations: Declarations, counted: Collection[str]) -> dict[str, Outcome]:
    found = _validate(batch, [one for one in declarations if one.id not in counted], "BOOLEAN_ONLY")
    # Naming rows costs three times as much as a verdict, so only what failed is asked again.
    again = [one for one in declarations if one.id in counted or _to_be_named(found[one.id])]
    return found | _validate(batch, again, _COMPLETE)


def _groups(declarations: Declarations, rows: int) -> Iterator[list[ExpectationDeclaration]]:
    """Declarations about few columns together: the library copies all columns of a batch for each of them."""
    group: list[ExpectationDeclaration] = []
    columns: set[str] = set()
    for one in declarations:
        wider = columns.union(columns_of(one))
        if group and len(wider) > _COLUMNS_TOGETHER and rows > _FEW_ROWS:
            yield group
            group, wider = [], set(columns_of(one))
        group.append(one)
        columns = wider
    if group:
        yield group


def _asked_about(frame: pd.DataFrame, declarations: Declarations) -> pd.DataFrame:
    """The columns that matter; the library copies a frame several times, and fingerprints nested values slowly."""
    if any(one.type != ROW_COUNT and not is_about_columns(one) for one in declarations):
        return frame
    named = {name for one in declarations for name in columns_of(one)}
    return frame[[name for name in frame.columns if name in named]]


def _to_be_named(outcome: Outcome) -> bool:
    return not outcome.holds and outcome.error is None


def _ambiguous(declarations: Declarations) -> Iterator[tuple[str, Outcome]]:
    for name, times in Counter(one.id for one in declarations).items():
        if times > 1:
            yield name, Outcome(False, error=NOT_UNIQUE)


def _import() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it imports the deprecated sre_constants
        import great_expectations
    return great_expectations


def _shared_context() -> Any:
    global _context
    if _context is None:
        context = _import().get_context(mode="ephemeral")
        context.enable_analytics(False)
        context.variables.progress_bars = {"globally": False}
        _context = context
    return _context


@contextmanager
def _batch(frame: pd.DataFrame) -> Iterator[Any]:
    """``frame`` as the library wants it; its data source is removed again, or the process would keep the data."""
    sources, name = _shared_context().data_sources, f"frame_{next(_NUMBERS)}"
    asset = sources.add_pandas(name).add_dataframe_asset(name)
    try:
        yield asset.add_batch_definition_whole_dataframe(name).get_batch(batch_parameters={"dataframe": frame})
    finally:
        sources.delete(name)


def _validate(batch: Any, declarations: Declarations, result_format: Any) -> dict[str, Outcome]:
    built, outcomes = _build(declarations)
    outcomes |= {name: Outcome(False, error=NO_OUTCOME) for name in built}
    if built:
        suite = _import().ExpectationSuite(name=f"suite_{next(_NUMBERS)}", expectations=list(built.values()))
        try:
            results = batch.validate(suite, result_format=result_format).results
        except _refusals() as error:
            return outcomes | {name: Outcome(False, error=_words(error)) for name in built}
        outcomes |= dict(_matched(results, built))
    return outcomes


def _matched(results: Iterable[Any], built: Mapping[str, Any]) -> Iterator[tuple[str, Outcome]]:
    for result in results:
        name = str((result.expectation_config.meta or {}).get("id"))
        if name in built:
            yield name, _outcome(result)


def _build(declarations: Declarations) -> tuple[dict[str, Any], dict[str, Outcome]]:
    """The library's own expectations by id, and what became of those it will not build."""
    _import()
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    built: dict[str, Any] = {}
    refused: dict[str, Outcome] = {}
    for one in declarations:
        try:
            configuration = ExpectationConfiguration(type=one.type, kwargs=dict(one.kwargs), meta={"id": one.id})
            built[one.id] = configuration.to_domain_obj()
        except _refusals() as error:
            refused[one.id] = Outcome(False, error=f"cannot be built: {_words(error)}")
    return built, refused


def _refusals() -> tuple[type[Exception], ...]:
    from great_expectations.exceptions import GreatExpectationsError

    return (GreatExpectationsError, ValueError, TypeError, LookupError, AttributeError)


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _outcome(result: Any) -> Outcome:
    error = _raised(result.exception_info or {})
    if error is not None:
        return Outcome(False, error=error)
    found = result.result or {}
    considered = int(found.get("element_count") or 0) - int(found.get("missing_count") or 0)
    positions = tuple(int(label) for label in found.get("unexpected_index_list") or ())
    return Outcome(bool(result.success), considered, int(found.get("unexpected_count") or 0), positions, _figure(found))


def _figure(found: Mapping[str, Any]) -> Any:
    value: Any = found.get("observed_value")
    return value.item() if hasattr(value, "item") else value


def _raised(info: Mapping[str, Any]) -> str | None:
    """The first message among the exceptions; the library keeps them flat or by metric."""
    each = [info] if "raised_exception" in info else [one for one in info.values() if isinstance(one, Mapping)]
    messages = [one.get("exception_message") for one in each if one.get("raised_exception")]
    return str(messages[0] or "it failed without a message") if messages else None
