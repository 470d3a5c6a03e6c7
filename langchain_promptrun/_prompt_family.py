"""What a prompt and its copies share: who keeps the record current, for each way of asking for it.

`configurable_fields` makes a copy at each call, from the values of the fields; so what copies share is one of them.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Self

from langchain_promptrun._prompt_flight import Signal

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_promptrun._prompt_follower import Follower
    from langchain_promptrun._prompt_functions import Functions
    from langchain_promptrun._transport import Transport

_MOST = 64
"""Ways of asking that a family remembers; the oldest gives way."""

Identity = tuple[object, ...]


class Lease:
    """Keeps a follower at work; it ends with the last prompt that holds the lease.

    Args:
        follower: The follower.
        transport: What it sends over.
        functions: What it calls, and does not keep.
    """

    __slots__ = ("__weakref__", "_functions", "follower", "transport")

    def __init__(self, follower: Follower, transport: Transport, functions: Functions) -> None:
        self.follower = follower
        self.transport = transport
        self._functions = functions
        # not a method of the follower's, which may lead to the prompt through a client of the caller's
        weakref.finalize(self, follower.behind.end)


class Hold:
    """One prompt's hold on a lease.

    Attributes:
        lease: The lease.
        stopped: Ends the prompt's watching.
    """

    __slots__ = ("lease", "stopped")

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self.stopped = Signal()

    def stop(self) -> None:
        """End the prompt's watching, and what runs behind it and its copies. The next call starts again."""
        stopped, self.stopped = self.stopped, Signal()
        stopped.set()
        self.lease.follower.behind.stop()


class Family:
    """The leases of a prompt and its copies. It is no part of what tells one prompt from another."""

    def __init__(self) -> None:
        self._leases: list[tuple[Identity, Lease]] = []

    def find(self, identity: Identity) -> Lease | None:
        """The lease of those who ask in this way, if there is one."""
        return next((lease for known, lease in tuple(self._leases) if known == identity), None)

    def lease(self, identity: Identity, make: Callable[[], Lease]) -> Lease:
        """The lease of those who ask in this way; made for the first of them."""
        found = self.find(identity)
        if found is None:
            made = make()
            # of threads that come together the first one's is found by all
            self._leases.append((identity, made))
            found = self.find(identity) or made
            del self._leases[:-_MOST]
        return found

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> tuple[type[Self], tuple[()]]:
        """A pickle starts anew."""
        return type(self), ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Family)

    def __hash__(self) -> int:
        return hash(Family)
