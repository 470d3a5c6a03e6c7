"""A server on loopback, in a process of its own, that sends answers made beforehand.

One thread, one selector, plain sockets: it must keep ahead of the clients, whose CPU time is what is measured. Each
event of a stream goes out in a `send` of its own. What a request gets follows from its path:

    /text/2000, /tools/2000, /reasoning/2000    a stream of that many tokens
    /whole                                      an answer in one piece
    /late/1000                                  the same after so many ms
    /hold/10                                    a stream that stops after so many tokens and stays open
    /paced/150/20                               so many tokens, one every 20 ms; the text is the time it was sent at
"""

from __future__ import annotations

import heapq
import re
import resource
import selectors
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import answers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_END_OF_HEAD = b"\r\n\r\n"
_READ = 1 << 20
_BACKLOG = 4096
# How many events go out before the sockets are looked at again, shared among the open streams.
_BURST = 32


class Connection:
    """One client's connection: requests in, pieces of answers out."""

    def __init__(self, server: Server, sock: socket.socket) -> None:
        self._server = server
        self._socket = sock
        self._received = bytearray()
        self._pieces: Sequence[bytes] = ()
        self._next = 0
        self._rest = b""
        self.is_open = True
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server.selector.register(sock, selectors.EVENT_READ, self.handle)

    def handle(self, events: int) -> None:
        """Read what came, and go on with what could not be sent."""
        if events & selectors.EVENT_WRITE:
            self._server.selector.modify(self._socket, selectors.EVENT_READ, self.handle)
            self._server.sending[self] = None
        if events & selectors.EVENT_READ:
            with suppress(ConnectionError):
                data = self._socket.recv(_READ)
                if data:
                    self._received += data
                    self._answer()
                    return
            self.close()

    def close(self) -> None:
        """Forget the connection."""
        self._server.sending.pop(self, None)
        self._server.selector.unregister(self._socket)
        self._socket.close()
        self.is_open = False

    def start(self, pieces: Sequence[bytes]) -> None:
        """Begin to send an answer."""
        self._pieces = pieces
        self._next = 0
        self._server.sending[self] = None

    def push(self, most: int) -> None:
        """Send up to so many pieces, each by itself."""
        send, pieces = self._socket.send, self._pieces
        last = min(self._next + most, len(pieces))
        try:
            while self._rest or self._next < last:
                piece = self._rest or pieces[self._next]
                if not self._rest:
                    self._next += 1
                self._rest = piece
                self._rest = piece[send(piece) :]
        except BlockingIOError:
            del self._server.sending[self]
            self._server.selector.modify(self._socket, selectors.EVENT_READ | selectors.EVENT_WRITE, self.handle)
            return
        except ConnectionError:
            self.close()
            return
        if self._next == len(pieces):
            self._server.sending.pop(self, None)

    def _answer(self) -> None:
        """Answer the request if it is all there; clients wait for an answer before they send the next one."""
        end = self._received.find(_END_OF_HEAD)
        length = _LENGTH.search(self._received, 0, end) if end >= 0 else None
        if length is None or len(self._received) < end + len(_END_OF_HEAD) + int(length[1]):
            return
        path = bytes(self._received.split(b" ", 2)[1]).decode()
        self._received.clear()
        kind, *numbers = path.removesuffix("/chat/completions").strip("/").split("/")
        if kind == "whole":
            self.start((answers.whole(),))
            self.push(1)
        elif kind == "late":
            self._server.call_later(int(numbers[0]) / 1000, self._answer_late)
        elif kind == "hold":
            self.start(answers.opening("text", int(numbers[0])))
        elif kind == "paced":
            self.start(answers.opening("text", 0))
            self.push(_BURST)
            self._send_token(int(numbers[0]), int(numbers[1]) / 1000, time.monotonic())
        else:
            self.start(answers.stream(kind, int(numbers[0])))

    def _answer_late(self) -> None:
        if self.is_open:
            self.start((answers.whole(),))
            self.push(1)

    def _send_token(self, left: int, interval: float, due: float) -> None:
        """Send one token now, and the others at even intervals."""
        if not self.is_open:
            return
        now = time.monotonic()
        if left:
            self.start((answers.text_event(f"{now:.6f}"),))
            due += interval
            self._server.call_later(due - now, lambda: self._send_token(left - 1, interval, due))
        else:
            self.start(answers.stream("text", 0)[2:])
        self.push(_BURST)


class Server:
    """Accepts connections and gives each open stream its turn."""

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.sending: dict[Connection, None] = {}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)
        self._listener.setblocking(False)
        self.selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self.port = self._listener.getsockname()[1]

    def _accept(self, _: int) -> None:
        with suppress(BlockingIOError):
            while True:
                Connection(self, self._listener.accept()[0])

    def call_later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call a function in so many seconds."""
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._numbers), call))

    def run(self) -> None:
        """Serve until standard input ends, as it does when the parent process does."""
        self.selector.register(sys.stdin, selectors.EVENT_READ, None)
        while True:
            for key, events in self.selector.select(self._patience()):
                if key.data is None:
                    return
                key.data(events)
            most = 1 + _BURST // (len(self.sending) + 1)
            for connection in list(self.sending):
                connection.push(most)
            while self._timers and self._timers[0][0] <= time.monotonic():
                heapq.heappop(self._timers)[2]()

    def _patience(self) -> float | None:
        if self.sending:
            return 0
        return max(0, self._timers[0][0] - time.monotonic()) if self._timers else None


def raise_open_files() -> None:
    """Allow this process as many open files as it may have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@contextmanager
def running() -> Iterator[str]:
    """Run the server in a process of its own; gives the URL that paths are added to."""
    command = [sys.executable, str(Path(__file__).resolve())]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.stdin.close()


def main() -> None:
    """Serve, and say at which port."""
    raise_open_files()
    server = Server()
    print(server.port, flush=True)
    server.run()


if __name__ == "__main__":
    main()
