"""Map what a server reports to exceptions, by status or by the document of a 200 answer, and tell which are retried."""

from __future__ import annotations

import json
import re
import time
from contextlib import suppress
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.client import responses
from typing import TYPE_CHECKING, Any

from langchain_promptrun import errors
from langchain_promptrun._errors.body import (
    BODY_LIMIT,
    MESSAGE_KEYS,
    ErrorBody,
    is_account_empty,
    is_context_overflow,
    read_error,
    tidy,
)
from langchain_promptrun._wire.json import JsonScanner

if TYPE_CHECKING:
    from collections.abc import Mapping

NO_CHOICES = "The server's answer has no choices; what came: "
NO_EVENT_HAD_CHOICES = "The stream ended without an answer: no event had choices."
UNFINISHED = "The stream ended before the answer was whole: no finish reason, no [DONE]."
_ID_LIMIT = 100
_FAILED_ENDS = ("error", "network_error")  # OpenRouter's, Zhipu's
# Where words are an error's in a document without choices; those of the other keys may be a fact, such as a title.
_ERROR_KEYS = {*MESSAGE_KEYS} - {
    *("error_description", "status_msg", "base_resp", "header", "description", "reason", "title"),
}
_GOOD_STATES = r"(?:(?!not )\w+ ){0,3}(?:ok|success(?:ful(?:ly)?)?|succeeded|done|completed?|finished|end(?:ed)?)[.!]?"
_CLIENT_ERRORS, _SERVER_ERRORS = range(300, 500), range(500, 600)
_PASSING_CLIENT_ERRORS = frozenset({408, 409, 429})
# not implemented, and the HTTP version not supported: the same request fails again
_LASTING_SERVER_ERRORS = frozenset({501, 505})

# OpenAI, Anthropic, AWS, Azure and Cloudflare, in the order of preference.
_REQUEST_ID_HEADERS = (
    *("x-request-id", "request-id", "x-amzn-requestid", "apim-request-id", "x-ms-request-id"),
    *("x-correlation-id", "cf-ray"),
)
_NUMBER = r"(?a)\s*(\d{1,15}(?:\.\d{0,15})?)\s*"

_CLASSES: dict[int, type[errors.PromptrunError]] = {
    401: errors.PromptrunAuthenticationError,
    402: errors.PromptrunPaymentRequiredError,
    403: errors.PromptrunPermissionDeniedError,
    404: errors.PromptrunNotFoundError,
    408: errors.PromptrunTimeoutError,
    409: errors.PromptrunAPIError,
    429: errors.PromptrunRateLimitError,
    451: errors.PromptrunPermissionDeniedError,
    504: errors.PromptrunTimeoutError,
}
_CHECK_KEY = "Check the key: the environment variable PROMPTRUN_API_KEY or the field `api_key`."
_CREDITS = "Add credits to the Promptrun account: https://app.promptrun.ai."
_ADVICE: dict[type[errors.PromptrunError], str] = {
    errors.PromptrunAuthenticationError: _CHECK_KEY,
    errors.PromptrunPaymentRequiredError: _CREDITS,
    errors.PromptrunContextOverflowError: "Send fewer or shorter messages, or choose a model with a larger context.",
}
_BASE_URL = "Check `base_url`, the root of the API without /chat/completions"


def error_from_status(
    status: int, headers: Mapping[str, str], body: bytes, *, model: str | None = None
) -> errors.PromptrunError:
    """Make the error for a response whose status is not 2xx; never raises, whatever the server sent."""
    text = body[:BODY_LIMIT].decode("utf-8", "replace")
    return _error(status, read_error(text), headers, text, model)


def error_from_document(
    document: Any, status: int, headers: Mapping[str, str], model: str | None = None, *, is_error: bool = False
) -> errors.PromptrunError | None:
    """Make the error that hides in a 200 body or an event, whose code or known name counts as a status; else None."""
    part = document if is_error else _error_part(document)
    if part is None and not is_error:
        return None
    facts = read_error(part)
    return _error(facts.status or status, facts, headers, _excerpt(document), model)


