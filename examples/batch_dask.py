# /// script
# requires-python = ">=3.11"
# dependencies = ["langchain-promptrun", "distributed", "filelock", "rich"]
# [tool.uv.sources]
# langchain-promptrun = { path = "..", editable = true }
# ///
"""Many prompts through a chain on a local Dask cluster: a progress bar, a rate limit, and output that goes on.

Dask brings the chain to each worker process by pickle, and asks the prompts of a killed worker again on another one.
"""

from __future__ import annotations

import logging
import signal
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import islice
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING

try:
    from batches import TRIES, died, main
    from distributed import Client, KilledWorker, LocalCluster, WorkerPlugin, as_completed, get_worker
except ModuleNotFoundError as missing:
    raise SystemExit(
        f"error: {missing.name.partition('.')[0]} is not installed: use `uv run examples/batch_dask.py`, "
        "or `pip install --group apps --editable .` first (pip 25.1 or newer)"
    ) from missing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from batches import Asker, Outcome, Prompt, Spread
    from distributed import Worker

NAME = "asker"


class BringAsker(WorkerPlugin):
    """Gives each worker process an asker, also one that replaces another."""

    name = NAME

    def __init__(self, asker: Asker) -> None:
        self.asker = asker

    def setup(self, **_: Worker) -> None:
        """Leave Ctrl-C to the program, also where it cannot wait."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def ask(prompts: list[Prompt]) -> list[Outcome]:
    """Ask, in a worker."""
    return get_worker().plugins[NAME].asker.ask(prompts)


@contextmanager
def ctrl_c_waits() -> Iterator[None]:
    """Keep Ctrl-C until the end of the block; threads and processes that begin in it never get it."""
    pressed: list[int] = []
    # A thread that began before, such as one of numpy's, may still be given it.
    before = signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))
    masks = hasattr(signal, "pthread_sigmask")  # not on Windows
    if masks:
        resource_tracker.ensure_running()  # while it begins, Ctrl-C would come again
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        if masks:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        signal.signal(signal.SIGINT, before)
    if pressed:
        raise KeyboardInterrupt


@contextmanager
def dask_cluster(asker: Asker, workers: int) -> Iterator[Spread]:
    """Start a cluster on this machine; Ctrl-C waits until it is up."""
    with ExitStack() as stack:
        with ctrl_c_waits():
            cluster = LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                dashboard_address=None,
                silence_logs=logging.CRITICAL,
                scheduler_kwargs={"allowed_failures": TRIES - 1},
            )
            client = stack.enter_context(Client(stack.enter_context(cluster)))
            client.register_plugin(BringAsker(asker))
        yield partial(spread, client, 2 * workers)


def spread(client: Client, at_once: int, groups: Iterable[list[Prompt]]) -> Iterator[list[Outcome]]:
    """Have groups asked, so many at once that each worker finds the next one waiting."""
    groups = iter(groups)
    running = as_completed()
    asked = {}
    while True:
        for group in islice(groups, at_once - len(asked)):
            future = client.submit(ask, group, pure=False)
            asked[future] = group
            running.add(future)
        if not asked:
            return
        future = next(running)
        group = asked.pop(future)
        try:
            yield future.result()
        except KilledWorker:
            yield died(group)


if __name__ == "__main__":
    main(dask_cluster)
