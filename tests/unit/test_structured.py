from __future__ import annotations

import pickle
import sys
from typing import Annotated, Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.exceptions import OutputParserException
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.utils.function_calling import convert_to_json_schema
from pydantic import BaseModel, Field, RootModel
from typing_extensions import TypedDict

from langchain_promptrun._tools.structured_output import assemble, plan
from langchain_promptrun.errors import PromptrunRefusalError

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


class Model(BaseChatModel):
    """Answers with the same text and tool calls each time, streamed in pieces of one character."""

    text: str = ""
    calls: list[tuple[str, str]] = Field(default_factory=list)
    extra: dict[str, Any] = Field(default_factory=dict)
    seen: list[dict[str, Any]] = Field(default_factory=list)

    @property
    def _llm_type(self):
        return "fake"

    def _stream(self, messages, stop=None, run_manager=None, **kwargs):
        self.seen.append(kwargs)
        yield ChatGenerationChunk(message=AIMessageChunk(content="", **self.extra))
        for text in self.text:
            yield ChatGenerationChunk(message=AIMessageChunk(content=text))
        for index, (name, args) in enumerate(self.calls):
            for part, text in enumerate(["", *args]):
                chunk = {"name": None if part else name, "args": text, "id": None if part else str(index)}
                chunk |= {"index": index, "type": "tool_call_chunk"}
                yield ChatGenerationChunk(message=AIMessageChunk(content="", tool_call_chunks=[chunk]))

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        chunks = [chunk.message for chunk in self._stream(messages, **kwargs)]
        whole = sum(chunks[1:], chunks[0])
        message = AIMessage(whole.content, tool_calls=whole.tool_calls, **self.extra)
        return ChatResult(generations=[ChatGeneration(message=message)])


class Options(BaseCallbackHandler):
    """Keeps what core tells a tracer about the call."""

    def __init__(self):
        self.seen = []

    def on_chat_model_start(self, serialized, messages, *, options, **kwargs):
        self.seen.append(options)


def chain(model: Model, *args, **kwargs):
    planned = plan(*args, **kwargs)
    return assemble(model.bind(**planned.arguments), planned)


def answering(method: str, text: str = TEXT, **extra) -> Model:
    """Return a model that gives the text where the method expects the object."""
    if method == "function_calling":
        return Model(calls=[("Joke", text), ("JokeV1", text), ("JokeDict", text)], extra=extra)
    return Model(text=text, extra=extra)


def expected(schema: Any) -> Any:
    return schema(**PARSED) if schema in (Joke, JokeV1) else PARSED


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("schema", SCHEMAS, ids=["pydantic", "v1", "typeddict", "schema"])
async def test_every_method_gives_the_object_for_every_schema_in_every_call_style(method, schema):
    structured = chain(answering(method), schema, method=method)
    whole = expected(schema)
    assert structured.invoke("x") == whole
    assert await structured.ainvoke("x") == whole
    assert structured.batch(["x", "y"]) == [whole, whole]
    streamed = list(structured.stream("x"))
    assert streamed[-1] == whole
    assert all(type(value) is type(whole) for value in streamed)
    assert [value async for value in structured.astream("x")] == streamed


@pytest.mark.parametrize("method", METHODS)
async def test_include_raw_gives_message_object_and_no_error_in_every_call_style(method):
    structured = chain(answering(method), Joke, method=method, include_raw=True)

    def check(result):
        assert result.keys() == {"raw", "parsed", "parsing_error"}
        assert isinstance(result["raw"], AIMessage)
        assert (result["parsed"], result["parsing_error"]) == (Joke(**PARSED), None)

    check(structured.invoke("x"))
    check(await structured.ainvoke("x"))
    check(structured.batch(["x"])[0])
    [*streamed] = structured.stream("x")
    check(sum(streamed[1:], streamed[0]))
    [*streamed] = [value async for value in structured.astream("x")]
    check(sum(streamed[1:], streamed[0]))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("text", [WRONG, "[]", "{"])
