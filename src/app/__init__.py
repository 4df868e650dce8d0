"""The application: ``from src.app import E2I``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from src.app.e2i import E2I

__all__ = ["E2I"]


def __getattr__(name: str) -> Any:
    """Load the Python API when it is asked for: importing a part of the application must not load all of it."""
    if name == "E2I":
        from src.app.e2i import E2I

        return E2I
    raise AttributeError(f"module 'src.app' has no attribute '{name}'")
