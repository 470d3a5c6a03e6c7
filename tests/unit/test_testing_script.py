import gzip
import math
import threading
import zlib

import pytest

from langchain_promptrun.testing import Fault
from langchain_promptrun.testing._script import SSE, Hangup, Pause, Response, json_response, steps

WHOLE = json_response({"a": 1})
STREAM = Response(200, SSE, [b"data: 1\n\n", b"data: 2\n\n", b"data: 3\n\n"])
ONE, TWO, THREE = (b"9\r\n" + piece + b"\r\n" for piece in STREAM.pieces)
END = b"0\r\n\r\n"
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"


def played(response, keeps_alive=True, **fault):
    return list(steps(response, Fault(**fault), keeps_alive=keeps_alive))


def body(response, **fault):
    """The steps after a stream's head."""
    head, *rest = played(response, **fault)
    assert head.endswith(b"\r\n\r\n")
    return rest


def test_a_whole_answer_goes_out_in_one_flush():
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 7\r\n\r\n"
    assert played(WHOLE) == [head + b'{"a":1}']


def test_a_stream_goes_out_an_event_a_flush():
    assert played(STREAM) == [STREAM_HEAD, ONE, TWO, THREE, END]


def test_the_connection_is_closed_for_a_client_that_does_not_keep_it():
    assert played(STREAM, keeps_alive=False)[-1] == Hangup()


def test_a_delay_comes_before_the_first_byte():
    event = threading.Event()
    assert played(WHOLE, delay=event)[0] == Pause(event)


@pytest.mark.parametrize(("fault", "end"), [({"cut": True}, Hangup()), ({"reset": True}, Hangup(reset=True))])
@pytest.mark.parametrize(
    ("after", "sent"),
    [(None, []), (0, [STREAM_HEAD]), (2, [STREAM_HEAD, ONE, TWO]), (9, [STREAM_HEAD, ONE, TWO, THREE])],
)
def test_the_connection_can_end_before_the_head_after_it_and_after_any_event(fault, end, after, sent):
    assert played(STREAM, after=after, **fault)[: len(sent) + 1] == [*sent, end]


def test_a_pause_comes_before_the_head_or_at_its_point():
    assert played(STREAM, pause=2)[:2] == [Pause(2), STREAM_HEAD]
    assert body(STREAM, pause=2, after=1) == [ONE, Pause(2), TWO, THREE, END]


def test_pause_and_cut_compose():
    assert body(STREAM, pause=2, cut=True, after=1)[:3] == [ONE, Pause(2), Hangup()]


def test_a_clean_cut_ends_the_body_properly():
    assert body(STREAM, cut="clean", after=2) == [ONE, TWO, END]
    assert played(STREAM, cut="clean") == [STREAM_HEAD + END]


def test_a_whole_answer_cut_clean_tells_the_length_of_what_it_sends():
    (sent,) = played(WHOLE, cut="clean", after_bytes=4)
    assert sent.endswith(b'content-length: 4\r\n\r\n{"a"')


def test_a_whole_answer_cut_short_tells_the_length_of_the_whole():
    head, part, end = played(WHOLE, cut=True, after_bytes=4)[:3]
    assert b"content-length: 7" in head
    assert (part, end) == (b'{"a"', Hangup())


@pytest.mark.parametrize(
    ("after_bytes", "sent"),
    [
        (0, []),
        (4, [b"4\r\ndata\r\n"]),
        (9, [ONE]),
        (12, [ONE, b"3\r\ndat\r\n"]),
        (27, [ONE, TWO, THREE]),
        (99, [ONE, TWO, THREE]),
    ],
)
def test_the_point_can_be_counted_in_bytes(after_bytes, sent):
    assert body(STREAM, cut=True, after_bytes=after_bytes)[: len(sent) + 1] == [*sent, Hangup()]


def test_an_error_ends_the_stream():
    assert body(STREAM, error={"error": "no"}, after=1) == [ONE, b'16\r\ndata: {"error":"no"}\n\n\r\n', END]
    assert body(STREAM, error="no") == [b"a\r\ndata: no\n\n\r\n", END]


def test_comments_flow_for_ever_or_during_the_pause():
    ping = b"8\r\n: ping\n\n\r\n"
    assert body(STREAM, comments=0.5)[0] == Pause(math.inf, 0.5, ping)
    assert body(STREAM, comments=0.5, pause=2, after=1) == [ONE, Pause(2, 0.5, ping), TWO, THREE, END]


def test_a_json_answer_is_kept_alive_by_white_space():
    assert body(WHOLE, comments=0.5)[0] == Pause(math.inf, 0.5, b"1\r\n\n\r\n")


