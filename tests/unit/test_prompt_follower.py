"""Claims of `_prompt_follower`: nobody waits who can be served, and who watches sees each change once."""

import asyncio
import contextvars
import time

import pytest

from langchain_promptrun import PromptrunAPIError, PromptrunRateLimitError
from langchain_promptrun.prompts import flight as _prompt_flight
from langchain_promptrun.prompts import refresh as _prompt_refresh
from langchain_promptrun.prompts.flight import Signal
from langchain_promptrun.prompts.record import PromptRecord

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


async def test_who_comes_when_a_record_has_just_come_asks_nobody(wire, clock, colour):
    follower = wire.follower(clock)
    await pull(colour, follower)
    assert await (asyncio.to_thread(follower._ask) if colour == "sync" else follower._aask()) is None
    assert wire.count == 1


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
        clock.now += 10
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
        clock.now += 5
        assert await text(colour, follower) == "Last resort."
        await until(lambda: follower.record.version == 1)
        assert [(old.version, new.version) for old, new in changes] == [(0, 1)]


class Watch:
    """Watches a follower in a thread or in this task, and keeps what it saw."""

    def __init__(self, colour, follower, interval=0.01):
        self.seen = []
        self.stopped = Signal()
        self.follower = follower
        self.interval = interval
        self.done = asyncio.create_task(asyncio.to_thread(self._watch) if colour == "sync" else self._awatch())

    def _watch(self):
        self.seen.extend(map(self._versions, self.follower.watch(self.interval, self.stopped)))

    async def _awatch(self):
        async for change in self.follower.awatch(self.interval, self.stopped):
            self.seen.append(self._versions(change))

    async def stop(self):
        self.stopped.set()
        await self.done

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
        await watch.stop()
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
        await asyncio.gather(*[watch.stop() for watch in watches])
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
        await watch.stop()
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
        await watch.stop()
        assert wire.count == 1

    async def test_leaving_it_early_leaves_nothing(self, wire, colour, follower):
        if colour == "sync":
            changes = follower.watch(0.01, Signal())
            call = asyncio.create_task(asyncio.to_thread(next, changes))
        else:
            changes = follower.awatch(0.01, Signal())
            call = asyncio.create_task(anext(changes))
        await until(lambda: follower.record)
        wire.publish("Two.")
        assert (await call).new.version == 2
        if colour == "sync":
            changes.close()
        else:
            await changes.aclose()
        await until(lambda: follower._flight is None)

    async def test_what_another_call_has_fetched_meanwhile_is_not_asked_for(self, wire, colour):
        class Busy(Clock):
            """Another call comes between the look at the clock and the poll."""

            def __call__(self):
                call, self.call = self.call, None
                if call is not None:
                    call()
                return self.now

        busy = Busy()
        follower = wire.follower(busy)
        busy.call = follower.get
        watch = Watch(colour, follower, interval=3600)
        await until(lambda: follower.record)
        await watch.stop()
        assert (watch.seen, wire.count) == ([], 1)

    async def test_a_poll_joins_a_request_that_is_on_its_way(self, wire, clock, colour):
        follower = wire.follower(clock)
        await pull(colour, follower)
        wire.publish("Two.")
        clock.now += 60
        wire.gate.clear()
        await pull(colour, follower)
        await until(lambda: wire.count == 2)
        watch = Watch(colour, follower, interval=5)
        done, _ = await asyncio.wait([watch.done], timeout=0.05)
        assert not done
        wire.gate.set()
        await until(lambda: watch.seen == [(1, 2)])
        await watch.stop()
        assert wire.count == 2

    @pytest.mark.parametrize("at", ["at first", "later"])
    async def test_it_ends_while_the_server_hangs(self, wire, clock, colour, at):
        follower = wire.follower(clock)
        if at == "later":
            await pull(colour, follower)
            clock.now += 60
        before = wire.count
        wire.gate.clear()
        watch = Watch(colour, follower, interval=5)
        await until(lambda: wire.count == before + 1)
        await watch.stop()
        assert not wire.gate.is_set()
        wire.gate.set()
        await until(lambda: follower.is_idle)

    async def test_tasks_that_give_up_watching_leave_nothing_behind(self, wire, follower):
        await follower.aget()
        stopped = Signal()

        async def watch():
            async for _ in follower.awatch(60, stopped):
                pass

        watching = [asyncio.create_task(watch()) for _ in range(100)]
        await asyncio.sleep(0)
        for task in watching:
            task.cancel()
        await asyncio.wait(watching)
        assert (stopped._waiters, stopped.future._done_callbacks) == ({}, [])

    async def test_it_ends_with_the_follower(self, wire, colour, follower):
        watch = Watch(colour, follower)
        await until(lambda: follower.record)
        follower.behind.end()
        await watch.done

    async def test_it_outlives_a_stop_of_what_runs_behind(self, wire, clock, colour):
        """A copy of the prompt was closed, and not the one that is watched."""
        follower = wire.follower(clock)
        await pull(colour, follower)
        wire.publish("Two.")
        clock.now += 60
        wire.gate.clear()
        watch = Watch(colour, follower, interval=5)
        await until(lambda: wire.count == 2)
        follower.behind.stop()
        wire.gate.set()
        await until(lambda: watch.seen == [(1, 2)])
        await watch.stop()
