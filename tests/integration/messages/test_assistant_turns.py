"""What of an AIMessage goes back to a model, and in which shape."""

import pytest
from langchain_core.load import dumpd, load
from langchain_core.messages import AIMessage, AIMessageChunk, ToolMessage, messages_from_dict, messages_to_dict

from langchain_promptrun import PromptrunInvalidMessageError

from .sending import each, sent, text

OWN = {"model_provider": "promptrun"}
OTHER = {"model_provider": "openai"}
CALL = {"name": "add", "args": {"a": 1}, "id": "call_1", "type": "tool_call"}
FUNCTION = {"name": "add", "arguments": '{"a":1}'}
WIRE_CALL = {"id": "call_1", "type": "function", "function": FUNCTION}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
PNG = {"type": "image", "base64": "AAAA", "mime_type": "image/png"}
WAV = {"type": "audio", "base64": "AAAA", "mime_type": "audio/wav"}
MARK = {"cache_control": {"type": "ephemeral"}}
MARKED = {**text("Sure."), **MARK}
REFUSAL = {"type": "refusal", "refusal": "No."}
GUARDED = {"type": "guard_content", "guard_content": {"text": {"text": "Hi"}}}
ATTACHED = "(attached to the next message)"


def ai(content="", calls=(), metadata=OWN, **kwargs):
    return AIMessage(content, tool_calls=list(calls), additional_kwargs=kwargs, response_metadata=metadata)


def breaking_off(args, *calls, name="add", **kwargs):
    """An answer whose last call is no JSON object."""
    invalid = {"name": name, "args": args, "id": "call_2", "error": "bad", "type": "invalid_tool_call"}
    fields = {"tool_calls": list(calls), "invalid_tool_calls": [invalid], "response_metadata": OWN}
    return AIMessage("", **fields, additional_kwargs=kwargs)


def turn_of(message, **fields):
    """The wire's turn of a message, and the media that follow it."""
    results = [ToolMessage("!", tool_call_id=call["id"]) for call in message.invalid_tool_calls]
    wire, *rest = sent(message, *results, **fields)
    return wire, [part for other in rest if other["role"] == "user" for part in other["content"][1:]]


def wire(message, **fields):
    return turn_of(message, **fields)[0]


def wrapped(value):
    return {"type": "non_standard", "value": value}


IN_PIECES = [{"name": "add", "args": '{"a":1}', "id": "call_1", "index": 0}]
CALLING = {"content": None, "tool_calls": [WIRE_CALL]}
REFUSED = {"content": None, "refusal": "No."}
TURNS = [
    ({"content": "Hello"}, ai([text("He"), "l", {**text("lo"), "annotations": [{}], "index": 2}])),
    ({"content": [text("a"), {**text("b"), **MARK}]}, ai([text("a"), {**text("b"), **MARK}])),
    ({"content": [{**text("a"), **MARK}]}, ai("a", **MARK)),
    ({"content": ""}, ai(), ai([]), ai([text("")])),
    (CALLING, ai("", [CALL]), ai([], [CALL]), ai([text("")], [CALL]), ai("", [CALL], function_call=FUNCTION)),
    (CALLING | {"content": "Hi"}, AIMessageChunk("Hi", tool_call_chunks=IN_PIECES)),
    ({"content": None, "function_call": FUNCTION}, ai(function_call=FUNCTION)),
    ({"content": "Hi"}, ai([wrapped({"anything": "secret"}), text("Hi")]), ai([wrapped("secret"), text("Hi")])),
    ({"content": "Hi"}, ai([GUARDED]), ai([wrapped(GUARDED)])),
    (REFUSED, *(ai(said, refusal="No.") for said in ("", "No.", [text("No.")], [REFUSAL]))),
    (REFUSED | {"refusal": "No.No."}, ai([REFUSAL, REFUSAL, {"type": "refusal"}])),
    (REFUSED | {"content": "Sure. "}, ai("Sure. No.", refusal="No.")),
    (REFUSED | {"content": "?"}, ai([text("No."), text("?")], refusal="No.")),
    ({"content": "Hi.", "refusal": ["No."]}, ai("Hi.", refusal=["No."])),
    (REFUSED | {"content": [MARKED]}, ai([MARKED], refusal="No.")),
]
"""Turns of the wire, and messages that say each."""


