from __future__ import annotations

import json
import sys
from contextlib import suppress
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.outputs import Generation
from langchain_core.utils.json import parse_partial_json
from pydantic import BaseModel, ConfigDict, model_validator

from langchain_promptrun import ChatPromptrun

# pydantic's v1 classes do not work on Python 3.14.
if sys.version_info < (3, 14):
    from pydantic.v1 import BaseModel as BaseModelV1
else:
    BaseModelV1 = BaseModel

OBJECT = '{"setup": "a", "punchline": "b"}'
PARSED = {"setup": "a", "punchline": "b"}


class Joke(BaseModel):
    """A joke."""

    setup: str
    punchline: str


class JokeV1(BaseModelV1):
    """A joke."""

    setup: str
    punchline: str


class Strict(BaseModel):
    model_config = ConfigDict(strict=True)

    day: date
    tags: set[str]


class Fragile(BaseModel):
    text: str

    @model_validator(mode="after")
    def _begins(self):
        self.text[0].upper()
        return self


MODEL = ChatPromptrun(model="vendor/name", api_key="key")
ROOTS = {"object": {"type": "object"}, "array": {"type": "array"}, "value": {"type": ["string", "integer"]}}


def json_parser(target=None, root="object"):
    return MODEL.with_structured_output(target or ROOTS[root], method="json_mode").last


def call_parser(target=None):
    return MODEL.with_structured_output(target or {"title": "Joke", "type": "object", "properties": {}}).last


def called(name="Joke", args=None, **rest) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": name, "args": PARSED if args is None else args, "id": "1"}], **rest)


def named(name, n):
    return {"name": name, "args": {"n": n}, "id": str(n)}


def text(value):
    return {"type": "text", "text": value}


STRICT = {"day": "2025-01-02", "tags": ["a"]}


def pieces(text: str) -> list[AIMessageChunk]:
    return [AIMessageChunk(content=character) for character in text]


def glimpse(parser, text):
    return parser.parse_result([Generation(text=text)], partial=True)


def failure(parser, message) -> OutputParserException:
    with pytest.raises(OutputParserException) as caught:
        parser.invoke(message)
    return caught.value


def test_structured_output_text_is_read_like_a_message():
    parser = json_parser(Joke)
    answers = [parser.parse(OBJECT), parser.invoke(OBJECT), parser.invoke(HumanMessage(OBJECT))]
    answers += [parser.parse_result([Generation(text=OBJECT)]), *parser.transform(iter([OBJECT[:9], OBJECT[9:]]))]
    assert answers == [Joke(**PARSED)] * 5


def test_structured_output_the_output_type_is_the_class():
    assert json_parser(Joke).OutputType is Joke
    assert json_parser().get_output_jsonschema() == {"title": "JsonParserOutput"}


@pytest.mark.parametrize(
    ("parser", "message", "expected"),
    [
        (call_parser(), AIMessage("text", tool_calls=[named("f", 0), named("Joke", 1), named("Joke", 2)]), {"n": 1}),
        (call_parser(), called(args={}), {}),
        (json_parser(), AIMessage(OBJECT, response_metadata={"finish_reason": "length"}), PARSED),
        (json_parser(), AIMessage(OBJECT, additional_kwargs={"refusal": ""}), PARSED),
        (
            json_parser(),
            AIMessage([{"type": "reasoning", "reasoning": "{"}, text(OBJECT[:9]), text(OBJECT[9:])]),
            PARSED,
        ),
        (json_parser(root="array"), AIMessage("[]"), []),
        (json_parser(root="value"), AIMessage("0"), 0),
        (json_parser(root="value"), AIMessage("false"), False),
        (json_parser(root="value"), AIMessage('""'), ""),
        (call_parser(Strict), called("Strict", STRICT), Strict(day=date(2025, 1, 2), tags={"a"})),
        (json_parser(Strict), AIMessage(json.dumps(STRICT)), Strict(day=date(2025, 1, 2), tags={"a"})),
    ],
    ids=[
        *(
            "first call",
            "no arguments",
            "whole though cut",
            "no refusal",
            "reasoning",
            "array",
            "zero",
            "false",
            "empty",
        ),
        *("a strict class's call", "a strict class's JSON"),
    ],
)
def test_structured_output_is_read_from_a_call_or_from_json(parser, message, expected):
    assert parser.invoke(message) == expected


