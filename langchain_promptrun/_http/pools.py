"""Share clients: one pool for equal settings in an equal environment, one client for each event loop.

A pool lives as long as a holder. Each event loop holds its own clients, and pools refer to loops weakly, so a loop that
is dropped unclosed is collected together with its connections.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
import weakref
from typing import TYPE_CHECKING, NamedTuple

from langchain_promptrun._http.clients import (
    ClientFactory,
    TransportSettings,
    Variables,
    ca_variables,
    network_variables,
    new_tls_context,
)
from langchain_promptrun._http.connection_pool import close_without_waiting

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator

    from langchain_promptrun._http.clients import AsyncClient, SyncClient

_CLIENTS = "_langchain_promptrun_clients"
_MANY_LOOPS = 16
_Key = tuple[TransportSettings, Variables]


class LoopClient(NamedTuple):
    """One event loop's client, and the generator that closes it together with the loop."""

    client: AsyncClient
    guard: AsyncGenerator[None, None]


class Pool:
    """The clients of one process for equal settings, made when first asked for.

    Dropping the last reference closes them, in the event loops that they belong to.
    """

    __slots__ = ("__weakref__", "_client", "_finalizers", "_key", "_lock", "_loops", "pid")

    def __init__(self, key: _Key) -> None:
        self._key = key
        self._lock = threading.Lock()
        self._client: SyncClient | None = None
        self._loops = _Loops()
        self._finalizers: list[weakref.finalize[..., Pool]] = [weakref.finalize(self, self._loops.release)]
        self._finalizers[0].atexit = False
        self.pid = os.getpid()

    def client(self) -> SyncClient:
        """Return the client for sync calls; raises ValueError or ImportError for an unusable environment."""
        if self._client is not None:
            return self._client
        factory = _process.factory(self._key)
        with self._lock:
            if self._client is None:
                self._client = factory.sync_client()
                self._finalizers.append(weakref.finalize(self, self._client.close))
            return self._client

    def detach_after_fork(self) -> None:
        """Never close the clients, which are the parent process's."""
        for finalizer in self._finalizers:
            finalizer.detach()

    def loop_client(self, loop: asyncio.AbstractEventLoop) -> LoopClient | None:
        return self._loops.get(loop)

    async def open_loop_client(self, loop: asyncio.AbstractEventLoop) -> LoopClient:
        """Make the running loop's client, unless another task was faster."""
        factory = _process.factories.get(self._key)
        if factory is None:
            # the thread does not hold the pool, which it could outlive
            factory = await asyncio.to_thread(_process.factory, self._key)
        self._loops.clean()
        found = self._loops.get(loop)
        if found is None:
            client = factory.async_client()
            found = LoopClient(client, _close_with_loop(client, self._loops))
            self._loops.add(loop, found)
            # runs to its yield without giving way; asyncio closes it as the loop shuts down
            await anext(found.guard)
        return found


