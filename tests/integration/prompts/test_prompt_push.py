"""Pushed changes of managed prompts: one stream for all, used at once, and polling where nothing is pushed."""

import asyncio
import multiprocessing
import sys
import threading
import time

import httpx
import pytest

from langchain_promptrun import PromptrunConnectionError, PromptrunRateLimitError, PromptrunTimeoutError
from langchain_promptrun.prompts import refresh
from langchain_promptrun.testing import Fault

from .promptwire import WAIT, changes, close, collected, pull, threads, until


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(refresh, "RECONNECT", 0.01)


async def pushed(prompt):
    await until(lambda: prompt._hold.refresher.freshness.is_pushed)


async def caught_up(prompt):
    """Wait until nothing but the stream can bring a change."""
    await pushed(prompt)
    loop = prompt._hold.refresher._background.loop
    await until(lambda: "_catch_up" not in str([task.get_coro() for task in asyncio.all_tasks(loop)]))


async def live(colour, prompt, wire):
    """Wait until the server pushes, and what came before the stream was open is fetched."""
    record = await pull(colour, prompt)
    await until(lambda: len(wire.open) == 1)
    wire.push_record()
    await pushed(prompt)
    return record


def streams(server):
    return [request for request in tuple(server.requests) if request.path == "/v1/prompt/stream"]


@pytest.mark.parametrize(
    ("updates", "kind"), [("push", "text/event-stream"), ("auto", "Text/Event-Stream; charset=utf-8")]
)
async def test_push_change_is_used_told_watched_and_kept_on_disk_without_a_request(
    wire, colour, tmp_path, updates, kind
):
    told, wire.stream_type = [], kind
    tell = {"on_change": lambda old, new: told.append((old.version, new.version))}
    prompt = wire.pushing(tag="prod", updates=updates, cache_dir=tmp_path, **tell)
    assert (await live(colour, prompt, wire)).version == 1
    requests = wire.count
    watching = asyncio.create_task(anext(changes(colour, prompt, 86400)))
    await until(lambda: prompt._hold.refresher._changed)
    wire.publish("Two.")
    wire.push_record()
    assert (await watching).new.version == 2
    assert (await pull(colour, prompt)).prompt == "Two."
    await until(lambda: told == [(1, 2)])
    await until(lambda: any("Two." in file.read_text() for file in tmp_path.glob("*.json")))
    wire.push_record()
    wire.push(b": keep-alive\n\nevent: other\ndata: {}\n\n")
    await pull(colour, prompt)
    assert (wire.count, len(wire.streams)) == (requests, 1)
    (request,) = wire.streams
    assert request.url.path == "/v1/prompt/stream"
    assert dict(request.url.params) == {"projectId": prompt.project_id, "tag": "prod"}
    assert (request.headers["accept"], request.headers["authorization"]) == ("text/event-stream", "Bearer secret-key")


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
    await caught_up(prompt)
    count = wire.count
    await asyncio.sleep(0.05)
    assert wire.count == count


async def test_push_stream_is_shared_by_prompts_that_ask_for_the_same(wire, caplog):
    wire.record["prompt"] = "Hi {{first name!}}."
    first = wire.pushing(tag="prod")
    client = first.http_async_client
    await live("async", first, wire)
    requests = wire.count
    others = [wire.pushing(tag="prod", role="user", http_async_client=client, refresh=9) for _ in range(3)]
    assert {(await prompt.apull()).version for prompt in others} == {1}  # known from the stream
    assert (wire.count, len(wire.streams)) == (requests, 1)
    assert caplog.text.count("`{{first name!}}` is not a name") == 1
    other_key = wire.pushing(tag="prod", http_async_client=client, api_key="other-key")
    await other_key.apull()
    await until(lambda: len(wire.streams) == 2)


