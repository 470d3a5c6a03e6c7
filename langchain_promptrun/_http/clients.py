"""What clients are made with: certificates, proxies, and what carries the bytes of async calls.

Owns the environment that matters to connections, and the optional package for aiohttp. Making a `Connector` reads
files; what it makes does not. This module must not keep clients and must not send requests.
"""

from __future__ import annotations

import contextlib
import os
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import httpx

from langchain_promptrun._http.async_pool import OneCallTransport, ShardedTransport
from langchain_promptrun._http.concurrency_limit import GatedTransport
from langchain_promptrun._http.decompression import accept_encoding

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator

KEEP_ALIVE_SECONDS = 45.0
"""How long an idle connection is kept."""

Settings = tuple[tuple[str, str], ...]

_HEADER_BYTES = 64 << 10  # aiohttp takes 8 KiB of its own accord, httpx 100
_PROXY_NAMES = ("http_proxy", "https_proxy", "all_proxy")
_CA_NAMES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


class SyncClient(httpx.Client):
    """httpx's client as a chooser of transports."""

    def transport_for(self, url: httpx.URL) -> httpx.BaseTransport:
        """The transport for a URL: the direct one, or a proxy's."""
        return self._transport_for_url(url)


class AsyncClient(httpx.AsyncClient):
    """httpx's async client as a chooser of transports.

    Args:
        make: Makes a transport, given the proxy or None.
    """

    def __init__(self, make: Callable[[httpx.Proxy | None], httpx.AsyncBaseTransport]) -> None:
        self._make = make
        super().__init__()

    def transport_for(self, url: httpx.URL) -> httpx.AsyncBaseTransport:
        """The transport for a URL: the direct one, or a proxy's."""
        return self._transport_for_url(url)

    def _init_transport(self, *_: Any, **__: Any) -> httpx.AsyncBaseTransport:
        return self._make(None)

    def _init_proxy_transport(self, proxy: httpx.Proxy, *_: Any, **__: Any) -> httpx.AsyncBaseTransport:
        return self._make(proxy)


class Connector:
    """Makes clients.

    Args:
        max_connections: Connections that a client may have open at once, None for no limit.
        async_transport: `httpx`, `aiohttp`, or `auto` for aiohttp where it is installed.
        context: The TLS context of all connections.

    Raises:
        ValueError: A variable of the environment does not hold a proxy's URL.
        ImportError: The package for aiohttp or for a SOCKS proxy is missing.
    """

    def __init__(self, max_connections: int | None, async_transport: str, context: ssl.SSLContext) -> None:
        _check_proxies()
        self._max_connections = max_connections
        self._context = context
        self._aiohttp = _aiohttp_modules(async_transport)
        # what would be imported on the event loop otherwise
        import_module("httpcore")
        accept_encoding()

    def client(self) -> SyncClient:
        """A client for sync calls."""
        with _no_proxy_to_blame():
            limits = httpx.Limits(max_connections=self._max_connections, keepalive_expiry=KEEP_ALIVE_SECONDS)
            return SyncClient(verify=self._context, limits=limits)

    def async_client(self) -> AsyncClient:
        """A client for the async calls of one event loop."""
        with _no_proxy_to_blame():
            return AsyncClient(self._async_transport)

    def _async_transport(self, proxy: httpx.Proxy | None) -> httpx.AsyncBaseTransport:
        if self._aiohttp is not None and _is_for_aiohttp(proxy):
            transport = self._aiohttp_transport(*self._aiohttp, proxy)
        else:
            transport = self._httpx_transport(proxy)
        return transport if self._max_connections is None else GatedTransport(transport, self._max_connections)

    def _httpx_transport(self, proxy: httpx.Proxy | None) -> httpx.AsyncBaseTransport:
        if proxy and proxy.url.scheme == "https":
            proxy.ssl_context = self._context  # httpcore would read the certificates on the event loop
        limits = httpx.Limits(max_connections=None, keepalive_expiry=KEEP_ALIVE_SECONDS)
        make = partial(OneCallTransport, verify=self._context, limits=limits, proxy=proxy)
        return ShardedTransport(make, KEEP_ALIVE_SECONDS, self._max_connections)

    def _aiohttp_transport(self, bridge: Any, aiohttp: Any, proxy: httpx.Proxy | None) -> httpx.AsyncBaseTransport:
        session = partial(_session, aiohttp, self._context)
        transport: httpx.AsyncBaseTransport = bridge.AiohttpTransport(verify=self._context, proxy=proxy, client=session)
        return transport


