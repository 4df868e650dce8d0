"""Do the generated SQL files say what the data contract says? Writes them, or with --check compares."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

PROJECT_ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT_ROOT))

from src.contracts.sql import build_added_values_sql, build_enum_sql, build_sql  # noqa: E402

CORE = PROJECT_ROOT / "database" / "core"


def main(arguments: list[str] | None = None) -> int:
    """Write the files; with --check write nothing and return 1 when one differs from the contract."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare only; exit code 1 on a difference")
    parser.add_argument("--folder", type=Path, default=CORE, help="folder of the SQL files (default: database/core)")
    options = parser.parse_args(arguments)
    differing = 0
    files = {
        "001_enums.sql": build_enum_sql,
        "010_core_tables.sql": build_sql,
        "051_added_values.sql": build_added_values_sql,
    }
    for name, build in files.items():
        text = build()
        file = options.folder / name
        if file.exists() and file.read_text(encoding="utf-8") == text:
            continue
        differing += 1
        if options.check:
            print(f"{file}: differs from the data contract; run scripts/gen_contract_sql.py", file=sys.stderr)
        else:
            file.write_text(text, encoding="utf-8")
            print(f"{file}: written")
    return int(options.check and differing > 0)


if __name__ == "__main__":
    sys.exit(main())
