"""Where a request goes, and when a key would go there in plain text."""

from __future__ import annotations

import logging

import pytest

from langchain_promptrun._http.request import Request, Timeouts
from langchain_promptrun._http.target import target_of


def target(url, query=None):
    return target_of(
        Request(method="POST", url=url, body=None, headers={}, api_key="k", timeouts=Timeouts(), query=query)
    )


def test_query_is_added_to_the_urls_own():
    found = target("https://host/v1?a=1", {"b": "x y", "c": 2})
    assert dict(found.url.params) == {"a": "1", "b": "x y", "c": "2"}
    assert target("https://host/v1?a=1").url.query == b"a=1"


def test_what_may_be_logged_has_neither_user_nor_query():
    found = target("https://user:word@host:8443/v1/chat?a=secret", {"b": "secret"})
    assert found.origin == "https://host:8443"
    assert found.label == "https://host:8443/v1/chat"


@pytest.mark.parametrize("url", ["http://[::1", "http://host:port/", "http://a\nb/"])
def test_url_that_is_none_is_refused(url):
    with pytest.raises(ValueError, match="not a URL"):
        target(url)


def test_plain_http_is_warned_of_once_for_each_host(caplog):
    caplog.set_level(logging.WARNING)
    for url in ("http://one.example/a?q=secret", "http://one.example/b", "http://two.example", "https://three.example"):
        target(url)
    assert [record.getMessage().split(" in plain")[0] for record in caplog.records] == [
        "The API key goes to one.example",
        "The API key goes to two.example",
    ]
    assert "secret" not in caplog.text


@pytest.mark.parametrize("host", ["localhost", "api.localhost", "127.0.0.1", "127.8.9.1", "[::1]"])
def test_loopback_is_not_warned_of(caplog, host):
    caplog.set_level(logging.WARNING)
    target(f"http://{host}:8000/v1")
    assert not caplog.records