@each("turn, message", TURNS)
def test_assistant_turn_says_what_the_message_said(turn, message):
    assert wire(message) == {"role": "assistant", **turn}


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
    calls = wire(AIMessage([block], tool_calls=[{**CALL, "id": "call_0"}]))["tool_calls"]
    assert [call["id"] for call in calls] == ["call_0", "call_1"]
    marked = [{**WIRE_CALL, **MARK}]
    if block["type"] == "tool_use":
        assert wire(AIMessage([block | MARK]))["tool_calls"] == marked
        assert wire(AIMessage([block | MARK], tool_calls=[CALL]))["tool_calls"] == marked


SIGNED = {"extra_content": {"google": {"thought_signature": "s"}}}
KNOWN = {"index": 3, "function": {"name": "x"}}
SERVER_CALL = {"id": "s1", "type": "web_search", "web_search": {"query": "q"}}
EMPTY_CALL = {"id": "s2", "type": "custom", "function": {}}
SERVER_CALLS = [{**SERVER_CALL, "index": 1}, SIGNED, {"id": "s2", "type": "odd"}, {"id": "s3", "odd": {}}, "x"]
SQL = {"type": "custom_tool_call", "call_id": "call_1", "name": "sql", "input": "SELECT 1", "id": "ctc_1"}
TOOL_USE = {"type": "tool_use", "name": "add", "input": {"a": 1}}
INFINITE = {"arguments": '{"a": 1e999}'}
EXTRAS = {"call_1": {**SIGNED, "function": {"strict": True}}}
BROKEN = [
    ('{"a": 1', '{"invalid_arguments":"{\\"a\\": 1"}'),
    ("[1]", '{"invalid_arguments":"[1]"}'),
    ('{"a": NaN}', '{"invalid_arguments":"{\\"a\\": NaN}"}'),
    ('{"a": 1}', '{"a": 1}'),
    *(("", "{}"), (None, "{}")),
]
BROKEN_OFF = {"tool_call_extras": {"call_2": {"type": "custom"}}, "tool_call_errors": {"call_2": {"guard": "|"}}}


def function(name, arguments, call_id="call_1"):
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def custom(**body):
    return {"type": "custom", "custom": body}


def with_extras(extras, *calls):
    return ai("", calls or [CALL], tool_call_extras=extras)


def came_as(extras, args, **wire_call):
    """What goes back for a call that came as more than a function."""
    return [{"id": "call_1", **wire_call}], with_extras({"call_1": extras}, {**CALL, "args": args})


TWO_CALLS = [{**WIRE_CALL, "id": call_id} for call_id in ("call_0_0", "call_0_1")]
CALLS = [
    (TWO_CALLS, AIMessage([TOOL_USE] * 2, tool_calls=[{**CALL, "id": None}])),
    ([function("sql", '{"__arg1":"SELECT 1"}')], AIMessage([SQL])),
    *(([WIRE_CALL, function("add", arguments, "call_2")], breaking_off(args, CALL)) for args, arguments in BROKEN),
    ([function("unknown", '{"invalid_arguments":"{"}', "call_2")], breaking_off("{", name=None)),
    ([{"id": "call_2", **custom(name="add", input="l")}], breaking_off("l|", **BROKEN_OFF)),
    ([{**WIRE_CALL, **SIGNED}], ai(tool_calls=[{**WIRE_CALL, **SIGNED}], metadata={})),
    ([WIRE_CALL], ai(tool_calls=[{**WIRE_CALL, "secret": 1}], metadata=OTHER)),
    (
        [{**WIRE_CALL, "id": "call_0"}, {**WIRE_CALL, **SIGNED, "function": {**FUNCTION, "strict": True}}],
        with_extras(EXTRAS, {**CALL, "id": "call_0"}, CALL),
    ),
    ([WIRE_CALL], *map(with_extras, ({"call_1": {"id": "x", **KNOWN}}, None, [], {"call_1": "odd"}))),
    ([SERVER_CALL], ai("Hi", server_tool_calls=SERVER_CALLS)),
    ([EMPTY_CALL], ai("Hi", server_tool_calls=[EMPTY_CALL])),
    came_as(custom(grammar="g"), {"__arg1": "ls"}, **custom(grammar="g", name="add", input="ls")),
    came_as({"type": "custom"}, {"__arg1": ""}, **custom(name="add", input="")),
    came_as({"type": "custom"}, {"edited": 1}, **custom(name="add", input='{"edited":1}')),
    came_as({"type": "builtin_function", "x": 1}, {"a": 1}, type="builtin_function", function=FUNCTION, x=1),
    came_as(INFINITE, {"a": float("inf")}, **function("add", **INFINITE)),
    came_as({"arguments": "stale"}, {"a": 1}, **WIRE_CALL),
]
"""Calls of the wire, and messages that make them."""


