"""Refreshing of managed prompts: one request for all, nobody waits who can be served, and nothing is left behind."""

import asyncio
import contextvars
import gc
import os
import signal
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, nullcontext
from unittest.mock import Mock

import httpx
import pytest
from blockbuster import blockbuster_ctx

from langchain_promptrun import PromptrunAPIError, PromptrunAuthenticationError, PromptrunError, PromptrunRateLimitError
from langchain_promptrun.prompts import prompt as prompts
from langchain_promptrun.prompts import refresh
from langchain_promptrun.testing import Fault

from .promptwire import THREAD, WAIT, PromptWire, changes, close, collected, pull, run_apart, threads, until


@pytest.fixture(params=["http_client", "http_async_client"])
def prompt(request, wire):
    """A prompt that is always stale, fetched over either kind of client."""
    other = {"http_client", "http_async_client"} - {request.param}
    return wire.prompt(tag="prod", refresh=0, **dict.fromkeys(other))


async def test_prompt_stale_is_served_while_one_request_fetches_the_next(wire, prompt, colour):
    await pull(colour, prompt)
    wire.publish("Two.")
    wire.gate.clear()
    assert {(await pull(colour, prompt)).version for _ in range(5)} == {1}
    await until(lambda: wire.count == 2)
    assert {(await pull(colour, prompt)).version for _ in range(5)} == {1}
    assert wire.count == 2
    wire.gate.set()
    await until(lambda: prompt.known_record.version == 2)


async def test_prompt_first_error_is_raised_by_all_that_wait_each_its_own(wire, prompt):
    wire.gate.clear()
    wire.status = 503
    calls = [asyncio.create_task(pull(colour, prompt)) for colour in ["sync", "async"] * 3]
    await until(lambda: wire.count == 1)
    await asyncio.sleep(0.05)  # all of them wait
    wire.gate.set()
    errors = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(error) for error in errors} == {PromptrunAPIError}
    assert len({id(error) for error in errors}) == len(errors)


async def test_prompt_rate_limit_holds_without_a_record(wire, colour):
    wire.status, wire.headers = 429, {"retry-after": "30"}
    prompt = wire.prompt(max_retry_after=0)
    for _ in range(3):
        with pytest.raises(PromptrunRateLimitError):
            await pull(colour, prompt)
    assert wire.count == 1


@pytest.mark.parametrize("kind", ["plain", "async"])
@pytest.mark.parametrize(
    ("error", "said"),
    [(SystemExit, r"raised SystemExit\('no key'\)"), (StopIteration, "raised StopIteration")],
)
async def test_prompt_exit_of_a_key_function_leaves_the_thread_alive(wire, colour, kind, error, said):
    def fail():
        raise error("no key")

    async def afail():
        fail()

    prompt = wire.prompt(api_key=fail if kind == "plain" else afail)
    with pytest.raises(RuntimeError, match=said):
        await pull(colour, prompt)
    assert (await pull(colour, wire.prompt())).version == 1  # the thread lives on


def asked(server):
    """How often the prompt was asked for."""
    return sum(request.path == "/v1/prompt" for request in tuple(server.requests))


class TestServerDown:
    @pytest.mark.parametrize(("status", "kind"), [(503, PromptrunAPIError), (401, PromptrunAuthenticationError)])
    async def test_prompt_last_good_text_is_served_with_one_warning_a_minute(
        self, wire, prompt, colour, caplog, monkeypatch, status, kind
    ):
        await pull(colour, prompt)
        wire.status = status
        assert (await pull(colour, prompt)).version == 1
        said = f"could not be refreshed ({kind.__name__}, status {status}); version 1 is served"
        await until(lambda: said in caplog.text)
        now = refresh.clock()
        for seconds, warnings in [(59, 1), (61, 2)]:
            monkeypatch.setattr(refresh, "clock", lambda later=now + seconds: later)
            count = wire.count
            assert (await pull(colour, prompt)).version == 1
            await until(lambda count=count: wire.count > count and prompt._hold.refresher._request is None)
            await until(lambda warnings=warnings: len(caplog.records) == warnings)

    @pytest.mark.parametrize(
        ("trouble", "kind"),
        [
            *((status, None) for status in (408, 429, 500, 529, httpx.ReadTimeout, httpx.ConnectError)),
            *((trouble, None) for trouble in (b"<html>Maintenance</html>", ConnectionRefusedError, TimeoutError)),
            *((status, PromptrunError) for status in (400, 401, 402, 403, 404)),
            (LookupError, LookupError),
        ],
    )
    async def test_prompt_starts_from_disk_where_the_server_fails_and_not_where_the_request_is_wrong(
        self, wire, colour, tmp_path, trouble, kind, caplog
    ):
        await pull(colour, wire.prompt(cache_dir=tmp_path))
        fields = {"cache_dir": tmp_path, "fallback": "Last resort."}
        if isinstance(trouble, bytes):
            wire.raw = trouble
        elif trouble in {ConnectionRefusedError, TimeoutError, LookupError}:
            fields["api_key"] = Mock(side_effect=trouble)
        else:
            wire.status = trouble
        with nullcontext() if kind is None else pytest.raises(kind):
            assert (await pull(colour, wire.prompt(**fields))).version == 1
        assert ("version 1 is served" in caplog.text) is (kind is None)

    async def test_prompt_folder_or_record_that_fails_is_a_warning(self, wire, colour, tmp_path, caplog):
        (tmp_path / "file").write_text("")
        prompt = wire.prompt(cache_dir=tmp_path / "file", refresh=0)
        assert (await pull(colour, prompt)).version == 1
        wire.publish("Two.")
        assert (await pull(colour, prompt)).version == 1
        await until(lambda: prompt.known_record.version == 2)
        assert caplog.text.count("cannot be kept in `cache_dir`") == 1
        wire.raw = b'{"prompt": "x", "version": 1, "more": 1e999}'  # beyond JSON
        assert (await pull(colour, wire.prompt(cache_dir=tmp_path))).prompt == "x"


