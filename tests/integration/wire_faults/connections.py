"""Connections that fail, bytes that are not HTTP, servers that are silent or say too much, what is sent again."""

import math
import zlib
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import cache

from langchain_promptrun.testing import Fault
from wire_faults.calls import ASYNC
from wire_faults.fault import (
    AT_ONCE,
    BEGINNING,
    BEGUN,
    BEGUN_EVENTS,
    BODY,
    CHUNKED,
    DONE,
    ENDED,
    JSON,
    KEY,
    LAST_CHUNK,
    PLAIN,
    REPLY,
    SOME,
    SOME_STREAMED,
    SSE,
    STOP,
    STREAMED,
    Answer,
    WireFault,
    chunk,
    dumps,
    events,
    failure,
    framed,
    head,
    nothing,
    raw,
    sse,
    streamed,
    tail,
    whole,
)

_LATER = format_datetime(datetime(2100, 1, 1, tzinfo=UTC), usegmt=True)
_BEFORE = format_datetime(datetime(2020, 1, 1, tzinfo=UTC), usegmt=True)
_BUSY = {"error": {"message": "Busy.", "code": 503}}


def _recovers(name, *faults, **more):
    """Faults, and then the answer."""
    return WireFault(f"retry-{name}", [*faults, REPLY], retries=len(faults), requests=len(faults) + 1, **more)


def _fails(name, fault, sees, requests, **more):
    return WireFault(f"retry-{name}", [fault] * (requests + 1), sees, requests=requests, **more)


def _limit(**headers):
    return Fault(status=429, headers={name.replace("_", "-"): value for name, value in headers.items()})


RETRIES = [
    _recovers("429-503-then-the-answer", Fault(status=429, headers=AT_ONCE), Fault(status=503, headers=AT_ONCE)),
    _recovers("after-a-date-that-has-passed", _limit(retry_after=_BEFORE)),
    _recovers("after-milliseconds", _limit(retry_after_ms="120"), at_least=0.12, styles=SOME),
    _recovers("after-part-of-a-second", _limit(retry_after="0.12"), at_least=0.12, styles=SOME),
    _recovers("milliseconds-before-seconds", _limit(retry_after_ms="1", retry_after="30")),
    _recovers("after-a-second", _limit(retry_after="1"), at_least=1.0, styles=("invoke", "astream")),
    _recovers("after-an-illegible-time", _limit(retry_after="soon"), styles=("invoke", "astream")),
    _recovers("after-a-negative-time", _limit(retry_after="-5"), styles=("stream", "ainvoke")),
    _recovers("code-in-a-200-body", Fault(body=_BUSY, headers=AT_ONCE), styles=PLAIN),
    _recovers(
        "code-in-the-first-event", streamed(b'data: {"error": {"code": 503}}\n\n', headers=AT_ONCE), styles=STREAMED
    ),
    _recovers("truncated-document", Fault(body=dumps(whole())[:99]), styles=PLAIN),
    _recovers("empty-answer", nothing(), styles=("invoke", "astream")),
    _recovers("connection-reset", Fault(reset=True), styles=("invoke", "av3", "ainvoke")),
    _recovers("connection-closed", Fault(cut=True), styles=("v3", "astream")),
    _fails("exactly-one-more", Fault(status=500, headers=AT_ONCE), failure("API"), 2, retries=1),
    _fails("exactly-two-more", Fault(status=429, headers=AT_ONCE), failure("RateLimit"), 3, retries=2),
    _fails("none-when-none-is-allowed", Fault(status=503, headers=AT_ONCE), failure("API"), 1),
    _fails(
        "no-quota",
        Fault(status=429, headers=AT_ONCE, body={"error": {"message": "Pay.", "code": "insufficient_quota"}}),
        failure("RateLimit", is_retryable=False),
        1,
        retries=2,
    ),
    _fails("not-after-an-hour", _limit(retry_after="3600"), failure("RateLimit", retry_after=3600.0), 1, retries=2),
    _fails("not-in-the-next-century", _limit(retry_after=_LATER), failure("RateLimit"), 1, retries=2),
    _fails(
        "not-after-more-than-the-caller-allows",
        _limit(retry_after_ms="300"),
        failure("RateLimit", retry_after=0.3),
        1,
        retries=2,
        settings={"max_retry_after": 0.2},
    ),
]


_DOCUMENT = dumps(whole())
_LENGTH = f"content-length: {len(_DOCUMENT)}"
_NOT_HTTP = "The server's response is not valid HTTP: "

