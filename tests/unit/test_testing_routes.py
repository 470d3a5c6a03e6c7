import json
import logging

import pytest

from langchain_promptrun.testing import Fault, Reply
from langchain_promptrun.testing._http import Request
from langchain_promptrun.testing._routes import Routes, Settings
from langchain_promptrun.testing._script import Hangup

MESSAGES = [{"role": "user", "content": "Hi"}]


class Desk:
    """Routes without sockets: a request in, status, headers and body out."""

    def __init__(self, **settings):
        self.settings = Settings(**settings)
        self.routes = Routes(self.settings)

    def ask(self, raw=None, *, key="test-key", path="/v1/chat/completions", method="POST", headers=(), **body):
        payload = json.dumps({"model": "a/b", "messages": MESSAGES, **body}).encode() if raw is None else raw
        sent = {"authorization": f"Bearer {key}", **dict(headers)}
        record, steps = self.routes.handle(Request(method, path, "HTTP/1.1", sent, payload), 1)
        head, _, rest = b"".join(step for step in steps if isinstance(step, bytes)).partition(b"\r\n\r\n")
        status, *fields = head.decode().split("\r\n")
        assert status.split()[1] == str(record.status)
        return record.status, dict(field.split(": ", 1) for field in fields), rest

    def error(self, *arguments, **more):
        status, _, body = self.ask(*arguments, **more)
        return status, json.loads(body)["error"]

    def text(self, **body):
        return json.loads(self.ask(**body)[2])["choices"][0]["message"]["content"]


@pytest.fixture
def desk():
    return Desk()


def test_each_answer_carries_the_requests_number(desk):
    assert [desk.ask()[1]["x-request-id"] for _ in range(2)] == ["req-1", "req-2"]
    assert desk.ask(key="wrong")[1]["x-request-id"] == "req-3"


@pytest.mark.parametrize(
    ("api_key", "key", "status"),
    [
        ("k", "k", 200),
        ("k", "x", 401),
        ("k", "", 401),
        (("k", "l"), "l", 200),
        (("k", "l"), "x", 401),
        (None, "anything", 200),
        (None, "", 401),
    ],
)
def test_the_key_is_checked(api_key, key, status):
    assert Desk(api_key=api_key).ask(key=key)[0] == status


def test_an_error_has_promptruns_or_openais_shape(desk):
    assert desk.error(key="x") == (401, "Invalid or missing API key.")
    status, error = Desk(dialect="openai").error(key="x")
    assert (status, error["code"]) == (401, "invalid_api_key")


def test_unknown_paths_and_methods_are_refused(desk):
    assert desk.error(path="/v1/models") == (404, "Unknown request URL: POST /v1/models.")
    assert desk.error(method="GET")[0] == 405
    assert desk.error(path="/v1/prompt")[0] == 405


def test_unknown_models_are_not_found(desk):
    assert desk.error(model="gpt-4o") == (404, "The model 'gpt-4o' does not exist.")
    some = Desk(models=["gpt-4o"])
    assert (some.ask(model="gpt-4o")[0], some.ask(model="a/b")[0]) == (200, 404)


def test_a_body_that_is_no_request_is_refused(desk):
    assert desk.error(b'{"model":')[0] == 400
    assert desk.error(b"")[0] == 400
    assert desk.error(messages=[])[0] == 400
    assert desk.error(temperature=3)[0] == 400
    assert Desk(strict=False).ask(temperature=3)[0] == 200


def test_a_refused_request_uses_nothing_up(desk):
    desk.routes.queue.append(Reply("queued"))
    desk.ask(key="x")
    desk.ask(messages=[])
    desk.ask(model="x")
    assert desk.text() == "queued"
    assert desk.text() == "Hello! You said: Hi"


def test_a_schema_without_an_answer_is_a_clear_400(desk):
    schema = {"type": "string", "pattern": "^x$"}
    status, error = desk.error(response_format={"type": "json_schema", "json_schema": {"schema": schema}})
    assert (status, error) == (
        400,
        "The stand-in cannot answer this schema: $: strings with a `pattern` are not supported",
    )


def test_a_reply_is_given_to_each_choice(desk):
    desk.routes.queue.append(Reply("same", headers={"x-cost": "1"}))
    _, headers, body = desk.ask(n=2)
    assert headers["x-cost"] == "1"
    assert [choice["message"]["content"] for choice in json.loads(body)["choices"]] == ["same", "same"]


def test_a_stream_has_numbered_events_and_done(desk):
    _, headers, body = desk.ask(stream=True)
    assert headers["content-type"] == "text/event-stream; charset=utf-8"
    assert b"id: 1\ndata: {" in body
    assert body.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    assert b"id: " not in Desk(dialect="openai").ask(stream=True)[2]


def test_logprobs_and_usage_are_given_when_asked_for():
    desk = Desk(dialect="openai", cost_per_token=1.0)
    assert json.loads(desk.ask(logprobs=True)[2])["choices"][0]["logprobs"]["content"][0]["top_logprobs"] == []
    assert b'"choices":[],"usage":{' in desk.ask(stream=True, stream_options={"include_usage": True})[2]
    assert json.loads(desk.ask()[2])["usage"]["cost"] == 5.0


