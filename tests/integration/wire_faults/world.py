"""Where faults happen: the stand-in server, and addresses at which no server answers."""

import contextlib
import socket
import socketserver
import threading
from collections.abc import Sequence

from langchain_promptrun.testing import PromptrunServer

_HOST = "127.0.0.1"


class _Greeting(socketserver.BaseRequestHandler):
    """A protocol in which the server speaks first, and it is not TLS."""

    def handle(self):
        self.request.sendall(b"220 mail.example.com ESMTP\r\n")
        self.request.recv(65_536)


class World:
    """A server, one that never reads, and addresses that lead nowhere. Use it with `with`."""

    def __enter__(self):
        self._stack = contextlib.ExitStack()
        # any key is let in; OpenAI's dialect, so that peers find what they are made for
        self.server = self._stack.enter_context(PromptrunServer(api_key=None, dialect="openai"))
        deaf = PromptrunServer(api_key=None)
        deaf.reading = False
        self._stack.enter_context(deaf)
        greeter = self._stack.enter_context(socketserver.TCPServer((_HOST, 0), _Greeting))
        threading.Thread(target=greeter.serve_forever, args=(0.02,), daemon=True).start()
        self._stack.callback(greeter.shutdown)
        bound = self._stack.enter_context(socket.socket())  # and does not listen: connections are refused
        bound.bind((_HOST, 0))
        full = self._stack.enter_context(socket.create_server((_HOST, 0), backlog=0))
        for _ in range(3):  # further connections wait for ever
            waiting = self._stack.enter_context(socket.socket())
            waiting.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                waiting.connect(full.getsockname())
        self._urls = {
            "server": self.server.base_url,
            "tls": deaf.base_url.replace("http:", "https:"),
            "plain": self.server.base_url.replace("http:", "https:"),
            "deaf": deaf.base_url,
            "greeter": f"https://{_HOST}:{greeter.server_address[1]}/v1",
            "refused": f"http://{_HOST}:{bound.getsockname()[1]}/v1",
            "full": f"http://{_HOST}:{full.getsockname()[1]}/v1",
            "unknown": "http://nowhere.invalid/v1",
        }
        return self

    def __exit__(self, *_error):
        self._stack.close()

    def url(self, target):
        return self._urls[target]

    def prepare(self, fault):
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

    def _in_loop(self, work):
        """Have something done by the server's thread, and wait for it."""
        done = threading.Event()
        self.server._loop.call_soon_threadsafe(lambda: (work(), done.set()))
        done.wait()

    def close_connections(self):
        """End the connections on which an answer is under way."""

        def abort():
            for transport in tuple(self.server._routes.transports):
                record = transport.get_protocol()._record
                if record is not None and not record.answered:
                    transport.abort()

        self._in_loop(abort)
