from __future__ import annotations

import asyncio
import json
import pickle
import re
import sys
from contextlib import suppress
from datetime import date
from typing import Annotated

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core import exceptions as core
from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.outputs import Generation
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_core.utils.json import parse_partial_json
from pydantic import BaseModel, ConfigDict, RootModel, model_validator
from typing_extensions import TypedDict

from langchain_promptrun import ChatPromptrun, PromptrunRefusalError
from langchain_promptrun.testing import Reply
from tests.integration.bodies import call
from tests.integration.messages.sending import Conversation

# pydantic's v1 classes do not work on Python 3.14.
if sys.version_info < (3, 14):
    from pydantic.v1 import BaseModel as BaseModelV1
else:
    BaseModelV1 = BaseModel

METHODS = ["function_calling", "json_schema", "json_mode"]
PARSED = {"setup": "a", "punchline": "b"}
TEXT = '{"setup": "a", "punchline": "b"}'
WRONG = '{"setup": "a"}'


class Joke(BaseModel):
    """A joke."""

    setup: str
    punchline: str


class JokeV1(BaseModelV1):
    """A joke."""

    setup: str
    punchline: str


class JokeDict(TypedDict):
    """A joke."""

    setup: Annotated[str, ..., "the question"]
    punchline: str


class Jokes(RootModel[list[Joke]]):
    """Jokes."""


SCHEMA = Joke.model_json_schema()
SCHEMAS = [Joke, JokeV1, JokeDict, SCHEMA]


def search(query: str) -> str:
    """Search."""
    return query


class Server(Conversation):
    """Answers with the same text and tool calls each time, streamed in pieces of one character."""

    def __init__(self, text="", calls=(), finish_reason="stop", **extra):
        deltas = [extra, *({"content": character} for character in text)]
        for index, (name, args) in enumerate(calls):
            deltas += [call(index, "", id=str(index), name=name), *(call(index, piece) for piece in args)]
        made = [call(index, args, id=str(index), name=name) for index, (name, args) in enumerate(calls)]
        entries = {"tool_calls": [entry for delta in made for entry in delta["tool_calls"]]} if made else {}
        super().__init__({"content": text, **extra, **entries}, deltas, finish_reason=finish_reason)


def chain(server, *args, **kwargs):
    return server.model().with_structured_output(*args, **kwargs)


def answering(method, text=TEXT, **extra):
    """The text as arguments of a call, or as text; None for an answer that has neither."""
    if method == "function_calling" and text is not None:
        return Server(calls=[("Joke", text), ("JokeV1", text), ("JokeDict", text)], **extra)
    return Server(text or "", **extra)


def in_every_style(structured):
    """The object that each style gives last, or the error that it raises."""

    async def streamed():
        return [value async for value in structured.astream("x")][-1]

    for way in (
        lambda: structured.invoke("x"),
        lambda: asyncio.run(structured.ainvoke("x")),
        lambda: structured.batch(["x"])[0],
        lambda: list(structured.stream("x"))[-1],
        lambda: asyncio.run(streamed()),
    ):
        try:
            yield way()
        except (OutputParserException, PromptrunRefusalError) as error:
            yield error


by_each_method = pytest.mark.parametrize("method", METHODS)


@by_each_method
@pytest.mark.parametrize("schema", SCHEMAS, ids=["pydantic", "v1", "typeddict", "schema"])
def test_structured_output_gives_the_object_for_every_method_schema_and_style(method, schema):
    structured = chain(answering(method), schema, method=method)
    whole = schema(**PARSED) if schema in (Joke, JokeV1) else PARSED
    assert list(in_every_style(structured)) == [whole] * 5
    assert all(type(value) is type(whole) for value in structured.stream("x"))


