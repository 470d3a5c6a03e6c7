"""Claims of `_prompt_flight`: one request, and all who wait for it in threads and event loops."""

import asyncio
import os
import threading

import pytest

from langchain_promptrun import PromptrunAPIError, _prompt_flight
from langchain_promptrun._prompt_flight import Caught, Flight, Signal


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


class TestFlight:
    def test_one_in_a_thread_is_not_lost(self):
        assert not Flight(None).is_lost()

    def test_one_of_another_process_is_lost(self, monkeypatch):
        flight = Flight(None)
        monkeypatch.setattr(os, "getpid", lambda: -1)
        assert flight.is_lost()

    async def test_one_on_a_loop_is_lost_when_the_loop_stands(self):
        loop = asyncio.new_event_loop()
        assert Flight(loop).is_lost()
        loop.close()
        assert Flight(loop).is_lost()
        assert not Flight(asyncio.get_running_loop()).is_lost()

    async def test_it_stands_still_for_its_own_loop_only(self):
        loop = asyncio.get_running_loop()
        assert Flight(loop).stands_still_for(loop)
        assert not Flight(loop).stands_still_for(None)
        assert not Flight(None).stands_still_for(loop)
        assert not Flight(None).stands_still_for(None)

    @pytest.mark.parametrize("colour", ["sync", "async"])
    async def test_those_who_wait_for_a_lost_one_go_on(self, impatient, colour):
        loop = asyncio.new_event_loop()
        flight = Flight(loop)
        loop.close()
        await (asyncio.to_thread(flight.join) if colour == "sync" else flight.ajoin())
        assert not flight.landed.is_set()

    @pytest.mark.parametrize("colour", ["sync", "async"])
    async def test_those_who_wait_go_on_when_it_lands(self, impatient, colour):
        flight = Flight(None)
        waiting = asyncio.create_task(asyncio.to_thread(flight.join) if colour == "sync" else flight.ajoin())
        # several looks at a flight that is not lost
        done, _ = await asyncio.wait([waiting], timeout=0.1)
        assert not done
        flight.landed.set()
        await waiting
