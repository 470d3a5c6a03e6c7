"""Conversations in, the messages of a request out."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    ChatMessageChunk,
    FunctionMessage,
    FunctionMessageChunk,
    HumanMessage,
    HumanMessageChunk,
    RemoveMessage,
    SystemMessage,
    SystemMessageChunk,
    ToolMessage,
    ToolMessageChunk,
)

from langchain_promptrun import PromptrunError, PromptrunInvalidMessageError

from .sending import each, sent, text

CACHE = {"cache_control": {"type": "ephemeral"}}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
FILE = {"type": "file", "file": {"filename": "file.pdf", "file_data": "data:application/pdf;base64,AAAA"}}
ATTACHED = "(attached to the next message)"


def call(call_id, name="add", **args):
    return {"name": name, "args": args, "id": call_id, "type": "tool_call"}


def calls(*ids, **fields):
    return AIMessage("", tool_calls=[call(call_id) for call_id in ids], **fields)


def result(call_id, content="3", **fields):
    return ToolMessage(content, tool_call_id=call_id, **fields)


def wire_result(call_id, content="3"):
    return {"role": "tool", "tool_call_id": call_id, "content": content}


class Question(HumanMessage):
    """A user's own kind of message."""

    urgent: bool = True


def roled(role):
    return SystemMessage("x", additional_kwargs={"__openai_role__": role})


ROLES = [
    ("system", SystemMessage("x"), SystemMessageChunk("x"), roled("odd")),
    ("developer", roled("developer")),
    ("user", HumanMessage("x"), HumanMessageChunk("x"), Question("x")),
    ("assistant", AIMessage("x"), AIMessageChunk("x")),
    ("critic", ChatMessage("x", role="critic"), ChatMessageChunk("x", role="critic")),
    ("function", FunctionMessage("x", name="add"), FunctionMessageChunk("x", name="add")),
]


@each("role, message", ROLES)
def test_message_of_each_type_has_its_role_and_a_functions_its_name(message, role):
    named = {"name": "add"} if role == "function" else {}
    assert sent(message) == sent(message, send_names=False) == [{"role": role, "content": "x", **named}]


CALLED = AIMessage("", additional_kwargs={"function_call": {"name": "add", "arguments": "{}"}})
RESULTS = {
    "message": ToolMessage("3", tool_call_id="c1", name="add"),
    "chunk": ToolMessageChunk("3", tool_call_id="c1", name="add"),
    "error and artifact": result("c1", status="error", artifact={"big": object()}, name="add"),
    "role tool": ChatMessage("3", role="tool", additional_kwargs={"tool_call_id": "c1"}),
    "user's alone": HumanMessage([{"type": "tool_result", "tool_use_id": "c1", "content": "3"}]),
}


@pytest.mark.parametrize("message", RESULTS.values(), ids=RESULTS)
@pytest.mark.parametrize("turn", [calls("c1"), CALLED], ids=["call", "deprecated call of any id"])
@pytest.mark.parametrize("rest", [[], [HumanMessage("go on")]], ids=len)
def test_tool_result_of_each_kind_names_its_call(turn, message, rest):
    assert sent(turn, message, *rest)[1:] == [wire_result("c1"), *({"role": "user", "content": "go on"} for _ in rest)]


@pytest.mark.parametrize("name", ["example_user", "A-1_b", "x" * 64, "x" * 65, "with space", "ünïcode", "line\n", ""])
@pytest.mark.parametrize("kind", [HumanMessage, AIMessage, SystemMessage])
def test_message_name_is_sent_when_it_is_legal(kind, name):
    for message in (kind("x", name=name), kind("x", additional_kwargs={"name": name}), calls("c1", name=name)):
        assert sent(message)[0].get("name") == (name if re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) else None)
        assert "name" not in sent(message, send_names=False)[0]


