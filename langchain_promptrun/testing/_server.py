"""`PromptrunServer`: what a test asks it, its thread, its listening socket and its connections."""

import asyncio
import os
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, Unpack, cast

import h11

from langchain_promptrun.testing._answers import validator_class
from langchain_promptrun.testing._cassette import Cassette, CassetteOptions, Recorder, Slices, StrPath
from langchain_promptrun.testing._http import Hangup, Pause, RecordedRequest
from langchain_promptrun.testing._items import Fault, ManagedPrompts, Reply, Settings, Wait
from langchain_promptrun.testing._routes import Routes, brings_its_own

_PROMPTRUN = "https://api.promptrun.ai/v1"
_HOST = "127.0.0.1"
_BACKLOG = 4096
_POLL = 0.002
_LAST_TURNS = 4  # turns of the loop in which connections that were just accepted still come in
_LONGEST_HEAD = 65_536
_BURST = 8
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"


@dataclass(kw_only=True, eq=False)
class PromptrunServer(Settings):
    """A Promptrun on loopback, for tests and demonstrations.

    A small model answers equal requests equally, unless a test says what comes next (`Reply`) or how to fail (`Fault`).
    It echoes the question, calls the `tools` that fit, fills in the schema of a `response_format`, and keeps to `n`,
    `stop`, `max_tokens`, `seed`, `logprobs` and `reasoning_effort`. Use the server with `with`, or `start()` and
    `close()`; it starts again on the same port. Settings may change while it runs.

    Args:
        api_key: The key, or the keys, that are let in; others get status 401. None: any key, or none.
        models: The ids of the models that exist; others get status 404. None: any id of the form `vendor/name`.
        dialect: The shape of answers and errors: `"promptrun"` as its documents and SDK have it, `"openai"` as OpenAI.
        documented_shape: Answers without `finish_reason` and `usage`, exactly as Promptrun's page shows them.
        strict: Refuses requests that OpenAI's reference rules out. False: looks only for `model` and `messages`.
        answer: Answers a body where nothing is queued, or returns None; runs in the server's thread, must not wait.
        pace: Seconds between two events of a stream. None: no pause.
        cost_per_token: US dollars; adds `cost` to the usage.
        rate_limit: Refuses requests that come too fast with status 429.
        prompt_cache: Counts what of a prompt earlier requests have cached, for models that need marks up to the marks.
        port: The port. 0: a free one.
        tls: Serves https with this context.

    Attributes:
        prompts: The dashboard of the managed prompts.
        requests: The requests that came in, oldest first, also refused ones.
        missing: A sentence for each request that the recording lacks.
        reading: Whether the server reads from new connections.
    """

    port: int = 0
    tls: ssl.SSLContext | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.reading = True
        self._routes = Routes(self)
        self.prompts: ManagedPrompts = self._routes.prompts
        self.requests: list[RecordedRequest] = self._routes.requests
        self.missing: list[str] = self._routes.missing
        self._loop: asyncio.AbstractEventLoop | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    @classmethod
    def record(
        cls, path: StrPath, upstream: str | None = None, *, keep: bool = False, **options: Unpack[CassetteOptions]
    ) -> Self:
        """Return a server that forwards requests, with the caller's key, and records the answers as they pass.

        Args:
            path: The file, one JSON object a line; its folder is made.
            upstream: The base URL of the server to ask. None: `PROMPTRUN_BASE_URL`, else Promptrun.
            keep: Whether to answer from the file what it holds, and to record only what it lacks. False: begin anew.
            **options: `redact` changes each exchange before it is written, and each request, without a `response`,
                before it is compared; None leaves it out. `redact_emails` hides e-mail addresses too. `match` makes
                of a request what equal ones have in common. `api_key` is that of the server. `port` 0 is a free one.
        """
        upstream = upstream or os.environ.get("PROMPTRUN_BASE_URL") or _PROMPTRUN
        if not upstream.startswith(("http://", "https://")):
            raise ValueError(f"`upstream` must begin with http:// or https://, not be {upstream!r}.")
        server = cls(api_key=options.get("api_key"), port=options.get("port", 0))
        server._routes.cassette = Cassette(path, options, load=keep, speed=None, slices=None)
        server._routes.recorder = Recorder(server._routes.cassette, upstream, server.missing)
        return server

    @classmethod
    def replay(
        cls, path: StrPath, *, speed: float | None = None, slices: Slices = None, **options: Unpack[CassetteOptions]
    ) -> Self:
        """Return a server that gives the recorded answers to equal requests, repeated ones in their order.

        A request that was not recorded gets status 400 and is told the nearest one. A queued `Reply`, or `Fault` with a
        status or content of its own, comes before the recording; any other `Fault` happens to the recorded answer.

        Args:
            path: The file.
            speed: None: at once; 1: with the recorded pauses; 10: ten times as fast.
            slices: None: in the recorded pieces; a number: in pieces of so many bytes; a function cuts the body.
            **options: As for `record`; any key is let in.
        """
        if not Path(path).exists():
            raise FileNotFoundError(f"{path} does not exist. Record it by `PromptrunServer.record({str(path)!r})`.")
        if (speed is not None and speed <= 0) or (isinstance(slices, int) and slices < 1):
            raise ValueError(f"`speed` and `slices` must be above 0, not {speed!r} and {slices!r}.")
        server = cls(api_key=options.get("api_key", "test-key"), port=options.get("port", 0))
        server._routes.cassette = Cassette(path, options, load=True, speed=speed, slices=slices)
        return server

    def start(self) -> None:
        """Start serving, unless it already is; raises OSError where the port is taken."""
        if self._loop is not None:
            return
        if self._routes.recorder:
            self._routes.recorder.open()
        listener = socket.create_server((_HOST, self.port), backlog=_BACKLOG)
        self.port = listener.getsockname()[1]
        self._stop = asyncio.Event()
        loop = self._loop = asyncio.new_event_loop()

        def run() -> None:
            validator_class()  # an import reads files, which must not block a running loop
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(self._serve(listener))

        self._thread = threading.Thread(None, run, "promptrun-stand-in", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End all connections and the thread; raises what first kept the server from playing an answer."""
        if self._loop is None:
            return
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop = None
        failure, self._routes.failure = self._routes.failure, None
        if failure is not None:
            raise failure

    @property
    def base_url(self) -> str:
        """The server's address, as `ChatPromptrun(base_url=...)` takes it."""
        return f"{'http' if self.tls is None else 'https'}://{_HOST}:{self.port}/v1"

    @property
    def unused(self) -> list[dict[str, Any]]:
        """The recorded exchanges that were not asked for."""
        return [] if self._routes.cassette is None else self._routes.cassette.unused

    @property
    def queued(self) -> int:
        """How many requests the queue is still good for."""
        return len(self._routes.queue)

    @property
    def open_connections(self) -> int:
        """How many connections are open now."""
        return len(self._routes.transports)

    @property
    def connections_accepted(self) -> int:
        """How many connections were ever opened."""
        return self._routes.accepted

    @property
    def in_flight(self) -> int:
        """How many requests are neither answered nor given up."""
        return sum(request.in_flight for request in tuple(self.requests))

    def queue(self, *items: Reply | Fault | str) -> None:
        """Say what the next requests for chat completions get; refused ones use nothing up. A text is a `Reply`."""
        for item in items:
            entry = Reply(item) if isinstance(item, str) else item
            if not isinstance(entry, Reply | Fault):
                raise TypeError(f"A Reply, a Fault or a text can be queued, not {type(item).__name__}.")
            if self._routes.recorder and not brings_its_own(entry):
                raise ValueError("A Fault without a status or content spoils recorded answers. This server records.")
            self._routes.queue.extend([entry] * entry.times)

    def clear(self) -> None:
        """Forget the requests that came in and what is queued."""
        self._routes.queue.clear()
        self.prompts.faults.clear()
        self.requests.clear()

    def wait_until(self, condition: Callable[[], object], timeout: float = 20, *, what: str = "the condition") -> None:
        """Wait until a condition, `what`, holds, or raise TimeoutError; async code calls it by `asyncio.to_thread`."""
        end = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(f"{what} did not come within {timeout} s: {len(self.requests)} requests so far")
            time.sleep(_POLL)

    def wait_for_requests(self, count: int = 1, timeout: float = 20.0) -> list[RecordedRequest]:
        """Wait until `count` requests have come in, and return all; raises TimeoutError."""
        self.wait_until(lambda: len(self.requests) >= count, timeout, what=f"request {count}")
        return list(self.requests)

    def wait_for_disconnects(self, count: int = 1, timeout: float = 20.0) -> list[RecordedRequest]:
        """Wait until `count` clients left before their answers' end; return their requests or raise TimeoutError."""
        what = f"disconnect {count}"
        self.wait_until(lambda: sum(one.disconnected for one in self.requests) >= count, timeout, what=what)
        return [request for request in self.requests if request.disconnected]

    async def _serve(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: _Connection(self._routes, reads=self.reading), sock=listener, backlog=_BACKLOG, ssl=self.tls
        )
        await self._stop.wait()
        with suppress(NotImplementedError):  # Windows
            loop.remove_reader(listener)
        await asyncio.sleep(0)  # what was accepted is attached to the server, which a closed one refuses and leaks
        server.close()
        for _ in range(_LAST_TURNS):
            for transport in tuple(self._routes.transports):
                transport.abort()
            await asyncio.sleep(0)
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()}, return_exceptions=True)
        if self._routes.recorder is not None:
            self._routes.failure = await self._routes.recorder.close() or self._routes.failure


