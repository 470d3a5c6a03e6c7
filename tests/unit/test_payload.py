"""_payload: messages in, JSON out."""

import builtins
import enum
import json
import math
import uuid
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
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
from pydantic import BaseModel

from langchain_promptrun._messages.conversation import wire_messages
from langchain_promptrun._wire.json import dumps, loads

CACHE = {"cache_control": {"type": "ephemeral"}}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
FILE = {"type": "file", "file": {"filename": "file.pdf", "file_data": "data:application/pdf;base64,AAAA"}}
ATTACHED = "(attached to the next message)"


def text(value):
    return {"type": "text", "text": value}


def call(call_id, name="add", **args):
    return {"name": name, "args": args, "id": call_id, "type": "tool_call"}


def calls(*ids, **fields):
    return AIMessage("", tool_calls=[call(call_id) for call_id in ids], **fields)


def result(call_id, content="3", **fields):
    return ToolMessage(content, tool_call_id=call_id, **fields)


def wire_result(call_id, content="3"):
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def wired(*messages, **settings):
    """What reaches the wire: through JSON and back."""
    return json.loads(dumps(wire_messages(messages, **settings)))


# Types and roles


@pytest.mark.parametrize(
    ("message", "role"),
    [
        (SystemMessage("x"), "system"),
        (SystemMessageChunk("x"), "system"),
        (SystemMessage("x", additional_kwargs={"__openai_role__": "developer"}), "developer"),
        (SystemMessage("x", additional_kwargs={"__openai_role__": "odd"}), "system"),
        (HumanMessage("x"), "user"),
        (HumanMessageChunk("x"), "user"),
        (AIMessage("x"), "assistant"),
        (AIMessageChunk("x"), "assistant"),
        (ChatMessage("x", role="critic"), "critic"),
        (ChatMessageChunk("x", role="critic"), "critic"),
    ],
)
def test_each_type_of_message_has_its_role(message, role):
    assert wired(message) == [{"role": role, "content": "x"}]


@pytest.mark.parametrize("kind", [ToolMessage, ToolMessageChunk])
def test_a_tools_result_names_its_call(kind):
    assert wired(calls("c1"), kind("3", tool_call_id="c1", name="add"))[1] == wire_result("c1")


@pytest.mark.parametrize("kind", [FunctionMessage, FunctionMessageChunk])
def test_a_function_message_is_named_even_when_names_are_not_sent(kind):
    expected = [{"role": "function", "content": "3", "name": "add"}]
    assert wired(kind("3", name="add")) == wired(kind("3", name="add"), send_names=False) == expected


def test_a_chat_message_of_role_tool_is_a_tools_result():
    message = ChatMessage("3", role="tool", additional_kwargs={"tool_call_id": "c1"})
    assert wired(calls("c1"), message, HumanMessage("go on"))[1] == wire_result("c1")


def test_a_users_own_subclass_is_sent_as_its_base():
    class Question(HumanMessage):
        urgent: bool = True

    assert wired(Question("x")) == [{"role": "user", "content": "x"}]


def test_a_message_that_cannot_be_sent_is_named_with_its_position():
    with pytest.raises(
        ValueError, match=r"^messages\[1\] is a RemoveMessage, which cannot be sent; accepted types: AI"
    ):
        wire_messages([HumanMessage("x"), RemoveMessage(id="1")])
    with pytest.raises(ValueError, match=r"^messages\[0\] is a BaseMessage, "):
        wire_messages([BaseMessage(content="x", type="odd")])


def test_an_empty_conversation_is_empty():
    assert wired() == []


# Names


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("example_user", True),
        ("A-1_b", True),
        ("x" * 64, True),
        ("x" * 65, False),
        ("with space", False),
        ("ünïcode", False),
        ("trailing\n", False),
        ("", False),
    ],
)
@pytest.mark.parametrize("kind", [HumanMessage, AIMessage, SystemMessage])
def test_a_name_is_sent_when_it_is_legal(kind, name, sent):
    for message in (kind("x", name=name), kind("x", additional_kwargs={"name": name})):
        assert wired(message)[0].get("name") == (name if sent else None)
        assert "name" not in wired(message, send_names=False)[0]


def test_names_stand_beside_tool_calls():
    assert wired(calls("c1", name="agent"))[0]["name"] == "agent"


# Content