@pytest.mark.parametrize("kind", [SystemMessage, HumanMessage])
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        *((nothing, "") for nothing in ("", [], ["", text("")])),
        *((single, "a") for single in ([text("a")], ["a"])),
        (["a", text("b")], [text("a"), text("b")]),
        *((parts, parts) for parts in ([{**text("a"), **CACHE}], [text("a"), IMAGE], [IMAGE])),
    ],
)
def test_message_content_of_one_plain_text_is_a_string_and_else_parts(kind, content, expected):
    assert sent(kind(content)) == [{"role": sent(kind("x"))[0]["role"], "content": expected}]


@pytest.mark.parametrize("kind", [SystemMessage, HumanMessage, AIMessage])
def test_message_content_may_be_the_text_of_another_message(kind):
    """`message.text` is a subclass of str."""
    message, tool = kind("x"), result("c1")
    message.content = tool.content = AIMessage("hello").text
    first, _, last = sent(message, calls("c1"), tool)
    assert (first["content"], last) == ("hello", wire_result("c1", "hello"))


def test_message_conversion_leaves_the_callers_messages_alone():
    message = HumanMessage([{**text("a"), "extras": CACHE}, IMAGE], additional_kwargs={"cache_control": 1})
    turn = calls("c1", None, additional_kwargs={"tool_call_extras": {"c1": {"x": 1}}})
    before = message.model_dump_json(), turn.model_dump_json()
    sent(message, turn)
    assert (message.model_dump_json(), turn.model_dump_json()) == before


def test_message_cache_marker_stands_on_its_last_part():
    kwargs = {"additional_kwargs": CACHE}
    messages = [SystemMessage("a", **kwargs), HumanMessage([IMAGE, text("b")], **kwargs)]
    system, human, _, tool = sent(*messages, calls("c1"), result("c1", "c", **kwargs))
    assert system["content"] == [{**text("a"), **CACHE}]
    assert human["content"] == [IMAGE, {**text("b"), **CACHE}]
    assert tool["content"] == [{**text("c"), **CACHE}]


MEDIA = [
    *(IMAGE, {**IMAGE, **CACHE}, FILE, {"type": "video_url", "video_url": {"url": "https://a.example/v"}}),
    *({"type": kind, kind: {"data": "x"}} for kind in ("input_audio", "input_video")),
]


@pytest.mark.parametrize("rest", [[], [HumanMessage("and?")]], ids=len)
def test_tool_result_media_go_out_in_a_user_message_of_their_own_after_the_last_result(rest):
    results = [result("c1", MEDIA), result("c2"), result("c3", [text("pdf"), FILE])]
    labels = [text(f"Attached to the result of tool call {name}:") for name in ("c1", "c3")]
    assert sent(calls("c1", "c2", "c3"), *results, *rest)[1:] == [
        *(wire_result("c1", ATTACHED), wire_result("c2"), wire_result("c3", "pdf")),
        {"role": "user", "content": [labels[0], *MEDIA, labels[1], FILE]},
        *({"role": "user", "content": message.content} for message in rest),
    ]


def test_answer_media_go_out_after_the_results_of_its_calls():
    turn = AIMessage([text("A cat."), IMAGE], tool_calls=[call("c1")])
    roles = [message["role"] for message in sent(turn, result("c1"), AIMessage("Done."))]
    assert roles == ["assistant", "tool", "user", "assistant"]
    label = text("Attached to the assistant's message:")
    contents = [message["content"] for message in sent(AIMessage([IMAGE]), HumanMessage("Nice."))]
    assert contents == [ATTACHED, [label, IMAGE], "Nice."]


def anthropic_result(call_id, **facts):
    return {"type": "tool_result", "tool_use_id": call_id, **facts}


def test_tool_result_in_a_user_message_alone_becomes_a_result():
    """Anthropic's histories carry them so."""
    results = [
        anthropic_result("c1", content=[text("green"), IMAGE], is_error=False),
        anthropic_result("c2", content="red", **CACHE),
        anthropic_result("c3"),
    ]
    said = [
        wire_result("c1", "green"),
        wire_result("c2", [{**text("red"), **CACHE}]),
        wire_result("c3", ""),
        {"role": "user", "content": [text("Attached to the result of tool call c1:"), IMAGE]},
    ]
    turn = calls("c1", "c2", "c3")
    assert sent(turn, HumanMessage([*results, text("")]))[1:] == said
    rest = {"role": "user", "content": [text("Before."), text("After.")]}
    assert sent(turn, HumanMessage([text("Before."), *results, text("After.")]))[1:] == [*said, rest]
    assert sent(SystemMessage([text("x"), *results])) == [{"role": "system", "content": "x"}]


