"""The end of a stream, and leaving before it."""

from __future__ import annotations

import asyncio
import gzip
import time

import pytest

from langchain_promptrun.errors import PromptrunInvalidRequestError

from .exchanges import (
    LAST,
    SSE,
    Lines,
    Whole,
    chunk,
    gone,
    head,
    response,
    to,
    whole,
)

TEXTS = {
    "Latin-1": ("Grüße Ã¼", "latin-1"),
    "Latin-1 at the end": ("caf\xe9", "latin-1"),
    "UTF-8": ("Grüße Ã¼", "utf-8"),
    "Windows": ("3 €", "windows-1252"),
    "ISO-8859-15": ("3 €", "iso-8859-15"),
}


@pytest.mark.parametrize("declared", ["ISO-8859-1", '"latin1"', "latin-1"])
@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("sent", ["whole", "in bytes", "compressed", "as an error"])
def test_body_that_declares_a_charset_is_read_as_what_it_is(calls, raw_server, declared, text, sent):
    text, charset = TEXTS[text]
    headers = [f"content-type: application/json; charset={charset if '€' in text else declared}"]
    body = gzip.compress(text.encode(charset)) if sent == "compressed" else text.encode(charset)
    headers += ["content-encoding: gzip"] * (sent == "compressed")
    if sent == "in bytes":
        raw_server.answer(head(200, *headers, SSE[1]), *(chunk(bytes([byte])) for byte in body), LAST)
    else:
        raw_server.answer(whole(body, *headers, status=400 if sent == "as an error" else 200))
    if sent == "as an error":
        with pytest.raises(PromptrunInvalidRequestError, match=f"^{text} "):
            calls.all(to(raw_server))
    else:
        assert calls.all(to(raw_server), Whole) == [text.encode()]


# The end, and leaving before it.


def test_server_that_goes_on_after_the_end_mark_is_left(single, raw_server, monkeypatch):
    monkeypatch.setattr(response, "LAST_CHUNK_SECONDS", 0.0)
    raw_server.answer(head(200, *SSE) + chunk(b"one\n[DONE]\n") + chunk(b"# ping\n") * 3, raw_server.HOLD)
    assert single.all(to(raw_server)) == ["one", "end"]
    assert gone(raw_server)


@pytest.mark.parametrize("pause", [0.0, 0.01], ids=["last chunk with it", "last chunk later"])
def test_streams_in_a_row_use_one_connection(single, raw_server, monkeypatch, pause):
    monkeypatch.setattr(response, "LAST_CHUNK_SECONDS", 5.0)  # however busy the machine is
    end = [chunk(b"[DONE]\n") + LAST] if not pause else [chunk(b"[DONE]\n"), pause, LAST]
    raw_server.answer(head(200, *SSE), chunk(b"one\n"), *end)
    for _ in range(4):
        assert single.all(to(raw_server)) == ["one", "end"]
    assert raw_server.connections == 1


@pytest.mark.parametrize("end", [LAST, b""], ids=["body complete", "body left open"])
def test_connection_is_free_before_the_last_items_are_handed_out(single, raw_server, end):
    """A consumer may never ask for the end."""
    raw_server.answer(head(200, *SSE), chunk(b"one\n[DONE]\n"), end)
    items, leave = single.begin(to(raw_server), count=2)
    assert items == single.all(to(raw_server)) == ["one", "end"]
    assert raw_server.connections == (1 if end else 2)
    leave()


def test_leaving_after_the_whole_body_keeps_the_connection(single, raw_server):
    raw_server.answer(whole(b"one\ntwo\n"))

    class Late(Lines):
        """Gives all its items at the end, as unstreamed answers do."""

        def feed(self, data):
            self.kept = super().feed(data)
            return ()

        def close(self):
            return self.kept

    for _ in range(3):
        first, leave = single.begin(to(raw_server), Late)
        leave()
        assert first == ["one"]
    assert raw_server.connections == 1


async def test_outer_cancellation_wins_over_a_stall(async_colour, raw_server):
    """Both in one step of the loop: the stall's timer is due after 0.2 s, the other one soon after."""
    raw_server.answer(head(200, *SSE), chunk(b"one\n"), raw_server.HOLD)
    calls = async_colour()

    async def call():
        async for _ in calls.transport.aexchange(to(raw_server, stream_chunk_timeout=0.1), Lines):
            loop = asyncio.get_running_loop()
            loop.call_later(0.15, time.sleep, 0.15)
            loop.call_later(0.22, asyncio.current_task().cancel)

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(call())
    await calls.transport.aclose()
