"""Cassettes: recorded exchanges in a file, one JSON object a line, found again by their requests, without secrets.

An exchange is `{"request": {"method", "path", "query", "body"}, "response": {"status", "headers", "body", "delay",
"pieces", "end"}}`. A body that is not text is `{"base64": ...}`. `delay` is the time to the head and `pieces` lists
`[pause, bytes]`, in seconds. `end` is there where the answer broke off: `cut`, `reset`, `silence` until the client
left, or `unreachable`; `status` is null where nothing had come.
"""

import base64
import json
import math
import os
import re
import sys
from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import lru_cache
from http import HTTPStatus
from itertools import accumulate, pairwise, takewhile
from operator import itemgetter
from pathlib import Path
from typing import Any, TypedDict, Unpack
from urllib.parse import parse_qs, urlsplit

from langchain_promptrun.testing._http import RecordedRequest, Response, encode, json_response
from langchain_promptrun.testing._items import Fault

Exchange = dict[str, Any]
Slices = int | Callable[[bytes], Sequence[bytes]]  # cuts a replayed body: pieces of so many bytes, or a function
_CUT = {"cut": True}
_ENDS: dict[str, Any] = {"cut": _CUT, "unreachable": _CUT, "reset": {"reset": True}, "silence": {"pause": math.inf}}
_request_parts = itemgetter("method", "path", "query", "body")
_response_parts = itemgetter("status", "headers", "body", "delay", "pieces")
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
_SECRET_HEADERS = re.compile(
    "authorization|organi[sz]ation|project|account|^(?!.*ratelimit).*(?:cookie|key|token|secret)"
)
_TEXT_KEYS = frozenset({"delta", "text", "content", "arguments", "thinking", "response", "output"})
"""The keys under which vendors stream texts in pieces."""
_SHORTEST_SECRET = 8

_Text = tuple[Any, Any, tuple[Any, ...]]  # a text in a JSON document: its container, its key there, and its path


class CassetteOptions(TypedDict, total=False):
    redact: Callable[[Exchange], Exchange | None] | None
    redact_emails: bool
    match: Callable[[dict[str, Any]], Any] | None


