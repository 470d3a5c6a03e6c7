"""Cassettes: recorded exchanges in a file, one JSON object a line, found again by their requests.

An exchange is `{"request": {"method", "path", "query", "body"}, "response": {"status", "headers", "body", "delay",
"pieces", "end"}}`. A body that is not text is `{"base64": ...}`. `delay` is the time to the head and `pieces` lists
`[pause, bytes]`, in seconds. `end` is there where the answer broke off: `cut`, `reset`, or `silence` until the client
left; `status` is null where nothing had come.
"""

from __future__ import annotations

import base64
import json
import threading
from collections import deque
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from langchain_promptrun.testing._cassettes.redaction import Redaction, recut

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping

    from langchain_promptrun.testing._requests import RecordedRequest

Exchange = dict[str, Any]

_MOST_DIFFERENCES = 5
_LONGEST_VALUE = 200


class CassetteOptions(TypedDict, total=False):
    """How a cassette hides secrets and compares requests."""

    redact: Callable[[Exchange], Exchange | None] | None
    redact_emails: bool
    match: Callable[[dict[str, Any]], Any] | None


class Cassette:
    """The exchanges of one file, which is loaded or begun anew; the options are those of `PromptrunServer.record`."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        load: bool,
        **options: Unpack[CassetteOptions],
    ) -> None:
        self._path = Path(path)
        self._redact = options.get("redact")
        self._emails = options.get("redact_emails", False)
        self._match = options.get("match")
        self._lock = threading.Lock()
        self.exchanges: list[Exchange] = _read(self._path) if load else []
        self._waiting: dict[str, deque[Exchange]] = {}
        for exchange in self.exchanges:
            self._waiting.setdefault(self._key(exchange["request"]), deque()).append(exchange)
        self._mode = "ab" if load else "wb"

    def begin(self) -> None:
        """Make the file; unless the cassette was loaded, the first time begins it anew."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open(self._mode):
            self._mode = "ab"

    @property
    def unused(self) -> list[Exchange]:
        """The exchanges that were not asked for."""
        waiting = {id(exchange) for queue in self._waiting.values() for exchange in queue}
        return [exchange for exchange in self.exchanges if id(exchange) in waiting]

    def take(self, request: dict[str, Any], key: str) -> Exchange | None:
        """Return the next exchange recorded for an equal request."""
        queue = self._waiting.get(self._key(self._redacted(request, key)))
        return queue.popleft() if queue else None

    def add(self, exchange: Exchange, key: str) -> None:
        """Write an exchange without its secrets."""
        exchange = deepcopy(exchange)
        response = exchange["response"]
        secrets = Redaction(emails=self._emails, keys=(key,))
        exchange["request"] = secrets.document(exchange["request"])
        _change_body(response, secrets.body)
        kept = self._redact(exchange) if self._redact else exchange
        if kept is not None:
            line = json.dumps(kept, ensure_ascii=False).encode() + b"\n"
            with self._lock, self._path.open(self._mode) as file:
                file.write(line)

    def describe_missing(self, request: dict[str, Any], key: str) -> str:
        """Say which recorded request is nearest to one that was not recorded, and in what they differ."""
        wanted = self._redacted(request, key)
        what = f"{wanted['method']} {wanted['path']} was not recorded in {self._path}"
        if self._key(wanted) in self._waiting:
            return f"{what} this often: all {self._count(wanted)} recorded answers to it were given."
        if not self.exchanges:
            return f"{what}, which holds nothing."
        asked = dict(_leaves(wanted, ""))
        recorded = [dict(_leaves(exchange["request"], "")) for exchange in self.exchanges]
        shared = [len(asked.items() & leaves.items()) / len(asked.keys() | leaves.keys()) for leaves in recorded]
        line = max(range(len(shared)), key=shared.__getitem__)
        return f"{what}. The nearest is line {line + 1}: {_differences(recorded[line], asked)}."

    def _count(self, request: dict[str, Any]) -> int:
        return sum(self._key(exchange["request"]) == self._key(request) for exchange in self.exchanges)

    def _redacted(self, request: dict[str, Any], key: str) -> dict[str, Any]:
        exchange = {"request": Redaction(emails=self._emails, keys=(key,)).document(deepcopy(request))}
        changed: Exchange | None = self._redact(exchange) if self._redact else None
        return dict((changed or exchange)["request"])

    def _key(self, request: dict[str, Any]) -> str:
        matched = self._match(deepcopy(request)) if self._match else request
        return json.dumps(_plain(matched), sort_keys=True, default=str)


