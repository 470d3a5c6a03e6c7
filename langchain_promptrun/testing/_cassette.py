"""Cassettes: recorded exchanges in a file, one JSON object a line, found again by their requests, without secrets.

An exchange is `{"request": {"method", "path", "query", "body"}, "response": {"status", "headers", "body", "delay",
"pieces", "end"}}`. A body that is not text is `{"base64": ...}`. `delay` is the time to the head and `pieces` lists
`[pause, bytes]`, in seconds. `end` is there where the answer broke off: `cut`, `reset`, `silence` until the client
left, or `unreachable`; `status` is null where nothing had come.
"""

import base64
import json
import logging
import math
import os
import re
import sys
import time
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from copy import deepcopy
from dataclasses import replace
from http import HTTPStatus
from http.cookiejar import CookieJar, DefaultCookiePolicy
from io import BytesIO
from itertools import chain, zip_longest
from operator import itemgetter
from pathlib import Path
from typing import Any, TypedDict
from urllib.parse import parse_qs, parse_qsl, urlsplit, urlunsplit

import httpx

from langchain_promptrun.testing import _http
from langchain_promptrun.testing._checks import spelled
from langchain_promptrun.testing._http import Hangup, RecordedRequest, Response, Step
from langchain_promptrun.testing._items import Fault

Exchange = dict[str, Any]
StrPath = str | os.PathLike[str]
Place = tuple[Any, ...]  # the keys and indexes that lead to a value in a JSON document
Slices = int | Callable[[bytes], Sequence[bytes]] | None  # cuts a replayed body: pieces of so many bytes, or a function
_CUT = {"cut": True}
_ENDS: dict[str, Any] = {"cut": _CUT, "unreachable": _CUT, "reset": {"reset": True}, "silence": {"pause": math.inf}}
_MOST_DIFFERENCES = 5
_LONGEST_VALUE = 200
_HIDDEN = "[redacted]"
_PATTERN = (
    r"\b(?:sk|pk|rk)-[\w-]{12,}|\b(?:org|proj)-(?=\w*\d)\w{12,}|\bxox[a-z]-[\w-]{10,}|\bAIza[\w-]{30,}"
    r"|\b(?:gsk|xai|hf|gh[oprsu]|github_pat|glpat|pplx|nvapi)[_-][\w-]{16,}|\bAKIA[A-Z0-9]{16}\b"
    r"|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}|\b[Bb]earer +(?=\S*\d)[\w.~+/=-]{8,}"
)
_VENDORS = "sk- pk- rk- org- proj- xox AIza gsk xai hf_ hf- gho ghp ghr ghs ghu github_pat glpat pplx nvapi AKIA eyJ"
_SIGNS = ('":', '" :', "earer ", *_VENDORS.split())
"""One of these stands in each text that the patterns find something in; they are found much faster."""
_EMAIL = r"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+"
_NAMES = (
    r"api[_-]?key|(?:private|secret|access)[_-]?key|authorization|passw(?:or)?d|passphrase|secret|credentials?|cookie"
    r"|(?:access|api|auth|bearer|id|refresh|session)[_-]?token|session(?:[_-]?(?:id|key))?"
)
_SECRET_NAMES = re.compile(rf"(?i)(?:{_NAMES})$|(?:^|_)pass$")
_MEMBER = rf'(?P<member>(?i:{_NAMES}|token)" ?:\s*")(?:[^"\\]|\\.)+'
"""A member of JSON that stands in a text, such as the arguments of a tool call."""
_SECRET_HEADERS = re.compile("authorization|organi.ation|project|account|^(?!.*ratelimit).*(cookie|key|token|secret)")
_TEXT_KEYS = frozenset({"delta", "text", "content", "arguments", "thinking", "response", "output"})
"""The keys under which vendors stream texts in pieces."""
_SHORTEST_SECRET = 8
_KEPT_HEADERS = re.compile("content-(type|encoding)|location|retry-after|x-(request-id|should-retry|ratelimit-)")
_HOP_BY_HOP = {"connection", "keep-alive", "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade"}
_NOT_PASSED = _HOP_BY_HOP | {"accept-encoding", "content-length", "expect", "host", "proxy-connection"}
_SILENCE = 0.25  # seconds after which a client that leaves was tired of waiting
_logger = logging.getLogger("langchain_promptrun.testing")


class CassetteOptions(TypedDict, total=False):
    redact: Callable[[Exchange], Exchange | None] | None
    redact_emails: bool
    match: Callable[[dict[str, Any]], Any] | None
    api_key: str | None
    port: int


