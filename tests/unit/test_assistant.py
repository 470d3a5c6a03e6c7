"""_assistant: what of an AIMessage goes back to a model, and in which shape."""

import json

import pytest
from langchain_core.load import dumpd, load
from langchain_core.messages import AIMessage, AIMessageChunk, messages_from_dict, messages_to_dict

from langchain_promptrun._messages.assistant import assistant_turn
from langchain_promptrun.errors import PromptrunInvalidMessageError

OWN = {"model_provider": "promptrun"}
CALL = {"name": "add", "args": {"a": 1}, "id": "call_1", "type": "tool_call"}
WIRE_CALL = {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
DETAILS = [
    {"type": "reasoning.text", "text": "hm", "signature": "c2ln", "format": "anthropic-claude-v1", "index": 0},
    {"type": "reasoning.encrypted", "data": "ZW5j"},
]


def text(value):
    return {"type": "text", "text": value}


def wire(message, **settings):
    return assistant_turn(message, **settings).message


def test_text_goes_out_as_one_string():
    message = AIMessage([text("Hel"), "lo", {**text(", you"), "annotations": [{"type": "citation"}], "index": 2}])
    assert wire(message) == {"role": "assistant", "content": "Hello, you"}


def test_text_with_a_cache_marker_goes_out_as_parts():
    marked = {**text("b"), "cache_control": {"type": "ephemeral"}}
    assert wire(AIMessage([text("a"), marked]))["content"] == [text("a"), marked]


def test_a_cache_marker_of_the_message_stands_on_its_last_part():
    message = AIMessage("a", additional_kwargs={"cache_control": {"type": "ephemeral"}})
    assert wire(message)["content"] == [{**text("a"), "cache_control": {"type": "ephemeral"}}]


@pytest.mark.parametrize("content", ["", [], [text("")]])
def test_content_is_null_only_in_a_turn_that_calls_tools(content):
    assert wire(AIMessage(content, tool_calls=[CALL])) == {
        "role": "assistant",
        "content": None,
        "tool_calls": [WIRE_CALL],
    }
    assert wire(AIMessage(content)) == {"role": "assistant", "content": ""}


def test_text_beside_tool_calls_is_kept():
    assert wire(AIMessage("Let me add.", tool_calls=[CALL]))["content"] == "Let me add."


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
def test_a_call_in_the_content_goes_out_once_whether_listed_or_not(block):
    assert wire(AIMessage([block]))["tool_calls"] == [WIRE_CALL]
    assert wire(AIMessage([block], tool_calls=[CALL]))["tool_calls"] == [WIRE_CALL]
    other = {**CALL, "id": "call_0"}
    calls = wire(AIMessage([block], tool_calls=[other]))["tool_calls"]
    assert [call["id"] for call in calls] == ["call_0", "call_1"]


def test_two_equal_calls_without_ids_stay_two():
    blocks = [{"type": "tool_use", "name": "add", "input": {"a": 1}}] * 2
    message = AIMessage(blocks, tool_calls=[{**CALL, "id": None}])
    assert [call["function"]["name"] for call in wire(message)["tool_calls"]] == ["add", "add"]


def test_a_custom_tools_call_goes_out_as_langchain_lists_it():
    block = {"type": "custom_tool_call", "call_id": "call_1", "name": "sql", "input": "SELECT 1", "id": "ctc_1"}
    arguments = wire(AIMessage([block]))["tool_calls"][0]["function"]["arguments"]
    assert json.loads(arguments) == {"__arg1": "SELECT 1"}


def test_a_cache_marker_on_a_call_goes_out_on_the_call():
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


@pytest.mark.parametrize(("args", "arguments"), [('{"a": 1', '{"a": 1'), ("", "{}"), (None, "{}"), ("[1]", "[1]")])
def test_an_invalid_call_goes_out_with_its_raw_arguments(args, arguments):
    invalid = {"name": "add", "args": args, "id": "call_2", "error": "bad", "type": "invalid_tool_call"}
    calls = wire(AIMessage("", tool_calls=[CALL], invalid_tool_calls=[invalid]))["tool_calls"]
    assert calls == [
        WIRE_CALL,
        {"id": "call_2", "type": "function", "function": {"name": "add", "arguments": arguments}},
    ]


def test_an_invalid_call_without_a_name_gets_one():
    invalid = {"name": None, "args": "{", "id": "call_2", "error": None, "type": "invalid_tool_call"}
    assert wire(AIMessage("", invalid_tool_calls=[invalid]))["tool_calls"][0]["function"]["name"] == "unknown"


def test_a_call_without_arguments_sends_an_empty_object():
    assert wire(AIMessage("", tool_calls=[{**CALL, "args": {}}]))["tool_calls"][0]["function"]["arguments"] == "{}"


def test_arguments_keep_their_letters():
    calls = wire(AIMessage("", tool_calls=[{**CALL, "args": {"city": "Tbilisi თბილისი"}}]))["tool_calls"]
    assert calls[0]["function"]["arguments"] == '{"city":"Tbilisi თბილისი"}'


def test_arguments_that_json_cannot_carry_name_their_place():
    with pytest.raises(PromptrunInvalidMessageError, match=r"^tool_calls\[1\]\.args\.x is NaN"):
        wire(AIMessage("", tool_calls=[CALL, {**CALL, "args": {"x": float("nan")}}]))


def test_raw_calls_are_used_when_nothing_else_names_them():
    message = AIMessage("")
    raw = {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}, "index": 0}
    message.additional_kwargs["tool_calls"] = [raw, {"id": "call_2"}, "odd"]
    calls = wire(message)["tool_calls"]
    assert calls == [
        WIRE_CALL,
        {"id": "call_2", "type": "function", "function": {"name": "unknown", "arguments": "{}"}},
    ]