def no_answer(
    document: Any, problem: str, status: int, headers: Mapping[str, str], model: str
) -> errors.PromptrunError:
    """Make the error for JSON or a text without an answer: the one that it says it is, else one with its words."""
    facts = read_error(document)
    error = _error(facts.status or status, facts, headers, _excerpt(document), model)
    if type(error) is not errors.PromptrunAPIError or error.status_code != status:
        return error
    if problem == UNFINISHED and not facts.message:
        return errors.PromptrunStreamTruncatedError(problem)
    if problem == NO_CHOICES:
        shown = sorted(map(str, document)) if isinstance(document, dict) else type(document).__name__
        problem = f"{problem}{shown}"[:400]
    words = "\n".join(filter(None, [tidy(facts.message, 500), problem]))
    details = facts.details | {"status_code": status, "request_id": error.request_id, "body": error.body}
    return errors.PromptrunResponseError(words, **details)


def said_in_place_of_an_end(
    aside: Any, status: int, headers: Mapping[str, str], model: str
) -> errors.PromptrunError | None:
    """Make the error for a stream with `[DONE]` but no finish reason, where words beside the answer tell of one."""
    if isinstance(aside, dict):
        states = (aside.get(key) for key in ("status", "code", "message", "msg"))
        is_fine = any(isinstance(state, str) and re.fullmatch(_GOOD_STATES, state.lower()) for state in states)
        is_fine = is_fine or _is_success(aside) or aside.get("success") is True or bool(aside.get("usage"))
        said = [key for key, value in aside.items() if _says(value)]
        if is_fine or not any(key in _ERROR_KEYS or key.endswith("Exception") for key in said):
            return None
    problem = "The stream ended with these words in place of a finish reason."
    return no_answer(aside, problem, status, headers, model) if read_error(aside).message else None


def not_json(body: bytes, status: int, headers: Mapping[str, str], *, whole: bool) -> errors.PromptrunError:
    text = body[:BODY_LIMIT].decode("utf-8", "replace")
    ends = JsonScanner(body.decode("utf-8", "replace")).ends if whole and body[:1] in {b"{", b"["} else None
    if ends is not None and any(ends):
        return errors.PromptrunStreamTruncatedError("The server's answer ends in the middle of its JSON.")
    said = tidy(read_error(text).message, 200)
    kind = headers.get("content-type", "no content type")
    words = f"The server's answer is not JSON ({kind}): {said}"
    words = f"{words}\n{_BASE_URL}." if "html" in kind.lower() else words
    return errors.PromptrunResponseError(words, status_code=status, request_id=request_id(headers), body=text)


def request_id(headers: Mapping[str, str]) -> str | None:
    """Return the server's id of a request, from the response's headers (names in lower case)."""
    found = (tidy(headers.get(name, ""), _ID_LIMIT) for name in _REQUEST_ID_HEADERS)
    return next(filter(None, found), None)


