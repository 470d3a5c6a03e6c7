"""What the stand-in server answers over HTTP: the small model, the dialects, refusals, prompts and records."""

import json

import httpx
import pytest

from langchain_promptrun.testing import Fault, PromptrunServer, Reply

USER = {"role": "user", "content": "Hi you"}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}
CALLING = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "done"}
IMAGE = {"type": "image_url", "image_url": {"url": "x"}}
AUDIO = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
NUMBER, TEXT = {"type": "integer"}, {"type": "string"}


@pytest.fixture(scope="module")
def http():
    with httpx.Client(trust_env=False) as client:
        yield client


@pytest.fixture
def server(http):
    """A server with `ask`, which posts a chat completion."""
    with PromptrunServer() as server:

        def ask(raw=None, *, key="test-key", path="/chat/completions", method="POST", headers=(), **body):
            content = json.dumps({"model": "a/b", "messages": [USER], **body}).encode() if raw is None else raw
            sent = {**({"authorization": f"Bearer {key}"} if key else {}), **dict(headers)}
            return http.request(method, server.base_url + path, content=content, headers=sent)

        server.ask = ask
        yield server


def text(response):
    return response.json()["choices"][0]["message"]["content"]


def events(response):
    blocks = response.text.split("\n\n")
    data = [block.split("data: ", 1)[1] for block in blocks if "data: " in block]
    return [json.loads(item) for item in data if item != "[DONE]"]


def deltas(response):
    return [choice["delta"] for event in events(response) for choice in event["choices"] if "delta" in choice]


def queued(server, *items, **body):
    server.queue(*items)
    return server.ask(**body)


# The small model.


HISTORY = [USER, CALLING, RESULT, {"role": "assistant", "content": "ok"}]
MEDIA = [{"type": "text", "text": "Look:"}, IMAGE, IMAGE, AUDIO]
ODD = [{"role": "user", "content": ["?", {"x": 1}]}, {"role": "tool", "content": 3}, {"tool_calls": [{}]}]


def asks(content):
    return {"role": "user", "content": content}


@pytest.mark.parametrize(
    ("messages", "answer"),
    [
        ([asks("Hi you")], "Hello! You said: Hi you"),
        ([asks("")], "Hello! You said nothing."),
        ([asks(MEDIA)], "said: Look: I received 2 images and 1 audio clip."),
        ([asks("Tell me a fun fact about space.")], "A day on Venus is longer than its year"),
        ([asks("why is the sky blue?")], "Air scatters blue light"),
        ([{"role": "system", "content": "Be kind."}], "Hello! You said: Be kind."),
        ([*HISTORY, asks("And now?")], "Hello! You said: And now?"),
        (HISTORY[:3], "The tool f says: done"),
        (ODD, "The tool tool says: "),
    ],
)
def test_model_echoes_the_last_turn_and_knows_questions_of_demonstrations(server, messages, answer):
    server.strict = messages is not ODD
    assert answer in text(server.ask(messages=messages))


def test_model_keeps_to_seed_n_stop_and_token_limits(server):
    greetings = [text(server.ask(seed=seed)) for seed in (1, 1, 2)]
    assert greetings[0] == greetings[1] != greetings[2]
    texts = [choice["message"]["content"] for choice in server.ask(n=2).json()["choices"]]
    assert texts == ["Hello! You said: Hi you", "Hello! You said: Hi you (answer 2)"]
    assert [text(server.ask(stop=stop)) for stop in ("You", ["zzz", "said", "You"])] == ["Hello! ", "Hello! "]
    assert text(server.ask(stop=["zzz"])) == "Hello! You said: Hi you"
    for name in ("max_tokens", "max_completion_tokens"):
        (choice,) = server.ask(**{name: 2}).json()["choices"]
        assert (choice["message"]["content"], choice["finish_reason"]) == ("Hello! You", "length")
        assert server.ask(**{name: 5}).json()["choices"][0]["finish_reason"] == "stop"