class _Loops:
    """The clients of a pool by event loop, which the loops hold."""

    def __init__(self) -> None:
        self._loops: dict[weakref.ref[asyncio.AbstractEventLoop], None] = {}
        self._many = _MANY_LOOPS

    def get(self, loop: asyncio.AbstractEventLoop) -> LoopClient | None:
        clients: dict[_Loops, LoopClient] = vars(loop).get(_CLIENTS, {})
        return clients.get(self)

    def add(self, loop: asyncio.AbstractEventLoop, client: LoopClient) -> None:
        vars(loop).setdefault(_CLIENTS, {})[self] = client
        self._loops[weakref.ref(loop)] = None

    def pop(self, loop: asyncio.AbstractEventLoop) -> LoopClient | None:
        self._loops.pop(weakref.ref(loop), None)
        clients: dict[_Loops, LoopClient] = vars(loop).get(_CLIENTS, {})
        return clients.pop(self, None)

    def release(self) -> None:
        """Give all clients up; asyncio closes them in their loops."""
        for loop in self._alive():
            if loop.is_running() or loop.is_closed():
                self.pop(loop)
            else:
                # a step later than the loop begins to end, which waits for what is closed then
                loop.call_soon_threadsafe(loop.call_soon, self.pop, loop)

    def clean(self) -> None:
        """Close what is left of loops that were closed, or dropped, without shutting async generators down."""
        closed = [client for loop in self._alive() if loop.is_closed() and (client := self.pop(loop)) is not None]
        for client in closed:
            close_without_waiting(client.client.aclose())
        del closed
        if len(self._alive()) >= self._many:
            # asyncio's loops and transports refer to themselves, and the collector may come late
            gc.collect()
            self._many = max(_MANY_LOOPS, 2 * len(self._alive()))

    def _alive(self) -> list[asyncio.AbstractEventLoop]:
        found = {reference: reference() for reference in list(self._loops)}
        for reference in [reference for reference, loop in found.items() if loop is None]:
            self._loops.pop(reference, None)
        return [loop for loop in found.values() if loop is not None]


async def _close_with_loop(client: AsyncClient, loops: _Loops) -> AsyncGenerator[None, None]:
    """Wait to be closed by asyncio, as the loop or the pool ends; close the client then, in its own loop."""
    try:
        yield
    finally:
        loops.pop(asyncio.get_running_loop())
        await client.aclose()


class _GeneratorEnd:
    """Closes async generators that nobody holds any more in their event loop; those of a loop that is gone just end."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = weakref.ref(loop)

    def __call__(self, generator: AsyncGenerator[object, object]) -> None:
        loop = self.loop()
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(loop.create_task, generator.aclose())


def watch_generators() -> None:
    """Have async generators closed in the running loop where it does not see to it itself, as nest_asyncio's."""
    hook = sys.get_asyncgen_hooks().finalizer
    if hook is None or isinstance(hook, _GeneratorEnd):
        loop = asyncio.get_running_loop()
        if hook is None or hook.loop() is not loop:
            sys.set_asyncgen_hooks(finalizer=_GeneratorEnd(loop))


class _Process:
    """What this process shares: pools, weakly, what makes their clients, and a TLS context for equal certificates."""

    def __init__(self) -> None:
        self._inherited: list[Pool] = []
        self._start()

    def _start(self) -> None:
        self._lock = threading.Lock()
        self._factory_lock = threading.Lock()
        self._pools: weakref.WeakValueDictionary[_Key, Pool] = weakref.WeakValueDictionary()
        self._contexts: dict[object, ssl.SSLContext] = {}
        self.factories: dict[_Key, ClientFactory] = {}

    def pool(self, settings: TransportSettings) -> Pool:
        key = (settings, network_variables())
        with self._lock:
            pool = self._pools.get(key)
            if pool is None:
                pool = self._pools[key] = Pool(key)
            return pool

    def factory(self, key: _Key) -> ClientFactory:
        """Return what makes the clients of a pool; reads files the first time."""
        with self._factory_lock:
            if key not in self.factories:
                if (names := ca_variables()) not in self._contexts:
                    self._contexts[names] = new_tls_context()
                self.factories[key] = ClientFactory(key[0], self._contexts[names])
            return self.factories[key]

    def forked(self) -> None:
        """Start afresh in the child.

        The parent's pools are kept, unused: closing them could stir the parent's sockets and event loops, and wait
        for ever where a thread of the parent's held a lock.
        """
        inherited = list(self._pools.values())
        for pool in inherited:
            pool.detach_after_fork()
        self._inherited += inherited
        self._start()


_process = _Process()
# Windows cannot fork
getattr(os, "register_at_fork", lambda **_: None)(after_in_child=_process.forked)


def get_pool(settings: TransportSettings) -> Pool:
    """Return the pool for these settings in the environment of now, to be held while its connections are wanted."""
    return _process.pool(settings)
