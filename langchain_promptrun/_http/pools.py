"""Make and share clients: one pool for equal settings in an equal environment, one client for each event loop.

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
from contextlib import suppress
from functools import lru_cache, partial
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, TypeVar
from urllib.request import getproxies, proxy_bypass

import httpx

from langchain_promptrun._http.connection_pool import (
    KEEP_ALIVE_SECONDS,
    AsyncPool,
    ConcurrencyLimit,
    SyncPool,
    aclose_all,
    close_all,
    close_without_waiting,
)
from langchain_promptrun._http.threads import io_lock

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, Callable, Mapping

TransportT = TypeVar("TransportT", bound=httpx.BaseTransport | httpx.AsyncBaseTransport)

_CA_NAMES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
_SHAPING = {"http_proxy", "https_proxy", "all_proxy", "no_proxy", *map(str.lower, _CA_NAMES)}
_CLIENTS = "_langchain_promptrun_clients"
_MANY_LOOPS = 16
_GRACE = 0.05
"""Seconds for which a client outlives its pool."""


class TransportSettings(NamedTuple):
    """What two models must have in common to share connections; `auto` is aiohttp where it is installed."""

    max_connections: int | None = None
    async_transport: Literal["auto", "httpx", "aiohttp"] = "auto"


_Key = tuple[TransportSettings, tuple[tuple[str, str], ...]]
"""Settings, and the variables of the environment that shape connections."""


class Client(Generic[TransportT]):
    """Chooses the transport for a URL: the direct one, or a proxy's."""

    def __init__(self, make: Callable[[httpx.Proxy | None], TransportT], proxies: Mapping[str, httpx.Proxy]) -> None:
        self._direct = make(None)
        self._proxied = {scheme: (make(proxy), str(proxy.url)) for scheme, proxy in proxies.items()}
        self.transports = [self._direct, *(transport for transport, _ in self._proxied.values())]

    def route(self, url: httpx.URL) -> tuple[TransportT, str | None]:
        """Return the transport, and the proxy's URL without credentials."""
        found = self._proxied.get(url.scheme) or self._proxied.get("all")
        if found is None or proxy_bypass(url.host) or proxy_bypass(url.netloc.decode("ascii")):
            return self._direct, None
        return found


class LoopClient(NamedTuple):
    """One event loop's client, and the generator that closes it together with the loop."""

    client: Client[httpx.AsyncBaseTransport]
    guard: AsyncGenerator[None, None]


class Pool:
    """The clients of one process for equal settings; dropping the last reference closes them, in their event loops."""

    def __init__(self, key: _Key) -> None:
        self._key = key
        self._lock = threading.Lock()
        self._client: Client[httpx.BaseTransport] | None = None
        self._loops = _Loops()
        self.finalizers: list[weakref.finalize[..., Pool]] = [weakref.finalize(self, self._loops.release)]
        self.finalizers[0].atexit = False
        self.pid = os.getpid()

    def client(self) -> Client[httpx.BaseTransport]:
        """Return the client for sync calls; raises ValueError or ImportError for an unusable environment."""
        if self._client is None:
            factory = process.factory(self._key)
            with self._lock:
                if self._client is None:
                    self._client = Client(factory.sync_transport, factory.proxies)
                    self.finalizers.append(weakref.finalize(self, close_all, self._client.transports))
        return self._client

    def loop_client(self, loop: asyncio.AbstractEventLoop) -> LoopClient | None:
        return _clients_of(loop).get(self._loops)

    async def open_loop_client(self, loop: asyncio.AbstractEventLoop) -> LoopClient:
        """Make the running loop's client, unless another task was faster."""
        factory = process.factories.get(self._key)
        if factory is None:
            # the thread does not hold the pool, which it could outlive
            factory = await asyncio.to_thread(process.factory, self._key)
        self._loops.clean()
        found = self.loop_client(loop)
        if found is None:
            client = Client(factory.async_transport, factory.proxies)
            found = _clients_of(loop)[self._loops] = LoopClient(client, _close_with_loop(client, self._loops))
            self._loops.add(loop)
            # runs to its yield without giving way; asyncio closes it as the loop shuts down
            await anext(found.guard)
        return found


