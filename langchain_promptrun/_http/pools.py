"""Which HTTP client: pools that models share, per process and, for async calls, per event loop.

A pool is made at the first call and shared by equal settings in an equal environment. It lives as long as somebody
holds it. Its clients are only asked for their transport to a URL: no cookie is stored, no redirect is followed, and
proxies are chosen as httpx chooses them. This module must not send requests and must not know LangChain.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import threading
import weakref
from itertools import repeat
from typing import TYPE_CHECKING, Literal, NamedTuple

from langchain_promptrun._http.clients import Connector, ca_settings, network_settings, new_tls_context
from langchain_promptrun._http.finishing import to_the_end

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator

    from langchain_promptrun._http.clients import AsyncClient, SyncClient


_YOUNG = 1  # the oldest generation of objects that is quickly collected


class TransportSettings(NamedTuple):
    """What two models must have in common to share connections. It holds no secret.

    Attributes:
        max_connections: Connections open at once, None for no limit. A call beyond it waits for the pool time-out.
        async_transport: What carries async calls: `httpx`, `aiohttp` (which needs the extra `aiohttp`), or `auto`,
            which is aiohttp where it is installed.
    """

    max_connections: int | None = None
    async_transport: Literal["auto", "httpx", "aiohttp"] = "auto"


class LoopClient(NamedTuple):
    """One event loop's client, and the generator that closes it together with the loop."""

    client: AsyncClient
    guard: AsyncGenerator[None, None]


class Pool:
    """The clients of one process for equal settings, made when first asked for.

    Dropping the last reference closes them, in the event loops that they belong to.
    """

    __slots__ = ("__weakref__", "_client", "_closings", "_connector", "_lock", "_loops", "pid")

    def __init__(self, settings: TransportSettings) -> None:
        self._lock = threading.Lock()
        self._connector = _LazyConnector(settings)
        self._client: SyncClient | None = None
        self._loops: dict[asyncio.AbstractEventLoop, LoopClient] = {}
        self._closings: list[weakref.finalize[..., Pool]] = [weakref.finalize(self, _let_go, self._loops)]
        self.pid = os.getpid()

    def client(self) -> SyncClient:
        """The client for sync calls.

        Raises:
            ValueError: A variable for a proxy or for certificates holds something unusable.
            ImportError: The package for aiohttp or for a SOCKS proxy is missing.
        """
        return self._client or self._open_client()

    def _open_client(self) -> SyncClient:
        connector = self._connector.get()
        with self._lock:
            if self._client is None:
                self._client = connector.client()
                self._closings.append(weakref.finalize(self, self._client.close))
            return self._client

    def disown(self) -> None:
        """Never close the clients, not even as the process ends: they are the parent's."""
        for closing in self._closings:
            closing.detach()

    def loop_client(self, loop: asyncio.AbstractEventLoop) -> LoopClient | None:
        """The client of an event loop, None when it has none yet."""
        return self._loops.get(loop)

    async def open_loop_client(self, loop: asyncio.AbstractEventLoop) -> LoopClient:
        """Make the running loop's client, unless another task was faster.

        Raises:
            ValueError: A variable for a proxy or for certificates holds something unusable.
            ImportError: The package for aiohttp or for a SOCKS proxy is missing.
        """
        connector = self._connector.made
        if connector is None:
            connector = await asyncio.to_thread(self._connector.get)
        if _let_go(self._loops):
            # asyncio's transports refer to themselves: their sockets are closed as they are collected
            gc.collect(_YOUNG)
        found = self._loops.get(loop)
        if found is None:
            client = connector.async_client()
            found = LoopClient(client, _closed_with_loop(client, loop, weakref.ref(self)))
            self._loops[loop] = found
            # runs to its yield without giving way; asyncio closes it as the loop shuts down
            await anext(found.guard)
        return found

    def forget(self, loop: asyncio.AbstractEventLoop) -> None:
        """The loop's client is being closed."""
        self._loops.pop(loop, None)


class _LazyConnector:
    """Makes the connector once. A thread that does it must not hold the pool, which could outlive its last holder."""

    def __init__(self, settings: TransportSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self.made: Connector | None = None

    def get(self) -> Connector:
        """The connector. Reads files the first time."""
        with self._lock:
            if self.made is None:
                settings = self._settings
                context = _process.tls_context()
                self.made = Connector(settings.max_connections, settings.async_transport, context)
            return self.made


async def _closed_with_loop(
    client: AsyncClient, loop: asyncio.AbstractEventLoop, pool: weakref.ref[Pool]
) -> AsyncGenerator[None, None]:
    """Waits at its `yield` until asyncio or the end of the pool closes it, and closes the client then."""
    try:
        yield
    finally:
        holder = pool()
        if holder is not None:
            holder.forget(loop)
        del holder
        await to_the_end(client.aclose())


def _let_go(loops: dict[asyncio.AbstractEventLoop, LoopClient]) -> bool:
    """Forget the clients of loops that were closed without shutting their async generators down.

    Returns:
        Whether there were any.
    """
    closed = [loop for loop in list(loops) if loop.is_closed()]
    # another thread may do it too
    found = [one for one in map(loops.pop, closed, repeat(None)) if one is not None]
    for one in found:
        # as far as it goes without the loop
        closing = one.client.aclose()
        with contextlib.suppress(StopIteration, RuntimeError):
            closing.send(None)
        closing.close()
    return bool(found)


class _Process:
    """What this process shares: pools, weakly, and one TLS context for each setting of the certificates."""

    def __init__(self) -> None:
        self._inherited: list[Pool] = []
        self._start()

    def _start(self) -> None:
        self._lock = threading.Lock()
        self._tls_lock = threading.Lock()
        self._pools: weakref.WeakValueDictionary[object, Pool] = weakref.WeakValueDictionary()
        self._contexts: dict[object, ssl.SSLContext] = {}

    def pool(self, settings: TransportSettings) -> Pool:
        key = (settings, network_settings())
        with self._lock:
            pool = self._pools.get(key)
            if pool is None:
                pool = self._pools[key] = Pool(settings)
            return pool

    def tls_context(self) -> ssl.SSLContext:
        key = ca_settings()
        with self._tls_lock:
            if key not in self._contexts:
                self._contexts[key] = new_tls_context()
            return self._contexts[key]

    def forked(self) -> None:
        """Start afresh in the child.

        The parent's pools are kept, unused: to close them could stir the parent's sockets and event loops, and wait
        for ever where a thread of the parent's held a lock.
        """
        inherited = list(self._pools.values())
        for pool in inherited:
            pool.disown()
        self._inherited += inherited
        self._start()


_process = _Process()
# Windows cannot fork
getattr(os, "register_at_fork", lambda **_: None)(after_in_child=_process.forked)


def hold_pool(settings: TransportSettings) -> Pool:
    """The pool for these settings and the environment of now.

    Args:
        settings: Equal settings share a pool.

    Returns:
        The pool, to be held as long as its connections are wanted.
    """
    return _process.pool(settings)
