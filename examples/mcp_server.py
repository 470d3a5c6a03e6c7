# /// script
# requires-python = ">=3.11"
# dependencies = ["mcp"]
# ///
"""A small MCP server that speaks over stdin and stdout; `mcp_tools.py` starts it."""

from __future__ import annotations

from mcp.server.fastmcp import FastMCP

server = FastMCP("arithmetic", log_level="WARNING")


@server.tool()
def multiply(first: int, second: int) -> int:
    """Multiply two numbers."""
    return first * second


if __name__ == "__main__":
    server.run(transport="stdio")
