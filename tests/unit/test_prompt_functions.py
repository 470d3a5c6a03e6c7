"""Claims of `_prompt_functions`: which functions must be awaited, and functions that keep nothing alive."""

import asyncio
import gc
import inspect
import weakref
from functools import partial

import pytest

from langchain_promptrun.prompts.functions import Functions, is_async


async def wait(*_):
    return "waited"


class AsyncCall:
    async def __call__(self, *_):
        return "waited"


class Call:
    def __call__(self, *_):
        return "called"

    async def method(self):
        return "waited"


@pytest.mark.parametrize("function", [wait, partial(wait, 1), partial(partial(wait, 1), 2), AsyncCall(), Call().method])
def test_these_must_be_awaited(function):
    assert is_async(function)


@pytest.mark.parametrize("function", [print, partial(print, 1), lambda: None, Call(), Call, AsyncCall, str.upper])
def test_these_need_not(function):
    assert not is_async(function)


def test_partials_of_objects_are_looked_into():
    assert is_async(partial(AsyncCall(), 1))


class Owner:
    def __init__(self, *, asynchronous):
        self.functions = Functions()
        self.weak = self.functions.weak(self.aask if asynchronous else self.ask)

    def ask(self, value):
        return value + 1

    async def aask(self, value):
        return value + 1


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_a_weak_function_does_as_the_callers_and_keeps_nothing(asynchronous):
    owner = Owner(asynchronous=asynchronous)
    weak, seen = owner.weak, weakref.ref(owner)

    async def ask():
        given = weak(1)
        return await given if inspect.isawaitable(given) else given

    assert is_async(weak) is asynchronous
    assert await ask() == 2
    del owner
    gc.collect()
    assert seen() is None
    assert await ask() is None


def test_each_function_has_its_own():
    functions = Functions()
    one, two = functions.weak(lambda: 1), functions.weak(lambda: 2)
    assert (one(), two()) == (1, 2)
    assert asyncio.run(functions.weak(wait)()) == "waited"
