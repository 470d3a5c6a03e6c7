"""Pushed changes of managed prompts: one stream for all, used at once, and polling where nothing is pushed."""

import asyncio
import gc
import threading

import httpx
import pytest

from langchain_promptrun import PromptrunConnectionError, PromptrunRateLimitError, PromptrunTimeoutError
from langchain_promptrun.prompts import push

from .promptwire import PromptWire, pull, until

THREAD = "promptrun-prompt"


@pytest.fixture
def wire():
    return PromptWire()


@pytest.fixture(params=["sync", "async"])
def colour(request):
    return request.param


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(push, "RECONNECT", 0.01)


async def live(colour, prompt, wire):
    """Wait until the server pushes, and what came before the stream was open is fetched."""
    record = await pull(colour, prompt)
    await until(lambda: len(wire.open) == 1)
    wire.push_record()
    await until(lambda: prompt._hold.entry.refresher.freshness.is_pushed)
    return record


async def test_push_change_is_used_without_a_request_and_told_once(wire, colour):
    told = []
    prompt = wire.pushing(tag="prod", on_change=lambda old, new: told.append((old.version, new.version)))
    assert (await live(colour, prompt, wire)).version == 1
    requests = wire.count
    wire.publish("Two.")
    wire.push_record()
    await until(lambda: prompt.known_record.version == 2)
    assert (await pull(colour, prompt)).prompt == "Two."
    await until(lambda: told == [(1, 2)])
    wire.push_record()
    wire.push(b": keep-alive\n\nevent: other\ndata: {}\n\n")
    await pull(colour, prompt)
    assert (wire.count, len(wire.streams)) == (requests, 1)
    (request,) = wire.streams
    assert request.url.path == "/v1/prompt/stream"
    assert dict(request.url.params) == {"projectId": prompt.project_id, "tag": "prod"}
    assert (request.headers["accept"], request.headers["authorization"]) == ("text/event-stream", "Bearer secret-key")
    prompt.close()


async def test_push_change_before_the_stream_was_open_is_fetched(wire, colour):
    wire.stream_status = 503
    prompt = wire.pushing()
    assert (await pull(colour, prompt)).version == 1
    wire.publish("Two.")
    await until(lambda: len(wire.streams) > 1)
    wire.stream_status = 200
    await until(lambda: prompt.known_record.version == 2)
    prompt.close()


@pytest.mark.parametrize("end", ["answer", "event"])
async def test_push_catching_up_goes_on_until_an_answer_or_an_event(wire, end):
    wire.stream_status = 503
    prompt = wire.pushing()
    await prompt.apull()
    wire.stream_status, wire.status = 200, 503
    await until(lambda: wire.open and wire.count > 2)
    wire.publish("Two.")
    if end == "event":
        wire.push_record()
    else:
        wire.status = 200
    await until(lambda: prompt.known_record.version == 2)
    await asyncio.sleep(0.05)
    count = wire.count
    await asyncio.sleep(0.05)
    assert wire.count == count
    prompt.close()


async def test_push_record_that_comes_after_close_is_dropped(wire):
    prompt = wire.pushing()
    await live("async", prompt, wire)
    refresher, record = prompt._hold.entry.refresher, prompt.known_record
    prompt.close()
    refresher.receive(record)
    assert not refresher.freshness.is_pushed


async def test_push_stream_is_shared_by_all_prompts_that_ask_for_the_same(wire):
    first = wire.pushing(tag="prod")
    client = first.http_async_client
    await live("async", first, wire)
    requests = wire.count
    others = [wire.pushing(tag="prod", role="user", http_async_client=client, refresh=9) for _ in range(20)]
    assert {(await prompt.apull()).version for prompt in others} == {1}  # known from the stream
    assert (wire.count, len(wire.streams)) == (requests, 1)
    wire.publish("Two.")
    wire.push_record()
    await until(lambda: {prompt.known_record.version for prompt in [first, *others]} == {2})
    other_key = wire.pushing(tag="prod", http_async_client=client, api_key="other-key")
    await other_key.apull()
    await until(lambda: len(wire.streams) == 2)
    for prompt in [first, *others, other_key]:
        prompt.close()


@pytest.mark.parametrize(
    "end", [None, httpx.ReadError("reset"), httpx.ReadTimeout("silence"), b'data: {"error": "x"}\n\n']
)
async def test_push_stream_that_ends_is_opened_again_and_polled_meanwhile(wire, colour, end):
    prompt = wire.pushing(refresh=0)
    await live(colour, prompt, wire)
    wire.stream_status = 503
    wire.push(end)
    wire.open.clear()
    await until(lambda: len(wire.streams) > 2)
    wire.publish("Two.")
    await pull(colour, prompt)
    await until(lambda: prompt.known_record.version == 2)
    wire.stream_status = 200
    await until(lambda: wire.open)
    wire.publish("Three.")
    wire.push_record()
    await until(lambda: prompt.known_record.version == 3)
    prompt.close()


