"""An open HTTP response as an async call uses it: what `_answers` is for a sync one.

The event loop's timers limit the waiting, whatever carries the bytes: httpcore fixes its own limit as the body begins,
aiohttp at the request.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar, cast

from langchain_promptrun._http.sync_response import (
    ERROR_BODY_BYTES,
    ERROR_BODY_SECONDS,
    LAST_CHUNK_SECONDS,
    OpenAnswer,
    faults,
)
from langchain_promptrun.errors import PromptrunError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import TracebackType
    from typing import Self

    import httpx

    from langchain_promptrun._http.decompression import BodyDecoder
    from langchain_promptrun._http.request import Call, Parser

T = TypeVar("T")

_PIECES_AT_A_TIME = 64


class AsyncAnswer(OpenAnswer[T]):
    """The answer of an async call.

    Args:
        call: The call that is answered.
        response: The response, its body not read.
        holder: Whoever must live as long as the answer.

    Attributes:
        silence: Ends the wait for bytes when it takes too long.
    """

    __slots__ = ("_raw", "silence")

    def __init__(self, call: Call[T], response: httpx.Response, holder: object) -> None:
        super().__init__(call, response, holder)
        self.silence = Silence(call)
        self._raw: AsyncIterator[bytes] = _pieces(())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, _: object, error: BaseException | None, trace: TracebackType | None) -> bool:
        """End the response. Its connection is kept when the body is complete, or nearly so, and dropped otherwise."""
        self._holder = None
        self.silence.end()
        with suppress(*faults()):
            try:
                if self._is_over():
                    await self._read_end()
            finally:
                await self._response.aclose()
        if isinstance(error, asyncio.CancelledError) and self.silence.was_broken():
            self._call.failed(self._call.silent())
            return True
        return False

    async def begin(self) -> Parser[T]:
        """Begin to read.

        Returns:
            The parser for the body.

        Raises:
            PromptrunError: The status is an error's, or the answer's compression is not known here.
        """
        if self._is_error():
            raise await self._read_error()
        parser = self._begin()
        self.silence.begin()
        return parser

    def body(self) -> AsyncIterator[bytes]:
        """The body's bytes, decoded."""
        response = self._response
        if response.is_stream_consumed:
            return _pieces((response.content,))
        self._raw = aiter(cast("httpx.AsyncByteStream", response.stream))
        return self._raw if self._decoder is None else _decoded(self._raw, self._decoder)

    async def _read_error(self) -> PromptrunError:
        """The error for the status, with what comes of the body in time."""
        headers = self._headers()
        body = bytearray()
        pieces = 0
        with suppress(PromptrunError, *faults()):
            self._choose_decoder(headers)
            async with asyncio.timeout(ERROR_BODY_SECONDS):
                async for data in self.body():
                    body += data
                    if len(body) >= ERROR_BODY_BYTES:
                        break
                    pieces += 1
                    if pieces % _PIECES_AT_A_TIME == 0:
                        # what has come already is read without giving way, and the limit would not count
                        await asyncio.sleep(0)
        return self._error(headers, body)

    async def _read_end(self) -> None:
        async with asyncio.timeout(LAST_CHUNK_SECONDS):
            async for _ in self._raw:
                pass


async def _pieces(pieces: tuple[bytes, ...]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def _decoded(raw: AsyncIterator[bytes], decoder: BodyDecoder) -> AsyncIterator[bytes]:
    async for data in raw:
        for piece in decoder.decode(data):
            yield piece
    decoder.close()


class Silence:
    """Cancels the wait for an answer's next bytes when none came for too long.

    One timer of the event loop for each stream, and no task. It looks at steps of the shortest limit, so the wait
    ends between once and twice the limit. While the consumer has control nothing is measured. A cancellation of
    somebody else's during the wait goes first.

    Attributes:
        task: Who waits for bytes; None while nobody does.
        beats: Grows each time that the wait for the next piece begins.
    """

    __slots__ = ("_beats_before", "_broken", "_call", "_cancelled_before", "_handle", "_quiet", "beats", "task")

    def __init__(self, call: Call[Any]) -> None:
        self._call = call
        self.task: asyncio.Task[Any] | None = None
        self.beats = 0
        self._beats_before = 0
        self._quiet = 0.0
        self._cancelled_before = 0
        self._broken: asyncio.Task[Any] | None = None
        self._handle: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Start to measure; the running task is about to wait."""
        self.task = asyncio.current_task()
        self._begin_wait()
        self._go_on()

    def _begin_wait(self) -> None:
        self._quiet = 0.0
        self._beats_before = self.beats
        self._cancelled_before = 0 if self.task is None else self.task.cancelling()

    def _go_on(self) -> None:
        step = self._call.shortest_patience()
        if step is not None:
            self._handle = asyncio.get_running_loop().call_later(step, self._look, step)

    def _look(self, step: float) -> None:
        patience = self._call.patience()
        if self.task is None or self.beats != self._beats_before:
            self._begin_wait()
        else:
            self._quiet += step
        if self.task is not None and patience is not None and self._quiet >= patience:
            self._broken = self.task
            self.task.cancel()
        else:
            self._go_on()

    def was_broken(self) -> bool:
        """Whether a cancellation that arrived is this one's and nobody else's."""
        return self._broken is not None and self._broken.uncancel() <= self._cancelled_before

    def end(self) -> None:
        """Stop to measure."""
        self.task = None
        if self._handle is not None:
            self._handle.cancel()
