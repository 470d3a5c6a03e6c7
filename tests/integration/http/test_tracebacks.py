"""Tracebacks of exceptions that are not ours show neither the key nor headers nor, in our frames, the prompt."""

from __future__ import annotations

import asyncio
import signal
import time

import httpx
import pytest
import rich.traceback
import sentry_sdk

import langchain_promptrun
from langchain_promptrun import ChatPromptrun

from .exchanges import HALF, KINDS, RawServer, pools, whole

KEY = "sk-sentinel-key"
HEADER = "sentinel-in-default-header"
PROMPT = "sentinel-in-prompt"
SECRETS = (KEY, HEADER)


@pytest.fixture
def sentry():
    """Sentry with what it shows of frames by default, without its patches of other packages."""
    events = []

    class Keeping(sentry_sdk.transport.Transport):
        def capture_envelope(self, envelope):
            events.append(envelope.get_event())

    before = sentry_sdk.get_global_scope().client
    sentry_sdk.init(dsn="https://key@sentry.invalid/1", transport=Keeping, default_integrations=False)
    yield events
    sentry_sdk.get_global_scope().set_client(before)


PHASES = {
    "before the head": [RawServer.HOLD],
    "in the body": [HALF, RawServer.HOLD],
    "before a retry": [whole(b"{}", "retry-after: 30", status=429)],
    "while the body goes out": [],
}


@pytest.fixture(params=PHASES)
def phase(request, raw_server):
    if not PHASES[request.param]:
        raw_server.take_nothing()
    raw_server.answer(*PHASES[request.param])
    return request.param


def model_for(server, phase, **options):
    prompt = PROMPT * (150_000 if phase == "while the body goes out" else 1)
    model = ChatPromptrun(
        model="openai/gpt-4o", api_key=KEY, base_url=server.url, default_headers={"X-Own": HEADER}, **options
    )
    return model, prompt


def shown_by_rich(error):
    trace = rich.traceback.Traceback.extract(type(error), error, error.__traceback__, show_locals=True)
    shown = [node for stack in trace.stacks for frame in stack.frames for node in (frame.locals or {}).values()]
    return "".join(node.render() for node in shown)


def below_langchain(event):
    """The locals of all frames but the caller's and langchain-core's, which hold the prompt for long."""
    frames = [frame for value in event["exception"]["values"] for frame in value["stacktrace"]["frames"]]
    room = f"{langchain_promptrun.__name__}._http"
    ours = (room, "httpx", "httpcore", "h11", "aiohttp", "httpx_aiohttp")
    return [frame.get("vars") for frame in frames if frame["module"].startswith(ours)]


def assert_clean(error, sentry):
    sentry_sdk.capture_exception(error)
    event = sentry.pop()
    shown = shown_by_rich(error)
    # Lists, as pytest takes minutes to explain a failed `in` on megabytes.
    assert [secret for secret in SECRETS if secret in repr(event) or secret in shown] == []
    assert [frame for frame in below_langchain(event) if PROMPT in repr(frame)] == []
    assert "exchange" in repr(event)


def test_traceback_of_a_signal_in_a_sync_call_holds_no_secret(raw_server, phase, sentry, alarm):
    def handler(number, frame):
        raise ZeroDivisionError  # as Celery's soft time limit raises an exception of its own

    model, prompt = model_for(raw_server, phase)
    httpx.create_ssl_context()  # so that the call does not spend its time with imports and certificates
    model._held()._shared_pool().client()
    alarm(handler)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    with pytest.raises(ZeroDivisionError) as caught:
        model.invoke(prompt)
    assert_clean(caught.value, sentry)
    model.close()


@pytest.mark.parametrize("how", ["timeout", "wait_for"])
@pytest.mark.parametrize("kind", KINDS)
async def test_traceback_of_a_timeout_around_an_async_call_holds_no_secret(raw_server, phase, sentry, kind, how):
    model, prompt = model_for(raw_server, phase, async_transport=kind)
    await asyncio.to_thread(pools.process.factory, model._held()._shared_pool()._key)

    async def call():
        if how == "wait_for":
            return await asyncio.wait_for(model.ainvoke(prompt), 0.2)
        async with asyncio.timeout(0.2):
            return await model.ainvoke(prompt)

    began = time.monotonic()
    with pytest.raises(TimeoutError) as caught:
        await call()
    assert time.monotonic() - began < 4
    assert_clean(caught.value, sentry)
    await model.aclose()
