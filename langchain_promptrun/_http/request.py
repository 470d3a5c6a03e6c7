"""Describe a request, where it goes, and the key of one attempt."""

from __future__ import annotations

import asyncio
import inspect
import ipaddress
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar, cast

import httpx
from pydantic import SecretStr

from langchain_promptrun.errors import PromptrunAuthenticationError

if TYPE_CHECKING:
    from langchain_promptrun._pace import Pacer

T_co = TypeVar("T_co", covariant=True)

ApiKey = str | SecretStr | Callable[[], str | SecretStr | Awaitable[str | SecretStr]]
"""A key, or a function, plain or async, that is asked for it at each attempt."""

logger = logging.getLogger("langchain_promptrun")

# RFC 9110, 5.1 and 5.5, without obs-text: what one client sends as Latin-1, the other sends as UTF-8
_HEADER_NAME = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_HEADER_VALUE = r"(?:[!-~](?:[\t -~]*[!-~])?)?"
_KEY = r"(?!['\"])[!-~]+(?<!['\"])"
_FRAMING_HEADERS = frozenset({"content-length", "transfer-encoding"})


class Timeouts(NamedTuple):
    """Limits of one attempt in seconds, None for no limit; `pool` is the wait for a free connection."""

    connect: float | None = None
    read: float | None = None
    write: float | None = None
    pool: float | None = None


@dataclass(slots=True, eq=False, repr=False)
class Request:
    """What to send, and how long to wait."""

    method: str
    url: str
    body: bytes | None
    headers: Mapping[str, str]  # as `checked_headers` returns them, without Authorization
    api_key: ApiKey | None  # None sends no Authorization header
    timeouts: Timeouts
    query: Mapping[str, object] | None = None
    stream_chunk_timeout: float | None = None  # seconds without content that end a stream; None for no limit
    streamed: bool = True  # whether a stream was asked for; else the stall limit counts only where one comes
    stall_before_first: bool = False  # whether it replaces the read time-out before the first content
    max_retries: int = 2
    max_retry_after: float = 60.0
    model: str | None = None
    deadline: float | None = None  # seconds for the whole call, with retries and their waits; None for no limit
    pacer: Pacer | None = None  # makes attempts wait for their turn; None: only a hold after a refusal does
    under_way: bool = field(default=False, init=False)  # also after an attempt that another's exception ended


class Parser(Protocol[T_co]):
    """Takes a response's decoded bytes and makes items of them."""

    finished: bool  # whether the response is whole, so that nothing more needs to be read
    content_seen: int  # changes when `feed` saw content other than keep-alives

    @property
    def partial(self) -> str:
        """The text so far, for errors."""

    def feed(self, data: bytes) -> Sequence[T_co]:
        """Take the next bytes; raises PromptrunError."""

    def close(self) -> Sequence[T_co]:
        """Take the end, after the last byte or once `finished`; raises PromptrunError."""


ParserFactory = Callable[[int, Mapping[str, str]], Parser[T_co]]
"""Makes the parser of a response, given its 2xx status and its headers (names in lower case)."""


def checked_headers(headers: dict[str, str], source: str = "") -> dict[str, str]:
    """Return headers; raises ValueError or TypeError for one that cannot be sent, without showing its value."""
    for name, value in headers.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError(f"The header {_shown(name)}{source} must be a string and have a string as its value.")
        if not re.fullmatch(_HEADER_NAME, name):
            raise ValueError(f"The header {_shown(name)}{source} has characters in its name that no name may have.")
        if not re.fullmatch(_HEADER_VALUE, value):
            raise ValueError(
                f"The value of the header {_shown(name)}{source} has characters that it may not have. "
                "Use visible ASCII, with spaces and tabs in between."
            )
        if name.lower() in _FRAMING_HEADERS:
            raise ValueError(f"The header {_shown(name)}{source} follows from the body and cannot be set.")
    return headers


def _shown(name: object) -> str:
    """Show a header's name without what may stand behind it, as in "x-key: secret"."""
    return repr(re.split(r"[^\w-]", name)[0] if isinstance(name, str) else type(name))


def target_of(request: Request) -> tuple[httpx.URL, str]:
    """Return the URL of a request, and its origin."""
    url, origin = _parsed(request.url)
    return (url.copy_merge_params(cast("httpx.QueryParams", request.query)) if request.query else url), origin


@lru_cache(maxsize=64)
def _parsed(address: str) -> tuple[httpx.URL, str]:
    """Parse a URL; warn once of one to which the key goes over the network in plain text."""
    url = httpx.URL(address)
    try:
        is_loopback = ipaddress.ip_address(url.host).is_loopback
    except ValueError:
        is_loopback = url.host == "localhost" or url.host.endswith(".localhost")
    if url.scheme == "http" and not is_loopback:
        logger.warning("The API key goes to %s in plain text: use https.", url.host)
    return url, f"{url.scheme}://{url.netloc.decode('ascii')}"


def current_key(source: ApiKey | None) -> SecretStr | None:
    """Return the key for a sync call; None for a server that needs none.

    An async function runs in an event loop of its own, and in a thread: this one may have a running loop.
    """
    if not callable(source):
        return None if source is None else _checked(source)
    given = source()
    if not inspect.isawaitable(given):
        return _checked(given)

    async def wait() -> object:
        return await given

    with ThreadPoolExecutor(1) as threads:
        return _checked(threads.submit(copy_context().run, asyncio.run, wait()).result())


async def current_key_async(source: ApiKey | None) -> SecretStr | None:
    """Async version of `current_key`; a plain function runs in a thread."""
    if not callable(source):
        return None if source is None else _checked(source)
    if inspect.iscoroutinefunction(source) or inspect.iscoroutinefunction(type(source).__call__):
        given: object = source()
    else:
        given = await asyncio.to_thread(_call, source)
    return _checked(await given if inspect.isawaitable(given) else given)


def _call(function: Callable[[], object]) -> object:
    try:
        return function()
    except StopIteration as error:  # asyncio would wait for ever
        raise RuntimeError("The function for `api_key` raised StopIteration.") from error


def _checked(key: object) -> SecretStr:
    secret = SecretStr(key) if isinstance(key, str) else key
    if not isinstance(secret, SecretStr):
        raise TypeError(f"`api_key` must give a string, not {type(key).__name__}.")
    if not secret:
        raise PromptrunAuthenticationError("The API key is empty. Set PROMPTRUN_API_KEY or `api_key`.")
    if not re.fullmatch(_KEY, secret.get_secret_value()):
        raise PromptrunAuthenticationError(
            "The API key has characters that a key cannot have: spaces, line breaks, quotation marks around it or "
            "letters outside ASCII. Check PROMPTRUN_API_KEY or the field `api_key`."
        )
    return secret
