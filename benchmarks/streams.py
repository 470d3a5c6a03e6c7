"""What a chunk of a stream costs, and a protocol event."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import clients
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models._compat_bridge import chunks_to_events
from measures import Bench, Bound, Row, adrain, at_once, drain, medians, uncollected, warm_minima

if TYPE_CHECKING:
    from collections.abc import Callable

    from measures import Cost, Run

PER_CHUNK = "us a chunk"
PER_EVENT = "us an event"
CHUNKS = 2_000
LONG = 100_000
AT_ONCE = 200
CHUNKS_AT_ONCE = 50
TRANSPORTS = ("aiohttp", "httpx")

_ASYNC_PEERS = ("mistralai", "openai")

_OF_LIMIT = Bound("limit", 1.15)
_OF_OPENAI = Bound("openai", 0.2)
_KINDS = {"text": "text", "tools": "a tool call's arguments", "reasoning": "reasoning"}
# Of a reasoning stream the peers hand over nothing, or not as reasoning.
_PEERS_OF_KIND: dict[str, tuple[str, ...]] = {
    "text": ("mistralai", "openai", "openrouter"),
    "tools": ("openai",),
    "reasoning": (),
}


def stream(bench: Bench) -> list[Row]:
    """`stream` and `astream`, for each kind of chunk, and whether long streams cost more."""
    rows = [*_kinds(bench), *_async_kinds(bench)]
    return [*rows, *_long(bench), *_many(bench)]


def _kinds(bench: Bench) -> list[Row]:
    rows = []
    for kind, title in _KINDS.items():
        count = bench.scaled(CHUNKS)
        url = f"{bench.url}/{kind}/{count}"
        peers = {name: _stream(make(url)) for name, make in bench.chosen(*_PEERS_OF_KIND[kind]).items()}
        costs = medians(_sync_runs(url, kind, count) | peers, bench.rounds(7), count)
        bounds = (_OF_LIMIT, _OF_OPENAI) if kind == "text" else (_OF_LIMIT,)
        rows.append(Row("stream", f"stream, {title}", PER_CHUNK, costs, bounds))
    return rows


def _async_kinds(bench: Bench) -> list[Row]:
    count = bench.scaled(CHUNKS)
    rows = []
    for kind, title in _KINDS.items():
        for transport in TRANSPORTS:
            peers = _ASYNC_PEERS if (kind, transport) == ("text", "aiohttp") else ()
            runs = _async_runs(bench, f"{bench.url}/{kind}/{count}", kind, transport, peers)
            costs = medians({name: bench.in_loop(run) for name, run in runs.items()}, bench.rounds(7), count)
            bounds = (_OF_LIMIT, _OF_OPENAI) if peers else (_OF_LIMIT,)
            rows.append(Row("stream", f"astream over {transport}, {title}", PER_CHUNK, costs, bounds))
    return rows


def _long(bench: Bench) -> list[Row]:
    """A long stream: langchain-core and garbage collection cost more there, ChatPromptrun itself must not.

    ChatPromptrun makes a chunk for less than its constructor takes. So that its own share is more than nothing, the
    chunks that langchain-core hands on there are made in the same way.
    """
    short, long = bench.scaled(CHUNKS), bench.scaled(LONG)
    runs = {count: _sync_runs(f"{bench.url}/text/{count}", "text", count) for count in (short, long)}
    shares = []
    for count, rounds in ((short, bench.rounds(15)), (long, bench.rounds(3))):
        core = clients.from_memory(f"{bench.url}/text/{count}", "text", count, clients.RestoredFromMemory)
        costs = runs[count] | {"core": _stream(core)}
        shares.append(_own_share(warm_minima({name: uncollected(run) for name, run in costs.items()}, rounds, count)))
    share = dict(zip(("before", "promptrun"), shares, strict=True))
    work = f"stream, text, {long:,} chunks: own share, least of all rounds, uncollected"
    return [Row("stream", work, PER_CHUNK, share, (Bound("before", 1.2),))]


def _many(bench: Bench) -> list[Row]:
    times, count = bench.scaled(AT_ONCE), CHUNKS_AT_ONCE
    runs = _async_runs(bench, f"{bench.url}/text/{count}", "text", "aiohttp", _ASYNC_PEERS)
    many = {name: bench.in_loop(partial(at_once, run, times)) for name, run in runs.items()}
    costs = medians(many, bench.rounds(3), times * count)
    work = f"astream over aiohttp, {times} at once, {count} chunks each"
    return [Row("stream", work, PER_CHUNK, costs, (_OF_LIMIT,))]


def events(bench: Bench) -> list[Row]:
    """Protocol events (v3), against langchain-core's bridge over chunks that cost nothing, and ChatOpenAI."""
    count = bench.scaled(CHUNKS)
    url = f"{bench.url}/text/{count}"
    real = clients.promptrun(url)
    free = clients.from_memory(url, "text", count, clients.BuiltBefore)
    free._chunks = list(real._stream(clients.MESSAGES))
    native = clients.from_memory(url, "text", count, clients.EventsFromMemory)
    native._events = list(real._stream_chat_model_events(clients.MESSAGES))
    peers = {name: make(url) for name, make in bench.peers.items()}
    models = {"core": native, "promptrun": real, "bridge": free} | peers
    runs = {name: partial(_events, model) for name, model in models.items()} | {"wire": clients.Wire(url).stream}
    bounds = (Bound("openai", 0.11), Bound("bridge", 1.0))
    rows = [Row("events", "stream_events v3, text", PER_EVENT, medians(runs, bench.rounds(6), count), bounds)]
    heard = {name: partial(_events, model, [Tokens()]) for name, model in models.items() if name != "bridge"}
    costs = medians(heard, bench.rounds(6), count)
    rows.append(Row("events", "stream_events v3, text, a handler of tokens", PER_EVENT, costs))
    hooks = {
        "bridge": lambda: drain(chunks_to_events(iter(free._chunks))),
        "promptrun": lambda: drain(real._stream_chat_model_events(clients.MESSAGES)),
        "wire": clients.Wire(url).stream,
    }
    rows.append(Row("events", "its source alone", PER_EVENT, medians(hooks, bench.rounds(9), count)))
    real = clients.promptrun(url, async_transport="aiohttp")
    models = {"core": native, "promptrun": real, "bridge": free}
    models |= {name: make(url) for name, make in bench.chosen("openai").items()}
    runs = {name: bench.in_loop(partial(_aevents, model)) for name, model in models.items()}
    runs["wire"] = bench.in_loop(bench.closing(clients.AsyncWire(url, "aiohttp")).stream)
    costs = medians(runs, bench.rounds(9), count)
    return [*rows, Row("events", "astream_events v3, text", PER_EVENT, costs, bounds)]


