"""Each wire fault, in each style of call in which it can occur, over each HTTP client: the caller sees what it is."""

import asyncio
import contextlib
import sys
from collections import Counter
from importlib import import_module
from pathlib import Path

import pytest

from langchain_promptrun import ChatPromptrun

# pytest imports each file on its own; benchmarks/faults.py finds the set in the same way
sys.path.append(str(Path(__file__).parent))
wire_faults = import_module("wire_faults")

pytestmark = pytest.mark.timeout(60)

SYNC, ASYNC = wire_faults.calls.SYNC, wire_faults.calls.ASYNC
EACH = dict.fromkeys(SYNC, ("httpx",)) | dict.fromkeys(ASYNC, ("httpx", "aiohttp"))
ONE = EACH | {"ainvoke": ("aiohttp",), "astream": ("aiohttp",), "av3": ("httpx",)}
CASES = [
    (fault, style, carrier)
    for faults, carriers in ((wire_faults.ON_THE_WIRE, EACH), (wire_faults.IN_THE_CONTENT, ONE))
    for fault in faults
    for style in fault.styles
    for carrier in carriers[style]
    if carrier in fault.clients
]


@pytest.fixture(scope="module")
def world():
    with wire_faults.world.World() as world:
        yield world


def models(world, fault, style, carrier):
    """The model, and before it one whose call goes first, where the fault asks for it."""
    # calls of one key wait together where a server asks one of them to wait
    key = f"{wire_faults.fault.KEY}-{fault.name}-{style}-{carrier}"
    usual = {"model": wire_faults.fault.MODEL, "api_key": key, "timeout": 5.0, "max_retries": 0}
    usual |= {"base_url": world.url(fault.target), "async_transport": carrier}
    usual |= {"default_headers": {"x-own": wire_faults.fault.HEADER}}
    each = [fault.first, fault.model_settings]
    return [ChatPromptrun(**usual | settings) for settings in each if settings is not None]


async def run(world, fault, style, carrier):
    """What the caller sees, and how many requests the server saw before that."""
    calls = wire_faults.calls
    async with contextlib.AsyncExitStack() as stack:
        for model in models(world, fault, style, carrier):
            before = len(world.server.requests)
            await stack.enter_async_context(model)
            seen = await calls.acall(model, style, fault) if style in ASYNC else calls.call(model, style, fault)
    return seen, before


@pytest.mark.parametrize(
    ("fault", "style", "carrier"), CASES, ids=[f"{fault.name}-{style}-{carrier}" for fault, style, carrier in CASES]
)
def test_a_fault_is_seen_for_what_it_is(world, fault, style, carrier):
    world.prepare(fault)
    seen, before = asyncio.run(run(world, fault, style, carrier))
    # whatever happened, no request is left hanging
    world.server.wait_until(lambda: not world.server.in_flight, 10.0, what="the end of all requests")
    seen.requests = world.server.requests[before:]
    assert wire_faults.calls.complaints(fault, style, seen) == []


def test_no_two_faults_have_the_same_name():
    names = Counter(fault.name for fault in wire_faults.FAULTS)
    assert [name for name, count in names.items() if count > 1] == []
    assert len(names) >= 127
