"""Claims of `_prompt_asker`: one request for all, who is told of what came, and nothing is left behind."""

import asyncio
import contextvars
import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

from langchain_promptrun import PromptrunError
from langchain_promptrun.prompts import asker as asker_module
from langchain_promptrun.prompts import flight as _prompt_flight
from langchain_promptrun.prompts import follower as follower_module
from langchain_promptrun.prompts.behind import THREAD
from langchain_promptrun.prompts.family import Lease
from langchain_promptrun.prompts.functions import Functions
from langchain_promptrun.prompts.record import PromptRecord
from langchain_promptrun.prompts.storage import Shelf

from .promptwire import Clock, PromptWire, pull, until

FALLBACK = PromptRecord(prompt="Last resort.", version=0)


@pytest.fixture
def wire():
    return PromptWire()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=["sync", "async"])
def colour(request):
    return request.param


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """A busy machine must not look as if it hung."""
    monkeypatch.setattr(_prompt_flight, "LIVENESS", 60)


@pytest.fixture
def impatient(monkeypatch, patient):
    """Those who wait look up often."""
    monkeypatch.setattr(_prompt_flight, "LIVENESS", 0.01)


@pytest.fixture
def shelf(tmp_path):
    return Shelf(str(tmp_path), "https://h.example/v1", {"tag": "prod"})


async def text(colour, follower):
    return (await pull(colour, follower)).prompt


class TestDisk:
    async def test_a_new_process_starts_from_disk_while_the_server_is_down(self, wire, clock, colour, shelf, caplog):
        await pull(colour, wire.follower(clock, shelf=shelf))
        wire.status = 503
        started = wire.follower(clock, shelf=shelf, fallback=FALLBACK)
        assert await text(colour, started) == "One {{x}}."
        assert "version 1 is served" in caplog.text

    @pytest.mark.parametrize("status", [400, 401, 402, 403, 404])
    async def test_neither_disk_nor_fallback_hides_that_the_request_is_wrong(self, wire, clock, colour, shelf, status):
        await pull(colour, wire.follower(clock, shelf=shelf))
        wire.status = status
        for _ in range(2):
            with pytest.raises(PromptrunError) as caught:
                await pull(colour, wire.follower(clock, shelf=shelf, fallback=FALLBACK))
            assert caught.value.status_code == status

    @pytest.mark.parametrize("status", [408, 429, 500, 529])
    async def test_they_stand_in_for_a_server_that_fails(self, wire, clock, colour, shelf, status):
        await pull(colour, wire.follower(clock, shelf=shelf))
        wire.status = status
        assert await text(colour, wire.follower(clock, shelf=shelf)) == "One {{x}}."
        assert await text(colour, wire.follower(clock, fallback=FALLBACK)) == "Last resort."

    async def test_a_request_that_became_wrong_leaves_the_last_good_record(self, wire, clock, colour, caplog):
        follower = wire.follower(clock)
        await pull(colour, follower)
        wire.status = 404
        clock.now += 60
        assert await text(colour, follower) == "One {{x}}."
        await until(lambda: "PromptrunNotFoundError, status 404); version 1 is served" in caplog.text)
        assert await text(colour, follower) == "One {{x}}."

    async def test_a_server_that_is_there_goes_before_the_disk(self, wire, clock, colour, shelf):
        await pull(colour, wire.follower(clock, shelf=shelf))
        wire.publish("Two.")
        assert await text(colour, wire.follower(clock, shelf=shelf)) == "Two."
        assert shelf.read().version == 2

    async def test_the_last_good_record_in_memory_goes_before_the_disk(self, wire, clock, colour, shelf):
        follower = wire.follower(clock, shelf=shelf)
        await pull(colour, follower)
        shelf.path.write_bytes(b'{"prompt": "Foreign.", "version": 9}')
        wire.status = 503
        clock.now += 60
        await pull(colour, follower)
        await until(lambda: wire.count == 2 and follower._flight is None)
        assert await text(colour, follower) == "One {{x}}."

    async def test_a_disk_that_fails_is_a_warning(self, wire, clock, colour, shelf, caplog):
        shelf.path.mkdir()
        follower = wire.follower(clock, shelf=shelf)
        assert await text(colour, follower) == "One {{x}}."
        clock.now += 60
        await pull(colour, follower)
        await until(lambda: wire.count == 2 and follower._flight is None)
        clock.now += 30
        await pull(colour, follower)
        assert caplog.text.count("cannot be kept in cache_dir") == 2

    async def test_warnings_of_the_disk_come_once_a_minute(self, wire, clock, colour, shelf, caplog):
        shelf.path.mkdir()
        follower = wire.follower(clock, refresh=30, shelf=shelf)
        for count in (1, 2):
            await pull(colour, follower)
            await until(lambda count=count: wire.count == count and follower._flight is None)
            clock.now += 30
        assert caplog.text.count("cannot be kept in cache_dir") == 1

    async def test_a_record_that_json_cannot_hold_is_served_and_kept_off_the_disk(
        self, wire, clock, colour, shelf, caplog
    ):
        wire.raw = b'{"prompt": "One.", "version": 1, "temperature": NaN}'
        assert await text(colour, wire.follower(clock, shelf=shelf)) == "One."
        assert "cannot be kept in cache_dir" in caplog.text
        assert not list(shelf.path.parent.iterdir())

    async def test_no_thread_for_the_disk_as_the_interpreter_ends_is_no_error(self, wire, clock, shelf, monkeypatch):
        async def ended(*_):
            raise RuntimeError("cannot schedule new futures after shutdown")

        monkeypatch.setattr(asyncio, "to_thread", ended)
        assert (await wire.follower(clock, shelf=shelf).aget()).version == 1