def test_model_thinks_aloud_when_asked_to(server):
    aloud = [{"reasoning_effort": "low"}, {"reasoning": {"effort": "high"}}, {"reasoning": {"max_tokens": 100}}]
    silent = [{"reasoning_effort": "none"}, {"reasoning": {"enabled": False}}, {}]
    messages = [server.ask(**asked).json()["choices"][0]["message"] for asked in aloud + silent]
    thoughts = [message.get("reasoning_content", "")[:24] for message in messages]
    assert thoughts == ["The question has 2 words"] * 3 + [""] * 3


def tool(name, description="", **properties):
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": schema}}


WEATHER = tool("get_weather", "Get the weather at a place.", place=TEXT)
TIME = tool("get_time", "Get the local time.", place=TEXT)
ADD = tool("my_adder", "Sums up.", a=NUMBER, b=NUMBER)
REPORT = tool("Weather", "", place=TEXT)
FORECAST = tool("f1", "Looks up rain and wind.")
REQUIRED = {"tool_choice": "required"}
DONE = [("get_weather", "It is 25 degrees in Rome.")]
CONVERT = tool("convert_degrees", "", value=NUMBER)
IN_ROME, TIME_IN_OSLO = [("get_weather", {"place": "Rome"})], ("get_time", {"place": "Oslo"})
TIME_CHOSEN = {"tool_choice": {"type": "function", "function": {"name": "get_time"}}}


@pytest.mark.parametrize(
    ("question", "tools", "results", "more", "calls"),
    [
        ("Is the weather fine in Rome?", [TIME, WEATHER], [], {}, IN_ROME),
        ("Will there be rain or wind?", [FORECAST], [], {}, [("f1", {})]),
        ("Will there be rain?", [FORECAST], [], {}, []),
        ("What is 3 and 4?", [WEATHER, ADD], [], {}, [("my_adder", {"a": 3, "b": 4})]),
        ("What is 3?", [ADD], [], {}, []),
        ("Hello!", [WEATHER, ADD], [], {}, []),
        ("The weather in Rome and the time in Oslo.", [WEATHER, TIME, ADD], [], {}, [*IN_ROME, TIME_IN_OSLO]),
        ("The weather and the time in Rome.", [WEATHER, TIME], [], {"parallel_tool_calls": False}, IN_ROME),
        ("The weather in Rome?", [WEATHER, TIME], DONE, {}, []),
        ("The weather in Rome?", [WEATHER], [], {"tool_choice": "none"}, []),
        ("Hello Oslo", [WEATHER, TIME], [("get_time", "noon")], TIME_CHOSEN, [TIME_IN_OSLO]),
        ("Hello!", [WEATHER, TIME], [], REQUIRED, [("get_weather", {"place": "Hello!"})]),
        ("Hello!", [WEATHER, TIME], DONE, REQUIRED, [("get_time", {"place": "Rome"})]),
        ("Hello!", [WEATHER], DONE, REQUIRED, IN_ROME),
        ("The weather in Rome?", [REPORT, WEATHER], [], REQUIRED, IN_ROME),
        ("The weather in Rome?", [REPORT, WEATHER], DONE, REQUIRED, [("Weather", {"place": "Rome"})]),
        ("A weather report for Rome", [REPORT], [], {}, [("Weather", {"place": "Rome"})]),
        ("Weather, convert degrees, 1", [WEATHER, CONVERT], DONE, {}, [("convert_degrees", {"value": 25})]),
        ("Search the web", [{"type": "web_search"}], [], REQUIRED, []),
        ("ping", [{"type": "function", "function": {"name": "ping"}}], [], {}, [("ping", {})]),
        ("Do it.", [tool("get_it")], [], {}, []),
    ],
)
def test_model_calls_the_tools_that_fit(server, question, tools, results, more, calls):
    messages = [asks(question)]
    for name, said in results:
        call = {"id": name, "function": {"name": name, "arguments": "{}"}}
        messages.append({"role": "assistant", "tool_calls": [call]})
        messages.append({"role": "tool", "tool_call_id": name, "content": said})
    message = server.ask(messages=messages, tools=tools, **more).json()["choices"][0]["message"]
    made = [call["function"] for call in message.get("tool_calls", ())]
    assert [(call["name"], json.loads(call["arguments"])) for call in made] == calls