@pytest.mark.parametrize(
    "end", [None, httpx.ReadError("reset"), httpx.ReadTimeout("silence"), b'data: {"error": "x"}\n\n']
)
async def test_push_stream_that_ends_is_opened_again_and_polled_meanwhile(wire, monkeypatch, end):
    monkeypatch.setattr(refresh, "_jitter", lambda: 0.01)
    prompt = wire.pushing(refresh=0)
    await live("async", prompt, wire)
    wire.stream_status = 503
    wire.push(end)
    wire.open.clear()
    await until(lambda: len(wire.streams) > 2)
    wire.publish("Two.")
    await prompt.apull()
    await until(lambda: prompt.known_record.version == 2)
    wire.stream_status = 200
    await until(lambda: wire.open)
    wire.publish("Three.")
    wire.push_record()
    await until(lambda: prompt.known_record.version == 3)


async def test_push_stream_that_does_not_open_in_time_is_tried_again(wire):
    wire.stream_status = None
    prompt = wire.pushing(timeout=0.05)
    await prompt.apull()
    await until(lambda: len(wire.streams) > 2)


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


@pytest.mark.parametrize(
    ("status", "events", "error"),
    [
        (404, [], "PromptrunNotFoundError, status 404"),
        (200, [b'data: {"type": "ping"}\n\n'], "PromptrunResponseError"),
        (200, [None], "PromptrunConnectionError"),
    ],
)
async def test_push_stream_that_fails_or_brings_nothing_is_a_warning_and_opened_ever_more_rarely(
    wire, monkeypatch, caplog, status, events, error
):
    pauses = []

    def pause(failures, *_):
        pauses.append(failures)
        return 0.01

    monkeypatch.setattr(refresh, "pause", pause)
    wire.stream_status, wire.first_events = status, events
    prompt = wire.pushing()
    await prompt.apull()
    await until(lambda: f"changes are not pushed ({error}); polling." in caplog.text)
    await until(lambda: 5 in pauses)
    assert len(caplog.records) == 1


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
    await until(lambda: prompt._hold.refresher._request is None)
    assert prompt.known_record.version == 2


async def test_push_ends_with_the_last_prompt_and_starts_again_after_close(wire, colour):
    prompt = wire.pushing()
    copied = prompt.model_copy()
    await live(colour, prompt, wire)
    await pull(colour, copied)
    await close(colour, prompt)
    wire.open.clear()
    assert (await live(colour, prompt, wire)).version == 1
    assert len(wire.streams) == 2
    del prompt, copied
    await collected()


@pytest.mark.parametrize("updates", ["poll", "push"])
async def test_push_or_poll_of_a_pinned_version_is_one_request_and_no_stream(wire, colour, updates):
    prompt = wire.pushing(version=1, updates=updates, refresh=0)
    assert [(await pull(colour, prompt)).version for _ in range(3)] == [1, 1, 1]
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
    monkeypatch.setattr(refresh, "RECONNECT", 5.0)
    monkeypatch.setattr(refresh, "_jitter", lambda: jitter)
    assert refresh.pause(failures, error) == seconds


