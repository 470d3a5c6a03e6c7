"""The API key of an attempt: what gives it, where that runs, and what cannot be one."""

from __future__ import annotations

import asyncio
import functools
import threading

import pytest
from pydantic import SecretStr

from langchain_promptrun.errors import PromptrunAuthenticationError

from .exchanges import OK, Lines, Transport, acall, call, header, to


def plain():
    return "sk-1"


async def coroutine():
    await asyncio.sleep(0)
    return SecretStr("sk-1")


def plain_giving_an_awaitable():
    return coroutine()


class Caller:
    def __call__(self):
        return SecretStr("sk-1")


class AsyncCaller:
    async def __call__(self):
        return "sk-1"


SOURCES = [
    "sk-1",
    SecretStr("sk-1"),
    plain,
    coroutine,
    plain_giving_an_awaitable,
    functools.partial(coroutine),
    Caller(),
    AsyncCaller(),
]


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: getattr(source, "__name__", repr(source)[:25]))
async def test_key_of_any_source_reaches_the_server(raw_server, source):
    raw_server.answer(OK)
    transport = Transport()
    await acall(transport, raw_server, api_key=source)
    await asyncio.to_thread(call, transport, raw_server, api_key=source)
    call(transport, raw_server, api_key=source)  # in a running loop
    assert [header(sent, "authorization") for sent in raw_server.requests] == ["Bearer sk-1"] * 3
    await transport.aclose()


async def test_key_function_that_is_plain_does_not_run_on_the_loop(raw_server):
    threads = []

    def source():
        threads.append(threading.current_thread())
        return "sk-1"

    raw_server.answer(OK)
    transport = Transport()
    await acall(transport, raw_server, api_key=source)
    assert threads != [threading.current_thread()]
    await transport.aclose()


def refused(raw_server, source, kind):
    """Both colours refuse a key before anything is sent."""

    async def main():
        return [item async for item in Transport().aexchange(to(raw_server, api_key=source), Lines)]

    with pytest.raises(kind) as caught:
        list(Transport().exchange(to(raw_server, api_key=source), Lines))
    with pytest.raises(kind, match=str(caught.value).replace(".", r"\.")):
        asyncio.run(main())
    assert raw_server.requests == []
    return str(caught.value)


@pytest.mark.parametrize("kind", [PermissionError, KeyError])
def test_key_function_raises_to_the_caller(raw_server, kind):
    def source():
        raise kind("mine")

    assert "mine" in refused(raw_server, source, kind)


@pytest.mark.parametrize("key", ["sk-1\n", "sk 1", "sk-é", "sk\0", "Bearer sk-1"])
def test_key_that_cannot_go_out_is_refused_without_being_shown(raw_server, key):
    said = refused(raw_server, SecretStr(key), PromptrunAuthenticationError)
    assert "characters" in said
    assert "sk" not in said


@pytest.mark.parametrize("source", ["", SecretStr(""), lambda: ""])
def test_key_that_is_empty_is_refused(raw_server, source):
    assert "PROMPTRUN_API_KEY" in refused(raw_server, source, PromptrunAuthenticationError)


@pytest.mark.parametrize("given", [None, 1, b"sk-1"])
def test_key_that_is_no_string_is_refused_by_its_type(raw_server, given):
    assert type(given).__name__ in refused(raw_server, lambda: given, TypeError)
