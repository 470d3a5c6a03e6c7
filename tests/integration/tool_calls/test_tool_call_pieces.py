"""Tool calls as gateways really send them, in every style: each piece finds its call, or the call is invalid."""

from __future__ import annotations

import json
import math

import pytest

from tests.integration import bodies


def delta(call_id, name, args, index=0):
    """A delta with one entry; "-" leaves a key out."""
    function = {key: value for key, value in (("name", name), ("arguments", args)) if value != "-"}
    entry = {"index": index, "id": call_id, "function": function}
    return {key: value for key, value in entry.items() if value != "-"}


def rest(args, index=0):
    """A delta with more arguments of the call at an index, and nothing else."""
    return delta("-", "-", args, index)


def first(args):
    """A delta with the first arguments of the call A of `f` at index 0."""
    return delta("A", "f", args)


def custom(call_id, name, text, index=0):
    """A delta with one entry of a custom tool; "-" leaves a key out."""
    entry = delta(call_id, name, text, index)
    inner = {"input" if key == "arguments" else key: value for key, value in entry.pop("function").items()}
    return entry | {"custom": inner}


def server(call_id, name, args, index=0):
    return delta(call_id, name, args, index) | {"type": "web_search"}


T, R, F, C, S = delta, rest, first, custom, server
A1, Q1 = '{"a":1}', '{"q":1}'
INDEXES, BLANKS = ("-", None, 0, "0", []), ("-", None, "")
HALVES, WHOLES = r'{"a": "\ud83d\n\uD83D\ude80\\\ud83d\\ude80"}', "\ufffd\n🚀\\\ufffd\\ude80"
NO_OBJECTS = (7, True, [1], "[1]", '"text"', "x", '{"x": ', "{x: 1}", '{"a": 1} trailing', '{"a": 1,}', "{'a': 1}")
# Entries, or lists of them, one a delta; the calls that may be executed, and how many are invalid.
ROWS = {
    **{f"new id, name {blank!r}": ([F(""), T("B", blank, A1)], "A.f(a=1)") for blank in BLANKS},
    "new id in each delta": ([T("A", "read", ""), T("B", "-", '{"a"'), T("C", "-", ":1}")], "A.read(a=1)"),
    "new id and name in each delta": ([F('{"a"'), T("B", "f", ":"), T("C", "f", "1}"), T("D", "f", "")], "A.f(a=1)"),
    **{f"one in pieces, index {i!r}": ([T("A", "f", "", i), R('{"a"', i), R(":1}", i)], "A.f(a=1)") for i in INDEXES},
    **{f"two at once, index {i!r}": ([[T("A", "f", A1, i), T("B", "g", Q1, i)]], "A.f(a=1) B.g(q=1)") for i in INDEXES},
    **{f"two in a row, index {i!r}": ([T("A", "f", A1, i), T("B", "g", Q1, i)], "A.f(a=1) B.g(q=1)") for i in INDEXES},
    **{
        f"two in turns, index {i!r}": (
            [T("A", "f", "{", i), T("B", "g", '{"q"', i), T("A", "-", "}", i), T("B", "-", ":1}", i)],
            "A.f() B.g(q=1)",
        )
        for i in INDEXES
    },
    **{f"id {blank!r}": ([T(blank, "f", A1)], "f(a=1)") for blank in BLANKS},
    **{f"id {blank!r}, then": ([F('{"a"'), T(blank, "-", ":1}")], "A.f(a=1)") for blank in BLANKS},
    **{f"name {blank!r}, then": ([F('{"a"'), T("-", blank, ":1}")], "A.f(a=1)") for blank in BLANKS},
    **{f"no arguments as {args!r}": ([F(args)], "A.f()") for args in (*BLANKS, " \n", "null", "{}", [], "[]")},
    "id in later deltas": ([F('{"a"'), T("A", "-", ":1}")], "A.f(a=1)"),
    "id and name in later deltas": ([F('{"a"'), F(":1}")], "A.f(a=1)"),
    "name in later deltas": ([F('{"a"'), T("-", "f", ":1}")], "A.f(a=1)"),
    "two calls of one id": ([F(A1), T("A", "g", Q1, 1)], "A.f(a=1) g(q=1)"),
    "two calls of one id at once": ([[F(A1), T("A", "g", Q1, 1)]], "A.f(a=1) g(q=1)"),
    "name blank at first": ([T("A", "", ""), T("-", "f", "-"), R('{"a"'), R(":1}")], "A.f(a=1)"),
    "name in two pieces": ([T("A", "g", ""), T("-", "et", "-"), R(A1)], "A.get(a=1)"),
    "name that grows": ([T("A", "g", ""), T("-", "get", '{"a"'), T("-", "get", ":1}")], "A.get(a=1)"),
    "indexes that do not begin at 0": ([T("A", "f", A1, 7), T("B", "g", Q1, 9)], "A.f(a=1) B.g(q=1)"),
    "arguments as an object": ([F({"a": 1})], "A.f(a=1)"),
    "arguments letter by letter": ([F(""), *map(R, A1)], "A.f(a=1)"),
    "all again at the end": ([F(A1), F(A1)], "A.f(a=1)"),
    "arguments at the next index": ([F(""), R(A1, 1)], "A.f(a=1)"),
    "arguments in pieces at the next index": ([F(""), R('{"a"', 1), R(":1}", 1)], "A.f(a=1)"),
    "arguments repeated": ([F(A1), R(A1)], "A.f(a=1)"),
    "arguments repeated in pieces": ([F(A1), R('{"a"'), R(":1}")], "A.f(a=1)"),
    "id last": ([T("-", "f", '{"a"'), T("late", "-", ":1}")], "f(a=1)"),
    "id and name last": ([R('{"a"'), F(":1}")], "A.f(a=1)"),
    "id last, which another call has": (
        [T("-", "f", '{"a"'), T("x", "g", '{"b"', 1), T("x", "-", ":1"), T("x", "-", ":2}", "-"), R("}")],
        "f(a=1) x.g(b=2)",
    ),
    "arguments repeated in one text": ([F(A1 * 3)], "A.f(a=1)"),
    **{f"another object after {n} in one text": ([F(A1 * n + Q1)], "1 invalid") for n in (1, 2)},
    "placeholder first": ([F("{}"), R(A1)], "A.f(a=1)"),
    "placeholder first in one text": ([F("{}" + A1)], "A.f(a=1)"),
    "placeholder first, then a bracket": ([F("{}"), R("{"), R('"a":1}')], "A.f(a=1)"),
    "placeholder first, named again": ([F("{}"), F(A1)], "A.f(a=1)"),
    "placeholder with a blank": ([F("{ }"), R(A1)], "A.f(a=1)"),
    "name and arguments at new ids, twice": (
        [F(""), T("B", "-", A1), T("C", "g", "", 1), T("D", "-", A1, 1)],
        "A.f(a=1) C.g(a=1)",
    ),
    "arguments at the next index, twice": ([F(""), R(A1, 1), T("B", "g", "", 1), R(A1, 2)], "A.f(a=1) B.g(a=1)"),
    "an object in each piece, repeated": ([F({"a": 1}), R({"a": 1})], "A.f(a=1)"),
    "cumulative": ([F('{"q"'), R('{"q":"ab'), R('{"q":"abc"}')], "A.f(q='abc')"),
    "cumulative, cut before a value": ([F('{"a":'), R('{"a":[{"b":'), R('{"a":[{"b":1}]}')], "A.f(a=[{'b': 1}])"),
    "cumulative, cut before the only value": ([F('{"a":'), R(A1)], "A.f(a=1)"),
    "an object that begins as all so far": ([F('{"a":'), R('{"a":'), R("1}"), R("}")], "A.f(a={'a': 1})"),
    "one, then a call": ([F('{"a":'), *(T("-", "f", x) for x in ('{"a":', "1}}", Q1))], "A.f(a={'a': 1}) f(q=1)"),
    "objects that begin as all so far": ([F('{"a":'), R('{"a":'), R('{"a":1}}}')], "A.f(a={'a': {'a': 1}})"),
    **{
        f"arguments under {name}": ([{"index": 0, "id": "A", "function": {"name": "f", name: {"a": 1}}}], "A.f(a=1)")
        for name in ("parameters", "input", "args")
    },
    "name and arguments beside the id": (
        [{"index": 0, "id": "A", "name": "f", "arguments": '{"a"'}, {"index": 0, "arguments": ":1}"}],
        "A.f(a=1)",
    ),
    "cumulative, named again": ([F("{"), F('{"q":"é'), F('{"q":"éc"}')], "A.f(q='éc')"),
    "blanks with a name after the end": ([F(A1), T("-", "f", "  ")], "A.f(a=1)"),
    "same call at two indexes": ([F(A1), T("A", "f", A1, 1)], "A.f(a=1)"),
    "same call at two indexes, in pieces": ([F(A1), T("A", "f", "", 1), R('{"a"', 1), R(":1}", 1)], "A.f(a=1)"),
    "another name and id": ([F(""), T("B", "g", A1)], "A.f() B.g(a=1)"),
    "braces inside a text": ([F('{"a":"'), R("{"), R('}"}')], "A.f(a='{}')"),
    "braces that repeat inside a text": ([F('{"a":"'), R("{}{}"), R('"}')], "A.f(a='{}{}')"),
    "a number with blanks, beside another call": ([F('{"a": 1 '), T("-", "f", "}"), T("-", "g", "{}")], "A.f(a=1) g()"),
    "encoded twice": ([F(json.dumps(A1))], "A.f(a=1)"),
    "encoded twice, in pieces": ([F(json.dumps(A1)[:5]), R(json.dumps(A1)[5:])], "A.f(a=1)"),
    "object last": ([F('{"a"'), R({"a": 1})], "A.f(a=1)"),
    "object last, spelled with blanks": ([F('{"a": '), R({"a": 1})], "A.f(a=1)"),
    "object after its text": ([F('{ "a":1}'), R({"a": 1})], "A.f(a=1)"),
    "server call in pieces beside a call": ([F(""), S("s", "search", "", 1), R(Q1, 1)], "A.f()"),
    "server call in pieces, by its id": ([F(""), S("s", "search", "", 1), T("s", "-", Q1, 1)], "A.f()"),
    "server call in pieces without indexes": (
        [T("A", "f", "", "-"), S("s", "search", "", "-"), T("s", "-", "{", "-"), R("}", "-")],
        "A.f()",
    ),
    "server call in pieces, named in each": ([F(A1), S("s", "search", "", 1), T("-", "search", Q1, 1)], "A.f(a=1)"),
    "server call, then a call at its index": ([S("s", "search", Q1), F(""), R(A1)], "A.f(a=1)"),
    "server call that says so later": ([F(A1), {"index": 0, "id": "A", "type": "web_search"}], "1 invalid"),
    "server call by its id's prefix": ([T("srvtoolu_1", "web_search", A1)], ""),
    "server call by a part of its type": ([F(A1) | {"type": "server_function_call"}], ""),
    "custom name in each delta": ([C("A", "sh", "rm -rf /"), C("A", "sh", "tmp")], "A.sh('rm -rf /tmp')"),
    "custom name in each delta, no id": ([C("-", "sh", "rm -rf /"), C("-", "sh", "tmp")], "sh('rm -rf /tmp')"),
    "custom name and a new id in each delta": ([C("A", "sh", "rm -rf /"), C("B", "sh", "tmp")], "1 invalid"),
    "custom text repeated with its name": ([C("A", "sh", "ls"), C("A", "sh", "ls")], "1 invalid"),
    "custom calls without indexes": (
        [C("A", "sh", "a", "-"), C("B", "sh", "b", "-"), C("A", "-", "1", "-"), C("B", "-", "2", "-")],
        "A.sh('a1') B.sh('b2')",
    ),
    "custom call at two indexes": ([C("A", "sh", "ls"), C("A", "sh", "ls", 1)], "A.sh('ls')"),
    "custom call, the same id with another text": ([C("A", "sh", "ls"), C("A", "sh", "cd", 1)], "A.sh('ls') sh('cd')"),
    "custom call continued as a function": ([C("A", "sh", "ls"), R('", "x": "y')], 'A.sh(\'ls", "x": "y\')'),
    "custom call with arguments": (
        [{"index": 0, "id": "A", "type": "custom", "custom": {"name": "sh", "arguments": "ls"}}],
        "A.sh('ls')",
    ),
    "list in another order": (
        [[T("A", "f", '{"x":', "-"), T("B", "g", '{"x":', "-")], [T("B", "-", "2}", "-"), T("A", "-", "1}", "-")]],
        "A.f(x=1) B.g(x=2)",
    ),
    "list of what is new": (
        [[T("A", "f", "", "-"), T("B", "g", "", "-")], [T("B", "-", '{"x":2}', "-"), T("C", "h", "{}", "-")]],
        "A.f() B.g(x=2) C.h()",
    ),
    "list by position": (
        [[T("-", "f", '{"x":', "-"), T("-", "g", '{"x":', "-")], [R("1}", "-"), R("2}", "-")]],
        "f(x=1) g(x=2)",
    ),
    "list by position, then indexes": (
        [[T("-", "f", "", "-"), T("-", "g", "", "-")], R('{"x":1}'), R('{"x":2}', 1)],
        "f(x=1) g(x=2)",
    ),
    "list that grows": (
        [
            T("-", "f", '{"a"', "-"),
            T("-", "f", A1, "-"),
            [T("-", "f", A1, "-"), T("-", "g", "{}", "-")],
            [T("-", "f", A1, "-"), T("-", "g", "{}", "-"), T("-", "h", "{}", "-")],
        ],
        "f(a=1) g() h()",
    ),
    "all again in another order": (
        [F(A1), T("B", "g", Q1, 1), [T("B", "g", Q1, "-"), T("A", "f", A1, "-")]],
        "A.f(a=1) B.g(q=1)",
    ),
    **{
        f"indexes as {kind.__name__}": (
            [T("A", "f", '{"a"', kind(0)), T("B", "g", "{", kind(1)), R(":1}", kind(0)), R("}", kind(1))],
            "A.f(a=1) B.g()",
        )
        for kind in (float, str)
    },
    "index of a joined piece": ([F(""), R('{"a"', 1), C("c", "sh", "ls", 2), R(":1}", 1)], "A.f(a=1) c.sh('ls')"),
    "unknown index beside two calls without arguments": ([F(""), T("B", "g", "", 1), R(A1, 7)], "2 invalid"),
    "unknown id beside two calls without arguments": ([F(""), T("B", "g", "", 1), T("Z", "-", A1, "-")], "2 invalid"),
    "id that returns": ([F('{"x":['), T("B", "f", A1), T("A", "-", "]}")], "1 invalid"),
    "id returns, no index": ([T("A", "f", '{"x":', "-"), T("B", "f", A1, "-"), T("A", "-", "}", "-")], "1 invalid"),
    "brackets that do not match": ([F('{"a":[1}'), T("-", "f", "{}")], "1 invalid"),
    "other spacing": ([F(A1), F('{"a": 1}')], "A.f(a=1)"),
    "other spacing, no name": ([F(A1), R('{"a": 1}')], "A.f(a=1)"),
    "other spacing in pieces": ([F(A1), T("A", "f", "", 1), R('{"a":', 1), R(" 1}", 1)], "A.f(a=1)"),
    "other spacing in one list": ([[T("A", "f", A1, "-"), T("A", "f", '{ "a" : 1 }', "-")]], "A.f(a=1)"),
    "other value, the same id": ([F(A1), T("A", "f", '{"a":true}', 1)], "A.f(a=1) f(a=True)"),
    "other value, one that orjson cannot write": (
        [F('{"a":1e999}'), T("A", "f", f'{{"a":2{"0" * 20}}}', 1)],
        "A.f(a=inf) f(a=200000000000000000000)",
    ),
    "placeholders at two indexes": ([F("{}"), T("A", "f", "null", 1)], "A.f()"),
    "grown arguments": ([F(Q1), F('{"q":1,"r":2}')], "2 invalid"),
    "grown object": ([F({"q": "a"}), F({"q": "ab"})], "2 invalid"),
    "grown value before another": ([F({"q": "a", "r": 1}), F({"q": "ab", "r": 1})], "2 invalid"),
    "grown list": ([F({"q": [1]}), F({"q": [1, 2]})], "2 invalid"),
    "rest that is no object, named": ([F(A1), F("</tool_call>")], "1 invalid"),
    "rest that begins an object": ([F(A1), F("{]")], "A.f(a=1) 1 invalid"),
    "null encoded twice": ([F('"null"')], "A.f()"),
    "list encoded twice, in pieces": ([F('"['), R(']"')], "A.f()"),
    "byte order mark": ([F("\ufeff" + A1)], "A.f(a=1)"),
    "byte order mark, encoded twice": ([F(json.dumps("\ufeff" + A1))], "A.f(a=1)"),
    "null in pieces": ([F(piece) for piece in ("n", "ul", "l")], "A.f()"),
    "raw line break": ([F('{"a": "x\ny"}')], "A.f(a='x\\ny')"),
    "long integer": ([F(f'{{"a": 1{"0" * 30}}}')], "A.f(a=1000000000000000000000000000000)"),
    "character cut in two": ([F('{"a": "'), R("\ud83d"), R(""), R('\ude80"}')], "A.f(a='🚀')"),
    **{f"halves, cut at {i}": ([F(HALVES[:i]), R(HALVES[i:])], f"A.f(a={WHOLES!r})") for i in range(1, len(HALVES))},
    "half a character, encoded twice": ([F(r'"{\"a\":\"\ud83d\\ud83d\"}"')], "A.f(a='\ufffd\ufffd')"),
    "half a character in an object": ([F({"a": "\ud83d"})], "A.f(a='\ufffd')"),
    "empty pieces after the end": ([F(A1), T(None, "f", ""), T(None, "-", "")], "A.f(a=1)"),
    "no index and no id": (
        [T(None, "f", '{"a": {}', "-"), T(None, "f", "}", "-"), T(None, "f", "{}", "-"), T(None, "g", "", "-")],
        "f(a={}) f() g()",
    ),
    "entries that say nothing": ([[], [None, 5, "x", []], {}, {"index": 0}, {"id": "a", "function": None}], ""),
    "two byte order marks": ([F("\ufeff\ufeff" + A1)], "1 invalid"),
    **{f"arguments that are {args!r}": ([F(args)], "1 invalid") for args in NO_OBJECTS},
}
# The deltas; name and text of the one call, and why it is invalid.
INVALID = {
    "no name": ([T("A", "-", A1)], (None, A1), "no name"),
    "no name and no arguments": ([T("A", "-", "-") | {"extra": 1}], (None, ""), "no name"),
    "another object": ([F(A1), R('{"b":2}')], ("f", A1 + '{"b":2}'), "not a JSON object"),
    "another object in pieces": ([F(A1), R('{"'), R('b":2}')], ("f", A1 + '{"b":2}'), "not a JSON object"),
    "another object after a half": ([F('{"a"'), R({"b": 2})], ("f", '{"a"{"b":2}'), "not a JSON object"),
    "another name inside": ([F('{"a"'), T("-", "g", ":1}")], ("f", '{"a":1}'), '"g"'),
    "half a text": ([F('{"a": "b')], ("f", '{"a": "b'), "not a JSON object"),
    "a number": ([F("7")], ("f", "7"), "not a JSON object"),
    "half a character before an object": (
        [F('{"a": "\ud83d'), R({"b": 2})],
        ("f", '{"a": "\ufffd{"b":2}'),
        "not a JSON object",
    ),
    "half a character": ([F('{"a": "\ud83d')], ("f", '{"a": "\ufffd'), "not a JSON object"),
    "half an escape": ([F(r'{"a": "\ud83d\ud8')], ("f", r'{"a": "\ufffd\ud8'), "not a JSON object"),
    "a beginning of null": ([F("nu")], ("f", "nu"), "not a JSON object"),
    "a word like null": ([F("nul"), R("led")], ("f", "nulled"), "not a JSON object"),
    "a closing bracket": ([F(":"), R("{")], ("f", ":{"), "not a JSON object"),
}


