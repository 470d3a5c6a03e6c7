"""Where a managed prompt comes from: the request of GET /prompt, sent through the transport that models use.

Promptrun's page "Prompt API": `projectId`, and exactly one of `tag` and `version`.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from langchain_promptrun._config.request import BASE_HEADERS, caller_headers, key_of
from langchain_promptrun._config.validators import plain_values
from langchain_promptrun._http.request import Request, Timeouts
from langchain_promptrun.errors import PromptrunError, PromptrunNotFoundError
from langchain_promptrun.prompts.functions import is_async
from langchain_promptrun.prompts.record import RecordReader

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_promptrun._config.fields import ConnectionFields
    from langchain_promptrun._http.transport import Transport
    from langchain_promptrun.prompts.functions import Functions
    from langchain_promptrun.prompts.record import PromptRecord

_NOT_FOUND = "Check the project id, and that its prompt has this tag or version."


class Source:
    """Asks for one prompt.

    Args:
        fields: How to reach Promptrun.
        transport: What to send over.
        query: Which prompt: `projectId`, and `tag` or `version`.
        label: What to call the prompt in errors and logs.
        functions: Keeps the key's function, if the key is one; it is not kept here.
    """

    def __init__(
        self,
        fields: ConnectionFields,
        transport: Transport,
        query: dict[str, str | int],
        label: str,
        functions: Functions,
    ) -> None:
        headers = caller_headers(fields)
        key = key_of(fields, headers)
        self.label = label
        self.is_interruptible = fields.http_client is None and fields.http_async_client is None
        """Whether a thread may ask over a connection of its own, in an event loop that can be stopped."""
        self.is_bound_to_loop = fields.http_async_client is not None or (callable(key) and is_async(key))
        """Whether async requests are to stay on the caller's event loop: the client, or what gives the key, may.

        A plain function is asked in a thread in any case.
        """
        self._transport = transport
        self._request = Request(
            method="GET",
            url=f"{fields.base_url}/prompt",
            api_key=functions.weak(key) if callable(key) else key,
            body=None,
            headers={"user-agent": BASE_HEADERS["user-agent"], "accept": "application/json"} | headers,
            query={**(plain_values(fields.default_query) or {}), **query},
            timeouts=Timeouts(*fields.timeouts),
            max_retries=fields.max_retries,
            max_retry_after=fields.max_retry_after,
        )
        self._reader = partial(RecordReader, max_event_bytes=fields.max_event_bytes)

    def fetch(self) -> PromptRecord:
        """Ask.

        Raises:
            PromptrunError: There is no such prompt, or the server cannot be reached.
        """
        with _named(self.label):
            (record,) = self._transport.exchange(self._request, self._reader)
        return record

    async def afetch(self) -> PromptRecord:
        """Ask, from async code.

        Raises:
            PromptrunError: There is no such prompt, or the server cannot be reached.
        """
        with _named(self.label):
            (record,) = [record async for record in self._transport.aexchange(self._request, self._reader)]
        return record


@contextmanager
def _named(label: str) -> Iterator[None]:
    """Say in an error which prompt it is about."""
    try:
        yield
    except PromptrunError as error:
        advice = f"\n{_NOT_FOUND}" if isinstance(error, PromptrunNotFoundError) else ""
        error.args = (f"{label}: {error.args[0]}{advice}",)
        raise
