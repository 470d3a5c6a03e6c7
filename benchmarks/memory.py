"""What an open stream holds, and what of a long one stays with who reads it."""

from __future__ import annotations

import gc
import tracemalloc
from typing import TYPE_CHECKING, Any

import answers
import clients
from measures import Bench, Bound, Row

from langchain_promptrun._responses.events import EventParser
from langchain_promptrun._responses.outputs import ChunkParser

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from measures import Cost

KIBIBYTE = 1024

_OPEN = 1_000
# httpcore looks at all connections for each request: of more it would take minutes.
_OPEN_HTTPCORE = 200
_READ = 10
_CHUNKS = 100_000
# by then a reader has all the text that it keeps for an error
_FEW_CHUNKS = 20_000
_FILLING = 1_000
_HEADERS = {"content-type": "text/event-stream"}
_LARGEST_EVENT = 64 << 20


def memory(bench: Bench) -> list[Row]:
    """Streams held open, sync and async, and readers fed with many chunks."""
    url = f"{bench.url}/hold/{_READ}"
    core = clients.from_memory(f"{bench.url}/text/{_READ}", "text", _READ)
    wire, model = clients.Wire(url), clients.promptrun(url)
    number = bench.scaled(_OPEN_HTTPCORE)
    costs: dict[str, Cost] = {
        "core": _held(lambda: _open_stream(core), number),
        "wire": _held(lambda: _open_wire(wire), number),
        "promptrun": _held(lambda: _open_stream(model), number),
    }
    rows = _above("stream", number, costs)
    for transport, most in (("aiohttp", _OPEN), ("httpx", _OPEN_HTTPCORE)):
        number = bench.scaled(most)
        costs = bench.runner.run(_async_costs(core, url, transport, number))
        rows += _above(f"astream over {transport}", number, costs)
    few, many = bench.scaled(_FEW_CHUNKS), bench.scaled(_CHUNKS)
    kept = {name: _kept(reader, few, many) for name, reader in (("chunks", ChunkParser), ("events", EventParser))}
    work = f"a reader of {{}} keeps at most of {many - few:,} chunks"
    of_chunks = Row("memory", work.format("chunks"), "KiB", {"promptrun": kept["chunks"]}, (Bound("", 8.0),))
    return [*rows, of_chunks, Row("memory", work.format("events (their text)"), "KiB", {"promptrun": kept["events"]})]


def _above(work: str, number: int, costs: dict[str, Cost]) -> list[Row]:
    above = {"promptrun": costs["promptrun"] - costs["core"] - costs["wire"]}
    work = f"{work}, {number:,} open, each"
    return [Row("memory", work, "KiB", costs), Row("memory", "above core and wire", "KiB", above, (Bound("", 60.0),))]


def _held(open_one: Callable[[], Any], number: int) -> float:
    """KiB that one of many open streams holds."""
    open_one().close()
    gc.collect()
    tracemalloc.start()
    streams = [open_one() for _ in range(number)]
    held = _traced()
    tracemalloc.stop()
    for stream in streams:
        stream.close()
    return held / number


async def _async_costs(core: Any, url: str, transport: str, number: int) -> dict[str, Cost]:
    wire = clients.AsyncWire(url, transport)
    model = clients.promptrun(url, async_transport=transport)
    costs: dict[str, Cost] = {
        "core": await _aheld(lambda: _aopen_stream(core), number),
        "wire": await _aheld(lambda: _aopen_wire(wire), number),
        "promptrun": await _aheld(lambda: _aopen_stream(model), number),
    }
    await wire.aclose()
    return costs


async def _aheld(open_one: Callable[[], Awaitable[Any]], number: int) -> float:
    """KiB that one of many open streams holds."""
    await (await open_one()).aclose()
    gc.collect()
    tracemalloc.start()
    streams = [await open_one() for _ in range(number)]
    held = _traced()
    tracemalloc.stop()
    for stream in streams:
        await stream.aclose()
    return held / number


def _open_stream(model: Any) -> Any:
    stream = model.stream(clients.QUESTION)
    for _ in range(_READ):
        next(stream)
    return stream


def _open_wire(wire: clients.Wire) -> Any:
    stream = wire.documents()
    for _ in range(_READ):
        next(stream)
    return stream


async def _aopen_stream(model: Any) -> Any:
    stream = model.astream(clients.QUESTION)
    for _ in range(_READ):
        await anext(stream)
    return stream


async def _aopen_wire(wire: clients.AsyncWire) -> Any:
    stream = wire.documents()
    for _ in range(_READ):
        await anext(stream)
    return stream


def _kept(reader_type: Callable[..., Any], few: int, many: int) -> float:
    """KiB that a reader holds more at its worst, after a few chunks, with nobody keeping what it makes of them."""
    reader = reader_type(200, _HEADERS, model=answers.MODEL, max_event_bytes=_LARGEST_EVENT)
    events = [piece[piece.index(b"data: ") : -2] for piece in answers.opening("text", 20)[1:]]
    tracemalloc.start()
    for number in range(few):
        reader.feed(events[number % len(events)])
    gc.collect()
    # the collection empties the interpreter's free lists, which fill again with the next chunks
    for number in range(_FILLING):
        reader.feed(events[number % len(events)])
    held = tracemalloc.get_traced_memory()[0] / KIBIBYTE
    tracemalloc.reset_peak()
    for number in range(few, many):
        reader.feed(events[number % len(events)])
    peak = tracemalloc.get_traced_memory()[1] / KIBIBYTE
    tracemalloc.stop()
    return peak - held


def _traced() -> float:
    gc.collect()
    return tracemalloc.get_traced_memory()[0] / KIBIBYTE
