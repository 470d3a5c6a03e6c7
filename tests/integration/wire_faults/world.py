"""Where faults happen: the stand-in server, and addresses at which no server answers."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from langchain_promptrun.testing import PromptrunServer

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from wire_faults.fault import WireFault

_HOST = "127.0.0.1"


class _Greeting(socketserver.BaseRequestHandler):
    """A protocol in which the server speaks first, and it is not TLS."""

    def handle(self) -> None:
        self.request.sendall(b"220 mail.example.com ESMTP\r\n")
        self.request.recv(65_536)


class World:
    """A server, one that never reads, and addresses that lead nowhere. Use it with `with`."""

    def __init__(self) -> None:
        # any key is let in; OpenAI's dialect, so that peers find what they are made for
        self.server = PromptrunServer(api_key=None, dialect="openai")
        self._deaf = PromptrunServer(api_key=None)
        self._deaf.reading = False
        self._greeter = socketserver.TCPServer((_HOST, 0), _Greeting)
        self._sockets: list[socket.socket] = []
        self._urls: dict[str, str] = {}

    def __enter__(self) -> Self:
        self.server.start()
        self._deaf.start()
        threading.Thread(target=self._greeter.serve_forever, args=(0.02,), daemon=True).start()
        self._urls = {
            "server": self.server.base_url,
            "tls": self._deaf.base_url.replace("http:", "https:"),
            "deaf": self._deaf.base_url,
            "greeter": f"https://{_HOST}:{self._greeter.server_address[1]}/v1",
            "refused": f"http://{_HOST}:{self._bound()}/v1",
            "full": f"http://{_HOST}:{self._full()}/v1",
            "unknown": "http://nowhere.invalid/v1",
        }
        return self

    def __exit__(self, *_error: object) -> None:
        self.server.close()
        self._deaf.close()
        self._greeter.shutdown()
        self._greeter.server_close()
        for opened in self._sockets:
            opened.close()
        self._sockets.clear()

    def _bound(self) -> int:
        """A port that belongs to somebody who does not listen: connections are refused."""
        bound = socket.socket()
        bound.bind((_HOST, 0))
        self._sockets.append(bound)
        return bound.getsockname()[1]

    def _full(self) -> int:
        """A port with a full queue of connections: further ones wait for ever."""
        listener = socket.create_server((_HOST, 0), backlog=0)
        self._sockets.append(listener)
        for _ in range(3):
            waiting = socket.socket()
            waiting.setblocking(False)
            self._sockets.append(waiting)
            with contextlib.suppress(BlockingIOError):
                waiting.connect(listener.getsockname())
        return listener.getsockname()[1]

    def url(self, target: str) -> str:
        """The base URL under a target's name."""
        return self._urls[target]

    def prepare(self, fault: WireFault) -> None:
        """Forget what was, and queue what the fault's requests get.

        A request whose client gave up, or one on a connection that a fault before is about to close, must not get it:
        the server sees all that was sent so far, and ends the connections on which it still speaks.
        """
        for _ in range(4):  # a connection is accepted, read and answered in one round of the server's loop each
            self._in_loop(lambda: None)
        self.close_connections()
        self.server.clear()
        items = fault.items(self) if callable(fault.items) else fault.items
        self.server.queue(*(items if isinstance(items, Sequence) else [items]))

    def _in_loop(self, work: Callable[[], object]) -> None:
        """Have something done by the server's thread, and wait for it."""
        done = threading.Event()
        self.server._loop.call_soon_threadsafe(lambda: (work(), done.set()))
        done.wait()

    def close_connections(self) -> None:
        """End the connections on which an answer is under way."""

        def abort() -> None:
            for transport in tuple(self.server._routes.transports):
                if transport.get_protocol()._task is not None:
                    transport.abort()

        self._in_loop(abort)
