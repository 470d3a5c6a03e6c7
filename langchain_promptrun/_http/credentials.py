"""Ask for the API key of one attempt.

A key may be a function, plain or async, that is asked at each attempt, so that keys can rotate. A plain function never
runs on an event loop. What such a function raises goes to the caller as it is.
"""

from __future__ import annotations

import asyncio
import inspect
import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from pydantic import SecretStr

from langchain_promptrun.errors import PromptrunAuthenticationError

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from langchain_promptrun._http.request import ApiKey

_KEY = re.compile(r"(?!['\"])[!-~]+(?<!['\"])")


def current_key(source: ApiKey | None) -> SecretStr | None:
    """Return the key for a sync call; None for a server that needs none."""
    if source is None or isinstance(source, (SecretStr, str)):
        return None if source is None else _checked(source)
    given = source()
    return _checked(_run(given) if inspect.isawaitable(given) else given)


async def current_key_async(source: ApiKey | None) -> SecretStr | None:
    """Async version of `current_key`; a plain function runs in a thread."""
    if source is None or isinstance(source, (SecretStr, str)):
        return None if source is None else _checked(source)
    if inspect.iscoroutinefunction(source) or inspect.iscoroutinefunction(type(source).__call__):
        given = source()
    else:
        given = await asyncio.to_thread(source)
    return _checked(await given if inspect.isawaitable(given) else given)


def _run(given: Awaitable[object]) -> object:
    """Wait for an async function in a loop of its own; in a thread, where this one has a running loop."""

    async def wait() -> object:
        return await given

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(wait())
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(lambda: asyncio.run(wait())).result()


def _checked(key: object) -> SecretStr:
    secret = SecretStr(key) if isinstance(key, str) else key
    if not isinstance(secret, SecretStr):
        raise TypeError(f"`api_key` must give a string, not {type(key).__name__}.")
    if not secret:
        raise PromptrunAuthenticationError("The API key is empty. Set PROMPTRUN_API_KEY or `api_key`.")
    if not _KEY.fullmatch(secret.get_secret_value()):
        raise PromptrunAuthenticationError(
            "The API key has characters that a key cannot have: spaces, line breaks, quotation marks around it or "
            "letters outside ASCII. "
            "Check PROMPTRUN_API_KEY or the field `api_key`."
        )
    return secret