def stream(entries, finish_reason="tool_calls"):
    return stream_of(*({"tool_calls": [entry]} for entry in entries), finish_reason=finish_reason)


def stream_of(*deltas, finish_reason="tool_calls"):
    return bodies.stream(*deltas, finish_reason=finish_reason, id="1", model="m")


def whole(entries, finish_reason="tool_calls"):
    return bodies.whole({"content": None, "tool_calls": entries}, finish_reason)


def named(message):
    return [(call["name"], call["args"], call["id"]) for call in message.tool_calls]


def told(message):
    """The calls that may run as `id.name(arguments)`, without made ids and `__arg1=`, and how many are invalid."""
    words = []
    for name, args, call_id in named(message):
        arguments = ", ".join(f"{key}={value!r}" for key, value in args.items()).removeprefix("__arg1=")
        words.append(f"{'' if call_id.startswith('call_') else f'{call_id}.'}{name}({arguments})")
    if message.invalid_tool_calls:
        words.append(f"{len(message.invalid_tool_calls)} invalid")
    return " ".join(words)


@pytest.mark.parametrize(("deltas", "calls"), ROWS.values(), ids=ROWS)
async def test_tool_call_in_odd_pieces_runs_only_as_it_was_written(ask_in_every_style, deltas, calls):
    entries = [entry if isinstance(entry, list) else [entry] for entry in deltas]
    wholes = [whole(entry) for entry in entries if len(entries) == 1]
    for body in (stream_of(*({"tool_calls": entry} for entry in entries)), *wholes):
        answers = await ask_in_every_style(body)
        assert {style: told(message) for style, message in answers.items()} == dict.fromkeys(answers, calls)