@each("calls, message", CALLS)
def test_tool_call_goes_out_once_and_as_it_came_after_every_round_trip(message, calls):
    stored = messages_from_dict(messages_to_dict([message]))[0]
    for copy in (message, message.model_copy(deep=True), stored, load(dumpd(message), allowed_objects="messages")):
        assert wire(copy)["tool_calls"] == calls


def test_tool_call_of_a_servers_own_needs_no_result_and_may_have_one():
    message, bye = ai("Hi", server_tool_calls=SERVER_CALLS), AIMessage("Bye.")
    assert sent(message, ToolMessage("found", tool_call_id="s1"), bye)[0]["tool_calls"] == [SERVER_CALL]
    assert sent(message, bye)[0] == {"role": "assistant", "content": "Hi", "tool_calls": [SERVER_CALL]}


@pytest.mark.parametrize(("metadata", "back"), [({"model_name": "other/model"}, False), ({}, True)])
def test_tool_call_signatures_of_another_model_stay_here(metadata, back):
    extras = {"call_1": {"type": "builtin_function", "extra_content": {"s": 1}}}
    message = ai("", [CALL], OWN | metadata, tool_call_extras=extras, server_tool_calls=SERVER_CALLS)
    first, *others = wire(message)["tool_calls"]
    assert (first["type"], "extra_content" in first, bool(others)) == ("builtin_function", back, back)


AUDIO = {"id": "audio_1", "data": "AAAA", "transcript": "Hello", "expires_at": 1}
TOLD = {"type": "audio", "base64": "AAAA", "extras": {"transcript": "Hello"}}
INPUT_AUDIO = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
LC_WAV = {**WAV, "id": "lc_1"}
UNTYPED = {"type": "audio", "base64": "AAAA"}
GEMINIS = {"type": "media", "mime_type": "image/png", "data": "AAAA"}
MADE = {"type": "image_generation_call", "id": "ig_1"}
IMAGES = [IMAGE, {"image_url": IMAGE["image_url"]["url"], "index": 1}, {"image_url": {}}, {"image_url": 5}, "odd"]
NAMED_AUDIO = {"content": "", "audio": {"id": "audio_1"}}
A_CAT = {"content": "A cat:"}
MEDIA = [
    (NAMED_AUDIO, [], ai(audio=AUDIO), ai([{**WAV, "id": "audio_1"}]), ai([WAV], audio=AUDIO)),
    # another's audio, or without an id that the server knows, is told by its transcript, or else attached
    ({"content": "Hello"}, [], ai(audio=AUDIO, metadata=OTHER), ai([TOLD])),
    ({"content": "Hello"}, [], ai([{**TOLD, "id": "audio_1"}], metadata=OTHER)),
    ({"content": ATTACHED}, [INPUT_AUDIO], ai([LC_WAV], metadata=OTHER), ai([LC_WAV])),
    ({"content": ATTACHED}, [INPUT_AUDIO], ai([WAV], audio={"data": "AAAA"})),
    ({"content": ""}, [], ai(audio=b"RIFF"), ai([UNTYPED], audio={"data": "AAAA"})),
    ({"content": "Hi"}, [], ai("Hi", audio={"transcript": "Hello"}), ai([MADE, text("Hi")])),
    (A_CAT, [IMAGE], *(ai([text("A cat:"), cat]) for cat in (PNG, IMAGE, {**MADE, "result": "AAAA"}, GEMINIS))),
    (A_CAT, [IMAGE, IMAGE], ai("A cat:", images=IMAGES)),
    (A_CAT, [IMAGE], ai([text("A cat:"), PNG], images=IMAGES)),
    (A_CAT, [], ai("A cat:", images=IMAGES, metadata=OTHER)),
    ({"content": ATTACHED}, [IMAGE], ai([IMAGE])),
]
"""Turns of the wire, the media that follow them, and messages that hold both."""


@pytest.mark.parametrize(
    ("turn", "media", "message"), [(turn, media, message) for turn, media, *messages in MEDIA for message in messages]
)
def test_assistant_media_are_named_told_or_attached(message, turn, media):
    assert turn_of(message) == ({"role": "assistant", **turn}, media)


@pytest.mark.parametrize("block", [{"type": "hologram"}, {"odd": 1}, {"type": "tool_result", "content": "x"}])
def test_assistant_block_of_an_unknown_type_raises_an_error_with_its_place(block):
    with pytest.raises(PromptrunInvalidMessageError, match=r"^messages\[0\]\.content\[1\] is a content block"):
        wire(AIMessage([text("Hi"), block]))