@by_each_method
@pytest.mark.parametrize(
    ("text", "facts", "error"),
    [
        (TEXT, {}, None),
        *((text, {}, OutputParserException) for text in (WRONG, "[]", "{")),
        ("", {"refusal": "No."}, PromptrunRefusalError),
        (TEXT[:9], {"finish_reason": "content_filter"}, PromptrunRefusalError),
        *((None, {"finish_reason": word}, PromptrunRefusalError) for word in ("content_filter", "refusal", "SAFETY")),
    ],
)
def test_structured_output_error_is_raised_or_stands_beside_the_message(method, text, facts, error):
    server = answering(method, text, **facts)
    plain = in_every_style(chain(server, Joke, method=method))
    with_raw = in_every_style(chain(server, Joke, method=method, include_raw=True))
    for value, result in zip(plain, with_raw, strict=True):
        assert isinstance(result.pop("raw"), AIMessage)
        if error is None:
            assert (value, result) == (Joke(**PARSED), {"parsed": Joke(**PARSED), "parsing_error": None})
        else:
            assert (type(value), type(result["parsing_error"]), result["parsed"]) == (error, error, None)
        if error is PromptrunRefusalError:
            assert isinstance(value, getattr(core, "ModelRefusalError", core.ModelError))
            assert isinstance(value.raw_message, AIMessage)
            assert str(value) == "No." or "It was withheld (finish_reason " in str(value)


@by_each_method
@pytest.mark.parametrize("include_raw", [False, True])
def test_structured_output_chain_survives_pickling(promptrun_server, method, include_raw):
    tool_calls = [{"name": "Joke", "args": PARSED}] if method == "function_calling" else []
    promptrun_server.queue(Reply("" if tool_calls else TEXT, tool_calls=tool_calls))
    model = ChatPromptrun(model="a/b", base_url=promptrun_server.base_url, api_key=promptrun_server.api_key)
    structured = model.with_structured_output(Joke, method=method, include_raw=include_raw)
    result = pickle.loads(pickle.dumps(structured)).invoke("x")
    assert (result["parsed"] if include_raw else result) == Joke(**PARSED)


TOOL = convert_to_openai_tool(Joke)
FORCED = {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "Joke"}}}
LAX = {**TOOL, "function": {**TOOL["function"], "strict": False}}
FORMAT, LAX_FORMAT = (
    {"response_format": {"type": "json_schema", "json_schema": {"name": "Joke", "schema": SCHEMA, **strict}}}
    for strict in ({}, {"strict": False})
)
JSON = {"response_format": {"type": "json_object"}}


@pytest.mark.parametrize(
    ("arguments", "wire"),
    [
        ({"schema": Joke, "temperature": 0}, {**FORCED, "temperature": 0}),
        ({"schema": Joke, "strict": False}, {**FORCED, "tools": [LAX]}),
        ({"schema": Joke, "tool_choice": "auto"}, {**FORCED, "tool_choice": "auto"}),
        ({"schema": Joke, "tool_choice": "any"}, {**FORCED, "tool_choice": "required"}),
        ({"schema": Joke, "tool_choice": False}, {"tools": [TOOL]}),
        ({"schema": SCHEMA, "method": "json_schema", "seed": 0}, {**FORMAT, "seed": 0}),
        ({"schema": SCHEMA, "method": "json_schema", "strict": False}, LAX_FORMAT),
        *(({"schema": schema, "method": "json_mode"}, JSON) for schema in (None, Joke, SCHEMA)),
    ],
)
def test_structured_output_binds_a_tool_or_a_format(arguments, wire):
    kwargs = chain(Server(), **arguments).first.kwargs
    told = {"method": arguments.get("method", "function_calling"), "strict": arguments.get("strict")}
    assert kwargs.pop("ls_structured_output_format")["kwargs"] == told
    assert kwargs == wire


def test_structured_output_title_becomes_a_legal_name_and_its_call_is_found():
    schema = {**SCHEMA, "title": "A joke!"}
    server = Server(calls=[("A_joke_", TEXT)])
    assert chain(server, schema).invoke("x") == PARSED
    assert server.requests[0]["tools"][0]["function"]["name"] == "A_joke_"
    assert server.requests[0]["tool_choice"]["function"]["name"] == "A_joke_"
    assert schema["title"] == "A joke!"


ARRAY = {"title": "Jokes", "type": "array", "items": SCHEMA}


