"""Requests for managed prompts, sent over the transport that models use.

Promptrun's page "Prompt API": GET /prompt with `projectId`, and exactly one of `tag` and `version`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import weakref
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from langchain_promptrun._config.call_options import plain_values
from langchain_promptrun._config.request import BASE_HEADERS, caller_headers, key_of
from langchain_promptrun._http.request import Request, Timeouts
from langchain_promptrun.errors import PromptrunError, PromptrunNotFoundError
from langchain_promptrun.prompts.record import RecordReader

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from pydantic import SecretStr

    from langchain_promptrun._config.fields import ConnectionFields
    from langchain_promptrun._http.transport import Transport
    from langchain_promptrun.prompts.record import PromptRecord

_NOT_FOUND = "Check the project id, and that its prompt has this tag or version."
_OTHER_LOOP = (
    "{}: `http_async_client` is bound to another event loop, and prompts are fetched on a thread with an event loop of "
    "its own. Give the prompt an `http_client`, or an `http_async_client` of its own that nothing else uses."
)


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

    def __init__(self, api_key: Any, on_change: Any) -> None:
        self.api_key = api_key
        self.on_change = on_change


class PromptSource:
    """Fetches the record of one prompt, on the background thread's event loop.

    Args:
        fields: How to reach Promptrun.
        transport: What to send over.
        query: Query of GET /prompt.
        label: Name of the prompt in errors and logs.
        callbacks: Keeps the function for the key, where there is one.
    """

    def __init__(
        self,
        fields: ConnectionFields,
        transport: Transport,
        query: dict[str, str | int],
        label: str,
        callbacks: Callbacks,
    ) -> None:
        headers = caller_headers(fields)
        key = key_of(fields, headers)
        self.label = label
        self.base_url = fields.base_url
        self._has_client = fields.http_client is not None
        self._has_async_client = fields.http_async_client is not None and not self._has_client
        if self._has_async_client:
            headers["connection"] = "close"  # the client may be used on another event loop afterwards
        self._transport = transport
        self._ask_for_key = partial(_ask_for_key, weakref.ref(callbacks)) if callable(key) else None
        self._request = Request(
            method="GET",
            url=f"{fields.base_url}/prompt",
            api_key=key if self._ask_for_key is None else self._ask_for_key,
            body=None,
            headers={"user-agent": BASE_HEADERS["user-agent"], "accept": "application/json"} | headers,
            query={**(plain_values(fields.default_query) or {}), **query},
            timeouts=Timeouts(*fields.timeouts),
            max_retries=fields.max_retries,
            max_retry_after=fields.max_retry_after,
        )
        self._reader = partial(RecordReader, max_event_bytes=fields.max_event_bytes)

    async def fetch(self) -> PromptRecord:
        """Fetch the record; a caller's sync client is used on a worker thread."""
        with self._named():
            if self._has_client:
                return await asyncio.to_thread(self._fetch_in_thread, asyncio.get_running_loop())
            (record,) = [record async for record in self._transport.aexchange(self._request, self._reader)]
        return record

    def _fetch_in_thread(self, loop: asyncio.AbstractEventLoop) -> PromptRecord:
        request = self._request
        if (ask := self._ask_for_key) is not None:
            key = partial(_result_on, loop, ask)
            request = dataclasses.replace(request, api_key=key)
        (record,) = self._transport.exchange(request, self._reader)
        return record

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
            if self._has_async_client and "event loop" in str(error).lower():
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
