"""How long clients live, who shares them, and what is left behind: nothing."""

from __future__ import annotations

import asyncio
import gc
import sys
import textwrap
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import certifi
import pytest

from langchain_promptrun import ChatPromptrun
from langchain_promptrun.errors import PromptrunTimeoutError

from .conftest import PROXIES
from .exchanges import (
    HALF,
    KINDS,
    OK,
    Lines,
    Timeouts,
    Transport,
    TransportSettings,
    acall,
    call,
    chunk,
    open_files,
    over,
    pools,
    run_script,
    to,
)

kinds = pytest.mark.parametrize("kind", KINDS)
# asyncio says of each unclosed loop that it left sockets open, and closes them
unclosed = pytest.mark.filterwarnings("ignore::ResourceWarning")

# Sharing.


def test_transports_share_connections_and_a_tls_context_where_settings_and_environment_are_equal(
    tls_contexts, raw_server, environment
):
    raw_server.answer(OK)
    files = open_files()
    transports = [over("httpx", max_connections=limit) for limit in (None, None, 5)]

    async def calls():
        for transport in transports:
            await acall(transport, raw_server)

    assert (open_files(), tls_contexts) == (files, [])
    for transport in transports:
        call(transport, raw_server)
    assert raw_server.connections == 2
    asyncio.run(calls())
    assert (raw_server.connections, len(tls_contexts)) == (4, 1)
    for variable, value in (("HTTPS_PROXY", "http://proxy:3128"), ("SSL_CERT_FILE", certifi.where())):
        environment.setenv(variable, value)
        call(over("httpx"), raw_server)
    assert (raw_server.connections, len(tls_contexts)) == (6, 2)


async def test_calls_that_start_together_share_the_loops_client(process, raw_server):
    raw_server.answer(OK)
    transport = over("httpx", max_connections=1)
    await asyncio.gather(*[acall(transport, raw_server) for _ in range(20)])
    assert raw_server.connections == 1
    await transport.aclose()


def test_threads_that_start_together_share_the_client(tls_contexts):
    pool = pools.process.pool(TransportSettings())
    with ThreadPoolExecutor(20) as threads:
        clients = list(threads.map(lambda _: pool.client(), range(20)))
    assert len(set(map(id, clients))) == len(tls_contexts) == 1


# Closing.


def test_last_holder_closes_the_connections_and_opens_others_at_its_next_call(process, raw_server):
    raw_server.answer(OK)
    one, other = Transport(), Transport()
    one.close()
    asyncio.run(one.aclose())
    call(one, raw_server)
    call(other, raw_server)
    one.close()
    one.close()
    assert not raw_server.saw_end(seconds=0.1)
    asyncio.run(other.aclose())  # in a loop without a client
    asyncio.run(other.aclose())
    assert raw_server.saw_end()
    call(other, raw_server)
    del other
    assert raw_server.saw_end()
    assert raw_server.connections == 2


@kinds
async def test_aclose_leaves_what_others_hold_and_has_closed_what_nobody_does_when_it_returns(
    process, raw_server, kind
):
    raw_server.answer(OK)
    one, other = over(kind), over(kind)
    await acall(one, raw_server)
    await acall(other, raw_server)
    await one.aclose()
    await acall(other, raw_server)
    assert raw_server.connections == 1
    await other.aclose()
    assert await asyncio.to_thread(raw_server.saw_end)
    await acall(other, raw_server)
    del other
    assert await asyncio.to_thread(raw_server.saw_end)
    assert raw_server.connections == 2


async def test_cancelling_aclose_is_not_swallowed_and_closes_all(process, raw_server):
    raw_server.answer(partial(threading.Barrier(2).wait, 10), OK)  # so that there are two connections
    transport = over("httpx")
    await asyncio.gather(*[acall(transport, raw_server) for _ in range(2)])
    closing = asyncio.create_task(transport.aclose())
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert await asyncio.to_thread(raw_server.saw_end, 2)


def test_stream_goes_on_though_its_transport_was_closed(process, raw_server):
    more = threading.Event()
    raw_server.answer(HALF, more, chunk(b"ok\n"), b"0\r\n\r\n")
    transport = Transport()
    items = transport.exchange(to(raw_server), Lines)
    assert next(items) == "ok"
    transport.close()
    del transport
    gc.collect()
    more.set()
    assert list(items) == ["ok", "end"]
    assert raw_server.saw_end()