def _read(path: Path) -> list[Exchange]:
    lines = path.read_bytes().split(b"\n") if path.exists() else []
    return [json.loads(line) for line in lines if line.strip()]


def _plain(value: Any) -> Any:
    """Make numbers that JSON calls equal equal: 1.0 is 1."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return {key: _plain(item) for key, item in value.items()} if isinstance(value, dict) else value


def _change_body(response: dict[str, Any], change: Callable[[str], str]) -> None:
    body = response["body"]
    if isinstance(body, str):
        response["body"] = change(body)
        sizes = recut(body.encode(), response["body"].encode(), [size for _, size in response["pieces"]])
        pauses = [pause for pause, _ in response["pieces"]]
        response["pieces"] = [list(pair) for pair in zip(pauses, sizes, strict=False)]


def _leaves(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Yield the paths and values of a request, as a message shows them."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and value:
        for index, item in enumerate(value):
            yield from _leaves(item, f"{path}[{index}]")
    else:
        text = json.dumps(_plain(value), ensure_ascii=False)
        yield path, text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."


def _differences(recorded: Mapping[str, str], asked: Mapping[str, str]) -> str:
    paths = [path for path in {**recorded, **asked} if recorded.get(path) != asked.get(path)]
    shown = [
        f"`{path}` was {recorded.get(path, 'missing')}, is {asked.get(path, 'missing')}"
        for path in paths[:_MOST_DIFFERENCES]
    ]
    more = len(paths) - len(shown)
    return "; ".join(shown) + (f"; and {more} more" if more else "") or "only what `match` or `redact` see differs"


def request_of(record: RecordedRequest) -> dict[str, Any]:
    """Return what a cassette keeps of a request; the path is that after the base URL."""
    body = record.body if record.body is not None else packed(record.raw)
    request = {"method": record.method, "path": record.path.removeprefix("/v1"), "query": record.query, "body": body}
    prompt_id = record.headers.get("http-prompt-id")
    return {**request, "prompt_id": prompt_id} if prompt_id else request


def packed(body: bytes) -> Any:
    """Return a body as text, or as `{"base64": ...}` where it is not UTF-8."""
    try:
        return body.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(body).decode()}


def unpacked(body: Any) -> bytes:
    """Return the bytes of a packed body."""
    return body.encode() if isinstance(body, str) else base64.b64decode(body["base64"])


def pieces_of(response: Mapping[str, Any]) -> list[tuple[float, bytes]]:
    """Return a recorded body in its pieces, with the pause before each; what `pieces` leave out is a last one."""
    body, position, found = unpacked(response["body"]), 0, []
    for pause, size in response["pieces"]:
        found.append((float(pause), body[position : position + size]))
        position += size
    return [*found, (0.0, body[position:])] if position < len(body) else found


def convert_recording(recording: Mapping[str, Any]) -> Exchange:
    """Convert a recording with `status`, `content_type`, `request` and `response`, its body as text."""
    body = recording["response"]
    return {
        "request": {"method": "POST", "path": "/chat/completions", "query": {}, "body": recording["request"]},
        "response": {
            "status": recording["status"],
            "headers": {"content-type": recording["content_type"]},
            "body": body,
            "delay": 0.0,
            "pieces": [[0.0, len(body.encode())]],
        },
    }