class _Recording:
    def __init__(self, request_secrets: list[str]) -> None:
        self.request_secrets = self.secrets = request_secrets
        self.response: dict[str, Any] = {"status": None, "headers": {}, "delay": 0.0, "pieces": []}
        self.body = bytearray()
        self._last = time.monotonic()

    def begin(self, response: httpx.Response, gone: set[str]) -> list[tuple[str, str]]:
        """Take note of the head; return the header fields to pass on, all but those that are gone."""
        response.headers.encoding = "latin-1"
        fields = [pair for pair in response.headers.multi_items() if pair[0] not in gone]
        kept = [pair for pair in fields if _KEPT_HEADERS.match(pair[0]) and not _SECRET_HEADERS.search(pair[0])]
        self.response |= {"status": response.status_code, "headers": dict(kept), "delay": self.pause()}
        self.secrets = self.request_secrets + secrets_of(response.headers)
        return fields

    def add(self, piece: bytes) -> None:
        self.body += piece
        self.response["pieces"].append((self.pause(), len(piece)))

    def pause(self) -> float:
        now = time.monotonic()
        pause, self._last = now - self._last, now
        return round(pause, 4)


class Cassette:
    def __init__(
        self, path: StrPath, options: CassetteOptions, *, load: bool, speed: float | None, slices: Slices
    ) -> None:
        names = CassetteOptions.__annotations__
        if unknown := options.keys() - names.keys():
            raise TypeError(f"There is no option `{min(unknown)}`. Use one of: {', '.join(names)}.")
        self._path, self._speed, self._slices = Path(path), speed, slices
        self._redact = options.get("redact") or (lambda exchange: exchange)
        self._emails = options.get("redact_emails", False)
        self._match = options.get("match") or (lambda request: request)
        self.exchanges = read(self._path) if load and self._path.exists() else []
        self._waiting: dict[frozenset[tuple[Place, str]], deque[Exchange]] = defaultdict(deque)
        for exchange in self.exchanges:
            self._waiting[frozenset(self._leaves(exchange["request"]).items())].append(exchange)
        self._mode = "ab" if load else "wb"

    def begin(self) -> None:
        """Make the file, or end its last line; unless the cassette was loaded, the first exchange begins it anew."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab+") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                file.write(b"" if file.read() == b"\n" else b"\n")

    @property
    def unused(self) -> list[Exchange]:
        waiting = {id(exchange) for queue in self._waiting.values() for exchange in tuple(queue)}
        return [exchange for exchange in self.exchanges if id(exchange) in waiting]

    def take(self, record: RecordedRequest, secrets: Iterable[str]) -> Exchange | None:
        if not self._waiting:
            return None
        queue = self._waiting.get(frozenset(self._leaves(self._compared(record, secrets)).items()))
        return queue.popleft() if queue else None

    def replayed(self, recorded: Mapping[str, Any], fault: Fault) -> Response:
        headers = dict(recorded["headers"])
        if self._speed is None:  # a client that retries would wait as long as it had to when this was recorded
            headers |= dict.fromkeys((name for name in headers if name.startswith("retry-after")), "0")
        kind = headers.pop("content-type", "application/octet-stream")
        pieces: list[bytes | float] = []
        for pause, piece in _pieces(recorded, self._slices):
            pieces += [pause / self._speed, piece] if self._speed and pause else [piece]
        response = Response(recorded["status"] or HTTPStatus.OK, kind, pieces, headers)
        if self._speed and fault.delay is None:
            fault = replace(fault, delay=recorded["delay"] / self._speed)
        if "end" in recorded and not (fault.cut or fault.reset or fault.error is not None):
            point = None if recorded["status"] is None else sys.maxsize
            fault = replace(fault, framing="chunked", after=point, after_bytes=None, **_ENDS[recorded["end"]])
        if fault.error is not None and not kind.lower().startswith("text/event-stream"):
            return _http.json_response(fault.error).spoiled(replace(fault, error=None))
        return response.spoiled(fault)

    def add(self, record: RecordedRequest, recording: _Recording) -> None:
        """Write an exchange without its secrets; a request is redacted as before it is compared, by its own alone."""
        redaction, response = _Redaction(recording.secrets, emails=self._emails), recording.response
        body = bytes(recording.body)
        clean = redaction.body(body)
        pieces, end, cut = [], 0, 0
        for pause, size in response["pieces"]:  # cut in proportion, where something is hidden
            end += size
            start, cut = cut, end * len(clean) // max(1, len(body))
            pieces.append((pause, cut - start))
        response |= {"headers": redaction.document(response["headers"]), "body": _packed(clean), "pieces": pieces}
        request = _Redaction(recording.request_secrets, emails=self._emails).document(_request(record))
        kept = self._redact({"request": request, "response": response})
        if kept is not None:
            with self._path.open(self._mode) as file:
                file.write(_http.encode(kept) + b"\n")
            self._mode = "ab"

    def describe_missing(self, record: RecordedRequest, secrets: Iterable[str]) -> str:
        wanted = self._compared(record, secrets)
        what = f"{wanted['method']} {wanted['path']} was not recorded in {self._path}"
        asked, recorded = self._leaves(wanted), [self._leaves(exchange["request"]) for exchange in self.exchanges]
        if asked in recorded:
            return f"{what} this often: all {recorded.count(asked)} recorded answers to it were given."
        if not recorded:
            return f"{what}, which holds nothing."
        shared = [len(asked.items() & leaves.items()) / len(asked.keys() | leaves.keys()) for leaves in recorded]
        line = shared.index(max(shared))
        was = recorded[line]
        paths = [path for path in {**was, **asked} if was.get(path) != asked.get(path)]
        shown = [_difference(path, was.get(path), asked.get(path)) for path in paths[:_MOST_DIFFERENCES]]
        shown += [f"and {len(paths) - len(shown)} more"] if len(paths) > len(shown) else []
        return f"{what}. The nearest is line {line + 1}: {'; '.join(shown)}."

    def _compared(self, record: RecordedRequest, secrets: Iterable[str]) -> dict[str, Any]:
        request = _Redaction(secrets, emails=self._emails).document(_request(record))
        return dict((self._redact({"request": deepcopy(request)}) or {"request": request})["request"])

    def _leaves(self, request: dict[str, Any]) -> dict[Place, str]:
        """Return what `match` makes of a request, its values under their paths."""
        try:
            return _leaves(self._match(deepcopy(request)))
        except Exception as error:
            what = f"{request['method']} {request['path']} of {self._path}"
            raise ValueError(f"`match` failed for {what}: {error!r}. It sees all requests.") from error


class Recorder:
    def __init__(self, cassette: Cassette, upstream: str, missing: list[str]) -> None:
        self._cassette = cassette
        self._upstream = upstream.rstrip("/")
        self._missing = missing

    def open(self) -> None:
        """Make the client for the upstream; it keeps no cookies, which one caller's answer would give to another."""
        self._cassette.begin()
        jar = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
        self._client = httpx.AsyncClient(timeout=httpx.Timeout(None, connect=30.0), limits=httpx.Limits(), cookies=jar)
        self._writer = ThreadPoolExecutor(1)
        self._writes: list[Future[None]] = []

    async def close(self) -> BaseException | None:
        """Wait until all is written; return what kept an exchange from the file."""
        await self._client.aclose()
        self._writer.shutdown()
        return next(filter(None, (write.exception() for write in self._writes)), None)

    async def forward(self, record: RecordedRequest, headers: httpx.Headers) -> AsyncGenerator[Step]:
        """Pass a request on, yield the answer as it comes, and have it written as far as it came."""
        parts = urlsplit(record.target)
        url = self._upstream + urlunsplit(("", "", parts.path.removeprefix("/v1"), parts.query, ""))
        sent = httpx.Headers([pair for pair in headers.raw if pair[0].decode() not in _NOT_PASSED])
        sent["accept-encoding"] = "identity"  # what is written is to be text, whatever the client takes
        recording, end = _Recording(secrets_of(headers, record.target)), "left"
        try:
            async with self._client.stream(record.method, url, headers=sent, content=record.raw) as response:
                record.status = response.status_code
                inflates = response.headers.get("content-encoding", "").lower() in {"gzip", "deflate"}
                coded = {"content-encoding", "content-length"} if inflates else set()
                fields = recording.begin(response, _HOP_BY_HOP | coded)
                has_body = record.method != "HEAD" and response.status_code not in _http.BODILESS
                is_chunked = has_body and "content-length" not in dict(fields)
                yield _http.head(response.status_code, [*fields, *[("transfer-encoding", "chunked")] * is_chunked])
                async for piece in response.aiter_bytes() if inflates else response.aiter_raw():
                    recording.add(piece)
                    yield _http.chunk(piece) if is_chunked else piece
                end = ""
                yield _http.LAST_CHUNK if is_chunked else b""
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            end = "unreachable"
            self._missing.append(f"The upstream {self._upstream} cannot be reached: {error}.")
            _logger.warning(self._missing[-1])
            yield Hangup()
        except httpx.HTTPError as error:
            end = "reset" if isinstance(error, httpx.ReadError) else "cut"
            yield Hangup(end == "reset")
        finally:
            if end == "left":
                end = "cut" if record.status is not None and recording.pause() < _SILENCE else "silence"
            recording.response |= {"end": end} if end else {}
            self._writes.append(self._writer.submit(self._cassette.add, record, recording))


