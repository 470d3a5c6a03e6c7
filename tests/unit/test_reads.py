"""Limits on reads, by network streams that are faked."""

from __future__ import annotations

import gc
import threading
import weakref

import httpx
import pytest

from langchain_promptrun._http.reads import HeadLimit, limit_reads, watch_connection


class Stream:
    """Remembers the limits that it was read with."""

    def __init__(self):
        self.limits = []

    def read(self, size, timeout=None):
        self.limits.append(timeout)
        return b"x" * size


class Reader:
    def __init__(self, seconds):
        self.seconds = seconds

    def limit(self):
        return self.seconds


@pytest.fixture
def stream():
    return Stream()


@pytest.fixture
def connection(stream):
    watch_connection("connection.connect_tcp.complete", {"return_value": stream})
    return stream


# A head.


@pytest.mark.parametrize(
    "event", ["connection.start_tls.complete", "proxy.start_tls.complete", "socks.connect_tcp.complete"]
)
def test_each_new_connection_is_watched(stream, event):
    watch_connection(event, {"return_value": stream})
    with HeadLimit(0), pytest.raises(httpx.ReadTimeout):
        stream.read(1)


@pytest.mark.parametrize("event", ["connection.connect_tcp.started", "http11.send_request_headers.complete"])
def test_other_events_change_nothing(stream, event):
    watch_connection(event, {"return_value": stream})
    assert vars(stream) == {"limits": []}


@pytest.mark.parametrize(("given", "expected"), [(None, 60), (90, 60), (2, 2)])
def test_a_read_takes_no_longer_than_what_is_left_for_the_head(connection, given, expected):
    with HeadLimit(60):
        assert connection.read(3, given) == b"xxx"
    assert expected - 2 <= connection.limits[0] <= expected


def test_a_head_that_is_late_is_not_read_though_bytes_have_come(connection):
    with HeadLimit(0), pytest.raises(httpx.ReadTimeout):
        connection.read(1, timeout=60)
    assert connection.limits == []


def test_without_a_head_limit_a_read_has_its_own(connection):
    connection.read(1, timeout=7)
    with HeadLimit(None):
        connection.read(1)
    assert connection.limits == [7, None]


def test_a_head_limit_is_its_threads_own(connection):
    with HeadLimit(0):
        thread = threading.Thread(target=connection.read, args=(1, 7))
        thread.start()
        thread.join()
    assert connection.limits == [7]


def test_a_watched_connection_does_not_wait_for_the_collector():
    stream = Stream()
    watch_connection("connection.connect_tcp.complete", {"return_value": stream})
    undo = limit_reads(stream, Reader(1))
    undo()
    gone = weakref.ref(stream)
    gc.disable()
    try:
        del stream, undo
        assert gone() is None
    finally:
        gc.enable()


# A body.


def test_a_reader_is_asked_before_each_read(stream):
    reader = Reader(5)
    limit_reads(stream, reader)
    stream.read(1, 60)
    reader.seconds = None
    stream.read(1, timeout=60)
    assert stream.limits == [5, None]


def test_a_reader_that_is_gone_is_not_asked(stream):
    limit_reads(stream, Reader(5))
    stream.read(1, 60)
    assert stream.limits == [60]


def test_undone_limits_are_gone(stream):
    reader = Reader(5)
    limit_reads(stream, reader)()
    stream.read(1, 60)
    assert stream.limits == [60]


def test_a_body_has_no_head_limit_and_the_next_head_has_one_again(connection):
    reader = Reader(5)
    undo = limit_reads(connection, reader)
    with HeadLimit(0):
        connection.read(1)
        assert connection.limits == [5]
        undo()
        with pytest.raises(httpx.ReadTimeout):
            connection.read(1)


class Slotted:
    __slots__ = ()

    def read(self, size, timeout=None):
        raise NotImplementedError


@pytest.mark.parametrize("stream", [None, object(), Slotted()], ids=["none", "without reads", "not to be changed"])
def test_what_cannot_be_limited_is_left_alone(stream):
    assert limit_reads(stream, Reader(5)) is None
