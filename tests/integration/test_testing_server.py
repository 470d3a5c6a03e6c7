"""The stand-in server over real sockets: what goes over the wire, byte by byte, and what becomes of connections."""

import asyncio
import contextlib
import gc
import json
import math
import socket
import struct
import threading
import warnings
import zlib

import pytest

from langchain_promptrun.testing import Fault, PromptrunServer, Reply

MESSAGES = [{"role": "user", "content": "Hi"}]
END = b"0\r\n\r\n"


def request(key="test-key", connection="keep-alive", **body):
    payload = json.dumps({"model": "a/b", "messages": MESSAGES, **body}).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n"
        f"connection: {connection}\r\ncontent-length: {len(payload)}\r\n\r\n"
    )
    return head.encode() + payload


class Client:
    """A socket that reads to a mark; its `with` block closes it."""

    def __init__(self, server):
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=5)
        self.data = b""

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.socket.close()

    def send(self, **body):
        self.socket.sendall(request(**body))
        return self

    def read_to(self, mark):
        while mark not in self.data:
            received = self.socket.recv(65_536)
            assert received, self.data
            self.data += received
        found, mark, self.data = self.data.partition(mark)
        return found + mark

    def read_all(self):
        return self.data + b"".join(iter(lambda: self.socket.recv(1_000_000), b""))

    def reset(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


@pytest.fixture
def server():
    with PromptrunServer() as running:
        yield running


@pytest.fixture
def client(server):
    with Client(server) as opened:
        yield opened


def test_one_connection_serves_many_requests_also_at_once(server, client):
    for _ in range(3):
        assert client.send(stream=True).read_to(END).startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"content-length: " in client.send().read_to(b"\r\n\r\n")
        client.read_to(b"}}")
    assert [record.connection for record in server.requests] == [1] * 6
    assert (server.connections_accepted, server.open_connections) == (1, 1)
    server.wait_until(lambda: all(record.answered for record in server.requests))
    client.socket.sendall(request(stream=True) + request(connection="close"))
    assert client.read_all().count(b"HTTP/1.1 200 OK") == 2


def test_answer_that_cannot_be_played_ends_the_connection_and_is_raised_when_the_server_closes():
    server = PromptrunServer()
    server.start()
    server.queue(Fault(slices=[b"x", "a text"], times=2))
    for _ in range(2):
        with Client(server) as client, contextlib.suppress(ConnectionResetError):
            assert not client.send().read_all().endswith(END)
    with pytest.raises(TypeError, match="str"):
        server.close()
    server.start()
    server.close()


@pytest.mark.parametrize("leave", [lambda client: client.socket.close(), Client.reset], ids=["close", "reset"])
@pytest.mark.parametrize(
    ("item", "seen"),
    [
        (Fault(delay=threading.Event()), b""),
        (Fault(after=1, pause=math.inf), b"data: "),
        (Reply("word " * 20_000), b"data: "),
    ],
    ids=["delay", "pause", "stream"],
)
def test_server_sees_a_client_leave_early(server, client, item, seen, leave):
    server.queue("all", item)
    client.send(stream=True).read_to(END)
    client.send(stream=True)
    server.wait_for_requests(2)
    if seen:
        client.read_to(seen)
    assert server.in_flight == 1
    leave(client)
    (record,) = server.wait_for_disconnects(1)
    assert (record.number, record.status, record.answered, server.in_flight) == (2, 200, False, 0)
    server.wait_until(lambda: server.open_connections == 0)
    server.wait_until(lambda: len(asyncio.all_tasks(server._loop)) == 1, what="the end of the answer's task")
    assert (server.requests[0].answered, server.requests[0].disconnected) == (True, False)


def test_server_waits_for_a_slow_client(server, client):
    """The answer is far larger than the socket's buffers: it is not answered before it is read."""
    server.queue(Reply("x" * 12_000_000))
    client.send(connection="close").read_to(b"\r\n\r\n")
    with Client(server) as other:
        other.send(connection="close").read_all()
    server.wait_until(lambda: server.requests[1].answered)
    assert not server.requests[0].answered
    client.read_all()
    server.wait_until(lambda: server.requests[0].answered)


def test_long_stream_does_not_hold_up_others(server, client):
    server.queue(Reply("word " * 3000))
    with Client(server) as other:
        client.send(stream=True)
        other.send().read_to(b"\r\n\r\n")
    assert [record.connection for record in server.requests] == [1, 2]
    assert not server.requests[0].answered


def test_closing_ends_everything_and_leaves_nothing_behind():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        threads = threading.active_count()
        with PromptrunServer() as server:
            server.queue(Fault(pause=math.inf, after=1), Fault(comments=0.01), Fault(delay=threading.Event()))
            clients = [Client(server).send(stream=True) for _ in range(3)] + [Client(server)]
            server.wait_for_requests(3)
            server.wait_until(lambda: server.open_connections == 4)
        assert threading.active_count() == threads
        assert server.open_connections == 0
        for client in clients:
            with client, contextlib.suppress(ConnectionResetError):
                client.read_all()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port), timeout=5)
        gc.collect()


