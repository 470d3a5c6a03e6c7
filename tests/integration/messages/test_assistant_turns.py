"""What of an AIMessage goes back to a model, and in which shape."""

import json
import re

import pytest
from langchain_core.load import dumpd, load
from langchain_core.messages import AIMessage, AIMessageChunk, ToolMessage, messages_from_dict, messages_to_dict

from langchain_promptrun import PromptrunInvalidMessageError

from .sending import sent, text

OWN = {"model_provider": "promptrun"}
CALL = {"name": "add", "args": {"a": 1}, "id": "call_1", "type": "tool_call"}
WIRE_CALL = {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


def turn_of(message, **fields):
    """The wire's turn of a message, and the media that follow it."""
    results = [ToolMessage("!", tool_call_id=call["id"]) for call in message.invalid_tool_calls]
    wire, *rest = sent(message, *results, **fields)
    return wire, [part for other in rest if other["role"] == "user" for part in other["content"][1:]]


def wire(message, **fields):
    return turn_of(message, **fields)[0]


def test_assistant_text_goes_out_as_one_string():
    message = AIMessage([text("Hel"), "lo", {**text(", you"), "annotations": [{"type": "citation"}], "index": 2}])
    assert wire(message) == {"role": "assistant", "content": "Hello, you"}


def test_assistant_text_with_a_cache_marker_goes_out_as_parts():
    marked = {**text("b"), "cache_control": {"type": "ephemeral"}}
    assert wire(AIMessage([text("a"), marked]))["content"] == [text("a"), marked]


def test_assistant_cache_marker_of_the_message_stands_on_its_last_part():
    message = AIMessage("a", additional_kwargs={"cache_control": {"type": "ephemeral"}})
    assert wire(message)["content"] == [{**text("a"), "cache_control": {"type": "ephemeral"}}]


@pytest.mark.parametrize("content", ["", [], [text("")]])
def test_assistant_content_is_null_in_a_turn_that_only_calls_tools(content):
    assert wire(AIMessage(content, tool_calls=[CALL])) == {
        "role": "assistant",
        "content": None,
        "tool_calls": [WIRE_CALL],
    }
    assert wire(AIMessage(content)) == {"role": "assistant", "content": ""}


# Tool calls


@pytest.mark.parametrize(
    "block",
    [
        CALL,
        {"type": "tool_use", "id": "call_1", "name": "add", "input": {"a": 1}},
        {"type": "tool_use", "id": "call_1", "name": "add", "input": {}, "partial_json": '{"a":1}'},
        {"type": "function_call", "name": "add", "args": {"a": 1}, "id": "call_1"},
        {"type": "function_call", "name": "add", "arguments": '{"a":1}', "call_id": "call_1", "id": "fc_1"},
        {"type": "tool_call_chunk", "id": "call_1", "name": "add", "args": '{"a":1}', "index": 0},
        {"type": "non_standard", "value": {"type": "tool_use", "id": "call_1", "name": "add", "input": {"a": 1}}},
    ],
)
def test_tool_call_in_the_content_goes_out_once_whether_listed_or_not(block):
    assert wire(AIMessage([block]))["tool_calls"] == [WIRE_CALL]
    assert wire(AIMessage([block], tool_calls=[CALL]))["tool_calls"] == [WIRE_CALL]
    other = {**CALL, "id": "call_0"}
    calls = wire(AIMessage([block], tool_calls=[other]))["tool_calls"]
    assert [call["id"] for call in calls] == ["call_0", "call_1"]


def test_tool_call_that_equals_another_without_ids_stays():
    blocks = [{"type": "tool_use", "name": "add", "input": {"a": 1}}] * 2
    message = AIMessage(blocks, tool_calls=[{**CALL, "id": None}])
    assert [call["function"]["name"] for call in wire(message)["tool_calls"]] == ["add", "add"]


def test_tool_call_of_a_custom_tool_of_openai_goes_out_as_langchain_lists_it():
    block = {"type": "custom_tool_call", "call_id": "call_1", "name": "sql", "input": "SELECT 1", "id": "ctc_1"}
    arguments = wire(AIMessage([block]))["tool_calls"][0]["function"]["arguments"]
    assert json.loads(arguments) == {"__arg1": "SELECT 1"}


def test_tool_call_with_a_cache_marker_keeps_it():
    block = {
        "type": "tool_use",
        "id": "call_1",
        "name": "add",
        "input": {"a": 1},
        "cache_control": {"type": "ephemeral"},
    }
    expected = [{**WIRE_CALL, "cache_control": {"type": "ephemeral"}}]
    assert wire(AIMessage([block]))["tool_calls"] == expected
    assert wire(AIMessage([block], tool_calls=[CALL]))["tool_calls"] == expected


@pytest.mark.parametrize(
    ("args", "arguments"),
    [
        ('{"a": 1', '{"invalid_arguments":"{\\"a\\": 1"}'),
        ("[1]", '{"invalid_arguments":"[1]"}'),
        ('{"a": NaN}', '{"invalid_arguments":"{\\"a\\": NaN}"}'),
        ('{"a": 1}', '{"a": 1}'),
        ("", "{}"),
        (None, "{}"),
    ],
)
def test_invalid_tool_call_goes_out_with_json_that_holds_its_text(args, arguments):
    invalid = {"name": "add", "args": args, "id": "call_2", "error": "bad", "type": "invalid_tool_call"}
    calls = wire(AIMessage("", tool_calls=[CALL], invalid_tool_calls=[invalid]))["tool_calls"]
    assert calls == [
        WIRE_CALL,
        {"id": "call_2", "type": "function", "function": {"name": "add", "arguments": arguments}},
    ]


def test_invalid_tool_call_without_a_name_gets_one():
    invalid = {"name": None, "args": "{", "id": "call_2", "error": None, "type": "invalid_tool_call"}
    assert wire(AIMessage("", invalid_tool_calls=[invalid]))["tool_calls"][0]["function"]["name"] == "unknown"


def test_tool_call_arguments_keep_their_letters():
    calls = wire(AIMessage("", tool_calls=[{**CALL, "args": {"city": "Tbilisi თბილისი"}}]))["tool_calls"]
    assert calls[0]["function"]["arguments"] == '{"city":"Tbilisi თბილისი"}'


def test_tool_call_arguments_that_json_cannot_carry_name_their_place():
    with pytest.raises(PromptrunInvalidMessageError, match=r"^messages\[0\]\.tool_calls\[1\]\.args\.x is NaN"):
        wire(AIMessage("", tool_calls=[CALL, {**CALL, "args": {"x": float("nan")}}]))


def test_tool_call_that_is_raw_is_used_when_nothing_else_names_it():
    message = AIMessage("")
    raw = {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}, "index": 0}
    message.additional_kwargs["tool_calls"] = [raw, {"id": "call_2"}, "odd"]
    calls = wire(message)["tool_calls"]
    assert calls == [
        WIRE_CALL,
        {"id": "call_2", "type": "function", "function": {"name": "unknown", "arguments": "{}"}},
    ]