@pytest.mark.parametrize("kind", [SystemMessage, HumanMessage])
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", ""),
        ([], ""),
        (["", text("")], ""),
        ([text("a")], "a"),
        (["a"], "a"),
        (["a", text("b")], [text("a"), text("b")]),
        ([{**text("a"), **CACHE}], [{**text("a"), **CACHE}]),
        ([text("a"), IMAGE], [text("a"), IMAGE]),
        ([IMAGE], [IMAGE]),
    ],
)
def test_one_plain_text_is_a_string_and_anything_else_parts(kind, content, expected):
    assert wired(kind(content)) == [{"role": wired(kind("x"))[0]["role"], "content": expected}]


@pytest.mark.parametrize("kind", [SystemMessage, HumanMessage, AIMessage])
def test_the_text_of_another_message_is_a_text(kind):
    """`message.text` is a subclass of str."""
    message = kind("x")
    message.content = AIMessage("hello").text
    assert wired(message)[0]["content"] == "hello"
    tool = result("c1")
    tool.content = message.content
    assert wired(calls("c1"), tool)[1] == wire_result("c1", "hello")


def test_the_callers_messages_are_not_changed():
    message = HumanMessage([{**text("a"), "extras": CACHE}, IMAGE], additional_kwargs={"cache_control": 1})
    turn = calls("c1", None, additional_kwargs={"tool_call_extras": {"c1": {"x": 1}}})
    before = message.model_dump_json(), turn.model_dump_json()
    wired(message, turn)
    assert (message.model_dump_json(), turn.model_dump_json()) == before


def test_cache_markers_reach_the_wire_on_every_kind_of_message():
    marked = [{**text("a"), **CACHE}]
    kinds = [SystemMessage(marked), HumanMessage(marked), AIMessage(marked), calls("c1"), result("c1", marked)]
    assert [message["content"] for message in wired(*kinds) if message["content"]] == [marked] * 4


def test_a_cache_marker_of_the_message_stands_on_its_last_part():
    kwargs = {"additional_kwargs": CACHE}
    system, human, _, tool = wired(
        SystemMessage("a", **kwargs),
        HumanMessage([IMAGE, text("b")], **kwargs),
        calls("c1"),
        result("c1", "c", **kwargs),
    )
    assert system["content"] == [{**text("a"), **CACHE}]
    assert human["content"] == [IMAGE, {**text("b"), **CACHE}]
    assert tool["content"] == [{**text("c"), **CACHE}]


def test_langchains_own_keys_stay_here():
    kwargs = {"lc_source": "summary", "lc_data": {"a": 1}, "anything": "else"}
    messages = [
        kind("x", additional_kwargs=kwargs, response_metadata={"secret": 1}, id="run-1")
        for kind in (SystemMessage, HumanMessage, AIMessage)
    ]
    assert wired(*messages) == [{"role": role, "content": "x"} for role in ("system", "user", "assistant")]


def test_an_unknown_block_is_named_with_its_message_and_its_place_in_it():
    with pytest.raises(ValueError, match=r"^messages\[1\]\.content\[2\] is a content block of type 'hologram'"):
        wire_messages([HumanMessage("x"), HumanMessage(["a", "b", {"type": "hologram"}])])


def test_a_part_of_the_callers_own_passes_unchanged():
    part = {"type": "hologram", "hologram": {"deep": [1, None]}}
    assert wired(HumanMessage([text("a"), {"type": "non_standard", "value": part}]))[0]["content"] == [text("a"), part]


# Results of tools


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("3", "3"),
        ("", ""),
        ([], ""),
        ([text("3")], "3"),
        (["3", text("4")], [text("3"), text("4")]),
        ([{"type": "json", "json": {"a": 1}}], '{"a":1}'),
        (
            [{"title": "T", "score": 0.5}, {"text": "t", "url": "u"}],
            [text('{"title":"T","score":0.5}'), text('{"text":"t","url":"u"}')],
        ),
        ([{"document": "name"}], '{"document":"name"}'),
        ([{"type": "search_result", "title": "T", "content": [text("x")]}], [text("T"), text("x")]),
    ],
)
def test_a_tools_result_of_texts_and_data(content, expected):
    assert wired(calls("c1"), result("c1", content)) == [wired(calls("c1"))[0], wire_result("c1", expected)]


