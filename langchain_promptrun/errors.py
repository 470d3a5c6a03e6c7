"""What can go wrong, as exception classes, and how an answer of the server becomes one of them.

Every class is also the class of `langchain_core.exceptions` for the same condition, so LangChain's retry,
fallback and summarisation middleware treat it rightly. Owns the table from status to class and what a message
says. Pure: it must not do I/O and must not know httpx or asyncio; failures of the connection itself are put into
words in `_failures`.
"""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from langchain_core import exceptions as core

from langchain_promptrun._error_bodies import BODY_LIMIT, ErrorBody, read_error, tidy
from langchain_promptrun._error_documents import error_part, excerpt
from langchain_promptrun._overflow import is_context_overflow
from langchain_promptrun._retry import is_retried_status, parse_retry_after

if TYPE_CHECKING:
    from collections.abc import Mapping

    _CoreRefusalError = core.ModelError
else:
    # langchain-core has the class from 1.7.5 on.
    _CoreRefusalError = getattr(core, "ModelRefusalError", core.ModelError)

_MESSAGE_LIMIT = 1_000
_SERVER_TEXT_LIMIT = 600
_ID_LIMIT = 100
_FIRST_ERROR, _CLIENT_ERRORS, _SERVER_ERRORS = 300, 400, 500
_PHRASES = {status.value: status.phrase for status in HTTPStatus}

# OpenAI, Anthropic, AWS, Azure and Cloudflare, in the order of preference.
_REQUEST_ID_HEADERS = (
    *("x-request-id", "request-id", "x-amzn-requestid", "apim-request-id", "x-ms-request-id"),
    *("x-correlation-id", "cf-ray"),
)
# An empty account answers 429 at OpenAI; waiting does not fill it.
_QUOTA_NAMES = frozenset({"insufficientquota", "insufficientcredits", "insufficientbalance", "billinghardlimitreached"})


class ErrorDetails(TypedDict, total=False):
    """Keyword arguments and attributes of `PromptrunError`, which describes them."""

    status_code: int | None
    code: str | None
    type: str | None
    param: str | None
    request_id: str | None
    retry_after: float | None
    body: str | None
    response: Any
    provider: str | None
    partial: Any
    phase: str | None
    retryable: bool


class PromptrunError(core.ModelError):
    """Base of all errors of this package.

    All attributes may also be given as keyword arguments; they survive pickling and copying. `str(error)` is one
    or two lines, at most 1,000 characters: what the server said, what to do where that is known, and last the
    status and the request id.

    Attributes:
        status_code: The HTTP status, or the status that a code in a 200 body or in a stream stands for.
        code: The server's code for the error, e.g. "context_length_exceeded".
        type: The server's type of the error, e.g. "invalid_request_error".
        param: The request's parameter that is at fault.
        request_id: The server's id of the request, from `x-request-id` and the headers that others use.
        retry_after: Seconds that the server asks to wait.
        body: What the server sent, at most 64 KiB.
        response: The answer as a detached `httpx.Response`: status, headers without cookies, body. No request.
        provider: The vendor behind the gateway, where the gateway names it.
        partial: What had come of the answer before the error.
        phase: Where a time-out struck: "connect", "read", "write" or "pool".
        retryable: Whether this package sends such a request again by itself, up to `max_retries` times, as long as
            nothing of the answer was handed out. `is_retryable` is LangChain's, for the layers above: a read
            time-out is not sent again here, because it may be billed, but a middleware may choose to.
    """

    status_code: int | None = None
    code: str | None = None
    type: str | None = None
    param: str | None = None
    request_id: str | None = None
    retry_after: float | None = None
    body: str | None = None
    response: Any = None
    provider: str | None = None
    partial: Any = None
    phase: str | None = None
    retryable: bool = False

    def __init__(self, message: str = "", **details: Unpack[ErrorDetails]) -> None:
        if unknown := sorted(details.keys() - ErrorDetails.__optional_keys__):
            raise TypeError(f"{type(self).__name__} got unexpected keyword arguments: {', '.join(unknown)}")
        super().__init__(_cut(message, _MESSAGE_LIMIT))
        self.__dict__.update(details)

    def __str__(self) -> str:
        """The message; last the status and the request id, also where they were set after construction."""
        ident = tidy(self.request_id or "", _ID_LIMIT)
        facts = [
            f"status {self.status_code}" if self.status_code and self.status_code >= _FIRST_ERROR else "",
            f"request id: {ident}" if ident else "",
        ]
        trailer = ", ".join(filter(None, facts))
        trailer = f" ({trailer})" if trailer else ""
        message = "".join(map(str, self.args[:1]))
        return _cut(message, _MESSAGE_LIMIT - len(trailer)) + trailer


