"""Make the clients of a pool: certificates, proxies, and what carries the bytes of async calls."""

from __future__ import annotations

import os
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, TypeVar
from urllib.request import getproxies, proxy_bypass

import httpx

from langchain_promptrun._http.connection_pool import AsyncPool, ConcurrencyLimit, SyncPool, close_all

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

TransportT = TypeVar("TransportT", bound=httpx.BaseTransport | httpx.AsyncBaseTransport)
Variables = tuple[tuple[str, str], ...]

_PROXY_NAMES = ("http_proxy", "https_proxy", "all_proxy")
_CA_NAMES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


KEEP_ALIVE_SECONDS = 45.0
"""How long an idle connection is kept."""


class TransportSettings(NamedTuple):
    """What two models must have in common to share connections; `auto` is aiohttp where it is installed."""

    max_connections: int | None = None
    async_transport: Literal["auto", "httpx", "aiohttp"] = "auto"


class Client(Generic[TransportT]):
    """Chooses the transport for a URL: the direct one, or a proxy's; `proxies` names these without credentials."""

    def __init__(self, make: Callable[[httpx.Proxy | None], TransportT], proxies: Mapping[str, httpx.Proxy]) -> None:
        self._direct = make(None)
        self._proxied = {scheme: make(proxy) for scheme, proxy in proxies.items()}
        self.proxies = {self._proxied[scheme]: str(proxy.url) for scheme, proxy in proxies.items()}

    def transport_for(self, url: httpx.URL) -> TransportT:
        if not self._proxied:
            return self._direct
        transport = self._proxied.get(url.scheme) or self._proxied.get("all")
        if transport is None or proxy_bypass(url.host) or proxy_bypass(url.netloc.decode("ascii")):
            return self._direct
        return transport

    def transports(self) -> list[TransportT]:
        return [self._direct, *self._proxied.values()]


class SyncClient(Client[httpx.BaseTransport]):
    def close(self) -> None:
        for transport in self.transports():
            transport.close()


class AsyncClient(Client[httpx.AsyncBaseTransport]):
    async def aclose(self) -> None:
        await close_all(self.transports())


class ClientFactory:
    """Makes clients without reading files; raises ValueError or ImportError for an unusable environment."""

    def __init__(self, settings: TransportSettings, context: ssl.SSLContext) -> None:
        self._proxies = _environment_proxies(context)
        self._limits = httpx.Limits(max_connections=settings.max_connections, keepalive_expiry=KEEP_ALIVE_SECONDS)
        self._context = context
        self._aiohttp = _aiohttp_module(settings.async_transport)
        import_module("httpcore")  # httpx would import it on the event loop

    def sync_client(self) -> SyncClient:
        return SyncClient(self._sync_transport, self._proxies)

    def async_client(self) -> AsyncClient:
        return AsyncClient(self._async_transport, self._proxies)

    def _sync_transport(self, proxy: httpx.Proxy | None) -> httpx.BaseTransport:
        return SyncPool(partial(httpx.HTTPTransport, **self._options(proxy)), self._limits)

    def _async_transport(self, proxy: httpx.Proxy | None) -> httpx.AsyncBaseTransport:
        transport: httpx.AsyncBaseTransport
        # aiohttp takes neither SOCKS nor TLS within TLS, and httpx-aiohttp warns of a password
        is_simple = proxy is None or (proxy.url.scheme == "http" and not proxy.auth)
        if self._aiohttp is not None and is_simple:
            session = partial(self._aiohttp.new_session, self._context, self._limits.keepalive_expiry)
            transport = self._aiohttp.Transport(verify=self._context, proxy=proxy, client=session)
        else:
            transport = AsyncPool(partial(httpx.AsyncHTTPTransport, **self._options(proxy)), self._limits)
        limit = self._limits.max_connections
        return transport if limit is None else ConcurrencyLimit(transport, limit)

    def _options(self, proxy: httpx.Proxy | None) -> dict[str, Any]:
        limits = httpx.Limits(max_connections=None, keepalive_expiry=self._limits.keepalive_expiry)
        return {"verify": self._context, "limits": limits, "proxy": proxy}


def _aiohttp_module(async_transport: str) -> Any:
    if async_transport == "httpx":
        return None
    try:
        import_module("httpx_aiohttp")
        return import_module("langchain_promptrun._http.aiohttp_connector")
    except ImportError:
        if async_transport == "auto":
            return None
    raise ImportError(
        "async_transport='aiohttp' needs an extra that is not installed: pip install 'langchain-promptrun[aiohttp]'"
    )


def network_variables() -> Variables:
    """Return the variables of the environment that shape connections."""
    return _variables(lambda name: name in _CA_NAMES or name.lower() in (*_PROXY_NAMES, "no_proxy"))


def ca_variables() -> Variables:
    return _variables(_CA_NAMES.__contains__)


def _variables(choose: Callable[[str], bool]) -> Variables:
    return tuple(sorted((name, value) for name, value in os.environ.items() if choose(name)))


def new_tls_context() -> ssl.SSLContext:
    """Return a TLS context that trusts what `SSL_CERT_FILE` or `SSL_CERT_DIR` names, else what certifi has."""
    try:
        return httpx.create_ssl_context()
    except OSError as error:
        reason = str(error)
    names = " and ".join(name for name, _ in ca_variables())
    raise ValueError(f"The environment variable {names} does not name certificates that can be read: {reason}")


def _environment_proxies(context: ssl.SSLContext) -> dict[str, httpx.Proxy]:
    found = getproxies()
    return {
        scheme: _proxy(f"{scheme.upper()}_PROXY", found[scheme], context)
        for scheme in ("http", "https", "all")
        if found.get(scheme)
    }


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