def test_raw_calls_that_langchain_has_read_go_out_once_with_their_unknown_keys():
    raw = {**WIRE_CALL, "extra_content": {"google": {"thought_signature": "s"}}}
    assert wire(AIMessage("", additional_kwargs={"tool_calls": [raw]}))["tool_calls"] == [raw]


def test_unknown_keys_of_a_call_come_back_on_the_same_call_after_every_round_trip():
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


def test_unknown_keys_never_replace_known_ones():
    extras = {"call_1": {"id": "x", "index": 3, "function": {"name": "x"}}}
    message = AIMessage("", tool_calls=[CALL], additional_kwargs={"tool_call_extras": extras})
    assert wire(message)["tool_calls"] == [WIRE_CALL]


@pytest.mark.parametrize("extras", [None, [], {"call_1": "odd"}])
def test_extras_of_another_shape_are_ignored(extras):
    message = AIMessage("", tool_calls=[CALL], additional_kwargs={"tool_call_extras": extras})
    assert wire(message)["tool_calls"] == [WIRE_CALL]


def test_other_providers_keys_on_calls_never_go_out():
    raw = {**WIRE_CALL, "provider_field": "secret"}
    message = AIMessage("", additional_kwargs={"tool_calls": [raw]}, response_metadata={"model_provider": "openai"})
    assert wire(message)["tool_calls"] == [WIRE_CALL]


def test_the_deprecated_function_call_goes_out_as_it_is():
    function = {"name": "add", "arguments": '{"a":1}'}
    assert wire(AIMessage("", additional_kwargs={"function_call": function})) == {
        "role": "assistant",
        "content": None,
        "function_call": function,
    }


def test_a_function_call_beside_tool_calls_is_the_same_call():
    function = {"name": "add", "arguments": '{"a":1}'}
    message = AIMessage("", additional_kwargs={"function_call": function}, tool_calls=[CALL])
    assert wire(message) == {"role": "assistant", "content": None, "tool_calls": [WIRE_CALL]}


def test_a_chunk_is_read_like_a_message():
    chunk = AIMessageChunk("Hi", tool_call_chunks=[{"name": "add", "args": '{"a":1}', "id": "call_1", "index": 0}])
    assert wire(chunk) == {"role": "assistant", "content": "Hi", "tool_calls": [WIRE_CALL]}


# Reasoning


def reasoned(field=None, provider="promptrun", details=None, content="Hi", **kwargs):
    metadata = {"model_provider": provider, "reasoning_field": field}
    if details is not None:
        kwargs["reasoning_details"] = details
    return AIMessage(
        content,
        additional_kwargs=kwargs,
        response_metadata={key: value for key, value in metadata.items() if value is not None},
    )


