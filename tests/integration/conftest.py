"""What the tests over real sockets share: the six ways to call a model, and what an answer says."""

import json
import runpy
import signal
import sys
import uuid
from functools import partial
from typing import NamedTuple

import httpx
import pytest

from langchain_promptrun import ChatPromptrun, PromptrunError

from .bodies import stream
from .talk import STYLES, Talk


@pytest.fixture
def talk():
    return Talk()


@pytest.fixture(params=STYLES)
def style(request):
    """Each of the six ways to call a model, or those that a test names."""
    return request.param


@pytest.fixture
def call(talk, style):
    return partial(talk.call, style)


@pytest.fixture
def over():
    def over(respond, kind=ChatPromptrun, **fields):
        transport = httpx.MockTransport(respond)
        clients = {
            "http_client": httpx.Client(transport=transport),
            "http_async_client": httpx.AsyncClient(transport=transport),
        }
        return kind(**{"model": "vendor/name", "api_key": "k3y", **clients, **fields})

    return over


@pytest.fixture
def ask_in_every_style(talk, over):
    """Asks in each of the six styles for a given body; returns the answers or errors, and how often each asked."""

    async def ask(body, status=200, headers=None, **fields):
        kind = "application/json" if body.startswith(b"{") else "text/event-stream"
        asked, answers, counts = [], {}, {}

        def respond(request):
            asked.append(request)
            return httpx.Response(status, headers={"content-type": kind} | (headers or {}), content=body)

        for style in STYLES:
            asked.clear()
            # Waits that a server asks for are remembered for its key.
            model = over(respond, **{"api_key": uuid.uuid4().hex, "max_retries": 2, **fields})
            try:
                answers[style] = await talk.call(style, model)
            except PromptrunError as error:
                answers[style] = error
            counts[style] = len(asked)
        return answers, counts

    return ask


@pytest.fixture
def server_free_model(over):
    def make(body, **fields):
        return over(lambda _: httpx.Response(200, headers={"content-type": "application/json"}, content=body), **fields)

    return make


class Ended(NamedTuple):
    status: int | str | None
    out: str
    err: str


@pytest.fixture
def run_main(monkeypatch, capsys):
    """Run a program in this process; return its exit status or error, and what it printed."""

    def run_main(main, *arguments):
        monkeypatch.setattr(sys, "argv", ["program.py", *map(str, arguments)])
        status = None
        try:
            main()
        except SystemExit as end:
            status = end.code
        return Ended(status, *capsys.readouterr())

    return run_main


@pytest.fixture
def cli(run_main):
    """Run the command line."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield partial(run_main, partial(runpy.run_module, "langchain_promptrun", run_name="__main__"))
    for number, handler in before.items():
        signal.signal(number, handler)


class Wire:
    """Answers as it is asked, whole or streamed, and remembers what came."""

    deltas = ({"content": "Hello"}, {"content": " there."})

    def __init__(self):
        self.requests = []

    @property
    def bodies(self):
        return [json.loads(request.content) for request in self.requests]

    @property
    def body(self):
        (body,) = self.bodies
        return body

    def __call__(self, request):
        self.requests.append(request)
        body = json.loads(request.content)
        about = {"id": "chatcmpl-1", "created": 1715325600, "model": body["model"], "usage": _USAGE}
        if body.get("stream"):
            events = stream(*self.deltas, **about)
            return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=events)
        message = {"role": "assistant", "content": "Hello there."}
        choices = [{"index": i, "message": message, "finish_reason": "stop"} for i in range(body.get("n") or 1)]
        return httpx.Response(200, headers={"x-trace": "t1"}, json={**about, "choices": choices})


_USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5, "prompt_tokens_details": {"cached_tokens": 1}}


@pytest.fixture
def wire():
    return Wire()


@pytest.fixture
def make(wire, over):
    return partial(over, wire)