class TestChanges:
    async def test_each_is_told_once(self, wire, clock, colour):
        told = []
        follower = wire.follower(clock, on_change=lambda old, new: told.append((old.version, new.version)))
        await pull(colour, follower)
        for version in (2, 3):
            wire.publish("More.")
            clock.now += 60
            await asyncio.gather(*[pull(colour, follower) for _ in range(4)])
            await until(lambda version=version: follower.record.version == version and follower._flight is None)
        clock.now += 60
        await pull(colour, follower)
        await until(lambda: wire.count == 4 and follower._flight is None)
        await until(lambda: told == [(1, 2), (2, 3)])

    async def test_what_is_raised_is_logged_and_breaks_nothing(self, wire, clock, colour, caplog):
        def broken(old, new):
            raise LookupError("mine")

        follower = wire.follower(clock, on_change=broken)
        await pull(colour, follower)
        wire.publish("Two.")
        clock.now += 60
        await pull(colour, follower)
        await until(lambda: "mine" in caplog.text)
        assert await text(colour, follower) == "Two."
        assert "on_change of Promptrun prompt" in caplog.text

    async def test_who_is_told_may_use_the_prompt(self, wire, clock, colour):
        told = []
        follower = wire.follower(clock, on_change=lambda old, new: told.append(follower.get().version))
        await pull(colour, follower)
        wire.publish("Two.")
        clock.now += 60
        await pull(colour, follower)
        await until(lambda: told == [2])

    def test_they_are_told_in_order_and_one_at_a_time(self, wire, clock):
        told, begun, go = [], threading.Event(), threading.Event()

        def slow(old, new):
            told.append(("begin", new.version))
            begun.set()
            assert go.wait(60)
            told.append(("end", new.version))

        follower = wire.follower(clock, on_change=slow)
        follower.get()
        with ThreadPoolExecutor(1) as threads:
            wire.publish("Two.")
            first = threads.submit(self.refresh, follower)
            assert begun.wait(60)
            for _ in range(2):
                # does not wait for the slow one
                wire.publish("More.")
                self.refresh(follower)
            assert told == [("begin", 2)]
            go.set()
            first.result(60)
        assert told == [(what, version) for version in (2, 3, 4) for what in ("begin", "end")]

    def test_one_that_is_found_within_the_telling_is_told_after_it(self, wire, clock):
        told = []

        def again(old, new):
            told.append(("begin", new.version))
            if new.version == 2:
                wire.publish("Three.")
                self.refresh(follower)
            told.append(("end", new.version))

        follower = wire.follower(clock, on_change=again)
        follower.get()
        wire.publish("Two.")
        self.refresh(follower)
        assert told == [("begin", 2), ("end", 2), ("begin", 3), ("end", 3)]

    def refresh(self, follower):
        flight, is_mine = follower._board(None, interval=0)
        assert is_mine
        follower._fly(flight)


