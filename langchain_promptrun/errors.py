"""Exception classes of this package, each also the class of `langchain_core.exceptions` for its condition."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from langchain_core import exceptions as core

if TYPE_CHECKING:
    _CoreRefusalError = core.ModelError
else:
    # langchain-core has the class from 1.7.5 on.
    _CoreRefusalError = getattr(core, "ModelRefusalError", core.ModelError)

_MESSAGE_LIMIT = 1_000
_ID_LIMIT = 100
_FIRST_ERROR = 300


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
        phase: Where a time-out struck: "connect", "read", "write", "pool"; of a deadline also "retry" (before a wait
            that is too long) and "turn" (in a wait that calls share after a rate limit).
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

    def __init__(self, message: str = "", **details: Unpack[ErrorDetails]) -> None:
        if unknown := sorted(details.keys() - ErrorDetails.__optional_keys__):
            raise TypeError(f"{type(self).__name__} got unexpected keyword arguments: {', '.join(unknown)}")
        super().__init__(_cut(message, _MESSAGE_LIMIT))
        self.__dict__.update(details)

    def __str__(self) -> str:
        """The message; last the status and the request id, also where they were set after construction."""
        status = f"status {self.status_code}" if (self.status_code or 0) >= _FIRST_ERROR else ""
        ident = _cut(" ".join((self.request_id or "").split()), _ID_LIMIT)
        facts = ", ".join(filter(None, [status, ident and f"request id: {ident}"]))
        trailer = facts and f" ({facts})"
        message = "".join(map(str, self.args[:1]))
        return _cut(message, _MESSAGE_LIMIT - len(trailer)) + trailer


class PromptrunAuthenticationError(PromptrunError, core.ModelAuthenticationError):
    """The key is missing or wrong (401)."""


class PromptrunPaymentRequiredError(PromptrunError):
    """The account has no credits left (402). LangChain has no class for it; it is not retryable."""


class PromptrunBudgetExceededError(PromptrunError):
    """A call would go over a `Budget`. Nothing was sent; it is not retryable."""


class PromptrunPermissionDeniedError(PromptrunError, core.ModelPermissionDeniedError):
    """The key may not do this (403), or the law forbids it (451)."""


class PromptrunNotFoundError(PromptrunError, core.ModelNotFoundError):
    """The server knows no such model, prompt or address (404)."""


class PromptrunInvalidRequestError(PromptrunError, core.ModelInvalidRequestError):
    """The request is at fault (400, 405, 413, 415, 422, any other 4xx), or redirected (3xx)."""


class PromptrunInvalidMessageError(PromptrunError, ValueError):
    """A message cannot be sent. No request was made.

    Attributes:
        path: Where it is at fault, such as `messages[1].content[0]`; empty for a value that stands alone.
    """

    path: str = ""

    def __init__(self, problem: str = "", *, path: str = "", **details: Unpack[ErrorDetails]) -> None:
        super().__init__(problem, **details)
        self.path = path

    def __str__(self) -> str:
        """The place, and the rest of the sentence that begins with it."""
        return f"{self.path.removeprefix('.') or 'The value'} {super().__str__()}"

    def within(self, prefix: str) -> PromptrunInvalidMessageError:
        """Return the same error as seen from the value that holds this one under `prefix`."""
        return PromptrunInvalidMessageError(*self.args, path=prefix + self.path)


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


class PromptrunStreamTruncatedError(PromptrunConnectionError):
    """The answer ended before it was complete; `partial` holds what had come."""


class PromptrunTimeoutError(PromptrunError, core.ModelTimeoutError, TimeoutError):
    """Time ran out here (`phase` says where), or the server says that it did there (408, 504)."""


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


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."
