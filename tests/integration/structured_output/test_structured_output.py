from __future__ import annotations

import json
import pickle
import sys
from contextlib import suppress
from datetime import date
from functools import reduce
from operator import add
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
        entries, deltas = [], [extra, *({"content": character} for character in text)]
        for index, (name, args) in enumerate(calls):
            begun = {"index": index, "id": str(index), "type": "function", "function": {"name": name, "arguments": ""}}
            entries.append({**begun, "function": {"name": name, "arguments": args}})
            deltas.append({"tool_calls": [begun]})
            deltas += [{"tool_calls": [{"index": index, "function": {"arguments": piece}}]} for piece in args]
        message = {"content": text, **extra} | ({"tool_calls": entries} if entries else {})
        super().__init__(message, deltas, finish_reason=finish_reason)


def chain(server, *args, **kwargs):
    return server.model().with_structured_output(*args, **kwargs)


def answering(method: str, text: str = TEXT, **extra) -> Server:
    if method == "function_calling":
        return Server(calls=[("Joke", text), ("JokeV1", text), ("JokeDict", text)], **extra)
    return Server(text=text, **extra)


async def raises_in_every_style(kind, structured):
    with pytest.raises(kind):
        await structured.ainvoke("x")
    with pytest.raises(kind):
        list(structured.stream("x"))
    with pytest.raises(kind):
        [value async for value in structured.astream("x")]
    with pytest.raises(kind) as caught:
        structured.invoke("x")
    return caught.value


by_each_method = pytest.mark.parametrize("method", METHODS)
of_each_schema = pytest.mark.parametrize("schema", SCHEMAS, ids=["pydantic", "v1", "typeddict", "schema"])


@by_each_method
@of_each_schema
async def test_structured_output_gives_the_object_for_every_method_schema_and_style(method, schema):
    structured = chain(answering(method), schema, method=method)
    whole = schema(**PARSED) if schema in (Joke, JokeV1) else PARSED
    assert structured.invoke("x") == whole
    assert await structured.ainvoke("x") == whole
    assert structured.batch(["x", "y"]) == [whole, whole]
    streamed = list(structured.stream("x"))
    assert streamed[-1] == whole
    assert all(type(value) is type(whole) for value in streamed)
    assert [value async for value in structured.astream("x")] == streamed


@by_each_method
async def test_structured_output_with_raw_gives_message_object_and_no_error(method):
    structured = chain(answering(method), Joke, method=method, include_raw=True)
    results = [structured.invoke("x"), await structured.ainvoke("x"), *structured.batch(["x"])]
    results += [reduce(add, structured.stream("x")), reduce(add, [value async for value in structured.astream("x")])]
    for result in results:
        assert isinstance(result.pop("raw"), AIMessage)
        assert result == {"parsed": Joke(**PARSED), "parsing_error": None}


@by_each_method
@pytest.mark.parametrize("text", [WRONG, "[]", "{"])
async def test_structured_output_of_a_bad_answer_raises_or_is_the_parsing_error(method, text):
    model = answering(method, text)
    await raises_in_every_style(OutputParserException, chain(model, Joke, method=method))
    raw = chain(model, Joke, method=method, include_raw=True)
    for result in (raw.invoke("x"), await raw.ainvoke("x"), *raw.stream("x"), *[v async for v in raw.astream("x")]):
        assert isinstance(result["parsing_error"], OutputParserException)
        assert result["parsed"] is None
        assert isinstance(result["raw"], AIMessage)


REFUSED = {
    "a refusal": lambda method: answering(method, "", refusal="No."),
    "a filtered answer": lambda method: answering(method, TEXT[:9], finish_reason="content_filter"),
    "a filtered nothing": lambda _method: Server(finish_reason="content_filter"),
    "nothing by Claude": lambda _method: Server(finish_reason="refusal"),
    "nothing by Gemini": lambda _method: Server(finish_reason="SAFETY"),
}


@by_each_method
@pytest.mark.parametrize("refused", REFUSED.values(), ids=REFUSED)
async def test_structured_output_refusal_is_raised_with_the_message_or_is_the_parsing_error(method, refused):
    error = await raises_in_every_style(PromptrunRefusalError, chain(refused(method), Joke, method=method))
    assert isinstance(error, getattr(core, "ModelRefusalError", core.ModelError))
    assert isinstance(error.raw_message, AIMessage)
    assert str(error) == "No." or "It was withheld (finish_reason " in str(error)
    result = chain(refused(method), Joke, method=method, include_raw=True).invoke("x")
    assert isinstance(result["parsing_error"], PromptrunRefusalError)


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
SPEC = {"name": "Joke", "schema": SCHEMA}
JSON = {"response_format": {"type": "json_object"}}


def formatted(**more):
    return {"response_format": {"type": "json_schema", "json_schema": {**SPEC, **more}}}


