"""Responses of the caller's own clients, whose transports are not the ones that this package makes."""

from __future__ import annotations

import asyncio
import gzip
import time

import httpx
import pytest

from langchain_promptrun.errors import PromptrunError, PromptrunInvalidRequestError, PromptrunStreamStalledError

from .exchanges import Request, Timeouts, Transport, Whole, response


def request(**options):
    options = {"url": "https://host/v1", "timeouts": Timeouts(5, 5, 5, 5), "max_retries": 0} | options
    return Request(method="POST", body=options.pop("body", b"{}"), headers={"x-own": "v"}, api_key="sk-1", **options)


class Sync:
    def __init__(self, handler, **options):
        self.client = httpx.Client(transport=httpx.MockTransport(handler), **options)
        self.transport = Transport(http_client=self.client)

    def all(self, sent=None):
        return list(self.transport.exchange(sent or request(), Whole))

    def is_closed(self):
        self.transport.close()
        return self.client.is_closed


class Async:
    def __init__(self, handler, **options):
        hooks = options.get("event_hooks")
        if hooks:
            options["event_hooks"] = {"response": [self.read]}
        self.client = httpx.AsyncClient(transport=httpx.MockTransport(handler), **options)
        self.transport = Transport(http_async_client=self.client)

    @staticmethod
    async def read(response):
        await response.aread()

    def all(self, sent=None):
        async def main():
            return [item async for item in self.transport.aexchange(sent or request(), Whole)]

        return asyncio.run(main())

    def is_closed(self):
        asyncio.run(self.transport.aclose())
        return self.client.is_closed


@pytest.fixture(params=[Sync, Async], ids=lambda colour: colour.__name__)
def colour(request):
    return request.param