def ids_of(*messages):
    """The ids of calls, and those that results name."""
    wire = sent(*messages)
    calls = [tool["id"] for message in wire for tool in message.get("tool_calls", [])]
    return calls, [message["tool_call_id"] for message in wire if message["role"] == "tool"]


@pytest.mark.parametrize("missing", [None, ""])
def test_tool_call_without_an_id_gets_a_unique_one_that_its_result_shares(missing):
    ids, named = ids_of(calls(missing, missing), result(""), result(""), calls(missing), result("whatever"))
    assert (len(set(ids)), all(ids), named) == (3, True, ids)


def test_tool_result_is_matched_by_id_then_name_then_order_to_calls_without_an_id():
    turn = AIMessage("", tool_calls=[call(None, "add"), call(None, "sub")])
    ids, named = ids_of(turn, result("", name="sub"), result("", name="add"))
    assert named == ids[::-1]
    for between in ([], [HumanMessage("wait")]):
        ids, named = ids_of(calls("c1", None), *between, result("c1"), result(""))
        assert named == ids


def test_tool_call_ids_that_were_made_do_not_change_as_the_conversation_grows():
    history = [HumanMessage("x"), calls(None), result("")]
    assert sent(*history, AIMessage("3"), HumanMessage("y"))[:3] == sent(*history)


def invalid(call_id):
    return {"name": "add", "args": "{", "id": call_id, "error": None, "type": "invalid_tool_call"}


MIXED = AIMessage("", tool_calls=[call("c1")], invalid_tool_calls=[invalid("c2")])
SERVER_CALLS = {"server_tool_calls": [{"id": "s1", "type": "x", "x": {}}]}
UNANSWERED = r"messages\[1\]\.tool_calls\[1\] calls tool 'add' with id 'c2', and no later message has the result of"


@pytest.mark.parametrize(
    ("messages", "problem"),
    [
        ([RemoveMessage(id="1")], r"messages\[0\] is a RemoveMessage, which cannot be sent; accepted types: AI"),
        ([HumanMessage("x"), BaseMessage(content="x", type="odd")], r"messages\[1\] is a BaseMessage, "),
        ([calls("c1"), HumanMessage([anthropic_result(5)])], r"messages\[1\]\.content\[0\]\.tool_use_id is of type"),
        ([AIMessage("", tool_calls=[call("c1", a=float("nan"))])], r"messages\[0\]\.tool_calls\[0\]\.args\.a is NaN"),
        ([calls("c1"), result("")], r"messages\[1\] is the result of tool call '' .its `tool_call_id`., but .* 'c1'$"),
        (
            [HumanMessage("x"), result("c1")],
            r"messages\[1\] is the result of tool call 'c1' .* no assistant message before it calls a tool$",
        ),
        ([calls("c1", "c2"), result("c9")], r"messages\[1\] is the result of tool call 'c9' .* ids 'c1', 'c2'$"),
        ([AIMessage("", invalid_tool_calls=[invalid("c1")]), result("c9")], r"messages\[1\] .* 'c9' .* the ids 'c1'"),
        ([AIMessage("", additional_kwargs=SERVER_CALLS), result("c9")], r"messages\[1\] .* 'c9' .* the ids 's1'"),
        *[
            ([HumanMessage("x"), calls("c1", "c2"), result("c1"), after], UNANSWERED)
            for after in (HumanMessage("x"), AIMessage("x"), SystemMessage("x"), ChatMessage("x", role="y"))
        ],
        ([calls("c1"), result("c1"), calls("c2"), calls("c1"), HumanMessage("x")], r"messages\[2\].tool_calls"),
        ([MIXED, result("c2"), HumanMessage("x")], r"messages\[0\]\.tool_calls\[0\] calls tool 'add' with id 'c1'"),
    ],
)
def test_conversation_that_cannot_be_sent_raises_an_error_that_names_place_and_ids(messages, problem):
    with pytest.raises(PromptrunInvalidMessageError, match=f"^{problem}") as caught:
        sent(*messages)
    assert isinstance(caught.value, PromptrunError)
    assert isinstance(caught.value, ValueError)


