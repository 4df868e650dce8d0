"""How does a value become what a jsonb column takes?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from psycopg.types.json import Jsonb

from src.contracts.values import json_text
from src.storage.database import json_value


def json_column(value: Any) -> Jsonb:
    """A JSON document for a jsonb column. Raises ValueError for NaN and what JSON cannot hold."""
    plain = dict(value) if isinstance(value, Mapping) else value
    return json_value(json.loads(json_text(plain)))
