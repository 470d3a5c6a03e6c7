"""Errors where they really stand in answers of status 200: typed, in the server's words, asked once unless retried."""

from __future__ import annotations

import json

import pytest
from langchain_core import exceptions as core

from langchain_promptrun import errors

TEXT = json.dumps({"id": "1", "choices": [{"index": 0, "delta": {"content": "x"}}]})
END = json.dumps({"id": "1", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
BAD = '{"error":{"code":400,"message":"bad request"}}'
LOGIN = '{"base_resp":{"status_code":1004,"status_msg":"login fail"}}'
PRETTY = '{\n  "error": {\n    "message": "model is overheated"\n  }\n}'
PAGE = "<html>\n<head><title>502 Bad Gateway</title></head>\n</html>"
TENCENT = '{"Response":{"Error":{"Code":"AuthFailure","Message":"bad signature"},"RequestId":"r"}}'
ALIBABA = '{"code":"InvalidParameter.DataInspection","message":"bad parameter"}'
ILLEGIBLE = errors.PromptrunResponseError
FAILURES = {
    "an error and the end mark in one event": (f"data: {BAD}\ndata: [DONE]\n\n", core.ModelInvalidRequestError, "bad"),
    "words and the end": ('data: {"message":"model is loading"}\n\n', ILLEGIBLE, "is loading"),
    "words under another key": ('data: {"detail":"model is loading"}\n\n', ILLEGIBLE, "is loading"),
    "an error without a field": (f": hi\n\n{BAD}\n\n", core.ModelInvalidRequestError, "bad request"),
    "an error on many lines": (f": hi\n\n{PRETTY}\n", ILLEGIBLE, "overheated"),
    "half a document behind another": (f'data: {TEXT}{{"choices":\n\n', ILLEGIBLE, "not JSON"),
    "a page": (f": hi\n\n{PAGE}\n", ILLEGIBLE, "502 Bad Gateway"),
    "plain words": (": hi\n\nInternal Server Error\n", ILLEGIBLE, "Internal Server Error"),
    "MiniMax's status in a document": (LOGIN, core.ModelAuthenticationError, "login fail"),
    "MiniMax's status in a stream": (f"data: {LOGIN}\n\n", core.ModelAuthenticationError, "login fail"),
    "MiniMax's unknown status": (LOGIN.replace("1004", "1"), core.ModelAPIError, "login fail"),
    "Tencent's error": (TENCENT, core.ModelAuthenticationError, "bad signature"),
    "Tencent's error in a stream": ('data: {"ErrorMsg":{"Msg":"busy","Code":4001}}\n\n', ILLEGIBLE, "busy"),
    "Alibaba's kind and cause": (ALIBABA, core.ModelInvalidRequestError, "bad parameter"),
    "Spark's header": ('{"header":{"code":10013,"message":"refused"}}', ILLEGIBLE, "refused"),
}
LATER = ["an error without a field", "an error on many lines", "a page", "plain words", "words and the end"]


@pytest.mark.parametrize("name", FAILURES)
async def test_error_in_a_200_answer_has_the_servers_words_and_is_asked_for_once(ask_in_every_style, name):
    body, kind, words = FAILURES[name]
    failures, asked = await ask_in_every_style(body.encode())
    for style, error in failures.items():
        assert isinstance(error, kind), (style, error)
        assert words in str(error)
    assert set(asked.values()) == {1}


@pytest.mark.parametrize("name", LATER)
async def test_error_after_text_has_the_servers_words_and_what_came(ask_in_every_style, name):
    body, kind, words = FAILURES[name]
    failures, _ = await ask_in_every_style(f"data: {TEXT}\n\n{body}".encode())
    for error in failures.values():
        assert isinstance(error, kind)
        assert (words in str(error), error.partial) == (True, "x")


DONE = "data: [DONE]\n\n"
COUNTS = '{"id":"1","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}'
BEFORE_THE_END_MARK = {
    "words": 'data: {"message":"boom"}',
    "words under another key": 'data: {"detail":"boom"}',
    "a list of errors": 'data: {"success":false,"errors":[{"message":"boom"}]}',
    "Tencent's error": 'data: {"Response":{"Error":{"Code":"X","Message":"boom"}}}',
    "Tencent's other error": 'data: {"ErrorMsg":{"Msg":"boom","Code":4001},"Choices":[]}',
    "Baidu's error": 'data: {"error_code":17,"error_msg":"boom"}',
    "words in a document of the stream": 'data: {"id":"x","message":"boom","code":400,"choices":[]}',
    "words, then counts": f'data: {{"message":"boom"}}\n\ndata: {COUNTS}',
    "plain words": "Internal Server Error: boom",
    "plain words that look like a field": "Error: boom",
    "a page": "<html><title>boom</title></html>",
    "an event of an exception": "event: exception\ndata: boom",
    "an event of an exception in JSON": 'event: exception\ndata: {"message":"boom"}',
    "an event of a failure": "event: response.failed\ndata: boom happened",
    "Bedrock's exception": 'data: {"internalServerException":{"message":"boom"}}',
}


@pytest.mark.parametrize("event", BEFORE_THE_END_MARK.values(), ids=BEFORE_THE_END_MARK)
async def test_error_after_text_and_before_the_end_mark_is_no_success(ask_in_every_style, event):
    failures, _ = await ask_in_every_style(f"data: {TEXT}\n\n{event}\n\n{DONE}".encode())
    assert {(isinstance(error, errors.PromptrunError), error.partial) for error in failures.values()} == {(True, "x")}
    assert all("boom" in str(error) for error in failures.values())


async def test_error_event_without_words_is_no_success(ask_in_every_style):
    failures, _ = await ask_in_every_style(f"data: {TEXT}\n\nevent: error\ndata:\n\n{DONE}".encode())
    assert all(isinstance(error, errors.PromptrunAPIError) for error in failures.values())


NO_ERRORS = {
    "a title": f'data: {TEXT}\n\ndata: {{"id":"1","title":"A chat","choices":[]}}',
    "words of success": f'data: {TEXT}\n\ndata: {{"code":0,"message":"success"}}',
    "a code of success": f'data: {{"error":{{"code":"200","message":"ok"}},"choices":[]}}\n\ndata: {TEXT}',
    "a choice's code of success": f'data: {TEXT}\n\ndata: {{"choices":[{{"error":{{"code":200,"message":"ok"}}}}]}}',
    "words of an end": f'data: {TEXT}\n\ndata: {{"status":"completed","message":"bye"}}',
    "a fact": f'data: {TEXT}\n\ndata: {{"citations":["u"]}}',
    "counts alone": f"data: {TEXT}\n\ndata: {COUNTS}",
    "words before the text": f'data: {{"type":"status","message":"Searching"}}\n\ndata: {TEXT}',
    "plain words before the text": f"connected to upstream\ndata: {TEXT}",
    "a field of an unknown name": f"data: {TEXT}\n\nx-time: 12",
    "plain words after the finish": f"data: {TEXT}\n\ndata: {END}\n\ndata: [EOS]",
}


@pytest.mark.parametrize("body", NO_ERRORS.values(), ids=NO_ERRORS)
async def test_words_that_tell_of_no_error_are_none(ask_in_every_style, body):
    answers, _ = await ask_in_every_style(f"{body}\n\n{DONE}".encode())
    assert [str(message.text) for message in answers.values()] == ["x"] * 6


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"finish_reason": "network_error"}, "network_error"),
        ({"finish_reason": "error", "native_finish_reason": "boom"}, '"error" (boom)'),
        ({"delta": {"error": {"message": "boom"}}}, "boom"),
        ({"delta": None, "message": {"content": "x", "error": "boom"}}, "boom"),
    ],
)
async def test_error_in_a_choice_is_no_success(ask_in_every_style, change, words):
    last = json.dumps({"choices": [{"index": 0, "delta": {}} | change]})
    failures, _ = await ask_in_every_style(f"data: {TEXT}\n\ndata: {last}\n\n{DONE}".encode())
    assert all(isinstance(error, errors.PromptrunError) and words in str(error) for error in failures.values())


