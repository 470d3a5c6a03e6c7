"""Limits on the reads of sync calls: httpcore takes one limit for each read of a body, and none for all of a head.

Owns how a limit is set on the network stream of a connection. It must not know what is read.
"""

from __future__ import annotations

import threading
import weakref
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_CONNECTED = ("connect_tcp.complete", "start_tls.complete")


class _Head(threading.local):
    deadline: float | None = None


_head = _Head()


class HeadLimit:
    """Limits how long this thread waits until an answer begins, whatever drips in meanwhile.

    It counts on connections that `watch_connection` was told of.

    Args:
        seconds: The limit; None for none.
    """

    __slots__ = ("_seconds",)

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds

    def __enter__(self) -> None:
        _head.deadline = None if self._seconds is None else monotonic() + self._seconds

    def __exit__(self, *_: object) -> None:
        _head.deadline = None


def watch_connection(event: str, info: Mapping[str, Any]) -> None:
    """Make a new connection heed `HeadLimit`.

    Args:
        event: What happened, as httpcore's extension `trace` tells it.
        info: Facts about the event.
    """
    if event.endswith(_CONNECTED):
        info["return_value"].read = _HeadRead(info["return_value"])


class _HeadRead:
    """What stands for a network stream's `read` while a head is waited for."""

    __slots__ = ("_plain", "_stream")

    def __init__(self, stream: Any) -> None:
        self._plain = type(stream).read
        # a stream that refers to itself would keep its socket until the collector comes
        self._stream = weakref.ref(stream)

    def __call__(self, size: int, timeout: float | None = None) -> bytes:
        data: bytes = self.unlimited()(size, _until_the_deadline(timeout))
        return data

    def unlimited(self) -> Callable[[int, float | None], Any]:
        return partial(self._plain, self._stream())


def _until_the_deadline(limit: float | None) -> float | None:
    if _head.deadline is None:
        return limit
    left = _head.deadline - monotonic()
    if left <= 0:
        raise httpx.ReadTimeout("the answer did not begin in time")
    return left if limit is None else min(limit, left)


class Reader(Protocol):
    """Whoever reads a body."""

    def limit(self) -> float | None:
        """Seconds that the next read may take; None for no limit."""


def limit_reads(stream: Any, reader: Reader) -> Callable[[], None] | None:
    """Make the reads of a network stream take their limit from its reader.

    Args:
        stream: The stream, an extension of httpx's responses.
        reader: Who is asked before each read. The stream does not keep it.

    Returns:
        What undoes it; None where the stream has no reads to be limited.
    """
    watch = weakref.ref(reader)
    try:
        read = before = stream.read
        if isinstance(before, _HeadRead):
            read = before.unlimited()

        def limited(size: int, timeout: float | None = None) -> Any:
            now = watch()
            return read(size, timeout if now is None else now.limit())

        stream.read = limited
    except AttributeError:
        return None
    if isinstance(before, _HeadRead):
        return partial(setattr, stream, "read", before)
    return partial(delattr, stream, "read")