def test_model_fills_in_a_schema_or_says_why_not(server):
    schema = {"type": "object", "properties": {"setup": TEXT, "score": NUMBER}, "required": ["setup"]}
    wanted = {"type": "json_schema", "json_schema": {"schema": schema}}
    made = text(server.ask(messages=[asks("A joke, 3")], response_format=wanted))
    assert json.loads(made) == {"setup": "A joke, 3", "score": 3}
    wanted = {"type": "json_schema", "json_schema": {"schema": {"type": "string", "pattern": "^x$"}}}
    refused = server.ask(response_format=wanted)
    assert refused.status_code == 400
    assert "strings with a `pattern` are not supported" in refused.json()["error"]


def test_model_makes_a_json_object_of_the_keys_that_are_quoted(server):
    quoting = asks("A joke with 'setup', \"score\", “mood” and `punch_line`, 'not a key'. Don't.")
    answers = server.ask(messages=[quoting], response_format={"type": "json_object"}, n=2).json()["choices"]
    assert list(json.loads(answers[0]["message"]["content"])) == ["setup", "score", "mood", "punch_line"]
    assert answers[0]["message"] == answers[1]["message"]
    plain = text(server.ask(response_format={"type": "json_object"}))
    assert json.loads(plain) == {"answer": "The answer for: Hi you"}


# The shapes of answers.


def test_whole_answer_has_the_documented_shape(server):
    server.documented_shape = True
    head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1715325601, "model": "a/b"}
    choice = {"index": 0, "message": {"role": "assistant", "content": "Sure!"}}
    assert queued(server, "Sure!").json() == {**head, "choices": [choice]}
    (event,) = events(queued(server, "x", stream=True))
    assert list(event) == ["id", "object", "created", "model", "choices"]
    server.documented_shape = False
    found = queued(server, "Two words").json()
    assert found["choices"][0]["finish_reason"] == "stop"
    assert found["usage"] == {"prompt_tokens": 2, "completion_tokens": 2, "total_tokens": 4}


def test_stream_has_the_shape_of_the_sdks_test_data(server):
    response = queued(server, "Two words", stream=True)
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.text.startswith("id: 1\ndata: {")
    assert response.text.endswith("data: [DONE]\n\n")
    first, second, last = events(response)
    assert first["choices"] == [{"index": 0, "delta": {"role": "assistant", "content": "Two"}}]
    assert second["choices"] == [{"index": 0, "delta": {"content": " words"}}]
    assert (last["choices"], last["usage"]["completion_tokens"]) == ([{"finish_reason": "stop"}], 2)


def test_openai_dialect_opens_with_the_role_and_ends_with_the_usage_asked_for(server):
    server.dialect, server.cost_per_token = "openai", 1.0
    response = queued(server, "x", stream=True)
    first, *_, last = events(response)
    assert not response.text.startswith("id:")
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert last["choices"] == [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}]
    *before, last = events(queued(server, "x", stream=True, stream_options={"include_usage": True}))
    assert {event["usage"] for event in before} == {None}
    assert (last["choices"], last["usage"]["cost"]) == ([], 3.0)
    response = queued(server, Reply("x", usage=None), stream=True, stream_options={"include_usage": True})
    assert events(response)[-1]["choices"]