class TestOnChange:
    async def test_prompt_changes_are_told_in_order_and_one_at_a_time_also_after_close(self, wire, colour):
        told, hold, inside = [], threading.Event(), []

        def on_change(old, new):
            inside.append(None)
            assert len(inside) == 1
            assert hold.wait(60)
            told.append((old.version, new.version, prompt.pull().version))  # may use the prompt
            inside.pop()

        prompt = wire.prompt(refresh=0, on_change=on_change)
        await pull(colour, prompt)
        for version in (2, 3, 4):
            wire.publish(f"Text {version}.")
            await pull(colour, prompt)
            await until(lambda version=version: prompt.known_record.version == version)
            prompt.close()
        assert told == []
        hold.set()
        await until(lambda: len(told) == 3)
        assert [(old, new) for old, new, _ in told] == [(1, 2), (2, 3), (3, 4)]

    async def test_prompt_on_change_that_raises_is_logged(self, wire, colour, caplog):
        prompt = wire.prompt(refresh=0, on_change=lambda _old, _new: 1 / 0)
        await pull(colour, prompt)
        wire.publish("Two.")
        await pull(colour, prompt)
        await until(lambda: "`on_change` of" in caplog.text)
        assert (await pull(colour, prompt)).version == 2


async def test_prompt_may_ask_for_another_in_its_key_function_but_neither_itself_nor_sync_on_the_fetching_loop(
    wire, colour
):
    wire.record["prompt"] = "a-key"
    other = wire.prompt(http_client=None)

    async def key():
        return other.pull().prompt

    with pytest.raises(RuntimeError, match="Use `apull` there"):
        await pull(colour, wire.prompt(api_key=key))
    assert (await pull(colour, wire.prompt(api_key=lambda: other.pull().prompt))).version == 1
    own = wire.prompt(api_key=lambda: own.pull().prompt)
    with pytest.raises(RuntimeError, match="waits for a key, and the function for it for the prompt"):
        await pull(colour, own)