@pytest.mark.parametrize("text", [OBJECT, f"\n {OBJECT}\n", '{"setup": "a",\n"punchline": "b"}'])
@pytest.mark.parametrize(
    "frame",
    [
        "%s",
        "```json\n%s\n```",
        "```\n%s```",
        "```JSON %s ```",
        "Sure! Here it is:\n```json\n%s\n```\nAnything else?",
        "```python\nprint()\n```\nand\n```json\n%s\n```",
        "```json\n%s",
    ],
)
def test_structured_output_json_is_found_whole_or_in_a_markdown_fence(frame, text):
    assert json_parser().invoke(AIMessage(frame % text)) == PARSED


@pytest.mark.parametrize(
    "text",
    [
        OBJECT[:-5],
        OBJECT + OBJECT,
        "{'setup': 'a'}",
        "no JSON at all",
        "```json\n{\n```",
        f"```json\n{OBJECT}, {OBJECT}\n```",
        "1" * 5000,
        "[" * 100_000,
    ],
)
@pytest.mark.parametrize("target", [None, Joke])
def test_structured_output_what_is_not_json_is_an_output_parser_error_with_the_reason(text, target):
    error = failure(json_parser(target), AIMessage(text))
    assert "The answer is not valid JSON: " in str(error)
    assert f"Answer: {text[:20]!r}"[:-1] in str(error)
    assert len(str(error)) < 600
    assert error.llm_output == text


@pytest.mark.parametrize(
    ("root", "text"), [("object", "[1]"), ("object", "null"), ("object", "3"), ("array", OBJECT), ("value", "null")]
)
def test_structured_output_json_of_another_kind_is_an_error(root, text):
    assert f"The answer is JSON, but no {root}." in str(failure(json_parser(root=root), AIMessage(text)))


@pytest.mark.parametrize("target", [Joke, JokeV1])
def test_structured_output_an_object_that_does_not_fit_the_class_is_an_error_that_names_class_and_field(target):
    for parser, message in (
        (call_parser(target), called(target.__name__, {"setup": "ä"})),
        (json_parser(target), AIMessage('{"setup": "ä"}')),
    ):
        error = failure(parser, message)
        assert f"The answer does not fit {target.__name__}: " in str(error)
        assert "punchline" in str(error)
        assert error.llm_output == '{"setup": "ä"}'
        assert error.__cause__ is not None


INVALID = {"name": "Joke", "args": '{"setup": "a', "id": "1", "error": None}


NO_OBJECT = "The arguments of the call of 'Joke' are not a JSON object"
NO_CALL = "instead of a call of 'Joke'."
CUT = AIMessage("", invalid_tool_calls=[INVALID])
UNTOLD = AIMessage("", invalid_tool_calls=[{**INVALID, "error": "cut", "args": None}])
OTHERS = AIMessage("", invalid_tool_calls=[{**INVALID, "name": "g"}], tool_calls=called("f").tool_calls)


@pytest.mark.parametrize(
    ("parser", "message", "reason", "output"),
    [
        (call_parser(Joke), CUT, f'{NO_OBJECT}. Answer: \'{{"setup": "a\'', INVALID["args"]),
        (call_parser(Joke), UNTOLD, f"{NO_OBJECT} (cut).", ""),
        (call_parser(Joke), OTHERS, f"The model called 'f', 'g' {NO_CALL}", ""),
        (call_parser(Joke), AIMessage("Hi!"), f"The model answered in text {NO_CALL} Answer: 'Hi!'", "Hi!"),
        (call_parser(Joke), AIMessage(" "), f"The model answered nothing {NO_CALL} Answer: ' '", " "),
        (call_parser(Joke), AIMessage(""), f"The model answered nothing {NO_CALL}", ""),
        (json_parser(), AIMessage(""), "The model answered nothing instead of JSON.", ""),
        (json_parser(), called("f"), "The model called 'f' instead of JSON.", ""),
        (json_parser(), CUT, "The model called 'Joke' instead of JSON.", ""),
    ],
)
def test_structured_output_an_answer_without_an_object_is_an_error_that_says_what_came(parser, message, reason, output):
    error = failure(parser, message)
    assert str(error).startswith(reason + "\n")
    assert error.llm_output == output