@pytest.mark.parametrize("first", ["tool_calls", "function_call"])
async def test_tool_call_under_both_names_is_one_call(ask_in_every_style, first):
    """OpenAI's deprecated `function_call` stands beside `tool_calls` at some gateways."""
    both = [{"tool_calls": [T("A", "f", A1)], "function_call": {"name": "f", "arguments": A1}}]
    both += [{"tool_calls": [R(" ")], "function_call": {"arguments": " "}}]
    deltas = [{key: delta[key] for key in sorted(delta, reverse=first == "tool_calls")} for delta in both]
    answers = await ask_in_every_style(stream_of(*deltas))
    assert [named(message) for message in answers.values()] == [[("f", {"a": 1}, "A")]] * 6


@pytest.mark.parametrize(("deltas", "call", "why"), INVALID.values(), ids=INVALID)
@pytest.mark.parametrize("output_version", ["v0", "v1"])
async def test_tool_call_with_two_readings_is_invalid(ask_in_every_style, deltas, call, why, output_version):
    answers = await ask_in_every_style(stream(deltas), output_version=output_version)
    for style, message in answers.items():
        [invalid] = message.invalid_tool_calls
        problem = message.additional_kwargs["tool_call_errors"]["A"]
        told = invalid["name"], invalid["args"].removesuffix(problem["guard"]), invalid["error"]
        assert (message.tool_calls, told) == ([], (*call, None)), style
        assert why in problem["error"]
        assert message.invalid_tool_calls == answers["invoke"].invalid_tool_calls


