"""Exchanges over raw sockets: a server of scripts, a parser of lines, and callers of each colour.

The one place where these tests name modules of `_http`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import struct
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

from pydantic import SecretStr

from langchain_promptrun._http import pools, response
from langchain_promptrun._http.pools import TransportSettings
from langchain_promptrun._http.request import Request, Timeouts
from langchain_promptrun._http.threads import io_lock
from langchain_promptrun._http.transport import Transport
from langchain_promptrun.errors import PromptrunAPIError

__all__ = ["Request", "Timeouts", "Transport", "TransportSettings", "io_lock", "pools", "response"]

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class RawRequest(NamedTuple):
    """A request as it came."""

    head: bytes
    body: bytes

    def header(self, name):
        (found,) = re.findall(rf"(?im)^{name}: *(.*)\r$", self.head.decode() + "\r\n")
        return found


class RawServer:
    """Answers the n-th request with the n-th script, and every further one with the last; over TLS with a context.

    A script is a list of steps: bytes to send, seconds to pause, an event to wait for, something to call; HOLD waits
    until the client goes, RESET and CLOSE end the connection.
    """

    HOLD, RESET, CLOSE = "hold", "reset", "close"

    def __init__(self, context=None):
        self.context = context
        self.scripts, self.requests, self.connections = [], [], 0
        self.came, self._gone = threading.Semaphore(0), threading.Semaphore(0)
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._open = set()
        self._threads = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.url = f"http{'s' if self.context else ''}://127.0.0.1:{self._listener.getsockname()[1]}"
        self._spawn(self._accept)

    def answer(self, *steps):
        """Add a script."""
        self.scripts.append(list(steps))

    def answer_early(self, *steps):
        """Read no more of each request than 1 KiB before a script."""

        def serve_one(connection):
            connection.recv(1024)
            self.came.release()
            return all(self._step(connection, step) for step in steps)

        self._serve_one = serve_one

    def saw_end(self, count=1, seconds=5.0):
        """Whether so many further connections ended, each within the time."""
        return all(self._gone.acquire(timeout=seconds) for _ in range(count))

    def take_nothing(self):
        """Read no request, and keep the connections open."""
        self._serve_one = lambda connection: self._over.wait(10) and False

    def close(self):
        self._over.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)

    def _spawn(self, work, *args):
        thread = threading.Thread(target=work, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                # else the system keeps small pieces back, and drops them at the end
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.connections += 1
                self._spawn(self._serve, connection)

    def _serve(self, connection):
        try:
            if self.context is not None:
                connection = self.context.wrap_socket(connection, server_side=True)
            with connection:
                with self._lock:
                    self._open.add(connection)
                while self._serve_one(connection):
                    pass
        except OSError:
            pass
        finally:
            with self._lock:
                self._open.discard(connection)
            self._gone.release()

    def _serve_one(self, connection):
        data = b""
        while b"\r\n\r\n" not in data:
            more = connection.recv(65536)
            if not more:
                return False
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        while len(body) < (int(length[1]) if length else 0):
            body += connection.recv(65536)
        with self._lock:
            script = self.scripts[min(len(self.requests), len(self.scripts) - 1)]
            self.requests.append(RawRequest(head, body))
        self.came.release()
        return all(self._step(connection, step) for step in script)

    def _step(self, connection, step):
        if isinstance(step, bytes):
            connection.sendall(step)
        elif isinstance(step, threading.Event):
            step.wait(10)
        elif callable(step):
            step()
        elif isinstance(step, float):
            self._over.wait(step)
        elif step == self.HOLD:
            while connection.recv(65536):
                pass
        elif step == self.RESET:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return step not in (self.HOLD, self.RESET, self.CLOSE)


KEY = "sk-secret-0123456789"
SSE = ("content-type: text/event-stream", "transfer-encoding: chunked")
LAST = b"0\r\n\r\n"


def head(status, *headers):
    return "\r\n".join([f"HTTP/1.1 {status} X", *headers, "", ""]).encode()


def whole(body, *headers, status=200):
    return head(status, f"content-length: {len(body)}", *headers) + body


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


class Lines:
    """Each line is an item, and the end; `!` counts as an error, `#` as a keep-alive, `[DONE]` as the end."""

    def __init__(self, status, headers):
        self.status, self.headers = status, headers
        self.finished = False
        self.content_seen = 0
        self.partial = ""
        self._tail = b""

    def feed(self, data):
        *lines, self._tail = (self._tail + data).split(b"\n")
        return [line for line in map(self._take, lines) if line]

    def _take(self, line):
        if line.startswith(b"!"):
            raise PromptrunAPIError("told in the body", status_code=503)
        if line.startswith(b"#"):
            return None
        if line == b"[DONE]":
            self.finished = True
            return None
        self.content_seen += 1
        self.partial += line.decode()
        return line.decode()

    def close(self):
        return [*filter(None, [self._tail.decode()]), "end"]


class Sync:
    """Makes calls of one colour, over at most so many connections."""

    name = "auto"

    def __init__(self, limit=None, **clients):
        self.naps = []
        fixed = {"sleep": self.naps.append, "async_sleep": self.nap, "jitter": lambda: 1.0}
        self.transport = Transport(TransportSettings(limit, self.name), **fixed, **clients)

    async def nap(self, seconds):
        self.naps.append(seconds)

    def all(self, request, parser=Lines):
        return list(self.transport.exchange(request, parser))

    def begin(self, request, parser=Lines, count=1):
        """Take the first items; return them, and what leaves the rest."""
        items = self.transport.exchange(request, parser)
        return [next(items) for _ in range(count)], items.close

    def close(self):
        self.transport.close()


class Async(Sync):
    def __init__(self, limit=None, **clients):
        super().__init__(limit, **clients)
        self.runner = asyncio.Runner()

    def all(self, request, parser=Lines):
        return self.runner.run(self.all_async(request, parser))

    async def all_async(self, request, parser=Lines):
        return [item async for item in self.transport.aexchange(request, parser)]

    def begin(self, request, parser=Lines, count=1):
        async def take():
            items = self.transport.aexchange(request, parser)
            return [await anext(items) for _ in range(count)], items

        async def leave():
            await items.aclose()

        first, items = self.runner.run(take())
        return first, lambda: self.runner.run(leave())

    def close(self):
        super().close()
        self.runner.close()


class OverHttpx(Async):
    name = "httpx"


class OverAiohttp(Async):
    name = "aiohttp"


COLOURS = [Sync, OverHttpx, OverAiohttp]


def to(server, path="/v1/chat", **options):
    options = {"api_key": SecretStr(KEY), "timeouts": Timeouts(5, 5, 5, 5), "max_retries": 0} | options
    url = options.pop("url", server and server.url + path)
    headers = {"content-type": "application/json"} | options.pop("headers", {})
    return Request(method="POST", url=url, body=options.pop("body", b'{"a":1}'), headers=headers, **options)


KINDS = ["httpx", "aiohttp"]
OK = whole(b"ok\n")
HALF = head(200, *SSE) + chunk(b"ok\n")

FIRST_LINES = """
import asyncio, os, sys
from exchanges import Lines, Transport, TransportSettings, to

