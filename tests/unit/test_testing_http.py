import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_promptrun.testing._http import BadRequestError, Request, RequestParser, chunk, head, phrase

WHOLE = b"POST /v1/x?a=b HTTP/1.1\r\nHost: h\r\nA: 1\r\na:  2 \r\nContent-Length: 4\r\n\r\nbody"
CHUNKED = (
    b"PUT /y HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nTrailer: 1\r\n\r\n"
)
BARE = b"GET /z HTTP/1.0\r\n\r\n"


def fed(data, size):
    parser = RequestParser()
    return [request for start in range(0, len(data), size) for request in parser.feed(data[start : start + size])]


@pytest.mark.parametrize("size", [1, 2, 7, 10_000])
def test_requests_are_read_whatever_their_packets(size):
    first, second, third = fed(WHOLE + b"\r\n" + CHUNKED + BARE, size)
    assert first == Request("POST", "/v1/x?a=b", "HTTP/1.1", {"host": "h", "a": "1, 2", "content-length": "4"}, b"body")
    assert second.body == b"abc0123456789"
    assert (third.method, third.body) == ("GET", b"")


@pytest.mark.parametrize("cut", [WHOLE[:-1], CHUNKED[:-1], CHUNKED[:-5], BARE[:-2]])
def test_an_unfinished_request_is_waited_for(cut):
    assert fed(cut, 3) == []


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01 no http\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: four\r\n\r\n",
        b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfour\r\n",
        b"GET / HTTP/1.1\r\nA: " + b"x" * 70_000,
    ],
    ids=["tls", "no version", "no colon", "length", "chunk", "long"],
)
def test_what_is_no_http_is_refused(data):
    with pytest.raises(BadRequestError):
        fed(data, 100_000)


@given(st.binary(max_size=200), st.integers(1, 20))
def test_any_bytes_give_requests_or_a_refusal(data, size):
    try:
        found = fed(data, size)
    except BadRequestError:
        found = []
    assert all(isinstance(request, Request) for request in found)


@pytest.mark.parametrize(
    ("version", "connection", "keeps"),
    [
        ("HTTP/1.1", "", True),
        ("HTTP/1.1", "Close", False),
        ("HTTP/1.0", "", False),
        ("HTTP/1.0", "keep-alive", True),
    ],
)
def test_the_client_says_whether_the_connection_stays(version, connection, keeps):
    assert Request("GET", "/", version, {"connection": connection}, b"").keeps_alive is keeps


def test_a_head_is_a_status_line_and_fields():
    assert head(404, [("a", "1"), ("b", "2")]) == b"HTTP/1.1 404 Not Found\r\na: 1\r\nb: 2\r\n\r\n"


def test_an_unknown_status_has_a_phrase():
    assert phrase(529) == "Unknown"


def test_a_chunk_tells_its_length_and_an_empty_one_is_none():
    assert chunk(b"x" * 26) == b"1a\r\n" + b"x" * 26 + b"\r\n"
    assert chunk(b"") == b""
