"""Servers that say nothing, too little or too slowly, and slow ones that must not be cut off."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from langchain_promptrun.errors import PromptrunStreamStalledError, PromptrunTimeoutError
from langchain_promptrun.testing import Fault
from wire_faults.fault import PLAIN, SOME, SOME_STREAMED, Failure, WireFault
from wire_faults.wire import BEGINNING, BEGUN, BEGUN_EVENTS, JSON, REPLY, chunk, dumps, sse, streamed, whole

_LIMIT = 0.3
_READ = {"phase": "read"}
_PING = 0.03
_LETTERS = replace(REPLY, pieces=[*"Jupiter has ", "95 moons."])
_DOCUMENT = dumps(whole(note="x" * 200))


def _silent(name: str, fault: Fault, **more: Any) -> WireFault:
    """Nothing comes: the read time-out, which is not tried again."""
    return WireFault(
        name=f"silence-{name}",
        items=[fault],
        settings={"timeout": _LIMIT, "max_retries": 1},
        sees=Failure(kind=PromptrunTimeoutError, says=[f"{_LIMIT} s"], facts=_READ),
        at_least=0.25,
        **{"styles": SOME, **more},
    )


def _stalled(name: str, *slices: Any, after: str | None = BEGUN, fault: Fault | None = None) -> WireFault:
    """Nothing comes that is content."""
    return WireFault(
        name=f"stall-{name}",
        items=[fault or streamed(*slices)],
        styles=SOME_STREAMED,
        settings={"stream_chunk_timeout": _LIMIT, "max_retries": 1},
        sees=Failure(
            kind=PromptrunStreamStalledError, says=[f"{_LIMIT} s", "stream_chunk_timeout"], after=after, facts=_READ
        ),
        at_least=0.25,
    )


def _slow(name: str, fault: Fault, **more: Any) -> WireFault:
    """Slow, but live: longer than the limits in all, never between two signs of life."""
    return WireFault(
        name=f"slow-{name}",
        items=[fault],
        settings={"timeout": 0.7, "stream_chunk_timeout": 0.7},
        at_least=0.7,
        **more,
    )


def _unasked(name: str, *slices: Any, sees: Failure, **settings: Any) -> WireFault:
    """A stream that nobody asked for, and nothing in it that is content."""
    return WireFault(
        name=f"unasked-stream-{name}",
        items=[streamed(*slices, *[_PING, b": ping\n\n"] * 200)],
        styles=PLAIN,
        settings={"max_retries": 1, **settings},
        sees=sees,
        at_least=0.25,
    )


FAULTS = [
    _silent("before-the-head", Fault(pause=math.inf)),
    _silent("after-the-head", Fault(reply=REPLY, after=0, pause=math.inf)),
    _silent("in-the-document", Fault(reply=REPLY, after_bytes=50, pause=math.inf), styles=PLAIN),
    WireFault(
        name="silence-with-comments-before-the-first-content",
        items=[Fault(reply=REPLY, after=0, comments=_PING)],
        settings={"timeout": _LIMIT, "max_retries": 1},
        styles=SOME_STREAMED,
        sees=Failure(kind=PromptrunTimeoutError, exact=False, says=[f"{_LIMIT} s", "`timeout`"], facts=_READ),
        at_least=0.25,
    ),
    WireFault(
        name="silence-from-a-server-that-never-reads",
        target="deaf",
        requests=0,
        styles=SOME,
        settings={"timeout": _LIMIT},
        sees=Failure(kind=PromptrunTimeoutError, says=[f"{_LIMIT} s"], facts=_READ),
        at_least=0.25,
    ),
    WireFault(
        name="silence-while-a-large-prompt-is-sent",
        target="deaf",
        requests=0,
        prompt_bytes=16_000_000,
        settings={"timeout": _LIMIT},
        styles=("invoke", "ainvoke", "astream"),
        # aiohttp leaves such a connection to the operating system, which holds it as long as the server does
        clients=("httpx",),
        sees=Failure(kind=PromptrunTimeoutError, facts={"phase": "write"}),
    ),
    _stalled("without-a-byte", fault=Fault(reply=REPLY, after=BEGUN_EVENTS, pause=math.inf)),
    _stalled("with-comments", fault=Fault(reply=REPLY, after=BEGUN_EVENTS, comments=_PING)),
    _stalled("with-comments-before-the-first-content", fault=Fault(reply=REPLY, after=0, comments=_PING), after=None),
    _stalled("without-a-byte-before-the-head", fault=Fault(pause=math.inf), after=None),
    _stalled("with-empty-deltas", sse(*BEGINNING), *[_PING, sse(chunk({"content": ""}))] * 60),
    _stalled("with-keepalive-events", sse(*BEGINNING), *[_PING, b"data: : keepalive\n\n"] * 60),
    _stalled("with-pings-as-json", sse(*BEGINNING), *[_PING, sse({"type": "ping"})] * 60),
    _stalled("in-an-event-that-goes-on", sse(*BEGINNING), b"data: ", *[_PING, b"x"] * 60),
    _stalled("compressed", fault=Fault(reply=REPLY, after=BEGUN_EVENTS, comments=_PING, encoding="gzip")),
    _unasked(
        "of-comments",
        sees=Failure(kind=PromptrunTimeoutError, says=[f"{_LIMIT} s", "`timeout`"], facts=_READ),
        timeout=_LIMIT,
    ),
    _unasked(
        "that-ends-in-comments",
        sse(*BEGINNING),
        sees=Failure(
            kind=PromptrunStreamStalledError, says=[f"{_LIMIT} s", "stream_chunk_timeout"], after=BEGUN, facts=_READ
        ),
        stream_chunk_timeout=_LIMIT,
    ),
    _slow("stream", Fault(reply=_LETTERS, pace=0.06), styles=SOME_STREAMED),
    _slow("first-byte", Fault(reply=REPLY, delay=0.4, after=1, pause=0.4), styles=SOME_STREAMED),
    _slow(
        "document",
        Fault(
            slices=[part for start in range(0, 600, 60) for part in (_DOCUMENT[start : start + 60], 0.08)], headers=JSON
        ),
        styles=PLAIN,
    ),
    WireFault(
        name="slow-with-comments-and-no-stall-limit",
        items=[Fault(reply=REPLY, after=BEGUN_EVENTS, comments=_PING, pause=0.8)],
        styles=SOME_STREAMED,
        settings={"timeout": 0.6, "stream_chunk_timeout": None},
        at_least=0.7,
    ),
]
