"""Exceptions of httpx and aiohttp, each as the error of the condition, without a trace of the request."""

from __future__ import annotations

import errno
import signal
import ssl

import aiohttp
import httpx
import pytest
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.http_exceptions import BadHttpMessage, BadStatusLine, TransferEncodingError
from yarl import URL

from langchain_promptrun.errors import PromptrunConnectionError, PromptrunError, PromptrunTimeoutError

from .exchanges import Lines, Request, Timeouts, Transport

SECRET_URL = "http://host/path?q=secret"
KEY = ConnectionKey("host", 80, False, True, None, None, None)
REFUSED = OSError(errno.ECONNREFUSED, "refused")


def caused(exception, *causes):
    chain = [exception, *causes]
    for one, cause in zip(chain, causes, strict=False):
        one.__cause__ = cause
    return exception


def over_aiohttp(cause):
    """As httpx-aiohttp 0.2.0 reports most of them."""
    return caused(httpx.ConnectTimeout(str(cause)), cause)


def over_httpcore(kind, text):
    """As httpx reports httpcore's exceptions, which have the same names."""
    return caused(kind(text), type(kind.__name__, (Exception,), {})(text))


def answered_badly(message, cause):
    info = aiohttp.RequestInfo(URL(SECRET_URL), "POST", None, URL(SECRET_URL))
    return caused(aiohttp.ClientResponseError(info, (), status=400, message=message), cause)


def failing(exception, naps=None, retries=0):
    """A call whose client raises; the error that comes of it."""

    def fail(_):
        raise exception

    client = httpx.Client(transport=httpx.MockTransport(fail))
    transport = Transport(http_client=client, sleep=[].append if naps is None else naps.append, jitter=lambda: 1.0)
    limits = Timeouts(1.0, 2.0, 3.0, 4.0)
    request = Request("POST", SECRET_URL, b"{}", {}, "sk-1", limits, max_retries=retries)
    with pytest.raises(PromptrunError) as caught:
        list(transport.exchange(request, Lines))
    return caught.value


def is_retried(exception):
    naps = []
    failing(exception, naps, retries=1)
    return bool(naps)