def read(path: Path) -> list[Exchange]:
    exchanges = []
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        try:
            if line.strip():
                exchange = json.loads(line)
                itemgetter("method", "path", "query", "body")(exchange["request"])
                itemgetter("status", "headers", "body", "delay", "pieces")(exchange["response"])
                exchanges.append(exchange)
        except (ValueError, LookupError, TypeError) as error:
            raise ValueError(f"{path}, line {number}: this is not a recorded exchange ({error!r}).") from error
    return exchanges


def is_unreachable(exchange: Exchange) -> bool:
    return bool(exchange["response"].get("end") == "unreachable")


def _leaves(value: Any, place: Place = ()) -> dict[Place, str]:
    if isinstance(value, dict | list) and value:
        items: Iterable[tuple[Any, Any]] = value.items() if isinstance(value, dict) else enumerate(value)
        return {leaf: text for key, item in items for leaf, text in _leaves(item, (*place, key)).items()}
    whole = int(value) if isinstance(value, float) and value.is_integer() else value  # 1.0 is 1
    return {place: json.dumps(whole, ensure_ascii=False, default=str)}


def _difference(place: Place, recorded: str | None, asked: str | None) -> str:
    """Say how two values differ; long ones are shown around the place where they begin to."""
    pairs = enumerate(zip_longest(recorded or "", asked or ""))
    start = max(0, next(at for at, (one, other) in pairs if one != other) - _LONGEST_VALUE // 2)

    def excerpt(value: str | None) -> str:
        if value is None:
            return "missing"
        part = value[start : start + _LONGEST_VALUE]
        return f"{'...' * (start > 0)}{part}{'...' * (start + len(part) < len(value))}"

    return f"`{spelled(place)}` was {excerpt(recorded)}, is {excerpt(asked)}"


def _request(record: RecordedRequest) -> dict[str, Any]:
    """Return what a cassette keeps of a request: the path after the base URL, a query name's values if it has more."""
    query: dict[str, Any] = parse_qs(urlsplit(record.target).query, keep_blank_values=True)
    for name, values in query.items():
        query[name] = _HIDDEN if name == "key" else values[0] if len(values) == 1 else values
    body = record.body if record.body is not None else _packed(record.raw)
    request = {"method": record.method, "path": record.path.removeprefix("/v1"), "query": query, "body": body}
    prompt_id = record.headers.get("http-prompt-id")
    return {**request, "prompt_id": prompt_id} if prompt_id else request


def _packed(body: bytes) -> Any:
    """Return a body as text, or as `{"base64": ...}` where it is not UTF-8."""
    try:
        return body.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(body).decode()}