def test_server_starts_again_on_the_same_port_and_on_none_that_is_taken(server):
    port = server.port
    server.start()
    with pytest.raises(OSError, match="in use"):
        PromptrunServer(port=port).start()
    server.close()
    server.close()
    server.start()
    with Client(server) as client:
        client.send(connection="close").read_all()
    assert server.port == port
    assert server.base_url == f"http://127.0.0.1:{port}/v1"
    assert len(server.requests) == 1


def test_queue_counts_requests_and_can_be_cleared_and_waiting_ends_with_a_clear_error(server, client):
    server.queue("text", Reply("reply", times=2), Fault(status=500))
    server.prompts.queue(Fault(status=500))
    assert server.queued == 4
    client.send()
    server.wait_for_requests(1)
    assert server.queued == 3
    server.clear()
    assert (server.queued, server.requests, list(server.prompts.faults)) == (0, [], [])
    assert (server.unused, server.missing) == ([], [])
    with pytest.raises(TypeError, match="not dict"):
        server.queue({"text": "x"})
    with pytest.raises(TimeoutError, match=r"request 2 did not come within 0.01 s: 0 requests so far"):
        server.wait_for_requests(2, timeout=0.01)
    with pytest.raises(TimeoutError, match="disconnect 1"):
        server.wait_for_disconnects(timeout=0.01)


# What a fault does to the bytes.

EVENTS = [b"data: 1\n\n", b"data: 2\n\n", b"data: 3\n\n"]
ONE, TWO, THREE = (b"9\r\n" + piece + b"\r\n" for piece in EVENTS)
STREAM, WHOLE = {"events": EVENTS}, {"body": {"a": 1}}
GZIP = zlib.compressobj(wbits=31)
PACKED = GZIP.compress(b"{}") + GZIP.flush(zlib.Z_SYNC_FLUSH) + GZIP.flush()
HUNG_UP = None


def played(client, server, fault, **body):
    """Send a request that keeps the connection, and return the head and the body up to `HUNG_UP` or a second answer."""
    server.queue(fault, Fault(slices=[b"NEXT"], framing="raw"))
    client.socket.sendall(request(**body) + request())
    head, _, rest = client.read_all().partition(b"\r\n\r\n")
    return head, rest.removesuffix(b"NEXT") if rest.endswith(b"NEXT") else [rest, HUNG_UP]


