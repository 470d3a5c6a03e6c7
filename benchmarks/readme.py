"""Print what the README says of results.json: what a chunk and a call cost, by client, and what the extra buys.

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


def extra(results: dict[str, Any]) -> str:
    """Say what the extra buys."""
    costs = {row["work"]: round(row["costs"]["promptrun"]) for row in results["rows"]}
    over = {
        carrier: [costs[f"ainvoke over {carrier}, {count} at once"] for count in ("10", "200", "1,000")]
        + [costs[f"astream over {carrier}, text"]]
        for carrier in ("httpx", "aiohttp")
    }
    calls = {carrier: "{}, {} and {:,}".format(*found) for carrier, found in over.items()}
    chunk = {carrier: found[3] for carrier, found in over.items()}
    return (
        "What the extra `langchain-promptrun[aiohttp]` buys: an async call takes "
        f"{calls['aiohttp']} microseconds at 10, 200\n"
        f"and 1,000 at once, without it {calls['httpx']}; a chunk of `astream` takes "
        f"{chunk['aiohttp']} instead of {chunk['httpx']}.\n"
    )


def _cells(costs: dict[str, Any]) -> tuple[str, ...]:
    limit = costs["core"] + costs.get("wire", 0.0)
    return tuple(_shown(cost) for cost in (limit, costs["promptrun"], *map(costs.get, _PEERS)))


def _shown(cost: float | str | None) -> str:
    if cost is None:
        return ""
    return "fails" if isinstance(cost, str) else f"{cost:,.0f}"


if __name__ == "__main__":
    found = json.loads(RESULTS.read_text())
    print(table(found))
    print(extra(found), end="")
