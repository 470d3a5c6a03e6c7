"""Set-ups of production that once went wrong, for ChatPromptrun and ChatOpenAI: a row of figures each.

    python benchmarks/setups.py                    all of them
    python benchmarks/setups.py threads loops      some

Each runs in a process of its own and is ended after two minutes. `benchmarks/soak.py --setups` runs them, too.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from server import raise_open_files, running

from langchain_promptrun.testing import PromptrunServer, Reply

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from types import TracebackType

SECONDS = 120
PEERS = ("ChatPromptrun", "ChatOpenAI")
LIMIT = "httpx"
DESCRIPTORS = 256


def model_of(peer: str, url: str) -> Any:
    """The model, which never tries twice."""
    if peer == "ChatOpenAI":
        make = import_module("langchain_openai").ChatOpenAI
    else:
        make = import_module("langchain_promptrun").ChatPromptrun
    return make(model="openai/gpt-4o", api_key="k", base_url=url, max_retries=0, timeout=60)


def serve(pipe: Connection) -> None:
    """The server's process."""
    with PromptrunServer(api_key=None, answer=lambda _: Reply("Hi there " * 20)) as server:
        pipe.send(server.base_url)
        pipe.recv()


class Count:
    """Counts calls and failures."""

    def __init__(self) -> None:
        self.calls = 0
        self.failures = 0
        self._lock = threading.Lock()

    def run(self, call: Callable[[], object]) -> None:
        """Make a call."""
        with self:
            call()

    def __enter__(self) -> None:
        """A call begins."""

    def __exit__(self, _: object, error: BaseException | None, trace: TracebackType | None) -> bool:
        if error is not None:
            print(type(error).__name__, str(error)[:80], file=sys.stderr)
        with self._lock:
            self.calls += 1
            self.failures += error is not None
        return isinstance(error, Exception)


def threads(peer: str, _: str, count: Count, number: int = 1000) -> None:
    """Answers of a second for 1,000 threads, twice each; the limit is a bare client of httpx in each thread."""
    with running() as url, ThreadPoolExecutor(number) as pool:
        call = partial(_post, f"{url}/late/1000/chat/completions", threading.local())
        if peer != LIMIT:
            call = partial(model_of(peer, f"{url}/late/1000").invoke, "Hi")
        for _ in range(number):
            pool.submit(lambda: [count.run(call) for _ in range(2)])


