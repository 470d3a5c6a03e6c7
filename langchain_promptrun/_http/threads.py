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
    sleeps. A turn that lasts longer than `patience` seconds, as after a fork, counts no more.
    """

    def __init__(self, patience: float = 1.0) -> None:
        self.patience = patience
        self.holder = 0  # the thread's id
        self._lock = threading.Lock()
        self._held = (self.holder, self._lock)
        self._ended = 0

    def take(self) -> None:
        lock, ended = self._lock, self._ended
        while not lock.acquire(timeout=self.patience):
            if lock is self._lock and ended == self._ended:
                self._lock = threading.Lock()
            lock, ended = self._lock, self._ended
        self.holder = threading.get_ident()
        self._held = (self.holder, lock)

    def end(self) -> None:
        """End the turn if this thread has it."""
        holder, lock = self._held
        if holder == threading.get_ident():
            self.holder = 0
            self._held = (0, lock)
            self._ended += 1
            lock.release()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Let other threads take their turns meanwhile, if this one has it."""
        is_mine = self.holder == threading.get_ident()
        self.end()
        try:
            yield
        finally:
            if is_mine:
                self.take()


turn = Turn()
