"""Claims of `_prompt_behind`: what runs behind the callers ends with the prompt, and holds nobody up."""

import asyncio
import gc
import threading
import weakref

import pytest

from langchain_promptrun.prompts.behind import Behind, DaemonThreads


async def forever():
    await asyncio.Event().wait()


class TestBehind:
    async def test_a_task_ends_with_the_next_stop(self):
        behind = Behind()
        task = asyncio.create_task(forever())
        behind.hold(task, behind.stopped)
        assert not behind.is_idle
        behind.stop()
        await asyncio.wait([task])
        assert (task.cancelled(), behind.is_idle) == (True, True)

    async def test_one_that_was_decided_on_before_a_stop_does_not_begin_after_it(self):
        behind = Behind()
        stopped = behind.stopped
        behind.stop()
        task = asyncio.create_task(forever())
        behind.hold(task, stopped)
        await asyncio.wait([task])
        assert task.cancelled()

    async def test_one_that_is_decided_on_after_a_stop_runs(self):
        behind = Behind()
        behind.stop()
        task = asyncio.create_task(asyncio.sleep(0))
        behind.hold(task, behind.stopped)
        await task

    async def test_none_runs_after_the_end(self):
        behind = Behind()
        behind.end()
        task = asyncio.create_task(forever())
        behind.hold(task, behind.stopped)
        await asyncio.wait([task])
        assert (task.cancelled(), behind.is_over) == (True, True)


class TestDaemonThreads:
    async def test_an_event_loop_runs_its_jobs_in_them(self):
        loop = asyncio.get_running_loop()
        name = await loop.run_in_executor(DaemonThreads(), lambda: threading.current_thread().name)
        assert name == "promptrun-prompt-helper"

    async def test_what_a_job_raises_goes_to_who_waits(self):
        def broken():
            raise LookupError("mine")

        with pytest.raises(LookupError, match="mine"):
            await asyncio.get_running_loop().run_in_executor(DaemonThreads(), broken)

    def test_no_loop_waits_for_a_job_that_hangs(self):
        hang, begun = threading.Event(), threading.Event()

        def job():
            begun.set()
            hang.wait(60)

        async def main():
            loop = asyncio.get_running_loop()
            loop.set_default_executor(DaemonThreads())
            loop.run_in_executor(None, job)
            assert await loop.run_in_executor(None, begun.wait, 60)

        asyncio.run(main())
        assert not hang.is_set()
        hang.set()

    def test_nothing_of_a_job_is_kept(self):
        class Thing:
            """Can be watched."""

        thing = Thing()
        seen = weakref.ref(thing)
        DaemonThreads().submit(lambda _: None, thing).result(60)
        for thread in threading.enumerate():
            if thread.name == "promptrun-prompt-helper":
                thread.join(60)
        del thing
        gc.collect()
        assert seen() is None
