"""What runs behind the callers of one prompt, in threads and tasks, and how it ends with the prompt.

Nothing here leads to the prompt, since who reports the prompt's end is kept until then. This module must not send
requests.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from typing_extensions import override

from langchain_promptrun.prompts.flight import Caught, Signal

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

T = TypeVar("T")
P = ParamSpec("P")

THREAD = "promptrun-prompt"
_HELPER = f"{THREAD}-helper"


class Behind:
    """The tasks of one prompt, and what tells them to end.

    Attributes:
        stopped: Set when what runs now is to end.
        is_over: Whether nothing may run any more.
    """

    def __init__(self) -> None:
        self.is_over = False
        self.forked()

    def forked(self) -> None:
        """Nothing runs; so it is after a fork, too."""
        # what is collected may land in whichever thread collects it, which may hold the lock
        self._lock = threading.RLock()
        self._tasks: dict[asyncio.Task[None], asyncio.AbstractEventLoop] = {}
        self.stopped = Signal()

    @property
    def is_idle(self) -> bool:
        """Whether no task runs."""
        return not self._tasks

    def hold(self, task: asyncio.Task[None], stopped: Signal) -> None:
        """Keep a task alive until it is done, or is to end.

        Args:
            task: The task.
            stopped: What was `stopped` when it was decided on.
        """
        task.add_done_callback(self._let_go)
        with self._lock:
            self._tasks[task] = task.get_loop()
            if stopped.is_set():
                task.cancel()

    def _let_go(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)

    def stop(self) -> None:
        """End what runs, also what has only been decided on."""
        with self._lock:
            tasks = dict(self._tasks)
            self.stopped.set()
            if not self.is_over:
                self.stopped = Signal()
        for task, loop in tasks.items():
            with suppress(RuntimeError):  # the loop is closed, and the task with it
                loop.call_soon_threadsafe(task.cancel)

    def end(self) -> None:
        """End for good: the prompt is collected, or the interpreter ends."""
        self.is_over = True
        self.stop()


class DaemonThreads(ThreadPoolExecutor):
    """An event loop's threads, for which neither the loop nor the interpreter waits as it ends.

    A host name that is looked up can hang, and nothing can stop it.
    """

    @override
    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()
        job = partial(fn, *args, **kwargs)
        threading.Thread(target=_work, args=(future, job), name=_HELPER, daemon=True).start()
        return future

    @override
    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Nothing is waited for."""


def _work(future: Future[T], job: Callable[[], T]) -> None:
    caught = Caught()
    with caught:
        future.set_result(job())
    if caught.error is not None:
        future.set_exception(caught.error)