def _sync_runs(url: str, kind: str, count: int) -> dict[str, Run]:
    return {
        "core": _stream(clients.from_memory(url, kind, count)),
        "wire": clients.Wire(url).stream,
        "promptrun": _stream(clients.promptrun(url)),
    }


def _async_runs(
    bench: Bench, url: str, kind: str, transport: str, peers: tuple[str, ...]
) -> dict[str, Callable[[], Any]]:
    count = int(url.rpartition("/")[2])
    models: dict[str, Any] = {
        "core": clients.from_memory(url, kind, count),
        "promptrun": clients.promptrun(url, async_transport=transport),
    }
    models |= {name: make(url) for name, make in bench.chosen(*peers).items()}
    runs: dict[str, Callable[[], Any]] = {name: partial(_astream, model) for name, model in models.items()}
    return runs | {"wire": bench.closing(clients.AsyncWire(url, transport)).stream}


def _stream(model: Any) -> Run:
    return lambda: drain(model.stream(clients.QUESTION))


async def _astream(model: Any) -> int:
    return await adrain(model.astream(clients.QUESTION))


class Tokens(BaseCallbackHandler):
    """Takes every token, as tracers do."""

    def on_llm_new_token(self, token: str, **_: Any) -> None:
        """Do nothing with it."""


def _events(model: Any, handlers: list[BaseCallbackHandler] | None = None) -> int:
    return drain(model.stream_events(clients.QUESTION, {"callbacks": handlers}, version="v3"))


async def _aevents(model: Any) -> int:
    return await adrain(await model.astream_events(clients.QUESTION, version="v3"))


def _own_share(costs: dict[str, float]) -> Cost:
    """What is left without langchain-core and the wire."""
    core, wire, total = costs["core"], costs["wire"], costs["promptrun"]
    return total - core - wire