READ = {
    "a mark of the byte order in the middle": f"data: \n\n\ufeffdata: {TEXT}\n\n\ufeffdata: {END}\n\n",
    "two documents in one event": f"data: {TEXT}\ndata: {END}\n\n",
    "a whole stream of such events": f"data: {TEXT}\ndata: {END}\ndata: [DONE]\n\n",
    "an empty list": f"data: []\n\ndata: {TEXT}\n\ndata: {END}\n\n",
    "two documents side by side": f"data: {TEXT}{END}\n\n",
    "an event named ping": f"event: ping\ndata: ping\n\ndata: {TEXT}\n\ndata: {END}\n\n",
    "a time in an event named ping": f"event: ping\ndata: 1764500000\n\ndata: {TEXT}\n\ndata: {END}\n\n",
    "an event in an event": f"data: data: {TEXT}\n\ndata: data: {END}\n\ndata: data: [DONE]\n\n",
    "two events on one line": f"data: {TEXT}data: {END}\n\n",
    "a keep-alive without a name": f"data: ping\n\ndata: {TEXT}\n\ndata: {END}\n\n",
    "the end mark as JSON": f'data: {TEXT}\n\ndata: "[DONE]"\n\n',
    "the end mark in small letters": f"data: {TEXT}\n\ndata: [done]\n\n",
    "a blank before the field": f" data: {TEXT}\n\n data: {END}\n\n",
    "a mark of the byte order and a blank before it": f": hi\n\n\ufeff data: {TEXT}\n\ndata: {END}\n\n",
    "no field at all": f": hi\n\n{TEXT}\n\n{END}\n\n",
    "a long page after the end": f"data: {TEXT}\n\ndata: {END}\n\n" + "not JSON\n" * 10_000,
    "a page after the end": f"data: {TEXT}\n\ndata: {END}\n\n{PAGE}\n",
    "a document before an end mark": json.dumps(
        {"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}]}, indent=1
    )
    + "\n\ndata: [DONE]\n\n",
    "documents a line, called a document": f"{TEXT}\n{END}\n",
    "MiniMax's status of success": json.dumps(
        {"choices": [{"message": {"content": "x"}}], "base_resp": {"status_code": 0, "status_msg": ""}}
    ),
}


@pytest.mark.parametrize("body", READ.values(), ids=READ)
async def test_stream_in_an_odd_frame_is_read(ask_in_every_style, body):
    answers, asked = await ask_in_every_style(body.encode())
    assert [str(message.text) for message in answers.values()] == ["x"] * 6
    assert set(asked.values()) == {1}


@pytest.mark.parametrize("kind", ["application/x-ndjson", "application/jsonl"])
async def test_stream_of_one_document_a_line_is_read(ask_in_every_style, kind):
    answers, _ = await ask_in_every_style(f"{TEXT}\n{END}\n".encode(), headers={"content-type": kind})
    assert [str(message.text) for message in answers.values()] == ["x"] * 6


@pytest.mark.parametrize(("status", "advice", "times"), [(429, "false", 1), (400, "true", 3)])
async def test_error_is_retried_or_not_as_its_server_advises(ask_in_every_style, status, advice, times):
    headers = {"x-should-retry": advice, "retry-after-ms": "1"}
    failures, asked = await ask_in_every_style(b"{}", status, headers)
    assert set(asked.values()) == {times}
    assert {failure.is_retryable for failure in failures.values()} == {advice == "true"}