class TestRing:
    """Who asks for the prompt within its own first request would wait for himself."""

    said = "is asked for within its own first request"

    async def test_a_key_function_that_asks_for_the_prompt_is_a_clear_error(self, wire, colour):
        prompt = wire.prompt(api_key=lambda: prompt.pull().prompt)
        with pytest.raises(RuntimeError, match=self.said):
            await pull(colour, prompt)

    async def test_so_is_an_async_one(self, wire):
        async def key():
            return (await prompt.apull()).prompt

        prompt = wire.prompt(api_key=key)
        with pytest.raises(RuntimeError, match=self.said):
            await prompt.apull()

    async def test_so_is_an_async_one_that_asks_the_sync_way(self, wire):
        async def key():
            return prompt.pull().prompt

        prompt = wire.prompt(api_key=key)
        with pytest.raises(RuntimeError, match=self.said):
            await prompt.apull()

    async def test_so_are_two_prompts_that_ask_for_each_other(self, wire, colour):
        first = wire.prompt(api_key=lambda: second.pull().prompt)
        second = wire.prompt(api_key=lambda: first.pull().prompt)
        with pytest.raises(RuntimeError, match=self.said):
            await pull(colour, first)

    async def test_a_hook_may_ask_for_another_prompt(self, wire, colour):
        wire.record["prompt"] = "a-key"
        other = wire.prompt()
        assert (await pull(colour, wire.prompt(api_key=lambda: other.pull().prompt))).version == 1

    def test_after_it_the_prompt_works(self, wire):
        asks = iter([True, False])
        prompt = wire.prompt(api_key=lambda: prompt.pull().prompt if next(asks) else "secret-key")
        with pytest.raises(RuntimeError, match=self.said):
            prompt.pull()
        assert prompt.pull().version == 1