@pytest.mark.parametrize("limit", [{"timeouts": Timeouts(5, 5, 5, 0.1), "max_retries": 2}, {"deadline": 0.1}])
def test_full_pool_is_waited_for_as_long_as_said(single, raw_server, limit):
    raw_server.answer(HALF, raw_server.HOLD)
    _, leave = single.begin(to(raw_server))
    began = time.monotonic()
    with pytest.raises(PromptrunTimeoutError) as caught:
        single.all(to(raw_server, **limit))
    leave()
    # a busy event loop may come to the timer of the call before that of the pool
    assert caught.value.phase == "pool" or "deadline" in limit
    assert time.monotonic() - began < 4
    assert len(raw_server.requests) == 1


# Loops, threads, processes.


@kinds
@pytest.mark.parametrize("threads", [1, 8])
def test_loops_after_and_beside_each_other_leave_nothing_open(process, raw_server, noises, kind, threads):
    raw_server.answer(OK)
    transport = over(kind)
    files = open_files()

    async def main():
        goes_as_its_loop_ends = over(kind, max_connections=9)
        await asyncio.gather(*[acall(each, raw_server) for each in (transport, goes_as_its_loop_ends) * 5])
        await acall(transport, raw_server)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda _: asyncio.run(main()), range(8)))
    assert len(raw_server.requests) == 88
    assert raw_server.saw_end(raw_server.connections)
    assert noises() == []
    assert open_files() <= files


@kinds
def test_transport_that_goes_between_two_runs_of_a_loop_leaves_nothing_open(process, raw_server, noises, kind):
    raw_server.answer(OK)
    for _ in range(2):  # the second finds what the first read from files, and starts no thread
        with asyncio.Runner() as runner:
            transport = over(kind)
            runner.run(acall(transport, raw_server))
            del transport
    assert raw_server.saw_end(2)
    assert noises() == []


@kinds
def test_stream_left_open_as_the_loop_ends_makes_no_noise(process, raw_server, noises, kind):
    raw_server.answer(HALF, raw_server.HOLD)
    transport = over(kind)
    kept = []

    async def main():
        stream = transport.aexchange(to(raw_server), Lines)
        assert await anext(stream) == "ok"
        kept.append(stream)

    for _ in range(3):
        asyncio.run(main())
        assert raw_server.saw_end()
    kept.clear()
    assert noises() == []


@unclosed
@kinds
def test_client_of_a_loop_that_was_just_closed_is_swept_at_the_next_use_or_with_its_transport(
    process, raw_server, noises, kind
):
    """Such a loop gives nobody a chance to close what is open."""
    raw_server.answer(partial(threading.Barrier(2).wait, 10), OK)  # so that each loop has two connections
    transport = over(kind)
    pool = pools.process.pool(TransportSettings(async_transport=kind))
    loops = []

    async def both(transport):
        await asyncio.gather(*[acall(transport, raw_server) for _ in range(2)])

    for _ in range(3):
        loop = asyncio.new_event_loop()
        loop.run_until_complete(both(transport))
        assert pool.loop_client(loop) is not None
        assert all(pool.loop_client(dead) is None for dead in loops)
        loop.close()
        loops.append(loop)
    del transport, pool
    assert noises() == []
    assert raw_server.saw_end(6)


