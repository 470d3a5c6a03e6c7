"""Keep hundreds of threads from contending for the interpreter's lock."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class ExpiringLock:
    """Lock of one thread at a time, while it sends and receives, but not while it waits for the network.

    CPython wakes each thread that waits for the interpreter's lock every 5 ms, to no use; a thread that waits here
    sleeps. What holds the lock for more than `seconds` loses it.
    """

    def __init__(self, seconds: float = 1.0) -> None:
        self.seconds = seconds
        self.reset()

    def reset(self) -> None:
        """Begin with a lock that nobody holds."""
        self._lock = threading.Lock()
        self.held = (0, self._lock)  # by the thread of this id, 0 for none
        self._releases = 0

    def acquire(self) -> None:
        lock, releases = self._lock, self._releases
        while not lock.acquire(timeout=self.seconds):
            if lock is self._lock and releases == self._releases:
                self._lock = threading.Lock()
            lock, releases = self._lock, self._releases
        self.held = (threading.get_ident(), lock)

    def release(self) -> None:
        """Release the lock if this thread holds it."""
        holder, lock = self.held
        if holder == threading.get_ident():
            self.held = (0, lock)
            self._releases += 1
            lock.release()

    @contextmanager
    def released(self) -> Iterator[None]:
        """Let other threads have the lock meanwhile, if this one holds it."""
        is_mine = self.held[0] == threading.get_ident()
        self.release()
        try:
            yield
        finally:
            if is_mine:
                self.acquire()


io_lock = ExpiringLock()