def parse_retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Return the seconds that a server asks to wait (RFC 9110, 10.2.3; `retry-after-ms` first), 0 for a past date."""
    value = headers.get("retry-after", "")
    for text, parts in ((headers.get("retry-after-ms", ""), 1_000), (value, 1)):
        if number := re.fullmatch(_NUMBER, text):
            return float(number[1]) / parts
    try:
        moment = parsedate_to_datetime(value.strip())
    except (ValueError, OverflowError):
        return None
    return max(0.0, moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() - now)


def is_retried(error: errors.PromptrunError) -> bool:
    """Tell whether this package sends a request again that ended with an error, if nothing was handed out.

    `is_retryable`, for the layers above, may be true where this is not.
    """
    if not error.is_retryable:
        return False
    if isinstance(error, errors.PromptrunTimeoutError) and error.phase is not None:
        return error.phase == "connect"  # what was sent may be billed
    # the server may have said so itself (`x-should-retry`)
    if "is_retryable" in vars(error) or isinstance(error, errors.PromptrunConnectionError):
        return True
    status = error.status_code
    return status in _PASSING_CLIENT_ERRORS or (status in _SERVER_ERRORS and status not in _LASTING_SERVER_ERRORS)


def _error(
    status: int, facts: ErrorBody, headers: Mapping[str, str], body: str, model: str | None
) -> errors.PromptrunError:
    fallback = errors.PromptrunInvalidRequestError if status in _CLIENT_ERRORS else errors.PromptrunAPIError
    overflow = is_context_overflow(facts.message, facts.names)
    kind = errors.PromptrunContextOverflowError if overflow else _CLASSES.get(status, fallback)
    wait = parse_retry_after(headers, time.time())
    wait = facts.retry_after if wait is None else wait
    is_empty = not overflow and is_account_empty(facts.message, facts.names, has_wait=wait is not None)
    advice = _CREDITS if is_empty else _advice(kind, status, facts, model)
    phrase = f"answered {status} {responses.get(status, '')}".rstrip()
    did = phrase if status >= _CLIENT_ERRORS.start else "reported an error"
    said = tidy(facts.message, 600) or f"The server {did} without saying why."
    provider = tidy(facts.details["provider"] or "", _ID_LIMIT)
    said = said if provider in said else f"{said} (provider: {provider})"
    words = "\n".join(filter(None, [said, advice]))
    error = kind(words, **facts.details, status_code=status, retry_after=wait, body=body)
    error.request_id = request_id(headers) or error.request_id
    advised = headers.get("x-should-retry", "").lower()
    if is_empty or advised == "false":
        # the status of an empty account is a rate limit's
        error.is_retryable = False
    elif not overflow and (advised == "true" or status in _PASSING_CLIENT_ERRORS):
        error.is_retryable = True
    return error


def _advice(kind: type[errors.PromptrunError], status: int, facts: ErrorBody, model: str | None) -> str:
    if kind is errors.PromptrunNotFoundError and model:
        named = f'the model id "{tidy(model, _ID_LIMIT)}"'
        said = " ".join((facts.message, facts.details["param"] or "", *facts.names)).lower()
        # an unknown route is answered by a server that says nothing of models
        if model.lower() in said or re.search(r"model|deployment", re.sub(r"\S*/\S*", "", said)):
            return f"Check {named}."
        return f"{_BASE_URL}, and {named}."
    if status == HTTPStatus.METHOD_NOT_ALLOWED:  # the route of a website answers so
        return f"{_BASE_URL}."
    if status in range(300, 400):
        return "Redirects are not followed: check `base_url`."
    return _ADVICE.get(kind, "")


def _error_part(document: Any) -> Any:
    """Return what of a 200 body or of a stream's event is an error; None where nothing is."""
    if isinstance(document, list):
        document = document[0] if document else None
    if not isinstance(document, dict):
        return None
    if "error" in (document.get("object"), document.get("type")):
        return document
    status = document.get("base_resp")  # MiniMax's
    if isinstance(status, dict) and status.get("status_code") and not _is_success(status, "status_code"):
        return status
    error, choices = document.get("error"), document.get("choices")
    if _says(error) and not (isinstance(choices, list) and _is_success(error)):
        return document
    error = _failure(choices) if isinstance(choices, list) else None
    return error and {"error": error, "provider": document.get("provider")}


def _failure(choices: list[Any]) -> Any:
    for choice in [choice for choice in choices if isinstance(choice, dict)]:
        for place in (choice, choice.get("delta"), choice.get("message")):
            error = place.get("error") if isinstance(place, dict) else None
            if _says(error) and not _is_success(error):
                return error
        if (reason := choice.get("finish_reason")) in _FAILED_ENDS:
            code = choice.get("native_finish_reason")
            words = f" ({code})" if isinstance(code, str) and code not in {"", reason} else ""
            return {"message": f'The answer ended with finish_reason "{reason}"{words}.', "code": code}
    return None


def _is_success(error: Any, key: str = "code") -> bool:
    """Return whether it is the `{"code": 0, "message": "success"}` that some gateways put into every answer."""
    code = error.get(key) if isinstance(error, dict) else None
    return type(code) in {int, str} and code in {0, 200, "0", "200"}


def _says(error: Any) -> bool:
    """Return whether the value of an `error` field means one: null, "", false and objects of such do not."""
    return any(error.values()) if isinstance(error, dict) else bool(error)


def _excerpt(document: Any) -> str:
    with suppress(RecursionError, ValueError):
        text = json.dumps(document, ensure_ascii=False)[:BODY_LIMIT]
        return text.encode("utf-8", "replace").decode("utf-8")
    return ""
