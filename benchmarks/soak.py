"""Twenty thousand mixed calls, a fifth of them with faults, a hundred at a time: nothing lost, doubled or leaked.

    python benchmarks/soak.py                 all of them, under two minutes on two cores
    python benchmarks/soak.py --calls 2000    fewer
    python benchmarks/soak.py --setups        the set-ups of benchmarks/setups.py instead

Sync and async calls over httpx and aiohttp, plain, streamed and as protocol events, share one process; the server runs
in another one, and counts what arrives. Each call asks for an answer of its own, so one that is lost, doubled or given
to somebody else is noticed, and so is a request that was sent once too often. Memory and file descriptors are looked
at on the way. The exit code is 1 when anything is not as it should be.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import math
import multiprocessing
import os
import subprocess
import sys
import threading
import time
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from langchain_promptrun import ChatPromptrun
from langchain_promptrun.testing import Fault, PromptrunServer, Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from multiprocessing.connection import Connection
    from types import TracebackType

CALLS = 10_000
SECONDS = 105.0
"""After so long no further call is begun."""
KINDS = ("plain", "stream", "events")
LANES = {"aiohttp": (0, 2, 4, 6), "httpx": (1,), "threads": (3, 5, 7)}
"""Who makes which calls: the remainders of their numbers, divided by eight; httpx's async connections cost the most."""
AT_ONCE = {"aiohttp": 50, "httpx": 15, "threads": 35}
LOOKS = 5
MEGABYTES = 16
"""How much the memory may grow from the second look on; the first ones see caches being filled."""
DESCRIPTORS = 20

_AT_ONCE = {"retry-after": "0"}
_OVERFLOW = {"error": {"message": "Too long.", "code": "context_length_exceeded"}}


@dataclass(frozen=True)
class Plan:
    """What happens to a call: the faults that its requests meet, and what its caller sees at last.

    Attributes:
        faults: One a request; after them comes the answer, if anything else is asked for.
        sees: `answer`, the name of an error's class, or `left`: the caller leaves after the first chunk.
    """

    faults: Sequence[Callable[[Reply], Fault]] = ()
    sees: str = "answer"

    @property
    def requests(self) -> int:
        """How many requests there must be."""
        return len(self.faults) + (self.sees == "answer")


def _fault(**parts: Any) -> Callable[[Reply], Fault]:
    return lambda _: Fault(**parts)


def _spoilt(**parts: Any) -> Callable[[Reply], Fault]:
    """The right answer, with something wrong about it."""
    return lambda reply: Fault(reply=reply, **parts)


_ANY = (
    Plan([_fault(status=429, headers=_AT_ONCE)]),
    Plan([_fault(status=503, headers=_AT_ONCE), _fault(status=500, headers=_AT_ONCE)]),
    Plan([_fault(reset=True)]),
    Plan([_fault(cut=True)]),
    Plan([_fault(status=400)], "PromptrunInvalidRequestError"),
    Plan([_fault(status=401)], "PromptrunAuthenticationError"),
    Plan([_fault(status=413, body=_OVERFLOW)], "PromptrunContextOverflowError"),
    Plan([_fault(body={"error": {"code": 503}}, headers=_AT_ONCE)]),
)
_WHOLE = (*_ANY, Plan([_spoilt(after_bytes=80, cut=True)]), Plan([_spoilt(after_bytes=80, reset=True)]))
_STREAM = (
    *_ANY,
    Plan([_spoilt(after=3, cut="clean")], "PromptrunStreamTruncatedError"),
    Plan([_spoilt(after=3, cut=True)], "PromptrunConnectionError"),
    Plan([_spoilt(after=3, error={"error": {"code": 502}})], "PromptrunAPIError"),
    Plan([_spoilt(after=3, comments=0.2)], "PromptrunStreamStalledError"),
)
_LEAVES = Plan([_spoilt(after=3, pause=math.inf)], "left")
FAULTS = {"plain": _WHOLE, "stream": (*_STREAM, _LEAVES), "events": _STREAM}
RIGHT = Plan()


def kind_of(number: int) -> str:
    """How a call is made."""
    return KINDS[number % 3]