def test_tool_call_that_is_raw_and_listed_goes_out_once_with_its_unknown_keys():
    raw = {**WIRE_CALL, "extra_content": {"google": {"thought_signature": "s"}}}
    assert wire(AIMessage("", additional_kwargs={"tool_calls": [raw]}))["tool_calls"] == [raw]


def test_tool_call_unknown_keys_come_back_after_every_round_trip():
    extras = {"call_1": {"extra_content": {"google": {"thought_signature": "s"}}, "function": {"strict": True}}}
    message = AIMessage(
        "",
        tool_calls=[{**CALL, "id": "call_0"}, CALL],
        additional_kwargs={"tool_call_extras": extras},
        response_metadata=OWN,
    )
    for copy in (
        message,
        messages_from_dict(messages_to_dict([message]))[0],
        load(dumpd(message), allowed_objects="messages"),
    ):
        first, second = wire(copy)["tool_calls"]
        assert first == {**WIRE_CALL, "id": "call_0"}
        assert second.pop("extra_content") == {"google": {"thought_signature": "s"}}
        assert second.pop("function") == {**WIRE_CALL["function"], "strict": True}
        assert second == {"id": "call_1", "type": "function"}


def test_tool_call_unknown_keys_never_replace_known_ones():
    extras = {"call_1": {"id": "x", "index": 3, "function": {"name": "x"}}}
    message = AIMessage("", tool_calls=[CALL], additional_kwargs={"tool_call_extras": extras})
    assert wire(message)["tool_calls"] == [WIRE_CALL]


@pytest.mark.parametrize("extras", [None, [], {"call_1": "odd"}])
def test_tool_call_extras_of_another_shape_are_ignored(extras):
    message = AIMessage("", tool_calls=[CALL], additional_kwargs={"tool_call_extras": extras})
    assert wire(message)["tool_calls"] == [WIRE_CALL]