class TestLoops:
    @pytest.mark.parametrize("waits", ["sync", "async"])
    async def test_prompt_caller_that_is_cancelled_leaves_the_request_to_others(self, wire, prompt, waits):
        prompt = prompt.model_copy(update={"refresh": 60})  # for a thread that is late
        wire.gate.clear()
        for _ in range(3):
            caller = asyncio.create_task(prompt.apull())
            await until(lambda: wire.count == 1)
            await asyncio.sleep(0)
            caller.cancel()
            with pytest.raises(asyncio.CancelledError):
                await caller
        waiting = asyncio.create_task(pull(waits, prompt))
        await asyncio.sleep(0)
        wire.gate.set()
        assert (await waiting).version == 1
        assert wire.count == 1

    async def test_prompt_key_function_sees_the_context_of_the_first_call_only(self, wire, colour):
        variable = contextvars.ContextVar("variable", default="none")
        seen = []

        def key():
            seen.append(variable.get())
            return "secret-key"

        prompt = wire.prompt(api_key=key, refresh=0)
        variable.set("call")
        await pull(colour, prompt)
        await pull(colour, prompt)
        await until(lambda: len(seen) == 2)
        assert seen == ["call", "none"]

    async def test_prompt_async_client_of_another_loop_is_a_clear_error(self, wire, colour):
        def handle(request):
            raise RuntimeError("<asyncio.locks.Event> is bound to a different event loop")

        client = httpx.AsyncClient(transport=httpx.MockTransport(handle))
        with pytest.raises(RuntimeError, match=r"`http_async_client` is bound to another event loop.*`http_client`"):
            await pull(colour, wire.prompt(http_client=None, http_async_client=client))

    async def test_prompt_thread_that_cannot_start_is_an_error_and_tried_again(self, wire, colour, monkeypatch):
        prompt = wire.prompt()
        with monkeypatch.context() as patched:
            await collected()  # prompts of other tests
            start = threading.Thread.start

            def refuse(thread):
                if thread.name == THREAD:
                    raise RuntimeError("can't start new thread")
                start(thread)

            patched.setattr(threading.Thread, "start", refuse)
            with pytest.raises(RuntimeError, match="can't start new thread"):
                await pull(colour, prompt)
        assert (await pull(colour, prompt)).version == 1

    async def test_prompt_hanging_server_delays_no_other_prompt(self, wire, colour):
        wire.gate.clear()
        hanging = [wire.prompt(tag=f"t{number}", http_client=None) for number in range(100)]
        calls = [asyncio.create_task(prompt.apull()) for prompt in hanging]
        await until(lambda: wire.count == 64)
        other = PromptWire()
        assert (await pull(colour, other.prompt(base_url="https://other.example/v1"))).version == 1
        assert wire.count == 64  # so many are on their way to one server
        wire.gate.set()
        assert {record.version for record in await asyncio.gather(*calls)} == {1}


async def test_prompt_closed_while_a_call_waits_is_asked_again(wire, prompt, colour):
    wire.gate.clear()
    waiting = asyncio.create_task(pull(colour, prompt))
    await until(lambda: wire.count == 1)
    prompt.close()
    await until(lambda: wire.count == 2)
    wire.gate.set()
    assert (await waiting).version == 1


async def test_prompt_after_a_fork_has_a_thread_of_its_own(wire, colour, monkeypatch):
    await collected()  # all in the process itself, as no coverage is measured in a forked child
    prompt = wire.pushing(refresh=0)
    await pull(colour, prompt)
    await until(lambda: wire.open)
    parents, before = prompt._hold.refresher._background, set(threads())
    with monkeypatch.context() as patched:
        patched.setattr(os, "getpid", lambda: 0)
        refresh.forked()
        assert (await pull(colour, prompt)).version == 1
        await until(lambda: len(wire.streams) == 2)
        assert len(set(threads()) - before) == 1
        assert prompt._hold.refresher._background is not parents
        prompt.close()
        await until(lambda: set(threads()) == before)


@pytest.mark.skipif(sys.platform == "win32", reason="the clock of Windows is another")
async def test_prompt_machine_that_was_suspended_asks_again_at_the_first_call(wire, colour, monkeypatch):
    """The hours of its sleep count, which `time.monotonic` leaves out on Linux and macOS."""
    prompt = wire.prompt(refresh=3600)
    await pull(colour, prompt)
    wire.publish("Two.")
    assert (await pull(colour, prompt)).version == 1
    assert wire.count == 1
    now = refresh.clock()
    monkeypatch.setattr(time, "clock_gettime", lambda _: now + 8 * 3600)
    assert (await pull(colour, prompt)).version == 1
    await until(lambda: prompt.known_record.version == 2)


