"""Waits that calls share after a rate limit, and the limiter that learns what a server bears."""

import asyncio
import pickle
import time

import pytest
from langchain_core.language_models import FakeListChatModel

from langchain_promptrun import AdaptiveRateLimiter, ChatPromptrun, PromptrunRateLimitError, PromptrunTimeoutError
from langchain_promptrun.testing import Fault, RateLimit, Reply

MODEL = "openai/gpt-4o"
WAIT = 0.3


def refusal(wait=WAIT):
    return Fault(status=429, headers={"retry-after": str(wait)})


@pytest.fixture
def model(promptrun_server, request):
    """A model whose calls are held back: one of them was refused."""
    promptrun_server.queue(refusal(getattr(request, "param", WAIT)))
    with pytest.raises(PromptrunRateLimitError):
        ChatPromptrun(model=MODEL, max_retries=0).invoke("Hi")
    return ChatPromptrun(model=MODEL)


held_for_long = pytest.mark.parametrize("model", [10**9], indirect=True)
held_for_a_while = pytest.mark.parametrize("model", [30], indirect=True)
in_both_colours = pytest.mark.parametrize("style", ["invoke", "ainvoke"])


def waited(server):
    return server.requests[1].time - server.requests[0].time


async def test_hold_after_a_refusal_makes_other_calls_wait(promptrun_server, model, call):
    await call(model)
    assert waited(promptrun_server) >= WAIT - 0.01


@held_for_a_while
@pytest.mark.parametrize("other", [{"max_retries": 0}, {"model": "openai/gpt-5"}, {"api_key": "other"}])
def test_hold_is_for_calls_of_one_key_and_model_that_may_retry(promptrun_server, model, other):
    promptrun_server.api_key = None
    ChatPromptrun(**{"model": MODEL} | other).invoke("Hi")
    assert waited(promptrun_server) < 20


@pytest.mark.parametrize(
    ("model", "keywords", "least", "most"),
    [(30, {"max_retry_after": 0.1}, 0, 30), (10**9, {}, 500, 600)],
    indirect=["model"],
)
def test_hold_longer_than_allowed_raises_at_once_and_none_lasts_over_ten_minutes(
    promptrun_server, model, keywords, least, most
):
    with pytest.raises(PromptrunRateLimitError, match=r"Nothing was sent.*max_retry_after.*max_retries=0") as error:
        model.invoke("Hi", **keywords)
    assert least < error.value.retry_after <= most
    assert len(promptrun_server.requests) == 1


@held_for_a_while
@in_both_colours
async def test_hold_longer_than_the_deadline_raises_at_once(promptrun_server, model, call):
    with pytest.raises(PromptrunTimeoutError, match="waiting for its turn"):
        await call(model, deadline=0.1)
    assert len(promptrun_server.requests) == 1


@in_both_colours
async def test_hold_lets_waiting_calls_go_one_by_one_until_their_deadline(promptrun_server, model, call):
    waiting = [asyncio.create_task(model.ainvoke(f"{number}")) for number in range(30)]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    with pytest.raises(PromptrunTimeoutError, match="turn"):
        await asyncio.to_thread(asyncio.run, call(model, "late", deadline=0.3))
    await asyncio.gather(*waiting)
    came = promptrun_server.requests[1:]
    # which of two that are sent in one moment arrives first is for the network to say
    assert {request.body["messages"][0]["content"] for request in came} == {f"{number}" for number in range(30)}
    assert came[-1].time - came[0].time > 0.1


async def test_hold_goes_on_when_a_waiting_call_is_cancelled(promptrun_server, model):
    first, second, third = (asyncio.create_task(model.ainvoke(f"{number}")) for number in range(3))
    await asyncio.sleep(0.05)
    first.cancel()
    second.cancel()
    await third
    assert len(promptrun_server.requests) == 2


@held_for_long
@pytest.mark.parametrize("style", ["invoke", "ainvoke", "stream", "astream"])
async def test_hold_ends_when_the_server_answers_again(model, call):
    waiting = asyncio.create_task(model.ainvoke("Hi", max_retry_after=9_999))
    await asyncio.sleep(0)
    await call(model, max_retries=0)
    await waiting
    model.invoke("Hi")


@held_for_long
async def test_hold_is_not_ended_by_an_answer_to_an_earlier_request(promptrun_server, model):
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    promptrun_server.answer = lambda body: loop.call_soon_threadsafe(asked.set) and Fault(reply=Reply("Hi"), delay=0.2)
    earlier = asyncio.create_task(model.ainvoke("Hi", max_retries=0))
    await asked.wait()
    promptrun_server.queue(refusal(9_999))
    with pytest.raises(PromptrunRateLimitError):
        await model.ainvoke("Hi", max_retries=0)
    await earlier
    with pytest.raises(PromptrunRateLimitError, match="Nothing was sent"):
        model.invoke("Hi")


def test_refusal_for_want_of_credit_holds_nobody(promptrun_server):
    body = {"error": {"message": "Pay.", "code": "insufficient_quota"}}
    promptrun_server.queue(Fault(status=429, headers={"retry-after": "9999"}, body=body))
    limiter = AdaptiveRateLimiter()
    model = ChatPromptrun(model=MODEL, rate_limiter=limiter)
    with pytest.raises(PromptrunRateLimitError, match="Pay"):
        model.invoke("Hi")
    model.invoke("Hi")
    ChatPromptrun(model=MODEL).invoke("Hi")
    assert (limiter.refused, limiter.rate >= 10) == (0, True)


