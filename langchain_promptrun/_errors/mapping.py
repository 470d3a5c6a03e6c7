"""Map what a server reports to exceptions: by status, by a document of a 200 answer, by what cannot be an answer."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from http import HTTPStatus
from json import JSONEncoder
from typing import TYPE_CHECKING, Any

from langchain_promptrun._errors.body import BODY_LIMIT, ErrorBody, read_error, tidy
from langchain_promptrun._errors.context_overflow import is_context_overflow
from langchain_promptrun._errors.retryable import QUOTA_NAMES, parse_retry_after, retry_verdict
from langchain_promptrun._wire.json import open_ends
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
    PromptrunResponseError,
    PromptrunStreamTruncatedError,
    PromptrunTimeoutError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_promptrun.errors import ErrorDetails

NO_CHOICES = "The server's answer has no choices; what came: "
NO_EVENT_HAD_CHOICES = "The stream ended without an answer: no event had choices."
_UNFINISHED = "The stream ended before the answer was whole: no finish reason, no [DONE]."
_IN_PLACE_OF_AN_END = "The stream ended with these words in place of a finish reason."
_SERVER_TEXT_LIMIT = 600
_ID_LIMIT = 100
_QUOTED = 400
_PAGE = 200
_SAID = 500
_SUCCESS_CODES = (0, 200, "0", "200")
_FAILED_ENDS = ("error", "network_error")  # OpenRouter's, Zhipu's
# Keys under which words are an error's in a document without choices; any other may be a fact, such as a title.
_ERROR_KEYS = (
    *("message", "msg", "detail", "error", "errors", "error_msg", "errorMsg", "error_message", "errorMessage"),
    *("Message", "Msg", "Error", "ErrorMsg", "Response"),
)
_STATES = ("status", "code", "message", "msg")
_GOOD_STATES = r"(?:(?!not )\w+ ){0,3}(?:ok|success(?:ful(?:ly)?)?|succeeded|done|completed?|finished|end(?:ed)?)[.!]?"
_FIRST_ERROR, _CLIENT_ERRORS, _SERVER_ERRORS = 300, 400, 500
_PHRASES = {status.value: status.phrase for status in HTTPStatus}

# OpenAI, Anthropic, AWS, Azure and Cloudflare, in the order of preference.
_REQUEST_ID_HEADERS = (
    *("x-request-id", "request-id", "x-amzn-requestid", "apim-request-id", "x-ms-request-id"),
    *("x-correlation-id", "cf-ray"),
)
# `re` compiles the pattern when an error needs it, and keeps it.
_EMPTY_ACCOUNT = (
    r"(?:insufficient|not enough|\bno remaining) (?:(?:account|api|available|prepaid|wallet) )?"
    r"(?:balance|credits?|funds?|quota)|(?:balance|credits?)\b.{0,30}?"
    r"(?:insufficient|not enough|too low|exhausted|depleted|used up)|\bfree (?:credits?|quota|tier)\b.{0,30}?exhausted"
    r"|\bused (?:all|up)\b.{0,20}?\bcredits|can only afford|requires more credits|monthly included credits"
    r"|recharge|\btop[ -]?up\b|out of credits?|arrears|add (?:more )?(?:credits?|funds)|no credits"
    r"|\boverdue (?:balance|bill|invoice|payment|status)|\b(?:account|bill|invoice|payment)s?\b.{0,20}?\boverdue"
    r"|exceeded your current quota|billing (?:hard )?limit|spend(?:ing)? limit|specified api usage limit"
    r"|\bkey limit exceeded|payment (?:method )?required|\b(?:add|enter) (?:a|your) (?:valid )?payment method"
    r"|exceeded ?budget|over budget|(?<!context )(?<!reasoning )(?<!thinking )(?<!time )(?<!token )\bbudget "
    r"(?:(?:has been|is|was) )?exceeded|余额不足|额度不足|额度已用|欠费|充值"
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
_BASE_URL = "Check `base_url`, the root of the API without /chat/completions"
_WRONG_METHOD = 405  # of the route of a website


def error_from_status(
    status: int, headers: Mapping[str, str], body: bytes, *, model: str | None = None, now: float | None = None
) -> PromptrunError:
    """Make the error for a response whose status is not 2xx; never raises, whatever the server sent."""
    text = body[:BODY_LIMIT].decode("utf-8", "replace")
    return _error(status, read_error(text), headers, text, model, now)


def error_from_document(
    document: Any,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    model: str | None = None,
    event: str | None = None,
) -> PromptrunError | None:
    """Make the error that hides in a 200 body or in a stream's event; None where nothing does.

    A code in it counts as that status, a known name such as "rate_limit_exceeded" as the status it stands for.
    """
    part = document if event == "error" else _error_part(document)
    if part is None and event != "error":
        return None
    facts = read_error(part)
    return _error(facts.status or status, facts, headers or {}, _excerpt(document), model)


def no_answer(document: Any, problem: str, status: int, headers: Mapping[str, str], model: str) -> PromptrunError:
    """Make the error for JSON or a text without an answer: the one that it says it is, else one with its words."""
    coded = error_from_document(document, status=status, headers=headers, model=model, event="error")
    if coded is not None and not (type(coded) is PromptrunAPIError and coded.status_code == status):
        return coded
    if problem == NO_CHOICES:
        shown = sorted(map(str, document)) if isinstance(document, dict) else type(document).__name__
        problem = f"{problem}{shown}"[:_QUOTED]
    facts = read_error(document)
    words = "\n".join(filter(None, [tidy(facts.message, _SAID), problem]))
    return PromptrunResponseError(words, **_details(status, facts, headers, _excerpt(document)))


def unfinished(aside: Any, status: int, headers: Mapping[str, str], model: str) -> PromptrunError:
    """Make the error for a stream that ended early: what stood beside the answer may say why."""
    error = no_answer(aside, _UNFINISHED, status, headers, model)
    if type(error) is PromptrunResponseError and not read_error(aside).message:
        return PromptrunStreamTruncatedError(_UNFINISHED)
    return error


def said_in_place_of_an_end(aside: Any, status: int, headers: Mapping[str, str], model: str) -> PromptrunError | None:
    """Make the error for a stream with `[DONE]` but no finish reason, where words beside the answer tell of one."""
    if isinstance(aside, dict):
        states = (aside.get(key) for key in _STATES)
        is_fine = any(isinstance(state, str) and re.fullmatch(_GOOD_STATES, state.lower()) for state in states)
        is_fine = is_fine or _is_success(aside) or aside.get("success") is True or bool(aside.get("usage"))
        named = (key for key, value in aside.items() if key in _ERROR_KEYS or key.endswith("Exception"))
        if is_fine or not any(_says(aside[key]) for key in named):
            return None
    return no_answer(aside, _IN_PLACE_OF_AN_END, status, headers, model) if read_error(aside).message else None


def not_json(body: bytes, status: int, headers: Mapping[str, str], *, whole: bool) -> PromptrunError:
    """Make the error for what should be JSON and is not."""
    text = body[:BODY_LIMIT].decode("utf-8", "replace")
    ends = open_ends(body.decode("utf-8", "replace")) if whole and body[:1] in {b"{", b"["} else None
    if ends is not None and any(ends):
        return PromptrunStreamTruncatedError("The server's answer ends in the middle of its JSON.")
    said = tidy(read_error(text).message, _PAGE)
    kind = headers.get("content-type", "no content type")
    advice = f"\n{_BASE_URL}." if "html" in kind.lower() else ""
    return PromptrunResponseError(
        f"The server's answer is not JSON ({kind}): {said}{advice}",
        status_code=status,
        request_id=request_id(headers),
        body=text,
    )


def request_id(headers: Mapping[str, str]) -> str | None:
    """Return the server's id of a request, from the response's headers (names in lower case)."""
    found = (tidy(headers.get(name, ""), _ID_LIMIT) for name in _REQUEST_ID_HEADERS)
    return next(filter(None, found), None)


def _error(
    status: int, facts: ErrorBody, headers: Mapping[str, str], body: str, model: str | None, now: float | None = None
) -> PromptrunError:
    overflow = is_context_overflow(facts.message, facts.names)
    kind = PromptrunContextOverflowError if overflow else _CLASSES.get(status)
    if kind is None:
        is_client = _FIRST_ERROR <= status < _SERVER_ERRORS
        kind = PromptrunInvalidRequestError if is_client else PromptrunAPIError
    wait = parse_retry_after(headers, time.time() if now is None else now)
    wait = facts.retry_after if wait is None else wait
    # a server that names a wait means a rate, which money does not help
    is_empty = not QUOTA_NAMES.isdisjoint(facts.names)
    is_empty = is_empty or (wait is None and bool(re.search(_EMPTY_ACCOUNT, facts.message.lower())))
    is_empty = is_empty and not overflow
    advice = _CREDITS if is_empty else _advice(kind, status, facts, model)
    words = "\n".join(filter(None, [_said(status, facts), advice]))
    error = kind(words, **_details(status, facts, headers, body, wait))
    verdict = retry_verdict(status, headers, overflow=overflow, is_empty=is_empty)
    if verdict is not None:
        error.is_retryable = verdict
    return error


def _details(
    status: int, facts: ErrorBody, headers: Mapping[str, str], body: str, wait: float | None = None
) -> ErrorDetails:
    return {
        "status_code": status,
        "code": facts.code,
        "type": facts.type,
        "param": facts.param,
        "provider": facts.provider,
        "request_id": request_id(headers) or facts.request_id,
        "retry_after": wait,
        "body": body,
    }


def _said(status: int, facts: ErrorBody) -> str:
    """Return the server's words and the vendor's name; the status in words where it said nothing."""
    did = "reported an error" if status < _FIRST_ERROR else f"answered {status} {_PHRASES.get(status, '')}".rstrip()
    text = tidy(facts.message, _SERVER_TEXT_LIMIT) or f"The server {did} without saying why."
    provider = tidy(facts.provider or "", _ID_LIMIT)
    return text if provider in text else f"{text} (provider: {provider})"


def _advice(kind: type[PromptrunError], status: int, facts: ErrorBody, model: str | None) -> str:
    if kind is PromptrunNotFoundError and model:
        named = f'the model id "{tidy(model, _ID_LIMIT)}"'
        said = " ".join((facts.message, facts.param or "", *facts.names)).lower()
        # an unknown route is answered by a server that says nothing of models
        if model.lower() in said or re.search(r"model|deployment", re.sub(r"\S*/\S*", "", said)):
            return f"Check {named}."
        return f"{_BASE_URL}, and {named}."
    if status == _WRONG_METHOD:
        return f"{_BASE_URL}."
    if _FIRST_ERROR <= status < _CLIENT_ERRORS:
        return "Redirects are not followed: check `base_url`."
    return _ADVICE.get(kind, "")


def _error_part(document: Any) -> Any:
    """Return what of a 200 body or of a stream's event is an error; None where nothing is.

    That is: `error` with anything in it, `object` or `type` being "error", MiniMax's `base_resp` with a code, a choice
    with an `error` or with a `finish_reason` of `_FAILED_ENDS`. Beside choices, an `error` that says that all went
    well does not count.
    """
    if isinstance(document, list):
        document = document[0] if document else None
    if not isinstance(document, dict):
        return None
    if "error" in (document.get("object"), document.get("type")):
        return document
    status = document.get("base_resp")
    if isinstance(status, dict) and status.get("status_code") and not _is_success(status, "status_code"):
        return status
    error, choices = document.get("error"), document.get("choices")
    if _says(error) and not (isinstance(choices, list) and _is_success(error)):
        return document
    error = _failure(choices) if isinstance(choices, list) else None
    return error and {"error": error, "provider": document.get("provider")}


def _failure(choices: list[Any]) -> Any:
    """Return the error of the first choice that has one; None where none has."""
    for choice in choices:
        if not isinstance(choice, dict):
            continue
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
    return type(code) in {int, str} and code in _SUCCESS_CODES


def _says(error: Any) -> bool:
    """Return whether the value of an `error` field means one: null, "", false and objects of such do not."""
    return any(error.values()) if isinstance(error, dict) else bool(error)


def _excerpt(document: Any) -> str:
    """Write the beginning of a document as JSON, as far as it can be written; never raises."""
    text = ""
    with suppress(RecursionError, TypeError, ValueError):
        for piece in JSONEncoder(ensure_ascii=False, default=str).iterencode(document):
            text += piece[:BODY_LIMIT]
            if len(text) >= BODY_LIMIT:
                break
    return text[:BODY_LIMIT].encode("utf-8", "replace").decode("utf-8")
