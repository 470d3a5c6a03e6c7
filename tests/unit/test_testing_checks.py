import pytest

from langchain_promptrun.testing._checks import RefusedError, check, error_body

USER = {"role": "user", "content": "Hi"}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}
CALLING = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "done"}


def checked(*messages, strict=True, stored=False, **parameters):
    check({"model": "a/b", "messages": list(messages or [USER]), **parameters}, strict=strict, stored=stored)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (None, "JSON object"),
        ([], "JSON object"),
        ({"messages": [USER]}, "provide a model"),
        ({"model": 3, "messages": [USER]}, "provide a model"),
        ({"model": "a/b"}, "provide a messages"),
        ({"model": "a/b", "messages": "Hi"}, "provide a messages"),
        ({"model": "a/b", "messages": []}, "at least one message"),
        ({"model": "a/b", "messages": ["Hi"]}, "must be an object"),
    ],
)
@pytest.mark.parametrize("strict", [True, False])
def test_a_body_without_model_and_messages_is_refused(body, reason, strict):
    with pytest.raises(RefusedError, match=reason) as caught:
        check(body, strict=strict, stored=False)
    assert caught.value.status == 400


def test_with_a_stored_prompt_the_messages_may_be_empty():
    check({"model": "a/b", "messages": []}, strict=True, stored=True)


@pytest.mark.parametrize(
    "parameters",
    [
        {"temperature": 2, "top_p": 0.0, "n": 1, "max_tokens": 1, "seed": -1, "stop": "x", "user": "u"},
        {"stop": ["a", "b", "c", "d"], "stream": True, "stream_options": {"include_usage": True}},
        {"logprobs": True, "top_logprobs": 20, "logit_bias": {}, "metadata": {}},
        {"temperature": None, "stop": None, "tools": None, "tool_choice": None},
        {"tools": [TOOL, {"type": "web_search"}], "tool_choice": "required", "parallel_tool_calls": False},
        {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "f"}}},
        {"tools": [TOOL], "tool_choice": {"type": "allowed_tools"}},
        {"a_gateways_own": {"x": 1}},
    ],
)
def test_right_parameters_pass(parameters):
    checked(**parameters)


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"temperature": 2.1}, "'temperature': it must be a number from 0 to 2"),
        ({"temperature": True}, "temperature"),
        ({"top_p": "1"}, "top_p"),
        ({"n": 0}, "'n'"),
        ({"max_tokens": 1.5}, "'max_tokens'"),
        ({"seed": "x"}, "seed"),
        ({"stop": ["a"] * 5}, "up to 4"),
        ({"stop": [1]}, "up to 4"),
        ({"max_tokens": 1, "max_completion_tokens": 1}, "same time"),
        ({"stream_options": {}}, "only allowed when 'stream'"),
        ({"top_logprobs": 1}, "'logprobs' to be true"),
        ({"tool_choice": "auto"}, "'tool_choice' is only allowed"),
        ({"parallel_tool_calls": True}, "'parallel_tool_calls' is only allowed"),
        ({"tools": []}, "at least one tool"),
        ({"tools": ["f"]}, r"tools\[0\].type"),
        ({"tools": [TOOL, {"type": "function"}]}, r"tools\[1\].function.name"),
        ({"tools": [{"type": "function", "function": {"name": "two words"}}]}, "letters, digits"),
        ({"tools": [TOOL], "tool_choice": "any"}, "'any'"),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "g"}}}, "'g' not found"),
    ],
    ids=str,
)
def test_wrong_parameters_are_refused_unless_the_server_is_lenient(parameters, reason):
    with pytest.raises(RefusedError, match=reason):
        checked(**parameters)
    checked(strict=False, **parameters)


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": role, "content": "x"} for role in ("system", "developer", "user", "assistant", "function")],
        [USER, CALLING, RESULT, {"role": "assistant", "content": "ok"}],
        [{"role": "user", "name": "ann_1", "content": [{"type": "text", "text": "x"}]}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x"}}]}],
        [{"role": "assistant", "content": None, "refusal": "No."}],
        [{"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}],
    ],
    ids=str,
)
def test_right_messages_pass(messages):
    checked(*messages)


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([{"role": "human", "content": "x"}], "'human'"),
        ([{"content": "x"}], "'None'"),
        ([{"role": "user", "content": None}], "got null"),
        ([{"role": "user", "content": 3}], "a string or a list of parts"),
        ([{"role": "user", "content": "x", "name": "two words"}], "name"),
        ([{"role": "user", "content": [{"type": "tool_use", "tool_use": {}}]}], "'tool_use'"),
        ([{"role": "user", "content": [{"type": "text"}]}], "'text'"),
        ([{"role": "user", "content": ["x"]}], "'None'"),
        ([{"role": "system", "content": [{"type": "image_url", "image_url": {}}]}], "'image_url' of a 'system'"),
        ([{**CALLING, "tool_calls": [{"id": "c1"}]}], "function.name"),
        ([{**CALLING, "tool_calls": ["c1"]}], "function.name"),
        ([{**CALLING, "tool_calls": [{**CALL, "id": None}]}], "'id'"),
        ([RESULT], "must answer a tool call"),
        ([USER, CALLING, RESULT, RESULT], "must answer a tool call"),
        ([USER, CALLING], "these have none: c1"),
        ([USER, CALLING, USER], "these have none: c1"),
    ],
    ids=str,
)
def test_wrong_messages_are_refused_unless_the_server_is_lenient(messages, reason):
    with pytest.raises(RefusedError, match=reason):
        checked(*messages)
    checked(*messages, strict=False)


def test_a_refusal_looks_as_each_dialect_documents_it():
    assert error_body(404, "Gone.", "promptrun", "model", "x") == {"error": "Gone."}
    assert error_body(404, "Gone.", "openai", "model", "x") == {
        "error": {"message": "Gone.", "type": "invalid_request_error", "param": "model", "code": "x"}
    }
    assert error_body(500, "Oh.", "openai")["error"]["type"] == "server_error"
