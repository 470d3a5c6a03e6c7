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
_STALLED = (f"{_LIMIT} s", "stream_chunk_timeout")
_PING = 0.03
_LETTERS = replace(REPLY, pieces=[*"Jupiter has ", "95 moons."])
_DOCUMENT = dumps(whole(note="x" * 200))
_DRIPPING = [part for start in range(0, 600, 60) for part in (_DOCUMENT[start : start + 60], 0.08)]


def _silent(name: str, fault: Any, *says: str, facts: Any = _READ, exact: bool = True, **more: Any) -> WireFault:
    """Nothing comes: the time-out, which is not tried again."""
    options = {"styles": SOME, "retries": 1, "settings": {"timeout": _LIMIT}, "at_least": 0.25, **more}
    return WireFault(f"silence-{name}", fault, failure("Timeout", *says, exact=exact, **facts), **options)


def _stalled(name: str, *slices: Any, after: str | None = BEGUN) -> WireFault:
    """Nothing comes that is content."""
    return WireFault(
        f"stall-{name}",
        slices[0] if isinstance(slices[0], Fault) else streamed(*slices),
        failure("StreamStalled", *_STALLED, after=after, **_READ),
        styles=SOME_STREAMED,
        retries=1,
        settings={"stream_chunk_timeout": _LIMIT},
        at_least=0.25,
    )


def _slow(name: str, fault: Fault, limit: float = 0.7, stall: float | None = 0.7, **more: Any) -> WireFault:
    """Slow, but live: longer than the limits in all, never between two signs of life."""
    settings = {"timeout": limit, "stream_chunk_timeout": stall}
    return WireFault(f"slow-{name}", fault, settings=settings, at_least=0.7, **more)


def _unasked(name: str, *slices: Any, sees: Failure, **settings: Any) -> WireFault:
    """A stream that nobody asked for, and nothing in it that is content."""
    fault = streamed(*slices, *[_PING, b": ping\n\n"] * 200)
    more = {"styles": PLAIN, "retries": 1, "settings": settings, "at_least": 0.25}
    return WireFault(f"unasked-stream-{name}", fault, sees, **more)


SILENCE = [
    _silent("before-the-head", Fault(pause=math.inf), f"{_LIMIT} s"),
    _silent("after-the-head", Fault(reply=REPLY, after=0, pause=math.inf), f"{_LIMIT} s"),
    _silent("in-the-document", Fault(reply=REPLY, after_bytes=50, pause=math.inf), f"{_LIMIT} s", styles=PLAIN),
    _silent(
        "with-comments-before-the-first-content",
        Fault(reply=REPLY, after=0, comments=_PING),
        *(f"{_LIMIT} s", "`timeout`"),
        styles=SOME_STREAMED,
        exact=False,
    ),
    _silent("from-a-server-that-never-reads", (), f"{_LIMIT} s", target="deaf", requests=0),
    _silent(
        "while-a-large-prompt-is-sent",
        (),
        facts={"phase": "write"},
        target="deaf",
        requests=0,
        prompt_bytes=16_000_000,
        styles=("invoke", "ainvoke", "astream"),
        # aiohttp leaves such a connection to the operating system, which holds it as long as the server does
        clients=("httpx",),
        retries=0,
        at_least=0,
    ),
    _stalled("without-a-byte", Fault(reply=REPLY, after=BEGUN_EVENTS, pause=math.inf)),
    _stalled("with-comments", Fault(reply=REPLY, after=BEGUN_EVENTS, comments=_PING)),
    _stalled("with-comments-before-the-first-content", Fault(reply=REPLY, after=0, comments=_PING), after=None),
    _stalled("without-a-byte-before-the-head", Fault(pause=math.inf), after=None),
    _stalled("with-empty-deltas", sse(*BEGINNING), *[_PING, sse(chunk({"content": ""}))] * 60),
    _stalled("with-keepalive-events", sse(*BEGINNING), *[_PING, b"data: : keepalive\n\n"] * 60),
    _stalled("with-pings-as-json", sse(*BEGINNING), *[_PING, sse({"type": "ping"})] * 60),
    _stalled("in-an-event-that-goes-on", sse(*BEGINNING), b"data: ", *[_PING, b"x"] * 60),
    _stalled("compressed", Fault(reply=REPLY, after=BEGUN_EVENTS, comments=_PING, encoding="gzip")),
    _unasked("of-comments", sees=failure("Timeout", f"{_LIMIT} s", "`timeout`", **_READ), timeout=_LIMIT),
    _unasked(
        "that-ends-in-comments",
        sse(*BEGINNING),
        sees=failure("StreamStalled", *_STALLED, after=BEGUN, **_READ),
        stream_chunk_timeout=_LIMIT,
    ),
    _slow("stream", Fault(reply=_LETTERS, pace=0.06), styles=SOME_STREAMED),
    _slow("first-byte", Fault(reply=REPLY, delay=0.4, after=1, pause=0.4), styles=SOME_STREAMED),
    _slow("document", Fault(slices=_DRIPPING, headers=JSON), styles=PLAIN),
    _slow(
        "with-comments-and-no-stall-limit",
        Fault(reply=REPLY, after=BEGUN_EVENTS, comments=_PING, pause=0.8),
        *(0.6, None),
        styles=SOME_STREAMED,
    ),
]


