"""A model in loops, threads and processes, closed, left early and abandoned: it works and leaves nothing behind."""

import asyncio
import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress

import httpcore
import pytest

from langchain_promptrun import ChatPromptrun
from langchain_promptrun.testing import Fault, Reply

MODEL = "openai/gpt-4o"
ENDLESS = Fault(reply=Reply("word " * 50), after=2, pause=60)
CARRIERS = ["httpx", "aiohttp"]


@pytest.fixture(params=CARRIERS)
def model(request, promptrun_server):
    del promptrun_server
    return ChatPromptrun(model=MODEL, async_transport=request.param)


@pytest.fixture
def single(model):
    """A model whose pool has one connection."""
    return model.model_copy(update={"max_connections": 1, "timeout": (5.0, 5.0, 5.0, 5.0)})


def test_three_hundred_calls_are_under_way_at_once_and_none_waits_for_a_connection(model, promptrun_server):
    go_on = threading.Event()
    promptrun_server.queue(Fault(delay=go_on, times=300))

    async def calls():
        asking = [asyncio.create_task(model.ainvoke(f"Number {number}")) for number in range(300)]
        await asyncio.to_thread(promptrun_server.wait_for_requests, 300, 60)
        assert promptrun_server.in_flight == 300
        go_on.set()
        return [message.text for message in await asyncio.gather(*asking)]

    assert asyncio.run(calls()) == [f"Hello! You said: Number {number}" for number in range(300)]
    assert len(promptrun_server.requests) == 300


def test_closing_a_model_again_and_again_disturbs_none_of_its_calls_and_leaves_nothing(promptrun_server):
    threads = threading.active_count()
    # a pool of its own: what earlier tests left to the garbage collector may hold the usual one
    model = ChatPromptrun(model=MODEL, max_connections=9)
    over = threading.Event()

    def close():
        while not over.is_set():
            model.close()

    closer = threading.Thread(target=close)
    closer.start()
    try:
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda number: model.invoke(f"Number {number}").text, range(60)))
    finally:
        over.set()
        closer.join()
    assert answers == [f"Hello! You said: Number {number}" for number in range(60)]
    assert len(list(model.stream("Hello"))) > 1
    model.close()
    promptrun_server.wait_until(lambda: promptrun_server.open_connections == 0)
    assert threading.active_count() == threads


async def test_aclosing_a_model_again_and_again_disturbs_none_of_its_calls(model, promptrun_server):
    model = model.model_copy(update={"max_connections": 9})

    async def calls():
        return [(await model.ainvoke(f"Number {number}")).text for number in range(10)]

    calling = [asyncio.create_task(calls()) for _ in range(4)]
    while not all(task.done() for task in calling):
        await model.aclose()
        await asyncio.sleep(0)
    for task in calling:
        assert await task == [f"Hello! You said: Number {number}" for number in range(10)]
    await model.aclose()
    await asyncio.to_thread(promptrun_server.wait_until, lambda: promptrun_server.open_connections == 0)


def left_by_break(model):
    for _ in model.stream("Hello"):
        break


def left_by_an_exception(model):
    with suppress(ZeroDivisionError):
        for _ in model.stream("Hello"):
            raise ZeroDivisionError