DROPPED = {
    "after calls, with its transport, closed and kept": """
        async def own():
            transport = Transport(TransportSettings(async_transport=kind))
            assert [item async for item in transport.aexchange(request, Lines)] == ["ok", "end"]

        for call in (acall, own) * 3:
            asyncio.new_event_loop().run_until_complete(call())
            gc.collect()
        loops = [asyncio.new_event_loop(), asyncio.new_event_loop()]
        for loop in loops:
            loop.run_until_complete(acall())
        loops[0].close()
    """,
    "with open streams of nest_asyncio": """
        nest_asyncio = importlib.import_module("nest_asyncio")
        for _ in range(4):
            loop = asyncio.new_event_loop()
            nest_asyncio.apply(loop)
            stream = loop.run_until_complete(begin_stream())
            loop = stream = None
        gc.collect()
    """,
    "with streams left in two loops of nest_asyncio, over one connection each": """
        nest_asyncio = importlib.import_module("nest_asyncio")
        transport = Transport(TransportSettings(1, kind))
        for loop in [asyncio.new_event_loop(), asyncio.new_event_loop()]:
            nest_asyncio.apply(loop)
            for _ in range(2):
                loop.run_until_complete(begin_stream())
                gc.collect()
                loop.run_until_complete(asyncio.sleep(0.1))
    """,
    "with open streams, and closed": """
        stream = asyncio.new_event_loop().run_until_complete(begin_stream())
        gc.collect()
        for _ in range(4):
            stream = asyncio.new_event_loop().run_until_complete(begin_stream())
        del stream
        gc.collect()
        loop = asyncio.new_event_loop()
        stream = loop.run_until_complete(begin_stream())
        loop.close()
    """,
    "after Ctrl-C": """
        import signal, threading
        signal.signal(signal.SIGINT, signal.default_int_handler)
        threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        try:
            asyncio.new_event_loop().run_until_complete(wait_for_ever())
        except KeyboardInterrupt:
            gc.collect()
    """,
    "within nest_asyncio": """
        nest_asyncio = importlib.import_module("nest_asyncio")
        async def main():
            nest_asyncio.apply()
            asyncio.run(acall())
            asyncio.get_running_loop().run_until_complete(acall())
        asyncio.run(main())
    """,
    "of uvloop and closed": """
        uvloop = importlib.import_module("uvloop")
        loop = uvloop.new_event_loop()
        loop.run_until_complete(acall())
        loop.close()
        uvloop.run(acall())
    """,
}
HELPERS = """
import gc, importlib, warnings
# asyncio's own words of the loop
warnings.simplefilter("ignore", ResourceWarning)
warnings.simplefilter("ignore", DeprecationWarning)

async def begin_stream():
    items = transport.aexchange(request, Lines)
    await anext(items)
    return items

async def wait_for_ever():
    async for _ in transport.aexchange(request, Lines):
        pass
"""


@pytest.mark.parametrize("case", DROPPED)
@kinds
def test_loop_that_is_dropped_makes_no_noise(raw_server, kind, case):
    """Not when it is collected, and not as the process ends."""
    raw_server.answer(*([HALF, raw_server.HOLD] if "stream" in case or "Ctrl-C" in case else [OK]))
    run_script(raw_server, HELPERS + textwrap.dedent(DROPPED[case]), kind, debug=False)


@unclosed
@kinds
def test_client_of_a_loop_without_hooks_for_generators_is_closed_in_its_loop(process, raw_server, noises, kind):
    """As within nest_asyncio: the garbage collector closes generators at once."""
    raw_server.answer(OK)
    kept = over(kind)

    async def main(transport):
        sys.set_asyncgen_hooks(None, None)
        for _ in range(2):
            await acall(transport, raw_server)

    async def let_go():
        transport = over(kind, max_connections=2)
        await main(transport)
        del transport
        assert await asyncio.to_thread(raw_server.saw_end)

    async def leave_open():
        sys.set_asyncgen_hooks(None, None)
        stream = kept.aexchange(to(raw_server), Lines)
        await anext(stream)
        return stream

    asyncio.run(let_go())
    asyncio.new_event_loop().run_until_complete(main(kept))
    loop = asyncio.new_event_loop()
    stream = loop.run_until_complete(leave_open())
    loop.close()
    del stream, loop
    assert noises() == []
    assert raw_server.saw_end(2)


@unclosed
@kinds
def test_loops_that_are_dropped_unclosed_do_not_pile_up(promptrun_server, kind):
    model = ChatPromptrun(model="openai/gpt-4o", async_transport=kind)
    loops = []
    gc.disable()
    try:
        for _ in range(40):
            loop = asyncio.new_event_loop()
            loop.run_until_complete(model.ainvoke("Hello"))
            loops.append(weakref.ref(loop))
            del loop
        left = [loop for reference in loops if (loop := reference()) is not None]
        assert len(left) < 36
    finally:
        gc.enable()
    for loop in left:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


