"""What a value of a field must be, and errors that say so without showing a secret.

pydantic quotes what it refuses, and for a missing or a contradictory field it quotes all of the input: the key and the
headers in it. Everything here is about values; which field has which check is said where the
fields are. Pure.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from difflib import get_close_matches
from functools import lru_cache
from math import inf
from typing import TYPE_CHECKING, Any

import httpx
from pydantic import SecretStr, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from langchain_promptrun._config.defaults import API_KEY_VARIABLE, BASE_URL_VARIABLE, DefaultUrl, chosen
from langchain_promptrun._http.request import check_headers

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import ValidatorFunctionWrapHandler
    from pydantic_core import ErrorDetails

FourTimeouts = tuple[float | None, float | None, float | None, float | None]
KeySource = Callable[[], str | SecretStr | Awaitable[str | SecretStr]]

SECRETS = frozenset({"api_key", "default_headers", "default_query"})
"""Fields whose values are never shown."""

MORE_PARAMETERS = "Parameters of the request that are not fields go into model_kwargs or extra_body."
"""What to do about a keyword that is no field of a model."""

_HIDDEN = SecretStr("hidden")
_PHASES = 4


def four_timeouts(value: Any) -> FourTimeouts:
    """Take seconds for all phases, an `httpx.Timeout`, four numbers (connect, read, write, pool), or None: no limit."""
    if isinstance(value, httpx.Timeout):
        value = (value.connect, value.read, value.write, value.pool)
    limits = tuple(value) if isinstance(value, list | tuple) else (value,) * _PHASES
    if len(limits) != _PHASES or not all(map(_is_limit, limits)):
        raise ValueError(
            "must be seconds greater than 0, an httpx.Timeout, four such numbers (connect, read, write, pool), or None"
        )
    connect, read, write, pool = (limit if limit is None else float(limit) for limit in limits)
    return connect, read, write, pool


def _is_limit(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < inf)


def checked_url(value: Any, handler: ValidatorFunctionWrapHandler) -> str:
    """Check a base URL; one that nobody chose stays one that nobody chose."""
    url = _checked_url(handler(value))
    return url if chosen(value) else DefaultUrl(url)


@lru_cache(maxsize=64)
def _checked_url(value: str) -> str:
    value = value.strip().rstrip("/")
    try:
        url = httpx.URL(value)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in {"http", "https"} or not url.host:
        raise ValueError(
            "must be an http or https URL such as https://api.promptrun.ai/v1 (it can also come from "
            f"{BASE_URL_VARIABLE})"
        )
    if url.userinfo or "?" in value or "#" in value:
        raise ValueError("must have no user name, password, query or fragment; use api_key and default_query")
    return value


def checked_key(value: Any) -> Any:
    """Take a key as it comes from a file, with its line break, or a function that gives one."""
    if value is None or callable(value) or not chosen(value):
        return value
    key = value.get_secret_value() if isinstance(value, SecretStr) else value
    if not isinstance(key, str):
        raise _refusal("must be a string, or a function that returns one, not {type}", type=type(key).__name__)
    key = key.strip()
    if not key:
        raise _refusal("must not be empty; leave it out to use {variable}", variable=API_KEY_VARIABLE)
    return SecretStr(key)


def checked_headers(headers: dict[str, str] | None) -> dict[str, str] | None:
    """Check that names and values can go into headers."""
    check_headers(headers or {})
    return headers


def checked_header_value(value: str) -> str:
    """Check that a value can go into a header."""
    check_headers({"HTTP-Prompt-Id": value})
    return value


def text_keys(value: Any) -> Any:
    """Take token ids as numbers, which they are everywhere but in JSON's keys."""
    return {str(key): bias for key, bias in value.items()} if isinstance(value, Mapping) else value


def unknown_keyword(title: str, name: str, known: Iterable[str], advice: str = MORE_PARAMETERS) -> ValidationError:
    """Make the error for a keyword that is no field; it names the nearest one."""
    near = get_close_matches(name, sorted(known), n=1)
    problem = _refusal(
        "Unknown keyword `{name}`. {hint}{advice}",
        name=name,
        hint=f"Did you mean `{near[0]}`? " if near else "",
        advice=advice,
    )
    # A misspelt field may be one that holds a secret.
    return ValidationError.from_exception_data(title, [InitErrorDetails(type=problem, loc=(name,), input=_HIDDEN)])


def without_secrets(error: ValidationError) -> ValidationError:
    """Make the same error with nothing in it that must not be shown."""
    return ValidationError.from_exception_data(error.title, [_shown(line) for line in error.errors(include_url=False)])


def _shown(line: ErrorDetails) -> InitErrorDetails:
    facts = {**line.get("ctx", {}), "message": line["msg"]}
    location = line["loc"]
    shown = line["input"]
    if isinstance(shown, Mapping):
        shown = {name: _HIDDEN if name in SECRETS else value for name, value in shown.items()}
    if location and (location[0] in SECRETS or (location[0] == "base_url" and "@" in str(shown))):
        shown = _HIDDEN
    # The type as it was; the text is made already.
    problem = PydanticCustomError(line["type"], "{message}", facts)
    return InitErrorDetails(type=problem, loc=location, input=shown)


def _refusal(template: str, **facts: str) -> PydanticCustomError:
    return PydanticCustomError("value_error", template, facts)
