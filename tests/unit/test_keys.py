"""The key of an attempt: who gives it, where the giver runs, and what cannot be one."""

from __future__ import annotations

import asyncio
import functools
import threading

import pytest
from pydantic import SecretStr

from langchain_promptrun._http.credentials import current_key, current_key_async
from langchain_promptrun.errors import PromptrunAuthenticationError


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
sources = pytest.mark.parametrize("source", SOURCES, ids=lambda source: getattr(source, "__name__", repr(source)[:25]))


@sources
def test_key_of_a_sync_call(source):
    assert current_key(source).get_secret_value() == "sk-1"


@sources
async def test_key_of_an_async_call(source):
    assert (await current_key_async(source)).get_secret_value() == "sk-1"


@sources
async def test_key_of_a_sync_call_inside_a_running_loop(source):
    assert current_key(source).get_secret_value() == "sk-1"


async def test_plain_function_does_not_run_on_the_loop():
    threads = []

    def source():
        threads.append(threading.current_thread())
        return "sk-1"

    await current_key_async(source)
    assert threads != [threading.current_thread()]


@pytest.mark.parametrize("kind", [PermissionError, KeyError])
@pytest.mark.parametrize("colour", ["sync", "async"])
def test_what_the_function_raises_goes_to_the_caller(kind, colour):
    def source():
        raise kind("mine")

    with pytest.raises(kind, match="mine"):
        current_key(source) if colour == "sync" else asyncio.run(current_key_async(source))


@pytest.mark.parametrize("key", ["sk-1\n", "sk 1", "sk-é", "sk\0", "Bearer sk-1"])
def test_key_that_cannot_go_out_is_refused_without_being_shown(key):
    with pytest.raises(PromptrunAuthenticationError, match="characters") as caught:
        current_key(SecretStr(key))
    assert "sk" not in str(caught.value)


@pytest.mark.parametrize("source", ["", SecretStr(""), lambda: ""])
def test_empty_key_is_refused(source):
    with pytest.raises(PromptrunAuthenticationError, match="PROMPTRUN_API_KEY"):
        current_key(source)


@pytest.mark.parametrize("given", [None, 1, b"sk-1"])
def test_key_that_is_no_string_is_refused_by_its_type(given):
    with pytest.raises(TypeError, match=type(given).__name__):
        current_key(lambda: given)
