"""Errors that a server reports -> exceptions: one table from status to class."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from langchain_promptrun._errors.body import BODY_LIMIT, ErrorBody, read_error, tidy
from langchain_promptrun._errors.context_overflow import is_context_overflow
from langchain_promptrun._errors.documents import error_part, excerpt
from langchain_promptrun._errors.retryable import is_out_of_credit, parse_retry_after
from langchain_promptrun.errors import (
    PromptrunAPIError,
    PromptrunAuthenticationError,
    PromptrunContextOverflowError,
    PromptrunError,
    PromptrunInvalidRequestError,
    PromptrunNotFoundError,
    PromptrunPaymentRequiredError,
    PromptrunPermissionDeniedError,
    PromptrunRateLimitError,
    PromptrunTimeoutError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_SERVER_TEXT_LIMIT = 600
_ID_LIMIT = 100
_FIRST_ERROR, _CLIENT_ERRORS, _SERVER_ERRORS = 300, 400, 500
_PHRASES = {status.value: status.phrase for status in HTTPStatus}

# OpenAI, Anthropic, AWS, Azure and Cloudflare, in the order of preference.
_REQUEST_ID_HEADERS = (
    *("x-request-id", "request-id", "x-amzn-requestid", "apim-request-id", "x-ms-request-id"),
    *("x-correlation-id", "cf-ray"),
)

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
    quota = is_out_of_credit(facts.names)
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