def test_reply_decides_on_finish_reason_usage_and_headers(server):
    told = queued(server, Reply("x", finish_reason="length", usage={"prompt_tokens": 1}, headers={"x-own": "1"}))
    assert (told.json()["choices"][0]["finish_reason"], told.json()["usage"]) == ("length", {"prompt_tokens": 1})
    assert told.headers["x-own"] == "1"
    named = Reply("x", document={"provider": "P"}, model="c/d")
    found = [queued(server, named).json(), *events(queued(server, named, stream=True))]
    assert {(document["provider"], document["model"]) for document in found} == {("P", "c/d")}
    spoiled = queued(server, Fault(status=503, reply=Reply("x")))
    assert (spoiled.status_code, text(spoiled)) == (503, "x")
    silent = queued(server, Reply("x", finish_reason=None, usage=None)).json()
    assert "usage" not in silent
    assert "finish_reason" not in silent["choices"][0]
    assert events(queued(server, Reply("x", finish_reason=None), stream=True))[-1]["choices"] == []
    assert len(events(queued(server, Reply("x", finish_reason=None, usage=None), stream=True))) == 1


def test_several_choices_share_one_usage(server):
    whole = queued(server, Reply("same"), n=2).json()
    assert [choice["message"]["content"] for choice in whole["choices"]] == ["same", "same"]
    assert whole["usage"]["completion_tokens"] == 2
    found = events(queued(server, Reply("same"), n=2, stream=True))
    assert [event["choices"][0]["index"] for event in found] == [0, 0, 1, 1]
    assert ["usage" in event for event in found] == [False, False, False, True]


SO, BOTH = {"content": "So."}, ("reasoning", "reasoning_content")
TEXT_DETAIL = {"type": "reasoning.text", "format": "anthropic-claude-v1", "index": 0}
SIGNED = {"reasoning_details": [TEXT_DETAIL | {"text": "A", "signature": "c3RhbmQtaW4="}]}
DETAILS = [{"reasoning_details": [TEXT_DETAIL | part]} for part in ({"text": "A"}, {"signature": "c3RhbmQtaW4="})]
EXACT = [{"type": "reasoning.encrypted", "data": "x"}, {"summary": "y"}]
EXACT_PIECES = [{"reasoning_details": [entry]} for entry in EXACT]


@pytest.mark.parametrize(
    ("reply", "message", "pieces"),
    [
        (Reply("Two words"), {"content": "Two words"}, [{"content": "Two"}, {"content": " words"}]),
        (Reply("abc", pieces=["a", "", "bc"]), {"content": "abc"}, [{"content": piece} for piece in ("a", "", "bc")]),
        (Reply(), {"content": None}, [{"content": ""}]),
        (Reply("\ud800 ä"), {"content": "\ud800 ä"}, [{"content": "\ud800"}, {"content": " ä"}]),
        (Reply(refusal="I do."), {"content": None, "refusal": "I do."}, [{"refusal": "I"}, {"refusal": " do."}]),
        (Reply("So.", message={"images": [1]}), {**SO, "images": [1]}, [SO, {"images": [1]}]),
        (Reply("So.", reasoning="A b", reasoning_field="r"), {**SO, "r": "A b"}, [{"r": "A"}, {"r": " b"}, SO]),
        (
            Reply("So.", reasoning="A", reasoning_field=BOTH),
            SO | dict.fromkeys(BOTH, "A"),
            [dict.fromkeys(BOTH, "A"), SO],
        ),
        (Reply("So.", reasoning="A", reasoning_field="reasoning_details"), SO | SIGNED, [*DETAILS, SO]),
        (Reply("So.", reasoning_details=EXACT), SO | {"reasoning_details": EXACT}, [*EXACT_PIECES, SO]),
    ],
    ids=str,
)
def test_reply_is_sent_as_it_is_whole_and_in_pieces(server, reply, message, pieces):
    assert queued(server, reply).json()["choices"][0]["message"] == {"role": "assistant", **message}
    assert deltas(queued(server, reply, stream=True)) == [{"role": "assistant", **pieces[0]}, *pieces[1:]]