def test_artifact_status_and_name_are_not_sent():
    message = result("c1", "Error: no b", status="error", artifact={"big": object()}, name="add")
    assert wired(calls("c1"), message)[1] == wire_result("c1", "Error: no b")


@pytest.mark.parametrize(
    ("block", "part"),
    [
        (IMAGE, IMAGE),
        ({"type": "image", "base64": "AAAA", "mime_type": "image/png"}, IMAGE),
        ({"type": "file", "base64": "AAAA", "mime_type": "application/pdf"}, FILE),
        ({**IMAGE, **CACHE}, {**IMAGE, **CACHE}),
        *[(part, part) for part in ({"type": kind, kind: {"data": "x"}} for kind in ("input_audio", "input_video"))],
        (
            {"type": "video", "url": "https://a.example/v"},
            {"type": "video_url", "video_url": {"url": "https://a.example/v"}},
        ),
    ],
)
def test_media_of_a_result_go_out_in_a_user_message_of_their_own(block, part):
    label = text("Attached to the result of tool call c1:")
    for rest in ([], [HumanMessage("and?")]):
        messages = wired(calls("c1"), result("c1", [block]), *rest)
        assert messages[1:3] == [wire_result("c1", ATTACHED), {"role": "user", "content": [label, part]}]
        assert messages[3:] == wired(*rest)


def test_media_of_several_results_wait_for_the_last_result():
    messages = wired(calls("c1", "c2", "c3"), result("c1", [IMAGE]), result("c2"), result("c3", [text("pdf"), FILE]))
    assert messages[1:4] == [wire_result("c1", ATTACHED), wire_result("c2"), wire_result("c3", "pdf")]
    labels = [text(f"Attached to the result of tool call {name}:") for name in ("c1", "c3")]
    assert messages[4:] == [{"role": "user", "content": [labels[0], IMAGE, labels[1], FILE]}]


def test_media_of_a_late_result_go_out_right_after_it():
    messages = wired(calls("c1"), HumanMessage("wait"), result("c1", [IMAGE]), HumanMessage("go"))
    assert [message["content"] for message in messages[2:]] == [
        ATTACHED,
        [text("Attached to the result of tool call c1:"), IMAGE],
        "go",
    ]


def test_media_of_an_answer_go_out_after_the_results_of_its_calls():
    turn = AIMessage([text("A cat."), IMAGE], tool_calls=[call("c1")])
    roles = [message["role"] for message in wired(turn, result("c1"), AIMessage("Done."))]
    assert roles == ["assistant", "tool", "user", "assistant"]
    label = text("Attached to the assistant's message:")
    assert wired(AIMessage([IMAGE]), HumanMessage("Nice.")) == [
        {"role": "assistant", "content": ATTACHED},
        {"role": "user", "content": [label, IMAGE]},
        {"role": "user", "content": "Nice."},
    ]


def test_results_in_a_user_message_become_results():
    """Anthropic's histories carry them so."""
    human = HumanMessage(
        [
            text("Before."),
            {"type": "tool_result", "tool_use_id": "c1", "content": [text("green"), IMAGE], "is_error": False},
            {"type": "tool_result", "tool_use_id": "c2", "content": "red", **CACHE},
            {"type": "tool_result", "tool_use_id": "c3"},
            text("After."),
        ]
    )
    assert wired(calls("c1", "c2", "c3"), human)[1:] == [
        wire_result("c1", "green"),
        wire_result("c2", [{**text("red"), **CACHE}]),
        wire_result("c3", ""),
        {"role": "user", "content": [text("Attached to the result of tool call c1:"), IMAGE]},
        {"role": "user", "content": [text("Before."), text("After.")]},
    ]


def test_a_user_message_of_results_alone_is_no_user_message():
    human = HumanMessage([{"type": "tool_result", "tool_use_id": "c1", "content": "green"}])
    assert wired(calls("c1"), human)[1:] == [wire_result("c1", "green")]


def test_data_that_json_cannot_carry_names_its_place_in_a_result():
    human = HumanMessage(["x", {"type": "tool_result", "tool_use_id": "c1", "content": [{"a": math.nan}]}])
    with pytest.raises(ValueError, match=r"^messages\[1\]\.content\[1\]\.content\[0\]\.a is NaN"):
        wire_messages([calls("c1"), human])


