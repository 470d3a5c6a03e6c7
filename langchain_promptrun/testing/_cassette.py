"""Cassettes: recorded exchanges in a file, one JSON object a line, found again by their requests.

An exchange is `{"request": {"method", "path", "query", "body"}, "response": {"status", "headers", "body", "delay",
"pieces", "end"}}`. A body that is not text is `{"base64": ...}`. `delay` is the time to the head and `pieces` lists
`[pause, bytes]`, in seconds. `end` is there where the answer broke off: `cut`, `reset`, `silence` until the client
left, or `unreachable`; `status` is null where nothing had come.
"""

import base64
import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from itertools import takewhile
from operator import itemgetter
from pathlib import Path
from typing import Any, TypedDict, Unpack
from urllib.parse import parse_qs, urlsplit

from langchain_promptrun.testing._http import RecordedRequest, encode
from langchain_promptrun.testing._redaction import Redaction, is_secret_parameter, recut

Exchange = dict[str, Any]

_request_parts = itemgetter("method", "path", "query", "body")
_response_parts = itemgetter("status", "headers", "body", "delay", "pieces")
_MOST_DIFFERENCES = 5
_LONGEST_VALUE = 200


class CassetteOptions(TypedDict, total=False):
    redact: Callable[[Exchange], Exchange | None] | None
    redact_emails: bool
    match: Callable[[dict[str, Any]], Any] | None


class Cassette:
    """The exchanges of one file, which is loaded or begun anew."""

    def __init__(self, path: str | os.PathLike[str], *, load: bool, **options: Unpack[CassetteOptions]) -> None:
        self._path = Path(path)
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

    def add(
        self, record: RecordedRequest, response: dict[str, Any], body: bytes, secrets: list[str], more: list[str]
    ) -> None:
        """Write an exchange without the secrets of its request; `more` are those of its response."""
        redaction = Redaction(secrets + more, emails=self._emails)
        clean = redaction.body(body)
        sizes = recut(body, clean, [size for _, size in response["pieces"]])
        pieces = [(pause, size) for (pause, _), size in zip(response["pieces"], sizes, strict=False)]
        response |= {"headers": redaction.document(response["headers"]), "body": _packed(clean), "pieces": pieces}
        request = Redaction(secrets, emails=self._emails).document(_request(record))
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
        request = Redaction(secrets, emails=self._emails).document(_request(record))
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
        query[name] = "[redacted]" if is_secret_parameter(name) else values[0] if len(values) == 1 else values
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


def pieces_of(response: Mapping[str, Any]) -> list[tuple[float, bytes]]:
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