def test_tool_calls_get_ids_and_arguments_unless_they_have_them_and_go_out_in_pieces(server):
    half = {"name": "g", "args": '{"half', "id": "c9", "more": {"s": 1}}
    odd = [{"name": "f", "args": None, "id": None}, {"name": "f", "args": "", "id": ""}, {"name": "f"}]
    reply = Reply(tool_calls=[{"name": "f", "args": {"x": "some long text"}, "type": "tool_call"}, half, *odd])
    (choice,) = queued(server, reply).json()["choices"]
    calls = choice["message"]["tool_calls"]
    assert [call["id"] for call in calls] == ["call_1_0_0", "c9", None, "", "call_1_0_4"]
    text = '{"x":"some long text"}'
    assert [call["function"]["arguments"] for call in calls] == [text, '{"half', None, "", "{}"]
    assert (calls[1]["type"], calls[1]["more"], choice["finish_reason"]) == ("function", {"s": 1}, "tool_calls")
    parts = [delta["tool_calls"][0] for delta in deltas(queued(server, reply, stream=True))]
    first, *pieces = [part["function"] for part in parts if part["index"] == 0]
    assert first == {"name": "f", "arguments": ""}
    assert [piece["arguments"] for piece in pieces] == [text[:12], text[12:]]


def test_logprobs_come_with_each_token_when_asked_for(server):
    content = queued(server, "Hi you", logprobs=True, top_logprobs=2).json()["choices"][0]["logprobs"]["content"]
    assert [(entry["token"], len(entry["top_logprobs"])) for entry in content] == [("Hi", 2), (" you", 2)]
    assert content[0]["top_logprobs"][0] == {"token": "Hi", "logprob": -0.125, "bytes": [72, 105]}
    streamed = events(queued(server, Reply("Hi", message={"x": 1}), logprobs=True, stream=True))
    assert [bool(event["choices"][0].get("logprobs")) for event in streamed] == [True, False, False]


def test_usage_counts_words_media_tools_reasoning_calls_and_cost(server):
    server.cost_per_token = 0.5
    messages = [asks([{"type": "text", "text": "你好 three words"}, IMAGE, AUDIO]), CALLING, RESULT]
    reply = Reply("one", reasoning="two three", tool_calls=[{"name": "f", "args": "x"}], cached_tokens=999)
    usage = queued(server, reply, messages=messages, tools=[TOOL]).json()["usage"]
    tokens = 4 + 1 + 10 + 2 + 1 + len(json.dumps(TOOL).split())
    assert usage == {
        "prompt_tokens": tokens,
        "completion_tokens": 4,
        "total_tokens": tokens + 4,
        "prompt_tokens_details": {"cached_tokens": tokens, "audio_tokens": 10},
        "completion_tokens_details": {"reasoning_tokens": 2},
        "cost": (tokens + 4) * 0.5,
    }
    assert queued(server, Reply("x", cost=0.0)).json()["usage"]["cost"] == 0.0


# Keys, paths, refusals.


def test_keys_are_checked_as_they_are_now(server):
    for api_key, right, wrong in (("k", "k", ["x", ""]), (("k", "l"), "l", ["x"]), (None, "any", []), (None, "", [])):
        server.api_key = api_key
        assert server.ask(key=right).status_code == 200
        assert [server.ask(key=key).status_code for key in wrong] == [401] * len(wrong)
    assert server.ask().headers["x-request-id"] == f"req-{len(server.requests)}"


def test_error_has_the_shape_of_its_dialect(server):
    message = "Invalid or missing API key."
    assert server.ask(key="x").json() == {"error": message}
    server.dialect = "openai"
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": "invalid_api_key"}
    assert server.ask(key="x").json() == {"error": error}
    assert queued(server, Fault(status=500)).json()["error"]["type"] == "server_error"


