"""Whatever answer was accepted can be sent back, in every style of call."""

from __future__ import annotations

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.messages import HumanMessage, ToolMessage, messages_from_dict, messages_to_dict

from .sending import Conversation, each_style, reasoning_of, strictly_parsed

ARGUMENTS = [
    *('{"a": 1}', "{}", "", "null", "[]", '{"a": "ბ"}', '{"a": Infinity}', '{"a": [NaN, -Infinity]}', '{"a": 1e999}'),
    *('{"a": "b', "{", '"{\\"a\\": 1}"', "[1]", "3", "odd", '{"a": 1}}', '{"a": 1', '{"n": 12345678901234567890123}'),
]
REASONING = [
    {},
    {"reasoning_content": "hm"},
    {"reasoning": "hm"},
    {"reasoning_text": "hm", "reasoning_opaque": "sig"},
    {"reasoning_details": [{"type": "reasoning.text", "text": "hm", "signature": "sig", "index": 0}]},
    {"reasoning_details": [{"type": "reasoning.encrypted", "data": "sig"}]},
    {"thinking_blocks": [{"type": "thinking", "thinking": "hm", "signature": "sig"}]},
    {"thinking": {"content": "hm", "signature": "sig"}},
    {"reasoning": {"content": "hm", "signature": "sig"}},
]


def function(name, arguments):
    return {"type": "function", "function": {"name": name, "arguments": arguments}}


calls = st.one_of(
    st.builds(function, st.sampled_from(["f", "server.tool/v1"]), st.sampled_from(ARGUMENTS)),
    st.builds(
        lambda text: {"type": "custom", "custom": {"name": "shell", "input": text}}, st.sampled_from(["ls", "{", ""])
    ),
    st.builds(lambda text: {**function("$web_search", text), "type": "builtin_function"}, st.sampled_from(ARGUMENTS)),
    st.builds(lambda text: function(None, text), st.sampled_from(ARGUMENTS)),
    st.just({"type": "web_search", "web_search": {"query": "q"}}),
    st.just({"extra_content": {"google": {"thought_signature": "s"}}}),
)
answers = st.fixed_dictionaries(
    {
        "content": st.sampled_from([None, "", "Hi.", "ა\U0001f680", [{"type": "text", "text": "Hi."}]]),
        "tool_calls": st.lists(st.tuples(st.sampled_from(["given", None, ""]), calls), max_size=3),
        "reasoning": st.sampled_from(REASONING),
        "refusal": st.sampled_from([None, "No."]),
    }
)


def wire_answer(parts):
    """The answer as a message; each call has an id of its own where it has any."""
    calls = [
        {"index": index, **call} if call_id is None else {"index": index, "id": call_id and f"call_{index}", **call}
        for index, (call_id, call) in enumerate(parts["tool_calls"])
    ]
    message = {"content": parts["content"], "refusal": parts["refusal"], **parts["reasoning"]}
    return {**message, "tool_calls": calls} if calls else message


def cut(message):
    """The message as deltas: what comes in pieces comes in pieces of three characters."""
    content = message["content"]
    yield {key: value for key, value in message.items() if key not in {"content", "tool_calls"}}
    yield from ({"content": piece} for piece in (pieces(content) if isinstance(content, str) else [content]))
    for entry in message.get("tool_calls", []):
        body, key = ("custom", "input") if "custom" in entry else ("function", "arguments")
        whole = entry.get(body, {key: ""})
        yield {"tool_calls": [entry | ({body: {**whole, key: ""}} if body in entry else {})]}
        yield from ({"tool_calls": [{"index": entry["index"], body: {key: text}}]} for text in pieces(whole[key]))


def pieces(text):
    return [text[start : start + 3] for start in range(0, len(text), 3)]


def check_turn(turn, answer, parts, answered):
    """A strict server takes the turn, and the turn holds what the answer said."""
    kinds = {call["id"]: call["type"] for call in turn.get("tool_calls", [])}
    assert "" not in kinds
    assert answered >= {call_id for call_id, kind in kinds.items() if kind in {"function", "custom"}}
    for call in turn.get("tool_calls", []):
        text = call.get("function", {}).get("arguments", "{}")
        assert text in ARGUMENTS or isinstance(strictly_parsed(text.encode()), dict)
    assert kinds.keys() >= {call["id"] for call in answer.tool_calls}
    free = {call["id"] for call in answer.tool_calls if call["args"].keys() == {"__arg1"}}
    assert {kinds[call_id] for call_id in free} <= {"custom"}
    text, reasoning = json.dumps(turn, ensure_ascii=False), json.dumps(parts["reasoning"])
    assert (parts["content"] if isinstance(parts["content"], str) else "Hi." if parts["content"] else "") in text
    assert text.count("No.") == (parts["refusal"] is not None)
    assert text.count('"hm"') == reasoning.count('"hm"')
    assert text.count('"sig"') == reasoning.count('"sig"')
    assert reasoning_of(answer) == ("hm" if '"hm"' in reasoning else "")


@each_style
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(answers, st.booleans(), st.sampled_from(["v0", "v1"]))
def test_replay_of_any_accepted_answer_is_what_a_strict_server_takes(style, parts, answers_invalid, output_version):
    message = wire_answer(parts)
    conversation = Conversation(message, cut(message))
    answer = conversation.ask(style, output_version=output_version)
    answer = messages_from_dict(json.loads(json.dumps(messages_to_dict([answer]))))[0] if answers_invalid else answer
    answered = [*answer.tool_calls, *(answer.invalid_tool_calls if answers_invalid else ())]
    results = [ToolMessage("!", tool_call_id=call["id"], name=call["name"]) for call in answered]
    conversation.ask("invoke", HumanMessage("Hello"), answer, *results, HumanMessage("Go on."))
    body = conversation.requests[-1]["messages"]
    assert [wire["role"] for wire in body] == ["user", "assistant", *["tool"] * len(results), "user"]
    check_turn(body[1], answer, parts, {wire["tool_call_id"] for wire in body[2:-1]})