@pytest.mark.parametrize(("finish_reason", "hint"), [("length", "cut at max_tokens"), ("stop", None), (None, None)])
def test_structured_output_an_error_says_that_the_answer_was_cut_where_it_was(finish_reason, hint):
    ending = {"response_metadata": {"finish_reason": finish_reason}}
    for parser, message in (
        (json_parser(), AIMessage(OBJECT[:9], **ending)),
        (json_parser(), AIMessage("", **ending)),
        (json_parser(Joke), AIMessage("{}", **ending)),
        (call_parser(), AIMessage("", invalid_tool_calls=[INVALID], **ending)),
        (call_parser(), AIMessage("", **ending)),
    ):
        text = str(failure(parser, message))
        assert "cut" not in text if hint is None else hint in text


def test_structured_output_streamed_text_gives_growing_dicts_and_each_state_once():
    states = list(json_parser().transform(iter(pieces('Sure:\n```json\n{"a": "xy", "b": [1]}\n``` done'))))
    assert states == [{}, {"a": ""}, {"a": "x"}, {"a": "xy"}, {"a": "xy", "b": []}, {"a": "xy", "b": [1]}]


@pytest.mark.parametrize(
    ("parser", "text", "expected"),
    [
        (json_parser(Joke), OBJECT, [Joke(setup="a", punchline=punchline) for punchline in ("", "b")]),
        (json_parser(root="value"), "42", [42]),
        (json_parser(Fragile), '{"text": "ab"}', [Fragile(text="a"), Fragile(text="ab")]),
    ],
    ids=["class", "scalar", "validators that break on half an object"],
)
async def test_structured_output_streamed_text_gives_objects_as_soon_as_they_are_valid(parser, text, expected):
    assert list(parser.transform(iter(pieces(text)))) == expected

    async def chunks():
        for piece in pieces(text):
            yield piece

    assert [value async for value in parser.atransform(chunks())] == expected


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (None, [{}, {"setup": "a"}, {"setup": "a", "punchline": "b"}]),
        (Joke, [Joke(**PARSED)]),
        (JokeV1, [JokeV1(**PARSED)]),
    ],
)
def test_structured_output_a_streamed_call_gives_what_its_arguments_hold_so_far(target, expected):
    parser = call_parser(target)
    parts = ["", '{"setup": "a"', ', "punchline": "b"}']
    deltas = [{"name": None, "args": args, "id": None, "index": 0, "type": "tool_call_chunk"} for args in parts]
    deltas[0] |= {"name": parser.tool_name, "id": "1"}
    chunks = [AIMessageChunk(content="", tool_call_chunks=[delta]) for delta in deltas]
    assert list(parser.transform(iter(chunks))) == expected


def test_structured_output_a_bad_end_of_a_stream_is_raised_after_what_was_good():
    stream = json_parser().transform(iter(pieces('{"a": 1')))
    assert [next(stream), next(stream)] == [{}, {"a": 1}]
    with pytest.raises(OutputParserException, match="not valid JSON"):
        next(stream)


def test_structured_output_a_stream_of_nothing_is_an_error():
    with pytest.raises(OutputParserException, match="answered nothing"):
        list(json_parser().transform(iter([])))


def test_structured_output_a_partial_result_is_none_and_no_error():
    assert glimpse(json_parser(), "none yet") is None


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=50)
@given(st.dictionaries(st.text(), JSON, max_size=4), st.booleans(), st.integers(0, 400))
def test_structured_output_every_beginning_of_an_object_is_read_as_langchain_core_reads_it(value, ascii_only, cut):
    text = json.dumps(value, ensure_ascii=ascii_only)[: cut + 1]
    assert glimpse(json_parser(), text) == parse_partial_json(text)
    assert glimpse(json_parser(), f"So:\n```json\n{text}") == parse_partial_json(text)


@settings(max_examples=50)
@given(st.text(alphabet='{}[]":,\\ an0-`\n', max_size=60))
def test_structured_output_no_text_breaks_a_glimpse_and_none_is_read_as_null(text):
    for parser in (json_parser(), json_parser(root="value")):
        glimpse(parser, text)
        with suppress(OutputParserException):
            assert parser.invoke(AIMessage(text)) is not None


@pytest.mark.parametrize("text", ["word " * 8000, "{'a': " + "word " * 8000, '{"a": 1} ' + "word " * 8000])
def test_structured_output_a_long_answer_that_is_no_json_is_not_tried_character_by_character(monkeypatch, text):
    parser = json_parser()
    monkeypatch.setattr(f"{type(parser).__module__}.parse_partial_json", None)
    assert glimpse(parser, text) in (None, {"a": 1})
