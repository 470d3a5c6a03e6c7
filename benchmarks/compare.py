"""Measure two trees of this project in one run, in turn, beside langchain-core, the wire and ChatOpenAI.

    python benchmarks/compare.py TREE [--rounds 15] [--only ROW] [--json FILE]

TREE is the root of an older state, such as a `git worktree`. Each tree has a process of its own, and so have the
others; they run one after the other, round after round. Printed are medians of CPU microseconds a chunk, event, call
or model.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import answers
import clients
import server
from measures import cpu_seconds, drain
from streams import Tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_COUNT = 2_000
_CALLS = 70
_AT_ONCE = 1_000
_MICROSECONDS = 1e6
_HERE = Path(__file__).parent
_CLIENTS = {"promptrun": clients.promptrun, "openai": clients.openai}
_IMPORT = (
    "import time, langchain_core.language_models.chat_models, httpx\n"
    "start = time.process_time()\n"
    "from langchain_{} import {}\n"
    "print((time.process_time() - start) * 1e6)"
)
_CLASSES = {"promptrun": "ChatPromptrun", "openai": "ChatOpenAI"}


class Rows:
    """What one client does, by the names of `ROWS`; each gives how many things it did."""

    def __init__(self, name: str, url: str, loop: asyncio.Runner) -> None:
        make = _CLIENTS[name]
        self._make, self._url, self._loop = partial(make, url), url, loop
        over = (
            (lambda url, kind: make(url, async_transport=kind)) if name == "promptrun" else (lambda url, _: make(url))
        )
        self._aiohttp, self._httpx = over(f"{url}/whole", "aiohttp"), over(f"{url}/whole", "httpx")
        self._whole, self._tools = make(f"{url}/whole"), make(f"{url}/tools/{_COUNT}")
        self._text = over(f"{url}/text/{_COUNT}", "aiohttp")

    def stream(self) -> int:
        return drain(self._text.stream(clients.QUESTION))

    def stream_tool_calls(self) -> int:
        return drain(self._tools.stream(clients.QUESTION))

    def astream(self) -> int:
        async def read() -> int:
            return len([None async for _ in self._text.astream(clients.QUESTION)])

        return self._loop.run(read())

    def events(self) -> int:
        return drain(self._text.stream_events(clients.QUESTION, version="v3"))

    def events_with_a_token_handler(self) -> int:
        return drain(self._text.stream_events(clients.QUESTION, {"callbacks": [Tokens()]}, version="v3"))

    def invoke(self) -> int:
        for _ in range(_CALLS):
            self._whole.invoke(clients.QUESTION)
        return _CALLS

    def ainvoke_1000_over_aiohttp(self) -> int:
        return self._at_once(self._aiohttp, _AT_ONCE)

    def ainvoke_10_over_httpx(self) -> int:
        return sum(self._at_once(self._whole, 10) for _ in range(10))

    def construction(self) -> int:
        for _ in range(_CALLS):
            self._make()
        return _CALLS

    def _at_once(self, model: Any, times: int) -> int:
        async def ask() -> int:
            return len(await asyncio.gather(*(model.ainvoke(clients.QUESTION) for _ in range(times))))

        return self._loop.run(ask())


ROWS = tuple(name for name in vars(Rows) if not name.startswith("_"))


_NOT_OF_CORE = ("construction", "import")


class FromMemory(Rows):
    """langchain-core alone, but for construction."""

    def __init__(self, url: str, loop: asyncio.Runner) -> None:
        super().__init__("promptrun", url, loop)
        self._text = clients.from_memory(f"{url}/text/{_COUNT}", "text", _COUNT)
        self._tools = clients.from_memory(f"{url}/tools/{_COUNT}", "tools", _COUNT)
        self._whole = self._aiohttp = clients.result_from_memory(f"{url}/whole")


def work(name: str, url: str) -> None:
    """Run one round of each row that is asked for on standard input."""
    with asyncio.Runner() as loop:
        rows = FromMemory(url, loop) if name == "core" else Rows(name, url, loop)
        gc.collect()
        gc.freeze()
        for line in sys.stdin:
            did: list[int] = []
            run: Callable[[], int] = getattr(rows, line.strip())
            seconds = cpu_seconds(lambda run=run, did=did: did.append(run()))
            print(seconds / did[0] * _MICROSECONDS, flush=True)


class Worker:
    """A process that measures one client of one tree."""

    def __init__(self, client: str, tree: Path, url: str) -> None:
        self._client = client
        self._environment = os.environ | {"PYTHONPATH": str(tree)}
        self._environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package is compiled once
        command = [sys.executable, __file__, str(tree), "--worker", client, "--url", url]
        self._process = subprocess.Popen(
            command, env=self._environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def measure(self, row: str) -> float:
        """Run one round of a row."""
        assert self._process.stdin
        assert self._process.stdout
        print(row, file=self._process.stdin, flush=True)
        return float(self._process.stdout.readline())

    def imported(self) -> float:
        """Import the package in a process of its own."""
        code = _IMPORT.format(self._client, _CLASSES[self._client])
        found = subprocess.run([sys.executable, "-c", code], env=self._environment, capture_output=True, check=True)
        return float(found.stdout)

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def figures(workers: dict[str, Worker], rows: Iterable[str], rounds: int) -> Iterator[tuple[str, dict[str, float]]]:
    """Measure row after row, each in rounds of all workers."""
    for row in rows:
        samples: dict[str, list[float]] = {name: [] for name in workers}
        for number in range(rounds + 1):
            for name, worker in workers.items():
                # the slow ones in every third round; the first round warms up
                if (name == "core" and row in _NOT_OF_CORE) or (name == "openai" and number % 3 != 1):
                    continue
                cost = worker.imported() if row == "import" else worker.measure(row)
                samples[name] += [cost] if number else []
        yield row, {name: median(costs) for name, costs in samples.items() if costs}


def main() -> None:
    """Compare, or be one of the processes."""
    parser = argparse.ArgumentParser(description="Measure two trees of this project in one run.")
    parser.add_argument("tree", type=Path, help="the root of the older tree")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", action="append", choices=(*ROWS, "import"), help="a row; may be repeated")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(arguments.worker, arguments.url)
        return
    start = time.monotonic()
    with server.running() as url:
        trees = {"before": arguments.tree.resolve(), "now": _HERE.parent}
        workers = {name: Worker("promptrun", tree, url) for name, tree in trees.items()}
        workers |= {name: Worker(name, _HERE.parent, url) for name in ("core", "openai")}
        table: dict[str, dict[str, float]] = {}
        for row, costs in figures(workers, arguments.only or (*ROWS, "import"), arguments.rounds):
            table[row] = costs | {"now / before": costs["now"] / costs["before"]}
            print(f"{row:29}", *(f"{name} {cost:9.2f}" for name, cost in table[row].items()), flush=True)
        for worker in workers.values():
            worker.close()
    print(f"{answers.MODEL}: {time.monotonic() - start:.0f} s", file=sys.stderr)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(table, indent=2) + "\n")


if __name__ == "__main__":
    main()