CUT_OFF = ["MAX_TOKENS", "Length", "content_filter", "abort", "insufficient_system_resource", "sensitive"]
CUT_OFF += ["MALFORMED_FUNCTION_CALL", None]


@pytest.mark.parametrize("reason", CUT_OFF)
@pytest.mark.parametrize(
    "entries", [[C("A", "sh", "rm -rf /")], [F('{"a":'), R(A1)], *([F(args)] for args in ("", "{}", '{"a": "b', None))]
)
async def test_tool_call_of_an_answer_that_was_cut_off_is_invalid(ask_in_every_style, entries, reason):
    for body in (stream(entries, reason), *([whole(entries[:1], reason)] if reason else [])):
        answers = await ask_in_every_style(body)
        assert {told(message) for message in answers.values()} == {"1 invalid"}


@pytest.mark.parametrize("reason", ["STOP", "tool-calls", "FINISH_REASON_STOP", "TOOL_CALL", "eos_token"])
async def test_tool_call_of_an_answer_that_ended_is_executable(ask_in_every_style, reason):
    answers = await ask_in_every_style(stream([T("A", "f", "")], reason))
    assert [named(message) for message in answers.values()] == [[("f", {}, "A")]] * 6


SHELL = C("c", "sh", "ls -l") | {"type": "custom"}
BUILTIN = T("c", "$web_search", "{}") | {"type": "builtin_function"}
SEARCH = {"index": 0, "id": "c", "type": "web_search", "query": "a"}
SERVERS = [
    {"id": "c", "type": "web_search", "web_search": {"query": "x"}},
    {"id": "c", "type": "mystery", "function": {"name": "f", "arguments": "{}"}},
    {"extra_content": {"google": {"thought_signature": "s"}}},
]
# Entries in pieces, and whole; the calls that may be executed, and what is kept of the call, or of a server's.
KEPT = [
    ([C("c", "sh", "ls ") | {"type": "custom"}, C("-", "-", "-l")], SHELL, "c.sh('ls -l')", {"type": "custom"}),
    ([T("c", "f", "") | {"x": 1}, R("{}") | {"note": None}], T("c", "f", "{}") | {"x": 1}, "c.f()", {"x": 1}),
    (
        [T("c", "f", "{"), {"index": 0, "function": {"arguments": "}", "signature": "x"}}],
        {"id": "c", "function": {"name": "f", "arguments": "{}", "signature": "x", "strict": None}},
        "c.f()",
        {"function": {"signature": "x"}},
    ),
    ([BUILTIN], BUILTIN, "c.$web_search()", {"type": "builtin_function"}),
    *(([entry], entry, "", entry) for entry in SERVERS),
    ([SEARCH, {"index": 0, "query": "b"}], SEARCH | {"query": "ab"}, "", SEARCH | {"query": "ab"}),
    *(
        ([T("c", "f", args)], T("c", "f", args), f"c.f(a={value})", {"arguments": args})
        for args, value in (('{"a": Infinity}', "inf"), ('{"a": NaN}', "nan"), ('{"a": 1e999}', "inf"))
    ),
    ([T("c", "f", {"a": math.nan})], T("c", "f", {"a": math.nan}), "c.f(a=nan)", {"arguments": '{"a": NaN}'}),
]