_LIMITED = {"max_event_bytes": 65_536}
_WINDOW_BITS = {"gzip": 31, "deflate": 15}
_BLOCK = b"x" * 65_536
_MANY = 100
_LARGE = "0123456789abcdef" * (5 << 16)
"""Five MiB of text."""


def _too_large(name: str, *slices: bytes, after: str | None = None, headers: Any = SSE, **more: Any) -> WireFault:
    sees = failure("Response", "65536", "max_event_bytes", after=after)
    return _large(f"too-large-{name}", streamed(*slices, headers=headers), sees, settings=_LIMITED, **more)


def _large(name: str, items: Any, sees: Any = None, **more: Any) -> WireFault:
    return WireFault(name, items, sees or Answer(text=_LARGE), **{"styles": STREAMED, **more})


@cache
def _bomb(start: bytes, wbits: int = 31) -> bytes:
    """A hundred megabytes, packed into a hundred kilobytes."""
    packer = zlib.compressobj(1, wbits=wbits)
    block = b"x" * (1 << 20)
    return b"".join([packer.compress(start), *(packer.compress(block) for _ in range(100)), packer.flush()])


def _bomb_fault(name: str, start: bytes, coding: str, headers: dict[str, str]) -> WireFault:
    def items(_: World) -> Fault:
        return streamed(_bomb(start, _WINDOW_BITS[coding]), headers={**headers, "content-encoding": coding})

    return WireFault(f"bomb-{name}", items, failure("Response", "max_event_bytes"), settings=_LIMITED)


_PIECES = [_LARGE[start : start + 8192] for start in range(0, 100 * 8192, 8192)]
_BODY = sse(chunk({"content": _LARGE}), STOP, tail()) + DONE
_PACKETS = [_BODY[start : start + 16_384] for start in range(0, len(_BODY), 16_384)]
_ARGUMENTS = [_LARGE[:32_768], _LARGE[:32_768]]
_CALL = [
    {"index": 0, "id": "call_1", "type": "function", "function": {"name": "write", "arguments": ""}},
    *({"index": 0, "function": {"arguments": piece}} for piece in ['{"text": "', *_ARGUMENTS, '"}']),
]

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
        settings=_LIMITED,
    ),
    _bomb_fault("line", b"data: ", "gzip", SSE),
    _bomb_fault("document", b'{"x": "', "gzip", JSON),
    _bomb_fault("deflate", b"data: ", "deflate", SSE),
    _large("large-event", events(chunk({"content": _LARGE}), STOP, tail())),
    _large("large-event-in-small-packets", streamed(*_PACKETS)),
    _large("large-document", Fault(body=whole({"role": "assistant", "content": _LARGE})), styles=PLAIN),
    _large(
        "large-stream-of-small-events",
        streamed(*(sse(chunk({"content": piece})) for piece in _PIECES), sse(STOP, tail()), DONE),
        Answer(text="".join(_PIECES)),
        settings=_LIMITED,
    ),
    _large(
        "large-tool-call",
        streamed(*(sse(chunk({"tool_calls": [call]})) for call in _CALL), sse(STOP, tail()), DONE),
        Answer(text="", tool_calls=[("write", {"text": "".join(_ARGUMENTS)})]),
    ),
    WireFault(
        "many-choices",
        events(*(dict(chunk(), choices=[{"index": 10**9 + n, "delta": {"content": "x"}}]) for n in range(300)), STOP),
        Answer(text="x" * 300, usage=None),
        styles=PLAIN,
    ),
]


FAULTS = [*SILENCE, *SIZES]
