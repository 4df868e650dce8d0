"""Serve E2I to Claude and other MCP clients."""

from __future__ import annotations

from src.cli import output
from src.errors import ConfigError


def mcp() -> None:
    """Serve the tools ask, effect, datasets, runs and report over the Model Context Protocol (stdio).

    Example: claude mcp add e2i -- e2i mcp
    """
    import importlib.util

    if importlib.util.find_spec("mcp") is None:
        raise ConfigError("the MCP SDK is not installed: pip install 'e2i[mcp]'")
    from src.api.mcp_server import serve

    output.run(serve())
