"""Functions of the caller's: which kind they are, and how to reach them without keeping alive what they belong to.

A function may be a method of the object that holds the prompt. A thread or task that kept it would keep the prompt, and
so would never see its end.
"""

from __future__ import annotations

import inspect
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def is_async(function: Callable[..., object]) -> bool:
    """Whether a call of it must be awaited: an async function, or an object whose call is one."""
    while isinstance(function, partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


class Functions:
    """Keeps functions for those who reach them weakly."""

    __slots__ = ("__weakref__", "_kept")

    def __init__(self) -> None:
        self._kept: list[Callable[..., Any]] = []

    def weak(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Make a function of the same kind that keeps nothing alive, and gives None when this object is gone."""
        place = len(self._kept)
        self._kept.append(function)
        reference = weakref.ref(self)

        def call(*args: object) -> Any:
            found = reference()
            return None if found is None else found.kept(place)(*args)

        async def acall(*args: object) -> Any:
            found = reference()
            return None if found is None else await found.kept(place)(*args)

        return acall if is_async(function) else call

    def kept(self, place: int) -> Callable[..., Any]:
        """The function that came in this place."""
        return self._kept[place]
