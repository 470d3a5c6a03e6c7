"""Have threads work in turn, so that hundreds of them do not contend for the interpreter's lock."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Turn:
    """What one thread at a time has while it sends and receives, but not while it waits for the network.

    CPython wakes each thread that waits for the interpreter's lock every 5 ms, to no use; a thread that waits here
    sleeps. A turn that lasts longer than `patience` seconds, such as one that a fork cut off, counts no more.
    """

    def __init__(self, patience: float = 1.0) -> None:
        self.patience = patience
        self._lock = threading.Lock()
        self._holder = 0

    def take(self) -> None:
        while not (lock := self._lock).acquire(timeout=self.patience):
            if lock is self._lock:
                self._lock = threading.Lock()
        self._holder = threading.get_ident()

    def is_mine(self) -> bool:
        return self._holder == threading.get_ident()

    def end(self) -> None:
        """End the turn if this thread has it."""
        if self.is_mine():
            self._holder = 0
            self._lock.release()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Let other threads take their turns meanwhile, if this one has it."""
        is_mine = self.is_mine()
        self.end()
        try:
            yield
        finally:
            if is_mine:
                self.take()


turn = Turn()