@kinds
def test_child_process_uses_no_connection_of_its_parents_and_waits_for_no_lock_of_its_threads(raw_server, kind):
    raw_server.answer(OK)
    script = """
    import signal, threading
    from exchanges import io_lock
    call()
    asyncio.run(acall())
    io_lock.seconds = 60
    pool = transport._shared_pool().client().transports[0]
    lock = next(iter(pool._idle.values()))[0].transport._pool._optional_thread_lock
    for take in (lock.__enter__, io_lock.acquire):
        thread = threading.Thread(target=take)
        thread.start()
        thread.join()
    child = os.fork()
    if child:
        lock.__exit__()
    else:
        signal.alarm(20)
        io_lock.acquire()
    call()
    asyncio.run(acall())
    if child:
        assert os.waitpid(child, 0)[1] == 0
        call()
    """
    run_script(raw_server, script, kind)
    assert len(raw_server.requests) == 7
    # the parent's connection, one of each of its loops, and the same for the child
    assert raw_server.connections == 5


def test_fork_starts_afresh_and_leaves_the_parents_connections_alone(process, raw_server):
    raw_server.answer(OK)
    transport = Transport()
    call(transport, raw_server)
    process.forked()
    transport.close()
    gc.collect()
    assert not raw_server.saw_end(seconds=0.2)
    for pool in process._inherited:
        for transport in pool.client().transports:
            transport.close()


@kinds
def test_nothing_blocks_the_event_loop(raw_server, kind):
    """Not even the first call, which needs certificates and modules, and a plain function for the key."""
    raw_server.answer(OK)
    script = """
    import blockbuster, time
    request = to(None, url=url, api_key=lambda: time.sleep(0.01) or "sk-1")
    async def main():
        guard = blockbuster.BlockBuster()
        guard.activate()
        global transport
        transport = Transport(TransportSettings(async_transport=kind))
        await asyncio.gather(*[acall() for _ in range(5)])
        await acall()
        guard.deactivate()
    asyncio.run(main())
    """
    run_script(raw_server, script, kind)


# The environment.


@pytest.mark.parametrize("user", ["", "user:word@"])
def test_proxy_of_the_environment_carries_the_call(environment, raw_server, calls, user):
    raw_server.answer(OK)
    environment.setenv("HTTP_PROXY", raw_server.url.replace("//", f"//{user}"))
    assert calls.all(to(None, url="http://nowhere.invalid/v1")) == ["ok", "end"]
    (sent,) = raw_server.requests
    assert sent.head.startswith(b"POST http://nowhere.invalid/v1 HTTP/1.1")
    assert (b"proxy-authorization: basic " in sent.head.lower()) == bool(user)


BAD_PROXIES = ["socks://user:secret@host", "ftp://secret@host", "http://secret:port", "http://"]


@pytest.mark.parametrize(
    ("name", "value", "kind", "words"),
    [
        *((name, value, ValueError, f"(?i){name}") for name in PROXIES for value in BAD_PROXIES),
        ("ALL_PROXY", "socks5://secret:1080", ImportError, r"ALL_PROXY.*httpx\[socks\]"),
        ("SSL_CERT_FILE", "/nonexistent.pem", ValueError, "SSL_CERT_FILE"),
    ],
)
def test_client_with_an_unusable_environment_blames_the_variable_and_shows_no_secret(
    environment, raw_server, name, value, kind, words
):
    environment.setenv(name, value)
    with pytest.raises(kind, match=words) as caught:
        call(Transport(), raw_server)
    assert "secret" not in str(caught.value)


NOWHERE = "http://nowhere.invalid:3128"


@pytest.mark.parametrize(
    "variables",
    [
        {"HTTP_PROXY": NOWHERE, "NO_PROXY": "other.example, 127.0.0.1"},
        {"HTTP_PROXY": NOWHERE, "NO_PROXY": "*"},
        {"OPENAI_PROXY": "ftp://nonsense", "HTTPS_PROXY": NOWHERE},  # of others, and for other URLs
    ],
)
def test_client_goes_around_the_proxy_where_it_is_not_for_the_host(environment, raw_server, calls, variables):
    raw_server.answer(OK)
    for name, value in variables.items():
        environment.setenv(name, value)
    assert calls.all(to(raw_server)) == ["ok", "end"]


def test_client_without_aiohttp_is_httpxs_unless_aiohttp_is_asked_for(environment, raw_server):
    environment.setitem(sys.modules, "httpx_aiohttp", None)
    raw_server.answer(OK)
    asyncio.run(acall(over("auto"), raw_server))
    with pytest.raises(ImportError, match=r"langchain-promptrun\[aiohttp\]"):
        asyncio.run(acall(over("aiohttp"), raw_server))