def test_unknown_paths_methods_and_models_are_refused(server):
    server.prompts.pushes = False
    assert server.ask(b"", method="GET", path="/prompt/stream?projectId=p").status_code == 404
    assert server.ask(path="/models").json()["error"] == "Unknown request URL: POST /v1/models."
    assert [server.ask(method="GET").status_code, server.ask(path="/prompt").status_code] == [405, 405]
    assert server.ask(model="gpt-4o").json()["error"] == "The model 'gpt-4o' does not exist."
    server.models = ["gpt-4o"]
    assert [server.ask(model="gpt-4o").status_code, server.ask(model="a/b").status_code] == [200, 404]


def test_refused_request_uses_nothing_up(server):
    server.queue("queued")
    for refused in ({"key": "x"}, {"messages": []}, {"model": "x"}, {"raw": b'{"model":'}, {"raw": b""}):
        assert server.ask(**refused).status_code in {400, 401, 404}
    assert text(server.ask()) == "queued"


@pytest.mark.parametrize(
    ("body", "named"),
    [
        *((3, "JSON object"), ([], "JSON object")),
        *(({"messages": [USER]}, "'model'"), ({"model": 3, "messages": [USER]}, "'model'")),
        *(({"model": "a/b"}, "'messages'"), ({"model": "a/b", "messages": "Hi"}, "'messages'")),
        ({"model": "a/b", "messages": []}, "at least one message"),
        ({"model": "a/b", "messages": ["Hi"]}, "'messages[0]'"),
    ],
)
def test_body_without_model_and_messages_is_refused_also_by_a_lenient_server_that_takes_wrong_parameters(
    server, body, named
):
    for server.strict in (True, False):
        response = server.ask(json.dumps(body).encode())
        assert (response.status_code, named in response.json()["error"]) == (400, True)
    assert server.ask(temperature=3, messages=[RESULT]).status_code == 200


RIGHT = [
    {"temperature": 2, "top_p": 0.0, "n": 1, "max_tokens": 1, "seed": -1, "stop": "x", "user": "u"},
    {"stop": ["a", "b", "c", "d"], "stream": True, "stream_options": {"include_usage": True}},
    {"logprobs": True, "top_logprobs": 20, "logit_bias": {}},
    {"temperature": None, "stop": None, "tools": None, "tool_choice": None},
    {"tools": [TOOL, {"type": "web_search"}], "tool_choice": "required", "parallel_tool_calls": False},
    {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "f"}}},
    {"tools": [TOOL], "tool_choice": {"type": "allowed_tools"}},
    {"a_gateways_own": {"x": 1}},
    {"messages": [{"role": role, "content": "x"} for role in ("system", "developer", "user", "assistant", "function")]},
    {"messages": [USER, CALLING, RESULT, {"role": "assistant", "content": "ok"}]},
    {"messages": [{"role": "user", "name": "ann_1", "content": [IMAGE]}]},
    {"messages": [{"role": "assistant", "content": None, "refusal": "No."}]},
    {"messages": [{"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}]},
]
WRONG = [
    ({"temperature": 2.1}, "'temperature'"),
    ({"top_p": "1"}, "'top_p'"),
    ({"max_tokens": 1.5}, "'max_tokens'"),
    ({"seed": "x"}, "'seed'"),
    ({"stop": ["a"] * 5}, "'stop"),
    ({"max_tokens": 1, "max_completion_tokens": 1}, "'max_completion_tokens'"),
    ({"stream_options": {}}, "'stream'"),
    ({"top_logprobs": 1}, "'logprobs'"),
    ({"tool_choice": "auto"}, "'tool_choice'"),
    ({"parallel_tool_calls": True}, "'parallel_tool_calls'"),
    ({"tools": []}, "'tools'"),
    ({"tools": [TOOL, {"type": "function"}]}, "'function'"),
    ({"tools": [{"type": "function", "function": {"name": "two words"}}]}, "'tools[0].function.name'"),
    ({"tools": [TOOL], "tool_choice": "any"}, "'tool_choice"),
    ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "g"}}}, "'g'"),
    ({"messages": [{"role": "human", "content": "x"}]}, "'messages[0].role'"),
    ({"messages": [{"role": "user", "content": None}]}, "'messages[0]'"),
    ({"messages": [{"role": "user", "content": "x", "name": "two words"}]}, "'messages[0].name'"),
    ({"messages": [{"role": "user", "content": [{"type": "tool_use", "tool_use": {}}]}]}, "'tool_use'"),
    ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "'text'"),
    ({"messages": [{"role": "system", "content": [IMAGE]}]}, "'image_url' of a 'system'"),
    ({"messages": [{**CALLING, "tool_calls": [{**CALL, "id": None}]}]}, "'messages[0].tool_calls[0].id'"),
    ({"messages": [RESULT]}, "'messages[0]' must answer"),
    ({"messages": [USER, CALLING, RESULT, RESULT]}, "'messages[3]' must answer"),
    (
        {"messages": [USER, CALLING, USER]},
        "'messages': Tool calls need a 'tool' message each right after them; missing: c1",
    ),
]