def plan_of(number: int) -> Plan:
    """What happens to a call; every fifth meets a fault."""
    faults = FAULTS[kind_of(number)]
    return RIGHT if number % 5 else faults[number // 60 % len(faults)]


def text_of(number: int) -> str:
    """The answer that only this call may get."""
    return f"The answer to question {number} is {number * number}."


def serve(pipe: Connection, calls: int) -> None:
    """The server's process: says where it is, serves until it is asked, and says how often each call's request came."""
    came = [0] * calls

    def answer(body: dict[str, Any]) -> Fault | Reply:
        number = int(body["messages"][-1]["content"])
        faults = plan_of(number).faults
        came[number] += 1
        reply = Reply(text_of(number))
        return faults[came[number] - 1](reply) if came[number] <= len(faults) else reply

    with PromptrunServer(api_key=None, answer=answer) as server:
        pipe.send(server.base_url)
        pipe.recv()
        pipe.send((came, server.in_flight))


@dataclass
class Run:
    """One run: how far it is, and what went wrong."""

    calls: int
    deadline: float
    outcomes: Counter[str] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)
    looks: list[tuple[int, float, int]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.answered = bytearray(self.calls)
        self._steps = iter([self.calls * step // LOOKS for step in range(1, LOOKS + 1)])
        self._next = next(self._steps)

    def numbers(self, lane: str) -> Iterable[int]:
        """The numbers of a lane's calls, as long as there is time. Shared by its workers."""
        mine = (number for number in range(self.calls) if number % 8 in LANES[lane])
        return Numbers(itertools.takewhile(lambda _: time.monotonic() < self.deadline, mine))

    def ended(self, number: int, outcome: str) -> None:
        """A call ended with a text, `left` or the name of an error's class."""
        plan = plan_of(number)
        wanted = text_of(number) if plan.sees == "answer" else plan.sees
        with self._lock:
            self.answered[number] += 1
            self.outcomes[plan.sees if outcome == wanted else "wrong"] += 1
            if outcome != wanted:
                self.complaints.append(f"call {number} ({kind_of(number)}): {outcome!r}, not {wanted!r}")
            if sum(self.outcomes.values()) >= self._next:
                self._next = next(self._steps, math.inf)
                self.looks.append((sum(self.outcomes.values()), megabytes(), descriptors()))


class Numbers:
    """An iterator that several threads may share."""

    def __init__(self, numbers: Iterable[int]) -> None:
        self._numbers = iter(numbers)
        self._lock = threading.Lock()

    def __iter__(self) -> Numbers:
        return self

    def __next__(self) -> int:
        with self._lock:
            return next(self._numbers)


def megabytes() -> float:
    """The process's resident memory."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def descriptors() -> int:
    """How many files and sockets are open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def ask(model: Any, number: int) -> str:
    """One sync call."""
    question, kind = str(number), kind_of(number)
    if kind == "plain":
        return str(model.invoke(question).text)
    if kind == "events":
        return str(model.stream_events(question, version="v3").output.text)
    with closing(model.stream(question)) as chunks:
        if plan_of(number).sees == "left":
            next(chunks)
            return "left"
        return "".join(chunk.text for chunk in chunks)


async def ask_async(model: Any, number: int) -> str:
    """One async call."""
    question, kind = str(number), kind_of(number)
    if kind == "plain":
        return str((await model.ainvoke(question)).text)
    if kind == "events":
        stream = await model.astream_events(question, version="v3")
        return str((await stream.output).text)
    async with aclosing(model.astream(question)) as chunks:
        if plan_of(number).sees == "left":
            await anext(chunks)
            return "left"
        return "".join([chunk.text async for chunk in chunks])


class Ended:
    """Takes note of how a call ends: with a text, or with an error."""

    def __init__(self, run: Run, number: int) -> None:
        self._run = run
        self._number = number
        self.outcome = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: object, error: BaseException | None, trace: TracebackType | None) -> bool:
        if error is None or isinstance(error, Exception):
            self._run.ended(self._number, self.outcome if error is None else type(error).__name__)
        return isinstance(error, Exception)


def work(run: Run, model: Any, numbers: Iterable[int]) -> None:
    """A thread of the sync lane."""
    for number in numbers:
        with Ended(run, number) as ended:
            ended.outcome = ask(model, number)


async def work_async(run: Run, model: Any, numbers: Iterable[int]) -> None:
    """A task of an async lane."""
    for number in numbers:
        with Ended(run, number) as ended:
            ended.outcome = await ask_async(model, number)


async def async_lanes(run: Run, url: str) -> None:
    """Both async lanes in one event loop."""
    async with _model(url, "aiohttp") as over_aiohttp, _model(url, "httpx") as over_httpx:
        tasks = []
        for lane, model in (("aiohttp", over_aiohttp), ("httpx", over_httpx)):
            numbers = run.numbers(lane)
            tasks += [work_async(run, model, numbers) for _ in range(AT_ONCE[lane])]
        await asyncio.gather(*tasks)


def all_lanes(run: Run, url: str) -> None:
    """All calls, a hundred at once."""
    numbers = run.numbers("threads")
    with _model(url, "httpx") as model, ThreadPoolExecutor(AT_ONCE["threads"]) as pool:
        threads = [pool.submit(work, run, model, numbers) for _ in range(AT_ONCE["threads"])]
        asyncio.run(async_lanes(run, url))
        for thread in threads:
            thread.result()


def _model(url: str, carrier: str) -> ChatPromptrun:
    return ChatPromptrun(
        model="openai/gpt-4o",
        api_key="not-a-key",
        base_url=url,
        timeout=30,
        stream_chunk_timeout=3,
        async_transport=carrier,
    )


def check(run: Run, came: list[int], in_flight: int, before: tuple[int, int]) -> list[str]:
    """All that is not as it should be."""
    found = list(run.complaints)
    found += [f"call {number}: answered {count} times" for number, count in enumerate(run.answered) if count != 1]
    for number, count in enumerate(came):
        if count != plan_of(number).requests:
            found.append(f"call {number}: {count} requests, not {plan_of(number).requests}")
    if in_flight:
        found.append(f"{in_flight} requests are still under way")
    if len(run.looks) > 1:
        (_, memory, opened), (_, last_memory, last_opened) = run.looks[1], run.looks[-1]
        if last_memory - memory > MEGABYTES:
            found.append(f"the memory grew from {memory:.0f} to {last_memory:.0f} MB")
        if last_opened - opened > DESCRIPTORS:
            found.append(f"the open descriptors grew from {opened} to {last_opened}")
    after = (descriptors(), threading.active_count())
    if after > before:
        found.append(f"(descriptors, threads) at the end: {after}, at the beginning: {before}")
    return found


def main() -> int:
    """Run the calls, and print what there is to say."""
    parser = argparse.ArgumentParser(description="Soak ChatPromptrun.")
    parser.add_argument("--calls", type=int, default=CALLS, help=f"how many calls (default {CALLS})")
    parser.add_argument("--setups", action="store_true", help="run the set-ups of benchmarks/setups.py instead")
    given = parser.parse_args()
    if given.setups:
        command = [sys.executable, str(Path(__file__).with_name("setups.py"))]
        return subprocess.run(command, check=False).returncode
    calls = given.calls
    warnings.simplefilter("ignore")
    start = time.monotonic()
    context = multiprocessing.get_context("spawn")
    pipe, far_end = context.Pipe()
    server = context.Process(target=serve, args=(far_end, calls), daemon=True)
    server.start()
    url = pipe.recv()
    before = (descriptors(), threading.active_count())
    run = Run(calls, start + SECONDS)
    all_lanes(run, url)
    seconds = time.monotonic() - start
    pipe.send("report")
    came, in_flight = pipe.recv()
    server.join(5)
    found = check(run, came, in_flight, before)
    print(f"{sum(run.outcomes.values()):,} calls of {calls:,}, {sum(came):,} requests, {seconds:.0f} s")
    for outcome, count in run.outcomes.most_common():
        print(f"{count:>8,}  {outcome}")
    for count, memory, opened in run.looks:
        print(f"after {count:>7,} calls: {memory:4.0f} MB, {opened} descriptors")
    print(f"after the end: {descriptors()} descriptors ({before[0]} before), {len(found)} complaints")
    print("\n".join(found[:20]))
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
