"""Finding the error that hides in a document of a 200 answer: in its body, or in an event of its stream.

Owns where an error may hide. It must not read what the error says and must not make errors; documents come from
strangers, and nothing here raises, whatever they hold.
"""

from __future__ import annotations

from json import JSONEncoder
from typing import Any

from langchain_promptrun._errors.body import BODY_LIMIT

_SUCCESS_CODES = (0, 200, "0", "200")


def error_part(document: Any) -> Any:
    """Find what of a 200 body or of a stream's event is an error.

    That is: `error` with anything in it, `object` or `type` being "error", a choice with an `error` or with the
    `finish_reason` "error" (OpenRouter). Beside choices, an `error` whose code says that all went well is none.

    Returns:
        The part to read the error from; None when nothing is an error.
    """
    if isinstance(document, list):
        document = document[0] if document else None
    if not isinstance(document, dict):
        return None
    choices = document.get("choices")
    if document.get("object") == "error" or document.get("type") == "error":
        return document
    error = document.get("error")
    if _says(error) and not (isinstance(choices, list) and _is_success(error)):
        return document
    error = _failure(choices) if isinstance(choices, list) else None
    return error and {"error": error, "provider": document.get("provider")}


def excerpt(document: Any) -> str:
    """Write the beginning of a document as JSON, at most `BODY_LIMIT` characters; never raises."""
    text = ""
    try:
        for piece in JSONEncoder(ensure_ascii=False, default=str).iterencode(document):
            text += piece[:BODY_LIMIT]
            if len(text) >= BODY_LIMIT:
                break
    except (RecursionError, TypeError, ValueError):
        # As far as it can be written.
        pass
    return text[:BODY_LIMIT].encode("utf-8", "replace").decode("utf-8")


def _failure(choices: list[Any]) -> Any:
    """The error of the first choice that has one; None when there is none."""
    for choice in choices:
        if not isinstance(choice, dict):
            continue
        if _says(error := choice.get("error")) and not _is_success(error):
            return error
        if choice.get("finish_reason") == "error":
            code = choice.get("native_finish_reason")
            return {"message": 'The answer ended with finish_reason "error".', "code": code}
    return None


def _is_success(error: Any) -> bool:
    """Whether it is the `{"code": 0, "message": "success"}` that some gateways put into every answer."""
    code = error.get("code") if isinstance(error, dict) else None
    return type(code) in {int, str} and code in _SUCCESS_CODES


def _says(error: Any) -> bool:
    """Whether the value of an `error` field means an error: null, "", false and objects of such do not."""
    return any(error.values()) if isinstance(error, dict) else bool(error)