def test_tool_call_keys_of_another_provider_stay_here():
    raw = {**WIRE_CALL, "provider_field": "secret"}
    message = AIMessage("", additional_kwargs={"tool_calls": [raw]}, response_metadata={"model_provider": "openai"})
    assert wire(message)["tool_calls"] == [WIRE_CALL]


@pytest.mark.parametrize(
    ("kept", "args", "wire_call"),
    [
        (
            {"type": "custom", "custom": {"grammar": "g"}},
            {"__arg1": "ls"},
            {"type": "custom", "custom": {"grammar": "g", "name": "add", "input": "ls"}},
        ),
        ({"type": "custom"}, {"__arg1": ""}, {"type": "custom", "custom": {"name": "add", "input": ""}}),
        ({"type": "custom"}, {"edited": 1}, {"type": "custom", "custom": {"name": "add", "input": '{"edited":1}'}}),
        (
            {"type": "builtin_function", "x": 1},
            {"a": 1},
            {"type": "builtin_function", "function": {"name": "add", "arguments": '{"a":1}'}, "x": 1},
        ),
        (
            {"arguments": '{"a": 1e999}'},
            {"a": float("inf")},
            {"type": "function", "function": {"name": "add", "arguments": '{"a": 1e999}'}},
        ),
        ({"arguments": "stale"}, {"a": 1}, {"type": "function", "function": WIRE_CALL["function"]}),
    ],
)
@pytest.mark.parametrize("copied", [lambda message: message, lambda message: message.model_copy(deep=True)])
def test_tool_call_goes_back_as_the_kind_it_came_as(kept, args, wire_call, copied):
    kwargs = {"tool_call_extras": {"call_1": kept}}
    message = AIMessage("", tool_calls=[{**CALL, "args": args}], additional_kwargs=kwargs, response_metadata=OWN)
    assert wire(copied(message))["tool_calls"] == [{"id": "call_1", **wire_call}]


def test_tool_call_of_a_custom_kind_that_broke_off_goes_back_with_its_text():
    invalid = {"name": "add", "args": "l|", "id": "call_2", "error": None, "type": "invalid_tool_call"}
    kwargs = {"tool_call_extras": {"call_2": {"type": "custom"}}, "tool_call_errors": {"call_2": {"guard": "|"}}}
    message = AIMessage("", invalid_tool_calls=[invalid], additional_kwargs=kwargs, response_metadata=OWN)
    assert wire(message)["tool_calls"][0]["custom"] == {"name": "add", "input": "l"}


def test_tool_call_that_is_raw_and_custom_stays_custom():
    raw = {"id": "call_1", "type": "custom", "custom": {"name": "add", "input": '{"a":1}'}}
    message = AIMessage("")
    message.additional_kwargs["tool_calls"] = [raw]
    message.response_metadata["model_provider"] = "openai"
    assert wire(message)["tool_calls"] == [raw]


SERVER_CALL = {"id": "s1", "type": "web_search", "web_search": {"query": "q"}, "index": 1}


def test_tool_call_of_a_servers_own_goes_back_as_it_came_and_needs_no_result():
    server_calls = [SERVER_CALL, {"extra_content": {"a": 1}}, {"id": "s2", "type": "odd"}, {"id": "s3", "odd": {}}, "x"]
    message = AIMessage("Hi", additional_kwargs={"server_tool_calls": server_calls}, response_metadata=OWN)
    kept = {key: value for key, value in SERVER_CALL.items() if key != "index"}
    assert wire(message)["tool_calls"] == [kept]
    assert sent(message, ToolMessage("found", tool_call_id="s1"), AIMessage("Bye."))[0]["tool_calls"] == [kept]
    assert sent(message, AIMessage("Bye."))[0] == {"role": "assistant", "content": "Hi", "tool_calls": [kept]}


@pytest.mark.parametrize(("metadata", "back"), [({"model_name": "other/model"}, False), ({}, True)])
def test_tool_call_signatures_of_another_model_stay_here(metadata, back):
    kwargs = {
        "tool_call_extras": {"call_1": {"type": "builtin_function", "extra_content": {"s": 1}}},
        "server_tool_calls": [SERVER_CALL],
    }
    message = AIMessage("", tool_calls=[CALL], additional_kwargs=kwargs, response_metadata=OWN | metadata)
    first, *others = wire(message)["tool_calls"]
    assert (first["type"], "extra_content" in first, bool(others)) == ("builtin_function", back, back)


@pytest.mark.parametrize("name", ["server.tool/v1", "x" * 65, "ünïcode", "with space"])
def test_tool_call_with_an_illegal_name_goes_out_under_a_legal_one(name):
    first, second = wire(AIMessage("", tool_calls=[{**CALL, "name": name}, {**CALL, "name": name, "id": "2"}]))[
        "tool_calls"
    ]
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", first["function"]["name"])
    assert first["function"] == second["function"]


