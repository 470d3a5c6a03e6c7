"""Claims of `_prompt_follower`: one request for all, nobody waits who can be served, and nothing is left behind."""

import asyncio
import contextvars
import gc
import threading
import time
import weakref

import pytest

from langchain_promptrun import PromptrunAPIError, PromptrunRateLimitError, _prompt_flight, _prompt_refresh
from langchain_promptrun import _prompt_follower as follower_module
from langchain_promptrun._prompt_disk import Shelf
from langchain_promptrun._prompt_follower import THREAD, Lease
from langchain_promptrun._prompt_record import PromptRecord

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
def impatient(monkeypatch):
    """Those who wait look up often."""
    monkeypatch.setattr(_prompt_flight, "LIVENESS", 0.01)


@pytest.fixture
def shelf(tmp_path):
    return Shelf(str(tmp_path), "https://h.example/v1", {"tag": "prod"})


async def text(colour, follower):
    return (await pull(colour, follower)).prompt


async def test_nothing_is_asked_before_the_first_call_and_once_while_it_is_fresh(wire, clock, colour):
    follower = wire.follower(clock)
    assert wire.count == 0
    assert follower.record is None
    assert [await text(colour, follower) for _ in range(3)] == ["One {{x}}."] * 3
    assert wire.count == 1
    assert follower.record.version == 1


async def test_what_a_call_has_waited_for_is_not_asked_for_again_behind_it(wire, clock, colour):
    follower = wire.follower(clock, refresh=0)
    await pull(colour, follower)
    assert (wire.count, follower._flight) == (1, None)
    await pull(colour, follower)
    await until(lambda: wire.count == 2)


async def test_threads_and_tasks_of_several_loops_make_one_request(wire, clock):
    follower = wire.follower(clock)
    wire.gate.clear()

    async def several():
        return await asyncio.gather(*[follower.aget() for _ in range(5)])

    calls = [asyncio.create_task(follower.aget()) for _ in range(5)]
    calls += [asyncio.create_task(asyncio.to_thread(follower.get)) for _ in range(4)]
    loops = [asyncio.create_task(asyncio.to_thread(asyncio.run, several())) for _ in range(2)]
    await until(lambda: wire.count)
    wire.gate.set()
    records = await asyncio.gather(*calls)
    for found in await asyncio.gather(*loops):
        records += found
    assert {record.version for record in records} == {1}
    assert len(records) == 19
    assert wire.count == 1


async def test_a_stale_record_is_served_while_one_request_runs_behind(wire, clock, colour):
    follower = wire.follower(clock)
    await pull(colour, follower)
    wire.publish("Two.")
    wire.gate.clear()
    clock.now += 60
    # each returns although the gate is closed
    assert [await text(colour, follower) for _ in range(3)] == ["One {{x}}."] * 3
    await until(lambda: wire.count == 2)
    assert await text("async" if colour == "sync" else "sync", follower) == "One {{x}}."
    wire.gate.set()
    await until(lambda: follower.record.version == 2)
    assert await text(colour, follower) == "Two."
    assert wire.count == 2


async def test_a_request_behind_a_task_is_no_part_of_its_context(wire, clock):
    """A trace of the caller's run would grow children after its end."""
    mark = contextvars.ContextVar("mark", default="none")
    seen = []
    follower = wire.follower(clock, on_change=lambda old, new: seen.append(mark.get()))
    await follower.aget()
    mark.set("caller")
    wire.publish("Two.")
    clock.now += 60
    await follower.aget()
    await until(lambda: seen)
    assert seen == ["none"]


