"""What of an AIMessage goes back to a model, and in which shape."""

import pytest
from langchain_core.load import dumpd, load
from langchain_core.messages import AIMessage, AIMessageChunk, ToolMessage, messages_from_dict, messages_to_dict

from langchain_promptrun import PromptrunInvalidMessageError

from .sending import sent, text

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


def broken(args, **rest):
    return {"name": "add", "args": args, "id": "call_2", "error": "bad", "type": "invalid_tool_call", **rest}


def turn_of(message, **fields):
    """The wire's turn of a message, and the media that follow it."""
    results = [ToolMessage("!", tool_call_id=call["id"]) for call in message.invalid_tool_calls]
    wire, *rest = sent(message, *results, **fields)
    return wire, [part for other in rest if other["role"] == "user" for part in other["content"][1:]]


def wire(message, **fields):
    return turn_of(message, **fields)[0]


def rows(names, table):
    return pytest.mark.parametrize(names, table.values(), ids=table)


@rows(
    "message, turn",
    {
        "pieces": (ai([text("He"), "l", {**text("lo"), "annotations": [{}], "index": 2}]), {"content": "Hello"}),
        "a marked piece": (ai([text("a"), {**text("b"), **MARK}]), {"content": [text("a"), {**text("b"), **MARK}]}),
        "a marked message": (ai("a", **MARK), {"content": [{**text("a"), **MARK}]}),
        "nothing": (ai(), {"content": ""}),
        "an empty list": (ai([]), {"content": ""}),
        "an empty text": (ai([text("")]), {"content": ""}),
        "a call alone": (ai("", [CALL]), {"content": None, "tool_calls": [WIRE_CALL]}),
        "a call and an empty list": (ai([], [CALL]), {"content": None, "tool_calls": [WIRE_CALL]}),
        "a call and an empty text": (ai([text("")], [CALL]), {"content": None, "tool_calls": [WIRE_CALL]}),
        "a chunk": (
            AIMessageChunk("Hi", tool_call_chunks=[{"name": "add", "args": '{"a":1}', "id": "call_1", "index": 0}]),
            {"content": "Hi", "tool_calls": [WIRE_CALL]},
        ),
        "the deprecated call": (ai(function_call=FUNCTION), {"content": None, "function_call": FUNCTION}),
        "both kinds of call": (ai("", [CALL], function_call=FUNCTION), {"content": None, "tool_calls": [WIRE_CALL]}),
        **{
            f"wrapped {value!r}": (ai([{"type": "non_standard", "value": value}, text("Hi")]), {"content": "Hi"})
            for value in ({"anything": "secret"}, "secret")
        },
        "a guarded text": (ai([GUARDED]), {"content": "Hi"}),
        "a wrapped guarded text": (ai([{"type": "non_standard", "value": GUARDED}]), {"content": "Hi"}),
        "a refusal": (ai(refusal="No."), {"content": None, "refusal": "No."}),
        "a refusal as text": (ai("No.", refusal="No."), {"content": None, "refusal": "No."}),
        "a refusal in a list": (ai([text("No.")], refusal="No."), {"content": None, "refusal": "No."}),
        "a refusal and its block": (ai([REFUSAL], refusal="No."), {"content": None, "refusal": "No."}),
        "a refusal in blocks": (ai([REFUSAL, REFUSAL, {"type": "refusal"}]), {"content": None, "refusal": "No.No."}),
        "a refusal after a text": (ai("Sure. No.", refusal="No."), {"content": "Sure. ", "refusal": "No."}),
        "a refusal before a text": (ai([text("No."), text("?")], refusal="No."), {"content": "?", "refusal": "No."}),
        "a refusal that is no text": (ai("Hi.", refusal=["No."]), {"content": "Hi.", "refusal": ["No."]}),
        "a refusal and a marked text": (ai([MARKED], refusal="No."), {"content": [MARKED], "refusal": "No."}),
    },
)
def test_assistant_turn_says_what_the_message_said(message, turn):
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


def came_as(extras, args, **wire_call):
    """A call that came as more than a function, and what goes back for it."""
    return ai("", [{**CALL, "args": args}], tool_call_extras={"call_1": extras}), [{"id": "call_1", **wire_call}]


