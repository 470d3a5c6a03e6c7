"""Claims of `_prompt_flight`: one request, and all who wait for it in threads and event loops."""

import asyncio
import gc
import logging
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from langchain_promptrun import PromptrunAPIError
from langchain_promptrun.prompts import flight as _prompt_flight
from langchain_promptrun.prompts.flight import Caught, Flight, Pulse, Signal


@pytest.fixture
def impatient(monkeypatch):
    """Those who wait look up often."""
    monkeypatch.setattr(_prompt_flight, "LIVENESS", 0.01)


class TestSignal:
    def test_it_wakes_threads(self):
        signal, woken = Signal(), []
        threads = [threading.Thread(target=lambda: woken.append(signal.wait(60))) for _ in range(3)]
        for thread in threads:
            thread.start()
        signal.set()
        for thread in threads:
            thread.join(60)
        assert woken == [True] * 3

    async def test_it_wakes_tasks_of_several_loops(self):
        signal = Signal()

        async def wait():
            with signal.awaited() as waiter:
                return await waiter.wait(60)

        waiting = [asyncio.create_task(wait()), asyncio.create_task(asyncio.to_thread(asyncio.run, wait()))]
        await asyncio.sleep(0)
        signal.set()
        assert await asyncio.gather(*waiting) == [True, True]

    async def test_a_wait_without_it_ends(self):
        signal = Signal()
        assert signal.wait(0) is False
        with signal.awaited() as waiter:
            assert await waiter.wait(0) is False

    async def test_a_task_that_gives_up_leaves_it_to_the_others(self):
        signal = Signal()

        async def wait():
            with signal.awaited() as waiter:
                return await waiter.wait(60)

        first, second = asyncio.create_task(wait()), asyncio.create_task(wait())
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert not signal.is_set()
        signal.set()
        assert await second is True

    async def test_a_wait_ends_with_the_other_signal(self):
        signal, other = Signal(), Signal()
        other.set()
        assert signal.wait(60, other) is True
        with signal.awaited() as waiter, other.awaited() as other_waiter:
            assert await waiter.wait(60, other_waiter) is True

    async def test_those_who_give_up_leave_nothing_behind(self):
        signal = Signal()

        async def wait():
            with signal.awaited() as waiter:
                await waiter.wait(60)

        waiting = [asyncio.create_task(wait()) for _ in range(200)]
        await asyncio.sleep(0)
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
        assert (signal._waiters, signal.future._done_callbacks, signal.future._waiters) == ({}, [], [])

    async def test_one_that_is_set_is_not_waited_for(self):
        signal = Signal()
        signal.set()
        with signal.awaited() as waiter:
            assert await waiter.wait(60) is True
            waiter.wake()
            await asyncio.sleep(0)
            assert await waiter.wait(60) is True

    def test_a_wait_whose_loop_was_closed_ends_quietly_and_hinders_nobody(self, caplog):
        """A warning of what the collection ignores would be an error here."""
        signal, other = Signal(), Signal()
        loop = asyncio.new_event_loop()

        async def wait():
            try:
                with signal.awaited() as waiter, other.awaited() as other_waiter:
                    await waiter.wait(60, other_waiter)
            except GeneratorExit:
                ended.append("quietly")
                raise

        ended = []
        task = loop.create_task(wait())
        loop.run_until_complete(asyncio.sleep(0.01))
        loop.close()
        signal.set()
        other.set()
        assert signal.wait(60)
        with caplog.at_level(logging.CRITICAL, "asyncio"):  # it tells of the task that never ended
            del task
            gc.collect()
        assert ended == ["quietly"]
        assert (signal._waiters, other._waiters, caplog.records) == ({}, {}, [])

    def test_it_is_set_once(self):
        signal = Signal()
        signal.set()
        signal.set()
        assert signal.is_set()


class TestCaught:
    def test_it_keeps_an_error(self):
        caught = Caught()
        with caught:
            raise KeyError("x")
        assert isinstance(caught.error, KeyError)

    def test_it_keeps_no_frames_of_a_request_which_hold_the_key(self):
        caught = Caught()
        with caught:
            raise PromptrunAPIError("x")
        assert caught.error.__traceback__ is None

    @pytest.mark.parametrize("end", [asyncio.CancelledError, KeyboardInterrupt])
    def test_it_lets_the_end_of_a_task_or_a_thread_through(self, end):
        caught = Caught()
        with pytest.raises(end), caught:
            raise end
        assert caught.error is None


