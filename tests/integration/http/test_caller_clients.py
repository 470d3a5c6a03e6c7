"""Responses of the caller's own clients, whose transports are not the ones that this package makes."""

from __future__ import annotations

import asyncio
import gzip

import httpx
import pytest

from langchain_promptrun.errors import PromptrunError, PromptrunInvalidRequestError, PromptrunStreamStalledError

from .exchanges import KEY, OverHttpx, Sync, Timeouts, Whole, response, to


@pytest.fixture(params=[Sync, OverHttpx], ids=lambda colour: colour.__name__)
def colour(request):
    return request.param


@pytest.fixture
def over(colour):
    """Return a function that makes one that calls over a client with a transport; that must stay open."""
    made = []

    def make(handler, **options):
        kind, name = (httpx.Client, "http_client") if colour is Sync else (httpx.AsyncClient, "http_async_client")
        client = kind(transport=httpx.MockTransport(handler), **options)
        calls = colour(**{name: client})
        made.append((calls, client))
        fixed = {"url": "https://host/v1", "headers": {"x-own": "v"}}
        return lambda **options: calls.all(to(None, **fixed | options), Whole)

    yield make
    for calls, client in made:
        calls.close()
        assert not client.is_closed


sync = pytest.mark.parametrize("colour", [Sync])


class Stream(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body of pieces, exceptions and, in async calls, pauses in seconds."""

    def __init__(self, *pieces):
        self.pieces = pieces
        self.closed = False
        self.taken = 0

    def __iter__(self):
        for piece in self.pieces:
            self.taken += 1
            if isinstance(piece, Exception):
                raise piece
            yield piece

    async def __aiter__(self):
        for piece in Stream.__iter__(self):
            if isinstance(piece, float):
                await asyncio.sleep(piece)
            else:
                yield piece

    def close(self):
        self.closed = True

    async def aclose(self):
        self.closed = True


def test_callers_client_is_used_as_it_is_and_stays_open(over):
    seen = []

    def handler(sent):
        seen.append((sent, sent.content))
        return httpx.Response(200, content=b"body")

    ask = over(handler, headers={"x-theirs": "t"}, params={"p": "1"}, cookies={"c": "2"}, follow_redirects=True)
    assert ask(body=b"x" * 600_000) == [b"body"]
    ((sent, content),) = seen
    expected = {"x-theirs": "t", "x-own": "v", "authorization": f"Bearer {KEY}", "cookie": "c=2"}
    assert expected.items() <= dict(sent.headers).items()
    assert (len(content), sent.headers["content-length"]) == (600_000, "600000")
    assert sent.url.params["p"] == "1"
    assert sent.extensions["timeout"]["connect"] == 5


def test_callers_client_does_not_follow_redirects_with_the_key(over):
    seen = []

    def handler(sent):
        seen.append(sent)
        return httpx.Response(302, headers={"location": "https://elsewhere/"})

    with pytest.raises(PromptrunInvalidRequestError):
        over(handler, follow_redirects=True)()
    assert len(seen) == 1


@pytest.mark.parametrize("status", [200, 400])
def test_body_that_a_hook_has_read_and_decoded_is_taken_from_there(over, colour, status):
    def handler(sent):
        return httpx.Response(status, headers={"content-encoding": "gzip"}, stream=Stream(gzip.compress(b"body")))

    ask = over(handler, event_hooks={"response": [httpx.Response.read if colour is Sync else httpx.Response.aread]})
    if status == 200:
        assert ask() == [b"body"]
    else:
        with pytest.raises(PromptrunError, match="body"):
            ask()


def test_body_is_closed_whatever_ends_it(over):
    streams = [Stream(b"body"), Stream(b"body [DONE]", b"more"), Stream(httpx.ReadError("gone")), Stream(b"error")]
    statuses = iter([200, 200, 200, 500])
    waiting = iter(streams)
    ask = over(lambda sent: httpx.Response(next(statuses), stream=next(waiting)))
    assert [ask(), ask()] == [[b"body"], [b"body [DONE]"]]
    for _ in range(2):
        with pytest.raises(PromptrunError):
            ask()
    assert all(stream.closed for stream in streams)


def test_fault_while_closing_is_none_of_the_answer(over):
    class Bad(Stream):
        def close(self):
            raise httpx.CloseError("gone")

        async def aclose(self):
            raise httpx.CloseError("gone")

    assert over(lambda sent: httpx.Response(200, stream=Bad(b"body")))() == [b"body"]


def test_time_for_an_error_body_runs_though_its_pieces_come_without_a_pause(over, monkeypatch):
    monkeypatch.setattr(response, "ERROR_BODY_SECONDS", 0.0)
    stream = Stream(*[b"x"] * 30_000)
    with pytest.raises(PromptrunError):
        over(lambda sent: httpx.Response(500, stream=stream))()
    assert stream.taken < 1000


@sync
def test_transport_without_a_network_stream_gets_the_shortest_limit(over):
    """There is nothing to set a time-out on but what httpcore would read as the body begins."""
    limits = {}

    def handler(sent):
        limits.update(sent.extensions["timeout"])

        class Looking(Stream):
            def __iter__(self):
                limits["in the body"] = sent.extensions["timeout"]["read"]
                yield b"body"

        return httpx.Response(200, stream=Looking())

    over(handler)(timeouts=Timeouts(5, 60, 5, 5), stream_chunk_timeout=2.0)
    assert (limits["read"], limits["in the body"]) == (60, 2.0)


class SharedSocket:
    """An HTTP/2 connection's network stream, which belongs to all its requests."""

    def read(self, max_bytes, timeout=None):
        raise NotImplementedError


@sync
def test_network_stream_of_http_2_is_left_alone(over):
    socket = SharedSocket()
    changes = []

    class Looking(Stream):
        def __iter__(self):
            changes.extend(vars(socket))
            yield b"[DONE]"

    extensions = {"network_stream": socket, "http_version": b"HTTP/2"}
    assert over(lambda sent: httpx.Response(200, stream=Looking(), extensions=extensions))() == [b"[DONE]"]
    assert changes == []


@pytest.mark.parametrize("colour", [OverHttpx])
def test_silence_in_a_callers_async_transport_is_a_stall(over):
    ask = over(lambda sent: httpx.Response(200, stream=Stream(b"one", 60.0)))
    with pytest.raises(PromptrunStreamStalledError):
        ask(stream_chunk_timeout=0.1, stall_before_first=True)


def test_bug_in_a_callers_transport_is_not_ours(over):
    def handler(sent):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        over(handler)()
