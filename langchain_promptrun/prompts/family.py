"""What a prompt and its copies share: who keeps the record current, for each way of asking for it.

`configurable_fields` makes a copy at each call, from the values of the fields; so what copies share is one of them.
"""

from __future__ import annotations

import itertools
import weakref
from typing import TYPE_CHECKING, Self

from langchain_promptrun.prompts.flight import Signal

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_promptrun._http.transport import Transport
    from langchain_promptrun.prompts.follower import Follower
    from langchain_promptrun.prompts.functions import Functions

_MOST = 1024
"""Ways of asking that a family remembers; an eighth of them, used least recently, gives way to more."""

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


class _Way:
    """An identity that can be looked up, though it may hold what has no hash."""

    __slots__ = ("_hash", "_identity")

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._hash = hash(tuple(part for part in identity if isinstance(part, str | int | float)))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Way) and self._identity == other._identity


class _Kept:
    """A lease, and when it was used last."""

    __slots__ = ("lease", "used")

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self.used = 0


class Family:
    """The leases of a prompt and its copies. It is no part of what tells one prompt from another.

    A lease that gives way works on while a prompt holds it.
    """

    def __init__(self) -> None:
        # without a lock, which a fork could leave locked: each change is one step
        self._leases: dict[_Way, _Kept] = {}
        self._uses = itertools.count(1)

    def find(self, identity: Identity) -> Lease | None:
        """The lease of those who ask in this way, if there is one."""
        kept = self._leases.get(_Way(identity))
        if kept is None:
            return None
        kept.used = next(self._uses)
        return kept.lease

    def lease(self, identity: Identity, make: Callable[[], Lease]) -> Lease:
        """The lease of those who ask in this way; made for the first of them."""
        found = self.find(identity)
        if found is None:
            # of threads that come together the first one's is found by all
            kept = self._leases.setdefault(_Way(identity), _Kept(make()))
            kept.used = next(self._uses)
            found = kept.lease
            self._make_room()
        return found

    def _make_room(self) -> None:
        if len(self._leases) <= _MOST:
            return
        by_use = sorted(self._leases.items(), key=lambda item: item[1].used)
        for way, _ in by_use[: _MOST // 8]:
            self._leases.pop(way, None)

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> tuple[type[Self], tuple[()]]:
        """A pickle starts anew."""
        return type(self), ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Family)

    def __hash__(self) -> int:
        return hash(Family)