@pytest.fixture
def no_collector():
    """Whatever is closed was closed without the help of the garbage collector."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def left_by_v3_collection(model):
    stream = model.stream_events("Hello", version="v3")
    next(iter(stream))
    del stream
    gc.collect()


async def aleft_by_break(model):
    async for _ in model.astream("Hello"):
        break


async def aleft_by_a_break_of_v2_events(model):
    async for event in model.astream_events("Hello", version="v2"):
        if event["event"] == "on_chat_model_stream":
            break


async def aleft_by_aclose(model):
    async with aclosing(model.astream("Hello")) as stream:
        await anext(stream)


async def aleft_by_v3_aclose(model):
    stream = await model.astream_events("Hello", version="v3")
    await anext(aiter(stream))
    await stream.aclose()


async def aleft_by_a_client_of_starlette(model):
    """As `docs/troubleshooting.md` says."""
    responses = pytest.importorskip("starlette.responses")
    came = asyncio.Event()

    async def words():
        async with aclosing(model.astream("Hello")) as stream:
            async for chunk in stream:
                yield chunk.text

    async def receive():
        await came.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        if message.get("body"):
            came.set()

    scope = {"type": "http", "asgi": {"spec_version": "2.3"}}  # as uvicorn says
    await responses.StreamingResponse(words())(scope, receive, send)
    assert came.is_set()


async def aleft_by_cancellation_mid_stream(model):
    came = asyncio.Event()

    async def read():
        async for _ in model.astream("Hello"):
            came.set()

    task = asyncio.create_task(read())
    await came.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


LEAVES = [left_by_break, left_by_an_exception, left_by_v3_collection]
ALEAVES = [aleft_by_break, aleft_by_a_break_of_v2_events, aleft_by_aclose, aleft_by_v3_aclose]
ALEAVES += [aleft_by_a_client_of_starlette, aleft_by_cancellation_mid_stream]


@pytest.mark.parametrize("leave", [*LEAVES, *ALEAVES])
@pytest.mark.usefixtures("no_collector")
async def test_a_stream_left_early_is_closed_and_the_next_call_works(single, promptrun_server, leave):
    promptrun_server.queue(ENDLESS)
    left = leave(single)
    if leave in ALEAVES:
        await left
    await asyncio.to_thread(promptrun_server.wait_for_disconnects, 1, 1.0)
    assert single.invoke("Next").text == (await single.ainvoke("Next")).text == "Hello! You said: Next"
    await single.aclose()


@pytest.mark.usefixtures("no_collector")
def test_a_v3_stream_collected_while_httpcore_holds_its_lock_waits_for_no_lock_there(
    single, promptrun_server, monkeypatch
):
    """A wait there would be for ever: here it is an error in what the collector closes."""
    model = single.model_copy(update={"max_connections": None})
    promptrun_server.queue(ENDLESS)
    stream = model.stream_events("Hello", version="v3")
    next(iter(stream))
    del stream
    collecting, waits = set(), []
    assign = httpcore.ConnectionPool._assign_requests_to_connections
    enter = httpcore._synchronization.ThreadLock.__enter__

    def collecting_first(pool):
        collecting.add(threading.get_ident())
        gc.collect()
        collecting.clear()
        return assign(pool)

    def entered(lock):
        if threading.get_ident() in collecting:
            waits.append(lock)
            raise RuntimeError
        return enter(lock)

    monkeypatch.setattr(httpcore.ConnectionPool, "_assign_requests_to_connections", collecting_first)
    monkeypatch.setattr(httpcore._synchronization.ThreadLock, "__enter__", entered)
    assert model.invoke("Next").text == "Hello! You said: Next"
    assert waits == []
    promptrun_server.wait_for_disconnects(1)


async def cancelled_after(turns, call, server, *, again_after=None):
    before = len(server.requests)
    task = asyncio.create_task(call)
    if again_after is not None:
        await asyncio.to_thread(server.wait_for_requests, before + 1)
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    for _ in range(again_after or 0):
        await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_calls_cancelled_at_any_moment_take_no_connection_with_them(single, promptrun_server):
    await single.ainvoke("Hello")
    for turns in range(30):
        for _ in range(2):
            await cancelled_after(turns, single.ainvoke("Hello"), promptrun_server)
    for turns in range(8):
        promptrun_server.queue(ENDLESS)
        await cancelled_after(5, collected(single.astream("Hello")), promptrun_server, again_after=turns)
    assert (await single.ainvoke("Next")).text == "Hello! You said: Next"
    await asyncio.to_thread(promptrun_server.wait_until, lambda: promptrun_server.open_connections <= 1)
    await single.aclose()


async def collected(chunks):
    return [chunk async for chunk in chunks]