def _pieces(response: Mapping[str, Any], slices: Slices) -> list[tuple[float, bytes]]:
    """Return a recorded body cut anew, or in its pieces, with the pause before each; a last one has the rest."""
    packed = response["body"]
    body = packed.encode() if isinstance(packed, str) else base64.b64decode(packed["base64"])
    if slices is None:
        unread = BytesIO(body)
        pieces = [(float(pause), unread.read(size)) for pause, size in response["pieces"]]
        return [*pieces, (0.0, unread.read())] if unread.tell() < len(body) else pieces
    cut = [body[at : at + slices] for at in range(0, len(body), slices)] if isinstance(slices, int) else slices(body)
    if b"".join(cut) != body:
        raise ValueError("`slices` must give the pieces of the whole body.")
    pause = sum(pause for pause, _ in response["pieces"]) / max(1, len(cut))
    return [(pause, piece) for piece in cut]


def convert_recording(recording: Mapping[str, Any]) -> Exchange:
    """Convert a recording with `status`, `content_type`, `request` and `response`, its body as text."""
    body = recording["response"]
    headers, pieces = {"content-type": recording["content_type"]}, [[0.0, len(body.encode())]]
    response = {"status": recording["status"], "headers": headers, "body": body, "delay": 0.0, "pieces": pieces}
    request = {"method": "POST", "path": "/chat/completions", "query": {}, "body": recording["request"]}
    return {"request": request, "response": response}