# AdaptiveRateLimiter


async def test_adaptive_rate_limiter_learns_the_rate(promptrun_server):
    promptrun_server.rate_limit = limit = RateLimit(200, burst=10, retry_after=0.1)
    limiter = AdaptiveRateLimiter(initial_rate=50)
    model = ChatPromptrun(model=MODEL, rate_limiter=limiter, max_retries=9)
    await asyncio.gather(*(model.ainvoke("Hi") for _ in range(100)))
    assert (limiter.sent, limiter.refused) == (100 + limit.refused, limit.refused)
    assert (limiter.in_flight, limiter.waiting) == (0, 0)
    assert f"refused={limit.refused}" in repr(limiter)


async def test_adaptive_rate_limiter_holds_a_place_until_the_end(promptrun_server, call):
    promptrun_server.pace = 0.005
    limiter = AdaptiveRateLimiter(initial_rate=1_000, max_concurrency=2)
    model = ChatPromptrun(model=MODEL, rate_limiter=limiter)
    most = []
    promptrun_server.answer = lambda body: most.append(promptrun_server.in_flight)
    await asyncio.gather(*(asyncio.to_thread(asyncio.run, call(model)) for _ in range(6)))
    assert max(most) <= 2
    assert limiter.sent == 6


@in_both_colours
async def test_adaptive_rate_limiter_is_asked_for_retries_and_told_of_refusals(promptrun_server, call):
    promptrun_server.queue(refusal(0.1), Fault(status=503, headers={"retry-after": "0"}))
    limiter = AdaptiveRateLimiter()
    await call(ChatPromptrun(model=MODEL, rate_limiter=limiter), deadline=5)
    assert (limiter.sent, limiter.refused, limiter.in_flight) == (3, 1, 0)
    assert (limiter.rate < 10, limiter.concurrency < 10) == (True, True)


@in_both_colours
async def test_adaptive_rate_limiter_frees_the_place_of_a_stream_that_is_left(promptrun_server, call):
    promptrun_server.queue(Reply("one two three", pace=0.001))
    limiter = AdaptiveRateLimiter(max_concurrency=1)
    model = ChatPromptrun(model=MODEL, rate_limiter=limiter)
    chunks = model.stream("Hi")
    next(chunks)
    with pytest.raises(PromptrunTimeoutError, match="waiting for its turn"):
        await call(model, deadline=0.05)
    assert limiter.in_flight == 1
    chunks.close()
    await call(model)
    assert limiter.in_flight == 0


async def test_adaptive_rate_limiter_lets_calls_go_in_the_loop_over_a_stream(promptrun_server):
    limiter = AdaptiveRateLimiter(initial_rate=1_000)
    model = ChatPromptrun(model=MODEL, rate_limiter=limiter)
    for stream in (model.stream, model.astream):
        limiter.pacer.concurrency = 2
        promptrun_server.queue(refusal(0.01), Reply("one two three", pace=0.001))
        if stream == model.stream:
            for _ in stream("Hi"):
                model.invoke("Hi")
        else:
            async for _ in stream("Hi"):
                await model.ainvoke("Hi")
    assert (limiter.in_flight, limiter.refused) == (0, 2)
    assert len(list(zip(model.stream("Hi"), model.stream("Hi"), strict=False))) > 1


async def test_adaptive_rate_limiter_keeps_to_headers(promptrun_server):
    promptrun_server.rate_limit = RateLimit(20, burst=4, headers=True)
    limiter = AdaptiveRateLimiter(initial_rate=100, lowest_rate=5)
    model = ChatPromptrun(model=MODEL, rate_limiter=limiter)
    await asyncio.gather(*(model.ainvoke("Hi") for _ in range(8)))
    assert limiter.rate < 60


async def test_adaptive_rate_limiter_only_paces_other_models():
    limiter = AdaptiveRateLimiter(initial_rate=20)
    model = FakeListChatModel(responses=["Hi"], rate_limiter=limiter)
    start = time.monotonic()
    for _ in range(3):
        model.invoke("Hello")
        await model.ainvoke("Hello")
    assert time.monotonic() - start > 0.1
    assert (limiter.sent, limiter.in_flight) == (0, 0)


async def test_adaptive_rate_limiter_can_be_asked_without_waiting():
    limiter = AdaptiveRateLimiter(initial_rate=0.5)
    assert limiter.acquire(blocking=False)
    assert not limiter.acquire(blocking=False)
    assert not await limiter.aacquire(blocking=False)
    waiting = asyncio.create_task(limiter.aacquire())
    await asyncio.sleep(0)
    assert not limiter.acquire(blocking=False)
    waiting.cancel()


def test_adaptive_rate_limiter_is_pickled_with_its_settings():
    limiter = pickle.loads(pickle.dumps(AdaptiveRateLimiter(initial_rate=3, max_concurrency=4)))
    assert (limiter.rate, limiter.concurrency) == (3, 4)
