"""Servers that say nothing, too little, too slowly or too much, and slow and large answers that must work."""

from __future__ import annotations

import math
import zlib
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

from langchain_promptrun.testing import Fault
from wire_faults.fault import PLAIN, SOME, SOME_STREAMED, STREAMED, Answer, Failure, WireFault, failure
from wire_faults.wire import (
    BEGINNING,
    BEGUN,
    BEGUN_EVENTS,
    DONE,
    JSON,
    REPLY,
    SSE,
    STOP,
    chunk,
    dumps,
    events,
    sse,
    streamed,
    tail,
    whole,
)

if TYPE_CHECKING:
    from wire_faults.world import World

_LIMIT = 0.3
_READ = {"phase": "read"}
_PING = 0.03
_LETTERS = replace(REPLY, pieces=[*"Jupiter has ", "95 moons."])
_DOCUMENT = dumps(whole(note="x" * 200))


def _silent(name: str, fault: Fault, **more: Any) -> WireFault:
    """Nothing comes: the read time-out, which is not tried again."""
    return WireFault(
        f"silence-{name}",
        fault,
        failure("Timeout", f"{_LIMIT} s", **_READ),
        retries=1,
        settings={"timeout": _LIMIT},
        at_least=0.25,
        **{"styles": SOME, **more},
    )


def _stalled(name: str, *slices: Any, after: str | None = BEGUN, fault: Fault | None = None) -> WireFault:
    """Nothing comes that is content."""
    return WireFault(
        f"stall-{name}",
        fault or streamed(*slices),
        failure("StreamStalled", f"{_LIMIT} s", "stream_chunk_timeout", after=after, **_READ),
        styles=SOME_STREAMED,
        retries=1,
        settings={"stream_chunk_timeout": _LIMIT},
        at_least=0.25,
    )


def _slow(name: str, fault: Fault, **more: Any) -> WireFault:
    """Slow, but live: longer than the limits in all, never between two signs of life."""
    return WireFault(
        f"slow-{name}", fault, settings={"timeout": 0.7, "stream_chunk_timeout": 0.7}, at_least=0.7, **more
    )


def _unasked(name: str, *slices: Any, sees: Failure, **settings: Any) -> WireFault:
    """A stream that nobody asked for, and nothing in it that is content."""
    return WireFault(
        f"unasked-stream-{name}",
        streamed(*slices, *[_PING, b": ping\n\n"] * 200),
        sees,
        styles=PLAIN,
        retries=1,
        settings={**settings},
        at_least=0.25,
    )