def _post(url: str, own: threading.local) -> object:
    if not hasattr(own, "client"):
        own.client = httpx.Client(verify=False, timeout=60)
    body = {"model": "openai/gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}
    return own.client.post(url, json=body).json()


def loops(peer: str, url: str, count: Count) -> None:
    """Three hundred event loops in turn, each dropped unclosed, with 256 descriptors."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    model = model_of(peer, url)
    for _ in range(300):
        count.run(lambda: asyncio.new_event_loop().run_until_complete(model.ainvoke("Hi")))


def preload(peer: str, url: str, count: Count) -> None:
    """A model that was used before three workers were forked, as by gunicorn's --preload."""
    model = model_of(peer, url)
    count.run(lambda: model.invoke("Hi"))
    children = []
    for _ in range(3):
        if not (child := os.fork()):
            own = Count()
            for _ in range(50):
                own.run(lambda: model.invoke("Hi"))
                own.run(lambda: asyncio.run(model.ainvoke("Hi")))
            os._exit(own.failures)
        children.append(child)
    for child in children:
        count.calls += 100
        count.failures += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def consumers(peer: str, url: str, count: Count, number: int = 200) -> None:
    """Two hundred streams at once, whose consumers wait before each of five chunks."""
    model = model_of(peer, url)

    async def one() -> None:
        chunks = 0
        with count:
            async for _ in model.astream("Hi"):
                chunks += 1
                if chunks < 6:
                    await asyncio.sleep(0.2)

    async def main() -> None:
        await asyncio.gather(*[one() for _ in range(number)])

    asyncio.run(main())


APP = """
import os
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from setups import model_of
model = model_of(os.environ["SOAK_PEER"], os.environ["SOAK_URL"])
async def ask(request):
    return PlainTextResponse((await model.ainvoke("Hi")).text)
app = Starlette(routes=[Route("/", ask)])
"""


def uvicorn(peer: str, url: str, count: Count, port: int = 18765) -> None:
    """Six hundred requests to three workers of uvicorn with uvloop."""
    environment = os.environ | {"SOAK_PEER": peer, "SOAK_URL": url, "PYTHONPATH": str(Path(__file__).parent)}
    app = Path(os.environ.get("TMPDIR", "/tmp")) / f"soak_app_{os.getpid()}.py"
    app.write_text(APP)
    environment["PYTHONPATH"] += f":{app.parent}"
    command = ["-m", "uvicorn", f"{app.stem}:app", "--workers", "3", "--loop", "uvloop", "--port", str(port)]
    worker = subprocess.Popen([sys.executable, *command, "--log-level", "error"], env=environment)
    try:
        with httpx.Client(timeout=30, trust_env=False) as client:
            address = f"http://127.0.0.1:{port}/"
            for _ in range(100):
                with suppress(httpx.ConnectError):
                    client.get(address)
                    break
                time.sleep(0.3)
            with ThreadPoolExecutor(30) as pool:
                for _ in range(600):
                    pool.submit(count.run, lambda: client.get(address).raise_for_status())
    finally:
        worker.terminate()
        worker.wait(10)
        app.unlink()


SETUPS = {"threads": threads, "loops": loops, "preload": preload, "consumers": consumers, "uvicorn": uvicorn}


def measure(setup: str, peer: str, url: str) -> dict[str, Any]:
    """Run a set-up in this process."""
    count = Count()
    raise_open_files()
    began, used = time.monotonic(), time.process_time()
    with suppress(OSError):
        SETUPS[setup](peer, url, count)
    spent = time.process_time() - used
    opened = sum(1 for _ in islice(Path("/proc/self/fd").iterdir(), 100_000)) if setup != "loops" else 0
    return {
        "calls": count.calls,
        "failures": count.failures,
        "seconds": round(time.monotonic() - began, 1),
        "cpu": round(1000 * spent / max(count.calls, 1), 2),
        "descriptors": opened,
    }


def run(setup: str, peer: str, url: str) -> dict[str, Any]:
    """Run a set-up in a process of its own."""
    command = [sys.executable, __file__, setup, "--peer", peer, "--url", url]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return {"seconds": f"> {SECONDS}"}
    with suppress(ValueError, IndexError):
        return json.loads(done.stdout.splitlines()[-1]) | {"noise": len(done.stderr.splitlines())}
    return {"seconds": "failed", "noise": len(done.stderr.splitlines())}


def main() -> int:
    """Run the set-ups and print a table."""
    parser = argparse.ArgumentParser(description="Set-ups of production.")
    parser.add_argument("setups", nargs="*", default=list(SETUPS), help=f"any of {', '.join(SETUPS)}")
    parser.add_argument("--peer")
    parser.add_argument("--url")
    given = parser.parse_args()
    if given.url:
        print(json.dumps(measure(given.setups[0], given.peer, given.url)))
        sys.stdout.flush()
        return 0
    context = multiprocessing.get_context("spawn")
    pipe, far_end = context.Pipe()
    server = context.Process(target=serve, args=(far_end,), daemon=True)
    server.start()
    url = pipe.recv()
    columns = ("calls", "failures", "seconds", "cpu", "descriptors", "noise")
    print(f"{'':24}", *[f"{name:>12}" for name in columns])
    failures = 0
    for setup in given.setups:
        for peer in (LIMIT, *PEERS) if setup == "threads" else PEERS:
            row = run(setup, peer, url)
            print(f"{setup:10}{peer:14}", *[f"{row.get(name, '-')!s:>12}" for name in columns], flush=True)
            failures += peer == PEERS[0] and row.get("failures") != 0
    pipe.send("end")
    server.join(5)
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
