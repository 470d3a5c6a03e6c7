# /// script
# requires-python = ">=3.11"
# dependencies = ["langchain-promptrun", "langchain", "langchain-mcp-adapters", "mcp"]
# [tool.uv.sources]
# langchain-promptrun = { path = "..", editable = true }
# ///
"""An agent with the tools of an MCP server, which runs as a process of its own and speaks over its stdin and stdout."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from langchain.agents import create_agent
from langchain_mcp_adapters.client import MultiServerMCPClient
from langchain_mcp_adapters.tools import load_mcp_tools
from promptrun_or_offline import run

from langchain_promptrun import ChatPromptrun

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

SERVER = {"transport": "stdio", "command": sys.executable, "args": [str(Path(__file__).with_name("mcp_server.py"))]}


async def ask(question: str) -> list[BaseMessage]:
    """Ask an agent that has the server's tools; one server process serves the whole question."""
    client = MultiServerMCPClient({"arithmetic": SERVER})
    async with client.session("arithmetic") as session:
        agent = create_agent(ChatPromptrun(model="openai/gpt-4o"), tools=await load_mcp_tools(session))
        state = await agent.ainvoke({"messages": [("user", question)]})
    return state["messages"]


def main() -> None:
    """Show the conversation."""
    for message in asyncio.run(ask("Please multiply 6 by 7.")):
        message.pretty_print()


if __name__ == "__main__":
    run(main)