@pytest.mark.parametrize(
    ("field", "keys"),
    [
        (None, {"reasoning_content"}),
        ("reasoning_content", {"reasoning_content"}),
        ("reasoning", {"reasoning"}),
        (["reasoning_content", "reasoning"], {"reasoning_content", "reasoning"}),
        (["reasoning", "reasoning_details"], {"reasoning"}),
        ("reasoning_details", set()),
        ("content", {"reasoning_content"}),
        (7, {"reasoning_content"}),
    ],
)
@pytest.mark.parametrize("provider", ["promptrun", None])
def test_reasoning_goes_back_in_the_spelling_it_came_in(field, keys, provider):
    message = wire(reasoned(field, provider, reasoning_content="hm"))
    assert message == {"role": "assistant", "content": "Hi"} | dict.fromkeys(keys, "hm")


def test_reasoning_that_came_as_a_content_part_goes_back_as_one():
    message = wire(reasoned("thinking", reasoning_content="hm"))
    assert message["content"] == [{"type": "thinking", "thinking": [text("hm")]}, text("Hi")]


def test_signed_details_go_back_as_they_came():
    message = wire(reasoned("reasoning_details", details=DETAILS, reasoning_content="hm"))
    assert message["reasoning_details"] is DETAILS
    assert "reasoning_content" not in message


def test_details_and_text_go_back_together_when_both_came():
    message = wire(reasoned(["reasoning", "reasoning_details"], details=DETAILS, reasoning_content="hm"))
    assert (message["reasoning"], message["reasoning_details"]) == ("hm", DETAILS)


def test_reasoning_blocks_of_an_own_answer_are_its_reasoning():
    blocks = [{"type": "reasoning", "reasoning": "h"}, {"type": "reasoning", "reasoning": "m"}, text("Hi")]
    message = wire(reasoned("reasoning", content=blocks))
    assert message == {"role": "assistant", "content": "Hi", "reasoning": "hm"}
    assert wire(reasoned("reasoning", content=[{"type": "reasoning"}, text("Hi")])) == {
        "role": "assistant",
        "content": "Hi",
    }


def test_reasoning_blocks_do_not_double_the_text_that_is_kept_apart():
    blocks = [{"type": "reasoning", "reasoning": "hm"}, text("Hi")]
    assert wire(reasoned("reasoning", content=blocks, reasoning_content="hm"))["reasoning"] == "hm"


def test_reasoning_blocks_of_an_unknown_author_stay_here():
    assert wire(AIMessage([{"type": "reasoning", "reasoning": "hm"}, text("Hi")])) == {
        "role": "assistant",
        "content": "Hi",
    }


def test_reasoning_can_be_switched_off():
    message = reasoned("reasoning", details=DETAILS, reasoning_content="hm")
    assert wire(message, send_reasoning=False) == {"role": "assistant", "content": "Hi"}


def test_other_providers_reasoning_never_goes_out():
    message = reasoned("reasoning", "deepseek", details=DETAILS, reasoning_content="hm")
    assert wire(message) == {"role": "assistant", "content": "Hi"}


@pytest.mark.parametrize("reasoning", ["", None, ["hm"]])
def test_empty_or_odd_reasoning_is_not_sent(reasoning):
    assert wire(reasoned("reasoning", None, reasoning_content=reasoning, details=[])) == {
        "role": "assistant",
        "content": "Hi",
    }


# Refusals, audio, media


def test_a_refusal_goes_back_as_a_refusal():
    assert wire(AIMessage("", additional_kwargs={"refusal": "No."})) == {
        "role": "assistant",
        "content": "",
        "refusal": "No.",
    }


def test_refusal_blocks_become_the_messages_refusal():
    blocks = [{"type": "refusal", "refusal": "N"}, {"type": "refusal", "refusal": "o."}, {"type": "refusal"}]
    assert wire(AIMessage(blocks)) == {"role": "assistant", "content": "", "refusal": "No."}
    assert wire(AIMessage(blocks, additional_kwargs={"refusal": "No."}))["refusal"] == "No."


AUDIO = {"id": "audio_1", "data": "AAAA", "transcript": "Hello", "expires_at": 1}


