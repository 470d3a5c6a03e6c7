"""GET /prompt on a wire without sockets, prompts that ask it, and what tests wait for."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, closing

import httpx

from langchain_promptrun import PromptrunPrompt
from tests.integration.bodies import stream, whole

PROJECT = "d0d52c6e-85ba-4025-a84c-3c99834fe2ac"
THREAD = "promptrun-prompt"
WAIT = 60
"""Seconds after which a test gives up; nothing here is slow unless it hangs."""


async def _pushed(events):
    while isinstance(data := await events.get(), bytes):
        yield data
    if data is not None:
        raise type(data)(str(data))  # the parameter of a test would keep the frames, and the prompt


class PromptWire:
    """Answers with one record, or fails, and as a model; holds answers back while the gate is closed."""

    def __init__(self):
        self.record = {"prompt": "One {{x}}.", "version": 1, "updatedAt": "2025-07-21T04:17:39.294Z"}
        self.record |= {"versionMessage": "first", "project": {"id": PROJECT, "name": "Essays"}, "tag": "prod"}
        self.status = 200
        self.raw = None
        self.headers = {}
        self.requests = []
        self.bodies = []
        self._prompts = []
        self.streams = []
        self.open = []
        self.stream_status, self.stream_type = 200, "text/event-stream"
        self.first_events = []
        self.gate = threading.Event()
        self.gate.set()

    @property
    def count(self):
        return len(self.requests)

    def publish(self, prompt, **more):
        self.record = {**self.record, "prompt": prompt, "version": self.record["version"] + 1, **more}

    def _answer(self):
        if self.raw is not None:
            return httpx.Response(200, content=self.raw)
        if isinstance(self.status, type):
            raise self.status("no answer")
        if self.status == 200:
            return httpx.Response(200, json=self.record)
        return httpx.Response(self.status, headers=self.headers, json={"error": "no"})

    def handle(self, request):
        if request.method == "POST":
            return self._as_model(request)
        self.requests.append(request)
        assert self.gate.wait(60)
        return self._answer()

    async def ahandle(self, request):
        if request.url.path.endswith("/stream"):
            return await self.stream(request)
        if request.method == "POST":
            return self._as_model(request)
        self.requests.append(request)
        await until(self.gate.is_set)
        return self._answer()

    def _as_model(self, request):
        self.bodies.append(json.loads(request.content))
        if b'"stream":true' in request.content:
            events = stream({"content": "Hi "}, {"content": "you."})
            return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=events)
        return httpx.Response(200, content=whole({"content": "Hi you."}))

    async def stream(self, request):
        """Answer GET /prompt/stream with the events that are pushed; without a status, never."""
        self.streams.append(request)
        if self.stream_status is None:
            await asyncio.Event().wait()
        if self.stream_status != 200:
            return httpx.Response(self.stream_status, headers=self.headers, json={"error": "no"})
        if "event-stream" not in self.stream_type.lower():
            return httpx.Response(200, json=self.record)
        events = asyncio.Queue()
        for event in self.first_events:
            events.put_nowait(event)
        self.open.append((asyncio.get_running_loop(), events))
        return httpx.Response(200, headers={"content-type": self.stream_type}, content=_pushed(events))

    def push(self, data):
        """Send bytes to all open streams; None ends them, an error breaks them."""
        for loop, events in self.open:
            loop.call_soon_threadsafe(events.put_nowait, data)
        if not isinstance(data, bytes):
            self.open.clear()

    def push_record(self):
        self.push(b"data: " + json.dumps(self.record).encode() + b"\n\n")

    def pushing(self, **fields):
        return self.prompt(**{"http_client": None, "updates": "push", "refresh": 3600} | fields)

    def connection(self):
        return {
            "api_key": "secret-key",
            "base_url": "https://h.example/v1",
            "max_retries": 0,
            "http_client": httpx.Client(transport=httpx.MockTransport(self.handle)),
            "http_async_client": httpx.AsyncClient(transport=httpx.MockTransport(self.ahandle)),
        }

    def prompt(self, **fields):
        prompt = PromptrunPrompt(**{"project_id": PROJECT, **self.connection(), **fields})
        self._prompts.append(weakref.ref(prompt))
        return prompt

    def close(self):
        self.gate.set()
        for prompt in filter(None, (reference() for reference in self._prompts)):
            prompt.close()


async def pull(colour, prompt):
    return await (asyncio.to_thread(prompt.pull) if colour == "sync" else prompt.apull())


async def close(colour, prompt):
    await (asyncio.to_thread(prompt.close) if colour == "sync" else prompt.aclose())


async def changes(colour, prompt, *arguments, **since):
    """Watch a prompt, in a thread or in this task."""
    if colour == "async":
        async with aclosing(prompt.awatch(*arguments, **since)) as watch:
            async for change in watch:
                yield change
        return
    with closing(prompt.watch(*arguments, **since)) as watch:
        while (change := await asyncio.to_thread(next, watch, None)) is not None:
            yield change


def run_apart(coroutine):
    """Run a coroutine in a thread: the loop of this one is pytest's."""
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(asyncio.run, coroutine).result(WAIT)


async def until(condition, pause=0.002):
    """Wait until something holds, however slow the machine is."""
    end = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < end, "it did not come to hold"
        await asyncio.sleep(pause)


def threads():
    return [thread for thread in threading.enumerate() if thread.name == THREAD]


async def collected(*references):
    """Wait until objects are gone; without any, until no prompt is left that keeps the background thread."""

    def are_gone():
        gc.collect()
        return not threads() if not references else all(reference() is None for reference in references)

    await until(are_gone, pause=0.02)
