"""A call ends at its deadline, whatever it is doing."""

import asyncio
import math
import time

import pytest

from langchain_promptrun import ChatPromptrun, PromptrunAPIError, PromptrunTimeoutError
from langchain_promptrun.testing import Fault, Reply

MODEL = "openai/gpt-4o"
SECONDS = 0.3


@pytest.fixture
def late(call):
    """Call a model, see it raise at the deadline, and return the error."""

    async def late(model, seconds=SECONDS):
        start = time.monotonic()
        with pytest.raises(PromptrunTimeoutError, match=rf"deadline of {seconds} s") as error:
            await call(model, deadline=seconds)
        assert time.monotonic() - start >= seconds - 0.01
        return error.value

    return late


@pytest.mark.parametrize("transport", ["httpx", "aiohttp"])
async def test_deadline_ends_the_wait_for_a_response(promptrun_server, late, transport):
    promptrun_server.queue(Fault(delay=math.inf))
    error = await late(ChatPromptrun(model=MODEL, async_transport=transport))
    assert "waiting for the response" in str(error)
    assert len(promptrun_server.wait_for_requests()) == 1


@pytest.mark.parametrize("fault", [Fault(reply=Reply("one two three"), after=2, pause=math.inf), Reply("one " * 99)])
@pytest.mark.parametrize("style", ["stream", "astream", "events", "aevents"])
async def test_deadline_ends_a_stream_and_keeps_what_had_come(promptrun_server, late, fault):
    promptrun_server.pace = 0.02
    promptrun_server.queue(fault)
    error = await late(ChatPromptrun(model=MODEL), seconds=0.8)
    assert "reading the response" in str(error)
    assert error.partial.startswith("one")


@pytest.mark.parametrize("style", ["stream", "astream"])
async def test_deadline_lets_no_piece_out_late(promptrun_server, style):
    promptrun_server.queue(Reply("one two three four"))
    chunks = getattr(ChatPromptrun(model=MODEL, deadline=SECONDS), style)("Hi")
    assert (next(chunks) if style == "stream" else await anext(chunks)).text
    await asyncio.sleep(SECONDS)
    with pytest.raises(PromptrunTimeoutError, match="reading"):
        assert next(chunks) if style == "stream" else await anext(chunks)


async def test_deadline_begins_no_retry_that_cannot_end_in_time(promptrun_server, call):
    promptrun_server.queue(Fault(status=503, headers={"retry-after": "9"}, times=2))
    with pytest.raises(PromptrunTimeoutError, match="retry") as error:
        await call(ChatPromptrun(model=MODEL), deadline=5)
    assert isinstance(error.value.__cause__, PromptrunAPIError)
    assert len(promptrun_server.requests) == 1


@pytest.mark.parametrize("style", ["ainvoke", "astream"])
async def test_deadline_leaves_earlier_timeouts_as_they_are(promptrun_server, call):
    promptrun_server.queue(Fault(delay=math.inf))
    with pytest.raises(PromptrunTimeoutError) as error:
        await call(ChatPromptrun(model=MODEL, deadline=60, timeout=0.05))
    assert "deadline" not in str(error.value)