async def test_a_bad_answer_is_an_output_parser_error_or_with_include_raw_a_parsing_error(method, text):
    model = answering(method, text)
    structured = chain(model, Joke, method=method)
    with pytest.raises(OutputParserException):
        structured.invoke("x")
    with pytest.raises(OutputParserException):
        await structured.ainvoke("x")
    with pytest.raises(OutputParserException):
        list(structured.stream("x"))
    with pytest.raises(OutputParserException):
        [value async for value in structured.astream("x")]
    raw = chain(model, Joke, method=method, include_raw=True)
    for result in (raw.invoke("x"), await raw.ainvoke("x"), *raw.stream("x"), *[v async for v in raw.astream("x")]):
        assert isinstance(result["parsing_error"], OutputParserException)
        assert result["parsed"] is None
        assert isinstance(result["raw"], AIMessage)


@pytest.mark.parametrize("method", METHODS)
def test_a_refusal_is_raised_or_with_include_raw_a_parsing_error(method):
    model = answering(method, "", additional_kwargs={"refusal": "No."})
    with pytest.raises(PromptrunRefusalError, match="No"):
        chain(model, Joke, method=method).invoke("x")
    with pytest.raises(PromptrunRefusalError, match="No"):
        list(chain(model, Joke, method=method).stream("x"))
    result = chain(model, Joke, method=method, include_raw=True).invoke("x")
    assert isinstance(result["parsing_error"], PromptrunRefusalError)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("include_raw", [False, True])
def test_a_chain_survives_pickling(method, include_raw):
    structured = chain(answering(method), Joke, method=method, include_raw=include_raw)
    copy = pickle.loads(pickle.dumps(structured))
    result = copy.invoke("x")
    assert (result["parsed"] if include_raw else result) == Joke(**PARSED)


def test_function_calling_binds_one_tool_and_forces_it():
    arguments = plan(Joke, temperature=0).arguments
    assert arguments.pop("ls_structured_output_format")["kwargs"] == {"method": "function_calling", "strict": None}
    tool = arguments["tools"][0]["function"]
    assert arguments == {
        "tools": [{"type": "function", "function": tool}],
        "tool_choice": {"type": "function", "function": {"name": "Joke"}},
        "temperature": 0,
    }
    assert tool["parameters"]["required"] == ["setup", "punchline"]


@pytest.mark.parametrize(("choice", "wire"), [("auto", "auto"), ("any", "required"), (False, None)])
def test_a_tool_choice_of_the_callers_replaces_the_forced_one(choice, wire):
    assert plan(Joke, tool_choice=choice).arguments.get("tool_choice") == wire


def test_a_reply_without_the_call_is_an_error_when_the_choice_was_auto():
    with pytest.raises(OutputParserException, match="answered in text instead of a call of 'Joke'"):
        chain(Model(text="Hi"), Joke, tool_choice="auto").invoke("x")


def test_parallel_tool_calls_is_bound_only_when_said():
    assert "parallel_tool_calls" not in plan(Joke).arguments
    assert plan(Joke, parallel_tool_calls=False).arguments["parallel_tool_calls"] is False


def test_a_title_that_is_no_legal_name_becomes_one_and_its_call_is_found():
    schema = {**SCHEMA, "title": "A joke!"}
    planned = plan(schema)
    assert planned.arguments["tools"][0]["function"]["name"] == "A_joke_"
    assert planned.arguments["tool_choice"]["function"]["name"] == "A_joke_"
    model = Model(calls=[("A_joke_", TEXT)])
    assert assemble(model.bind(**planned.arguments), planned).invoke("x") == PARSED
    assert schema["title"] == "A joke!"


def test_json_schema_binds_a_response_format():
    arguments = plan(SCHEMA, method="json_schema", temperature=0).arguments
    del arguments["ls_structured_output_format"]
    spec = {"name": "Joke", "schema": SCHEMA}
    assert arguments == {"response_format": {"type": "json_schema", "json_schema": spec}, "temperature": 0}


@pytest.mark.parametrize("schema", [None, Joke, SCHEMA])
def test_json_mode_binds_only_the_type(schema):
    arguments = plan(schema, method="json_mode").arguments
    assert arguments.pop("ls_structured_output_format")["kwargs"]["method"] == "json_mode"
    assert arguments == {"response_format": {"type": "json_object"}}


def test_json_mode_without_a_schema_gives_any_object():
    assert chain(Model(text='{"any": 1}'), method="json_mode").invoke("x") == {"any": 1}
    with pytest.raises(OutputParserException, match="no object"):
        chain(Model(text="[]"), method="json_mode").invoke("x")