class PromptrunAuthenticationError(PromptrunError, core.ModelAuthenticationError):
    """The key is missing or wrong (401)."""


class PromptrunPaymentRequiredError(PromptrunError):
    """The account has no credits left (402). LangChain has no class for it; it is not retryable."""


class PromptrunPermissionDeniedError(PromptrunError, core.ModelPermissionDeniedError):
    """The key may not do this (403), or the law forbids it (451)."""


class PromptrunNotFoundError(PromptrunError, core.ModelNotFoundError):
    """There is no such model, prompt or address (404)."""


class PromptrunInvalidRequestError(PromptrunError, core.ModelInvalidRequestError):
    """The request is at fault (400, 405, 413, 415, 422, any other 4xx), or redirected (3xx)."""


class PromptrunContextOverflowError(PromptrunError, core.ContextOverflowError):
    """The input does not fit the model's context, whatever the status. LangChain's summarisation reacts to it."""


class PromptrunRateLimitError(PromptrunError, core.ModelRateLimitError):
    """Too many requests or tokens (429)."""


class PromptrunAPIError(PromptrunError, core.ModelAPIError):
    """The server failed (409, 5xx, 529), or reported an error without saying which."""


class PromptrunResponseError(PromptrunAPIError):
    """An answer came that could not be understood."""


class PromptrunConnectionError(PromptrunError, core.ModelConnectionError):
    """The server could not be reached, or the connection was lost."""

    retryable = True


class PromptrunStreamTruncatedError(PromptrunConnectionError):
    """The answer ended before it was complete; `partial` holds what had come."""


class PromptrunTimeoutError(PromptrunError, core.ModelTimeoutError, TimeoutError):
    """Time ran out here (`phase` says where), or the server says that it did there (408, 504)."""

    def __init__(self, message: str = "", **details: Unpack[ErrorDetails]) -> None:
        # Only before a connection stands is it sure that nothing was asked, and so nothing billed.
        details.setdefault("retryable", details.get("phase") == "connect")
        super().__init__(message, **details)


class PromptrunStreamStalledError(PromptrunTimeoutError):
    """A stream brought no content for `stream_chunk_timeout` seconds; `partial` holds what had come."""


class PromptrunRefusalError(PromptrunError, _CoreRefusalError):
    """The model declined to answer where an answer of a given shape was needed.

    Attributes:
        raw_message: The message that holds the refusal.
    """

    raw_message: Any = None

    def __init__(self, message: str = "", *, raw_message: Any = None, **details: Unpack[ErrorDetails]) -> None:
        super().__init__(message or "The model refused to answer.", **details)
        self.raw_message = raw_message


_CLASSES: dict[int, type[PromptrunError]] = {
    401: PromptrunAuthenticationError,
    402: PromptrunPaymentRequiredError,
    403: PromptrunPermissionDeniedError,
    404: PromptrunNotFoundError,
    408: PromptrunTimeoutError,
    409: PromptrunAPIError,
    429: PromptrunRateLimitError,
    451: PromptrunPermissionDeniedError,
    504: PromptrunTimeoutError,
}
_CREDITS = "Add credits to the Promptrun account: https://app.promptrun.ai."
_ADVICE: dict[type[PromptrunError], str] = {
    PromptrunAuthenticationError: "Check the key: the environment variable PROMPTRUN_API_KEY or the field `api_key`.",
    PromptrunPaymentRequiredError: _CREDITS,
    PromptrunContextOverflowError: "Send fewer or shorter messages, or choose a model with a larger context.",
}