@pytest.mark.parametrize(
    ("parts", "head", "body"),
    [
        (STREAM, b"transfer-encoding: chunked", ONE + TWO + THREE + END),
        (WHOLE, b"content-length: 7", b'{"a":1}'),
        ({"cut": True}, b"", [b"", HUNG_UP]),
        (STREAM | {"after": 0, "cut": True}, b"chunked", [b"", HUNG_UP]),
        (STREAM | {"after": 2, "cut": True}, b"chunked", [ONE + TWO, HUNG_UP]),
        (STREAM | {"after": 9, "cut": True}, b"chunked", [ONE + TWO + THREE, HUNG_UP]),
        (STREAM | {"after": 2, "cut": True, "pause": 0.01}, b"chunked", [ONE + TWO, HUNG_UP]),
        (STREAM | {"after_bytes": 0, "cut": True}, b"chunked", [b"", HUNG_UP]),
        (STREAM | {"after_bytes": 4, "cut": True}, b"chunked", [b"4\r\ndata\r\n", HUNG_UP]),
        (STREAM | {"after_bytes": 12, "cut": True}, b"chunked", [ONE + b"3\r\ndat\r\n", HUNG_UP]),
        (STREAM | {"after_bytes": 99, "cut": True}, b"chunked", [ONE + TWO + THREE, HUNG_UP]),
        (STREAM | {"after": 2, "cut": "clean"}, b"chunked", ONE + TWO + END),
        (STREAM | {"cut": "clean"}, b"chunked", END),
        (WHOLE | {"after_bytes": 4, "cut": "clean"}, b"content-length: 4", b'{"a"'),
        (WHOLE | {"after_bytes": 4, "cut": True}, b"content-length: 7", [b'{"a"', HUNG_UP]),
        (STREAM | {"after": 1, "error": {"error": "no"}}, b"", ONE + b'16\r\ndata: {"error":"no"}\n\n\r\n' + END),
        (STREAM | {"error": "no"}, b"", b"a\r\ndata: no\n\n\r\n" + END),
        ({"slices": [b"da", 0.01, b"ta", b"x"]}, b"chunked", b"2\r\nda\r\n2\r\nta\r\n1\r\nx\r\n" + END),
        ({"slices": [0.01, b"a", 0.01, b"b"], "after": 1, "cut": True}, b"", [b"1\r\na\r\n", HUNG_UP]),
        ({"slices": [b"", b"xy"], "after": 1, "pause": 0.01}, b"chunked", b"2\r\nxy\r\n" + END),
        ({"slices": [b"", b"xy"], "after_bytes": 1, "cut": True}, b"chunked", [b"1\r\nx\r\n", HUNG_UP]),
        ({"slices": [b"", b"x"], "framing": "length"}, b"content-length: 1", b"x"),
        ({"slices": [b"{", b"}"], "framing": "close"}, b"connection: close", [b"{}", HUNG_UP]),
        ({"slices": [b"HTTP/1.1 2", b"00 OK\r\n\r\nx"], "framing": "raw"}, b"HTTP/1.1 200 OK", [b"x", HUNG_UP]),
        ({"body": {}, "encoding": "gzip", "framing": "close"}, b"content-encoding: gzip", [PACKED, HUNG_UP]),
        (STREAM | {"framing": "close"}, b"connection: close", [b"".join(EVENTS), HUNG_UP]),
        (STREAM | {"framing": "length"}, b"content-length: 27", b"".join(EVENTS)),
        (STREAM | {"pace": 0.001}, b"chunked", ONE + TWO + THREE + END),
        (STREAM | {"delay": 0.01, "pause": 0.01}, b"chunked", ONE + TWO + THREE + END),
        ({"body": ""}, b"content-length: 0", b""),
        ({"body": b"\xff", "status": 500}, b"HTTP/1.1 500 Internal Server Error\r\ncontent-type: text/plain", b"\xff"),
        ({"body": []}, b"content-type: application/json", b"[]"),
        ({"status": 529}, b"HTTP/1.1 529 Unknown", b'{"error":"Unknown"}'),
        ({"events": [{"a": 1}, "x"], "framing": "length"}, b"event-stream", b'data: {"a":1}\n\ndata: x\n\n'),
        (WHOLE | {"status": 429, "headers": {"Retry-After": "2"}}, b"retry-after: 2", b'{"a":1}'),
        (WHOLE | {"headers": {"Content-Type": "text/html"}}, b"content-type: text/html", b'{"a":1}'),
        (WHOLE | {"headers": [("set-cookie", "a"), ("set-cookie", "b")]}, b"cookie: a\r\nset-cookie: b", b'{"a":1}'),
        (WHOLE | {"headers": {"content-length": "99"}}, b"content-length: 99", [b'{"a":1}', HUNG_UP]),
        ({"error": {"error": "late"}}, b"content-length: 16", b'{"error":"late"}'),
        (WHOLE | {"comments": 1.0, "pause": 0.01}, b"chunked", b'7\r\n{"a":1}\r\n' + END),
    ],
    ids=str,
)
def test_fault_spoils_the_answer_as_it_says(server, client, parts, head, body):
    found = played(client, server, Fault(**parts), stream="events" in parts)
    assert head in found[0]
    assert found[1] == body


