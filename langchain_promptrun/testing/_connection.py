"""One connection: reads requests by h11, plays the steps of their answers, notices when the client leaves."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections import deque
from contextlib import aclosing
from typing import TYPE_CHECKING, Protocol, cast

import h11

from langchain_promptrun.testing._requests import Request
from langchain_promptrun.testing._steps import Hangup, Pause, Step

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from langchain_promptrun.testing._items import Wait
    from langchain_promptrun.testing._requests import RecordedRequest

_LONGEST_HEAD = 65_536
_POLL = 0.002
_BURST = 8
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"


class Hub(Protocol):
    reading: bool

    def opened(self, connection: Connection) -> int: ...
    def closed(self, connection: Connection) -> None: ...
    def failed(self, problem: BaseException) -> None: ...
    async def handle(self, request: Request, connection: int) -> tuple[RecordedRequest, AsyncGenerator[Step]]: ...


class RequestReader:
    """Takes bytes as they come and yields the requests that are complete."""

    def __init__(self) -> None:
        self._parser = _parser()
        self._head: h11.Request
        self._body = bytearray()

    def feed(self, data: bytes) -> Iterator[Request]:
        """Yield the requests that these bytes complete.

        Raises:
            h11.RemoteProtocolError: The bytes are not HTTP/1.
        """
        self._parser.receive_data(data)
        while (event := self._parser.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
            if isinstance(event, h11.Request):
                self._head = event
            elif isinstance(event, h11.Data):
                self._body += event.data
            else:
                yield self._complete()

    def go_on(self) -> bytes:
        """Return what a client waits for that sent `Expect: 100-continue` (RFC 9110, 10.1.1), as curl does."""
        if not self._parser.they_are_waiting_for_100_continue:
            return b""
        return self._parser.send(h11.InformationalResponse(status_code=100, headers=[])) or b""

    def _complete(self) -> Request:
        head = self._head
        headers: dict[str, str] = {}
        for name, value in ((name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers):
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        options = headers.get("connection", "").lower()
        keeps_alive = "close" not in options and (head.http_version == b"1.1" or "keep-alive" in options)
        request = Request(head.method.decode(), head.target.decode("latin-1"), headers, bytes(self._body), keeps_alive)
        following = self._parser.trailing_data[0]
        self._parser, self._body = _parser(), bytearray()
        if following:
            self._parser.receive_data(following)
        return request


def _parser() -> h11.Connection:
    return h11.Connection(h11.SERVER, max_incomplete_event_size=_LONGEST_HEAD)


class Connection(asyncio.Protocol):
    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._number = 0
        self._reader = RequestReader()
        self._waiting: deque[Request] = deque()
        self._record: RecordedRequest | None = None
        self._task: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=1, low=0)  # with 0 and TLS, writing is paused and never resumed
        self._number = self._hub.opened(self)
        if not self._hub.reading:
            self._transport.pause_reading()

    def connection_lost(self, _exc: Exception | None) -> None:
        self._hub.closed(self)
        if self._record is not None and not self._record.answered:
            self._record.disconnected = True
        if self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        try:
            self._waiting.extend(self._reader.feed(data))
            self._transport.write(self._reader.go_on())
        except h11.RemoteProtocolError as problem:
            body = f"Bad request: {problem}.\n".encode()
            self._transport.write(_BAD_REQUEST % (len(body), body))
            self._transport.close()
        if self._task is None and self._waiting:
            self._task = asyncio.get_running_loop().create_task(self._serve())
            self._task.add_done_callback(self._served)

    def abort(self) -> None:
        self._transport.abort()

    async def _serve(self) -> None:
        while self._waiting:
            self._record, steps = await self._hub.handle(self._waiting.popleft(), self._number)
            async with aclosing(steps):
                await self._play(self._record, steps)
        self._task = None

    def _served(self, task: asyncio.Task[None]) -> None:
        """Leave no client waiting for an answer that failed."""
        if not task.cancelled() and (problem := task.exception()) is not None:
            self._hub.failed(problem)
            self._transport.abort()

    async def _play(self, record: RecordedRequest, steps: AsyncGenerator[Step]) -> None:
        count = 0
        async for step in steps:
            if isinstance(step, Hangup):
                self._hang_up(step)
                break
            if isinstance(step, Pause):
                await self._pause(step)
                continue
            await self._send(step)
            count += 1
            if count % _BURST == 0:
                await asyncio.sleep(0)  # lets the loop see other connections, and this one's end
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
    """Wait; an event of a test, which no loop can be told of, is looked at every 2 ms."""
    if not isinstance(wait, threading.Event):
        await asyncio.sleep(wait)
        return
    for _ in iter(wait.is_set, True):
        await asyncio.sleep(_POLL)
