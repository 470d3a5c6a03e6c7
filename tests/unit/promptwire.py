"""GET /prompt on a wire without sockets, and prompts and followers that ask it."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx

from langchain_promptrun import PromptrunPrompt

PROJECT = "d0d52c6e-85ba-4025-a84c-3c99834fe2ac"


class Clock:
    """Stands still until it is moved."""

    now = 1000.0

    def __call__(self):
        return self.now


class _Events(httpx.AsyncByteStream):
    def __init__(self, events):
        self._events = events

    async def __aiter__(self):
        while isinstance(data := await self._events.get(), bytes):
            yield data
        if data is not None:
            raise data


class PromptWire:
    """Answers with one record, or fails; holds answers back while the gate is closed."""

    def __init__(self):
        self.record = {"prompt": "One {{x}}.", "version": 1, "updatedAt": "2025-07-21T04:17:39.294Z"}
        self.record |= {"versionMessage": "first", "project": {"id": PROJECT, "name": "Essays"}, "tag": "prod"}
        self.status = 200
        self.raw = None
        self.headers = {}
        self.requests = []
        self.streams = []
        self.open = []
        self.stream_status, self.stream_type = 200, "text/event-stream"
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
        if self.status == 200:
            return httpx.Response(200, json=self.record)
        return httpx.Response(self.status, headers=self.headers, json={"error": "no"})

    def handle(self, request):
        self.requests.append(request)
        assert self.gate.wait(60)
        return self._answer()

    async def ahandle(self, request):
        if request.url.path.endswith("/stream"):
            return self.stream(request)
        self.requests.append(request)
        await until(self.gate.is_set)
        return self._answer()

    def stream(self, request):
        """Answer GET /prompt/stream with the events that are pushed until `end`."""
        self.streams.append(request)
        if self.stream_status != 200:
            return httpx.Response(self.stream_status, headers=self.headers, json={"error": "no"})
        if self.stream_type != "text/event-stream":
            return httpx.Response(200, json=self.record)
        events = asyncio.Queue()
        self.open.append((asyncio.get_running_loop(), events))
        return httpx.Response(200, headers={"content-type": self.stream_type}, content=_Events(events))

    def push(self, data):
        """Send bytes to all open streams; None ends them, an error breaks them."""
        for loop, events in self.open:
            loop.call_soon_threadsafe(events.put_nowait, data)
        if not isinstance(data, bytes):
            self.open.clear()

    def push_record(self):
        self.push(b"data: " + json.dumps(self.record).encode() + b"\n\n")

    def pushing(self, **fields):
        """A prompt whose changes this wire pushes."""
        return self.prompt(**{"http_client": None, "updates": "push", "refresh": 3600} | fields)

    def prompt(self, **fields):
        """A prompt that asks this wire."""
        known = {
            "project_id": PROJECT,
            "api_key": "secret-key",
            "base_url": "https://h.example/v1",
            "max_retries": 0,
            "http_client": httpx.Client(transport=httpx.MockTransport(self.handle)),
            "http_async_client": httpx.AsyncClient(transport=httpx.MockTransport(self.ahandle)),
        }
        return PromptrunPrompt(**known | fields)


async def pull(colour, prompt):
    """Ask a prompt, in a thread or in this task."""
    return await (asyncio.to_thread(prompt.pull) if colour == "sync" else prompt.apull())


def run_apart(coroutine):
    """Run a coroutine in a thread: the loop of this one is pytest's."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(asyncio.run, coroutine).result(60)


async def until(condition):
    """Wait until something holds, however slow the machine is."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it did not come to hold"
        await asyncio.sleep(0.002)


async def collected(reference):
    """Wait until a weak reference is dead; a thread that has just done its work may hold what it worked on."""

    def is_dead():
        gc.collect()
        return reference() is None

    await until(is_dead)