class Stream(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body of pieces, pauses in seconds, and exceptions."""

    def __init__(self, *pieces):
        self.pieces = pieces
        self.closed = False
        self.taken = 0

    def __iter__(self):
        for piece in self.pieces:
            self.taken += 1
            if isinstance(piece, float):
                time.sleep(piece)
            elif isinstance(piece, Exception):
                raise piece
            else:
                yield piece

    async def __aiter__(self):
        for piece in self.pieces:
            self.taken += 1
            if isinstance(piece, float):
                await asyncio.sleep(piece)
            elif isinstance(piece, Exception):
                raise piece
            else:
                yield piece

    def close(self):
        self.closed = True

    async def aclose(self):
        self.closed = True


def test_callers_client_is_used_as_it_is_and_stays_open(colour):
    seen = []

    def handler(sent):
        seen.append(sent)
        return httpx.Response(200, content=b"body")

    calls = colour(handler, headers={"x-theirs": "t"}, params={"p": "1"}, cookies={"c": "2"}, follow_redirects=True)
    assert calls.all() == [b"body"]
    (sent,) = seen
    assert sent.headers["x-theirs"] == "t"
    assert sent.headers["x-own"] == "v"
    assert sent.headers["authorization"] == "Bearer sk-1"
    assert sent.headers["cookie"] == "c=2"
    assert sent.url.params["p"] == "1"
    assert sent.extensions["timeout"]["connect"] == 5
    assert not calls.is_closed()


def test_callers_client_does_not_follow_redirects_with_the_key(colour):
    seen = []

    def handler(sent):
        seen.append(sent)
        return httpx.Response(302, headers={"location": "https://elsewhere/"})

    with pytest.raises(PromptrunInvalidRequestError):
        colour(handler, follow_redirects=True).all()
    assert len(seen) == 1


@pytest.mark.parametrize("status", [200, 400])
def test_body_that_a_hook_has_read_and_decoded_is_taken_from_there(colour, status):
    def handler(sent):
        return httpx.Response(status, headers={"content-encoding": "gzip"}, stream=Stream(gzip.compress(b"body")))

    calls = colour(handler, event_hooks={"response": [httpx.Response.read]})
    if status == 200:
        assert calls.all() == [b"body"]
    else:
        with pytest.raises(PromptrunError, match="body"):
            calls.all()


def test_compressed_body_is_unpacked(colour):
    def handler(sent):
        return httpx.Response(200, headers={"content-encoding": "gzip"}, stream=Stream(gzip.compress(b"body")))

    assert colour(handler).all() == [b"body"]


def test_body_is_closed_whatever_ends_it(colour):
    streams = [Stream(b"body"), Stream(b"body [DONE]", b"more"), Stream(httpx.ReadError("gone")), Stream(b"error")]
    statuses = iter([200, 200, 200, 500])
    waiting = iter(streams)
    calls = colour(lambda sent: httpx.Response(next(statuses), stream=next(waiting)))
    assert calls.all() == [b"body"]
    assert calls.all() == [b"body [DONE]"]
    for _ in range(2):
        with pytest.raises(PromptrunError):
            calls.all()
    assert all(stream.closed for stream in streams)


def test_fault_while_closing_is_none_of_the_answer(colour):
    class Bad(Stream):
        def close(self):
            raise httpx.CloseError("gone")

        async def aclose(self):
            raise httpx.CloseError("gone")

    assert colour(lambda sent: httpx.Response(200, stream=Bad(b"body"))).all() == [b"body"]


def test_time_for_an_error_body_runs_though_its_pieces_come_without_a_pause(colour, monkeypatch):
    monkeypatch.setattr(response, "ERROR_BODY_SECONDS", 0.0)
    stream = Stream(*[b"x"] * 30_000)
    with pytest.raises(PromptrunError):
        colour(lambda sent: httpx.Response(500, stream=stream)).all()
    assert stream.taken < 1000


def test_transport_without_a_network_stream_gets_the_shortest_limit():
    """There is nothing to set a time-out on but what httpcore would read as the body begins."""
    limits = {}

    def handler(sent):
        limits.update(sent.extensions["timeout"])

        class Looking(Stream):
            def __iter__(self):
                limits["in the body"] = sent.extensions["timeout"]["read"]
                yield b"body"

        return httpx.Response(200, stream=Looking())

    Sync(handler).all(request(timeouts=Timeouts(5, 60, 5, 5), stream_chunk_timeout=2.0))
    assert limits["read"] == 60
    assert limits["in the body"] == 2.0


class SharedSocket:
    """An HTTP/2 connection's network stream, which belongs to all its requests."""

    def read(self, max_bytes, timeout=None):
        raise NotImplementedError


def test_network_stream_of_http_2_is_left_alone():
    socket = SharedSocket()
    changes = []

    class Looking(Stream):
        def __iter__(self):
            changes.extend(vars(socket))
            yield b"[DONE]"

    extensions = {"network_stream": socket, "http_version": b"HTTP/2"}
    calls = Sync(lambda sent: httpx.Response(200, stream=Looking(), extensions=extensions))
    assert calls.all() == [b"[DONE]"]
    assert changes == []


def test_network_stream_without_reads_is_as_none():
    calls = Sync(lambda sent: httpx.Response(200, stream=Stream(b"body"), extensions={"network_stream": object()}))
    assert calls.all() == [b"body"]


def test_silence_in_a_callers_async_transport_is_a_stall():
    calls = Async(lambda sent: httpx.Response(200, stream=Stream(b"one", 60.0)))
    with pytest.raises(PromptrunStreamStalledError):
        calls.all(request(stream_chunk_timeout=0.1, stall_before_first=True))


def test_bug_in_a_callers_transport_is_not_ours(colour):
    def handler(sent):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        colour(handler).all()


def test_large_body_reaches_the_transport_of_the_callers_client_whole(colour):
    sizes = []

    def handler(sent):
        sizes.append((len(sent.content), sent.headers["content-length"]))
        return httpx.Response(200, stream=Stream(b"body"))

    assert colour(handler).all(request(body=b"x" * 600_000)) == [b"body"]
    assert sizes == [(600_000, "600000")]