def test_slices_go_out_as_they_are_with_their_pauses():
    event = threading.Event()
    sent = body(STREAM, slices=[b"da", 0.5, b"ta", event, b"x"])
    assert sent == [b"2\r\nda\r\n", Pause(0.5), b"2\r\nta\r\n", Pause(event), b"1\r\nx\r\n", END]


def test_pauses_between_slices_are_not_counted():
    assert body(STREAM, slices=[0.5, b"a", 0.5, b"b"], cut=True, after=1)[:4] == [
        Pause(0.5),
        b"1\r\na\r\n",
        Pause(0.5),
        Hangup(),
    ]


def test_raw_slices_are_the_whole_response():
    assert played(STREAM, slices=[b"HTTP/1.1 2", b"00 OK\r\n"], framing="raw", pause=math.inf, after=2) == [
        b"HTTP/1.1 2",
        b"00 OK\r\n",
        Pause(math.inf),
        Hangup(),
    ]


def test_without_a_length_the_connections_end_is_the_bodys():
    head, *rest = played(STREAM, framing="close")
    assert b"connection: close" in head
    assert b"transfer-encoding" not in head
    assert rest == [*STREAM.pieces, Hangup()]


def test_a_stream_can_tell_its_length():
    head, *rest = played(STREAM, framing="length")
    assert b"content-length: 27" in head
    assert rest == [*STREAM.pieces]


@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.parametrize("pieces", [[b""], []])
def test_an_empty_body_is_a_head_alone(status, pieces):
    (sent,) = played(Response(status, "text/plain", pieces))
    assert sent.startswith(b"HTTP/1.1 %d " % status)
    assert sent.endswith(b"content-length: 0\r\n\r\n")


@pytest.mark.parametrize(
    ("framing", "sent"), [(None, [b"1\r\nx\r\n", END]), ("length", [b"x"]), ("close", [b"x", Hangup()])]
)
def test_an_empty_piece_sends_nothing(framing, sent):
    steps_taken = body(STREAM, slices=[b"", b"x"], framing=framing)
    assert [step for step in steps_taken if step != b""] == sent


def test_an_empty_piece_counts_as_a_piece_and_has_no_byte():
    assert body(STREAM, slices=[b"", b"xy"], after=1, pause=2)[-3:] == [Pause(2), b"2\r\nxy\r\n", END]
    assert [step for step in body(STREAM, slices=[b"", b"xy"], after_bytes=1, cut=True) if step][-2:] == [
        b"1\r\nx\r\n",
        Hangup(),
    ]


def test_a_fault_has_the_last_word_on_status_and_headers():
    (sent,) = played(WHOLE, status=429, headers={"Retry-After": "2", "Content-Type": "text/html"})
    assert sent.startswith(b"HTTP/1.1 429 Too Many Requests\r\n")
    assert b"retry-after: 2\r\n" in sent
    assert b"content-type: text/html\r\n" in sent
    assert b"application/json" not in sent


def test_a_header_may_occur_twice():
    (sent,) = played(WHOLE, headers=[("set-cookie", "a=1"), ("set-cookie", "b=2")])
    assert b"set-cookie: a=1\r\nset-cookie: b=2\r\n" in sent


def test_after_a_wrong_length_the_connection_is_closed():
    assert played(WHOLE, headers={"content-length": "99"})[-1] == Hangup()


@pytest.mark.parametrize(("encoding", "opened"), [("gzip", gzip.decompress), ("deflate", zlib.decompress)])
def test_a_compressed_body_can_be_read_at_any_flush(encoding, opened):
    head, *rest = played(STREAM, encoding=encoding, framing="close")
    assert f"content-encoding: {encoding}".encode() in head
    pieces = [step for step in rest if isinstance(step, bytes)]
    assert opened(b"".join(pieces)) == b"".join(STREAM.pieces)
    window = zlib.MAX_WBITS | 32
    reader = zlib.decompressobj(window)
    assert [reader.decompress(piece) for piece in pieces[:3]] == STREAM.pieces


def test_comments_are_compressed_with_the_rest():
    steps_taken = body(STREAM, encoding="gzip", comments=1.0, pause=2, after=0)
    assert b"ping" not in steps_taken[0].comment
    assert len(steps_taken[0].comment) > 10


def test_there_is_the_same_pause_between_any_two_pieces():
    assert body(STREAM, pace=0.1) == [ONE, Pause(0.1), TWO, Pause(0.1), THREE, END]
    paced = Response(200, SSE, STREAM.pieces, pace=0.2)
    assert body(paced)[1] == Pause(0.2)
    assert body(paced, pace=0.1)[1] == Pause(0.1)
