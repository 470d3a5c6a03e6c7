"""Connections that do not come about, break, or bring something that is not HTTP."""

from __future__ import annotations

import math
from typing import Any

from langchain_promptrun.errors import (
    PromptrunConnectionError,
    PromptrunError,
    PromptrunStreamTruncatedError,
    PromptrunTimeoutError,
)
from langchain_promptrun.testing import Fault
from wire_faults.calls import ASYNC
from wire_faults.fault import PLAIN, SOME, SOME_STREAMED, STREAMED, Failure, WireFault
from wire_faults.wire import (
    BEGINNING,
    BEGUN,
    BEGUN_EVENTS,
    BODY,
    CHUNKED,
    ENDED,
    LAST_CHUNK,
    REPLY,
    dumps,
    framed,
    head,
    raw,
    sse,
    whole,
)

_DOCUMENT = dumps(whole())
_LENGTH = f"content-length: {len(_DOCUMENT)}"
_NOT_HTTP = "The server's response is not valid HTTP: "
_ONE_RETRY = {"settings": {"max_retries": 1}}
# without its empty line a head is either broken or broken off, as the HTTP client takes it
_NO_HEAD = {"sees": Failure(kind=PromptrunConnectionError), "settings": {}}
_JSON_HEAD = head(_LENGTH, kind="application/json")


def _lost(
    name: str, fault: Fault, *says: str, kind: type[PromptrunError] = PromptrunConnectionError, **more: Any
) -> WireFault:
    return WireFault(name=f"connection-{name}", items=[fault], sees=Failure(kind=kind, says=says), **more)


def _lost_later(name: str, fault: Fault, kind: type[PromptrunError] = PromptrunConnectionError) -> WireFault:
    """Lost after something was said; nothing is tried again."""
    return WireFault(
        name=f"connection-{name}",
        items=[fault],
        styles=STREAMED,
        settings={"max_retries": 2},
        sees=Failure(kind=kind, after=BEGUN),
    )


def _misframed(name: str, chunk: bytes) -> WireFault:
    """A broken chunk."""
    return WireFault(
        name=f"connection-{name}",
        items=[raw(CHUNKED, framed(sse(*BEGINNING)), 0.05, chunk, LAST_CHUNK)],
        styles=SOME_STREAMED,
        settings={"max_retries": 2},
        sees=Failure(kind=PromptrunConnectionError, says=[_NOT_HTTP], after=BEGUN),
    )


def _unreachable(name: str, target: str, says: str) -> WireFault:
    return WireFault(
        name=name,
        target=target,
        requests=0,
        sees=Failure(kind=PromptrunConnectionError, says=["Cannot connect to http", says]),
    )


def _odd(name: str, fault: Fault, **more: Any) -> WireFault:
    """Odd, and yet a right answer."""
    return WireFault(name=f"http-{name}", items=[fault], **{"styles": STREAMED, **more})


def _broken(name: str, *slices: Any, **more: Any) -> WireFault:
    """Bytes that are no HTTP: none is asked again."""
    failure = Failure(kind=PromptrunConnectionError, says=[_NOT_HTTP], facts={"is_retryable": False})
    return WireFault(name=f"http-{name}", items=[raw(*slices)], **{"sees": failure, **_ONE_RETRY, **more})


UNREACHABLE = [
    _unreachable("refused", "refused", "127.0.0.1"),
    _unreachable("name-unknown", "unknown", "nowhere.invalid"),
    _unreachable("tls-where-none-is-spoken", "greeter", "127.0.0.1"),
    WireFault(
        name="tls-handshake-never-ends",
        target="tls",
        requests=0,
        styles=SOME,
        settings={"timeout": 0.2},
        sees=Failure(kind=PromptrunTimeoutError, facts={"phase": "connect"}),
        at_least=0.15,
    ),
    WireFault(
        name="connect-time-out",
        target="full",
        requests=0,
        styles=SOME,
        settings={"timeout": 0.2},
        sees=Failure(kind=PromptrunTimeoutError, says=["connection", "0.2 s"], facts={"phase": "connect"}),
        at_least=0.15,
    ),
]