def _is_for_aiohttp(proxy: httpx.Proxy | None) -> bool:
    """It knows no SOCKS, and it warns of TLS within TLS and of how httpx-aiohttp gives it a password."""
    return proxy is None or (proxy.url.scheme == "http" and not proxy.auth)


def _session(aiohttp: Any, context: ssl.SSLContext) -> Any:
    """An aiohttp session of the running loop, without a limit of its own, which keeps no cookies."""
    connector = aiohttp.TCPConnector(limit=0, ssl=context, keepalive_timeout=KEEP_ALIVE_SECONDS)
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        max_field_size=_HEADER_BYTES,
    )


def _aiohttp_modules(async_transport: str) -> tuple[Any, Any] | None:
    if async_transport == "httpx":
        return None
    try:
        return import_module("httpx_aiohttp"), import_module("aiohttp")
    except ImportError:
        if async_transport == "auto":
            return None
    raise ImportError(
        "async_transport='aiohttp' needs an extra that is not installed: pip install 'langchain-promptrun[aiohttp]'"
    )


def network_settings() -> Settings:
    """The variables of the environment that shape connections, with their values."""
    return _chosen(lambda name: name in _CA_NAMES or name.lower() in (*_PROXY_NAMES, "no_proxy"))


def ca_settings() -> Settings:
    """The variables of the environment that say where certificates are, with their values."""
    return _chosen(_CA_NAMES.__contains__)


def _chosen(choose: Callable[[str], bool]) -> Settings:
    return tuple(sorted((name, value) for name, value in os.environ.items() if choose(name)))


def new_tls_context() -> ssl.SSLContext:
    """A TLS context that trusts what `SSL_CERT_FILE` or `SSL_CERT_DIR` names, else what certifi has.

    Raises:
        ValueError: What the variable names cannot be read.
    """
    try:
        return httpx.create_ssl_context()
    except OSError as error:
        reason = str(error)
    names = " and ".join(name for name, _ in ca_settings())
    raise ValueError(f"The environment variable {names} does not name certificates that can be read: {reason}")


def _check_proxies() -> None:
    for name, value in os.environ.items():
        if value and name.lower() in _PROXY_NAMES:
            _check_proxy(name, value)


def _check_proxy(name: str, value: str) -> None:
    """Look at one proxy, so that an unusable one is blamed by its variable and not by its value, a secret."""
    try:
        url = httpx.Proxy(value if "://" in value else f"http://{value}").url
    except (ValueError, httpx.InvalidURL):
        url = httpx.URL()
    if not url.host:
        raise ValueError(
            f"The environment variable {name} does not hold the URL of a proxy "
            "(http://, https://, socks5:// or socks5h://)."
        )
    if url.scheme.startswith("socks") and find_spec("socksio") is None:
        raise ImportError(
            f"The environment variable {name} names a SOCKS proxy, which needs: pip install 'httpx[socks]'"
        )


@contextlib.contextmanager
def _no_proxy_to_blame() -> Iterator[None]:
    """The proxies were looked at before, so NO_PROXY is what is left to be wrong."""
    try:
        yield
    except (ValueError, httpx.InvalidURL) as error:
        reason = str(error)
    else:
        return
    raise ValueError(f"The environment variable NO_PROXY holds something that httpx cannot use: {reason}")