@pytest.mark.parametrize(
    ("data", "expected"),
    [([{"type": "odd", "a": 1}], '{"type":"odd","a":1}'), ({"a": 1}, '{"a":1}'), (0, "0"), ([1], "1"), (None, "")],
)
def test_data_in_a_result_of_anthropics_kind_goes_out_as_its_json(data, expected):
    human = HumanMessage([{"type": "tool_result", "tool_use_id": "c1", "content": data}])
    assert wired(calls("c1"), human)[1] == wire_result("c1", expected)


def test_a_result_whose_id_is_no_text_names_its_place():
    human = HumanMessage([{"type": "tool_result", "tool_use_id": 5, "content": "x"}])
    with pytest.raises(ValueError, match=r"^messages\[1\]\.content\[0\]\.tool_use_id is of type int, not a string"):
        wire_messages([calls("c1"), human])


# Calls and results belong together


def test_odd_ids_pass_unchanged():
    odd = "toolu_" + "x" * 300 + " é/🙂"
    messages = wired(calls(odd, "1"), result("1"), result(odd))
    assert [tool["id"] for tool in messages[0]["tool_calls"]] == [odd, "1"]
    assert [message["tool_call_id"] for message in messages[1:]] == ["1", odd]


@pytest.mark.parametrize("missing", [None, ""])
def test_calls_without_ids_get_unique_ones_that_their_results_share(missing):
    messages = wired(calls(missing, missing), result(""), result(""), calls(missing), result("whatever"))
    ids = [tool["id"] for message in messages for tool in message.get("tool_calls", [])]
    assert len(set(ids)) == 3
    assert all(ids)
    assert [message["tool_call_id"] for message in messages if message["role"] == "tool"] == ids


def test_results_of_calls_without_ids_are_matched_by_name_first():
    turn = AIMessage("", tool_calls=[call(None, "add"), call(None, "sub")])
    messages = wired(turn, result("", name="sub"), result("", name="add"))
    ids = [tool["id"] for tool in messages[0]["tool_calls"]]
    assert [message["tool_call_id"] for message in messages[1:]] == ids[::-1]


def test_results_that_name_their_call_are_not_taken_for_those_of_calls_without_ids():
    messages = wired(calls("c1", None), result("c1"), result(""))
    missing = messages[0]["tool_calls"][1]["id"]
    assert [message["tool_call_id"] for message in messages[1:]] == ["c1", missing]
    late = wired(calls("c1", None), HumanMessage("wait"), result("c1"), result(""))
    assert [message["tool_call_id"] for message in late[2:]] == ["c1", missing]


def test_synthesised_ids_do_not_change_as_the_conversation_grows():
    history = [HumanMessage("x"), calls(None), result("")]
    assert wired(*history, AIMessage("3"), HumanMessage("y"))[:3] == wired(*history)


def test_a_result_without_an_id_is_an_error_when_every_call_has_one():
    with pytest.raises(ValueError, match=r"^messages\[1\] is a tool's result without a tool_call_id"):
        wire_messages([calls("c1"), result("")])


def test_a_result_before_any_call_is_an_error_that_names_its_id():
    with pytest.raises(ValueError, match=r"^messages\[1\] is the result of tool call 'c1', but no assistant message"):
        wire_messages([HumanMessage("x"), result("c1")])


def test_a_result_of_an_unknown_id_is_sent_after_some_call():
    assert wired(calls("c1"), result("c1"), result("c9"))[2] == wire_result("c9")
    assert wired(calls("c1"), result("c1"), AIMessage([text("x")]), result("c9"))[3] == wire_result("c9")
    function = AIMessage("", additional_kwargs={"function_call": {"name": "add", "arguments": "{}"}})
    assert wired(function, result("c9"))[1] == wire_result("c9")


@pytest.mark.parametrize("after", [HumanMessage("x"), AIMessage("x"), SystemMessage("x"), ChatMessage("x", role="y")])
def test_a_call_without_a_result_is_an_error_that_names_its_id(after):
    expected = r"^messages\[1\]\.tool_calls\[1\] calls tool 'add' with id 'c2', and no later message has the result"
    with pytest.raises(ValueError, match=expected):
        wire_messages([HumanMessage("x"), calls("c1", "c2"), result("c1"), after])


def invalid(call_id):
    return {"name": "add", "args": "{", "id": call_id, "error": None, "type": "invalid_tool_call"}


