"""A server of raw bytes, for tests of what happens below HTTP."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import threading
from dataclasses import dataclass, field

import pytest

HOLD = object()
"""A step of a script: wait until the client goes."""
RESET = object()
"""A step of a script: reset the connection."""
CLOSE = object()
"""A step of a script: close the connection."""

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


@dataclass
class RawRequest:
    """A request as it came, and the number of the connection it came on."""

    head: bytes
    body: bytes
    connection: int


@dataclass
class RawServer:
    """Answers the n-th request with the n-th script, and every further one with the last.

    A script is a list of steps: bytes to send, seconds to pause, an event to wait for, or HOLD, RESET, CLOSE.
    """

    scripts: list[list[object]] = field(default_factory=list)
    requests: list[RawRequest] = field(default_factory=list)
    connections: int = 0
    came: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    gone: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    HOLD = HOLD
    RESET = RESET
    CLOSE = CLOSE

    def __post_init__(self):
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._spawn(self._accept)

    def answer(self, *steps):
        """Add a script."""
        self.scripts.append(list(steps))

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
                with self._lock:
                    self.connections += 1
                    self._open.add(connection)
                    number = self.connections
                self._spawn(self._serve, connection, number)

    def _serve(self, connection, number):
        try:
            with connection:
                while self._serve_one(connection, number):
                    pass
        except OSError:
            pass
        finally:
            with self._lock:
                self._open.discard(connection)
            self.gone.release()

    def _serve_one(self, connection, number):
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
            self.requests.append(RawRequest(head, body, number))
        self.came.release()
        return all(self._step(connection, step) for step in script)

    def _step(self, connection, step):
        if isinstance(step, bytes):
            connection.sendall(step)
        elif isinstance(step, threading.Event):
            step.wait(10)
        elif isinstance(step, float):
            self._over.wait(step)
        elif step is HOLD:
            while connection.recv(65536):
                pass
            return False
        elif step is RESET:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        else:
            return False
        return True


@pytest.fixture
def raw_server():
    server = RawServer()
    yield server
    server.close()
