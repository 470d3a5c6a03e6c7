"""What the tests over real sockets share: the six ways to call a model, and what an answer says."""

import json
import runpy
import signal
import sys
from functools import partial
from typing import NamedTuple

import httpx
import pytest

from langchain_promptrun import ChatPromptrun

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
def answering(over):
    """Make a model whose requests are all answered with a body."""

    def make(body, **fields):
        kind = "application/json" if body.startswith(b"{") else "text/event-stream"
        return over(lambda _: httpx.Response(200, headers={"content-type": kind}, content=body), **fields)

    return make


@pytest.fixture
def ask_in_every_style(talk, answering):
    """Ask in each of the six styles for a given body; return the answers."""

    async def ask(body, **fields):
        return {style: await talk.call(style, answering(body, **fields)) for style in STYLES}

    return ask


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