@pytest.mark.parametrize(("body", "named"), [*((body, "") for body in RIGHT), *WRONG], ids=str)
def test_wrong_requests_are_refused_by_name_and_right_ones_pass(server, body, named):
    response = server.ask(**body)
    assert response.status_code == (400 if named else 200)
    assert named in response.text


def test_answer_function_speaks_where_nothing_is_queued_and_what_it_raises_is_logged(server, caplog):
    for made, said in (("said", "said"), (Reply("replied"), "replied"), (None, "Hello! You said: Hi you")):
        server.answer = lambda body, made=made: made if body["messages"] == [USER] else None
        assert [text(queued(server, "queued")), text(server.ask())] == ["queued", said]
    server.answer = lambda _: Fault(body={})
    assert server.ask().content == b"{}"
    server.answer = lambda body: body["nothing"]
    response = server.ask()
    assert (response.status_code, "log" in response.json()["error"], "KeyError" in caplog.text) == (500, True, True)


def test_stored_prompt_stands_in_for_empty_messages(server):
    header = {"http-prompt-id": "p1"}
    assert server.ask(messages=[], headers=header).status_code == 404
    plain, again = server.ask(headers=header).json(), server.ask(messages=[], headers=header).json()
    assert again["choices"] == plain["choices"]
    assert again["usage"]["prompt_tokens_details"]["cached_tokens"] == plain["usage"]["prompt_tokens"]


# Managed prompts.


def test_dashboard_publishes_edits_tags_and_deletes_prompts(server):
    project = server.prompts.create("Essays")
    project.publish("One {{x}}.", tags=["prod"])
    project.publish("Two.", message="shorter", temperature=0.5, model="openai/gpt-4o", tags=["dev"])

    def find(**query):
        query = httpx.QueryParams({"projectId": project.id, **query})
        return server.ask(b"", method="GET", path=f"/prompt?{query}").json()

    def versions(*tags):
        return [find(tag=tag)["version"] for tag in tags]

    two = find(version=2)
    told = {"prompt": "Two.", "versionMessage": "shorter", "temperature": 0.5, "updatedAt": "2025-07-21T04:17:41.294Z"}
    assert two == two | told | {"project": {"id": project.id, "name": "Essays"}}
    assert (two["model"]["model"], "tag" in two, find(tag="prod")["tag"]) == ("openai/gpt-4o", False, "prod")
    assert versions("prod", "dev", "latest") == [1, 2, 2]
    project.edit(2, prompt="Changed.", model={"model": "x/y"}, version="v2")
    edited = find(version="v2")
    assert edited["updatedAt"] > two["updatedAt"]
    assert edited == edited | {"prompt": "Changed.", "model": {"model": "x/y"}}
    project.publish("Three.", model="local")
    assert find()["model"]["name"] == "local"
    project.tag("prod", 3)
    project.tag("latest", 1)
    assert versions("prod", "latest") == [3, 1]
    project.untag("prod")
    for edit in (lambda: project.edit(9, prompt="x"), lambda: project.tag("prod", 9), lambda: project.untag("none")):
        with pytest.raises(KeyError):
            edit()
    empty = server.prompts.create("Empty", project_id="D0D52C6E-85BA-4025-A84C-3C99834FE2AC")
    for query, status, error in (
        ({"tag": "prod"}, 404, "The project has no tag `prod`."),
        ({"version": "newest"}, 404, "The project has no version newest."),
        ({"projectId": empty.id}, 404, "The project has no version at all."),
        ({"projectId": "essays"}, 400, "You must provide `projectId`, a UUID."),
        ({"version": 1, "tag": "dev"}, 400, "You must provide either `version` or `tag`, but not both."),
    ):
        assert (find(**query), server.requests[-1].status) == ({"error": error}, status)
    server.prompts.delete(project)
    assert find() == {"error": "There is no such project."}
    with pytest.raises(ValueError, match="UUID"):
        server.prompts.create("x", project_id="essays")


