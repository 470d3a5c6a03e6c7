"""https over real sockets, with a certificate authority made for the test: trust, and proxies that see no secret."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time

import pytest
import trustme

from langchain_promptrun import ChatPromptrun, PromptrunConnectionError, PromptrunInvalidRequestError
from langchain_promptrun.errors import PromptrunTimeoutError
from langchain_promptrun.testing import PromptrunServer, Reply

from .exchanges import SSE, RawServer, call_at_once, chunk, head, whole

pytestmark = pytest.mark.usefixtures("environment")

KEY = "sk-sentinel-key"
PROMPT = "sentinel-in-prompt"
ANSWER = "sentinel-in-answer"


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def context(authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    return context


@pytest.fixture
def server(context):
    with PromptrunServer(api_key=KEY, tls=context) as server:
        yield server


@pytest.fixture
def trusted(authority, environment, tmp_path):
    """The authority is trusted, as an operator says it: by a file."""
    path = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(path)
    environment.setenv("SSL_CERT_FILE", str(path))


class Proxy(RawServer):
    """Tunnels whatever it is asked to CONNECT to, and writes down all that it sees of it."""

    def __init__(self, context=None):
        self.asked, self.seen = [], []
        super().__init__(context)

    def _serve_one(self, client):
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(65_536)
        self.asked.append(head)
        host, _, port = head.split()[1].decode().rpartition(":")
        with socket.create_connection((host, int(port))) as upstream:
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            self._spawn(self._pipe, client, upstream)
            self._pipe(upstream, client)
        return False

    def _pipe(self, source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                self.seen.append(data)
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


def model_for(url, carrier, **options):
    transport = "auto" if carrier == "sync" else carrier
    fixed = {"api_key": KEY, "base_url": url, "max_retries": 0, "async_transport": transport}
    return ChatPromptrun(model="openai/gpt-4o", **{"timeout": (5, 5, 60, 5)} | fixed | options)


async def say(model, carrier, prompt):
    return model.invoke(prompt) if carrier == "sync" else await model.ainvoke(prompt)


async def ask(url, carrier, prompt=PROMPT):
    async with model_for(url, carrier) as model:
        return await say(model, carrier, prompt)


carriers = pytest.mark.parametrize("carrier", ["sync", "httpx", "aiohttp"])


@carriers
async def test_a_server_of_an_unknown_authority_never_gets_the_request(server, carrier):
    with pytest.raises(PromptrunConnectionError, match=r"certificate.*SSL_CERT_FILE.*`http_client`") as caught:
        await ask(server.base_url, carrier)
    assert server.requests == []
    assert KEY not in str(caught.value)


@pytest.fixture(params=[False, True], ids=["plain proxy", "proxy over TLS"])
def proxy(request, context, environment):
    proxy = Proxy(context if request.param else None)
    environment.setenv("HTTPS_PROXY", proxy.url)
    yield proxy
    proxy.close()


@carriers
@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("size", [1, 20_000])
async def test_a_proxy_that_tunnels_sees_neither_key_nor_prompt_nor_answer(server, proxy, carrier, size):
    server.queue(Reply(ANSWER))
    assert (await ask(server.base_url, carrier, PROMPT * size)).text == ANSWER
    assert server.requests[0].body["messages"][0]["content"] == PROMPT * size
    assert server.requests[0].has_key(KEY)
    assert [head.split()[:2] for head in proxy.asked] == [[b"CONNECT", f"127.0.0.1:{server.port}".encode()]]
    seen = b"".join((*proxy.asked, *proxy.seen))
    assert len(seen) > 1_000
    for secret in (KEY, PROMPT, ANSWER):
        assert secret.encode() not in seen


@carriers
@pytest.mark.parametrize("user", ["", "user:secret@"])
@pytest.mark.parametrize("variable", ["HTTP_PROXY", "HTTPS_PROXY"])
async def test_error_of_a_proxy_that_refuses_names_it_without_its_credentials(monkeypatch, carrier, user, variable):
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{bound.getsockname()[1]}"
        monkeypatch.setenv(variable, f"http://{user}{address}")
        with pytest.raises(PromptrunConnectionError, match=f"through the proxy http://{address}: ") as caught:
            await ask(variable.partition("_")[0].lower() + "://nowhere.invalid/v1", carrier)
    assert "secret" not in str(caught.value)
    assert caught.value.is_retryable


@pytest.fixture
def raw_tls(context):
    server = RawServer(context)
    yield server
    server.close()


EARLY = whole(b'{"error":{"message":"early"}}', status=413)


@carriers
@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("size", [len(EARLY), 38, 12], ids=["one record", "head and body", "small records"])
@pytest.mark.parametrize("then", ["holds", "closes", "resets"])
async def test_early_response_of_a_server_that_reads_no_more_is_the_response(raw_tls, carrier, size, then):
    """TLS sends session tickets of its own before."""
    pause = 0.02 if then == "holds" else 0.0
    records = [step for start in range(0, len(EARLY), size) for step in (EARLY[start : start + size], pause)]
    end = {"holds": [20.0, raw_tls.CLOSE], "closes": [raw_tls.CLOSE], "resets": [raw_tls.RESET]}[then]
    raw_tls.answer_early(10 * pause, *records, *end)
    for _ in range(1 if then == "holds" else 3):
        with pytest.raises(PromptrunInvalidRequestError, match="early"):
            await ask(raw_tls.url, carrier, "x" * (20 << 20))


BODY = b'{"choices": [{"message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}]}'
WHOLE = whole(BODY, "content-type: application/json")
STREAM = head(200, *SSE) + chunk(b": ")


@carriers
@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("server", ["raw_server", "raw_tls"])
async def test_a_request_that_the_server_had_before_it_closed_is_sent_once(request, server, carrier):
    """TLS sends an alert as the connection ends, which nobody acknowledges."""
    server = request.getfixturevalue(server)
    server.answer(WHOLE)
    server.answer(server.CLOSE)
    async with model_for(server.url, carrier) as model:
        assert (await say(model, carrier, PROMPT)).text == "hi"
        with pytest.raises(PromptrunConnectionError):
            await say(model, carrier, PROMPT)
    assert len(server.requests) == 2


@carriers
@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize(
    ("sent", "size"),
    [(b"", 1), (WHOLE[:-9], 1), (STREAM, 1), (b"", 20 << 20), (WHOLE, 1)],
    ids=["in mid-call", "in the body", "in a stream", "while a large body goes out", "while idle"],
)
async def test_reset_of_tls_is_told_at_once(raw_tls, carrier, caplog, sent, size):
    raw_tls.answer_early(sent, 0.1, raw_tls.RESET)
    began = time.monotonic()
    async with model_for(raw_tls.url, carrier, timeout=20, streaming=sent is STREAM) as model:
        for _ in range(2):
            with contextlib.nullcontext() if sent is WHOLE else pytest.raises(PromptrunConnectionError):
                assert (await say(model, carrier, "x" * size)).text == "hi"
            assert await asyncio.to_thread(raw_tls.saw_end)
            await asyncio.sleep(0.02)
    assert time.monotonic() - began < 10
    assert caplog.messages == []


@pytest.mark.usefixtures("trusted")
def test_part_of_a_tls_record_is_nothing_received(raw_tls):
    def drip():
        for byte in b"\x17\x03\x03\x40\x00" + bytes(55):
            socket.socket.send(*raw_tls._open, bytes([byte]))
            time.sleep(0.05)

    raw_tls.answer(STREAM, drip, raw_tls.RESET)
    with pytest.raises(PromptrunTimeoutError):
        model_for(raw_tls.url, "sync", timeout=0.5).invoke(PROMPT)


def assert_answered_at_once(server):
    calls = call_at_once(server, 60, whole(b"one\n"), rounds=2)
    assert [call.result() for call in calls] == [["one", "end"]] * 120


@pytest.mark.parametrize("server", ["raw_server", "raw_tls"])
@pytest.mark.usefixtures("trusted")
def test_threads_that_share_a_lock_wait_for_the_network_at_once(request, server):
    assert_answered_at_once(request.getfixturevalue(server))


@pytest.mark.usefixtures("trusted", "proxy")
def test_threads_that_share_a_lock_wait_at_once_for_a_proxy_that_tunnels(raw_tls):
    assert_answered_at_once(raw_tls)