BROKEN = {"id": "c2", "type": "function", "function": {"name": "add", "arguments": '{"invalid_arguments":"{"}'}}
OPEN_ENDS = [[], [HumanMessage("go on")], [HumanMessage("go on"), AIMessage("Done."), HumanMessage("thanks")]]


@pytest.mark.parametrize("after", OPEN_ENDS, ids=len)
@pytest.mark.parametrize("extras", [{}, {"refusal": "No."}])
@pytest.mark.parametrize("content", ["half", "", [text("half")], [], [text("half"), invalid("c2")]])
def test_invalid_tool_call_without_a_result_is_left_out_alone_or_beside_a_valid_one(content, extras, after):
    """No tool runs it, so no result will ever come."""
    alone = AIMessage(content, invalid_tool_calls=[invalid("c2")], additional_kwargs=extras)
    said = {"role": "assistant", "content": "half" if content else None if extras else "", **extras}
    assert sent(alone, *after) == [said, *(sent(*after) if after else [])]
    beside = AIMessage(content, tool_calls=[call("c1")], invalid_tool_calls=[invalid("c2"), invalid(None)])
    plain = AIMessage("half" if content else "", tool_calls=[call("c1")])
    assert sent(beside, result("c1"), *after) == sent(plain, result("c1"), *after)


LISTED = {"invalid_tool_calls": [invalid("c2")]}


@pytest.mark.parametrize("between", [[], [HumanMessage("wait")]])
@pytest.mark.parametrize(("content", "listed"), [("half", LISTED), ([text("half"), invalid("c2")], {})])
def test_invalid_tool_call_with_a_result_goes_out_as_json_that_holds_its_text(between, content, listed):
    for kwargs in ({}, {"refusal": None}):
        turn = AIMessage(content, **listed, additional_kwargs=kwargs)
        messages = sent(turn, *between, result("c2", "Error: no JSON"), HumanMessage("go on"))
        assert messages[0] == {"role": "assistant", "content": "half", "tool_calls": [BROKEN]}
        assert wire_result("c2", "Error: no JSON") in messages


def test_tool_result_of_a_later_call_of_the_same_id_answers_no_invalid_call():
    turn = AIMessage("half", invalid_tool_calls=[invalid("c1")])
    messages = sent(turn, HumanMessage("again"), calls("c1"), result("c1"))
    assert messages[0] == {"role": "assistant", "content": "half"}
    assert messages[2:] == sent(calls("c1"), result("c1"))


TURN = [calls("1"), result("1"), HumanMessage("x")]
CONVERSATIONS = {
    "open": [HumanMessage("x"), calls("c1", "c2")],
    "half open": [HumanMessage("x"), calls("c1", "c2"), result("c2")],
    "late": [calls("c1", "c2"), result("c2"), HumanMessage("wait"), result("c1"), HumanMessage("go")],
    "same ids": [*TURN, *TURN],
}


@pytest.mark.parametrize("messages", CONVERSATIONS.values(), ids=CONVERSATIONS)
def test_tool_call_may_be_open_at_the_end_answered_late_or_of_an_old_id(messages):
    assert len(sent(*messages)) == len(messages)


any_text = st.text(st.characters(codec=None, exclude_categories=()), max_size=20)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3),
    max_leaves=8,
)


def joined(value):
    """The text with surrogate pairs as the characters they stand for, as JSON reads them."""
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


