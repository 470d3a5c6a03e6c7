"""Print the README's table of results.json: what a chunk and a call cost, by client.

python benchmarks/readme.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_name("results.json")

_HEADS = ("langchain-core and the wire alone", "ChatPromptrun", "ChatMistralAI", "ChatOpenAI", "ChatOpenRouter")
_PEERS = ("mistralai", "openai", "openrouter")
_WORKS = {
    "stream, text": "`stream`, a chunk of text",
    "stream, a tool call's arguments": "`stream`, a chunk of a tool call",
    "stream, reasoning": "`stream`, a chunk of reasoning",
    "stream_events v3, text": '`stream_events(version="v3")`, an event',
    "astream over aiohttp, text": "`astream` over aiohttp, a chunk",
    "astream over httpx, text": "`astream` over httpx, a chunk",
    "invoke": "`invoke`, a call",
    "ainvoke over aiohttp, 10 at once": "`ainvoke` over aiohttp, 10 at once",
    "ainvoke over aiohttp, 200 at once": "`ainvoke` over aiohttp, 200 at once",
    "ainvoke over aiohttp, 1,000 at once": "`ainvoke` over aiohttp, 1,000 at once",
    "ainvoke over httpx, 10 at once": "`ainvoke` over httpx, 10 at once",
    "ainvoke over httpx, 200 at once": "`ainvoke` over httpx, 200 at once",
    "invoke, 1,000 messages, texts": "`invoke` with a history of 1,000 messages",
    "construct a model": "construct a model",
}


def table(results: dict[str, Any]) -> str:
    """Make the table, a line for each work."""
    costs = {row["work"]: row["costs"] for row in results["rows"]}
    lines = [("CPU microseconds", *_HEADS), *((title, *_cells(costs[work])) for work, title in _WORKS.items())]
    lines.insert(1, ("---",) * len(lines[0]))
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cells(costs: dict[str, Any]) -> tuple[str, ...]:
    limit = costs["core"] + costs.get("wire", 0.0)
    return tuple(_shown(cost) for cost in (limit, costs["promptrun"], *map(costs.get, _PEERS)))


def _shown(cost: float | str | None) -> str:
    if cost is None:
        return ""
    return "fails" if isinstance(cost, str) else f"{cost:,.0f}"


if __name__ == "__main__":
    print(table(json.loads(RESULTS.read_text())), end="")