@pytest.mark.parametrize(
    "exception",
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
def test_exception_of_connecting_names_the_server_and_is_retried(exception):
    found = failing(exception)
    assert type(found) is PromptrunConnectionError
    assert str(found).startswith("Cannot connect to http://host: ")
    assert is_retried(exception)


@pytest.mark.parametrize(
    "exception",
    [
        caused(httpx.ConnectError("bad"), Exception("bad"), ssl.SSLCertVerificationError("bad certificate")),
        over_aiohttp(aiohttp.ClientConnectorCertificateError(KEY, ssl.CertificateError("bad certificate"))),
    ],
    ids=["httpx", "aiohttp"],
)
def test_exception_of_an_untrusted_certificate_is_not_retried(exception):
    found = failing(exception)
    assert type(found) is PromptrunConnectionError
    assert "bad certificate" in str(found)
    assert not found.is_retryable
    assert not is_retried(exception)


@pytest.mark.parametrize(
    "exception",
    [
        httpx.ReadError(""),
        httpx.WriteError("[Errno 32] Broken pipe"),
        httpx.RemoteProtocolError("Server disconnected without sending a response."),
        httpx.RemoteProtocolError(
            "peer closed connection without sending complete message body (incomplete chunked read)"
        ),
        httpx.RemoteProtocolError("<ConnectionTerminated error_code:0, last_stream_id:1, additional_data:None>"),
        httpx.RemoteProtocolError("<StreamReset stream_id:1, error_code:2, remote_reset:True>"),
        httpx.StreamClosed(),
        over_aiohttp(aiohttp.ServerDisconnectedError()),
        over_aiohttp(aiohttp.ClientOSError(errno.ECONNRESET, "reset")),
        over_aiohttp(aiohttp.ClientPayloadError("not completed")),
        aiohttp.ClientConnectionError("Connection closed"),
        ConnectionResetError(errno.ECONNRESET, "reset"),
        caused(over_aiohttp(aiohttp.ClientPayloadError("not completed")), TransferEncodingError("Not enough data")),
    ],
    ids=repr,
)
def test_exception_of_a_lost_connection_is_retried(exception):
    found = failing(exception)
    assert type(found) is PromptrunConnectionError
    assert str(found).startswith("The connection was lost")
    assert "secret" not in str(found)
    assert is_retried(exception)


@pytest.mark.parametrize(
    "exception",
    [
        over_httpcore(httpx.RemoteProtocolError, "bad Content-Length"),
        over_httpcore(httpx.RemoteProtocolError, "illegal header line: bytearray(b'X-A : b')"),
        answered_badly("Bad status line 'SSH-2.0'", BadStatusLine("SSH-2.0")),
        answered_badly("Duplicate Content-Length", BadHttpMessage("Duplicate")),
        over_aiohttp(aiohttp.ClientPayloadError("the framing of the body is broken")),
        caused(over_aiohttp(aiohttp.ClientPayloadError("not completed")), TransferEncodingError("zz")),
    ],
    ids=repr,
)
def test_exception_of_a_response_that_is_not_http_is_not_retried(exception):
    found = failing(exception)
    assert type(found) is PromptrunConnectionError
    assert str(found).startswith("The server's response is not valid HTTP: ")
    assert not found.is_retryable
    assert not is_retried(exception)


@pytest.mark.parametrize(
    ("exception", "phase", "seconds", "field"),
    [
        (httpx.ConnectTimeout("timed out"), "connect", "1 s", "`timeout`"),
        (over_aiohttp(aiohttp.ConnectionTimeoutError(f"to host {SECRET_URL}")), "connect", "1 s", "`timeout`"),
        (httpx.ReadTimeout("timed out"), "read", "2 s", "`timeout`"),
        (over_aiohttp(aiohttp.SocketTimeoutError("timed out")), "read", "2 s", "`timeout`"),
        (httpx.WriteTimeout("timed out"), "write", "3 s", "`timeout`"),
        (httpx.PoolTimeout("timed out"), "pool", "4 s", "`max_connections`"),
    ],
    ids=repr,
)
def test_timeout_of_a_phase_names_limit_and_field_and_is_retried_before_sending(exception, phase, seconds, field):
    found = failing(exception)
    assert type(found) is PromptrunTimeoutError
    assert found.phase == phase
    assert seconds in str(found)
    assert field in str(found)
    assert is_retried(exception) == (phase == "connect")


@pytest.mark.parametrize(
    ("exception", "words"),
    [
        (httpx.UnsupportedProtocol("unsupported protocol 'ftp://'"), "not the URL"),
        (httpx.InvalidURL(SECRET_URL), "not the URL"),
        (over_aiohttp(aiohttp.InvalidURL(SECRET_URL)), "not the URL"),
        (httpx.LocalProtocolError("Illegal header value b'Bearer secret'"), "not valid HTTP"),
        (httpx.DecodingError("Error -3: incorrect header check"), "cannot be decoded: Error -3"),
        (answered_badly("Duplicate Content-Length", BadHttpMessage("Duplicate")), "Duplicate Content-Length"),
        (answered_badly("", BadHttpMessage("")), "ClientResponseError"),
    ],
    ids=repr,
)
def test_exception_of_what_cannot_change_is_not_retried_nor_quoted(exception, words):
    found = failing(exception)
    assert words in str(found)
    assert "secret" not in str(found)
    assert not is_retried(exception)


def test_exception_of_the_client_is_not_linked_from_the_error():
    request = httpx.Request("POST", SECRET_URL, headers={"authorization": "Bearer secret"})
    found = failing(httpx.ReadError("gone", request=request))
    assert found.__cause__ is None
    assert found.__context__ is None
    assert request not in vars(found).values()


@pytest.fixture
def alarm():
    """A signal handler that raises, as callers have for a time-out of their own."""
    before = signal.getsignal(signal.SIGALRM)

    def install(handler):
        signal.signal(signal.SIGALRM, handler)

    yield install
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("kind", [TimeoutError, OSError, KeyError])
@pytest.mark.parametrize("size", [1, 20 << 20], ids=["before the head", "while the body goes out"])
def test_exception_of_a_callers_signal_handler_passes_as_it_is(alarm, raw_server, kind, size):
    if kind is OSError and size > 1:
        pytest.skip("httpcore takes it for the end of the connection")
    raised = kind("mine")

    def handler(number, frame):
        raise raised

    raw_server.answer(raw_server.HOLD)
    if size > 1:
        raw_server.take_nothing()
    alarm(handler)
    request = Request("POST", raw_server.url, b"x" * size, {}, "sk-1", Timeouts(5, 5, 5, 5), max_retries=2)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    with pytest.raises(kind) as caught:
        list(Transport().exchange(request, Lines))
    assert caught.value is raised
    assert raw_server.connections == 1
