"""Validators of fields, hints for unknown keywords, and errors that show no secret."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from difflib import get_close_matches
from functools import lru_cache
from math import inf
from typing import TYPE_CHECKING, Annotated, Any, Literal

import httpx
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, SecretStr, ValidationError, WrapValidator
from pydantic_core import InitErrorDetails, PydanticCustomError

from langchain_promptrun._config.defaults import API_KEY_VARIABLE, BASE_URL_VARIABLE, DefaultText, chosen, plain_values
from langchain_promptrun._http.request import checked_headers
from langchain_promptrun.data._keywords import FOREIGN, GATEWAY_PARAMETERS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import ValidatorFunctionWrapHandler

FourTimeouts = tuple[float | None, float | None, float | None, float | None]
KeySource = Callable[[], str | SecretStr | Awaitable[str | SecretStr]]

_HIDDEN = SecretStr("hidden")
_PHASES = 4
_QUOTES = "'\"`"
_ROUTE = "/chat/completions"


def four_timeouts(value: Any) -> FourTimeouts:
    if isinstance(value, httpx.Timeout):
        value = (value.connect, value.read, value.write, value.pool)
    limits = tuple(value) if isinstance(value, list | tuple) else (value,) * _PHASES
    if len(limits) != _PHASES or not all(
        limit is None or (isinstance(limit, int | float) and not isinstance(limit, bool) and 0 < limit < inf)
        for limit in limits
    ):
        raise ValueError(
            "must be seconds greater than 0, an httpx.Timeout, four such numbers (connect, read, write, pool), or None"
        )
    connect, read, write, pool = (limit if limit is None else float(limit) for limit in limits)
    return connect, read, write, pool


def _url(value: Any, handler: ValidatorFunctionWrapHandler) -> str:
    url = _checked_url(handler(plain_values(value)))
    return url if chosen(value) else DefaultText(url)


@lru_cache(maxsize=64)
def _checked_url(value: str) -> str:
    value = value.strip().rstrip("/")
    try:
        url = httpx.URL(value)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in {"http", "https"} or not url.host or ".." in f".{url.host}":
        example = "https://api.promptrun.ai/v1"
        raise ValueError(f"must be an http or https URL such as {example} (it can also come from {BASE_URL_VARIABLE})")
    if url.userinfo or "?" in value or "#" in value:
        raise ValueError("must have no user name, password, query or fragment; use `api_key` and `default_query`")
    if value.endswith(_ROUTE):
        raise ValueError(f"must be the root of the API: leave out {_ROUTE}, which each call adds")
    return value


def _checked_key(value: Any) -> Any:
    """Check a key and strip the line break of the file that it comes from; a function is taken as it is."""
    if value is None or callable(value):
        return value
    key = value.get_secret_value() if isinstance(value, SecretStr) else value
    key = key.strip() if isinstance(key, str) else key
    if not isinstance(key, str):
        problem = f"must be a string, or a function that returns one, not {type(key).__name__}"
    elif not key:
        problem = f"must not be empty; leave it out to use {API_KEY_VARIABLE}"
    elif key[0] in _QUOTES or key[-1] in _QUOTES:
        problem = f"has quotation marks around it: remove them (also in {API_KEY_VARIABLE})"
    elif key.lower().startswith("bearer "):
        problem = f"begins with `Bearer`: pass the key alone (also in {API_KEY_VARIABLE})"
    else:
        return SecretStr(key) if chosen(value) else value
    raise ValueError(problem)


def _checked_prompt_id(value: str) -> str:
    return checked_headers({"HTTP-Prompt-Id": value})["HTTP-Prompt-Id"]


Method = Literal["function_calling", "json_schema", "json_mode"]
Key = Annotated[SecretStr | str | KeySource | None, BeforeValidator(_checked_key)]
BaseUrl = Annotated[str, WrapValidator(_url)]
Headers = Annotated[Annotated[dict[str, str], AfterValidator(checked_headers)] | None, BeforeValidator(plain_values)]
Query = Annotated[dict[str, str | int | float | bool] | None, BeforeValidator(plain_values)]
Timeout = Annotated[FourTimeouts | float | httpx.Timeout | None, BeforeValidator(four_timeouts)]
LogitBias = dict[Annotated[str, BeforeValidator(str)], Annotated[float, Field(ge=-100, le=100)]]
PromptId = Annotated[str, Field(min_length=1), AfterValidator(_checked_prompt_id)]


MORE_PARAMETERS = "Parameters of the request that are not fields go into `model_kwargs` or `extra_body`."
"""Advice on a keyword that is unknown to a model."""


def _squeezed(name: str) -> str:
    """Reduce a name to what all styles of writing share: `maxTokens` and `max_tokens` are one."""
    return name.replace("_", "").lower()


_INSTEAD = {_squeezed(name): place for place, names in FOREIGN.items() for name in names.split()}

_NEAR, _NEAR_A_FIELD = 0.7, 0.85  # `temprature` is at 0.95


@lru_cache(maxsize=1024)
def misspelt(name: str, known: frozenset[str]) -> str | None:
    return None if name in GATEWAY_PARAMETERS else _nearest(name, known, _NEAR_A_FIELD)


def _nearest(name: str, known: Iterable[str], cutoff: float) -> str | None:
    """Return the known name that is most like a name; letters in another order count as alike."""
    squeezed = {_squeezed(other): other for other in sorted(known)}
    written = _squeezed(name)
    alike = [other for other in squeezed if sorted(other) == sorted(written)]
    return next((squeezed[other] for other in alike or get_close_matches(written, squeezed, n=1, cutoff=cutoff)), None)


def unknown_keyword(title: str, name: str, known: Iterable[str], advice: str = MORE_PARAMETERS) -> ValidationError:
    if advice == MORE_PARAMETERS and (place := _INSTEAD.get(_squeezed(name))):
        advice = place if place.endswith(".") else f"Use {place}."
    elif advice == MORE_PARAMETERS and name in GATEWAY_PARAMETERS:
        advice = f"Use `model_kwargs={{{name!r}: ...}}`, or pass it to the call."
    elif near := _nearest(name, known, _NEAR):
        advice = f"Did you mean `{near}`? {advice}"
    problem = PydanticCustomError("value_error", "{problem}", {"problem": f"Unknown keyword `{name}`. {advice}"})
    # a misspelt field may be one that holds a secret
    return ValidationError.from_exception_data(title, [InitErrorDetails(type=problem, loc=(name,), input=_HIDDEN)])


def without_secrets(error: ValidationError, secrets: frozenset[str]) -> ValidationError:
    secrets, lines = secrets | {"model_kwargs", "extra_body"}, []  # among whose values may be a key or headers
    for line in error.errors(include_url=False):
        location, shown = line["loc"], line["input"]
        if isinstance(shown, Mapping):
            hides = [
                name for name, value in shown.items() if is_secret(name, value, secrets) or isinstance(value, Mapping)
            ]
            shown = {**shown, **dict.fromkeys(hides, _HIDDEN)}
        # an assignment shows the model, whose text has `model_kwargs`
        if isinstance(shown, BaseModel) or (location and is_secret(location[0], shown, secrets)):
            shown = _HIDDEN
            location = tuple(part for part in location if re.fullmatch(r"[\w-]+", str(part)))
        # the type as it was, with its text made already
        problem = PydanticCustomError(line["type"], "{message}", {**line.get("ctx", {}), "message": line["msg"]})
        lines.append(InitErrorDetails(type=problem, loc=location, input=shown))
    return ValidationError.from_exception_data(error.title, lines)


def is_secret(name: object, value: object, secrets: frozenset[str] = frozenset()) -> bool:
    is_hidden = isinstance(value, SecretStr)
    return name in secrets or (name == "base_url" and (is_hidden or re.search("[@?]", str(value)) is not None))