@rows(
    "message, calls",
    {
        "equal, without ids": (
            AIMessage([TOOL_USE] * 2, tool_calls=[{**CALL, "id": None}]),
            [{**WIRE_CALL, "id": call_id} for call_id in ("call_0_0", "call_0_1")],
        ),
        "a custom tool of OpenAI's Responses": (AIMessage([SQL]), [function("sql", '{"__arg1":"SELECT 1"}')]),
        **{
            f"broken {args!r}": (
                AIMessage("", tool_calls=[CALL], invalid_tool_calls=[broken(args)]),
                [WIRE_CALL, function("add", arguments, "call_2")],
            )
            for args, arguments in BROKEN
        },
        "broken before its name": (
            AIMessage("", invalid_tool_calls=[broken("{", name=None)]),
            [function("unknown", '{"invalid_arguments":"{"}', "call_2")],
        ),
        "broken, of a custom tool": (
            AIMessage("", invalid_tool_calls=[broken("l|")], additional_kwargs=BROKEN_OFF, response_metadata=OWN),
            [{"id": "call_2", **custom(name="add", input="l")}],
        ),
        "raw and listed": (ai(tool_calls=[{**WIRE_CALL, **SIGNED}], metadata={}), [{**WIRE_CALL, **SIGNED}]),
        "raw of another provider": (ai(tool_calls=[{**WIRE_CALL, "secret": 1}], metadata=OTHER), [WIRE_CALL]),
        "further keys": (
            ai("", [{**CALL, "id": "call_0"}, CALL], tool_call_extras=EXTRAS),
            [{**WIRE_CALL, "id": "call_0"}, {**WIRE_CALL, **SIGNED, "function": {**FUNCTION, "strict": True}}],
        ),
        "keys that are known": (ai("", [CALL], tool_call_extras={"call_1": {"id": "x", **KNOWN}}), [WIRE_CALL]),
        "no keys": (ai("", [CALL], tool_call_extras=None), [WIRE_CALL]),
        "a list of keys": (ai("", [CALL], tool_call_extras=[]), [WIRE_CALL]),
        "odd keys": (ai("", [CALL], tool_call_extras={"call_1": "odd"}), [WIRE_CALL]),
        "a server's own": (ai("Hi", server_tool_calls=SERVER_CALLS), [SERVER_CALL]),
        "a server's own and empty": (ai("Hi", server_tool_calls=[EMPTY_CALL]), [EMPTY_CALL]),
        "custom": came_as(custom(grammar="g"), {"__arg1": "ls"}, **custom(grammar="g", name="add", input="ls")),
        "custom, of nothing": came_as({"type": "custom"}, {"__arg1": ""}, **custom(name="add", input="")),
        "custom, edited": came_as({"type": "custom"}, {"edited": 1}, **custom(name="add", input='{"edited":1}')),
        "builtin": came_as(
            {"type": "builtin_function", "x": 1}, {"a": 1}, type="builtin_function", function=FUNCTION, x=1
        ),
        "no JSON": came_as(INFINITE, {"a": float("inf")}, **function("add", **INFINITE)),
        "edited": came_as({"arguments": "stale"}, {"a": 1}, **WIRE_CALL),
    },
)
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


@rows(
    "message, turn, media",
    {
        "our own audio": (ai(audio=AUDIO), {"content": "", "audio": {"id": "audio_1"}}, []),
        "our own audio's block": (ai([{**WAV, "id": "audio_1"}]), {"content": "", "audio": {"id": "audio_1"}}, []),
        "our own audio and its block": (ai([WAV], audio=AUDIO), {"content": "", "audio": {"id": "audio_1"}}, []),
        "audio of another provider": (ai(audio=AUDIO, metadata=OTHER), {"content": "Hello"}, []),
        "audio without a transcript": (ai([LC_WAV], metadata=OTHER), {"content": ATTACHED}, [INPUT_AUDIO]),
        "our own audio with LangChain's id": (ai([{**WAV, "id": "lc_1"}]), {"content": ATTACHED}, [INPUT_AUDIO]),
        "our own audio without an id": (ai([TOLD]), {"content": "Hello"}, []),
        "another's audio with an id": (ai([{**TOLD, "id": "audio_1"}], metadata=OTHER), {"content": "Hello"}, []),
        "our own audio of an unknown format": (ai([UNTYPED], audio={"data": "AAAA"}), {"content": ""}, []),
        "audio in bytes": (ai(audio=b"RIFF"), {"content": ""}, []),
        "audio beside a text": (ai("Hi", audio={"transcript": "Hello"}), {"content": "Hi"}, []),
        "a standard image": (ai([text("A cat:"), PNG]), {"content": "A cat:"}, [IMAGE]),
        "an image": (ai([text("A cat:"), IMAGE]), {"content": "A cat:"}, [IMAGE]),
        "a generated image": (ai([text("A cat:"), {**MADE, "result": "AAAA"}]), {"content": "A cat:"}, [IMAGE]),
        "Gemini's image": (ai([text("A cat:"), GEMINIS]), {"content": "A cat:"}, [IMAGE]),
        "images beside a text": (ai("A cat:", images=IMAGES), {"content": "A cat:"}, [IMAGE, IMAGE]),
        "images beside their blocks": (ai([text("A cat:"), PNG], images=IMAGES), {"content": "A cat:"}, [IMAGE]),
        "images of another provider": (ai("A cat:", images=IMAGES, metadata=OTHER), {"content": "A cat:"}, []),
        "an image alone": (ai([IMAGE]), {"content": ATTACHED}, [IMAGE]),
        "an image that was not made": (ai([MADE, text("Hi")]), {"content": "Hi"}, []),
    },
)
def test_assistant_media_are_named_told_or_attached(message, turn, media):
    assert turn_of(message) == ({"role": "assistant", **turn}, media)


@pytest.mark.parametrize("block", [{"type": "hologram"}, {"odd": 1}, {"type": "tool_result", "content": "x"}])
def test_assistant_block_of_an_unknown_type_raises_an_error_with_its_place(block):
    with pytest.raises(PromptrunInvalidMessageError, match=r"^messages\[0\]\.content\[1\] is a content block"):
        wire(AIMessage([text("Hi"), block]))