class TestLeaders:
    @pytest.mark.parametrize("waits", ["sync", "async"])
    async def test_a_cancelled_one_leaves_its_request_to_the_others(self, wire, clock, waits):
        follower = wire.follower(clock)
        wire.gate.clear()
        leader = asyncio.create_task(follower.aget())
        await until(lambda: wire.count == 1)
        waiting = asyncio.create_task(pull(waits, follower))
        await asyncio.sleep(0.05)
        leader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leader
        wire.gate.set()
        assert (await waiting).version == 1
        assert wire.count == 1

    async def test_cancelled_ones_that_come_one_after_the_other_share_a_request(self, wire, clock):
        """The server takes longer than any of them has time."""
        follower = wire.follower(clock)
        wire.gate.clear()
        for _ in range(3):
            caller = asyncio.create_task(follower.aget())
            await until(lambda: wire.count)
            await asyncio.sleep(0)
            caller.cancel()
            with pytest.raises(asyncio.CancelledError):
                await caller
        wire.gate.set()
        await until(lambda: follower.record)
        assert wire.count == 1
        await until(lambda: follower.is_idle)

    async def test_what_a_cancelled_one_has_begun_ends_with_a_stop(self, wire, clock):
        follower = wire.follower(clock)
        wire.gate.clear()
        before = asyncio.all_tasks()
        leader = asyncio.create_task(follower.aget())
        await until(lambda: wire.count == 1)
        leader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leader
        assert len(asyncio.all_tasks() - before) == 1
        follower.behind.stop()
        await until(lambda: asyncio.all_tasks() == before and follower.is_idle)
        wire.gate.set()
        assert wire.count == 1

    async def test_one_who_waits_while_it_is_stopped_asks_again(self, wire, clock):
        follower = wire.follower(clock)
        wire.gate.clear()
        caller = asyncio.create_task(follower.aget())
        await until(lambda: wire.count == 1)
        follower.behind.stop()
        await until(lambda: wire.count == 2)
        wire.gate.set()
        assert (await caller).version == 1

    async def test_one_who_asks_after_the_end_is_cancelled(self, wire, clock):
        follower = wire.follower(clock)
        follower.behind.end()
        with pytest.raises(asyncio.CancelledError):
            await follower.aget()
        assert (wire.count, follower.is_idle) == (0, True)

    async def test_the_caller_gets_what_cancelled_its_request_from_within(self, wire):
        """Else it would ask again, without end."""

        async def key():
            raise asyncio.CancelledError

        with pytest.raises(asyncio.CancelledError):
            await wire.prompt(api_key=key).apull()
        assert wire.count == 0

    async def test_a_key_function_of_the_first_request_sees_the_context_of_the_call(self, wire):
        mark = contextvars.ContextVar("mark", default="none")
        seen = []

        async def key():
            seen.append(mark.get())
            return "secret-key"

        mark.set("caller")
        await wire.prompt(api_key=key).apull()
        assert seen == ["caller"]

    async def test_a_cancelled_one_who_waits_leaves_the_others_alone(self, wire, clock):
        follower = wire.follower(clock)
        wire.gate.clear()
        leader = asyncio.create_task(follower.aget())
        await until(lambda: wire.count == 1)
        waiting = asyncio.create_task(follower.aget())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        wire.gate.set()
        assert (await leader).version == 1
        assert wire.count == 1

    @pytest.mark.parametrize("known", [False, True], ids=["at first", "behind"])
    async def test_one_whose_loop_stands_still_holds_nobody_up(self, wire, clock, colour, known, impatient):
        follower = wire.follower(clock)
        if known:
            await pull(colour, follower)
            wire.publish("Two.")
            clock.now += 60
        before = wire.count
        wire.gate.clear()
        loop = asyncio.new_event_loop()

        async def begin():
            call = asyncio.ensure_future(follower.aget())
            await until(lambda: wire.count == before + 1)
            return call

        call = await asyncio.to_thread(loop.run_until_complete, begin())
        wire.gate.set()
        await pull(colour, follower)
        await until(lambda: follower.record.version == (2 if known else 1))
        assert wire.count == before + 2
        # what it finds when it goes on comes too late to matter
        wire.publish("Late.")
        await asyncio.to_thread(loop.run_until_complete, call)
        await asyncio.to_thread(loop.run_until_complete, asyncio.sleep(0.02))
        await asyncio.to_thread(loop.close)
        assert follower.record.version == (2 if known else 1)

    async def test_one_whose_loop_waits_for_those_who_wait_holds_nobody_up(self, wire, clock, colour, impatient):
        """As where a coroutine calls `batch`, and its loop has begun the first request."""
        follower = wire.follower(clock)
        wire.gate.clear()
        leader = asyncio.create_task(follower.aget())
        await until(lambda: wire.count == 1)
        wire.gate.set()
        get = follower.get if colour == "sync" else lambda: asyncio.run(follower.aget())
        with ThreadPoolExecutor(2) as threads:
            # waits on the loop's own thread
            records = [call.result(60) for call in [threads.submit(get) for _ in range(2)]]
        assert [record.version for record in [*records, await leader]] == [1] * 3

    async def test_a_sync_call_on_a_loop_does_not_wait_for_that_loop(self, wire, clock):
        follower = wire.follower(clock)
        wire.gate.clear()
        leader = asyncio.create_task(follower.aget())
        await until(lambda: wire.count == 1)
        wire.gate.set()
        assert follower.get().version == 1
        assert (await leader).version == 1
        assert wire.count == 2

    async def test_a_task_that_its_loop_cut_off_is_waited_for_at_the_next_call(self, wire, clock):
        """With a client of the caller's, requests stay on the loop of the call."""
        follower = wire.follower(clock)
        await follower.aget()
        wire.publish("Two.")
        clock.now += 60
        wire.gate.clear()

        async def call():
            record = await follower.aget()
            await until(lambda: wire.count == 2)
            return record

        assert (await asyncio.to_thread(asyncio.run, call())).version == 1
        wire.gate.set()
        assert (await asyncio.to_thread(asyncio.run, follower.aget())).version == 2
        assert wire.count == 3

    async def test_what_is_waited_for_after_a_cut_may_fail(self, wire, clock):
        follower = wire.follower(clock)
        await follower.aget()
        clock.now += 60
        wire.gate.clear()
        assert (await asyncio.to_thread(asyncio.run, follower.aget())).version == 1
        count = wire.count
        wire.gate.set()
        wire.status = 503
        assert (await follower.aget()).version == 1
        assert wire.count == count + 1

    async def test_after_a_cut_a_call_waits_a_moment_at_most_and_the_next_ones_not_at_all(
        self, wire, clock, monkeypatch, caplog
    ):
        """The server hangs, and each call has a loop of its own."""
        follower = wire.follower(clock)
        await follower.aget()
        clock.now += 60
        wire.gate.clear()

        def call():
            return asyncio.to_thread(asyncio.run, follower.aget())

        assert (await call()).version == 1
        monkeypatch.setattr(follower_module, "SHORT_WAIT", 0.01)
        assert (await call()).version == 1
        said = "could not be refreshed (PromptrunTimeoutError); version 1 is served."
        assert [record.getMessage().endswith(said) for record in caplog.records] == [True]
        monkeypatch.setattr(follower_module, "SHORT_WAIT", 60)
        assert (await call()).version == 1
        wire.gate.set()
        wire.publish("Two.")
        clock.now += 60
        assert (await call()).version == 2

    async def test_a_late_request_that_has_landed_is_no_failure(self, wire, clock, caplog):
        follower = wire.follower(clock)
        flight, _ = follower._board(None)
        follower._fly(flight)
        follower._late(flight, TimeoutError())
        assert (follower.record.version, caplog.text) == (1, "")

    async def test_a_call_goes_on_behind_in_a_thread_when_its_loop_has_ended(self, wire, clock):
        follower = wire.follower(clock, own_loop=True)
        await follower.aget()
        wire.publish("Two.")
        clock.now += 60
        wire.gate.clear()
        assert (await asyncio.to_thread(asyncio.run, follower.aget())).version == 1
        wire.gate.set()
        await until(lambda: follower.record.version == 2)
        assert wire.count == 2

    async def test_a_fork_begins_anew(self, wire, clock):
        follower = wire.follower(clock)
        wire.gate.clear()
        lost = asyncio.create_task(asyncio.to_thread(follower.get))
        await until(lambda: wire.count == 1)
        asker_module._forked()
        wire.gate.set()
        assert (await follower.aget()).version == 1
        await lost

    async def test_a_thread_that_cannot_start_is_a_failure_and_tried_again(self, wire, clock, monkeypatch, caplog):
        follower = wire.follower(clock)
        follower.get()
        wire.publish("Two.")
        clock.now += 60

        def full(_):
            raise RuntimeError("can't start new thread")

        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", full)
            assert follower.get().version == 1
        assert "could not be refreshed (RuntimeError); version 1 is served" in caplog.text
        clock.now += 60
        assert follower.get().version == 1
        await until(lambda: follower.record.version == 2)


