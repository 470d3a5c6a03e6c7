"""Exceptions of httpx and aiohttp, each as the error of the condition, without a trace of the request."""

from __future__ import annotations

import errno
import re
import signal
import ssl
import threading
from functools import partial

import aiohttp
import httpx
import pytest
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.http_exceptions import BadHttpMessage, BadStatusLine, TransferEncodingError
from yarl import URL

from langchain_promptrun._http import response
from langchain_promptrun.errors import PromptrunConnectionError, PromptrunError, PromptrunTimeoutError

from .exchanges import HALF, SSE, Lines, Request, Timeouts, Transport, chunk, head, whole

SECRET_URL = "http://host/path?q=secret"
KEY = ConnectionKey("host", 80, False, True, None, None, None)
REFUSED = OSError(errno.ECONNREFUSED, "refused")
BAD_CERTIFICATE = ssl.SSLCertVerificationError("bad certificate")


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


def failing(exception):
    """The error of a call whose client raises, and how often it was asked again."""
    naps = []

    def fail(_):
        raise exception

    client = httpx.Client(transport=httpx.MockTransport(fail))
    transport = Transport(http_client=client, sleep=naps.append, jitter=lambda: 1.0)
    request = Request("POST", SECRET_URL, b"{}", {}, "sk-1", Timeouts(1.0, 2.0, 3.0, 4.0), max_retries=1)
    with pytest.raises(PromptrunError) as caught:
        list(transport.exchange(request, Lines))
    return caught.value, len(naps)


REFUSED_WORDS = "^Cannot connect to http://host: .*Check `base_url`"
UNTRUSTED = "^Cannot connect to http://host: .*bad certificate.*SSL_CERT_FILE"
LOST = "^The connection was lost"
NOT_HTTP = "^The server's response is not valid HTTP: "
CUT_OFF = "peer closed connection without sending complete message body (incomplete chunked read)"
EXCEPTIONS = [
    (httpx.ConnectError("[Errno 111] Connection refused"), REFUSED_WORDS, True),
    (over_httpcore(httpx.ConnectError, "All connection attempts failed"), REFUSED_WORDS, True),
    (httpx.ProxyError("407 Proxy Authentication Required"), REFUSED_WORDS, True),
    (over_aiohttp(aiohttp.ClientConnectorError(KEY, REFUSED)), REFUSED_WORDS, True),
    (over_aiohttp(aiohttp.ClientConnectorDNSError(KEY, REFUSED)), REFUSED_WORDS, True),
    (over_aiohttp(aiohttp.ClientProxyConnectionError(KEY, REFUSED)), REFUSED_WORDS, True),
    (caused(httpx.ConnectError("bad"), Exception("bad"), BAD_CERTIFICATE), UNTRUSTED, False),
    (over_aiohttp(aiohttp.ClientConnectorCertificateError(KEY, BAD_CERTIFICATE)), UNTRUSTED, False),
    (httpx.ReadError(""), LOST, True),
    (httpx.WriteError("[Errno 32] Broken pipe"), LOST, True),
    (httpx.RemoteProtocolError("Server disconnected without sending a response."), LOST, True),
    (httpx.RemoteProtocolError(CUT_OFF), LOST, True),
    (httpx.RemoteProtocolError("<ConnectionTerminated error_code:0, additional_data:None>"), LOST, True),
    (httpx.RemoteProtocolError("<StreamReset stream_id:1, error_code:2, remote_reset:True>"), LOST, True),
    (httpx.StreamClosed(), LOST, True),
    (over_aiohttp(aiohttp.ServerDisconnectedError()), LOST, True),
    # aiohttp gives it the response's head as far as it came
    (over_aiohttp(aiohttp.ServerDisconnectedError({"set-cookie": "secret"})), LOST, True),
    (over_aiohttp(aiohttp.ClientOSError(errno.ECONNRESET, "reset")), LOST, True),
    (over_aiohttp(aiohttp.ClientPayloadError("not completed")), LOST, True),
    (aiohttp.ClientConnectionError("Connection closed"), LOST, True),
    (ConnectionResetError(errno.ECONNRESET, "reset"), LOST, True),
    (caused(over_aiohttp(aiohttp.ClientPayloadError("")), TransferEncodingError("Not enough data")), LOST, True),
    (over_httpcore(httpx.RemoteProtocolError, "bad Content-Length"), NOT_HTTP, False),
    (over_httpcore(httpx.RemoteProtocolError, "illegal header line: bytearray(b'X-A : b')"), NOT_HTTP, False),
    (answered_badly("Bad status line 'SSH-2.0'", BadStatusLine("SSH-2.0")), NOT_HTTP, False),
    (answered_badly("Duplicate Content-Length", BadHttpMessage("")), NOT_HTTP + "Duplicate Content-Length", False),
    (answered_badly("", BadHttpMessage("")), NOT_HTTP + "ClientResponseError", False),
    (over_aiohttp(aiohttp.ClientPayloadError("the framing of the body is broken")), NOT_HTTP, False),
    (caused(over_aiohttp(aiohttp.ClientPayloadError("not completed")), TransferEncodingError("zz")), NOT_HTTP, False),
    (httpx.UnsupportedProtocol("unsupported protocol 'ftp://'"), "not the URL", False),
    (httpx.InvalidURL(SECRET_URL), "not the URL", False),
    (over_aiohttp(aiohttp.InvalidURL(SECRET_URL)), "not the URL", False),
    (httpx.LocalProtocolError("Illegal header value b'Bearer secret'"), "not valid HTTP", False),
    (httpx.DecodingError("Error -3: incorrect header check"), "cannot be decoded: Error -3", False),
]