class _Loops:
    """The event loops that hold clients of a pool."""

    def __init__(self) -> None:
        self._loops: set[weakref.ref[asyncio.AbstractEventLoop]] = set()
        self._many = _MANY_LOOPS

    def add(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loops.add(weakref.ref(loop, self._loops.discard))

    def pop(self, loop: asyncio.AbstractEventLoop) -> LoopClient | None:
        self._loops.discard(weakref.ref(loop))
        return _clients_of(loop).pop(self, None)

    def release(self) -> None:
        """Give all clients up, to be closed in their loops a little later.

        A loop that ends by then waits for that, and one that is dropped leaves no task of it pending.
        """
        for loop in self._alive():
            try:
                loop.call_soon_threadsafe(loop.call_later, _GRACE, self.pop, loop)
            except RuntimeError:  # it is closed
                self.pop(loop)

    def clean(self) -> None:
        """Close what is left of loops that were closed, or dropped, without shutting async generators down."""
        closed = [client for loop in self._alive() if loop.is_closed() and (client := self.pop(loop)) is not None]
        for client in closed:
            close_without_waiting(aclose_all(client.client.transports))
        del closed
        if len(self._loops) >= self._many:
            # asyncio's loops and transports refer to themselves, and the collector may come late
            gc.collect()
            self._many = max(_MANY_LOOPS, 2 * len(self._loops))

    def _alive(self) -> list[asyncio.AbstractEventLoop]:
        return [loop for reference in list(self._loops) if (loop := reference()) is not None]


def _clients_of(loop: asyncio.AbstractEventLoop) -> dict[_Loops, LoopClient]:
    clients: dict[_Loops, LoopClient] = vars(loop).setdefault(_CLIENTS, {})
    return clients


async def _close_with_loop(client: Client[httpx.AsyncBaseTransport], loops: _Loops) -> AsyncGenerator[None, None]:
    """Wait to be closed by asyncio, as the loop or the pool ends; close the client then, in its own loop."""
    try:
        yield
    finally:
        loops.pop(asyncio.get_running_loop())
        await aclose_all(client.transports)


def watch_generators() -> None:
    """Have async generators closed in the running loop where it does not see to it itself, as nest_asyncio's."""
    hook, loop = sys.get_asyncgen_hooks().finalizer, asyncio.get_running_loop()
    if hook is None or (isinstance(hook, partial) and hook.func is _end_generator and hook.args[0]() is not loop):
        sys.set_asyncgen_hooks(finalizer=partial(_end_generator, weakref.ref(loop)))


def _end_generator(own: weakref.ref[asyncio.AbstractEventLoop], generator: AsyncGenerator[object, object]) -> None:
    """Close an async generator that nobody holds any more in its own loop; one of a loop that is gone just ends."""
    loop = own()
    if loop is not None and not loop.is_closed():
        loop.call_soon_threadsafe(loop.create_task, generator.aclose())


class _Process:
    """What this process shares: pools, weakly, and what makes their clients."""

    def __init__(self) -> None:
        self._inherited: list[Pool] = []
        self._start()

    def _start(self) -> None:
        self._lock = threading.Lock()
        self._factory_lock = threading.Lock()
        self._pools: weakref.WeakValueDictionary[_Key, Pool] = weakref.WeakValueDictionary()
        self.factories: dict[_Key, _ClientFactory] = {}

    def pool(self, settings: TransportSettings) -> Pool:
        """Return the pool for these settings in the environment of now, to be held while it is wanted."""
        key = (settings, tuple(sorted(pair for pair in os.environ.items() if pair[0].lower() in _SHAPING)))
        with self._lock:
            pool = self._pools.get(key)
            if pool is None:
                pool = self._pools[key] = Pool(key)
            return pool

    def factory(self, key: _Key) -> _ClientFactory:
        """Return what makes the clients of a pool; reads files the first time."""
        with self._factory_lock:
            if key not in self.factories:
                certificates = {name: os.environ.get(name) for name in _CA_NAMES}
                self.factories[key] = _ClientFactory(key[0], _tls_context(**certificates))
            return self.factories[key]

    def forked(self) -> None:
        """Start afresh in the child.

        The parent's pools are kept, unused: closing them could stir the parent's sockets and event loops, and wait
        for ever where a thread of the parent's held a lock.
        """
        inherited = list(self._pools.values())
        for pool in inherited:
            for finalizer in pool.finalizers:
                finalizer.detach()
        self._inherited += inherited
        self._start()
        io_lock.reset()


process = _Process()
# Windows cannot fork
getattr(os, "register_at_fork", lambda **_: None)(after_in_child=process.forked)


@lru_cache
def _tls_context(**certificates: str | None) -> ssl.SSLContext:
    """Return the context that trusts what `SSL_CERT_FILE` or `SSL_CERT_DIR` names, else what certifi has."""
    try:
        return httpx.create_ssl_context()
    except OSError as error:
        names = " and ".join(filter(certificates.get, certificates))
        problem = f"The environment variable {names} does not name certificates that can be read: {error}"
        raise ValueError(problem) from None


class _ClientFactory:
    """Makes transports without reading files; raises ValueError or ImportError for an unusable environment."""

    def __init__(self, settings: TransportSettings, context: ssl.SSLContext) -> None:
        found = getproxies()
        schemes = [scheme for scheme in ("http", "https", "all") if found.get(scheme)]
        self.proxies = {scheme: _proxy(f"{scheme.upper()}_PROXY", found[scheme], context) for scheme in schemes}
        self._limit = settings.max_connections
        self._context = context
        limits = httpx.Limits(max_connections=None, keepalive_expiry=KEEP_ALIVE_SECONDS)
        self._options: dict[str, Any] = {"verify": context, "limits": limits}
        self._aiohttp: Any = None
        if settings.async_transport != "httpx":
            with suppress(ImportError):
                import_module("httpx_aiohttp")
                self._aiohttp = import_module("langchain_promptrun._http.aiohttp_connector")
        if self._aiohttp is None and settings.async_transport == "aiohttp":
            extra = "pip install 'langchain-promptrun[aiohttp]'"
            raise ImportError(f"async_transport='aiohttp' needs an extra that is not installed: {extra}")
        import_module("httpcore")  # httpx would import it on the event loop

    def sync_transport(self, proxy: httpx.Proxy | None) -> httpx.BaseTransport:
        return SyncPool(partial(httpx.HTTPTransport, proxy=proxy, **self._options), self._limit)

    def async_transport(self, proxy: httpx.Proxy | None) -> httpx.AsyncBaseTransport:
        transport: httpx.AsyncBaseTransport
        # aiohttp takes neither SOCKS nor TLS within TLS, and httpx-aiohttp warns of a password
        if self._aiohttp is not None and (proxy is None or (proxy.url.scheme == "http" and not proxy.auth)):
            session = partial(self._aiohttp.new_session, self._context)
            transport = self._aiohttp.Transport(verify=self._context, proxy=proxy, client=session)
        else:
            transport = AsyncPool(partial(httpx.AsyncHTTPTransport, proxy=proxy, **self._options), self._limit)
        return transport if self._limit is None else ConcurrencyLimit(transport, self._limit)


def _proxy(name: str, value: str, context: ssl.SSLContext) -> httpx.Proxy:
    """Make a proxy; an unusable one is blamed by its variable and not by its value, a secret."""
    try:
        proxy = httpx.Proxy(value if "://" in value else f"http://{value}")
        host = proxy.url.host
    except (ValueError, httpx.InvalidURL):
        host = ""
    if not host:
        raise ValueError(
            f"The environment variable {name} does not hold the URL of a proxy "
            "(http://, https://, socks5:// or socks5h://)."
        )
    if proxy.url.scheme.startswith("socks") and find_spec("socksio") is None:
        raise ImportError(
            f"The environment variable {name} names a SOCKS proxy, which needs: pip install 'httpx[socks]'"
        )
    if proxy.url.scheme == "https":
        proxy.ssl_context = context  # httpcore would read the certificates on the event loop
    return proxy