@pytest.mark.parametrize(
    ("schema", "method", "text"),
    [
        *((jokes, method, f"[{TEXT}]") for jokes in (ARRAY, Jokes) for method in ("json_schema", "json_mode")),
        ({"title": "Level", "type": ["integer", "string"]}, "json_schema", "3"),
        ({"type": ["integer", "string"]}, "json_mode", "3"),
        (None, "json_mode", TEXT),
        ({"name": "Level", "schema": {"enum": ["a", "b"]}}, "json_schema", '"a"'),
    ],
)
def test_structured_output_of_any_root_or_without_a_schema_gives_what_it_describes(schema, method, text):
    given = chain(Server(text=text), schema, method=method).invoke("x")
    assert given == (Jokes([Joke(**PARSED)]) if schema is Jokes else json.loads(text))


@pytest.mark.parametrize("method", ["json_schema", "json_mode"])
def test_structured_output_with_tools_gives_none_for_their_call_with_raw_and_raises_without(method):
    options = {"schema": Joke, "method": method, "tools": [search], "tool_choice": "auto"}
    server = Server(calls=[("search", '{"query": "q"}')])
    result = chain(server, **options, include_raw=True).invoke("x")
    assert (result["parsed"], result["parsing_error"]) == (None, None)
    assert result["raw"].tool_calls[0]["name"] == server.requests[0]["tools"][0]["function"]["name"] == "search"
    assert server.requests[0]["tool_choice"] == "auto"
    assert chain(Server(text=TEXT), **options, include_raw=True).invoke("x")["parsed"] == Joke(**PARSED)
    with pytest.raises(OutputParserException, match="called 'search' instead of JSON"):
        chain(server, **options).invoke("x")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"schema": Joke, "method": "x"}, f"`method` must be one of {str(METHODS)[1:-1]}, not 'x'"),
        ({"method": "function_calling"}, "method 'function_calling' needs a schema"),
        ({"method": "json_schema"}, "method 'json_schema' needs a schema"),
        ({"schema": Joke, "method": "json_mode", "strict": True}, "strict needs a schema on the wire"),
        ({"schema": Joke, "tools": [search]}, "tools beside structured output need method"),
        ({"schema": {"type": "json_object"}}, "method 'function_calling' cannot use this schema"),
        ({"schema": {"type": "object", "properties": {}}}, "title"),
        ({"schema": Joke, "tool_choice": "Poem"}, "'Poem' names neither a bound tool"),
    ],
)
def test_structured_output_that_cannot_be_honoured_raises_when_the_chain_is_made(arguments, text):
    with pytest.raises(ValueError, match=text):
        chain(Server(), **arguments)


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


MODEL = ChatPromptrun(model="a/b", api_key="key")
ROOTS = {"object": {"type": "object"}, "array": {"type": "array"}, "value": {"type": ["string", "integer"]}}


def json_parser(target=None, root="object"):
    return MODEL.with_structured_output(target or ROOTS[root], method="json_mode").last


def call_parser(target=None):
    return MODEL.with_structured_output(target or {"title": "Joke", "type": "object", "properties": {}}).last


def called(name="Joke", args=None, **rest) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": name, "args": PARSED if args is None else args, "id": "1"}], **rest)


CALLS = {name: called(name).tool_calls[0] for name in ("f", "Joke")}
STRICT = {"day": "2025-01-02", "tags": ["a"]}


def glimpse(parser, text):
    return parser.parse_result([Generation(text=text)], partial=True)


def test_structured_output_text_is_read_like_a_message():
    assert json_parser(Joke).OutputType is Joke
    assert json_parser().get_output_jsonschema() == {"title": "JsonParserOutput"}
    parser = json_parser(Joke)
    answers = [parser.parse(TEXT), parser.invoke(TEXT), parser.invoke(HumanMessage(TEXT))]
    answers += [parser.parse_result([Generation(text=TEXT)]), *parser.transform(iter([TEXT[:9], TEXT[9:]]))]
    assert answers == [Joke(**PARSED)] * 5


FRAMES = [
    "%s",
    "```json\n%s\n```",
    "```\n%s```",
    "```JSON %s ```",
    "Sure! Here it is:\n```json\n%s\n```\nAnything else?",
    "```python\nprint()\n```\nand\n```json\n%s\n```",
    "```json\n%s",
]
TEXTS = [TEXT, f"\n {TEXT}\n", '{"setup": "a",\n"punchline": "b"}']