@pytest.mark.parametrize(
    ("arguments", "wire"),
    [
        ({"schema": Joke, "temperature": 0}, {**FORCED, "temperature": 0}),
        ({"schema": Joke, "strict": False}, {**FORCED, "tools": [LAX]}),
        ({"schema": Joke, "tool_choice": "auto"}, {**FORCED, "tool_choice": "auto"}),
        ({"schema": Joke, "tool_choice": "any"}, {**FORCED, "tool_choice": "required"}),
        ({"schema": Joke, "tool_choice": False}, {"tools": [TOOL]}),
        ({"schema": SCHEMA, "method": "json_schema", "seed": 0}, {**formatted(), "seed": 0}),
        ({"schema": SCHEMA, "method": "json_schema", "strict": False}, formatted(strict=False)),
        ({"schema": None, "method": "json_mode"}, JSON),
        ({"schema": Joke, "method": "json_mode"}, JSON),
        ({"schema": SCHEMA, "method": "json_mode"}, JSON),
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


@pytest.mark.parametrize(
    ("schema", "method", "text"),
    [
        ({"title": "Jokes", "type": "array", "items": SCHEMA}, "json_schema", f"[{TEXT}]"),
        ({"title": "Jokes", "type": "array", "items": SCHEMA}, "json_mode", f"[{TEXT}]"),
        ({"title": "Level", "type": ["integer", "string"]}, "json_schema", "3"),
        ({"type": ["integer", "string"]}, "json_mode", "3"),
        (None, "json_mode", TEXT),
        ({"name": "Level", "schema": {"enum": ["a", "b"]}}, "json_schema", '"a"'),
        (Jokes, "json_schema", f"[{TEXT}]"),
        (Jokes, "json_mode", f"[{TEXT}]"),
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


def failure(parser, message) -> OutputParserException:
    with pytest.raises(OutputParserException) as caught:
        parser.invoke(message)
    return caught.value


def test_structured_output_text_is_read_like_a_message():
    assert json_parser(Joke).OutputType is Joke
    assert json_parser().get_output_jsonschema() == {"title": "JsonParserOutput"}
    parser = json_parser(Joke)
    answers = [parser.parse(TEXT), parser.invoke(TEXT), parser.invoke(HumanMessage(TEXT))]
    answers += [parser.parse_result([Generation(text=TEXT)]), *parser.transform(iter([TEXT[:9], TEXT[9:]]))]
    assert answers == [Joke(**PARSED)] * 5


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
        (json_parser(root="array"), AIMessage("[]"), []),
        (json_parser(root="value"), AIMessage("0"), 0),
        (json_parser(root="value"), AIMessage("false"), False),
        (json_parser(root="value"), AIMessage('""'), ""),
        (call_parser(Strict), called("Strict", STRICT), Strict(day=date(2025, 1, 2), tags={"a"})),
        (json_parser(Strict), AIMessage(json.dumps(STRICT)), Strict(day=date(2025, 1, 2), tags={"a"})),
    ],
)
def test_structured_output_is_read_from_a_call_or_from_json(parser, message, expected):
    assert parser.invoke(message) == expected


@pytest.mark.parametrize("text", [TEXT, f"\n {TEXT}\n", '{"setup": "a",\n"punchline": "b"}'])
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


FENCED = [f"```json\n{TEXT}, {TEXT}\n```", "```json\n{\n```"]


@pytest.mark.parametrize("text", [TEXT[:-5], TEXT * 2, "{'a': 'a'}", "no JSON", *FENCED, "1" * 5000, "[" * 10**5])
@pytest.mark.parametrize("target", [None, Joke])
def test_structured_output_what_is_not_json_is_an_output_parser_error_with_the_reason(text, target):
    error = failure(json_parser(target), AIMessage(text))
    assert "The answer is not valid JSON: " in str(error)
    assert f"Answer: {text[:20]!r}"[:-1] in str(error)
    assert len(str(error)) < 600
    assert error.llm_output == text


@pytest.mark.parametrize(
    ("root", "text"), [("object", "[1]"), ("object", "null"), ("object", "3"), ("array", TEXT), ("value", "null")]
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
NO_TEXT = "The arguments of the call of 'Joke' are not a JSON object"
NO_CALL = "instead of a call of 'Joke'."
CUT = AIMessage("", invalid_tool_calls=[INVALID])
UNTOLD = AIMessage("", invalid_tool_calls=[{**INVALID, "error": "cut", "args": None}])
OTHERS = AIMessage("", invalid_tool_calls=[{**INVALID, "name": "g"}], tool_calls=called("f").tool_calls)


@pytest.mark.parametrize(
    ("parser", "message", "reason", "output"),
    [
        (call_parser(Joke), CUT, f'{NO_TEXT}. Answer: \'{{"setup": "a\'', INVALID["args"]),
        (call_parser(Joke), UNTOLD, f"{NO_TEXT} (cut).", ""),
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
        (json_parser(), AIMessage(TEXT[:9], **ending)),
        (json_parser(), AIMessage("", **ending)),
        (json_parser(Joke), AIMessage("{}", **ending)),
        (call_parser(), AIMessage("", invalid_tool_calls=[INVALID], **ending)),
        (call_parser(), AIMessage("", **ending)),
    ):
        text = str(failure(parser, message))
        assert "cut" not in text if hint is None else hint in text


@pytest.mark.parametrize(
    ("parser", "text", "expected"),
    [
        (
            json_parser(),
            'Sure:\n```json\n{"a": "xy", "b": [1]}\n``` done',
            [{}, {"a": ""}, {"a": "x"}, {"a": "xy"}, {"a": "xy", "b": []}, {"a": "xy", "b": [1]}],
        ),
        (json_parser(Joke), TEXT, [Joke(setup="a", punchline=punchline) for punchline in ("", "b")]),
        (json_parser(root="value"), "42", [42]),
        (json_parser(Fragile), '{"text": "ab"}', [Fragile(text="a"), Fragile(text="ab")]),
    ],
    ids=["growing dicts", "class", "scalar", "validators that break on half an object"],
)
async def test_structured_output_streamed_text_gives_each_state_once_as_soon_as_it_is_valid(parser, text, expected):
    pieces = [AIMessageChunk(content=character) for character in text]
    assert list(parser.transform(iter(pieces))) == expected

    async def chunks():
        for piece in pieces:
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