def secrets_of(headers: httpx.Headers, target: str = "") -> list[str]:
    query = parse_qsl(urlsplit(target).query)  # Gemini's is `key`
    values = [value for name, value in query if name in {"key", "token"} or _SECRET_NAMES.search(name)]
    for name, value in headers.multi_items():
        if name == "cookie":
            values += [pair.partition("=")[2] for pair in value.split(";")]
        elif name == "set-cookie":
            values.append(value.partition(";")[0].partition("=")[2])
        elif _SECRET_HEADERS.search(name):
            values += value.split()
    return [value for value in values if len(value) >= _SHORTEST_SECRET]


class _Redaction:
    def __init__(self, secrets: Iterable[str], *, emails: bool) -> None:
        known = sorted(secrets, key=len, reverse=True)
        known = [form for secret in known for form in (secret, "\0".join(secret))]  # UTF-8 and UTF-16
        self._signs = (*_SIGNS, *known, *(["@"] if emails else []))
        self._pattern = re.compile("|".join([_MEMBER, *map(re.escape, known), _PATTERN, *([_EMAIL] if emails else [])]))

    def document(self, value: Any, name: str = "") -> Any:
        """Return a JSON document, found under a name, without secrets."""
        if isinstance(value, dict):
            named = {key: "secret" if key == "token" and "logprob" not in value else key for key in value}
            return {self._text(key): self.document(item, named[key]) for key, item in value.items()}
        if isinstance(value, list):
            return [self.document(item, name) for item in value]
        if isinstance(value, str):
            return _HIDDEN if _SECRET_NAMES.search(name) else self._text(value)
        return value

    def body(self, body: bytes) -> bytes:
        """Return JSON, server-sent events, or anything else without secrets. Lines stay lines."""
        try:
            text = body.decode()
        except UnicodeDecodeError:
            return self._text(body.decode("latin-1")).encode("latin-1")
        document = _http.decode(text)
        if document is None:
            return self._events(text).encode()
        clean = self.document(document)
        return body if clean == document else _http.encode(clean)

    def _text(self, text: str) -> str:
        if not any(sign in text for sign in self._signs):
            return text
        return self._pattern.sub(lambda match: (match["member"] or "") + _HIDDEN, text)

    def _events(self, text: str) -> str:
        lines = text.split("\n")
        events = {number: document for number, line in enumerate(lines) if (document := _data(line)) is not None}
        streams: dict[Place, list[tuple[Any, Any]]] = defaultdict(list)
        for container, key, path in chain.from_iterable(map(_texts, events.values())):
            if not _TEXT_KEYS.isdisjoint(path):
                streams[path].append((container, key))
        for texts in streams.values():  # a secret that they spell together is hidden where it begins
            whole = "".join(container[key] for container, key in texts)
            if not any(sign in whole for sign in self._signs):
                continue
            characters, position = list(whole), 0
            for match in self._pattern.finditer(whole):
                start = match.end("member") if match["member"] else match.start()
                characters[start : match.end()] = [_HIDDEN, *[""] * (match.end() - start - 1)]
            for container, key in texts:
                start, position = position, position + len(container[key])
                container[key] = "".join(characters[start:position])
        for number, line in enumerate(lines):
            if number not in events:
                lines[number] = self._text(line)
            elif (clean := self.document(events[number])) != _data(line):
                name, end = "data: " * line.startswith("data:"), "\r" * line.endswith("\r")
                lines[number] = f"{name}{_http.encode(clean).decode()}{end}"
        return "\n".join(lines)


def _texts(document: Any, path: Place = ()) -> Iterator[tuple[Any, Any, Place]]:
    """Yield each text's container, key and path; a choice and a tool call go by their `index` if they have one."""
    items: Any = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in items:
        if isinstance(value, str):
            yield document, key, (*path, key)
        elif isinstance(value, dict | list):
            number = value.get("index", key) if isinstance(value, dict) and isinstance(document, list) else key
            yield from _texts(value, (*path, number))


def _data(line: str) -> Any:
    """Return the JSON document of an event's `data` line or of a line of JSON, or None."""
    document = _http.decode(line.removeprefix("data:"))
    return document if isinstance(document, dict | list) else None