class Cassette:
    """The exchanges of one file, which is loaded or begun anew."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        load: bool,
        speed: float | None = None,
        slices: Slices | None = None,
        **options: Unpack[CassetteOptions],
    ) -> None:
        self._path = Path(path)
        self._speed = speed
        self._slices = slices
        self._redact = options.get("redact") or (lambda exchange: exchange)
        self._emails = options.get("redact_emails", False)
        self._match = options.get("match") or (lambda request: request)
        self.exchanges = read(self._path) if load and self._path.exists() else []
        self._waiting: dict[str, deque[Exchange]] = {}
        for exchange in self.exchanges:
            self._waiting.setdefault(self._key(exchange["request"]), deque()).append(exchange)
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
        queue = self._waiting.get(self._key(self._compared(record, secrets))) if self._waiting else None
        return queue.popleft() if queue else None

    def replayed(self, recorded: Mapping[str, Any], fault: Fault) -> tuple[Response, Fault]:
        """Return a recorded response, and the fault with the delay and the end that were recorded."""
        headers = dict(recorded["headers"])
        if self._speed is None:  # a client that retries would wait as long as it had to when this was recorded
            headers |= dict.fromkeys((name for name in headers if name.startswith("retry-after")), "0")
        kind = headers.pop("content-type", "application/octet-stream")
        pieces: list[bytes | float] = []
        for pause, piece in self._cut(_pieces(recorded)):
            pieces += [pause / self._speed, piece] if self._speed and pause else [piece]
        response = Response(recorded["status"] or HTTPStatus.OK, kind, pieces, headers)
        if self._speed and fault.delay is None:
            fault = replace(fault, delay=recorded["delay"] / self._speed)
        if "end" in recorded and not (fault.cut or fault.reset or fault.error is not None):
            point = None if recorded["status"] is None else sys.maxsize
            fault = replace(fault, framing="chunked", after=point, after_bytes=None, **_ENDS[recorded["end"]])
        if fault.error is not None and not kind.lower().startswith("text/event-stream"):
            return json_response(fault.error), replace(fault, error=None)
        return response, fault

    def _cut(self, pieces: list[tuple[float, bytes]]) -> list[tuple[float, bytes]]:
        if self._slices is None:
            return pieces
        body, size = b"".join(piece for _, piece in pieces), self._slices
        cut = [body[at : at + size] for at in range(0, len(body), size)] if isinstance(size, int) else size(body)
        if b"".join(cut) != body:
            raise ValueError("`slices` must give the pieces of the whole body.")
        pause = sum(pause for pause, _ in pieces) / max(1, len(cut))
        return [(pause, piece) for piece in cut]

    def add(
        self, record: RecordedRequest, response: dict[str, Any], body: bytes, secrets: list[str], more: list[str]
    ) -> None:
        """Write an exchange without the secrets of its request; `more` are those of its response."""
        redaction = _Redaction(secrets + more, emails=self._emails)
        clean = redaction.body(body)
        sizes = _recut(body, clean, [size for _, size in response["pieces"]])
        pieces = [(pause, size) for (pause, _), size in zip(response["pieces"], sizes, strict=False)]
        response |= {"headers": redaction.document(response["headers"]), "body": _packed(clean), "pieces": pieces}
        request = _Redaction(secrets, emails=self._emails).document(_request(record))
        kept = self._redact({"request": request, "response": response})
        if kept is not None:
            with self._path.open(self._mode) as file:
                file.write(encode(kept) + b"\n")
            self._mode = "ab"

    def describe_missing(self, record: RecordedRequest, secrets: Iterable[str]) -> str:
        """Say which recorded request is nearest to one that was not recorded, and in what they differ."""
        wanted = self._compared(record, secrets)
        what = f"{wanted['method']} {wanted['path']} was not recorded in {self._path}"
        count = sum(self._key(exchange["request"]) == self._key(wanted) for exchange in self.exchanges)
        if count:
            return f"{what} this often: all {count} recorded answers to it were given."
        if not self.exchanges:
            return f"{what}, which holds nothing."
        asked = dict(_leaves(self._matched(wanted), ""))
        recorded = [dict(_leaves(self._matched(exchange["request"]), "")) for exchange in self.exchanges]
        shared = [len(asked.items() & leaves.items()) / len(asked.keys() | leaves.keys()) for leaves in recorded]
        line = shared.index(max(shared))
        was = recorded[line]
        paths = [path for path in {**was, **asked} if was.get(path) != asked.get(path)]
        shown = [_difference(path, was.get(path), asked.get(path)) for path in paths[:_MOST_DIFFERENCES]]
        shown += [f"and {len(paths) - len(shown)} more"] if len(paths) > len(shown) else []
        differs = "; ".join(shown) or "only what `match` or `redact` see differs"
        return f"{what}. The nearest is line {line + 1}: {differs}."

    def _compared(self, record: RecordedRequest, secrets: Iterable[str]) -> dict[str, Any]:
        request = _Redaction(secrets, emails=self._emails).document(_request(record))
        return dict((self._redact({"request": deepcopy(request)}) or {"request": request})["request"])

    def _key(self, request: dict[str, Any]) -> str:
        return json.dumps(_plain(self._matched(request)), sort_keys=True, default=str)

    def _matched(self, request: dict[str, Any]) -> Any:
        try:
            return self._match(deepcopy(request))
        except Exception as error:
            what = f"{request['method']} {request['path']} of {self._path}"
            raise ValueError(f"`match` failed for {what}: {error!r}. It sees all requests.") from error


def read(path: Path) -> list[Exchange]:
    exchanges = []
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        try:
            if line.strip():
                exchange = json.loads(line)
                _request_parts(exchange["request"])
                _response_parts(exchange["response"])
                exchanges.append(exchange)
        except (ValueError, LookupError, TypeError) as error:
            raise ValueError(f"{path}, line {number}: this is not a recorded exchange ({error!r}).") from error
    return exchanges


def is_unreachable(exchange: Exchange) -> bool:
    return bool(exchange["response"].get("end") == "unreachable")


def _plain(value: Any) -> Any:
    """Make numbers that JSON calls equal equal: 1.0 is 1."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return {key: _plain(item) for key, item in value.items()} if isinstance(value, dict) else value