TIMEOUTS = [
    (httpx.ConnectTimeout("timed out"), "connect", "1 s.*`timeout`"),
    (over_aiohttp(aiohttp.ConnectionTimeoutError(f"to host {SECRET_URL}")), "connect", "1 s.*`timeout`"),
    (httpx.ReadTimeout("timed out"), "read", "2 s.*`timeout`"),
    (over_aiohttp(aiohttp.SocketTimeoutError("timed out")), "read", "2 s.*`timeout`"),
    (httpx.WriteTimeout("timed out"), "write", "3 s.*`timeout`"),
    (httpx.PoolTimeout("timed out"), "pool", "4 s.*`max_connections`"),
]


@pytest.mark.parametrize(("exception", "words", "retried"), EXCEPTIONS, ids=[repr(row[0]) for row in EXCEPTIONS])
def test_exception_of_a_client_says_what_it_was_and_is_retried_where_that_may_help(exception, words, retried):
    found, retries = failing(exception)
    assert type(found) is PromptrunConnectionError
    assert re.search(words, str(found))
    assert "secret" not in str(found)
    assert found.is_retryable is retried is bool(retries)


@pytest.mark.parametrize(("exception", "phase", "words"), TIMEOUTS, ids=[repr(row[0]) for row in TIMEOUTS])
def test_timeout_of_a_phase_names_limit_and_field_and_is_retried_before_sending(exception, phase, words):
    found, retries = failing(exception)
    assert (type(found), found.phase) == (PromptrunTimeoutError, phase)
    assert re.search(words, str(found))
    assert retries == (phase == "connect")


def test_exception_of_the_client_is_not_linked_from_the_error():
    request = httpx.Request("POST", SECRET_URL, headers={"authorization": "Bearer secret"})
    found, _ = failing(httpx.ReadError("gone", request=request))
    assert (found.__cause__, found.__context__) == (None, None)
    assert request not in vars(found).values()


PHASES = {
    "before the head": b"",
    "while the body goes out": None,
    "in the body": HALF,
    "in the body of an error": whole(b"{}", status=503)[:-1],
    "behind the last item": head(200, *SSE) + chunk(b"[DONE]\n"),
}


class Handler:
    def __init__(self, raised):
        self.raised = raised

    def __call__(self, number, frame):
        raise self.raised


SHAPES = {
    "object": lambda handler: handler,
    "method": lambda handler: handler.__call__,
    "partial": lambda handler: partial(lambda _, number, frame: handler(number, frame), "bound"),
    "any arguments, after a reset": lambda handler: (
        lambda *arguments: signal.signal(arguments[0], signal.SIG_DFL) and handler(*arguments)
    ),
}


@pytest.mark.parametrize(
    ("kind", "phase", "shape"),
    [
        *((kind, phase, "object") for kind in (TimeoutError, OSError, ConnectionError, KeyError) for phase in PHASES),
        *((TimeoutError, "before the head", shape) for shape in SHAPES),
    ],
)
def test_exception_of_a_callers_signal_handler_passes_as_it_is(alarm, raw_server, monkeypatch, kind, phase, shape):
    begun, raised = PHASES[phase], kind("mine")
    alarm(SHAPES[shape](Handler(raised)))
    monkeypatch.setattr(response, "LAST_CHUNK_SECONDS", 5.0)
    if begun is None:
        raw_server.take_nothing()
        signal.setitimer(signal.ITIMER_REAL, 0.5)
    else:
        interrupt = partial(signal.pthread_kill, threading.main_thread().ident, signal.SIGALRM)
        raw_server.answer(begun, 0.1, interrupt, raw_server.HOLD)
    body = b"x" * (20 << 20 if begun is None else 1)
    request = Request("POST", raw_server.url, body, {}, "sk-1", Timeouts(5, 5, 5, 5), max_retries=2)
    with pytest.raises(kind) as caught:
        list(Transport().exchange(request, Lines))
    assert caught.value is raised
    assert raw_server.connections == 1
    assert response._open_bodies == {}
