"""Exceptions of httpx and aiohttp, each as the error of the condition, without a trace of the request."""

from __future__ import annotations

import errno
import ssl

import aiohttp
import httpx
import pytest
from aiohttp.client_reqrep import ConnectionKey
from yarl import URL

from langchain_promptrun._http.faults import error_of_fault
from langchain_promptrun.errors import PromptrunConnectionError, PromptrunTimeoutError

LIMITS = {"connect": 1.0, "read": 2.0, "write": 3.0, "pool": 4.0}
SECRET_URL = "http://host/path?q=secret"
KEY = ConnectionKey("host", 80, False, True, None, None, None)


def over_aiohttp(cause):
    """As httpx-aiohttp 0.2.0 reports most of them."""
    fault = httpx.ConnectTimeout(str(cause))
    fault.__cause__ = cause
    return fault


def over_httpcore(kind, text):
    """As httpx reports httpcore's exceptions, which have the same names."""
    fault = kind(text)
    fault.__cause__ = type(kind.__name__, (Exception,), {})(text)
    return fault


def error(fault):
    return error_of_fault(fault, "http://host", LIMITS)


REFUSED = OSError(errno.ECONNREFUSED, "refused")


@pytest.mark.parametrize(
    "fault",
    [
        httpx.ConnectError("[Errno 111] Connection refused"),
        over_httpcore(httpx.ConnectError, "All connection attempts failed"),
        httpx.ProxyError("407 Proxy Authentication Required"),
        over_aiohttp(aiohttp.ClientConnectorError(KEY, REFUSED)),
        over_aiohttp(aiohttp.ClientConnectorDNSError(KEY, REFUSED)),
        over_aiohttp(aiohttp.ClientProxyConnectionError(KEY, REFUSED)),
    ],
    ids=repr,
)
def test_connection_that_cannot_be_made(fault):
    found = error(fault)
    assert type(found) is PromptrunConnectionError
    assert str(found).startswith("Cannot connect to http://host: ")
    assert found.retryable


def over_httpx(cause):
    """As httpx reports what httpcore reports."""
    fault = httpx.ConnectError(str(cause))
    fault.__cause__ = Exception(str(cause))
    fault.__cause__.__cause__ = cause
    return fault


@pytest.mark.parametrize(
    "fault",
    [
        over_httpx(ssl.SSLCertVerificationError("bad certificate")),
        over_aiohttp(aiohttp.ClientConnectorCertificateError(KEY, ssl.CertificateError("bad certificate"))),
    ],
    ids=["httpx", "aiohttp"],
)
def test_certificate_that_is_not_trusted_stays_so(fault):
    found = error(fault)
    assert type(found) is PromptrunConnectionError
    assert "bad certificate" in str(found)
    assert (found.retryable, found.is_retryable) == (False, False)


@pytest.mark.parametrize(
    "fault",
    [
        httpx.ReadError(""),
        httpx.WriteError("[Errno 32] Broken pipe"),
        httpx.RemoteProtocolError("Server disconnected without sending a response."),
        httpx.StreamClosed(),
        over_aiohttp(aiohttp.ServerDisconnectedError()),
        over_aiohttp(aiohttp.ClientOSError(errno.ECONNRESET, "reset")),
        over_aiohttp(aiohttp.ClientPayloadError("not completed")),
        aiohttp.ClientConnectionError("Connection closed"),
        ConnectionResetError(errno.ECONNRESET, "reset"),
    ],
    ids=repr,
)
def test_connection_that_was_lost(fault):
    found = error(fault)
    assert type(found) is PromptrunConnectionError
    assert str(found).startswith("The connection was lost")
    assert found.retryable


@pytest.mark.parametrize(
    ("fault", "phase", "seconds"),
    [
        (httpx.ConnectTimeout("timed out"), "connect", "1 s"),
        (over_aiohttp(aiohttp.ConnectionTimeoutError(f"Connection timeout to host {SECRET_URL}")), "connect", "1 s"),
        (httpx.WriteTimeout("timed out"), "write", "3 s"),
        (TimeoutError(), "write", "3 s"),
        (httpx.PoolTimeout("timed out"), "pool", "4 s"),
    ],
    ids=repr,
)
def test_time_out_of_a_phase(fault, phase, seconds):
    found = error(fault)
    assert type(found) is PromptrunTimeoutError
    assert found.phase == phase
    assert seconds in str(found)
    assert found.retryable == (phase == "connect")


@pytest.mark.parametrize(
    "fault", [httpx.ReadTimeout("timed out"), over_aiohttp(aiohttp.SocketTimeoutError("timed out"))], ids=repr
)
def test_read_time_out_is_left_to_the_caller(fault):
    assert error(fault) is None


@pytest.mark.parametrize(
    "fault",
    [
        httpx.UnsupportedProtocol("unsupported protocol 'ftp://'"),
        httpx.InvalidURL(SECRET_URL),
        over_aiohttp(aiohttp.InvalidURL(SECRET_URL)),
    ],
    ids=repr,
)
def test_url_that_is_none_is_not_tried_again(fault):
    found = error(fault)
    assert "not the URL" in str(found)
    assert not found.retryable


def test_request_that_is_no_http_is_not_tried_again_nor_quoted():
    found = error(httpx.LocalProtocolError("Illegal header value b'Bearer secret'"))
    assert not found.retryable
    assert "secret" not in str(found)


def test_answer_that_is_no_http_is_told_without_the_url():
    info = aiohttp.RequestInfo(URL(SECRET_URL), "POST", None, URL(SECRET_URL))
    found = error(aiohttp.ClientResponseError(info, (), status=400, message="Bad status line 'SSH-2.0'"))
    assert "Bad status line" in str(found)
    assert "secret" not in str(found)
    assert "ClientResponseError" in str(error(aiohttp.ClientResponseError(info, ())))


def test_error_refers_to_nothing_of_the_clients():
    request = httpx.Request("POST", SECRET_URL, headers={"authorization": "Bearer secret"})
    found = error(httpx.ReadError("gone", request=request))
    assert found.__cause__ is None
    assert found.__context__ is None
    assert request not in vars(found).values()
