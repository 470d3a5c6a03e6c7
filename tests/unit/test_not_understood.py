"""A successful response without an answer: typed by its code, in the server's words, with all that came."""

from __future__ import annotations

import json

import pytest

from langchain_promptrun import errors

from .wire import DOCUMENT, READERS, STREAM, document, read, sse

TOO_MANY = {
    "a code": {"code": 429, "message": "Too many"},
    "a code in a string": {"code": "429", "msg": "Too many"},
    "a status code": {"message": "Too many", "statusCode": 429},
    "a named code": {"code": "rate_limit_exceeded", "message": "Too many"},
    "a list of errors": {"errors": [{"code": 429, "message": "Too many"}]},
    "a detail": {"detail": {"code": 429, "message": "Too many"}},
    "an empty list of choices": {"choices": [], "code": 429, "message": "Too many"},
}
WORDS = {
    "a detail": {"detail": "Cluster is asleep"},
    "FastAPI's details": {"detail": [{"loc": ["body", "model"], "msg": "Cluster is asleep"}]},
    "errors": {"errors": ["Cluster is asleep"]},
    "a message": {"message": "Cluster is asleep", "choices": None},
    "a code of success": {"error": {"code": 0, "message": "Cluster is asleep"}, "choices": []},
}


def raised(reader_type, body, headers):
    with pytest.raises(errors.PromptrunError) as caught:
        read(reader_type, body, headers=headers)
    return caught.value


@pytest.mark.parametrize("reader_type", READERS)
class TestDocuments:
    @pytest.mark.parametrize("wrong", TOO_MANY.values(), ids=TOO_MANY)
    def test_with_an_errors_code_are_that_error(self, reader_type, wrong):
        error = raised(reader_type, json.dumps(wrong).encode(), DOCUMENT | {"retry-after": "3"})
        assert type(error) is errors.PromptrunRateLimitError
        assert str(error) == "Too many (status 429)"
        assert (error.status_code, error.retry_after) == (429, 3)
        assert json.loads(error.body) == wrong

    @pytest.mark.parametrize("wrong", WORDS.values(), ids=WORDS)
    def test_without_a_code_begin_with_the_servers_words(self, reader_type, wrong):
        error = raised(reader_type, json.dumps(wrong).encode(), DOCUMENT | {"x-request-id": "r1"})
        assert type(error) is errors.PromptrunResponseError
        assert "Cluster is asleep" in str(error).splitlines()[0]
        assert f"no choices; what came: {sorted(wrong)}" in str(error)
        assert (error.status_code, error.request_id) == (200, "r1")
        assert json.loads(error.body) == wrong

    def test_tell_what_else_they_say_of_the_error(self, reader_type):
        wrong = {"message": "no", "type": "odd", "code": "e17", "param": "p", "request_id": "r2", "provider": "v"}
        error = raised(reader_type, json.dumps(wrong).encode(), DOCUMENT)
        told = (error.type, error.code, error.param, error.request_id, error.provider)
        assert told == ("odd", "e17", "p", "r2", "v")

    def test_of_any_size_make_a_short_message_and_a_capped_body(self, reader_type):
        wrong = {"message": "x" * 100_000} | {f"key {number}": 1 for number in range(10_000)}
        error = raised(reader_type, json.dumps(wrong).encode(), DOCUMENT)
        assert len(str(error)) <= 1_000
        assert "no choices; what came: [" in str(error)
        assert len(error.body) == 65_536

    def test_that_are_pages_are_told_by_their_titles(self, reader_type):
        page = b"<html><head><title>Down for repair</title></head><body><p>Come back</p></body></html>"
        error = raised(reader_type, page, {"content-type": "text/html", "x-request-id": "r1"})
        assert str(error).startswith("The server's answer is not JSON (text/html): Down for repair")
        assert "<" not in str(error)
        assert (error.status_code, error.body, error.request_id) == (200, page.decode(), "r1")

    def test_that_are_no_json_keep_what_came_capped(self, reader_type):
        assert len(raised(reader_type, b"x" * 100_000, DOCUMENT).body) == 65_536


@pytest.mark.parametrize("reader_type", READERS)
class TestStreams:
    @pytest.mark.parametrize("aside", [{"type": "ping"}, {"status": "queued"}, document(usage={"prompt_tokens": 1})])
    def test_cut_off_after_what_is_no_error_are_truncated(self, reader_type, aside):
        assert type(raised(reader_type, sse(aside, done=False), STREAM)) is errors.PromptrunStreamTruncatedError

    @pytest.mark.parametrize(
        "body", [b"data: " + b"x" * 2_000, sse('{"choices": ' + "[" * 20_000)], ids=["size", "depth"]
    )
    def test_that_cannot_be_read_have_the_status(self, reader_type, body):
        with pytest.raises(errors.PromptrunResponseError) as caught:
            read(reader_type, body, max_event_bytes=1_000 if len(body) < 3_000 else 1 << 20)
        assert caught.value.status_code == 200