BROKEN = {"id": "c2", "type": "function", "function": {"name": "add", "arguments": "{"}}
OPEN_ENDS = [[], [HumanMessage("go on")], [HumanMessage("go on"), AIMessage("Done."), HumanMessage("thanks")]]


@pytest.mark.parametrize("after", OPEN_ENDS, ids=len)
@pytest.mark.parametrize("extras", [{}, {"refusal": "No."}])
@pytest.mark.parametrize("content", ["half", "", [text("half")], [], [text("half"), invalid("c2")]])
def test_an_invalid_call_without_a_result_is_left_out(content, extras, after):
    """No tool runs it, so no result will ever come."""
    turn = AIMessage(content, invalid_tool_calls=[invalid("c2")], additional_kwargs=extras)
    said = {"role": "assistant", "content": "half" if content else "", **extras}
    assert wired(HumanMessage("x"), turn, *after)[1:] == [said, *wired(*after)]


@pytest.mark.parametrize("after", OPEN_ENDS, ids=len)
def test_an_invalid_call_beside_a_valid_one_is_left_out(after):
    turn = AIMessage("", tool_calls=[call("c1")], invalid_tool_calls=[invalid("c2"), invalid(None)])
    expected = wired(calls("c1"), result("c1"), *after)
    assert wired(turn, result("c1"), *after) == expected
    assert wired(turn.model_copy(update={"content": [text("")]}), result("c1"), *after) == expected


def test_an_invalid_call_that_stands_in_the_content_alone_is_left_out():
    assert wired(AIMessage([invalid("c2")]), HumanMessage("x"))[0] == {"role": "assistant", "content": ""}
    assert wired(AIMessage([invalid("c2")]), result("c2"))[0]["tool_calls"] == [BROKEN]


@pytest.mark.parametrize("between", [[], [HumanMessage("wait")]])
@pytest.mark.parametrize("kwargs", [{}, {"refusal": None}])
def test_an_invalid_call_with_a_result_goes_out_with_it(between, kwargs):
    turn = AIMessage("half", invalid_tool_calls=[invalid("c2")], additional_kwargs=kwargs)
    messages = wired(turn, *between, result("c2", "Error: no JSON"), HumanMessage("go on"))
    assert messages[0] == {"role": "assistant", "content": "half", "tool_calls": [BROKEN]}
    assert wire_result("c2", "Error: no JSON") in messages


def test_a_valid_call_without_a_result_is_an_error_beside_an_invalid_one():
    turn = AIMessage("", tool_calls=[call("c1")], invalid_tool_calls=[invalid("c2")])
    with pytest.raises(ValueError, match="with id 'c1'"):
        wire_messages([turn, result("c2"), HumanMessage("x")])


def test_a_result_of_a_later_call_of_the_same_id_answers_no_invalid_call():
    turn = AIMessage("half", invalid_tool_calls=[invalid("c1")])
    messages = wired(turn, HumanMessage("again"), calls("c1"), result("c1"))
    assert messages[0] == {"role": "assistant", "content": "half"}
    assert messages[2:] == wired(calls("c1"), result("c1"))


def test_leaving_out_a_call_changes_no_message():
    turn = AIMessage("half", tool_calls=[call("c1")], invalid_tool_calls=[invalid("c2")])
    before = turn.model_copy(deep=True)
    wire_messages([turn, result("c1"), HumanMessage("x")])
    assert turn == before


def test_calls_at_the_end_may_be_open():
    assert len(wired(HumanMessage("x"), calls("c1", "c2"))) == 2
    assert len(wired(HumanMessage("x"), calls("c1", "c2"), result("c2"))) == 3


def test_results_may_come_late_and_in_any_order():
    assert len(wired(calls("c1", "c2"), result("c2"), HumanMessage("wait"), result("c1"), HumanMessage("go"))) == 5


def test_an_id_may_be_used_again_in_a_later_turn():
    turn = [calls("1"), result("1"), HumanMessage("x")]
    assert len(wired(*turn, *turn)) == 6


# Arguments


class Colour(enum.Enum):
    RED = "red"


class Order(BaseModel):
    item: str
    colour: Colour