class TestWatch:
    @pytest.fixture(autouse=True)
    def quick(self, monkeypatch):
        monkeypatch.setattr(prompts, "SHORTEST_POLL", 0.01)

    async def change(self, colour, prompt, **since):
        """Watch until a change comes, and leave then."""
        async with aclosing(changes(colour, prompt, **since)) as watch:
            return await anext(watch)

    async def test_prompt_change_is_seen_by_each_watch_and_on_change_once_and_leaves_nothing(self, wire, colour):
        told = []
        prompt = wire.prompt(on_change=lambda old, new: told.append((old.version, new.version)))
        known = await pull(colour, prompt)
        # one that begins late sees the change, too
        watching = [asyncio.create_task(self.change(colour, prompt, since=known)) for _ in range(2)]
        await until(lambda: wire.count > 1)
        wire.publish("Two.")
        for watch in watching:
            assert [record.version for record in await watch] == [1, 2]
        await until(lambda: told == [(1, 2)])
        prompt.close()
        await collected()

    async def test_prompt_watch_without_a_first_record_raises(self, wire, colour):
        wire.status = 404
        with pytest.raises(PromptrunError):
            await self.change(colour, wire.prompt())

    async def test_prompt_watch_goes_on_while_the_server_is_down(self, wire, colour, caplog, monkeypatch):
        monkeypatch.setattr(refresh, "_SHORTEST_WAIT", 0.01)
        prompt = wire.prompt()
        await pull(colour, prompt)
        watching = asyncio.create_task(self.change(colour, prompt))
        wire.status = 503
        await until(lambda: "could not be refreshed" in caplog.text)
        wire.publish("Two.")
        wire.status = 200
        assert (await watching).new.version == 2

    async def test_prompt_watch_since_a_record_begins_with_the_change_from_it(self, wire, colour):
        prompt = wire.prompt()
        known = await pull(colour, prompt)
        prompt.close()
        wire.publish("Two.")
        later = wire.prompt()
        await pull(colour, later)
        old, new = await self.change(colour, later, since=known)
        assert (old, new.version) == (known, 2)

    def test_prompt_watch_ended_by_ctrl_c_leaves_nothing(self, wire):
        prompt = wire.prompt()
        prompt.pull()

        def press():
            run_apart(until(lambda: wire.count > 2))
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

        threading.Thread(target=press).start()
        with pytest.raises(KeyboardInterrupt):
            next(prompt.watch())
        del prompt
        run_apart(collected())

    def test_prompt_loop_that_was_closed_while_calls_wait_hinders_nobody_and_keeps_nothing(self, wire, prompt, caplog):
        loop = asyncio.new_event_loop()

        def leave():
            watching = loop.create_task(anext(wire.prompt().awatch()))
            loop.run_until_complete(until(lambda: wire.count > 1))
            wire.gate.clear()
            waiting = loop.create_task(prompt.apull())
            loop.run_until_complete(until(lambda: any("prod" in str(request.url) for request in wire.requests)))
            loop.close()
            watching._log_destroy_pending = waiting._log_destroy_pending = False
            return waiting, weakref.ref(watching)

        waiting, watching = leave()
        gc.collect()
        assert watching() is None
        wire.gate.set()
        assert run_apart(prompt.apull()).version == 1
        wire.publish("Two.")
        run_apart(prompt.apull())
        run_apart(until(lambda: prompt.known_record.version == 2))  # the loop that asked is closed, too
        del waiting
        prompt.close()
        run_apart(collected())
        assert caplog.text == ""


class TestServers:
    """Over real sockets."""

    async def test_prompt_first_request_is_shared_by_callers_of_all_kinds_and_needs_none_of_their_loops(
        self, promptrun_server, make
    ):
        hold = threading.Event()
        promptrun_server.prompts.queue(Fault(delay=hold))
        prompt = make(tag="prod")

        async def several():
            return await asyncio.gather(*[prompt.apull() for _ in range(20)])

        with ThreadPoolExecutor(12) as pool:
            loops = [pool.submit(asyncio.run, several()) for _ in range(4)]
            calls = [pool.submit(prompt.pull) for _ in range(8)]
            here = asyncio.create_task(several())
            await asyncio.to_thread(promptrun_server.wait_for_requests, 1, WAIT)
            hold.set()
            records = [call.result(WAIT) for call in calls]  # blocks the loop here
            records += [record for loop in loops for record in loop.result(WAIT)] + await here
        assert len(records) == 108
        assert {record.version for record in records} == {1}
        assert asked(promptrun_server) == 1

    async def test_prompt_async_key_function_is_awaited_on_the_background_thread(self, promptrun_server, make, colour):
        names = []

        async def key():
            names.append(threading.current_thread().name)
            return promptrun_server.api_key

        prompt = make(api_key=key, refresh=0)
        await pull(colour, prompt)
        await pull(colour, prompt)
        await until(lambda: asked(promptrun_server) == 2)
        assert names == [THREAD] * 2

    async def test_prompt_never_blocks_the_event_loop(self, promptrun_server, make, tmp_path):
        with blockbuster_ctx():
            prompt = make(tag="prod", refresh=0, cache_dir=tmp_path)
            await prompt.ainvoke({"word_count": 1})
            await prompt.ainvoke({"word_count": 1})
            await until(lambda: asked(promptrun_server) == 2 and prompt._hold.refresher._request is None)
            assert await (await prompt.achat_model()).ainvoke("Hi.")

    async def test_prompt_watch_ends_with_close_while_the_server_hangs(self, promptrun_server, make, colour):
        promptrun_server.prompts.queue(Fault(delay=threading.Event()))
        prompt = make(tag="prod")
        watching = asyncio.create_task(anext(changes(colour, prompt), None))
        await until(lambda: asked(promptrun_server) == 1)
        await close(colour, prompt)
        assert await watching is None
        await asyncio.to_thread(promptrun_server.wait_for_disconnects, 1, WAIT)
        assert (await pull(colour, prompt)).version == 1