@pytest.mark.parametrize(("pieces", "entry", "calls", "kept"), KEPT)
async def test_tool_call_keeps_what_langchain_has_no_place_for(ask_in_every_style, pieces, entry, calls, kept):
    extras = {"tool_call_extras": {"c": kept}} if calls else {"server_tool_calls": [kept]}
    for body in (stream(pieces), whole([entry])):
        answers = await ask_in_every_style(body)
        for style, message in answers.items():
            assert (told(message), message.additional_kwargs) == (calls, extras), style


AZURES_FIRST = b'data: {"id": "", "model": "", "created": 0, "choices": [], "prompt_filter_results": []}\n\n'


@pytest.mark.parametrize(("ident", "before"), [(rb"a\ud800", b""), (b"1", AZURES_FIRST)])
async def test_tool_call_without_an_id_has_one_of_the_answers_id_in_every_style(ask_in_every_style, ident, before):
    body = before + stream([T("-", "f", A1)]).replace(b'"id": "1"', b'"id": "%b"' % ident)
    answers = await ask_in_every_style(body)
    assert len({message.tool_calls[0]["id"] for message in answers.values()}) == 1


async def test_text_and_tool_call_in_two_choices_are_one_message(ask_in_every_style):
    """Copilot's gateway splits an answer of Claude, though one choice was asked for."""
    text = {"index": 0, "message": {"content": "I read it."}, "finish_reason": "stop"}
    calls = {"index": 1, "message": {"content": None, "tool_calls": [T("A", "f", A1)]}, "finish_reason": "tool_calls"}
    for choices in ([text, calls], [calls, text]):
        answers = await ask_in_every_style(json.dumps({"id": "1", "choices": choices}).encode())
        for answer in answers.values():
            assert (str(answer.text), named(answer)) == ("I read it.", [("f", {"a": 1}, "A")])
