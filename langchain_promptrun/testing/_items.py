"""What a test tells the stand-in server to say next: `Reply` and `Fault`."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Literal

Wait = float | threading.Event
"""How long to wait: seconds (`math.inf`: until the client leaves), or an event that the test sets."""

Headers = Mapping[str, str] | Sequence[tuple[str, str]]
"""Header fields; pairs where one name occurs more than once."""

Framing = Literal["chunked", "length", "close", "raw"]


@dataclass(frozen=True)
class Reply:
    """One answer of the model, word for word.

    Args:
        text: The answer's text. None: `content` is null, as in a turn that only calls tools.
        reasoning: The model's reasoning, sent before the text.
        reasoning_field: The reasoning's name on the wire: `reasoning_content`, `reasoning`, both as a tuple, or
            `reasoning_details`, which sends one signed `reasoning.text` entry.
        reasoning_details: Exact entries of `reasoning_details`; a stream carries one an event.
        tool_calls: The calls: `name`, `args` (a mapping, or the raw text of the arguments), `id` (made up when
            missing). Any further key goes onto the wire's tool call.
        refusal: The model's refusal.
        usage: The token counts as they stand on the wire; `"auto"`: counted from the words; None: left out.
        cached_tokens: With `usage="auto"`: how many of the prompt's tokens came out of a cache.
        cost: With `usage="auto"`: the price in US dollars.
        finish_reason: `"auto"`: `tool_calls` or `stop`; None: left out.
        model: The model's name in the answer. None: the one that was asked for.
        message: Further keys of the message, such as `annotations` or `images`; a stream carries them on one event.
        document: Further keys of the whole document and of each event, such as `provider`.
        headers: Further header fields of the response.
        pieces: How the text is cut into events. None: one event a word.
        pace: Seconds between two events. None: the server's pace.
        times: How many requests in a row get this reply.
    """

    text: str | None = None
    _: KW_ONLY
    reasoning: str | None = None
    reasoning_field: str | tuple[str, ...] = "reasoning_content"
    reasoning_details: Sequence[Mapping[str, Any]] | None = None
    tool_calls: Sequence[Mapping[str, Any]] = ()
    refusal: str | None = None
    usage: Mapping[str, Any] | Literal["auto"] | None = "auto"
    cached_tokens: int = 0
    cost: float | None = None
    finish_reason: str | None = "auto"
    model: str | None = None
    message: Mapping[str, Any] = field(default_factory=dict)
    document: Mapping[str, Any] = field(default_factory=dict)
    headers: Headers = ()
    pieces: Sequence[str] | None = None
    pace: float | None = None
    times: int = 1

    def __post_init__(self) -> None:
        _check_times(self.times)
        if self.pieces is not None and "".join(self.pieces) != (self.text or ""):
            raise ValueError("`pieces` of a Reply must add up to its `text`.")


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One answer that goes wrong. Its parts compose: each changes one thing about an otherwise right answer.

    `body`, `events`, `slices` or `reply` is sent; with none of them the model's own answer, or for an error status a
    body in Promptrun's shape. It goes wrong at one point, set by `after` or `after_bytes`: first `pause` (with
    `comments` during it), then `error`, then `cut` or `reset`.

    Args:
        status: The HTTP status.
        headers: Header fields, which replace those of the same name. A `content-length` that is not the body's
            closes the connection after the body.
        body: The whole body: bytes, text, or a value to be sent as JSON.
        events: The events of a stream in place of the model's: a mapping goes out as `data: <JSON>`, a text as
            `data: <text>`, bytes as they are. Nothing is added, also no `[DONE]`.
        slices: Raw pieces of the body, each sent in a flush of its own; numbers and events between them are pauses.
        reply: The answer to spoil.
        framing: How the body's end is told: `chunked`, `length` (a Content-Length), `close` (the connection's end),
            or `raw` (the slices are the whole response, status line included). None: `length` for a body, else
            `chunked`.
        encoding: Compresses the body, `gzip` or `deflate`, each piece flushed.
        delay: Wait before the first byte of the response.
        after: The point as a number of pieces (events, slices; a body is one piece): 0 is after the head. None:
            before the head, and for `error`, `comments` and `cut="clean"` right after it.
        after_bytes: The point as a number of the body's bytes.
        pause: Wait at the point. `math.inf` waits until the client leaves.
        comments: Seconds between keep-alive comments while pausing at the point; without `pause`, for ever.
        error: At the point, an event with this document as its data, and then the stream's end without `[DONE]`. For
            a request without `stream` it is the whole body.
        cut: At the point, closes the connection in the middle of the body; `"clean"` ends the body properly instead,
            so that only the content shows that something is missing.
        reset: At the point, resets the connection (RST).
        pace: Seconds between two pieces. None: the reply's pace, or the server's.
        times: How many requests in a row meet this fault.
    """

    status: int = 200
    headers: Headers = ()
    body: Any = None
    events: Sequence[Mapping[str, Any] | str | bytes] | None = None
    slices: Sequence[bytes | Wait] | None = None
    reply: Reply | None = None
    framing: Framing | None = None
    encoding: Literal["gzip", "deflate"] | None = None
    delay: Wait | None = None
    after: int | None = None
    after_bytes: int | None = None
    pause: Wait | None = None
    comments: float | None = None
    error: Any = None
    cut: bool | Literal["clean"] = False
    reset: bool = False
    pace: float | None = None
    times: int = 1

    def __post_init__(self) -> None:
        _check_times(self.times)
        for names in (("body", "events", "slices", "reply"), ("after", "after_bytes"), ("cut", "reset")):
            if sum(getattr(self, name) is not None and getattr(self, name) is not False for name in names) > 1:
                raise ValueError(f"A Fault takes one of {', '.join(f'`{name}`' for name in names)}.")
        if self.framing == "raw" and self.slices is None:
            raise ValueError("`framing='raw'` needs `slices`, the bytes of the whole response.")
        if self.framing in {"length", "raw"} and (self.encoding or self.comments is not None):
            raise ValueError(f"`framing={self.framing!r}` goes with neither `encoding` nor `comments`.")


def _check_times(times: int) -> None:
    if times < 1:
        raise ValueError(f"`times` must be 1 or more, not {times}.")
