"""What users feel: many streams at the pace of a fast model; how late each token is.

Each token's text is the time at which the server sent it, on the clock that both processes share.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any

import clients
from measures import Attempt, Bench, Row

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from measures import Cost

_STREAMS = 200
_TOKENS = 50
_INTERVAL_MS = 20  # 50 tokens a second
_MILLISECONDS = 1000
_WORK = (
    "time to first token, median",
    "time to first token, 99th percentile",
    "delay of a token, median",
    "delay of a token, 99th percentile",
    "CPU time a token",
)


def paced(bench: Bench) -> list[Row]:
    """200 streams at once, 50 tokens a second each."""
    count = bench.scaled(_TOKENS)
    url = f"{bench.url}/paced/{count}/{_INTERVAL_MS}"
    wire = bench.closing(clients.AsyncWire(url, "aiohttp"))
    models = {"promptrun": clients.promptrun(url)}
    models |= {name: make(url) for name, make in bench.chosen("openai").items()}
    streams: dict[str, Callable[[], AsyncIterator[str]]] = {"wire": partial(_of_wire, wire)}
    streams |= {name: partial(_of_model, model) for name, model in models.items()}
    found: dict[str, tuple[Cost, ...]] = {}
    for name, open_stream in streams.items():
        with Attempt() as attempt:
            found[name] = bench.runner.run(_figures(open_stream, bench.scaled(_STREAMS)))
        if attempt.failure is not None:
            found[name] = (attempt.failure,) * len(_WORK)
    units = ("ms", "ms", "ms", "ms", "us")
    title = f"{bench.scaled(_STREAMS)} streams, 50 tokens a second: "
    return [
        Row("paced", title + work, units[place], {name: figures[place] for name, figures in found.items()})
        for place, work in enumerate(_WORK)
    ]


async def _figures(open_stream: Callable[[], AsyncIterator[str]], streams: int) -> tuple[Cost, ...]:
    await asyncio.gather(*(_delays(open_stream) for _ in range(streams)))  # opens the connections
    cpu = time.process_time()
    found = await asyncio.gather(*(_delays(open_stream) for _ in range(streams)))
    cpu = time.process_time() - cpu
    firsts = [first for first, _ in found]
    delays = [delay for _, later in found for delay in later]
    return (median(firsts), _late(firsts), median(delays), _late(delays), cpu / len(delays) * 1e6)


async def _delays(open_stream: Callable[[], AsyncIterator[str]]) -> tuple[float, list[float]]:
    """Milliseconds from the call to the first token, and from the sending of each token to its arrival."""
    start = time.monotonic()
    first, delays = 0.0, []
    async for text in open_stream():
        now = time.monotonic()
        first = first or (now - start) * _MILLISECONDS
        delays.append((now - float(text)) * _MILLISECONDS)
    return first, delays


async def _of_model(model: Any) -> AsyncIterator[str]:
    async for chunk in model.astream(clients.QUESTION):
        if chunk.content:
            yield chunk.content


async def _of_wire(wire: clients.AsyncWire) -> AsyncIterator[str]:
    async for document in wire.documents():
        for choice in document["choices"]:
            if text := choice["delta"].get("content"):
                yield text


def _late(numbers: list[float]) -> float:
    """The 99th percentile."""
    return sorted(numbers)[int(len(numbers) * 0.99)]