url, kind = sys.argv[1:]
transport = Transport(TransportSettings(async_transport=kind))
request = to(None, url=url)

def call():
    assert list(transport.exchange(request, Lines)) == ["ok", "end"]

async def acall():
    assert [item async for item in transport.aexchange(request, Lines)] == ["ok", "end"]
"""


def call(transport, server, **options):
    assert list(transport.exchange(to(server, **options), Lines)) == ["ok", "end"]


async def acall(transport, server, **options):
    assert [item async for item in transport.aexchange(to(server, **options), Lines)] == ["ok", "end"]


def over(kind, **options):
    return Transport(TransportSettings(async_transport=kind, **options))


def run_script(server, script, kind="httpx", *, debug=True):
    """Run a script in a fresh process, in which every warning is an error, and check that it says nothing."""
    code = FIRST_LINES + textwrap.dedent(script)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    path = [str(Path(__file__).parent), *filter(None, [environment.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, *(("-X", "dev") if debug else ()), "-W", "error", "-c", code, server.url, kind],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment | {"PYTHONPATH": os.pathsep.join(path)},
    )
    # asyncio's debug mode, which -X dev switches on, reports slow steps of a busy machine
    said = [line for line in done.stderr.splitlines() if not line.startswith("Executing <")]
    assert (done.returncode, said) == (0, [])
    return done.stdout


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


def call_at_once(server, count, *steps, rounds=1, read_timeout=20):
    """Have threads call a server that goes on with none of them before it has the requests of all."""
    together = threading.Barrier(count)
    server.answer(partial(together.wait, 20), *steps)
    request = to(server, body=b"x" * 100_000, timeouts=Timeouts(20, read_timeout, 20, 20))
    with contextlib.closing(Transport()) as transport, ThreadPoolExecutor(count) as threads:
        return [threads.submit(lambda: list(transport.exchange(request, Lines))) for _ in range(count * rounds)]