@settings(max_examples=40)
@given(any_text, any_text, any_text, st.dictionaries(any_text, json_values, max_size=3))
def test_message_of_any_text_and_any_arguments_arrives_or_is_refused_clearly(system, human, answer, args):
    turn = AIMessage(answer, tool_calls=[call("c1", answer or "x")])
    turn.tool_calls[0]["args"] = args
    said = HumanMessage([text(human), {**text(human), **CACHE}])
    try:
        first, second, third, fourth = sent(SystemMessage(system), said, turn, result("c1", human))
    except ValueError as error:
        refused = str(error)
        assert re.match(r"messages\[2\]\.tool_calls\[0\]\.args.* (NaN|an infinity)", refused, re.DOTALL)
        return
    assert (first["content"], fourth["content"]) == (joined(system), joined(human))
    assert second["content"] == ([text(joined(human)), {**text(joined(human)), **CACHE}] if human else "")
    assert third["content"] == (joined(answer) or None)
    assert json.loads(third["tool_calls"][0]["function"]["arguments"]) == json.loads(joined(json.dumps(args)))


KEYS = ["text", "image_url", "url", "base64", "data", "source", "file", "content", "input", "id", "title", "value"]
TYPES = ["text", "image_url", "file", "document", "json", "search_result", "tool_use", "tool_result", "non_standard"]


def records(inner):
    """Data of any keys of blocks, with or without a type, or with one that is none."""
    types = st.sampled_from([*TYPES, "odd", 1, None])
    fields = st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
    return fields | st.builds(lambda kind, rest: {**rest, "type": kind}, types, fields)


scalars = st.none() | st.booleans() | st.integers(0, 9) | any_text | st.sampled_from(TYPES)
odd_values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=2) | records(inner), max_leaves=6)


@settings(max_examples=100)
@given(st.sampled_from([SystemMessage, HumanMessage, AIMessage]), st.lists(any_text | records(odd_values), max_size=3))
def test_message_of_odd_blocks_is_sent_or_refused_clearly_and_a_tools_data_is_never_refused(kind, content):
    refused, message, data = "", kind(""), result("c1")
    message.content = data.content = content
    before = [calls("c1"), data]
    assert sent(*before)
    try:
        sent(*before, message)
    except ValueError as error:
        refused = str(error)
    assert refused.startswith("messages[2]" if refused else "")


def test_message_media_are_sent_without_reading_a_file_or_a_url(monkeypatch):
    def forbidden(*args, **kwargs):
        raise AssertionError(args)

    sent(HumanMessage("x"))  # whatever the client itself reads is read now
    for name in ("builtins.open", "socket.socket.connect", "os.open"):
        monkeypatch.setattr(name, forbidden)
    blocks = [
        *({"type": kind, "url": "file:///etc/passwd"} for kind in ("image", "file", "video")),
        {"type": "image_url", "image_url": {"url": "https://promptrun.invalid/a.png"}},
        {"type": "file", "base64": "AAAA", "filename": "/etc/passwd"},
    ]
    assert len(sent(HumanMessage(blocks))[0]["content"]) == len(blocks)


EXTRA_FIELDS = {"weight": 0, "vendor": {"a": [1]}}


@pytest.mark.parametrize(
    "message",
    [
        *(SystemMessage("x"), HumanMessage("x"), AIMessage("x"), AIMessage("x", tool_calls=[call("c1")])),
        ChatMessage("x", role="critic"),
    ],
)
@pytest.mark.parametrize(
    ("kwargs", "added"),
    [
        ({"lc_source": "summary", "lc_data": {"a": 1}, "anything": "else"}, {}),
        ({"extra_fields": EXTRA_FIELDS}, EXTRA_FIELDS),
        # where an answer goes on: DeepSeek's and Mistral's word, and Moonshot's and DashScope's
        *(({key: True}, {key: True}) for key in ("prefix", "partial")),
        *(({key: "odd"}, {}) for key in ("prefix", "partial")),
    ],
)
def test_message_keys_stay_here_but_for_those_that_are_meant_for_the_wire(message, kwargs, added):
    own = {"additional_kwargs": kwargs, "response_metadata": {"secret": 1}, "id": "run-1"}
    assert sent(message.model_copy(update=own)) == [sent(message)[0] | added]


def test_tool_result_extra_fields_go_out():
    wire = sent(calls("c1"), result("c1", additional_kwargs={"extra_fields": EXTRA_FIELDS}))[1]
    assert wire == wire_result("c1") | EXTRA_FIELDS