@pytest.mark.parametrize(
    ("parser", "message", "expected"),
    [
        (call_parser(), AIMessage("text", tool_calls=[CALLS["f"], CALLS["Joke"], *called(args={}).tool_calls]), PARSED),
        (call_parser(), called(args={}), {}),
        (json_parser(), AIMessage(TEXT, response_metadata={"finish_reason": "length"}), PARSED),
        (json_parser(), AIMessage(TEXT, response_metadata={"finish_reason": "content_filter"}), PARSED),
        (call_parser(), called(response_metadata={"finish_reason": "content_filter"}), PARSED),
        (json_parser(), AIMessage(TEXT, additional_kwargs={"refusal": ""}), PARSED),
        (json_parser(), AIMessage([{"type": "reasoning", "reasoning": "{"}, TEXT[:9], TEXT[9:]]), PARSED),
        (json_parser(), AIMessage('{"setup": "a\nb"}'), {"setup": "a\nb"}),
        (json_parser(root="array"), AIMessage("[]"), []),
        (json_parser(root="value"), AIMessage("0"), 0),
        (json_parser(root="value"), AIMessage("false"), False),
        (json_parser(root="value"), AIMessage('""'), ""),
        (call_parser(Strict), called("Strict", STRICT), Strict(day=date(2025, 1, 2), tags={"a"})),
        (json_parser(Strict), AIMessage(json.dumps(STRICT)), Strict(day=date(2025, 1, 2), tags={"a"})),
        *((json_parser(), AIMessage(frame % text), PARSED) for frame in FRAMES for text in TEXTS),
    ],
)
def test_structured_output_is_read_from_a_call_or_from_json_in_a_markdown_fence_or_none(parser, message, expected):
    assert parser.invoke(message) == expected


def ended(message, finish_reason="length"):
    return message.model_copy(update={"response_metadata": {"finish_reason": finish_reason}})


INVALID = {"name": "Joke", "args": '{"setup": "a', "id": "1", "error": None}
NO_TEXT = "The arguments of the call of 'Joke' are not a JSON object"
NO_CALL = "instead of a call of 'Joke'."
CUT = AIMessage("", invalid_tool_calls=[INVALID])
UNTOLD = AIMessage("", invalid_tool_calls=[{**INVALID, "error": "cut", "args": None}])
OTHERS = AIMessage("", invalid_tool_calls=[{**INVALID, "name": "g"}], tool_calls=called("f").tool_calls)
NO_JSON = [
    *(TEXT[:-5], TEXT * 2, "{'a': 'a'}", "no JSON", "1" * 5000, "[" * 10**5),
    *(f"```json\n{TEXT}, {TEXT}\n```", "```json\n{\n```"),
]
CUT_SHORT = ' It was cut at max_tokens (finish_reason "length"): raise max_tokens or ask for less.'
OTHER_ROOTS = [("object", "[1]"), ("object", "null"), ("object", "3"), ("array", TEXT), ("value", "null")]
NOT_JSON, NO_ROOT = "The answer is not valid JSON: ...", "The answer is JSON, but no "
UNFIT, HALF = "The answer does not fit {0.__name__}: ...punchline...", '{"setup": "ä"}'


