"""Run the wire-fault set of the tests against ChatPromptrun and its peers, and count what each of them gets right.

    python benchmarks/faults.py                    all clients, under two minutes
    python benchmarks/faults.py --only openai      one of them
    python benchmarks/faults.py --fault usage      the faults whose names hold this text
    python benchmarks/faults.py --details          each failure with what was seen

All are measured by what langchain-core defines: an error must be of its class for the condition, an answer must have
the right text, tool calls, token counts and finish reason, and nothing may hang. Each fault is tried in a sync, an
async and a protocol-events call, where it can occur there, and passed when all of them are. (The tests ask more of
ChatPromptrun: attributes, messages, numbers of requests, times.) Each client runs in a process of its own. The exit
code is 1 when ChatPromptrun fails a fault.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import queue
import subprocess
import sys
import threading
import time
import warnings
from collections import defaultdict
from contextlib import suppress
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

from langchain_core import exceptions as core

from langchain_promptrun import ChatPromptrun

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

sys.path.append(str(Path(__file__).parents[1] / "tests" / "integration"))
wire_faults = import_module("wire_faults")

TOTAL_SECONDS = 105.0
PATIENCE = 3.5
"""Seconds after which a call hangs: peers wait between attempts whatever the server says."""
WORKERS = 6
KINDS = (("invoke", "stream"), ("astream", "ainvoke"), ("v3", "av3"))
"""Of each kind of call, the first style in which a fault can occur."""

Complaint = tuple[str, str, str]
"""A style, the kind of failure, its details."""
Complaints = dict[str, Complaint | None]
"""By the fault's name; None where it was passed."""


def promptrun(url: str, **settings: Any) -> Any:
    """ChatPromptrun, for whose names the set is written."""
    return ChatPromptrun(model=wire_faults.fault.MODEL, base_url=url, **settings)


def openai(url: str, **settings: Any) -> Any:
    """ChatOpenAI, with usage in streams as ChatPromptrun has it."""
    known = {"api_key", "timeout", "max_retries", "stream_chunk_timeout", "include_response_headers"}
    taken = {name: value for name, value in settings.items() if name in known}
    return import_module("langchain_openai").ChatOpenAI(
        model=wire_faults.fault.MODEL, base_url=url, stream_usage=True, **taken
    )


def openrouter(url: str, *, api_key: Any, timeout: float, max_retries: int, **_: Any) -> Any:
    """ChatOpenRouter, which takes a key as it is."""
    return _openrouter(url, api_key() if callable(api_key) else api_key, timeout, max_retries)


@lru_cache
def _openrouter(url: str, key: str, timeout: float, max_retries: int) -> Any:
    """One for equal settings: to make it takes 70 ms. Its time-out is in milliseconds."""
    milliseconds = int(timeout * 1000)
    return import_module("langchain_openrouter").ChatOpenRouter(
        model=wire_faults.fault.MODEL, base_url=url, api_key=key, timeout=milliseconds, max_retries=max_retries
    )


CLIENTS: dict[str, Callable[..., Any]] = {"promptrun": promptrun, "openai": openai, "openrouter": openrouter}
CLASSES = {"promptrun": "ChatPromptrun", "openai": "ChatOpenAI", "openrouter": "ChatOpenRouter"}


class Worker(threading.Thread):
    """Takes faults from a queue, and tries each in a world of its own."""

    def __init__(self, make: Callable[..., Any], faults: queue.SimpleQueue[Any], report: Callable[..., None]) -> None:
        super().__init__(daemon=True)
        self._make = make
        self._faults = faults
        self._report = report

    def run(self) -> None:
        """Work until the queue is empty."""
        with wire_faults.world.World() as self._world, asyncio.Runner() as self._runner, suppress(queue.Empty):
            while True:
                fault = self._faults.get_nowait()
                self._report(fault, next(self._complaints(fault), None))

    def _complaints(self, fault: Any) -> Iterator[Complaint]:
        for kind in KINDS:
            styles = [style for style in kind if style in fault.styles and self._http_client(style) in fault.clients]
            for style in styles[:1]:
                found = self._try(fault, style)
                if found is not None:
                    yield style, *found

    def _http_client(self, style: str) -> str:
        return "aiohttp" if self._make is promptrun and style in wire_faults.calls.ASYNC else "httpx"

    def _try(self, fault: Any, style: str) -> tuple[str, str] | None:
        self._world.prepare(fault)
        if fault.first is not None:
            self._call(fault, style, fault.first)
        seen = self._call(fault, style, fault.model_settings)
        return ("call that hangs", f"{PATIENCE} s") if seen is None else _outcome(fault.sees, seen)

    def _call(self, fault: Any, style: str, settings: Any) -> Any:
        """What the caller sees; None where the call hangs."""
        # ChatPromptrun's calls of one key wait together where a server asks one of them to wait
        key = wire_faults.fault.KEY + (f"-{fault.name}-{style}" if self._make is promptrun else "")
        usual = {"api_key": key, "timeout": 2.0, "max_retries": 0}
        model = self._make(self._world.url(fault.target), **usual | settings)
        if style in wire_faults.calls.ASYNC:
            return self._runner.run(_in_time(model, style, fault))
        found: list[Any] = []
        caller = threading.Thread(target=lambda: found.append(_closing(model, style, fault)), daemon=True)
        caller.start()
        caller.join(PATIENCE)
        if not found:
            self._world.close_connections()
            return None
        return found[0]


