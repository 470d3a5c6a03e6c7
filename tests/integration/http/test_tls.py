"""https over real sockets, with a certificate authority made for the test: trust, and proxies that see no secret."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import threading
import time

import pytest
import trustme

from langchain_promptrun import ChatPromptrun, PromptrunConnectionError, PromptrunInvalidRequestError
from langchain_promptrun.testing import PromptrunServer, Reply

from .exchanges import SSE, RawServer, call_at_once, chunk, head, whole

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


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def trusted(authority, monkeypatch, tmp_path):
    """The authority is trusted, as an operator says it: by a file."""
    path = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(path)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))


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


@pytest.fixture
def proxy(monkeypatch):
    proxy = Proxy()
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    yield proxy
    proxy.close()


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
@pytest.mark.usefixtures("trusted")
async def test_a_server_whose_authority_is_in_ssl_cert_file_is_trusted(server, carrier):
    server.queue(Reply(ANSWER))
    assert (await ask(server.base_url, carrier)).text == ANSWER
    assert server.requests[0].has_key(KEY)


@carriers
async def test_a_server_of_an_unknown_authority_never_gets_the_request(server, carrier):
    with pytest.raises(PromptrunConnectionError, match=r"certificate.*SSL_CERT_FILE.*`http_client`") as caught:
        await ask(server.base_url, carrier)
    assert server.requests == []
    assert KEY not in str(caught.value)


@carriers
@pytest.mark.usefixtures("trusted")
async def test_a_proxy_that_tunnels_sees_neither_key_nor_prompt_nor_answer(server, proxy, carrier):
    server.queue(Reply(ANSWER))
    assert (await ask(server.base_url, carrier)).text == ANSWER
    assert server.requests[0].has_key(KEY)
    assert [head.split()[:2] for head in proxy.asked] == [[b"CONNECT", f"127.0.0.1:{server.port}".encode()]]
    seen = b"".join((*proxy.asked, *proxy.seen))
    assert len(seen) > 1_000
    for secret in (KEY, PROMPT, ANSWER):
        assert secret.encode() not in seen


@carriers
@pytest.mark.parametrize("is_secure", [False, True], ids=["plain proxy", "proxy over TLS"])
@pytest.mark.usefixtures("trusted")
async def test_a_large_body_goes_through_a_proxy_that_tunnels(server, context, monkeypatch, carrier, is_secure):
    proxy = Proxy(context if is_secure else None)
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    server.queue(Reply(ANSWER))
    assert (await ask(server.base_url, carrier, PROMPT * 20_000)).text == ANSWER
    assert server.requests[0].body["messages"][0]["content"] == PROMPT * 20_000
    assert len(proxy.asked) == 1
    proxy.close()


@carriers
@pytest.mark.usefixtures("trusted")
async def test_a_request_that_the_server_had_before_it_closed_is_sent_once(context, carrier):
    """TLS sends an alert as the connection ends, which nobody acknowledges."""
    text = b'{"choices": [{"message": {"role": "assistant", "content": "one"}, "finish_reason": "stop"}]}'
    answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(text), text)
    came = []

    def serve():
        with contextlib.suppress(OSError):
            while True:
                with context.wrap_socket(listener.accept()[0], server_side=True) as connection:
                    for end in (answer, b""):
                        data = connection.recv(65_536)
                        while data and not data.endswith(b"}"):
                            data += connection.recv(65_536)
                        came.append(data)
                        connection.sendall(end)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        base_url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        transport = "auto" if carrier == "sync" else carrier
        model = ChatPromptrun(model="a/b", api_key=KEY, base_url=base_url, max_retries=0, async_transport=transport)

        async def call():
            return model.invoke(PROMPT) if carrier == "sync" else await model.ainvoke(PROMPT)

        assert (await call()).text == "one"
        with pytest.raises(PromptrunConnectionError):
            await call()
        await model.aclose()
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)
    assert len(came) == 2


@carriers
async def test_error_of_tls_on_a_plain_port_names_http(promptrun_server, carrier):
    with pytest.raises(PromptrunConnectionError, match=r'does not speak TLS.*Use "http://"') as caught:
        await ask(promptrun_server.base_url.replace("http:", "https:"), carrier)
    assert not caught.value.is_retryable


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

    def talk(connection):
        # else the system keeps small records back, and drops them at the end
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.recv(1024)
        raw_tls._over.wait(0.2 if then == "holds" else 0)
        for start in range(0, len(EARLY), size):
            connection.sendall(EARLY[start : start + size])
            raw_tls._over.wait(0.02 if then == "holds" else 0)
        raw_tls._over.wait(20 if then == "holds" else 0)
        if then == "resets":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    raw_tls._serve_one = talk
    for _ in range(1 if then == "holds" else 3):
        with pytest.raises(PromptrunInvalidRequestError, match="early"):
            await ask(raw_tls.url, carrier, "x" * (20 << 20))


BODY = b'{"choices": [{"message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}]}'
WHOLE = whole(BODY, "content-type: application/json")
STREAM = head(200, *SSE) + chunk(b": ")


@carriers
@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize(
    ("sent", "size"),
    [(b"", 1), (WHOLE[:-9], 1), (STREAM, 1), (b"", 20 << 20), (WHOLE, 1)],
    ids=["in mid-call", "in the body", "in a stream", "while a large body goes out", "while idle"],
)
async def test_reset_of_tls_is_told_at_once(raw_tls, carrier, caplog, sent, size):
    def talk(connection):
        connection.recv(1 << 16)
        connection.sendall(sent)
        raw_tls._over.wait(0.1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    raw_tls._serve_one = talk
    began = time.monotonic()
    async with model_for(raw_tls.url, carrier, timeout=20, streaming=sent is STREAM) as model:
        for _ in range(2):
            with contextlib.nullcontext() if sent is WHOLE else pytest.raises(PromptrunConnectionError):
                assert (await say(model, carrier, "x" * size)).text == "hi"
            await asyncio.sleep(0.2)
    assert time.monotonic() - began < 10
    assert caplog.messages == []


@pytest.mark.parametrize("server", ["raw_server", "raw_tls"])
@pytest.mark.usefixtures("trusted")
def test_threads_that_take_turns_wait_for_the_network_at_once(request, server):
    calls = call_at_once(request.getfixturevalue(server), 60, whole(b"one\n"), rounds=2)
    assert [call.result() for call in calls] == [["one", "end"]] * 120