LOST = [
    _lost("reset-before-the-head", Fault(reset=True)),
    _lost("closed-before-the-head", Fault(cut=True)),
    _lost("closed-in-the-head", raw(b"HTTP/1.1 200 OK\r\ncontent-ty")),
    _lost("reset-in-the-head", raw(b"HTTP/1.1 200 OK\r\ncontent-ty", after=1, reset=True)),
    _lost("closed-after-the-head", Fault(reply=REPLY, after=0, cut=True)),
    _lost("reset-after-the-head", Fault(reply=REPLY, after=0, reset=True)),
    _lost("closed-in-the-body", Fault(reply=REPLY, after_bytes=60, cut=True), styles=PLAIN),
    _lost("reset-in-the-body", Fault(reply=REPLY, after_bytes=60, reset=True), styles=PLAIN),
    _lost(
        "body-shorter-than-its-length",
        Fault(reply=REPLY, headers={"content-length": "9999"}, framing="length"),
        styles=PLAIN,
    ),
    WireFault(
        name="connection-body-longer-than-its-length",
        items=[Fault(body=_DOCUMENT, headers={"content-length": "99"})],
        sees=Failure(kind=PromptrunConnectionError, exact=False),
    ),
    _lost(
        "body-ends-without-its-last-chunk",
        raw(head("transfer-encoding: chunked", kind="application/json"), framed(_DOCUMENT[:80])),
        styles=PLAIN,
    ),
    _lost_later("closed-in-the-stream", Fault(reply=REPLY, after=BEGUN_EVENTS, cut=True)),
    _lost_later("reset-in-the-stream", Fault(reply=REPLY, after=BEGUN_EVENTS, pause=0.05, reset=True)),
    _lost_later("closed-in-an-event", Fault(slices=[sse(*BEGINNING), sse(ENDED[3])[:40]], after=2, cut=True)),
    _lost_later("closed-in-a-chunk", raw(CHUNKED, framed(sse(*BEGINNING)), 0.05, b"ff\r\ndata: {")),
    _lost_later("closed-in-the-size-of-a-chunk", raw(CHUNKED, framed(sse(*BEGINNING)), 0.05, b"f")),
    _lost_later("stream-shorter-than-its-length", raw(head("content-length: 9999"), sse(*BEGINNING))),
    _misframed("size-of-a-chunk-is-no-number", b"zz\r\ndata: x\n\n\r\n"),
    _misframed("size-of-a-chunk-is-negative", b"-5\r\ndata: x\n\n\r\n"),
    _misframed("size-of-a-chunk-is-beyond-all-numbers", b"f" * 40 + b"\r\ndata: x\n\n\r\n"),
    _misframed("chunk-longer-than-its-size", b"4\r\ndata: {}\n\n\r\n"),
    _lost_later(
        "stream-closed-without-framing", raw(head("connection: close"), sse(*BEGINNING)), PromptrunStreamTruncatedError
    ),
    WireFault(
        name="connection-closed-between-two-calls",
        items=[raw(_JSON_HEAD + _DOCUMENT), REPLY],
        first={},
        settings={"max_retries": 1},
        styles=PLAIN,
    ),
]

