"""Answers too large to be kept, also when they come packed, and large ones that must work."""

from __future__ import annotations

import zlib
from functools import cache
from typing import TYPE_CHECKING, Any

from langchain_promptrun.errors import PromptrunResponseError, PromptrunStreamTruncatedError
from langchain_promptrun.testing import Fault
from wire_faults.fault import PLAIN, STREAMED, Answer, Failure, WireFault
from wire_faults.wire import BEGINNING, BEGUN, DONE, JSON, SSE, STOP, chunk, events, sse, streamed, tail, whole

if TYPE_CHECKING:
    from wire_faults.world import World

_LIMIT = 65_536
_BLOCK = b"x" * 65_536
_MANY = 100
_LARGE = "0123456789abcdef" * (5 << 16)
"""Five MiB of text."""


def _too_large(
    name: str, *slices: bytes, after: str | None = None, headers: dict[str, str] = SSE, **more: Any
) -> WireFault:
    return WireFault(
        name=f"too-large-{name}",
        items=[streamed(*slices, headers=headers)],
        settings={"max_event_bytes": _LIMIT, "max_retries": 0},
        sees=Failure(kind=PromptrunResponseError, says=["65536", "max_event_bytes"], after=after),
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
        name=f"bomb-{name}",
        items=items,
        settings={"max_event_bytes": _LIMIT},
        sees=Failure(kind=PromptrunResponseError, says=["max_event_bytes"]),
        **more,
    )


_PIECES = [_LARGE[start : start + 8192] for start in range(0, len(_LARGE), 8192)]
_ARGUMENTS = [_LARGE[:32_768], _LARGE[:32_768]]

FAULTS = [
    _too_large("line", b"data: ", *[_BLOCK] * _MANY),
    _too_large("line-later", sse(*BEGINNING), b"data: ", *[_BLOCK] * _MANY, after=BEGUN),
    _too_large("line-without-a-name", *[_BLOCK] * _MANY),
    _too_large("comment", b": ", *[_BLOCK] * _MANY),
    _too_large("event-of-many-lines", *[b"data: x\n" * 8192] * _MANY),
    _too_large("event-of-empty-lines", *[b"data\n" * 8192] * _MANY),
    _too_large("document", b'{"choices": "', *[_BLOCK] * _MANY, headers=JSON, styles=(*PLAIN, *STREAMED)),
    WireFault(
        name="large-white-space",
        items=[streamed(*[b" " * 65_536] * _MANY, headers=JSON)],
        styles=("invoke", "astream"),
        settings={"max_event_bytes": _LIMIT},
        sees=Failure(kind=PromptrunStreamTruncatedError),
    ),
    _bomb_fault("line", lambda: _bomb(b"data: "), "gzip", SSE),
    _bomb_fault("document", lambda: _bomb(b'{"x": "'), "gzip", JSON),
    _bomb_fault("deflate", lambda: _bomb(b"data: ", 15), "deflate", SSE),
    WireFault(
        name="large-event",
        items=[events(chunk({"content": _LARGE}), STOP, tail())],
        styles=STREAMED,
        sees=Answer(text=_LARGE),
    ),
    WireFault(
        name="large-event-in-small-packets",
        items=lambda _: [streamed(*_cut(sse(chunk({"content": _LARGE}), STOP, tail()) + DONE))],
        styles=STREAMED,
        sees=Answer(text=_LARGE),
    ),
    WireFault(
        name="large-document",
        items=lambda _: [Fault(body=whole({"role": "assistant", "content": _LARGE}))],
        styles=PLAIN,
        sees=Answer(text=_LARGE),
    ),
    WireFault(
        name="large-stream-of-small-events",
        items=lambda _: [
            streamed(*(sse(chunk({"content": piece})) for piece in _PIECES[:100]), sse(STOP, tail()), DONE)
        ],
        styles=STREAMED,
        settings={"max_event_bytes": _LIMIT},
        sees=Answer(text="".join(_PIECES[:100])),
    ),
    WireFault(
        name="large-tool-call",
        items=lambda _: [
            streamed(*(sse(chunk({"tool_calls": [call]})) for call in _call(_ARGUMENTS)), sse(STOP, tail()), DONE)
        ],
        styles=STREAMED,
        sees=Answer(text="", tool_calls=[("write", {"text": "".join(_ARGUMENTS)})]),
    ),
    WireFault(
        name="many-choices",
        items=[
            events(
                *(dict(chunk(), choices=[{"index": 10**9 + n, "delta": {"content": "x"}}]) for n in range(300)), STOP
            )
        ],
        styles=PLAIN,
        sees=Answer(text="x" * 300, usage=None),
    ),
]


def _cut(body: bytes, size: int = 16_384) -> list[bytes]:
    return [body[start : start + size] for start in range(0, len(body), size)]


def _call(pieces: list[str]) -> list[dict[str, Any]]:
    """A tool call whose arguments come in pieces."""
    arguments = ['{"text": "', *pieces, '"}']
    first = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "write", "arguments": ""}}
    return [first, *({"index": 0, "function": {"arguments": piece}} for piece in arguments)]
