"""One connection: reads requests, plays the steps of their answers, and notices when the client leaves.

Owns the byte-exact timing: each `bytes` step is one write, and the next one waits until the socket has taken it. A
client that vanishes ends the answer in silence; an answer that cannot be played ends the connection, and the server is
told why.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from asyncio import Protocol as Callbacks
from collections import deque
from typing import TYPE_CHECKING, Protocol, cast

from langchain_promptrun.testing import _http
from langchain_promptrun.testing._script import Hangup, Pause, Step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_promptrun.testing._items import Wait
    from langchain_promptrun.testing._records import RecordedRequest

_POLL = 0.002
_BURST = 8
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Hub(Protocol):
    """What a connection needs of its server."""

    reading: bool

    def opened(self, connection: Connection) -> int:
        """Takes note of a connection and numbers it."""

    def closed(self, connection: Connection) -> None:
        """Forgets a connection."""

    def failed(self, problem: BaseException) -> None:
        """Takes note of an answer that could not be played."""

    def handle(self, request: _http.Request, connection: int) -> tuple[RecordedRequest, Iterator[Step]]:
        """Answers a request."""


class Connection(Callbacks):
    """The server's side of one connection, in the server's event loop."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._number = 0
        self._parser = _http.RequestParser()
        self._waiting: deque[_http.Request] = deque()
        self._record: RecordedRequest | None = None
        self._task: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Starts reading, unless the server is deaf; nothing is to be held back in the transport."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=1, low=0)  # with 0 and TLS, writing is paused and never resumed
        self._number = self._hub.opened(self)
        if not self._hub.reading:
            self._transport.pause_reading()

    def connection_lost(self, _exc: Exception | None) -> None:
        """Ends the answer under way."""
        self._hub.closed(self)
        if self._record is not None and not self._record.answered:
            self._record.disconnected = True
        if self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        """The socket takes no more."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """The socket has taken everything."""
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        """Takes what the client sends; answers its requests one after the other."""
        try:
            self._waiting.extend(self._parser.feed(data))
        except _http.BadRequestError as problem:
            body = f"Bad request: {problem}.\n".encode()
            headers = [("content-length", str(len(body))), ("connection", "close")]
            self._transport.write(_http.head(400, headers) + body)
            self._transport.close()
        if self._task is None and self._waiting:
            self._task = asyncio.get_running_loop().create_task(self._serve())
            self._task.add_done_callback(self._served)

    def abort(self) -> None:
        """Ends the connection at once."""
        self._transport.abort()

    async def _serve(self) -> None:
        while self._waiting:
            self._record, steps = self._hub.handle(self._waiting.popleft(), self._number)
            await self._play(self._record, steps)
        self._task = None

    def _served(self, task: asyncio.Task[None]) -> None:
        """Leaves no client waiting for an answer that failed."""
        if not task.cancelled() and (problem := task.exception()) is not None:
            self._hub.failed(problem)
            self._transport.abort()

    async def _play(self, record: RecordedRequest, steps: Iterator[Step]) -> None:
        for count, step in enumerate(steps):
            if isinstance(step, bytes):
                await self._send(step)
                if count % _BURST == _BURST - 1:
                    await asyncio.sleep(
                        0
                    )  # so that other connections, and this one's end, are seen during a long stream
            elif isinstance(step, Pause):
                await self._pause(step)
            else:
                self._hang_up(step)
                break
        record.answered = not record.disconnected

    async def _send(self, data: bytes) -> None:
        if self._transport.is_closing():
            raise asyncio.CancelledError
        self._transport.write(data)
        await self._writable.wait()

    async def _pause(self, pause: Pause) -> None:
        if pause.every is None:
            await _until(pause.until)
            return
        waiting = asyncio.ensure_future(_until(pause.until))
        try:
            while not waiting.done():
                await asyncio.wait({waiting}, timeout=pause.every)
                if not waiting.done():
                    await self._send(pause.comment)
        finally:
            waiting.cancel()

    def _hang_up(self, step: Hangup) -> None:
        if step.reset:
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self._transport.abort()
        else:
            self._transport.close()


async def _until(wait: Wait) -> None:
    """Waits; a test's event is looked at every 2 ms, since no event loop can be told of it."""
    if not isinstance(wait, threading.Event):
        await asyncio.sleep(wait)
        return
    loop = asyncio.get_running_loop()
    seen = loop.create_future()

    def look() -> None:
        if wait.is_set() and not seen.done():
            seen.set_result(None)
        elif not seen.done():
            loop.call_later(_POLL, look)

    look()
    await seen