class TestServer:
    """Over real sockets and either transport."""

    async def test_push_stream_is_one_for_200_prompts_and_ends_with_them(self, promptrun_server, project, make):
        prompts = [make(tag="prod", updates="push", refresh=3600) for _ in range(200)]
        await prompts[0].apull()
        await pushed(prompts[0])
        assert {(await prompt.apull()).version for prompt in prompts} == {1}
        project.publish("Two.", tags=["prod"])
        await until(lambda: {prompt.known_record.version for prompt in prompts} == {2})
        project.edit(2, temperature=1)
        await until(lambda: {prompt.known_record.temperature for prompt in prompts} == {1})
        (stream,) = streams(promptrun_server)
        assert len(threads()) == 1
        assert len(promptrun_server.requests) <= 3  # the first, the stream, and once what came before it was open
        prompts.clear()
        await collected()
        await until(lambda: stream.disconnected)

    async def test_push_survives_restarts_of_the_server_without_a_busy_loop(
        self, promptrun_server, project, make, colour
    ):
        prompt = make(tag="prod", updates="push", max_retries=0)
        await pull(colour, prompt)
        for number in range(3):
            await pushed(prompt)
            await asyncio.to_thread(promptrun_server.close)
            assert (await pull(colour, prompt)).version == number + 1
            project.publish("More.", tags=["prod"])
            await asyncio.to_thread(promptrun_server.start)
            await until(lambda number=number: prompt.known_record.version == number + 2)
        assert len(promptrun_server.requests) < 20

    async def test_push_stream_ends_with_its_tag(self, promptrun_server, project, make):
        prompt = make(tag="prod", updates="push")
        await prompt.apull()
        await pushed(prompt)
        project.untag("prod")
        await until(lambda: not prompt._hold.refresher.freshness.is_pushed)
        assert (await prompt.apull()).version == 1

    @pytest.mark.parametrize("is_suspended", [False, True])
    async def test_push_silent_stream_is_replaced_after_the_stall_limit_and_when_a_suspended_machine_wakes(
        self, promptrun_server, make, monkeypatch, is_suspended
    ):
        promptrun_server.prompts.keep_alive = 3600  # as if nothing came through any more
        if not is_suspended:
            monkeypatch.setattr(refresh, "STALL_LIMIT", 0.5)
        prompt = make(tag="prod", updates="push", refresh=3600)
        await prompt.apull()
        await caught_up(prompt)
        if is_suspended:
            loop = prompt._hold.refresher._background.loop
            now = loop.time
            monkeypatch.setattr(loop, "time", lambda: now() + 8 * 3600)
            loop.call_soon_threadsafe(int)
        await until(lambda: len(streams(promptrun_server)) > 1)
        assert (await prompt.apull()).version == 1

    async def test_push_silent_stream_of_the_stand_in_says_that_it_is_alive(self, promptrun_server, project):
        promptrun_server.prompts.keep_alive = 0.05
        url, key = f"{promptrun_server.base_url}/prompt/stream", {"authorization": f"Bearer {promptrun_server.api_key}"}
        query = {"projectId": project.id, "tag": "prod"}
        async with httpx.AsyncClient() as client, client.stream("GET", url, params=query, headers=key) as response:
            pieces = response.aiter_bytes()
            received = await anext(pieces)
            while received.count(b": ping\n\n") < 2:
                received += await anext(pieces)
        assert received.startswith(b"data: {")
        assert received.count(b"data:") == 1

    @pytest.mark.parametrize("turns", range(5))
    async def test_push_client_that_leaves_as_a_change_comes_leaves_the_stand_in(self, promptrun_server, turns):
        project = promptrun_server.prompts.create("Leaving")
        project.publish("One.")
        changes = promptrun_server.prompts.follow({"projectId": project.id})
        await anext(changes)
        waiting = asyncio.create_task(anext(changes))
        await asyncio.sleep(0.01)
        project.publish("Two.")
        for _ in range(turns):
            await asyncio.sleep(0)
        if waiting.cancel():
            with pytest.raises(asyncio.CancelledError):
                await waiting

    @pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
    @pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
    async def test_push_fork_in_the_middle_of_a_request_works_on_both_sides(self, promptrun_server, project, make):
        hold = threading.Event()
        promptrun_server.prompts.queue(Fault(delay=hold))
        prompt = make(tag="prod", updates="push")
        first = asyncio.create_task(prompt.apull())
        await until(lambda: len(promptrun_server.requests) > 1)
        context = multiprocessing.get_context("fork")
        answers = context.SimpleQueue()

        def child():
            prompt.pull()
            while prompt.known_record.version == 1:
                time.sleep(0.01)
            answers.put(prompt.known_record.version)

        process = context.Process(target=child)
        process.start()
        await until(lambda: len(streams(promptrun_server)) == 2)
        project.publish("Two.", tags=["prod"])
        await asyncio.to_thread(process.join, WAIT)
        assert (process.exitcode, answers.get()) == (0, 2)
        hold.set()
        assert (await first).version in {1, 2}
        await until(lambda: prompt.known_record.version == 2)