@pytest.mark.parametrize(
    ("made", "text"),
    [("said", "said"), (Reply("replied"), "replied"), (None, "Hello! You said: Hi"), (Fault(body={}), None)],
)
def test_an_answer_function_speaks_where_nothing_is_queued(made, text):
    desk = Desk(answer=lambda body: made if body["messages"] == MESSAGES else None)
    desk.routes.queue.append(Reply("queued"))
    assert desk.text() == "queued"
    assert (desk.ask()[2] == b"{}") if text is None else (desk.text() == text)


def test_an_answer_function_that_fails_is_logged(caplog):
    desk = Desk(answer=lambda body: body["nothing"])
    with caplog.at_level(logging.ERROR, "langchain_promptrun.testing"):
        status, error = desk.error()
    assert (status, error) == (500, "The stand-in server failed; its log says why.")
    assert "KeyError" in caplog.text


@pytest.mark.parametrize(
    ("fault", "status", "content_type", "body"),
    [
        (Fault(status=429), 429, "application/json", b'{"error":"Too Many Requests"}'),
        (Fault(status=500, body="<h1>No</h1>"), 500, "text/plain; charset=utf-8", b"<h1>No</h1>"),
        (Fault(body=b"\xff"), 200, "text/plain; charset=utf-8", b"\xff"),
        (Fault(status=400, body={"error": {"code": 1}}), 400, "application/json", b'{"error":{"code":1}}'),
        (Fault(body=[]), 200, "application/json", b"[]"),
        (Fault(error={"error": "late"}), 200, "application/json", b'{"error":"late"}'),
        (Fault(slices=[b"{", b"}"], framing="length"), 200, "application/json", b"{}"),
        (
            Fault(events=[{"a": 1}, "x", b": y\n\n"], framing="length"),
            200,
            "text/event-stream; charset=utf-8",
            b'data: {"a":1}\n\ndata: x\n\n: y\n\n',
        ),
    ],
    ids=str,
)
def test_a_fault_says_what_is_sent(desk, fault, status, content_type, body):
    desk.routes.queue.append(fault)
    found = desk.ask()
    assert (found[0], found[1]["content-type"], found[2]) == (status, content_type, body)


def test_a_fault_can_spoil_a_given_reply_or_the_models_own(desk):
    desk.routes.queue.extend([Fault(reply=Reply("given"), delay=0.1), Fault(delay=0.1)])
    assert (desk.text(), desk.text()) == ("given", "Hello! You said: Hi")


def test_an_error_event_ends_a_stream(desk):
    desk.routes.queue.append(Fault(error={"error": "late"}, after=1))
    body = desk.ask(stream=True)[2]
    assert body.count(b"data: ") == 2
    assert b'data: {"error":"late"}' in body


def test_a_stored_prompt_stands_in_for_empty_messages(desk):
    header = {"http-prompt-id": "p1"}
    assert desk.error(messages=[], headers=header) == (404, "No prompt is stored under the id 'p1'.")
    plain = json.loads(desk.ask(headers=header)[2])
    again = json.loads(desk.ask(messages=[], headers=header)[2])
    assert again["choices"][0] == plain["choices"][0]
    assert "prompt_tokens_details" not in plain["usage"]
    assert again["usage"]["prompt_tokens_details"]["cached_tokens"] == plain["usage"]["prompt_tokens"]


def test_prompts_are_served_and_have_a_queue_of_their_own(desk):
    project = desk.routes.prompts.create("Essays")
    project.publish("Write.")
    path = f"/v1/prompt?projectId={project.id}&tag=latest"
    desk.routes.queue.append(Reply("for chat"))
    desk.routes.prompts.queue(Fault(status=429))
    assert desk.ask(b"", method="GET", path=path)[0] == 429
    assert json.loads(desk.ask(b"", method="GET", path=path)[2])["prompt"] == "Write."
    assert desk.error(b"", method="GET", path="/v1/prompt?tag=a&version=1")[0] == 400
    assert desk.error(b"", method="GET", path=path, key="x")[0] == 401
    assert desk.text() == "for chat"


def test_a_client_that_does_not_keep_the_connection_is_hung_up_on(desk):
    _, steps = desk.routes.handle(Request("GET", "/", "HTTP/1.0", {}, b""), 1)
    assert list(steps)[-1] == Hangup()


def test_the_server_has_a_pace_that_a_reply_may_change():
    desk = Desk(pace=0.5)
    desk.routes.queue.extend([Reply("a b"), Reply("a b", pace=0)])
    request = Request(
        "POST",
        "/v1/chat/completions",
        "HTTP/1.1",
        {"authorization": "Bearer test-key"},
        json.dumps({"model": "a/b", "messages": MESSAGES, "stream": True}).encode(),
    )
    pauses = [sum(not isinstance(step, bytes) for step in desk.routes.handle(request, 1)[1]) for _ in range(2)]
    assert pauses == [3, 0]


def test_the_settings_do_not_show_the_key():
    assert "s3cret" not in repr(Settings(api_key="s3cret"))
