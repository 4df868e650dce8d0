"""Can a request's rows be scored, and if not, what is wrong with them in one line?"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from src.errors import ContractViolation, nearest_names

if TYPE_CHECKING:
    import pandas as pd

MOST_ROWS = 10_000
_PLAIN = (str, int, float, bool, type(None), list)

Predict = Callable[["pd.DataFrame"], "pd.DataFrame"]


class RowsRefused(ContractViolation):
    """A request's rows are not what the model takes."""


def rows_from(body: bytes, features: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of a body ``{"rows": [{feature: value, …}, …]}``; columns the model does not use are left out.

    A feature that a row does not have is refused: an empty cell is written as null. Raises RowsRefused.
    """
    try:
        said = json.loads(body, parse_constant=_no_number)
    except (ValueError, UnicodeDecodeError, RecursionError) as error:
        raise RowsRefused("the body is not JSON; send an object with a list of rows, like rows: [{...}]") from error
    rows = said.get("rows") if isinstance(said, Mapping) else None
    if not isinstance(rows, list) or not rows:
        raise RowsRefused("the body must be an object whose 'rows' is a list of at least one row")
    if len(rows) > MOST_ROWS:
        raise RowsRefused(f"{len(rows)} rows are too many for one request; send at most {MOST_ROWS}")
    return [_row(number, row, features) for number, row in enumerate(rows)]


def predictions(rows: Sequence[Mapping[str, Any]], features: Sequence[str], predict: Predict) -> list[dict[str, Any]]:
    """One object of plain values per row, in the order of the rows.

    Raises RowsRefused where a value is of another type than the model was trained on.
    """
    import pandas as pd

    frame = pd.DataFrame(list(rows), columns=list(features))
    try:
        answers = predict(frame)
    except ContractViolation as error:
        raise RowsRefused(" ".join(str(error).split())) from error
    return [{str(name): _plain(value) for name, value in row.items()} for row in answers.to_dict("records")]


def _row(number: int, row: Any, features: Sequence[str]) -> dict[str, Any]:
    if not isinstance(row, Mapping):
        raise RowsRefused(f"row {number} is no object of feature: value")
    missing = [name for name in features if name not in row]
    if missing:
        hint = nearest_names(missing[0], [str(name) for name in row if name not in features])
        raise RowsRefused(f"row {number} has no '{missing[0]}' (null for an empty cell); {hint}")
    wrong = next((name for name in features if not isinstance(row[name], _PLAIN)), None)
    if wrong is not None:
        raise RowsRefused(f"row {number}: '{wrong}' must be a number, a text, true, false, a list or null")
    return {name: row[name] for name in features}


def _plain(value: Any) -> Any:
    plain = value.item() if hasattr(value, "item") else value
    return None if isinstance(plain, float) and not math.isfinite(plain) else plain


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
