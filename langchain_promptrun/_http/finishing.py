"""Work of an event loop that must not stop half-way.

This module must not know what the work is.
"""

from __future__ import annotations

import asyncio
import contextlib
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator


@types.coroutine
def to_the_end(work: Coroutine[Any, Any, None]) -> Generator[Any, None, None]:
    """Wait for work that must not stop half-way: once interrupted, do the rest of it without waiting.

    Where the last holder of a pool goes as its loop ends, a task closes the clients, and that is when asyncio cancels
    all tasks.

    Args:
        work: The work. Where it goes on to wait for more than its turn, it is closed there.

    Raises:
        asyncio.CancelledError: It came meanwhile.
    """
    interrupted: BaseException | None = None
    with contextlib.suppress(StopIteration):
        while True:
            awaited = work.send(None)
            if interrupted is not None and awaited is not None:
                work.close()
                break
            try:
                if interrupted is None:
                    yield awaited
            except (asyncio.CancelledError, GeneratorExit) as error:
                interrupted = error
    if interrupted is not None:
        raise interrupted
