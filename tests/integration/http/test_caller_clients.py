"""Responses of the caller's own clients, whose transports are not the ones that this package makes."""

from __future__ import annotations

import asyncio
import gzip

import httpx
import pytest

from langchain_promptrun.errors import PromptrunError, PromptrunInvalidRequestError, PromptrunStreamStalledError

from .exchanges import KEY, OverHttpx, Sync, Timeouts, response, to


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
        return lambda **options: calls.all(to(None, **fixed | options))

    yield make
    for calls, client in made:
        calls.close()
        assert not client.is_closed


class Stream(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body of pieces, exceptions and, in async calls, pauses in seconds; closing it fails."""

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
        raise httpx.CloseError("gone")

    async def aclose(self):
        self.close()


def test_callers_client_is_used_as_it_is_but_follows_no_redirect_with_the_key(over):
    seen = []
    responses = iter([httpx.Response(200, content=b"body"), httpx.Response(302, headers={"location": "//elsewhere"})])

    def handler(sent):
        seen.append((sent, sent.content))
        return next(responses)

    ask = over(handler, headers={"x-theirs": "t"}, params={"p": "1"}, cookies={"c": "2"}, follow_redirects=True)
    assert ask(body=b"x" * 600_000) == ["body", "end"]
    ((sent, content),) = seen
    expected = {"x-theirs": "t", "x-own": "v", "authorization": f"Bearer {KEY}", "cookie": "c=2"}
    assert expected.items() <= dict(sent.headers).items()
    assert (len(content), sent.headers["content-length"]) == (600_000, "600000")
    assert sent.url.params["p"] == "1"
    assert sent.extensions["timeout"]["connect"] == 5
    with pytest.raises(PromptrunInvalidRequestError):
        ask()
    assert len(seen) == 2


@pytest.mark.parametrize("status", [200, 400])
def test_body_that_a_hook_has_read_and_decoded_is_taken_from_there(over, colour, status):
    def handler(sent):
        packed = httpx.ByteStream(gzip.compress(b"body"))
        return httpx.Response(status, headers={"content-encoding": "gzip"}, stream=packed)

    ask = over(handler, event_hooks={"response": [httpx.Response.read if colour is Sync else httpx.Response.aread]})
    if status == 200:
        assert ask() == ["body", "end"]
    else:
        with pytest.raises(PromptrunError, match="body"):
            ask()


def test_body_is_closed_whatever_ends_it_and_a_fault_of_that_is_none_of_the_answer(over):
    streams = [Stream(b"body"), Stream(b"body\n[DONE]\n", b"more"), Stream(httpx.ReadError("gone")), Stream(b"error")]
    statuses = iter([200, 200, 200, 500])
    waiting = iter(streams)
    ask = over(lambda sent: httpx.Response(next(statuses), stream=next(waiting)))
    assert [ask(), ask()] == [["body", "end"]] * 2
    for _ in range(2):
        with pytest.raises(PromptrunError):
            ask()
    assert all(stream.closed for stream in streams)


def test_time_for_an_error_body_runs_though_its_pieces_come_without_a_pause(over, monkeypatch):
    monkeypatch.setattr(response, "ERROR_BODY_SECONDS", 0.0)
    stream = Stream(*[b"x"] * 30_000)
    with pytest.raises(PromptrunError):
        over(lambda sent: httpx.Response(500, stream=stream))()
    assert stream.taken < 1000


class SharedSocket:
    """An HTTP/2 connection's network stream, which belongs to all its requests."""

    def read(self, max_bytes, timeout=None):
        raise NotImplementedError


@pytest.mark.parametrize("colour", [Sync])
@pytest.mark.parametrize("is_shared", [False, True])
def test_transport_without_a_network_stream_of_its_own_gets_the_shortest_limit(over, is_shared):
    """There is nothing to set a time-out on but what httpcore would read as the body begins."""
    socket, found = SharedSocket(), []

    def handler(sent):
        found.append(sent.extensions["timeout"]["read"])

        class Looking(Stream):
            def __iter__(self):
                found.extend([sent.extensions["timeout"]["read"], *vars(socket)])
                yield b"body"

        extensions = {"network_stream": socket, "http_version": b"HTTP/2"} if is_shared else {}
        return httpx.Response(200, stream=Looking(), extensions=extensions)

    over(handler)(timeouts=Timeouts(5, 60, 5, 5), stream_chunk_timeout=2.0)
    assert found == [60, 2.0]


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
