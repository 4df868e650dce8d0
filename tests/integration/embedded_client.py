"""A client process for the tests: attach, say the address, hold until told on stdin or killed."""

from __future__ import annotations

import sys
from pathlib import Path

from src.storage.embedded_postgres import EmbeddedPostgres

with EmbeddedPostgres(Path(sys.argv[1]), idle_grace_s=float(sys.argv[2])).attach() as lease:
    sys.stdout.write(lease.dsn + "\n")
    sys.stdout.flush()
    sys.stdin.readline()