@pytest.mark.parametrize(("status", "kind"), [(404, ""), (405, ""), (200, "application/json")])
async def test_push_auto_polls_where_nothing_is_pushed(wire, colour, status, kind, caplog):
    wire.stream_status, wire.stream_type = status, kind or wire.stream_type
    prompt = wire.pushing(updates="auto", refresh=0)
    await pull(colour, prompt)
    await until(lambda: len(wire.streams) == 1)
    for version in (2, 3):
        wire.publish("More.")
        await pull(colour, prompt)
        await until(lambda version=version: prompt.known_record.version == version)
    await asyncio.sleep(0.05)
    assert len(wire.streams) == 1
    assert caplog.text == ""
    prompt.close()


async def test_push_that_fails_again_and_again_is_a_warning(wire, colour, caplog):
    wire.stream_status = 404
    prompt = wire.pushing()
    await pull(colour, prompt)
    await until(lambda: "changes are not pushed (PromptrunNotFoundError, status 404); polling." in caplog.text)
    assert len(caplog.records) == 1
    prompt.close()


async def test_push_request_that_began_before_an_event_does_not_undo_it(wire):
    prompt = wire.pushing()
    wire.gate.clear()
    first = asyncio.create_task(prompt.apull())
    await until(lambda: wire.count and wire.open)
    old, wire.record = wire.record, {**wire.record, "version": 2, "prompt": "Two."}
    wire.push_record()
    await until(lambda: prompt.known_record is not None)
    wire.record = old
    wire.gate.set()
    assert (await first).version == 2
    await until(lambda: prompt._hold.entry.refresher._pending is None)
    assert prompt.known_record.version == 2
    prompt.close()


async def test_push_wakes_those_who_watch(wire, colour):
    prompt = wire.pushing()
    await live(colour, prompt, wire)

    sync, changes = prompt.watch(interval=86400), prompt.awatch(interval=86400)
    watching = asyncio.ensure_future(asyncio.to_thread(next, sync) if colour == "sync" else anext(changes))
    await asyncio.sleep(0.05)
    wire.publish("Two.")
    wire.push_record()
    assert (await watching).new.version == 2
    prompt.close()


async def test_push_keeps_the_text_on_disk(wire, colour, tmp_path):
    prompt = wire.pushing(cache_dir=tmp_path)
    await live(colour, prompt, wire)
    wire.publish("Two.")
    wire.push_record()
    await until(lambda: any("Two." in file.read_text() for file in tmp_path.glob("*.json")))
    prompt.close()


async def test_push_ends_with_the_last_prompt_and_starts_again_after_close(wire, colour):
    prompt = wire.pushing()
    copied = prompt.model_copy()
    await live(colour, prompt, wire)
    await pull(colour, copied)
    prompt.close()
    wire.open.clear()
    assert (await live(colour, prompt, wire)).version == 1
    assert len(wire.streams) == 2
    del prompt, copied
    await until(lambda: gc.collect() >= 0 and not [t for t in threading.enumerate() if t.name == THREAD])


async def test_push_of_a_pinned_version_opens_no_stream(wire, colour):
    prompt = wire.pushing(version=1)
    await pull(colour, prompt)
    await pull(colour, prompt)
    assert (wire.count, wire.streams) == (1, [])


def test_push_over_a_sync_client_is_refused_and_auto_polls(wire):
    with pytest.raises(ValueError, match="leave `http_client` out"):
        wire.prompt(updates="push")
    assert wire.prompt(updates="auto").pull().version == 1
    assert wire.streams == []


@pytest.mark.parametrize(
    ("failures", "error", "jitter", "seconds"),
    [
        (0, None, 0.5, 5),
        (0, PromptrunTimeoutError("x"), 0.5, 0.5),
        (1, PromptrunTimeoutError("x"), 0.5, 5),
        (1, None, 0, 3.75),
        (1, None, 1, 6.25),
        (3, PromptrunConnectionError("x"), 0.5, 20),
        (99, None, 0.5, 300),
        (1, PromptrunRateLimitError("x", retry_after=40), 0.5, 40),
        (1, PromptrunRateLimitError("x", retry_after=4000), 0.5, 300),
    ],
)
def test_push_pause_grows_with_failures_and_obeys_the_server(monkeypatch, failures, error, jitter, seconds):
    monkeypatch.setattr(push, "RECONNECT", 5.0)
    assert push.pause(failures, error, jitter) == seconds
