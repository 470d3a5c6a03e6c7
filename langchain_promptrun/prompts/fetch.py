"""Requests for managed prompts, sent on the background thread over the transport that models use."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import weakref
from contextlib import aclosing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from langchain_promptrun.errors import PromptrunError, PromptrunNotFoundError
from langchain_promptrun.prompts.record import EventStreamReader, RecordReader

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
    from types import TracebackType

    from pydantic import SecretStr

    from langchain_promptrun._http.request import Request
    from langchain_promptrun._http.transport import Transport
    from langchain_promptrun.prompts.record import PromptRecord

_NOT_FOUND = "Check the project id, and that its prompt has this tag or version."
_OTHER_LOOP = (
    "{}: `http_async_client` is bound to another event loop, and prompts are fetched on a thread with an event loop of "
    "its own. Give the prompt an `http_client`, or an `http_async_client` of its own that nothing else uses."
)


class Caught:
    """Keeps the exception of a block, but for the end of a task."""

    def __init__(self, kind: type[BaseException] = Exception) -> None:
        self._kind = kind
        self.error: BaseException | None = None

    def __enter__(self) -> None:
        """Nothing was caught yet."""

    def __exit__(self, _: object, error: BaseException | None, trace: TracebackType | None) -> bool:
        if not isinstance(error, self._kind) or isinstance(error, asyncio.CancelledError | GeneratorExit):
            return False
        # the frames of a request hold the key
        self.error = error.with_traceback(None) if isinstance(error, PromptrunError) else error
        return True


def is_async(function: Callable[..., object]) -> bool:
    """Return whether a call of the function must be awaited."""
    while isinstance(function, partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


class Callbacks:
    """Keeps the caller's functions, which the background thread refers to weakly.

    A function may be a method of the object that holds the prompt. A request that kept the function would keep the
    prompt, and so would never see its end.
    """

    __slots__ = ("__weakref__", "api_key", "on_change")

    def __init__(self, api_key: Any, on_change: Any = None) -> None:
        self.api_key = api_key
        self.on_change = on_change


class PromptSource:
    """Fetches the record of one prompt, on the background thread's event loop.

    Args:
        request: The request; a key that is a function is taken from the callbacks.
        transport: What to send over.
        label: Name of the prompt in errors and logs.
        callbacks: Keeps the function for the key.
        client: Which of the caller's clients the transport uses: `sync`, `async`, or None.
        max_event_bytes: Largest record, in bytes.
    """

    def __init__(
        self,
        request: Request,
        transport: Transport,
        label: str,
        callbacks: Callbacks,
        *,
        client: str | None,
        max_event_bytes: int,
    ) -> None:
        self.label = label
        self.address = request.url
        self._transport = transport
        self._client = client
        self._max_event_bytes = max_event_bytes
        self._ask_for_key = partial(_ask_for_key, weakref.ref(callbacks)) if callable(request.api_key) else None
        self._request = request
        if self._ask_for_key is not None:
            self._request = dataclasses.replace(request, api_key=self._ask_for_key)

    async def fetch(self) -> PromptRecord:
        """Fetch the record; a caller's sync client is used on a worker thread."""
        reader = partial(RecordReader, max_event_bytes=self._max_event_bytes)
        with self._named():
            if self._client == "sync":
                records = await asyncio.to_thread(self._fetch_in_thread, asyncio.get_running_loop(), reader)
            else:
                records = [record async for record in self._transport.aexchange(self._request, reader)]
        return records[0]

    def _fetch_in_thread(
        self, loop: asyncio.AbstractEventLoop, reader: Callable[..., RecordReader]
    ) -> list[PromptRecord]:
        request = self._request
        if self._ask_for_key is not None:
            request = dataclasses.replace(request, api_key=partial(_result_on, loop, self._ask_for_key))
        return list(self._transport.exchange(request, reader))

    async def stream(self, request: Request, opened: Callable[[], object]) -> AsyncGenerator[PromptRecord]:
        """Yield the records that the server pushes.

        Args:
            request: The request for the stream; its key is that of the prompt.
            opened: Called when the server begins to answer with an event stream.
        """
        request = dataclasses.replace(request, api_key=self._request.api_key)
        reader = partial(EventStreamReader, opened=opened, max_event_bytes=self._max_event_bytes)
        with self._named():
            async with aclosing(self._transport.aexchange(request, reader)) as records:
                async for record in records:
                    yield record

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Name the prompt in errors."""
        try:
            yield
        except PromptrunError as error:
            advice = f"\n{_NOT_FOUND}" if isinstance(error, PromptrunNotFoundError) else ""
            error.args = (f"{self.label}: {error.args[0]}{advice}",)
            raise
        except RuntimeError as error:
            if self._client == "async" and "event loop" in str(error).lower():
                raise RuntimeError(_OTHER_LOOP.format(self.label)) from None
            raise


async def _ask_for_key(callbacks: weakref.ref[Callbacks]) -> str | SecretStr:
    """Ask the caller's function: an async one on this event loop, a plain one in a thread."""
    found = callbacks()
    if found is None:
        raise asyncio.CancelledError("the prompt was collected")
    function: Callable[[], Any] = found.api_key
    del found
    try:
        given = function() if is_async(function) else await asyncio.to_thread(function)
        key: str | SecretStr = await given if inspect.isawaitable(given) else given
    except (SystemExit, KeyboardInterrupt) as error:  # it would end the thread of all prompts
        raise RuntimeError(f"The function for `api_key` raised {error!r}.") from error
    return key


def _result_on(loop: asyncio.AbstractEventLoop, ask: Callable[[], Coroutine[Any, Any, str | SecretStr]]) -> Any:
    return asyncio.run_coroutine_threadsafe(ask(), loop).result()