class TestDown:
    async def test_the_last_good_record_is_served_with_one_warning_a_minute(self, wire, clock, colour, caplog):
        follower = wire.follower(clock, refresh=30)
        await pull(colour, follower)
        wire.status = 503
        label = "Promptrun prompt d0d52c6e-85ba-4025-a84c-3c99834fe2ac (tag prod)"
        said = f"{label} could not be refreshed (PromptrunAPIError, status 503); version 1 is served."
        for count, warnings in [(2, 1), (3, 1), (4, 2)]:
            clock.now += 30
            assert await text(colour, follower) == "One {{x}}."
            await until(lambda count=count: wire.count == count and follower._flight is None)
            await until(lambda warnings=warnings: len(caplog.records) >= warnings)
            assert [record.getMessage() for record in caplog.records] == [said] * warnings

    async def test_it_is_current_again_when_the_server_is(self, wire, clock, colour):
        follower = wire.follower(clock)
        await pull(colour, follower)
        wire.status = 503
        clock.now += 60
        await pull(colour, follower)
        await until(lambda: wire.count == 2 and follower._flight is None)
        wire.status = 200
        wire.publish("Two.")
        clock.now += 60
        await pull(colour, follower)
        await until(lambda: follower.record.version == 2)

    async def test_without_a_record_all_who_wait_get_the_typed_error_of_one_request(self, wire, clock):
        follower = wire.follower(clock)
        wire.status = 503
        wire.gate.clear()
        calls = [asyncio.create_task(follower.aget()) for _ in range(3)]
        await until(lambda: wire.count)
        await asyncio.sleep(0)
        calls += [asyncio.create_task(follower.aget())]
        await asyncio.sleep(0.05)
        wire.gate.set()
        errors = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(error) for error in errors} == {PromptrunAPIError}
        assert all("tag prod" in str(error) for error in errors)
        assert len({id(error) for error in errors}) == 4
        assert wire.count == 1

    async def test_without_a_record_each_call_asks_anew(self, wire, clock, colour):
        follower = wire.follower(clock)
        wire.status = 503
        for count in (1, 2):
            with pytest.raises(PromptrunAPIError, match="tag prod"):
                await pull(colour, follower)
            assert wire.count == count
        wire.status = 200
        assert await text(colour, follower) == "One {{x}}."

    async def test_a_rate_limit_is_kept_even_without_a_record(self, wire, clock, colour):
        follower = wire.follower(clock)
        wire.status = 429
        for _ in range(3):
            with pytest.raises(PromptrunRateLimitError):
                await pull(colour, follower)
        assert wire.count == 1
        clock.now += 120
        wire.status = 200
        assert await text(colour, follower) == "One {{x}}."

    async def test_what_a_key_function_raises_comes_as_it_is(self, wire, clock, colour):
        def broken():
            raise LookupError("no vault")

        prompt = wire.prompt(api_key=broken)
        with pytest.raises(LookupError, match="no vault"):
            await pull(colour, prompt)

    async def test_the_fallback_is_served_and_gives_way(self, wire, clock, colour, caplog):
        changes = []
        follower = wire.follower(clock, fallback=FALLBACK, on_change=lambda old, new: changes.append((old, new)))
        wire.status = 503
        assert await text(colour, follower) == "Last resort."
        assert await text(colour, follower) == "Last resort."
        assert wire.count == 1
        assert "the fallback text is served" in caplog.text
        wire.status = 200
        clock.now += 60
        assert await text(colour, follower) == "Last resort."
        await until(lambda: follower.record.version == 1)
        assert [(old.version, new.version) for old, new in changes] == [(0, 1)]


class TestDisk:
    async def test_a_new_process_starts_from_disk_while_the_server_is_down(self, wire, clock, colour, shelf, caplog):
        await pull(colour, wire.follower(clock, shelf=shelf))
        wire.status = 503
        started = wire.follower(clock, shelf=shelf, fallback=FALLBACK)
        assert await text(colour, started) == "One {{x}}."
        assert "version 1 is served" in caplog.text

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


