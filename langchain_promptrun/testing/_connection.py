"""One connection: reads requests by h11, plays the steps of their answers, notices when the client leaves."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import cast

import h11

from langchain_promptrun.testing._http import Hangup, Pause, RecordedRequest, Request, Step
from langchain_promptrun.testing._items import Wait
from langchain_promptrun.testing._routes import Routes

_LONGEST_HEAD = 65_536
_POLL = 0.002
_BURST = 8
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"


class Connection(asyncio.Protocol):
    def __init__(self, routes: Routes, *, reads: bool) -> None:
        self._routes = routes
        self._reads = reads
        self._head: h11.Request
        self._body = bytearray()
        self._waiting: deque[Request] = deque()
        self._record: RecordedRequest | None = None
        self._task: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._expect_request()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=1, low=0)  # with 0 and TLS, writing is paused and never resumed
        self._routes.transports.add(self._transport)
        self._routes.accepted += 1
        self._number = self._routes.accepted
        if not self._reads:
            self._transport.pause_reading()

    def connection_lost(self, _exc: Exception | None) -> None:
        self._routes.transports.discard(self._transport)
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
            self._parser.receive_data(data)
            while (event := self._parser.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
                if isinstance(event, h11.Request):
                    self._head = event
                elif isinstance(event, h11.Data):
                    self._body += event.data
                else:
                    self._waiting.append(self._request())
                    self._expect_request(self._parser.trailing_data[0])
            if self._parser.they_are_waiting_for_100_continue:  # RFC 9110, 10.1.1; curl does
                self._transport.write(self._parser.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
        except h11.RemoteProtocolError as problem:
            body = f"Bad request: {problem}.\n".encode()
            self._transport.write(_BAD_REQUEST % (len(body), body))
            self._transport.close()
        if self._task is None and self._waiting:
            self._task = asyncio.get_running_loop().create_task(self._serve())
            self._task.add_done_callback(self._served)

    def _expect_request(self, data: bytes = b"") -> None:
        self._parser = h11.Connection(h11.SERVER, max_incomplete_event_size=_LONGEST_HEAD)
        self._body.clear()
        if data:  # an empty one would be the connection's end
            self._parser.receive_data(data)

    def _request(self) -> Request:
        head = self._head
        headers: dict[str, str] = {}
        for name, value in ((name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers):
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        options = headers.get("connection", "").lower()
        keeps_alive = "close" not in options and (head.http_version == b"1.1" or "keep-alive" in options)
        return Request(head.method.decode(), head.target.decode("latin-1"), headers, bytes(self._body), keeps_alive)

    async def _serve(self) -> None:
        while self._waiting:
            self._record, steps = await self._routes.handle(self._waiting.popleft(), self._number)
            async with aclosing(steps):
                await self._play(self._record, steps)
        self._task = None

    def _served(self, task: asyncio.Task[None]) -> None:
        """Leave no client waiting for an answer that failed."""
        if not task.cancelled() and (problem := task.exception()) is not None:
            self._routes.failure = self._routes.failure or problem
            self._transport.abort()

    async def _play(self, record: RecordedRequest, steps: AsyncGenerator[Step]) -> None:
        count = 0
        async for step in steps:
            if isinstance(step, Hangup):
                if step.reset:
                    sock = self._transport.get_extra_info("socket")
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                    self._transport.abort()
                self._transport.close()
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
            await asyncio.Event().wait()  # `connection_lost` cancels once; twice would break off what the steps close
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


async def _until(wait: Wait) -> None:
    """Wait; an event of a test, which no loop can be told of, is looked at every 2 ms."""
    if not isinstance(wait, threading.Event):
        await asyncio.sleep(wait)
        return
    for _ in iter(wait.is_set, True):
        await asyncio.sleep(_POLL)