@pytest.mark.parametrize(
    ("parser", "message", "reason", "output"),
    [
        (call_parser(Joke), CUT, f"{NO_TEXT}.", INVALID["args"]),
        (call_parser(Joke), UNTOLD, f"{NO_TEXT} (cut).", ""),
        (call_parser(Joke), OTHERS, f"The model called 'f', 'g' {NO_CALL}", ""),
        (call_parser(Joke), AIMessage("Hi!"), f"The model answered in text {NO_CALL}", "Hi!"),
        (call_parser(Joke), AIMessage(" "), f"The model answered nothing {NO_CALL}", " "),
        (call_parser(Joke), AIMessage(""), f"The model answered nothing {NO_CALL}", ""),
        (json_parser(), AIMessage(""), "The model answered nothing instead of JSON.", ""),
        (json_parser(), called("f"), "The model called 'f' instead of JSON.", ""),
        (json_parser(), CUT, "The model called 'Joke' instead of JSON.", ""),
        (call_parser(), ended(CUT), f"{NO_TEXT}.{CUT_SHORT}", INVALID["args"]),
        (call_parser(), ended(AIMessage("")), f"The model answered nothing {NO_CALL}{CUT_SHORT}", ""),
        (call_parser(), ended(AIMessage(""), "stop"), f"The model answered nothing {NO_CALL}", ""),
        (json_parser(), ended(AIMessage("")), f"The model answered nothing instead of JSON.{CUT_SHORT}", ""),
        (json_parser(), ended(AIMessage(TEXT[:9])), f"{NOT_JSON}.{CUT_SHORT}", TEXT[:9]),
        (json_parser(Joke), ended(AIMessage("{}")), f"{UNFIT.format(Joke)}{CUT_SHORT}", "{}"),
        *((json_parser(kind), AIMessage(text), NOT_JSON, text) for kind in (None, Joke) for text in NO_JSON),
        *((json_parser(root=root), AIMessage(text), f"{NO_ROOT}{root}.", text) for root, text in OTHER_ROOTS),
        *((json_parser(kind), AIMessage(HALF), UNFIT.format(kind), HALF) for kind in (Joke, JokeV1)),
        (call_parser(Joke), called("Joke", {"setup": "ä"}), UNFIT.format(Joke), HALF),
        (call_parser(JokeV1), called("JokeV1", {"setup": "ä"}), UNFIT.format(JokeV1), HALF),
    ],
)
def test_structured_output_failure_says_what_came_instead(parser, message, reason, output):
    with pytest.raises(OutputParserException) as caught:
        parser.invoke(message)
    error = caught.value
    said = str(error).partition("\nFor troubleshooting")[0]
    answer = f" Answer: {output[:200]!r}" if output else ""
    pattern = re.escape(reason).replace(r"\.\.\.", ".+") + re.escape(answer)
    assert re.fullmatch(pattern, said, re.DOTALL)
    assert (error.llm_output, error.__cause__ is not None, len(said) < 500) == (output, "..." in reason, True)


def call_in_pieces(name):
    pieces = [("", {"name": name, "id": "1"}), ('{"setup": "a"', {}), (', "punchline": "b"}', {})]
    facts = {"name": None, "id": None, "index": 0, "type": "tool_call_chunk"}
    return [AIMessageChunk("", tool_call_chunks=[{**facts, "args": args, **named}]) for args, named in pieces]


FENCED = 'Sure:\n```json\n{"a": "xy", "b": [1]}\n``` done'
GROWING = [{}, {"a": ""}, {"a": "x"}, {"a": "xy"}, {"a": "xy", "b": []}, {"a": "xy", "b": [1]}]


@pytest.mark.parametrize(
    ("parser", "pieces", "expected"),
    [
        (json_parser(), FENCED, GROWING),
        (json_parser(Joke), TEXT, [Joke(setup="a", punchline=punchline) for punchline in ("", "b")]),
        (json_parser(root="value"), "42", [42]),
        (json_parser(Fragile), '{"text": "ab"}', [Fragile(text="a"), Fragile(text="ab")]),
        (call_parser(), call_in_pieces("Joke"), [{}, {"setup": "a"}, PARSED]),
        *((call_parser(kind), call_in_pieces(kind.__name__), [kind(**PARSED)]) for kind in (Joke, JokeV1)),
    ],
)
async def test_structured_output_streams_each_state_once_as_soon_as_it_is_valid(parser, pieces, expected):
    async def chunks():
        for piece in pieces:
            yield piece

    assert list(parser.transform(iter(pieces))) == expected
    assert [value async for value in parser.atransform(chunks())] == expected


def test_structured_output_a_bad_end_of_a_stream_is_raised_after_what_was_good():
    stream = json_parser().transform(iter('{"a": 1'))
    assert [next(stream), next(stream)] == [{}, {"a": 1}]
    with pytest.raises(OutputParserException, match="not valid JSON"):
        next(stream)
    with pytest.raises(OutputParserException, match="answered nothing"):
        list(json_parser().transform(iter([])))
    assert glimpse(json_parser(), "none yet") is None


VALUES = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=50)
@given(st.dictionaries(st.text(), VALUES, max_size=4), st.booleans(), st.integers(0, 400))
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