# without its empty line a head is either broken or broken off, as the HTTP client takes it
_NO_HEAD = {"sees": failure("Connection"), "retries": 0}
_DRIPPING_HEAD = [b"HTTP/1.1 200 OK\r\n", *[b"x-more: yes\r\n", 0.02] * 300]
_NO_TLS = ("does not speak TLS", 'Use "http://"')
_HINTS = [b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n", 0.02] * 300


def _lost(name, fault, *says, kind="Connection", **more):
    return WireFault(f"connection-{name}", fault, failure(kind, *says), **more)


def _lost_later(name, fault, kind="Connection", *says, **more):
    """Lost after something was said; nothing is tried again."""
    options = {"styles": STREAMED, "retries": 2, **more}
    return WireFault(f"connection-{name}", fault, failure(kind, *says, after=BEGUN), **options)


def _misframed(name, chunk):
    """A broken chunk."""
    fault = raw(CHUNKED, framed(sse(*BEGINNING)), 0.05, chunk, LAST_CHUNK)
    return _lost_later(name, fault, "Connection", _NOT_HTTP, styles=SOME_STREAMED)


def _not_connected(name, target, *says, settings, **facts):
    sees = failure("Timeout", *says, **facts)
    return WireFault(name, target=target, requests=0, sees=sees, styles=SOME, settings=settings, at_least=0.15)


def _unreachable(name, target, *says, **facts):
    sees = failure("Connection", "Cannot connect to http", *says, **facts)
    return WireFault(name, target=target, requests=0, sees=sees)


def _endless(name, *slices, limit=0.1, styles=ASYNC, **more):
    """A head that never ends is not asked for again; the request may be billed."""
    items = [REPLY, raw(*slices)] if "first" in more else raw(*slices)
    sees = failure("Timeout", "The server sent nothing", phase="read")
    return WireFault(f"http-{name}", items, sees, settings={"timeout": limit}, styles=styles, retries=1, **more)


def _odd(name, fault, **more):
    """Odd, and yet a right answer."""
    return WireFault(f"http-{name}", fault, **{"styles": STREAMED, **more})


def _broken(name, *slices, **more):
    """Bytes that are no HTTP: none is asked again."""
    sees = failure("Connection", _NOT_HTTP, is_retryable=False)
    return WireFault(f"http-{name}", raw(*slices), **{"sees": sees, "retries": 1, **more})


UNREACHABLE = [
    _unreachable("refused", "refused", "127.0.0.1"),
    _unreachable("name-unknown", "unknown", "nowhere.invalid"),
    _unreachable("tls-where-none-is-spoken", "greeter", "127.0.0.1", *_NO_TLS, is_retryable=False),
    _unreachable("tls-where-http-is-spoken", "plain", "127.0.0.1", *_NO_TLS, is_retryable=False),
    _not_connected("tls-handshake-never-ends", "tls", phase="connect", settings={"timeout": 0.2}),
    _not_connected("connect-time-out", "full", "connection", "0.2 s", phase="connect", settings={"timeout": 0.2}),
    # a busy event loop may come to the timer of the call before that of the connection
    _not_connected("deadline-while-connecting", "full", "deadline of 0.2 s", settings={"deadline": 0.2}),
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
        "connection-body-longer-than-its-length",
        Fault(body=_DOCUMENT, headers={"content-length": "99"}),
        failure("Connection", exact=False),
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
    _lost_later("stream-closed-without-framing", raw(head("connection: close"), sse(*BEGINNING)), "StreamTruncated"),
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
    # httpx reads these
    _broken("length-twice", head(*[_LENGTH] * 2), _DOCUMENT, clients=["aiohttp"]),
    _broken("length-beside-chunks", head("transfer-encoding: chunked", _LENGTH), framed(BODY), clients=["aiohttp"]),
    _broken("two-lengths", head("content-length: 5", "content-length: 7"), b"1234567"),
    _broken("header-without-a-colon", head("this is no header"), b""),
    _broken("huge-header", head("x-huge: " + "x" * 400_000), BODY),
    _broken("endless-headers", b"HTTP/1.1 200 OK\r\n", *[b"x-more: " + b"y" * 1000 + b"\r\n"] * 600, **_NO_HEAD),
    _endless("head-never-ends", b"HTTP/1.1 200 OK\r\nx-more: yes\r\n", math.inf, limit=0.5, styles=SOME),
    _endless("head-drips-for-ever", *_DRIPPING_HEAD),
    _endless("head-drips-for-ever-after-a-large-body", *_DRIPPING_HEAD, limit=0.5, prompt_bytes=100_000),
    _endless("head-drips-for-ever-on-a-used-connection", *_DRIPPING_HEAD, first={}),
    _endless("early-hints-for-ever", *_HINTS),
    _endless("early-hints-for-ever-after-a-large-body", *_HINTS, limit=0.5, prompt_bytes=100_000),
    _endless("early-hints-for-ever-on-a-used-connection", *_HINTS, first={}),
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
]


_FIRST = {"api_key": "sk-of-somebody-else"}
_COOKIE = {"set-cookie": "session=stolen; Path=/"}


def _rotating():
    """A source of keys: another one each time."""
    numbers = iter(range(1, 1_000_000))
    return lambda: f"sk-{next(numbers)}"


def _keys_differ(requests):
    return len({request.key_digest for request in requests}) == len(requests)


def _no_cookies(requests):
    return not any("cookie" in request.headers for request in requests)


ABUSES = [
    WireFault("cookie-of-another-key", [replace(REPLY, headers=_COOKIE), REPLY], first=_FIRST, look=_no_cookies),
    WireFault(
        "cookie-of-another-keys-error", [Fault(status=401, headers=_COOKIE), REPLY], first=_FIRST, look=_no_cookies
    ),
    WireFault(
        "cookie-before-a-retry",
        [Fault(status=503, headers=_COOKIE | AT_ONCE), REPLY],
        retries=1,
        requests=2,
        look=_no_cookies,
    ),
    WireFault("cookie-in-an-error", Fault(status=429, headers=_COOKIE), failure("RateLimit", hides=["stolen"])),
    WireFault(
        "key-asked-for-at-each-attempt",
        [Fault(status=503, headers=AT_ONCE, times=2), REPLY],
        retries=2,
        settings={"api_key": _rotating()},
        requests=3,
        look=_keys_differ,
    ),
    WireFault(
        "cookies-among-the-headers-asked-for",
        replace(REPLY, headers=_COOKIE),
        Answer(),
        settings={"include_response_headers": True},
    ),
    WireFault(
        "advice-in-a-401-without-the-key",
        Fault(status=401, body={"error": "Incorrect API key provided."}),
        failure("Authentication", "Incorrect API key", "PROMPTRUN_API_KEY", hides=[KEY]),
    ),
    WireFault("hop-by-hop-headers", replace(REPLY, headers={"connection": "close", "upgrade": "h2c"})),
    WireFault(
        "alternative-service", replace(REPLY, headers={"alt-svc": 'h3="evil.example:443"', "refresh": "0; url=/x"})
    ),
]


_LIMIT = 0.3
_READ = {"phase": "read"}
_STALLED = (f"{_LIMIT} s", "stream_chunk_timeout")
_PING = 0.03
_LETTERS = replace(REPLY, pieces=[*"Jupiter has ", "95 moons."])
_PADDED = dumps(whole(note="x" * 200))
_DRIPPING = [part for start in range(0, 600, 60) for part in (_PADDED[start : start + 60], 0.08)]


def _silent(name, fault, *says, exact=True, **more):
    """Nothing comes: the time-out, which is not tried again."""
    options = {"styles": SOME, "retries": 1, "settings": {"timeout": _LIMIT}, "at_least": 0.25, **more}
    return WireFault(f"silence-{name}", fault, failure("Timeout", *says, exact=exact, **_READ), **options)


def _stalled(name, *slices, after=BEGUN):
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


def _slow(name, fault, limit=0.7, stall=0.7, **more):
    """Slow, but live: longer than the limits in all, never between two signs of life."""
    settings = {"timeout": limit, "stream_chunk_timeout": stall}
    return WireFault(f"slow-{name}", fault, settings=settings, at_least=0.7, **more)


def _unasked(name, *slices, sees, **settings):
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
    _slow("document", Fault(slices=_DRIPPING, headers=JSON), stall=0.3, styles=PLAIN),
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


def _too_large(name, *slices, after=None, headers=SSE, **more):
    sees = failure("Response", "65536", "max_event_bytes", after=after, status_code=200)
    return _large(f"too-large-{name}", streamed(*slices, headers=headers), sees, settings=_LIMITED, **more)


def _large(name, items, sees=None, **more):
    return WireFault(name, items, sees or Answer(text=_LARGE), **{"styles": STREAMED, **more})


@cache
def _bomb(start, wbits=31):
    """A hundred megabytes, packed into a hundred kilobytes."""
    packer = zlib.compressobj(1, wbits=wbits)
    block = b"x" * (1 << 20)
    return b"".join([packer.compress(start), *(packer.compress(block) for _ in range(100)), packer.flush()])


def _bomb_fault(name, start, coding, headers):
    def items(_):
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

FAULTS = [*RETRIES, *UNREACHABLE, *LOST, *BROKEN, *ODD, *ABUSES, *SILENCE, *SIZES]
