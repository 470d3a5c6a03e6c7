"""`RecordedRequest`: a request that reached the server, without its keys."""

from __future__ import annotations

import hmac
import json
import time
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable

_HIDDEN = "***"


@dataclass(frozen=True)
class Request:
    """One request as it stood on the wire; header names in lower case, repeated ones joined by a comma."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    keeps_alive: bool


@dataclass(eq=False)
class RecordedRequest:
    """One request, and what became of it. The server's thread writes its flags, any other reads them.

    Attributes:
        number: Counts from 1; the response's `x-request-id` is `req-<number>`.
        method: The HTTP method.
        target: The target in the request line; absolute when the server was used as a proxy.
        path: The target's path.
        query: The target's query parameters.
        headers: Header fields, names in lower case; keys are replaced by `***`.
        body: The body parsed as JSON; None where it is empty or not JSON.
        raw: The body's bytes.
        time: When it came in, in seconds since the epoch.
        connection: The number of its connection, from 1: equal numbers mean a connection kept alive.
        status: The answer's status; None as long as it is not known.
        answered: Whether the whole answer is on its way, or what a fault left of it.
        disconnected: Whether the client left before that.
    """

    number: int
    method: str
    target: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any
    raw: bytes = field(repr=False)
    time: float
    connection: int
    status: int | None = None
    answered: bool = False
    disconnected: bool = False
    key_digest: bytes = field(default=b"", repr=False)

    def has_key(self, key: str) -> bool:
        """Return whether the request carried this API key. The record holds only its digest."""
        return hmac.compare_digest(self.key_digest, sha256(key.encode()).digest())

    @property
    def in_flight(self) -> bool:
        return not (self.answered or self.disconnected)


def record(request: Request, number: int, connection: int, keys: Iterable[str]) -> RecordedRequest:
    parts = urlsplit(request.target)
    return RecordedRequest(
        number=number,
        method=request.method,
        target=request.target,
        path=parts.path,
        query=dict(parse_qsl(parts.query, keep_blank_values=True)),
        headers={name: _redacted(name, value, keys) for name, value in request.headers.items()},
        body=_parsed(request.body),
        raw=request.body,
        time=time.time(),
        connection=connection,
        key_digest=sha256(bearer(request.headers.get("authorization", "")).encode()).digest(),
    )


def bearer(authorization: str) -> str:
    """Return the key of an Authorization header; empty where it has none."""
    scheme, _, key = authorization.partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


def _redacted(name: str, value: str, keys: Iterable[str]) -> str:
    if name in {"authorization", "proxy-authorization"}:
        scheme, space, _ = value.partition(" ")
        return f"{scheme} {_HIDDEN}" if space else _HIDDEN
    for key in keys:
        value = value.replace(key, _HIDDEN)
    return value


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None