def _outcome(sees: Any, seen: Any) -> tuple[str, str] | None:
    """Return of what kind the failure is, and its details; None where langchain-core's terms are met."""
    calls, error = wire_faults.calls, seen.error
    if isinstance(sees, wire_faults.fault.Answer):
        if error is not None:
            return "error instead of the answer", calls.short(error)
        differences = ", ".join(calls.differences(sees, seen.message))
        return ("wrong answer", differences) if differences else None
    if error is None:
        return "error passed over", calls.short(seen.message)
    if not isinstance(error, core.ModelError):
        return "error without a class of langchain-core", calls.short(error)
    classes: tuple[type[Exception], ...] = (core.ModelError,)
    if sees.named:
        classes = tuple(next(base for base in kind.__mro__ if base.__module__ == core.__name__) for kind in sees.kinds)
    if isinstance(error, classes) and (sees.named or error.is_retryable == sees.kinds[0].is_retryable):
        return None
    return "error of another class of langchain-core", f"{calls.short(error)}, none of {classes}"


def _closing(model: Any, style: str, fault: Any) -> Any:
    seen = wire_faults.calls.call(model, style, fault)
    if isinstance(model, ChatPromptrun):
        model.close()
    return seen


async def _in_time(model: Any, style: str, fault: Any) -> Any:
    await asyncio.sleep(0.005)  # so that HTTP clients see which connections were closed while the loop stood still
    try:
        async with asyncio.timeout(PATIENCE):
            return await wire_faults.calls.acall(model, style, fault)
    except TimeoutError:
        return None
    finally:
        if isinstance(model, ChatPromptrun):
            await model.aclose()


def run_client(name: str, faults: list[Any]) -> None:
    """Try all faults with one client, and print a line of JSON for each."""
    _prepare()
    waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
    for fault in faults:
        waiting.put(fault)
    printing = threading.Lock()

    def report(fault: Any, complaint: Complaint | None) -> None:
        with printing:
            print(json.dumps([fault.name, complaint]), flush=True)

    workers = [Worker(CLIENTS[name], waiting, report) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    sys.stdout.flush()
    os._exit(0)  # callers that hang must not hold this process up


def _prepare() -> None:
    """No tracing, no proxies, and no warnings of peers."""
    for name in list(os.environ):
        if name.startswith(("LANGSMITH_", "LANGCHAIN_", "OPENAI_")) or name.lower().endswith("_proxy"):
            del os.environ[name]
    warnings.simplefilter("ignore")


def run_all(names: list[str], pattern: str) -> dict[str, Complaints]:
    """Run each client in a process of its own; gives the complaints by client."""
    deadline = time.monotonic() + TOTAL_SECONDS
    command = [sys.executable, "-W", "ignore", __file__, "--fault", pattern, "--client"]
    processes = {
        name: subprocess.Popen([*command, name], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for name in names
    }
    found: dict[str, Complaints] = {}
    for name, process in processes.items():
        stop = threading.Timer(max(0.0, deadline - time.monotonic()), process.kill)
        stop.start()
        lines = process.communicate()[0].splitlines()
        stop.cancel()
        found[name] = dict(json.loads(line) for line in lines if line.endswith("]"))
    return found


def failures(done: Complaints, faults: list[Any]) -> dict[str, Complaint]:
    """What a client failed, by the fault's name."""
    found = {fault.name: done.get(fault.name, ("", "not reached in time", "")) for fault in faults}
    return {name: complaint for name, complaint in found.items() if complaint is not None}


def summary(failed: dict[str, dict[str, Complaint]], count: int, *, details: bool) -> Iterator[str]:
    """The table, and below it what each client failed."""
    yield f"{'':16}{'faults':>8}{'passed':>8}{'failed':>8}"
    for name, lost in failed.items():
        yield f"{CLASSES[name]:16}{count:>8}{count - len(lost):>8}{len(lost):>8}"
    for name, lost in failed.items():
        if lost:
            yield f"\n{CLASSES[name]} fails {len(lost)}:"
            yield from _each(lost) if details else _by_kind(lost)


def _by_kind(failed: dict[str, Complaint]) -> Iterator[str]:
    kinds: dict[str, list[str]] = defaultdict(list)
    for name, (_, kind, _) in failed.items():
        kinds[kind].append(name)
    for kind, names in sorted(kinds.items(), key=lambda item: -len(item[1])):
        text = f"{kind} ({len(names)}): {', '.join(names)}"
        yield fill(text, 118, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)


def _each(failed: dict[str, Complaint]) -> Iterator[str]:
    for name, (style, kind, text) in failed.items():
        yield f"  {name}, {style}: {kind}: {' '.join(text.split())}"


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description="Count the wire faults that ChatPromptrun and its peers get right.")
    parser.add_argument("--only", action="append", choices=CLIENTS, help="a client; may be repeated")
    parser.add_argument("--fault", default="", help="only faults whose names hold this text")
    parser.add_argument("--details", action="store_true", help="show what was seen")
    parser.add_argument("--client", choices=CLIENTS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    faults = [fault for fault in wire_faults.FAULTS if arguments.fault in fault.name]
    if arguments.client:
        run_client(arguments.client, faults)
    names = [name for name in arguments.only or CLIENTS if name == "promptrun" or find_spec(f"langchain_{name}")]
    start = time.monotonic()
    found = run_all(names, arguments.fault)
    failed = {name: failures(done, faults) for name, done in found.items()}
    print("\n".join(summary(failed, len(faults), details=arguments.details)))
    print(f"\n{time.monotonic() - start:.0f} s")
    return int(bool(failed.get("promptrun")))


if __name__ == "__main__":
    sys.exit(main())