def test_an_own_audio_answer_is_named_by_its_id():
    expected = {"role": "assistant", "content": "", "audio": {"id": "audio_1"}}
    assert wire(AIMessage("", additional_kwargs={"audio": AUDIO}, response_metadata=OWN)) == expected
    block = {"type": "audio", "id": "audio_1", "base64": "AAAA", "mime_type": "audio/wav"}
    assert wire(AIMessage([block], response_metadata=OWN)) == expected


@pytest.mark.parametrize("provider", ["promptrun", "openai"])
def test_the_transcript_stands_in_for_an_audio_block_without_a_usable_id(provider):
    block = {"type": "audio", "base64": "AAAA", "extras": {"transcript": "Hello"}}
    block |= {"id": "audio_1"} if provider == "openai" else {}
    turn = assistant_turn(AIMessage([block], response_metadata={"model_provider": provider}))
    assert (turn.message, turn.attachments) == ({"role": "assistant", "content": "Hello"}, [])


def test_another_providers_audio_without_a_transcript_is_handed_out_apart():
    block = {"type": "audio", "base64": "AAAA", "mime_type": "audio/wav", "id": "lc_1"}
    turn = assistant_turn(AIMessage([block], response_metadata={"model_provider": "google_genai"}))
    assert turn.attachments == [{"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}]


def test_an_audio_block_beside_its_id_is_not_sent_again():
    block = {"type": "audio", "base64": "AAAA", "mime_type": "audio/wav"}
    turn = assistant_turn(AIMessage([block], additional_kwargs={"audio": AUDIO}, response_metadata=OWN))
    assert (turn.message["audio"], turn.attachments) == ({"id": "audio_1"}, [])


def test_the_transcript_stands_in_for_audio_that_has_no_id_here():
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
def test_images_of_an_answer_are_handed_out_apart(block):
    turn = assistant_turn(AIMessage([text("A cat:"), block]))
    assert turn.message == {"role": "assistant", "content": "A cat:"}
    assert turn.attachments == [IMAGE]


def test_images_that_an_own_answer_keeps_beside_its_text_are_handed_out_once():
    url = IMAGE["image_url"]["url"]
    kwargs = {"images": [IMAGE, {"image_url": url, "index": 1}, {"image_url": {}}, {"image_url": 5}, "odd"]}
    plain = assistant_turn(AIMessage("A cat:", additional_kwargs=kwargs, response_metadata=OWN))
    assert (plain.message["content"], plain.attachments) == ("A cat:", [IMAGE, IMAGE])
    blocks = [text("A cat:"), {"type": "image", "base64": "AAAA", "mime_type": "image/png"}]
    assert assistant_turn(AIMessage(blocks, additional_kwargs=kwargs)).attachments == [IMAGE]
    other = AIMessage("A cat:", additional_kwargs=kwargs, response_metadata={"model_provider": "openrouter"})
    assert assistant_turn(other).attachments == []


def test_an_answer_of_an_image_alone_says_where_it_is():
    turn = assistant_turn(AIMessage([IMAGE]))
    assert turn.message == {"role": "assistant", "content": "(attached to the next message)"}


def test_an_image_generation_without_a_result_is_nothing():
    turn = assistant_turn(AIMessage([{"type": "image_generation_call", "id": "ig_1"}, text("Hi")]))
    assert (turn.message["content"], turn.attachments) == ("Hi", [])


def test_a_cache_marker_on_an_image_goes_with_it():
    turn = assistant_turn(AIMessage([text("A cat:"), {**IMAGE, "cache_control": {"type": "ephemeral"}}]))
    assert turn.attachments == [{**IMAGE, "cache_control": {"type": "ephemeral"}}]
    assert turn.message["content"] == "A cat:"


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
def test_what_only_its_provider_understands_never_goes_out(block):
    assert wire(AIMessage([block, text("Hi")])) == {"role": "assistant", "content": "Hi"}


@pytest.mark.parametrize("block", [{"type": "hologram", "data": "x"}, {"odd": 1}])
def test_a_block_of_an_unknown_type_is_an_error_that_names_its_place(block):
    with pytest.raises(PromptrunInvalidMessageError, match=r"^content\[1\] is a content block"):
        wire(AIMessage([text("Hi"), block]))
