"""Measure what ChatPromptrun costs beside langchain-core and the wire, and beside its peers.

    python benchmarks/run.py            all sections, under three minutes on two cores
    python benchmarks/run.py --quick    little of everything, to see that it works
    python benchmarks/run.py --only calls --only history
    python benchmarks/compare.py TREE   before and after: an older tree beside this one, in one run

The whole run is kept in benchmarks/results.json.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import sys
import time
import warnings
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import server
from calls import calls, history
from clients import PEERS
from footprint import construct, imports
from measures import Bench, Row
from memory import memory
from paced import paced
from streams import events, stream
from table import as_json, as_text

SECTIONS = {
    "stream": stream,
    "events": events,
    "calls": calls,
    "history": history,
    "construct": construct,
    "import": imports,
    "memory": memory,
    "paced": paced,
}
RESULTS = Path(__file__).with_name("results.json")


def main() -> None:
    """Run the sections that were asked for."""
    parser = argparse.ArgumentParser(description="Measure what ChatPromptrun costs, and its peers.")
    parser.add_argument("--quick", action="store_true", help="measure little, only to see that all works")
    parser.add_argument("--only", action="append", choices=SECTIONS, help="a section; may be repeated")
    parser.add_argument("--json", type=Path, help="where to write the figures (default for a whole run: results.json)")
    arguments = parser.parse_args()
    _prepare()
    rows: list[Row] = []
    peers = {name: make for name, make in PEERS.items() if find_spec(f"langchain_{name}")}
    for name in peers:
        import_module(f"langchain_{name}")
    gc.collect()
    gc.freeze()  # what was imported is no client's garbage
    with server.running() as url, asyncio.Runner() as runner:
        bench = Bench(url, arguments.quick, peers, runner)
        for name in arguments.only or SECTIONS:
            start = time.monotonic()
            rows += SECTIONS[name](bench)
            print(f"{name}: {time.monotonic() - start:.0f} s", file=sys.stderr)
        runner.run(bench.stack.aclose())
    print(as_text(rows))
    target = arguments.json or (None if arguments.quick or arguments.only else RESULTS)
    if target is not None:
        target.write_text(json.dumps(as_json(rows), indent=2) + "\n")


def _prepare() -> None:
    """No tracing, no proxies, no warnings of peers in the table, and as many sockets as the system gives."""
    for name in list(os.environ):
        if name.startswith(("LANGSMITH_", "LANGCHAIN_", "OPENAI_")) or name.lower().endswith("_proxy"):
            del os.environ[name]
    warnings.simplefilter("ignore")
    server.raise_open_files()


if __name__ == "__main__":
    main()
