"""Claims of `_failures`: an error of the connection says what happened, the limit, and which field to change."""

import pytest

from langchain_promptrun._http.exceptions import cannot_connect, connection_lost, stalled, timed_out
from langchain_promptrun.errors import (
    PromptrunConnectionError,
    PromptrunStreamStalledError,
    PromptrunTimeoutError,
)


@pytest.mark.parametrize(
    ("phase", "field"), [("connect", "`timeout`"), ("read", "`timeout`"), ("write", "`timeout`"), ("pool", "`max_conn")]
)
def test_a_time_out_names_its_limit_and_the_field(phase, field):
    error = timed_out(phase, 1.5)
    assert type(error) is PromptrunTimeoutError
    assert error.phase == phase
    assert "within 1.5 s." in str(error)
    assert field in str(error)


def test_a_time_out_of_unknown_length_says_so_little():
    assert str(timed_out("pool", None)).startswith("No connection of the pool became free. ")


@pytest.mark.parametrize(("phase", "retried"), [("connect", True), ("read", False), ("write", False), ("pool", False)])
def test_only_a_connect_time_out_is_tried_again(phase, retried):
    assert timed_out(phase, 1).retryable is retried


def test_a_stalled_stream_names_its_limit_and_the_field():
    error = stalled(120, partial="so far")
    assert type(error) is PromptrunStreamStalledError
    assert (error.phase, error.partial, error.retryable) == ("read", "so far", False)
    assert str(error).startswith("The stream brought no content within 120 s. ")
    assert "`stream_chunk_timeout`" in str(error)


def test_no_connection_names_server_and_reason():
    error = cannot_connect("https://api.promptrun.ai", "[Errno 111] Connection refused.")
    assert type(error) is PromptrunConnectionError
    assert error.retryable is True
    assert str(error).startswith("Cannot connect to https://api.promptrun.ai: [Errno 111] Connection refused. Check")


def test_no_connection_may_be_final():
    assert cannot_connect("ftp://x", "unknown scheme", retryable=False).retryable is False


def test_a_lost_connection_tells_why_and_keeps_what_had_come():
    error = connection_lost("peer closed\nconnection", partial="so far", request_id="req_1")
    assert type(error) is PromptrunConnectionError
    assert (error.retryable, error.partial) == (True, "so far")
    assert str(error) == (
        "The connection was lost before the answer was complete: peer closed connection. (request id: req_1)"
    )


def test_a_reason_without_words_is_told_as_such():
    assert "no reason given" in str(connection_lost(""))