class TestLeaders:
    @pytest.mark.parametrize("waits", ["sync", "async"])
    async def test_a_cancelled_one_leaves_the_others_to_ask(self, wire, clock, waits):
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
        assert wire.count == 2

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
    async def test_one_whose_loop_stands_still_holds_nobody_up(self, wire, clock, colour, known):
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

    async def test_a_sync_call_on_a_loop_does_not_wait_for_that_loop(self, wire, clock):
        follower = wire.follower(clock)
        wire.gate.clear()
        leader = asyncio.create_task(follower.aget())
        await until(lambda: wire.count == 1)
        wire.gate.set()
        assert follower.get().version == 1
        assert (await leader).version == 1
        assert wire.count == 2

    async def test_a_fork_begins_anew(self, wire, clock):
        follower = wire.follower(clock)
        wire.gate.clear()
        lost = asyncio.create_task(asyncio.to_thread(follower.get))
        await until(lambda: wire.count == 1)
        follower_module._forked()
        wire.gate.set()
        assert (await follower.aget()).version == 1
        await lost

    async def test_a_thread_that_cannot_start_is_tried_again(self, wire, clock, monkeypatch):
        follower = wire.follower(clock)
        follower.get()
        wire.publish("Two.")
        clock.now += 60

        def full(_):
            raise RuntimeError("can't start new thread")

        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", full)
            assert follower.get().version == 1
        assert follower.get().version == 1
        await until(lambda: follower.record.version == 2)


class TestEnd:
    async def test_a_task_behind_ends_with_the_last_lease(self, wire, clock):
        follower = wire.follower(clock)
        lease = Lease(follower)
        await follower.aget()
        wire.gate.clear()
        clock.now += 60
        before = asyncio.all_tasks()
        await follower.aget()
        await until(lambda: wire.count == 2)
        assert len(asyncio.all_tasks() - before) == 1
        del lease
        gc.collect()
        await until(lambda: asyncio.all_tasks() == before and follower._tasks == {})
        wire.gate.set()

    async def test_a_thread_behind_ends_at_once_with_the_last_lease(self, wire, clock):
        """It waits for its answer in an event loop, which can be stopped."""
        follower = wire.follower(clock, own_loop=True)
        lease = Lease(follower)
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
        await until(lambda: THREAD not in {thread.name for thread in threading.enumerate()} and not follower._tasks)

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
        await until(lambda: follower._tasks == {})

    async def test_what_was_stopped_starts_again(self, wire, clock, colour):
        follower = wire.follower(clock)
        await pull(colour, follower)
        wire.publish("Two.")
        clock.now += 60
        wire.gate.clear()
        await follower.aget()
        await until(lambda: wire.count == 2)
        follower.stop()
        await until(lambda: follower._flight is None)
        assert follower.record.version == 1
        wire.gate.set()
        await pull(colour, follower)
        await until(lambda: follower.record.version == 2)

    async def test_a_task_that_begins_after_the_end_is_cancelled(self, wire, clock):
        follower = wire.follower(clock)
        await follower.aget()
        follower.end()
        clock.now += 60
        before = asyncio.all_tasks()
        await follower.aget()
        await until(lambda: asyncio.all_tasks() == before)
        assert wire.count == 1

    async def test_a_closed_loop_is_left_alone(self, wire, clock):
        follower = wire.follower(clock)
        await follower.aget()
        clock.now += 60
        wire.gate.clear()
        loop = asyncio.new_event_loop()
        await asyncio.to_thread(loop.run_until_complete, follower.aget())
        task = next(iter(follower._tasks))
        loop.close()
        follower.stop()
        # its coroutine never ran
        task.get_coro().close()

    def test_nothing_holds_a_follower_that_nobody_uses(self, wire, clock):
        follower = wire.follower(clock)
        follower.get()
        found = weakref.ref(follower)
        del follower
        gc.collect()
        assert found() is None


class Watch:
    """Watches a follower in a thread or in this task, and keeps what it saw."""

    def __init__(self, colour, follower, interval=0.01):
        self.seen = []
        self.follower = follower
        self.interval = interval
        self.done = asyncio.create_task(asyncio.to_thread(self._watch) if colour == "sync" else self._awatch())

    def _watch(self):
        self.seen.extend(map(self._versions, self.follower.watch(self.interval)))

    async def _awatch(self):
        async for change in self.follower.awatch(self.interval):
            self.seen.append(self._versions(change))

    def _versions(self, change):
        return change.old.version, change.new.version