def error_from_status(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    model: str | None = None,
    now: float | None = None,
) -> PromptrunError:
    """Make the error for an answer whose status is not 2xx.

    Args:
        status: The HTTP status.
        headers: The answer's headers, names in lower case.
        body: The answer's decoded body, or its first 64 KiB.
        model: The model that was asked for; a 404 names it.
        now: Seconds since the epoch, for a `Retry-After` that is a date. Default: the clock.

    Returns:
        The error, not raised. Never raises, whatever the server sent.
    """
    text = body[:BODY_LIMIT].decode("utf-8", "replace")
    return _error(status, read_error(text), headers, body=text, model=model, now=now)


def error_from_document(
    document: Any,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    model: str | None = None,
    event: str | None = None,
) -> PromptrunError | None:
    """Make the error that hides in a 200 body or in a stream's event.

    A code in it counts as that status, a known name such as "rate_limit_exceeded" as the status it stands for.

    Args:
        document: The parsed JSON.
        status: The HTTP status of the answer.
        headers: The answer's headers, names in lower case.
        model: The model that was asked for.
        event: The name of the stream's event; all that comes under the name "error" is one.

    Returns:
        The error, not raised, or None when there is none. Never raises, whatever the server sent.
    """
    part = document if event == "error" else error_part(document)
    if part is None and event != "error":
        return None
    facts = read_error(part)
    counted = facts.status or status
    return _error(counted, facts, headers or {}, body=excerpt(document), model=model)


def request_id(headers: Mapping[str, str]) -> str | None:
    """The server's id of a request, from the answer's headers (names in lower case)."""
    found = (tidy(headers.get(name, ""), _ID_LIMIT) for name in _REQUEST_ID_HEADERS)
    return next(filter(None, found), None)


def _error(
    status: int,
    facts: ErrorBody,
    headers: Mapping[str, str],
    *,
    body: str | None,
    model: str | None,
    now: float | None = None,
) -> PromptrunError:
    overflow = is_context_overflow(facts.message, facts.names)
    kind = PromptrunContextOverflowError if overflow else _class_of(status)
    quota = not _QUOTA_NAMES.isdisjoint(facts.names)
    error = kind(
        "\n".join(filter(None, [_said(status, facts), _advice(kind, status, model, quota=quota)])),
        status_code=status,
        code=facts.code,
        type=facts.type,
        param=facts.param,
        request_id=request_id(headers) or facts.request_id,
        retry_after=parse_retry_after(headers, time.time() if now is None else now),
        body=body,
        provider=facts.provider,
        retryable=is_retried_status(status) and not overflow and not quota,
    )
    if quota:
        # No class says so: the status is a rate limit's, the condition is not.
        error.is_retryable = False
    return error


def _class_of(status: int) -> type[PromptrunError]:
    if status in _CLASSES:
        return _CLASSES[status]
    return PromptrunInvalidRequestError if _FIRST_ERROR <= status < _SERVER_ERRORS else PromptrunAPIError


def _said(status: int, facts: ErrorBody) -> str:
    """The server's words and the vendor's name; the status in words where it said nothing."""
    did = "reported an error" if status < _FIRST_ERROR else f"answered {status} {_PHRASES.get(status, '')}".rstrip()
    silence = f"The server {did} without saying why."
    text = tidy(facts.message, _SERVER_TEXT_LIMIT) or silence
    provider = tidy(facts.provider or "", _ID_LIMIT)
    return text if provider in text else f"{text} (provider: {provider})"


def _advice(kind: type[PromptrunError], status: int, model: str | None, *, quota: bool) -> str:
    """What to do, where it is known."""
    if quota:
        return _CREDITS
    if kind is PromptrunNotFoundError and model:
        return f'Check the model id "{tidy(model, _ID_LIMIT)}".'
    if _FIRST_ERROR <= status < _CLIENT_ERRORS:
        return "Redirects are not followed: check `base_url`."
    return _ADVICE.get(kind, "")


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."
