"""The private API of httpx, httpcore, h11, anyio and aiohttp that the package uses is as it was when it was checked.

That was with httpx 0.28.1, httpcore 1.0.9, h11 0.16.0, anyio 4.16.0 and aiohttp 3.14.5.
"""

from __future__ import annotations

import socket
from types import SimpleNamespace

import httpx
import pytest
from httpcore._backends.sync import SyncStream

from langchain_promptrun._http.private_api import read_while_sending, receive_rest, watch_errors, watch_sync

from .exchanges import LAST, SSE, Lines, Transport, chunk, head, to


def test_private_api_lets_a_live_stream_have_another_read_limit(raw_server):
    """A network stream takes an attribute `read`, which its response asks for."""
    raw_server.answer(head(200, *SSE), chunk(b"one\n"), 0.05, chunk(b"[DONE]\n"), LAST)
    seen = []

    class Spying(httpx.HTTPTransport):
        def handle_request(self, request):
            response = super().handle_request(request)
            seen.append(response.extensions["network_stream"])
            return response

    with httpx.Client(transport=Spying()) as client:
        items = Transport(http_client=client).exchange(to(raw_server), Lines)
        next(items)
        assert "read" in vars(seen[0])
        assert list(items) == ["end"]
        assert "read" not in vars(seen[0])


class Other:
    close = None


def test_private_api_leaves_streams_of_another_kind_alone():
    stream = Other()
    stream._stream = SimpleNamespace()
    read_while_sending(stream)
    watch_sync(stream)
    assert watch_errors(stream) is None
    del stream.close, stream.is_unseen
    assert vars(stream) == {"_stream": SimpleNamespace()}


@pytest.mark.parametrize("body", [b"{}", b"", b"x" * 100_000], ids=["small", "none", "large"])
def test_head_of_a_sync_request_goes_out_with_its_body(body):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setblocking(False)
        stream = SyncStream(ours)
        watch_sync(stream)
        stream.write(b"POST / HTTP/1.1\r\n\r\n", timeout=1)
        with pytest.raises(BlockingIOError):
            theirs.recv(1)
        stream.write(body, timeout=1)
        stream.write(b"", timeout=1)
        assert theirs.recv(200_000) == b"POST / HTTP/1.1\r\n\r\n" + body


@pytest.mark.parametrize(("over_tls", "taken"), [(None, b"early"), (object(), b"")], ids=["plain", "TLS"])
def test_private_api_takes_what_a_plain_socket_received_before_a_failure_to_send(over_tls, taken):
    found = bytearray()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"early")
        transport = SimpleNamespace(get_extra_info={"socket": ours, "sslcontext": over_tls}.get)
        receive_rest(transport, found.extend)
    assert found == taken