def test_prompts_have_a_queue_of_their_own(server):
    server.queue("for chat")
    server.prompts.queue(Fault(status=429, times=2))
    assert [server.ask(b"", method="GET", path="/prompt").status_code for _ in range(3)] == [429, 429, 400]
    assert text(server.ask()) == "for chat"


# What comes in.


def test_record_holds_the_request_without_its_key_if_it_has_one(server):
    headers = {"x-own": "key=test-key;", "proxy-authorization": "secret", "x": "y"}
    server.ask(path="/chat/completions?a=1&b=", headers=headers)
    (record,) = server.requests
    assert (record.number, record.connection, record.method, record.path) == (1, 1, "POST", "/v1/chat/completions")
    assert (record.query, record.body["model"], record.status) == ({"a": "1", "b": ""}, "a/b", 200)
    assert record.headers["authorization"] == "Bearer ***"
    assert (record.headers["proxy-authorization"], record.headers["x-own"]) == ("***", "key=***;")
    assert "test-key" not in repr(vars(record))
    assert (record.has_key("test-key"), record.has_key("other")) == (True, False)
    server.wait_until(lambda: not record.in_flight)
    assert "test-key" not in repr(server)
    for header in ("", "Bearer", "Basic eDp5"):
        assert server.ask(b"\xff", headers={"authorization": header}).status_code == 401
        assert (server.requests[-1].has_key(""), server.requests[-1].body) == (True, None)


# What can be queued.


@pytest.mark.parametrize(
    ("item", "parts", "named"),
    [
        (Reply, {"times": 0}, "times"),
        (Fault, {"times": 0}, "times"),
        (Reply, {"text": "ab", "pieces": ["a"]}, "pieces"),
        *(
            (Reply, {"tool_calls": calls}, "`name`, `args` and maybe `id`")
            for calls in ([("f", {})], [{"function": {"name": "f"}}], [{"name": "f", "arguments": "{}"}])
        ),
        (Fault, {"body": b"x", "events": []}, "`body`, `events`, `slices`, `reply`"),
        (Fault, {"slices": [], "reply": Reply("x")}, "`body`, `events`, `slices`, `reply`"),
        (Fault, {"after": 0, "after_bytes": 0}, "`after`, `after_bytes`"),
        (Fault, {"cut": "clean", "reset": True}, "`cut`, `reset`"),
        (Fault, {"framing": "raw"}, "slices"),
        (Fault, {"framing": "length", "encoding": "gzip"}, "framing='length'"),
        (Fault, {"framing": "length", "comments": 1.0}, "framing='length'"),
    ],
)
def test_parts_that_exclude_one_another_are_refused(item, parts, named):
    with pytest.raises(ValueError, match=named):
        item(**parts)
