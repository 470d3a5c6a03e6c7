"""What clients are made with, and which variable is to blame when they cannot be made."""

from __future__ import annotations

import sys

import httpx
import httpx_aiohttp
import pytest

from langchain_promptrun._http import clients as _connector
from langchain_promptrun._http.async_pool import ShardedTransport
from langchain_promptrun._http.clients import Connector, ca_settings, network_settings, new_tls_context
from langchain_promptrun._http.concurrency_limit import GatedTransport

NAMES = [
    name.upper() if upper else name for name in ("http_proxy", "https_proxy", "all_proxy") for upper in (True, False)
]
URL = httpx.URL("https://api.example/v1")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for name in [*NAMES, "NO_PROXY", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR"]:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def context():
    return new_tls_context()


def connector(context, kind="httpx", limit=None):
    return Connector(limit, kind, context)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "value", ["socks://user:secret@host", "ftp://secret@host", "http://secret:port", "://secret", "http://"]
)
def test_unusable_proxy_is_blamed_by_its_variable_and_not_shown(context, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=name) as caught:
        connector(context)
    assert "secret" not in str(caught.value)


def test_socks_proxy_without_its_package_is_blamed_by_its_variable(context, monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "socks5://host:1080")
    with pytest.raises(ImportError, match=r"ALL_PROXY.*httpx\[socks\]"):
        connector(context)


@pytest.fixture
def proxies_of_httpx(monkeypatch):
    """The proxies to which async calls would go over httpx; none does, for SOCKS needs a package."""
    found = []

    class Recording(httpx.AsyncBaseTransport):
        def __init__(self, make, *options):
            found.append(make.keywords["proxy"])

    monkeypatch.setattr(_connector, "ShardedTransport", Recording)
    return found


@pytest.mark.parametrize("url", ["socks5://host:1080", "https://host:3128", "http://user:word@host:3128"])
def test_proxy_that_aiohttp_does_not_take_well_is_httpxs(context, monkeypatch, proxies_of_httpx, url):
    monkeypatch.setattr(_connector, "find_spec", lambda name: name)
    monkeypatch.setenv("HTTPS_PROXY", url)
    monkeypatch.setenv("HTTP_PROXY", "http://host:3128")
    connector(context, "aiohttp").async_client()
    assert [proxy.url.scheme for proxy in proxies_of_httpx] == [url.partition(":")[0]]


def test_unusable_no_proxy_is_blamed(context, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://host:3128")
    monkeypatch.setenv("NO_PROXY", "fe80::/10")
    made = connector(context)
    for make in (made.client, made.async_client):
        with pytest.raises(ValueError, match="NO_PROXY"):
            make()


@pytest.mark.parametrize("kind", ["sync", "httpx", "aiohttp"])
def test_proxies_are_chosen_by_the_environment(context, monkeypatch, kind):
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    monkeypatch.setenv("HTTP_PROXY", "proxy:3128")
    monkeypatch.setenv("NO_PROXY", "direct.example,.inner.example,10.0.0.1")
    made = connector(context, kind)
    client = made.client() if kind == "sync" else made.async_client()
    proxied = client.transport_for(URL)
    direct = client.transport_for(httpx.URL("https://direct.example"))
    assert proxied is not direct
    for url in ("http://x.inner.example", "https://10.0.0.1/v1"):
        assert client.transport_for(httpx.URL(url)) is direct
    for url in ("http://other.example", "https://inner.example.other"):
        assert client.transport_for(httpx.URL(url)) is not direct


def test_proxy_over_tls_gets_the_same_certificates(context, monkeypatch, proxies_of_httpx):
    """Or httpcore would read its own on the event loop."""
    monkeypatch.setenv("HTTPS_PROXY", "https://proxy:3128")
    connector(context).async_client()
    assert [proxy.ssl_context for proxy in proxies_of_httpx if proxy] == [context]


def test_variables_of_others_are_not_ours(context, monkeypatch):
    monkeypatch.setenv("OPENAI_PROXY", "ftp://nonsense")
    connector(context)
    assert network_settings() == ()


def test_network_settings_are_all_that_shapes_connections(monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", "/file")
    monkeypatch.setenv("No_Proxy", "x")
    monkeypatch.setenv("https_proxy", "http://host")
    assert network_settings() == (("No_Proxy", "x"), ("SSL_CERT_FILE", "/file"), ("https_proxy", "http://host"))
    assert ca_settings() == (("SSL_CERT_FILE", "/file"),)


@pytest.mark.parametrize(
    ("kind", "installed", "expected"),
    [("auto", True, True), ("auto", False, False), ("aiohttp", True, True), ("httpx", True, False)],
)
def test_async_transport_is_the_one_asked_for(context, monkeypatch, kind, installed, expected):
    if not installed:
        monkeypatch.setitem(sys.modules, "httpx_aiohttp", None)
    transport = connector(context, kind).async_client().transport_for(URL)
    assert isinstance(transport, httpx_aiohttp.AiohttpTransport) == expected


@pytest.mark.parametrize(("limit", "expected"), [(None, ShardedTransport), (5, GatedTransport)])
def test_calls_over_httpx_are_spread_and_limited_where_there_is_a_limit(context, limit, expected):
    assert type(connector(context, "httpx", limit).async_client().transport_for(URL)) is expected


def test_aiohttp_asked_for_but_missing_names_the_extra(context, monkeypatch):
    monkeypatch.setitem(sys.modules, "httpx_aiohttp", None)
    with pytest.raises(ImportError, match=r"langchain-promptrun\[aiohttp\]"):
        connector(context, "aiohttp")


@pytest.mark.parametrize(("limit", "expected"), [(None, httpx_aiohttp.AiohttpTransport), (7, GatedTransport)])
def test_connections_of_aiohttp_are_counted_where_they_are_limited(context, limit, expected):
    assert type(connector(context, "aiohttp", limit).async_client().transport_for(URL)) is expected


async def test_aiohttp_session_has_no_limit_of_its_own_and_keeps_no_cookies(context):
    client = connector(context, "aiohttp").async_client()
    session = client.transport_for(URL).get_client()
    assert session.connector.limit == 0
    session.cookie_jar.update_cookies({"a": "b"}, None)
    assert len(session.cookie_jar) == 0
    await session.close()


@pytest.mark.parametrize(("name", "value"), [("SSL_CERT_FILE", "/nowhere.pem"), ("SSL_CERT_FILE", __file__)])
def test_unreadable_certificates_are_blamed_by_the_variable(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=name):
        new_tls_context()
