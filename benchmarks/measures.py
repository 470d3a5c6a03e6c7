"""How is measured: interleaved rounds, and the median of this process's CPU time."""

from __future__ import annotations

import asyncio
import gc
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping
    from types import TracebackType

    Run = Callable[[], int]
    AsyncRun = Callable[[], Awaitable[int]]

MICROSECONDS = 1e6

PEERS = ("mistralai", "openai", "openrouter")

_PEERS_EVERY = 3
_PARTS = {"limit": ("core", "wire")}

Cost = float | str
"""A median, or what a client fails with."""


class _Closable(Protocol):
    async def aclose(self) -> None: ...


T = TypeVar("T", bound=_Closable)


@dataclass(frozen=True)
class Bound:
    """What a cost may be: so many times another one of the same row; of nothing else, so much.

    Attributes:
        of: The other one: a client, or `limit`, which is core and wire together. Empty for a bound by itself.
        at_most: The factor, or the cost.
    """

    of: str
    at_most: float


@dataclass
class Row:
    """One line of the table.

    Attributes:
        section: What it belongs to.
        work: What is done.
        unit: What the costs count.
        costs: By client.
        bounds: What ChatPromptrun's cost may be.
    """

    section: str
    work: str
    unit: str
    costs: dict[str, Cost]
    bounds: tuple[Bound, ...] = field(default=())

    def reference(self, bound: Bound) -> float | None:
        """What a bound compares with; None where that failed or was not measured."""
        if not bound.of:
            return 1.0
        parts = [self.costs.get(name) for name in _PARTS.get(bound.of, (bound.of,))]
        return sum(parts) if all(isinstance(part, float) for part in parts) else None


@dataclass
class Bench:
    """What all sections are given.

    Attributes:
        url: The server's URL.
        quick: Whether little is measured, only to see that all works.
        peers: Makers of the peers that are installed.
        runner: The one event loop of all async runs; some peers work in no second one.
        stack: What is closed in the end.
    """

    url: str
    quick: bool
    peers: Mapping[str, Callable[[str], Any]]
    runner: asyncio.Runner
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    def closing(self, opened: T) -> T:
        """Close this when all is measured."""
        self.stack.push_async_callback(opened.aclose)
        return opened

    def chosen(self, *names: str) -> dict[str, Callable[[str], Any]]:
        """The peers of these names, as far as they are installed."""
        return {name: self.peers[name] for name in names if name in self.peers}

    def in_loop(self, make: AsyncRun) -> Run:
        """Make a plain run of an async one."""

        async def wait() -> int:
            return await make()

        return lambda: self.runner.run(wait())

    def scaled(self, number: int) -> int:
        """A number of chunks or calls; few in quick mode."""
        return max(number // 20, 10) if self.quick else number

    def rounds(self, number: int) -> int:
        """A number of rounds; one in quick mode."""
        return 1 if self.quick else number


class Attempt:
    """Takes note of what a client fails with, whatever it is."""

    def __init__(self) -> None:
        self.failure: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> bool:
        if isinstance(error, Exception):
            self.failure = f"fails: {type(error).__name__}"
        return isinstance(error, Exception)


def medians(runs: Mapping[str, Run], rounds: int, per: int) -> dict[str, Cost]:
    """Try all out, then run all in turn, round after round; the peers, which are slow, in every third round.

    Args:
        runs: What to run, by client. They give the number of chunks or answers.
        rounds: How often.
        per: Chunks or answers in one run.

    Returns:
        CPU microseconds a chunk or an answer: the median, or why a client fails.
    """
    failures = {name: _try_out(run, per) for name, run in runs.items()}
    works = {name: run for name, run in runs.items() if failures[name] is None}
    return {name: failure for name, failure in failures.items() if failure} | warm_medians(works, rounds, per)


def warm_medians(runs: Mapping[str, Run], rounds: int, per: int) -> dict[str, Cost]:
    """Do what `medians` does with runs that were tried out before."""
    return {name: median(costs) for name, costs in _samples(runs, rounds, per).items()}


def warm_minima(runs: Mapping[str, Run], rounds: int, per: int) -> dict[str, float]:
    """Give the least of each instead: a small difference of large costs is lost in what other processes add."""
    return {name: min(costs) for name, costs in _samples(runs, rounds, per).items()}


def _samples(runs: Mapping[str, Run], rounds: int, per: int) -> dict[str, list[float]]:
    samples: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds):
        names = [name for name in runs if number % _PEERS_EVERY == 0 or name not in PEERS]
        start = number % max(len(names), 1)
        for name in names[start:] + names[:start]:
            samples[name].append(cpu_seconds(runs[name]) / per * MICROSECONDS)
    return samples


def _try_out(run: Run, least: int) -> str | None:
    """Run once; gives what it fails with."""
    with Attempt() as attempt:
        if run() < least:
            attempt.failure = "fails: too few items"
    return attempt.failure


def cpu_seconds(run: Run) -> float:
    """CPU time of one run; what came before it leaves no garbage to be collected in it."""
    gc.collect()
    start = time.process_time()
    run()
    return time.process_time() - start


def uncollected(run: Run) -> Run:
    """Make a run with the garbage collector off, whose work depends on all that lives."""

    def without_collector() -> int:
        gc.disable()
        try:
            return run()
        finally:
            gc.enable()

    return without_collector


def drain(items: Iterable[object]) -> int:
    """Take all items and keep none; gives their number."""
    taken = 0
    for _ in items:
        taken += 1
    return taken


async def adrain(items: AsyncIterable[object]) -> int:
    """Take all items and keep none; gives their number."""
    taken = 0
    async for _ in items:
        taken += 1
    return taken


async def at_once(make: AsyncRun, times: int) -> int:
    """Run so many at once; gives the sum of what they give."""
    return sum(await asyncio.gather(*(make() for _ in range(times))))