def test_function_call_of_the_deprecated_kind_goes_out_as_it_is():
    function = {"name": "add", "arguments": '{"a":1}'}
    assert wire(AIMessage("", additional_kwargs={"function_call": function})) == {
        "role": "assistant",
        "content": None,
        "function_call": function,
    }


def test_function_call_beside_tool_calls_is_the_same_call():
    function = {"name": "add", "arguments": '{"a":1}'}
    message = AIMessage("", additional_kwargs={"function_call": function}, tool_calls=[CALL])
    assert wire(message) == {"role": "assistant", "content": None, "tool_calls": [WIRE_CALL]}


def test_assistant_chunk_is_read_like_a_message():
    chunk = AIMessageChunk("Hi", tool_call_chunks=[{"name": "add", "args": '{"a":1}', "id": "call_1", "index": 0}])
    assert wire(chunk) == {"role": "assistant", "content": "Hi", "tool_calls": [WIRE_CALL]}


# Refusals, audio, media


@pytest.mark.parametrize("content", ["", "No.", [text("No.")], [{"type": "refusal", "refusal": "No."}]])
def test_refusal_goes_back_once_as_a_refusal(content):
    message = AIMessage(content, additional_kwargs={"refusal": "No."})
    assert wire(message) == {"role": "assistant", "content": None, "refusal": "No."}


def test_refusal_beside_a_text_leaves_the_text():
    message = AIMessage("Sure. No.", additional_kwargs={"refusal": "No."})
    assert wire(message) == {"role": "assistant", "content": "Sure. ", "refusal": "No."}
    message = AIMessage([text("No."), text("Sorry.")], additional_kwargs={"refusal": "No."})
    assert wire(message) == {"role": "assistant", "content": "Sorry.", "refusal": "No."}
    marked = {**text("Sure."), "cache_control": {"type": "ephemeral"}}
    assert wire(AIMessage([marked], additional_kwargs={"refusal": "No."}))["content"] == [marked]


def test_refusal_blocks_become_the_refusal():
    blocks = [{"type": "refusal", "refusal": "N"}, {"type": "refusal", "refusal": "o."}, {"type": "refusal"}]
    assert wire(AIMessage(blocks)) == {"role": "assistant", "content": None, "refusal": "No."}
    assert wire(AIMessage(blocks, additional_kwargs={"refusal": "No."}))["refusal"] == "No."


AUDIO = {"id": "audio_1", "data": "AAAA", "transcript": "Hello", "expires_at": 1}


def test_assistant_audio_of_our_own_is_named_by_its_id():
    expected = {"role": "assistant", "content": "", "audio": {"id": "audio_1"}}
    assert wire(AIMessage("", additional_kwargs={"audio": AUDIO}, response_metadata=OWN)) == expected
    block = {"type": "audio", "id": "audio_1", "base64": "AAAA", "mime_type": "audio/wav"}
    assert wire(AIMessage([block], response_metadata=OWN)) == expected


@pytest.mark.parametrize("provider", ["promptrun", "openai"])
def test_assistant_audio_block_without_a_usable_id_goes_out_as_its_transcript(provider):
    block = {"type": "audio", "base64": "AAAA", "extras": {"transcript": "Hello"}}
    block |= {"id": "audio_1"} if provider == "openai" else {}
    turn = turn_of(AIMessage([block], response_metadata={"model_provider": provider}))
    assert turn == ({"role": "assistant", "content": "Hello"}, [])


def test_assistant_audio_of_another_provider_without_a_transcript_is_attached():
    block = {"type": "audio", "base64": "AAAA", "mime_type": "audio/wav", "id": "lc_1"}
    turn = turn_of(AIMessage([block], response_metadata={"model_provider": "google_genai"}))
    assert turn[1] == [{"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}]


def test_assistant_audio_block_beside_its_id_is_not_sent_again():
    block = {"type": "audio", "base64": "AAAA", "mime_type": "audio/wav"}
    turn = turn_of(AIMessage([block], additional_kwargs={"audio": AUDIO}, response_metadata=OWN))
    assert (turn[0]["audio"], turn[1]) == ({"id": "audio_1"}, [])


def test_assistant_audio_without_an_id_goes_out_as_its_transcript():
    message = AIMessage("", additional_kwargs={"audio": AUDIO}, response_metadata={"model_provider": "openai"})
    assert wire(message) == {"role": "assistant", "content": "Hello"}
    assert wire(AIMessage("", additional_kwargs={"audio": b"RIFF"})) == {"role": "assistant", "content": ""}
    assert wire(AIMessage("Hi", additional_kwargs={"audio": {"transcript": "Hello"}}))["content"] == "Hi"


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image", "base64": "AAAA", "mime_type": "image/png"},
        IMAGE,
        {"type": "image_generation_call", "id": "ig_1", "result": "AAAA", "status": "completed"},
        {"type": "media", "mime_type": "image/png", "data": "AAAA"},
    ],
)
def test_assistant_images_are_attached(block):
    turn = turn_of(AIMessage([text("A cat:"), block]))
    assert turn[0] == {"role": "assistant", "content": "A cat:"}
    assert turn[1] == [IMAGE]


