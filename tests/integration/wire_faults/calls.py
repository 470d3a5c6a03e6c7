"""The six styles in which a model is called, and what the caller sees of one call.

Sync styles are functions, async ones are coroutine functions; both fill in a `Seen`, so that what was handed out before
an error is not lost.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wire_faults.wire import QUESTION

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Self

    from langchain_core.messages import AIMessage

    from langchain_promptrun.testing import RecordedRequest
    from wire_faults.fault import WireFault


@dataclass
class Seen:
    """What the caller saw of one call, which is made in its `with` block.

    Attributes:
        message: The answer; None where there was an error.
        error: The error; None where there was an answer.
        texts: The texts of a stream, as they were handed out.
        chunks: The chunks of a stream, likewise.
        items: How many chunks or events were handed out.
        seconds: How long the call took.
        requests: The requests that the server saw because of it.
    """

    message: AIMessage | None = None
    error: Exception | None = None
    texts: list[str] = field(default_factory=list)
    chunks: list[Any] = field(default_factory=list)
    items: int = 0
    seconds: float = 0.0
    requests: Sequence[RecordedRequest] = ()

    def __enter__(self) -> Self:
        self.seconds = -time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self.seconds += time.monotonic()
        if not isinstance(error, Exception):
            return False
        self.error, self.message = error, None
        return True

    def take_chunk(self, chunk: Any) -> None:
        """A chunk was handed out."""
        self.items += 1
        self.texts.append(str(chunk.text))
        self.chunks.append(chunk)

    def end_chunks(self) -> None:
        """All chunks were handed out."""
        if self.chunks:
            self.message = self.chunks[0] + self.chunks[1:]

    def take_event(self, event: Any) -> None:
        """A protocol event was handed out."""
        self.items += 1
        if event["event"] == "content-block-delta" and event["delta"]["type"] == "text-delta":
            self.texts.append(event["delta"]["text"])


def _invoke(model: Any, prompt: str, seen: Seen) -> None:
    seen.message = model.invoke(prompt)


def _stream(model: Any, prompt: str, seen: Seen) -> None:
    for chunk in model.stream(prompt):
        seen.take_chunk(chunk)
    seen.end_chunks()


def _events(model: Any, prompt: str, seen: Seen) -> None:
    stream = model.stream_events(prompt, version="v3")
    for event in stream:
        seen.take_event(event)
    seen.message = stream.output


async def _ainvoke(model: Any, prompt: str, seen: Seen) -> None:
    seen.message = await model.ainvoke(prompt)


async def _astream(model: Any, prompt: str, seen: Seen) -> None:
    async for chunk in model.astream(prompt):
        seen.take_chunk(chunk)
    seen.end_chunks()


async def _aevents(model: Any, prompt: str, seen: Seen) -> None:
    stream = await model.astream_events(prompt, version="v3")
    async for event in stream:
        seen.take_event(event)
    seen.message = await stream.output


SYNC = {"invoke": _invoke, "stream": _stream, "v3": _events}
ASYNC = {"ainvoke": _ainvoke, "astream": _astream, "av3": _aevents}


def _prompt(fault: WireFault) -> str:
    return "word " * (fault.prompt_bytes // 5) or QUESTION


def call(model: Any, style: str, fault: WireFault) -> Seen:
    """Make one sync call."""
    with Seen() as seen:
        SYNC[style](model, _prompt(fault), seen)
    return seen


async def acall(model: Any, style: str, fault: WireFault) -> Seen:
    """Make one async call."""
    with Seen() as seen:
        await ASYNC[style](model, _prompt(fault), seen)
    return seen