BROKEN = [
    _broken("ssh-instead", b"SSH-2.0-OpenSSH_9.6\r\n", **_NO_HEAD),
    _broken("http-2-instead", b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" + bytes(18)),
    _broken("tls-alert-instead", b"\x15\x03\x01\x00\x02\x02\x46"),
    _broken("only-a-document", _DOCUMENT, **_NO_HEAD),
    _broken("version-2", b"HTTP/2 200\r\n\r\n", _DOCUMENT, styles=PLAIN),
    _broken("icecast-instead", b"ICY 200 OK\r\n\r\n", _DOCUMENT, styles=PLAIN),
    _broken("another-protocol-unasked", head("upgrade: x", status="HTTP/1.1 101 Switching Protocols"), styles=PLAIN),
    _broken("status-is-no-number", b"HTTP/1.1 abc OK\r\n\r\n"),
    _broken("length-is-no-number", head("content-length: ten"), b"0123456789"),
    _broken("length-is-negative", head("content-length: -1"), b"x"),
    _broken("length-with-a-sign", head("content-length: +10"), b"0123456789", styles=PLAIN),
    _broken("space-before-a-colon", head("x-a : b"), _DOCUMENT, styles=PLAIN),
    _broken("nul-in-a-header", head("x-a: b\0c"), _DOCUMENT, styles=PLAIN),
    _broken(
        "chunk-without-a-size-in-a-document", CHUNKED, framed(_DOCUMENT[:80]), 0.05, b"zz\r\n", LAST_CHUNK, styles=PLAIN
    ),
    _broken("two-lengths", head("content-length: 5", "content-length: 7"), b"1234567"),
    _broken("header-without-a-colon", head("this is no header"), b""),
    _broken("huge-header", head("x-huge: " + "x" * 400_000), BODY),
    _broken("endless-headers", b"HTTP/1.1 200 OK\r\n", *[b"x-more: " + b"y" * 1000 + b"\r\n"] * 600, **_NO_HEAD),
    WireFault(
        name="http-head-never-ends",
        items=[raw(b"HTTP/1.1 200 OK\r\nx-more: yes\r\n", math.inf)],
        styles=SOME,
        settings={"timeout": 0.5},
        sees=Failure(kind=PromptrunTimeoutError, facts={"phase": "read"}),
    ),
    WireFault(
        name="http-head-drips-for-ever",
        items=[raw(b"HTTP/1.1 200 OK\r\n", *[b"x-more: yes\r\n", 0.02] * 300)],
        settings={"timeout": 0.1},
        styles=tuple(ASYNC),
        sees=Failure(kind=PromptrunTimeoutError),
    ),
    WireFault(
        name="http-early-hints-for-ever",
        items=[raw(*[b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n", 0.02] * 300)],
        settings={"timeout": 0.1},
        styles=tuple(ASYNC),
        sees=Failure(kind=PromptrunTimeoutError),
    ),
]

ODD = [
    _odd("early-hints-before-the-answer", raw(b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n", head(), BODY)),
    _odd("status-without-words", raw(head(status="HTTP/1.1 200"), BODY)),
    _odd("version-1-0", raw(head(status="HTTP/1.0 200 OK"), BODY)),
    _odd("large-header", raw(head("content-security-policy: " + "x" * 20_000), BODY)),
    _odd("many-headers", raw(head(*(f"x-header-{number}: yes" for number in range(90))), BODY)),
    _odd("length-instead-of-chunks", raw(head(f"content-length: {len(BODY)}"), BODY)),
    _odd("chunks-with-extensions", raw(CHUNKED, b"%x;name=value\r\n%b\r\n" % (len(BODY), BODY), LAST_CHUNK)),
    _odd("trailers-after-the-last-chunk", raw(CHUNKED, framed(BODY), b"0\r\nx-checksum: 1\r\n\r\n")),
    _odd("no-last-chunk-after-done", raw(CHUNKED, framed(BODY))),
    _odd("chunks-cut-anywhere", raw(CHUNKED, *(bytes([byte]) for byte in framed(BODY)), LAST_CHUNK)),
    _odd("header-in-latin-1", raw(head("x-city: Zürich"), BODY)),
    _odd("bytes-after-the-answer", raw(_JSON_HEAD + _DOCUMENT, 0.05, b"garbage"), styles=PLAIN),
]

FAULTS = [*UNREACHABLE, *LOST, *BROKEN, *ODD]