SILENCE = [
    _silent("before-the-head", Fault(pause=math.inf)),
    _silent("after-the-head", Fault(reply=REPLY, after=0, pause=math.inf)),
    _silent("in-the-document", Fault(reply=REPLY, after_bytes=50, pause=math.inf), styles=PLAIN),
    WireFault(
        "silence-with-comments-before-the-first-content",
        Fault(reply=REPLY, after=0, comments=_PING),
        failure("Timeout", f"{_LIMIT} s", "`timeout`", exact=False, **_READ),
        retries=1,
        settings={"timeout": _LIMIT},
        styles=SOME_STREAMED,
        at_least=0.25,
    ),
    WireFault(
        "silence-from-a-server-that-never-reads",
        target="deaf",
        requests=0,
        styles=SOME,
        settings={"timeout": _LIMIT},
        sees=failure("Timeout", f"{_LIMIT} s", **_READ),
        at_least=0.25,
    ),
    WireFault(
        "silence-while-a-large-prompt-is-sent",
        target="deaf",
        requests=0,
        prompt_bytes=16_000_000,
        settings={"timeout": _LIMIT},
        styles=("invoke", "ainvoke", "astream"),
        clients=("httpx",),
        sees=failure("Timeout", phase="write"),
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
    _unasked("of-comments", sees=failure("Timeout", f"{_LIMIT} s", "`timeout`", **_READ), timeout=_LIMIT),
    _unasked(
        "that-ends-in-comments",
        sse(*BEGINNING),
        sees=failure("StreamStalled", f"{_LIMIT} s", "stream_chunk_timeout", after=BEGUN, **_READ),
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
        "slow-with-comments-and-no-stall-limit",
        Fault(reply=REPLY, after=BEGUN_EVENTS, comments=_PING, pause=0.8),
        styles=SOME_STREAMED,
        settings={"timeout": 0.6, "stream_chunk_timeout": None},
        at_least=0.7,
    ),
]


_MOST_BYTES = 65_536
_BLOCK = b"x" * 65_536
_MANY = 100
_LARGE = "0123456789abcdef" * (5 << 16)
"""Five MiB of text."""


def _too_large(
    name: str, *slices: bytes, after: str | None = None, headers: dict[str, str] = SSE, **more: Any
) -> WireFault:
    return WireFault(
        f"too-large-{name}",
        streamed(*slices, headers=headers),
        failure("Response", "65536", "max_event_bytes", after=after),
        retries=0,
        settings={"max_event_bytes": _MOST_BYTES},
        **{"styles": STREAMED, **more},
    )


@cache
def _bomb(start: bytes, wbits: int = 31) -> bytes:
    """A hundred megabytes, packed into a hundred kilobytes."""
    packer = zlib.compressobj(1, wbits=wbits)
    block = b"x" * (1 << 20)
    return b"".join([packer.compress(start), *(packer.compress(block) for _ in range(100)), packer.flush()])


def _bomb_fault(name: str, make: Any, coding: str, headers: dict[str, str], **more: Any) -> WireFault:
    def items(_: World) -> list[Fault]:
        return [streamed(make(), headers={**headers, "content-encoding": coding})]

    return WireFault(
        f"bomb-{name}", items, failure("Response", "max_event_bytes"), settings={"max_event_bytes": _MOST_BYTES}, **more
    )


_PIECES = [_LARGE[start : start + 8192] for start in range(0, len(_LARGE), 8192)]
_ARGUMENTS = [_LARGE[:32_768], _LARGE[:32_768]]

SIZES = [
    _too_large("line", b"data: ", *[_BLOCK] * _MANY),
    _too_large("line-later", sse(*BEGINNING), b"data: ", *[_BLOCK] * _MANY, after=BEGUN),
    _too_large("line-without-a-name", *[_BLOCK] * _MANY),
    _too_large("comment", b": ", *[_BLOCK] * _MANY),
    _too_large("event-of-many-lines", *[b"data: x\n" * 8192] * _MANY),
    _too_large("event-of-empty-lines", *[b"data\n" * 8192] * _MANY),
    _too_large("document", b'{"choices": "', *[_BLOCK] * _MANY, headers=JSON, styles=(*PLAIN, *STREAMED)),
    WireFault(
        "large-white-space",
        streamed(*[b" " * 65_536] * _MANY, headers=JSON),
        failure("StreamTruncated"),
        styles=("invoke", "astream"),
        settings={"max_event_bytes": _MOST_BYTES},
    ),
    _bomb_fault("line", lambda: _bomb(b"data: "), "gzip", SSE),
    _bomb_fault("document", lambda: _bomb(b'{"x": "'), "gzip", JSON),
    _bomb_fault("deflate", lambda: _bomb(b"data: ", 15), "deflate", SSE),
    WireFault("large-event", events(chunk({"content": _LARGE}), STOP, tail()), Answer(text=_LARGE), styles=STREAMED),
    WireFault(
        "large-event-in-small-packets",
        lambda _: [streamed(*_cut(sse(chunk({"content": _LARGE}), STOP, tail()) + DONE))],
        Answer(text=_LARGE),
        styles=STREAMED,
    ),
    WireFault(
        "large-document",
        lambda _: [Fault(body=whole({"role": "assistant", "content": _LARGE}))],
        Answer(text=_LARGE),
        styles=PLAIN,
    ),
    WireFault(
        "large-stream-of-small-events",
        lambda _: [streamed(*(sse(chunk({"content": piece})) for piece in _PIECES[:100]), sse(STOP, tail()), DONE)],
        Answer(text="".join(_PIECES[:100])),
        styles=STREAMED,
        settings={"max_event_bytes": _MOST_BYTES},
    ),
    WireFault(
        "large-tool-call",
        lambda _: [
            streamed(*(sse(chunk({"tool_calls": [call]})) for call in _call(_ARGUMENTS)), sse(STOP, tail()), DONE)
        ],
        Answer(text="", tool_calls=[("write", {"text": "".join(_ARGUMENTS)})]),
        styles=STREAMED,
    ),
    WireFault(
        "many-choices",
        events(*(dict(chunk(), choices=[{"index": 10**9 + n, "delta": {"content": "x"}}]) for n in range(300)), STOP),
        Answer(text="x" * 300, usage=None),
        styles=PLAIN,
    ),
]


def _cut(body: bytes, size: int = 16_384) -> list[bytes]:
    return [body[start : start + size] for start in range(0, len(body), size)]


def _call(pieces: list[str]) -> list[dict[str, Any]]:
    """A tool call whose arguments come in pieces."""
    arguments = ['{"text": "', *pieces, '"}']
    first = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "write", "arguments": ""}}
    return [first, *({"index": 0, "function": {"arguments": piece}} for piece in arguments)]


FAULTS = [*SILENCE, *SIZES]