class _Connection(asyncio.Protocol):
    """Reads requests by h11, plays the steps of their answers, and notices when the client leaves."""

    def __init__(self, routes: Routes, *, reads: bool) -> None:
        self._routes = routes
        self._reads = reads
        self._head: h11.Request
        self._body = bytearray()
        self._requests: asyncio.Queue[tuple[h11.Request, bytes, bool]] = asyncio.Queue()
        self._record: RecordedRequest | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._expect_request()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=1, low=0)  # with 0 and TLS, writing is paused and never resumed
        self._routes.transports.add(self._transport)
        self._routes.accepted += 1
        self._serving = asyncio.get_running_loop().create_task(self._serve(self._routes.accepted))
        self._serving.add_done_callback(self._served)
        if not self._reads:
            self._transport.pause_reading()

    def connection_lost(self, _exc: Exception | None) -> None:
        self._routes.transports.discard(self._transport)
        if self._record is not None and not self._record.answered:
            self._record.disconnected = True
        self._serving.cancel()

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
                    keeps_alive = self._parser.their_state is not h11.MUST_CLOSE
                    self._requests.put_nowait((self._head, bytes(self._body), keeps_alive))
                    self._expect_request(self._parser.trailing_data[0])
            if self._parser.they_are_waiting_for_100_continue:  # RFC 9110, 10.1.1; curl does
                self._transport.write(self._parser.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
        except h11.RemoteProtocolError as problem:
            body = f"Bad request: {problem}.\n".encode()
            self._transport.write(_BAD_REQUEST % (len(body), body))
            self._transport.close()

    def _expect_request(self, data: bytes = b"") -> None:
        self._parser = h11.Connection(h11.SERVER, max_incomplete_event_size=_LONGEST_HEAD)
        self._body.clear()
        if data:  # an empty one would be the connection's end
            self._parser.receive_data(data)

    async def _serve(self, number: int) -> None:
        keeps_alive, sent = True, 0
        while keeps_alive:
            head, body, keeps_alive = await self._requests.get()
            self._record, steps = self._routes.handle(head, body, number)
            async with aclosing(steps):
                async for step in steps:
                    if isinstance(step, Hangup):
                        keeps_alive = False
                        if step.reset:
                            sock = self._transport.get_extra_info("socket")
                            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                            self._transport.abort()
                        break
                    if isinstance(step, Pause):
                        await self._pause(step)
                        continue
                    await self._send(step)
                    sent += 1
                    if sent % _BURST == 0:
                        await asyncio.sleep(0)  # lets the loop see other connections, and this one's end
            self._record.answered = not self._record.disconnected
        self._transport.close()

    def _served(self, task: asyncio.Task[None]) -> None:
        """Leave no client waiting for an answer that failed."""
        if not task.cancelled() and (problem := task.exception()) is not None:
            self._routes.failure = self._routes.failure or problem
            self._transport.abort()

    async def _send(self, data: bytes) -> None:
        if self._transport.is_closing():
            await asyncio.Event().wait()  # `connection_lost` cancels once; twice would break off what the steps close
        self._transport.write(data)
        await self._writable.wait()

    async def _pause(self, pause: Pause) -> None:
        waiting = asyncio.ensure_future(_until(pause.until))
        try:
            while not (await asyncio.wait({waiting}, timeout=pause.every))[0]:
                await self._send(pause.comment)
            await waiting
        finally:
            waiting.cancel()


async def _until(wait: Wait) -> None:
    """Wait; an event of a test, which no loop can be told of, is looked at every 2 ms."""
    if isinstance(wait, threading.Event):
        for _ in iter(wait.is_set, True):
            await asyncio.sleep(_POLL)
    else:
        await asyncio.sleep(wait)