@pytest.mark.parametrize(("encoding", "bits"), [("gzip", 31), ("deflate", 15)])
def test_compressed_pieces_can_be_read_at_once(server, client, encoding, bits):
    go_on = threading.Event()
    server.queue(Fault(slices=[b"one", go_on, b"two"], encoding=encoding, comments=0.01, after=1, pause=0.03))
    client.send(connection="close")
    assert f"content-encoding: {encoding}".encode() in client.read_to(b"\r\n\r\n")
    reader = zlib.decompressobj(bits)

    def chunk():
        size = int(client.read_to(b"\r\n"), 16)
        while len(client.data) < size + 2:
            client.data += client.socket.recv(65_536)
        data, client.data = client.data[:size], client.data[size + 2 :]
        return reader.decompress(data)

    assert chunk() == b"one"
    go_on.set()
    rest = [chunk() for _ in range(3)]
    assert b"".join(rest).count(b"\n") >= 1


def test_proxied_request_keeps_its_whole_url_and_http_1_0_ends_the_connection(server, client):
    client.socket.sendall(b"GET http://api.promptrun.ai/v1/prompt HTTP/1.0\r\n\r\n")
    assert client.read_all().endswith(b"}")
    assert (server.requests[0].target, server.requests[0].path) == ("http://api.promptrun.ai/v1/prompt", "/v1/prompt")


@pytest.mark.parametrize("size", [1, 2, 7, 10_000])
def test_requests_are_read_whatever_their_packets(server, size):
    chunked = (
        b"POST /b HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nt: 1\r\n\r\n"
    )
    data = b"PUT /a?x=y HTTP/1.1\r\nHost: h\r\nA: 1\r\na:  2 \r\nContent-Length: 4\r\n\r\nbody" + chunked
    client = Client(server)
    client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with contextlib.closing(client.socket):
        for start in range(0, len(data), size):
            client.socket.sendall(data[start : start + size])
        first, second = server.wait_for_requests(2)
    assert (first.method, first.target, first.raw) == ("PUT", "/a?x=y", b"body")
    assert first.headers["a"] == "1, 2"
    assert second.raw == b"abcde"


@pytest.mark.parametrize(
    "data",
    [
        *(b"\x16\x03\x01 not http\r\n\r\n", b"GET / HTTP/1.1\r\nA: " + b"x" * 70_000),
        *(b"GET / HTTP/1.1\r\nhost: x\r\n" + rest for rest in (b"no colon\r\n\r\n", b"content-length: four\r\n\r\n")),
        b"GET / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nfour\r\n",
    ],
    ids=["tls", "long", "colon", "length", "chunk"],
)
def test_what_is_not_http_gets_400_and_an_end(client, data):
    client.socket.sendall(data)
    assert client.read_all().startswith(b"HTTP/1.1 400 Bad Request\r\n")
