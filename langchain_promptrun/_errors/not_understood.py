"""Successful answers that are none -> errors.

A gateway or a proxy before it may say with the status 200 that something went wrong, in words and places of its own.
Where a code in it stands for an error's status, the error is that one, so it is retried and caught like any other;
else it is a `PromptrunResponseError` that begins with the server's words. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_promptrun._errors.body import BODY_LIMIT, read_error, tidy
from langchain_promptrun._errors.documents import excerpt
from langchain_promptrun._errors.mapping import error_from_document, request_id
from langchain_promptrun._wire.text import open_ends
from langchain_promptrun.errors import (
    PromptrunAPIError,
    PromptrunError,
    PromptrunResponseError,
    PromptrunStreamTruncatedError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

NO_CHOICES = "The server's answer has no choices; what came: "
NO_EVENT_HAD_CHOICES = "The stream ended without an answer: no event had choices."
_QUOTED = 400
_PAGE = 200
_SAID = 500


def coded_error(document: Any, status: int, headers: Mapping[str, str], model: str) -> PromptrunError | None:
    """Read a document without an answer as an error; return it when it says which one it is.

    Args:
        document: The parsed JSON.
        status: The HTTP status of the answer.
        headers: The answer's headers, names in lower case.
        model: The model that was asked for.

    Returns:
        The error, not raised; None when no code, type or text stands for an error.
    """
    error = error_from_document(document, status=status, headers=headers, model=model, event="error")
    if error is None or (type(error) is PromptrunAPIError and error.status_code == status):
        return None
    return error


def no_answer(document: Any, problem: str, status: int, headers: Mapping[str, str], model: str) -> PromptrunError:
    """Make the error for JSON without an answer.

    Args:
        document: The parsed JSON.
        problem: What is wrong with it, should the server not say so; after `NO_CHOICES` what came is named.
        status: The HTTP status of the answer.
        headers: The answer's headers, names in lower case.
        model: The model that was asked for.

    Returns:
        The error, not raised.
    """
    if (coded := coded_error(document, status, headers, model)) is not None:
        return coded
    if problem == NO_CHOICES:
        shown = sorted(map(str, document)) if isinstance(document, dict) else type(document).__name__
        problem = f"{problem}{shown}"[:_QUOTED]
    facts = read_error(document)
    return PromptrunResponseError(
        "\n".join(filter(None, [tidy(facts.message, _SAID), problem])),
        status_code=status,
        code=facts.code,
        type=facts.type,
        param=facts.param,
        provider=facts.provider,
        request_id=request_id(headers) or facts.request_id,
        body=excerpt(document),
    )


def not_json(body: bytes, status: int, headers: Mapping[str, str], *, whole: bool) -> PromptrunError:
    """Make the error for what should be JSON and is not.

    Args:
        body: The body, or an event's data.
        status: The HTTP status of the answer.
        headers: The answer's headers, names in lower case.
        whole: It is a whole body: JSON without an end was cut off.

    Returns:
        The error, not raised.
    """
    text = body[:BODY_LIMIT].decode("utf-8", "replace")
    ends = open_ends(body.decode("utf-8", "replace")) if whole and body[:1] in {b"{", b"["} else None
    if ends is not None and any(ends):
        return PromptrunStreamTruncatedError("The server's answer ends in the middle of its JSON.")
    said = tidy(read_error(text).message, _PAGE)
    kind = headers.get("content-type", "no content type")
    return PromptrunResponseError(
        f"The server's answer is not JSON ({kind}): {said}",
        status_code=status,
        request_id=request_id(headers),
        body=text,
    )
