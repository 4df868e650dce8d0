"""What are the parts of a PostgreSQL address, for libraries that want them one by one?"""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from src.errors import ConfigError


def postgres_parts(dsn: str, key: str) -> dict[str, Any]:
    """Host, port, database, user, password and sslmode of ``dsn``.

    Raises ConfigError naming ``key`` and not the address, which may hold a password.
    """
    try:
        parts = conninfo_to_dict(dsn)
        port = int(parts.get("port") or 5432)
    except (psycopg.ProgrammingError, ValueError):  # no address, or a port that is none (or several, for several hosts)
        parts, port = {}, 0
    if not parts.get("host") or not parts.get("user"):
        raise ConfigError(f"{key} is not a PostgreSQL URL (postgresql://user:password@host:port/database)")
    return {
        "host": str(parts["host"]),
        "port": port,
        "database": str(parts.get("dbname") or parts["user"]),
        "user": str(parts["user"]),
        "password": str(parts.get("password") or ""),
        # libpq's own default: encrypted where the server can, as everywhere else in the project.
        "sslmode": str(parts.get("sslmode") or "prefer"),
    }