def _leaves(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and value:
        for index, item in enumerate(value):
            yield from _leaves(item, f"{path}[{index}]")
    else:
        yield path, json.dumps(_plain(value), ensure_ascii=False)


def _difference(path: str, recorded: str | None, asked: str | None) -> str:
    """Say how two values differ; long ones are shown around the place where they begin to."""
    same = takewhile(lambda pair: pair[0] == pair[1], zip(recorded or "", asked or "", strict=False))
    start = max(0, len(list(same)) - _LONGEST_VALUE // 2)

    def excerpt(value: str | None) -> str:
        if value is None:
            return "missing"
        part = value[start : start + _LONGEST_VALUE]
        return f"{'...' * (start > 0)}{part}{'...' * (start + len(part) < len(value))}"

    return f"`{path}` was {excerpt(recorded)}, is {excerpt(asked)}"


def _request(record: RecordedRequest) -> dict[str, Any]:
    """Return what a cassette keeps of a request: the path after the base URL, a query name's values if it has more."""
    query: dict[str, Any] = parse_qs(urlsplit(record.target).query, keep_blank_values=True)
    for name, values in query.items():
        query[name] = _HIDDEN if is_secret_parameter(name) else values[0] if len(values) == 1 else values
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


def _pieces(response: Mapping[str, Any]) -> list[tuple[float, bytes]]:
    """Return a recorded body in its pieces, with the pause before each; what `pieces` leave out is a last one."""
    body, position, found = response["body"], 0, []
    body = body.encode() if isinstance(body, str) else base64.b64decode(body["base64"])
    for pause, size in response["pieces"]:
        found.append((float(pause), body[position : position + size]))
        position += size
    return [*found, (0.0, body[position:])] if position < len(body) else found


def convert_recording(recording: Mapping[str, Any]) -> Exchange:
    """Convert a recording with `status`, `content_type`, `request` and `response`, its body as text."""
    body = recording["response"]
    headers, pieces = {"content-type": recording["content_type"]}, [[0.0, len(body.encode())]]
    response = {"status": recording["status"], "headers": headers, "body": body, "delay": 0.0, "pieces": pieces}
    request = {"method": "POST", "path": "/chat/completions", "query": {}, "body": recording["request"]}
    return {"request": request, "response": response}


def is_secret_header(name: str) -> bool:
    return _SECRET_HEADERS.search(name) is not None


def is_secret_parameter(name: str) -> bool:
    """Tell whether a query parameter holds a key; Gemini's is called `key`."""
    return name in {"key", "token"} or _is_secret_name(name)


@lru_cache(1_000)
def _is_secret_name(name: str) -> bool:
    return _SECRET_NAMES.search(name) is not None


def secrets_of(headers: Iterable[tuple[str, str]], query: Iterable[tuple[str, str]] = ()) -> list[str]:
    """Return the values that no file may hold."""
    values = [value for name, value in query if is_secret_parameter(name)]
    for name, value in headers:
        if name == "cookie":
            values += [pair.partition("=")[2] for pair in value.split(";")]
        elif name == "set-cookie":
            values.append(value.partition(";")[0].partition("=")[2])
        elif is_secret_header(name):
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
            return _HIDDEN if _is_secret_name(name) else self._text(value)
        return value

    def body(self, body: bytes) -> bytes:
        """Return JSON, server-sent events, or anything else without secrets. Lines stay lines."""
        try:
            text = body.decode()
        except UnicodeDecodeError:
            return self._text(body.decode("latin-1")).encode("latin-1")
        document = _parsed(text)
        if document is None:
            return self._events(text).encode()
        clean = self.document(document)
        return body if clean == document else encode(clean)

    def _text(self, text: str) -> str:
        if not any(sign in text for sign in self._signs):
            return text
        return self._pattern.sub(lambda match: (match["member"] or "") + _HIDDEN, text)

    def _events(self, text: str) -> str:
        lines = text.split("\n")
        events = {number: document for number, line in enumerate(lines) if (document := _data(line)) is not None}
        streams: dict[tuple[Any, ...], list[_Text]] = defaultdict(list)
        for document in events.values():
            for found in _texts(document, ()):
                if not _TEXT_KEYS.isdisjoint(found[2]):
                    streams[found[2]].append(found)
        for texts in streams.values():  # a secret that they spell together is hidden where it begins
            whole = "".join(container[key] for container, key, _ in texts)
            if not any(sign in whole for sign in self._signs):
                continue
            characters, position = list(whole), 0
            for match in self._pattern.finditer(whole):
                start = match.end("member") if match["member"] else match.start()
                characters[start : match.end()] = [_HIDDEN, *[""] * (match.end() - start - 1)]
            for container, key, _ in texts:
                start, position = position, position + len(container[key])
                container[key] = "".join(characters[start:position])
        for number, line in enumerate(lines):
            if number not in events:
                lines[number] = self._text(line)
            elif (clean := self.document(events[number])) != _data(line):
                name, end = "data: " * line.startswith("data:"), "\r" * line.endswith("\r")
                lines[number] = f"{name}{encode(clean).decode()}{end}"
        return "\n".join(lines)


def _texts(document: Any, path: tuple[Any, ...]) -> Iterator[_Text]:
    """Yield the texts; a choice and a tool call are known by their `index`, where they have one."""
    items: Any = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in items:
        if isinstance(value, str):
            yield document, key, (*path, key)
        elif isinstance(value, dict | list):
            number = value.get("index", key) if isinstance(value, dict) and isinstance(document, list) else key
            yield from _texts(value, (*path, number))


def _data(line: str) -> Any:
    """Return the JSON document of an event's `data` line or of a line of JSON, or None."""
    document = _parsed(line.removeprefix("data:"))
    return document if isinstance(document, dict | list) else None


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _recut(old: bytes, new: bytes, sizes: list[int]) -> list[int]:
    """Return the sizes of a body's pieces after its lines changed; in lines that stayed the cuts stay."""
    before, after = ([len(line) + 1 for line in body.split(b"\n")] for body in (old, new))
    if len(before) != len(after):
        return [len(new)]
    starts, new_starts = list(accumulate(before, initial=0)), list(accumulate(after, initial=0))
    cuts = [0]
    for cut in accumulate(sizes):
        line = bisect_right(starts, cut) - 1
        cuts.append(new_starts[line] + min(cut - starts[line], after[line] - 1))
    return [end - start for start, end in pairwise(cuts)]