def test_assistant_images_beside_the_text_are_attached_once():
    url = IMAGE["image_url"]["url"]
    kwargs = {"images": [IMAGE, {"image_url": url, "index": 1}, {"image_url": {}}, {"image_url": 5}, "odd"]}
    plain = turn_of(AIMessage("A cat:", additional_kwargs=kwargs, response_metadata=OWN))
    assert (plain[0]["content"], plain[1]) == ("A cat:", [IMAGE, IMAGE])
    blocks = [text("A cat:"), {"type": "image", "base64": "AAAA", "mime_type": "image/png"}]
    assert turn_of(AIMessage(blocks, additional_kwargs=kwargs))[1] == [IMAGE]
    other = AIMessage("A cat:", additional_kwargs=kwargs, response_metadata={"model_provider": "openrouter"})
    assert turn_of(other)[1] == []


def test_assistant_image_alone_says_where_it_is():
    turn = turn_of(AIMessage([IMAGE]))
    assert turn[0] == {"role": "assistant", "content": "(attached to the next message)"}


def test_assistant_image_generation_without_a_result_is_nothing():
    turn = turn_of(AIMessage([{"type": "image_generation_call", "id": "ig_1"}, text("Hi")]))
    assert (turn[0]["content"], turn[1]) == ("Hi", [])


# What stays here


@pytest.mark.parametrize(
    "block",
    [
        {"type": "thinking", "thinking": "secret", "signature": "s"},
        {"type": "redacted_thinking", "data": "secret"},
        {"type": "reasoning_content", "reasoning_content": {"text": "secret"}},
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"q": "secret"}},
        {"type": "mcp_tool_use", "id": "s", "name": "secret"},
        {"type": "web_search_tool_result", "content": "secret"},
        {"type": "bash_code_execution_tool_result", "content": "secret"},
        {"type": "server_tool_call", "id": "s", "name": "secret", "args": {}},
        {"type": "server_tool_result", "tool_call_id": "s", "output": "secret"},
        {"type": "web_search_call", "id": "secret"},
        {"type": "file_search_call", "id": "secret"},
        {"type": "code_interpreter_call", "id": "secret"},
        {"type": "mcp_list_tools", "tools": "secret"},
        {"type": "tool_search_output", "tools": "secret"},
        {"type": "computer_call_output", "output": "secret"},
        {"type": "executable_code", "executable_code": "secret"},
        {"type": "code_execution_result", "code_execution_result": "secret"},
        {"type": "input_json_delta", "partial_json": "secret"},
        {"type": "reference", "reference_ids": ["secret"]},
        {"type": "additional_tools", "tools": ["secret"]},
        {"type": "compaction", "content": "secret"},
        {"type": "container_upload", "file_id": "secret"},
        {"type": "function_call_signature", "signature": "secret"},
        {"type": "mcp_approval_request", "arguments": "secret"},
        {"type": "server_tool_call_chunk", "args": "secret"},
        {"type": "reasoning", "summary": [{"text": "secret"}]},
        {"type": "non_standard", "value": {"type": "compaction", "content": "secret"}},
        {"type": "non_standard", "value": {"anything": "secret"}},
        {"type": "non_standard", "value": "secret"},
    ],
)
def test_assistant_block_of_its_provider_stays_here(block):
    assert wire(AIMessage([block, text("Hi")])) == {"role": "assistant", "content": "Hi"}


@pytest.mark.parametrize("block", [{"type": "hologram", "data": "x"}, {"odd": 1}])
def test_assistant_block_of_an_unknown_type_raises_an_error_with_its_place(block):
    with pytest.raises(PromptrunInvalidMessageError, match=r"^messages\[0\]\.content\[1\] is a content block"):
        wire(AIMessage([text("Hi"), block]))