class TestPulse:
    async def test_a_loop_that_runs_gives_signs_of_life(self):
        pulse = Pulse(asyncio.get_running_loop())
        for _ in range(3):
            assert pulse.is_felt()
            await asyncio.sleep(0)

    async def test_one_that_is_held_up_gives_none(self):
        pulse = Pulse(asyncio.get_running_loop())
        assert pulse.is_felt()
        assert not pulse.is_felt()

    async def test_one_that_is_closed_gives_none(self):
        loop = asyncio.new_event_loop()
        loop.close()
        pulse = Pulse(loop)
        assert pulse.is_felt()
        assert not pulse.is_felt()

    def test_a_thread_is_not_asked(self):
        pulse = Pulse(None)
        assert [pulse.is_felt() for _ in range(3)] == [True] * 3


class TestFlight:
    def test_one_in_a_thread_is_not_lost(self):
        assert not Flight(None, Signal()).is_lost()

    def test_one_of_another_process_is_lost(self, monkeypatch):
        flight = Flight(None, Signal())
        monkeypatch.setattr(os, "getpid", lambda: -1)
        assert flight.is_lost()

    async def test_one_on_a_loop_is_lost_when_the_loop_stands(self):
        loop = asyncio.new_event_loop()
        assert Flight(loop, Signal()).is_lost()
        loop.close()
        assert Flight(loop, Signal()).is_lost()
        assert not Flight(asyncio.get_running_loop(), Signal()).is_lost()

    async def test_it_stands_still_for_its_own_loop_only(self):
        loop = asyncio.get_running_loop()
        assert Flight(loop, Signal()).stands_still_for(loop)
        assert not Flight(loop, Signal()).stands_still_for(None)
        assert not Flight(None, Signal()).stands_still_for(loop)
        assert not Flight(None, Signal()).stands_still_for(None)

    @pytest.mark.parametrize("colour", ["sync", "async"])
    async def test_those_who_wait_for_a_lost_one_go_on(self, impatient, colour):
        loop = asyncio.new_event_loop()
        flight = Flight(loop, Signal())
        loop.close()
        await (asyncio.to_thread(flight.join) if colour == "sync" else flight.ajoin())
        assert not flight.landed.is_set()

    @pytest.mark.parametrize("colour", ["sync", "async"])
    def test_one_whose_loop_is_held_up_is_lost_for_those_who_wait(self, impatient, colour):
        """They wait on another loop, or in a thread, and the loop that leads waits for them."""

        async def lead():
            flight = Flight(asyncio.get_running_loop(), Signal())
            wait = flight.join if colour == "sync" else lambda: asyncio.run(flight.ajoin())
            with ThreadPoolExecutor(1) as threads:
                threads.submit(wait).result(60)
            return flight

        flight = asyncio.run(lead())
        assert not flight.landed.is_set()

    @pytest.mark.parametrize("colour", ["sync", "async"])
    async def test_those_who_wait_go_on_when_they_are_stopped(self, colour):
        flight, stopped = Flight(None, Signal()), Signal()

        async def ajoin():
            with stopped.awaited() as waiter:
                await flight.ajoin(waiter)

        waiting = asyncio.create_task(asyncio.to_thread(flight.join, stopped) if colour == "sync" else ajoin())
        await asyncio.sleep(0)
        stopped.set()
        await waiting
        assert not flight.landed.is_set()

    @pytest.mark.parametrize("colour", ["sync", "async"])
    async def test_those_who_wait_go_on_when_it_lands(self, impatient, colour):
        flight = Flight(None, Signal())
        waiting = asyncio.create_task(asyncio.to_thread(flight.join) if colour == "sync" else flight.ajoin())
        # several looks at a flight that is not lost
        done, _ = await asyncio.wait([waiting], timeout=0.1)
        assert not done
        flight.landed.set()
        await waiting