class TestEnd:
    async def test_a_task_behind_ends_with_the_last_lease(self, wire, clock):
        follower = wire.follower(clock)
        lease = Lease(follower, None, Functions())
        await follower.aget()
        wire.gate.clear()
        clock.now += 60
        before = asyncio.all_tasks()
        await follower.aget()
        await until(lambda: wire.count == 2)
        assert len(asyncio.all_tasks() - before) == 1
        del lease
        gc.collect()
        await until(lambda: asyncio.all_tasks() == before and follower.behind.is_idle)
        wire.gate.set()

    async def test_a_thread_behind_ends_at_once_with_the_last_lease(self, wire, clock):
        """It waits for its answer in an event loop, which can be stopped."""
        follower = wire.follower(clock, own_loop=True)
        lease = Lease(follower, None, Functions())
        follower.get()
        wire.gate.clear()
        clock.now += 60
        follower.get()
        await until(lambda: wire.count == 2)
        assert THREAD in {thread.name for thread in threading.enumerate()}
        del lease
        gc.collect()
        await until(lambda: THREAD not in {thread.name for thread in threading.enumerate()})
        wire.gate.set()

    async def test_a_thread_behind_refreshes_in_a_loop_of_its_own(self, wire, clock):
        follower = wire.follower(clock, own_loop=True)
        follower.get()
        wire.publish("Two.")
        clock.now += 60
        assert follower.get().version == 1
        await until(lambda: follower.record.version == 2)
        await until(lambda: THREAD not in {thread.name for thread in threading.enumerate()} and follower.behind.is_idle)

    async def test_a_task_behind_is_held_while_it_runs(self, wire, clock):
        follower = wire.follower(clock)
        await follower.aget()
        wire.publish("Two.")
        wire.gate.clear()
        clock.now += 60
        await follower.aget()
        await until(lambda: wire.count == 2)
        gc.collect()
        wire.gate.set()
        await until(lambda: follower.record.version == 2)
        await until(lambda: follower.behind.is_idle)

    async def test_what_was_stopped_starts_again(self, wire, clock, colour):
        follower = wire.follower(clock)
        await pull(colour, follower)
        wire.publish("Two.")
        clock.now += 60
        wire.gate.clear()
        await follower.aget()
        await until(lambda: wire.count == 2)
        follower.behind.stop()
        await until(lambda: follower._flight is None)
        assert follower.record.version == 1
        wire.gate.set()
        await pull(colour, follower)
        await until(lambda: follower.record.version == 2)

    async def test_a_task_that_begins_after_the_end_is_cancelled(self, wire, clock):
        follower = wire.follower(clock)
        await follower.aget()
        follower.behind.end()
        clock.now += 60
        before = asyncio.all_tasks()
        await follower.aget()
        await until(lambda: asyncio.all_tasks() == before)
        assert wire.count == 1

    @pytest.mark.parametrize("own_loop", [True, False])
    def test_a_thread_that_has_not_begun_at_the_stop_asks_nobody(self, wire, clock, monkeypatch, own_loop):
        follower = wire.follower(clock, own_loop=own_loop)
        follower.get()
        clock.now += 60
        late = []

        def start_later(thread):
            late.append(thread)

        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", start_later)
            follower.get()
        follower.behind.stop()
        (thread,) = late
        thread.start()
        thread.join(60)
        assert (wire.count, follower.is_idle) == (1, True)

    async def test_a_closed_loop_is_left_alone(self, wire, clock):
        follower = wire.follower(clock)
        await follower.aget()
        clock.now += 60
        wire.gate.clear()
        loop = asyncio.new_event_loop()
        await asyncio.to_thread(loop.run_until_complete, follower.aget())
        task = next(iter(follower.behind._tasks))
        loop.close()
        follower.behind.stop()
        # its coroutine never ran
        task.get_coro().close()

    def test_nothing_holds_a_follower_that_nobody_uses(self, wire, clock):
        follower = wire.follower(clock)
        follower.get()
        found = weakref.ref(follower)
        del follower
        gc.collect()
        assert found() is None