@pytest.mark.parametrize(
    ("schema", "method", "text"),
    [
        ({"title": "Jokes", "type": "array", "items": SCHEMA}, "json_schema", f"[{TEXT}]"),
        ({"title": "Jokes", "type": "array", "items": SCHEMA}, "json_mode", f"[{TEXT}]"),
        ({"title": "Level", "type": ["integer", "string"]}, "json_schema", "3"),
        ({"type": ["integer", "string"]}, "json_mode", "3"),
        ({"name": "Level", "schema": {"enum": ["a", "b"]}}, "json_schema", '"a"'),
    ],
)
def test_a_schema_whose_root_is_no_object_gives_what_it_describes(schema, method, text):
    assert chain(Model(text=text), schema, method=method).invoke("x") in ([PARSED], 3, "a")


@pytest.mark.parametrize("method", ["json_schema", "json_mode"])
def test_a_class_whose_root_is_a_list_is_built_from_one(method):
    assert chain(Model(text=f"[{TEXT}]"), Jokes, method=method).invoke("x") == Jokes([Joke(**PARSED)])


def test_an_object_schema_does_not_let_a_list_through():
    with pytest.raises(OutputParserException, match="no object"):
        chain(Model(text="[]"), JokeDict, method="json_schema").invoke("x")


@pytest.mark.parametrize("strict", [True, False])
def test_strict_reaches_the_wire_with_both_methods_that_send_a_schema(strict):
    assert plan(Joke, strict=strict).arguments["tools"][0]["function"]["strict"] is strict
    arguments = plan(Joke, method="json_schema", strict=strict).arguments
    assert arguments["response_format"]["json_schema"]["strict"] is strict
    assert arguments["ls_structured_output_format"]["kwargs"] == {"method": "json_schema", "strict": strict}


@pytest.mark.parametrize("method", ["json_schema", "json_mode"])
def test_tools_beside_the_schema_are_bound_and_their_call_gives_none_with_include_raw(method):
    planned = plan(Joke, method=method, tools=[search], tool_choice="auto", include_raw=True)
    assert planned.arguments["tools"][0]["function"]["name"] == "search"
    assert planned.arguments["tool_choice"] == "auto"
    model = Model(calls=[("search", '{"query": "q"}')])
    result = assemble(model.bind(**planned.arguments), planned).invoke("x")
    assert (result["parsed"], result["parsing_error"]) == (None, None)
    assert result["raw"].tool_calls[0]["name"] == "search"
    result = assemble(Model(text=TEXT), planned).invoke("x")
    assert result["parsed"] == Joke(**PARSED)


def test_tools_beside_the_schema_and_no_raw_make_their_call_an_error():
    with pytest.raises(OutputParserException, match="called 'search' instead of JSON"):
        chain(Model(calls=[("search", "{}")]), Joke, method="json_schema", tools=[search]).invoke("x")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("schema", SCHEMAS, ids=["pydantic", "v1", "typeddict", "schema"])
def test_the_trace_shows_the_schema_and_the_model_gets_what_is_bound(method, schema):
    model, options = answering(method), Options()
    planned = plan(schema, method=method)
    assemble(model.bind(**planned.arguments), planned).invoke("x", config={"callbacks": [options]})
    traced = options.seen[0]["ls_structured_output_format"]
    assert traced == {"kwargs": {"method": method, "strict": None}, "schema": convert_to_json_schema(schema)}
    assert model.seen[-1].keys() == planned.arguments.keys() - {"ls_structured_output_format"}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            {"schema": Joke, "method": "tool_calling"},
            "method must be one of 'function_calling', 'json_schema', 'json_mode', not 'tool_calling'",
        ),
        ({"method": "function_calling"}, "method 'function_calling' needs a schema"),
        ({"method": "json_schema"}, "method 'json_schema' needs a schema"),
        ({"schema": Joke, "method": "json_mode", "strict": True}, "strict needs a schema on the wire"),
        ({"schema": Joke, "tools": [search]}, "tools beside structured output need method"),
        ({"schema": {"type": "json_object"}}, "method 'function_calling' cannot use this schema"),
        ({"schema": {"type": "object", "properties": {}}}, "title"),
        ({"schema": Joke, "tool_choice": "Poem"}, "'Poem' is none of the bound tools"),
    ],
)
def test_what_cannot_be_honoured_is_an_error_when_the_chain_is_made(arguments, text):
    with pytest.raises(ValueError, match=text):
        plan(**arguments)
