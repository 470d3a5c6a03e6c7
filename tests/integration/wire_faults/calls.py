"""The six styles in which a model is called, and what the caller sees of one call."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from wire_faults.wire import QUESTION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.messages import AIMessage

    from langchain_promptrun.testing import RecordedRequest
    from wire_faults.fault import WireFault

SYNC = ("invoke", "stream", "v3")
ASYNC = ("ainvoke", "astream", "av3")


@dataclass
class Seen:
    """What the caller saw of one call, which is made in its `with` block: also what came before an error.

    Attributes:
        message: The answer; None where there was an error.
        error: The error; None where there was an answer.
        items: The chunks or events that were handed out.
        seconds: How long the call took.
        requests: The requests that the server saw because of it.
    """

    message: AIMessage | None = None
    error: Exception | None = None
    items: list[Any] = field(default_factory=list)
    seconds: float = 0.0
    requests: Sequence[RecordedRequest] = ()

    def __enter__(self) -> Self:
        self.seconds = -time.monotonic()
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> bool:
        self.seconds += time.monotonic()
        if not isinstance(error, Exception):
            return False
        self.error, self.message = error, None
        return True

    @property
    def text(self) -> str:
        """The text of the stream, as it was handed out."""
        return "".join(map(_text, self.items))


def _text(item: Any) -> str:
    if not isinstance(item, dict):
        return str(item.text)
    delta = item.get("delta") or {}
    return delta["text"] if delta.get("type") == "text-delta" else ""


def call(model: Any, style: str, fault: WireFault) -> Seen:
    """Make one sync call."""
    prompt = "word " * (fault.prompt_bytes // 5) or QUESTION
    with Seen() as seen:
        if style == "invoke":
            seen.message = model.invoke(prompt)
            return seen
        stream = model.stream(prompt) if style == "stream" else model.stream_events(prompt, version="v3")
        for item in stream:
            seen.items.append(item)
        seen.message = seen.items[0] + seen.items[1:] if style == "stream" else stream.output
    return seen


async def acall(model: Any, style: str, fault: WireFault) -> Seen:
    """Make one async call."""
    prompt = "word " * (fault.prompt_bytes // 5) or QUESTION
    with Seen() as seen:
        if style == "ainvoke":
            seen.message = await model.ainvoke(prompt)
            return seen
        stream = model.astream(prompt) if style == "astream" else await model.astream_events(prompt, version="v3")
        async for item in stream:
            seen.items.append(item)
        seen.message = seen.items[0] + seen.items[1:] if style == "astream" else await stream.output
    return seen