def test_arguments_of_any_python_type_serialise():
    args = {
        "when": date(2024, 2, 29),
        "price": Decimal("9.95"),
        "id": uuid.UUID(int=1),
        "colour": Colour.RED,
        "order": Order(item="é", colour=Colour.RED),
        "big": 2**80,
        1: "number key",
    }
    turn = AIMessage("", tool_calls=[call("c1")])
    turn.tool_calls[0]["args"] = args
    arguments = wired(turn)[0]["tool_calls"][0]["function"]["arguments"]
    assert "é" in arguments
    assert loads(arguments) == {
        "when": "2024-02-29",
        "price": "9.95",
        "id": "00000000-0000-0000-0000-000000000001",
        "colour": "red",
        "order": {"item": "é", "colour": "red"},
        "big": 2**80,
        "1": "number key",
    }


def test_arguments_that_json_cannot_carry_name_their_place():
    with pytest.raises(ValueError, match=r"^messages\[1\]\.tool_calls\[0\]\.args\.a\[1\] is NaN"):
        wire_messages([HumanMessage("x"), AIMessage("", tool_calls=[call("c1", a=[1, math.nan])])])


# Any text, any arguments

any_text = st.text(st.characters(codec=None, exclude_categories=()), max_size=20)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3),
    max_leaves=8,
)


def joined(value):
    """The text with surrogate pairs as the characters they stand for, as JSON reads them."""
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


@given(any_text, any_text, any_text, st.dictionaries(any_text, json_values, max_size=3))
def test_any_text_and_any_arguments_arrive_or_are_refused_clearly(system, human, answer, args):
    messages = [
        SystemMessage(system),
        HumanMessage([text(human), {**text(human), **CACHE}]),
        AIMessage(answer, tool_calls=[call("c1", answer or "x")]),
        ToolMessage(human, tool_call_id="c1"),
    ]
    messages[2].tool_calls[0]["args"] = args
    try:
        document = loads(dumps({"messages": wire_messages(messages)}))
    except ValueError as error:
        refused = str(error)
        assert refused.startswith("messages[2].tool_calls[0].args")
        assert "NaN" in refused or "infinity" in refused
        return
    first, second, third, fourth = document["messages"]
    assert (first["content"], fourth["content"]) == (joined(system), joined(human))
    assert second["content"] == ([text(joined(human)), {**text(joined(human)), **CACHE}] if human else "")
    assert third["content"] == (joined(answer) or None)
    assert loads(third["tool_calls"][0]["function"]["arguments"]) == loads(dumps(args))


blocks = st.recursive(
    any_text
    | st.dictionaries(
        st.sampled_from(
            ["type", "text", "image_url", "url", "base64", "source", "file", "id", "input", "name", "value"]
        ),
        st.none() | st.integers() | any_text | st.sampled_from(["text", "image", "file", "tool_use", "tool_result"]),
        max_size=4,
    ),
    lambda inner: st.fixed_dictionaries(
        {"type": st.sampled_from(["tool_result", "document", "non_standard"])},
        optional={"content": st.lists(inner, max_size=2), "source": inner, "value": inner},
    ),
    max_leaves=4,
)


@given(
    st.sampled_from([SystemMessage, HumanMessage, AIMessage]),
    st.lists(blocks.filter(lambda b: isinstance(b, (str, dict))), max_size=3),
)
def test_odd_blocks_are_sent_or_refused_clearly(kind, content):
    refused = ""
    try:
        dumps(wire_messages([calls("c1"), result("c1"), kind(content)]))
    except ValueError as error:
        refused = str(error)
    assert refused.startswith("messages[2]" if refused else "")


# What it costs


def conversation(size):
    turn = [HumanMessage("How are you? " * 5), AIMessage("Fine, thank you. " * 5, response_metadata={"a": 1})]
    return turn * (size // 2)


def test_no_file_and_no_url_is_read(monkeypatch):
    def forbidden(*args, **kwargs):
        raise AssertionError(args)

    monkeypatch.setattr(builtins, "open", forbidden)
    monkeypatch.setattr("socket.socket.connect", forbidden)
    monkeypatch.setattr("os.open", forbidden)
    blocks = [
        {"type": "image", "url": "file:///etc/passwd"},
        {"type": "image_url", "image_url": {"url": "/etc/passwd"}},
        {"type": "file", "url": "https://promptrun.invalid/a.pdf"},
        {"type": "video", "url": "https://promptrun.invalid/a.mp4"},
        {"type": "file", "base64": "AAAA", "filename": "/etc/passwd"},
    ]
    assert len(wired(HumanMessage(blocks))[0]["content"]) == len(blocks)