class TestWatching:
    """With a real clock, and polls that follow one another quickly."""

    @pytest.fixture
    def follower(self, wire):
        return wire.follower(time.monotonic)

    async def test_changes_come_until_it_is_stopped(self, wire, colour, follower):
        watch = Watch(colour, follower)
        for version in (2, 3):
            await until(lambda version=version: follower.record and follower.record.version == version - 1)
            wire.publish("More.")
            await until(lambda version=version: (version - 1, version) in watch.seen)
        follower.stop()
        await watch.done
        assert watch.seen == [(1, 2), (2, 3)]
        count = wire.count
        assert await text(colour, follower) == "More."
        assert wire.count == count

    async def test_on_change_and_two_watches_see_a_change_once_each(self, wire, colour):
        told = []
        follower = wire.follower(time.monotonic, on_change=lambda old, new: told.append((old.version, new.version)))
        watches = [Watch(colour, follower), Watch("async", follower)]
        await pull(colour, follower)
        wire.publish("Two.")
        await until(lambda: all(watch.seen for watch in watches))
        count = wire.count
        await until(lambda: wire.count > count + 2)
        follower.stop()
        await asyncio.gather(*[watch.done for watch in watches])
        assert [watch.seen for watch in watches] == [[(1, 2)]] * 2
        assert told == [(1, 2)]

    async def test_it_goes_on_while_the_server_is_down(self, wire, colour, follower, caplog, monkeypatch):
        monkeypatch.setattr(_prompt_refresh, "_SHORTEST_WAIT", 0.01)
        watch = Watch(colour, follower)
        await until(lambda: follower.record)
        wire.status = 503
        count = wire.count
        await until(lambda: wire.count > count + 2)
        wire.publish("Two.")
        wire.status = 200
        await until(lambda: watch.seen == [(1, 2)])
        follower.stop()
        await watch.done
        assert caplog.text.count("could not be refreshed") == 1

    async def test_without_a_record_to_begin_with_it_raises(self, wire, colour, follower):
        wire.status = 503
        with pytest.raises(PromptrunAPIError):
            await Watch(colour, follower).done

    async def test_a_pinned_version_has_no_changes(self, wire, colour):
        watch = Watch(colour, wire.follower(time.monotonic, refresh=None))
        await watch.done
        assert (watch.seen, wire.count) == ([], 1)

    async def test_it_asks_no_sooner_than_its_interval_after_any_request(self, wire, clock, colour):
        """The clock stands still, so that the interval never passes."""
        follower = wire.follower(clock)
        watch = Watch(colour, follower, interval=3600)
        await until(lambda: wire.count == 1)
        done, _ = await asyncio.wait([watch.done], timeout=0.1)
        assert not done
        follower.stop()
        await watch.done
        assert wire.count == 1

    async def test_leaving_it_early_leaves_nothing(self, wire, colour, follower):
        if colour == "sync":
            changes = follower.watch(0.01)
            call = asyncio.create_task(asyncio.to_thread(next, changes))
        else:
            changes = follower.awatch(0.01)
            call = asyncio.create_task(anext(changes))
        await until(lambda: follower.record)
        wire.publish("Two.")
        assert (await call).new.version == 2
        if colour == "sync":
            changes.close()
        else:
            await changes.aclose()
        await until(lambda: follower._flight is None)

    async def test_a_poll_joins_a_request_that_is_on_its_way(self, wire, clock, colour):
        follower = wire.follower(clock)
        await pull(colour, follower)
        clock.now += 60
        wire.gate.clear()
        other = asyncio.create_task(follower._aask(5))
        await until(lambda: wire.count == 2)
        poll = asyncio.create_task(asyncio.to_thread(follower._ask, 5) if colour == "sync" else follower._aask(5))
        await asyncio.sleep(0.05)
        wire.gate.set()
        assert (await poll) is (await other)
        assert wire.count == 2

    async def test_a_poll_that_comes_too_soon_asks_nobody(self, wire, clock, colour):
        follower = wire.follower(clock)
        await pull(colour, follower)
        clock.now += 4
        assert await (asyncio.to_thread(follower._ask, 5) if colour == "sync" else follower._aask(5)) is None
        assert wire.count == 1
