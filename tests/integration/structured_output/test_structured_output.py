from __future__ import annotations

import json
import pickle
import sys
from typing import Annotated, Any

import httpx
import pytest
from langchain_core import exceptions as core
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from pydantic import BaseModel, RootModel
from typing_extensions import TypedDict

from langchain_promptrun import ChatPromptrun, PromptrunRefusalError
from langchain_promptrun.testing import Reply

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


class Server:
    """Answers with the same text and tool calls each time, streamed in pieces of one character."""

    def __init__(self, text="", calls=(), finish_reason="stop", **extra):
        self.requests = []
        entries = [
            {"index": index, "id": str(index), "type": "function", "function": {"name": name, "arguments": args}}
            for index, (name, args) in enumerate(calls)
        ]
        message = {"role": "assistant", "content": text, **extra}
        self._whole = message | {"tool_calls": entries} if entries else message
        self._deltas = [extra, *[{"content": character} for character in text]]
        for entry in entries:
            function = entry["function"]
            self._deltas.append({"tool_calls": [entry | {"function": {"name": function["name"], "arguments": ""}}]})
            self._deltas += [
                {"tool_calls": [{"index": entry["index"], "function": {"arguments": character}}]}
                for character in function["arguments"]
            ]
        self._finish_reason = finish_reason

    def model(self, **fields):
        clients = {"http_client": httpx.Client(transport=httpx.MockTransport(self._answer))}
        clients["http_async_client"] = httpx.AsyncClient(transport=httpx.MockTransport(self._answer))
        return ChatPromptrun(model="a/b", api_key="key", max_retries=0, **clients, **fields)

    def _answer(self, request):
        body = json.loads(request.content)
        self.requests.append(body)
        ending = {"index": 0, "finish_reason": self._finish_reason}
        if not body.get("stream"):
            return httpx.Response(200, json={"choices": [{"message": self._whole, **ending}]})
        choices = [{"index": 0, "delta": delta} for delta in self._deltas] + [{"delta": {}, **ending}]
        lines = [f"data: {json.dumps({'choices': [choice]})}\n\n" for choice in choices]
        return httpx.Response(200, text="".join(lines), headers={"content-type": "text/event-stream"})


class Options(BaseCallbackHandler):
    """Keeps what core tells a tracer about the call."""

    def __init__(self):
        self.seen = []

    def on_chat_model_start(self, serialized, messages, *, options, **kwargs):
        self.seen.append(options)


def chain(server, *args, **kwargs):
    return server.model().with_structured_output(*args, **kwargs)


def bound(*args, **kwargs):
    """The keywords that are bound to the model."""
    return Server().model().with_structured_output(*args, **kwargs).first.kwargs


def answering(method: str, text: str = TEXT, **extra) -> Server:
    """Return a server that gives the text where the method expects the object."""
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


def expected(schema: Any) -> Any:
    return schema(**PARSED) if schema in (Joke, JokeV1) else PARSED


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("schema", SCHEMAS, ids=["pydantic", "v1", "typeddict", "schema"])
async def test_structured_output_gives_the_object_for_every_method_schema_and_style(method, schema):
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
async def test_structured_output_with_raw_gives_message_object_and_no_error(method):
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


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("refused", REFUSED.values(), ids=REFUSED)
async def test_structured_output_refusal_is_raised_with_the_message_or_is_the_parsing_error(method, refused):
    error = await raises_in_every_style(PromptrunRefusalError, chain(refused(method), Joke, method=method))
    assert isinstance(error, getattr(core, "ModelRefusalError", core.ModelError))
    assert isinstance(error.raw_message, AIMessage)
    assert str(error) == "No." or "It was withheld (finish_reason " in str(error)
    result = chain(refused(method), Joke, method=method, include_raw=True).invoke("x")
    assert isinstance(result["parsing_error"], PromptrunRefusalError)


@pytest.mark.parametrize("method", METHODS)
def test_structured_output_that_is_whole_is_returned_though_it_was_filtered(method):
    assert chain(answering(method, finish_reason="content_filter"), Joke, method=method).invoke("x") == Joke(**PARSED)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("include_raw", [False, True])
def test_structured_output_chain_survives_pickling(promptrun_server, method, include_raw):
    tool_calls = [{"name": "Joke", "args": PARSED}] if method == "function_calling" else []
    promptrun_server.queue(Reply("" if tool_calls else TEXT, tool_calls=tool_calls))
    model = ChatPromptrun(model="a/b", base_url=promptrun_server.base_url, api_key=promptrun_server.api_key)
    structured = model.with_structured_output(Joke, method=method, include_raw=include_raw)
    result = pickle.loads(pickle.dumps(structured)).invoke("x")
    assert (result["parsed"] if include_raw else result) == Joke(**PARSED)


TOOLS = {"tools": [convert_to_openai_tool(Joke)]}
FORCED = {"type": "function", "function": {"name": "Joke"}}
FORMAT = {"type": "json_schema", "json_schema": {"name": "Joke", "schema": SCHEMA}}
JSON = {"response_format": {"type": "json_object"}}


@pytest.mark.parametrize(
    ("arguments", "wire"),
    [
        ({"schema": Joke, "temperature": 0}, {**TOOLS, "tool_choice": FORCED, "temperature": 0}),
        ({"schema": Joke, "tool_choice": "auto"}, {**TOOLS, "tool_choice": "auto"}),
        ({"schema": Joke, "tool_choice": "any"}, {**TOOLS, "tool_choice": "required"}),
        ({"schema": Joke, "tool_choice": False}, TOOLS),
        ({"schema": SCHEMA, "method": "json_schema", "seed": 0}, {"response_format": FORMAT, "seed": 0}),
        ({"schema": None, "method": "json_mode"}, JSON),
        ({"schema": Joke, "method": "json_mode"}, JSON),
        ({"schema": SCHEMA, "method": "json_mode"}, JSON),
    ],
)
def test_structured_output_binds_a_tool_or_a_format(arguments, wire):
    kwargs = bound(**arguments)
    told = {"method": arguments.get("method", "function_calling"), "strict": None}
    assert kwargs.pop("ls_structured_output_format")["kwargs"] == told
    assert kwargs == wire


def test_structured_output_without_the_call_raises_when_the_choice_was_auto():
    with pytest.raises(OutputParserException, match="answered in text instead of a call of 'Joke'"):
        chain(Server(text="Hi"), Joke, tool_choice="auto").invoke("x")


def test_structured_output_title_becomes_a_legal_name_and_its_call_is_found():
    schema = {**SCHEMA, "title": "A joke!"}
    server = Server(calls=[("A_joke_", TEXT)])
    assert chain(server, schema).invoke("x") == PARSED
    assert server.requests[0]["tools"][0]["function"]["name"] == "A_joke_"
    assert server.requests[0]["tool_choice"]["function"]["name"] == "A_joke_"
    assert schema["title"] == "A joke!"


def test_structured_output_by_json_mode_without_a_schema_gives_any_object():
    assert chain(Server(text='{"any": 1}'), method="json_mode").invoke("x") == {"any": 1}
    with pytest.raises(OutputParserException, match="no object"):
        chain(Server(text="[]"), method="json_mode").invoke("x")


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
def test_structured_output_of_a_schema_without_an_object_at_its_root_gives_what_it_describes(schema, method, text):
    assert chain(Server(text=text), schema, method=method).invoke("x") in ([PARSED], 3, "a")


@pytest.mark.parametrize("method", ["json_schema", "json_mode"])
def test_structured_output_of_a_class_whose_root_is_a_list_is_built_from_one(method):
    assert chain(Server(text=f"[{TEXT}]"), Jokes, method=method).invoke("x") == Jokes([Joke(**PARSED)])


@pytest.mark.parametrize("strict", [True, False])
def test_structured_output_strict_reaches_the_wire_with_both_methods_that_send_a_schema(strict):
    assert bound(Joke, strict=strict)["tools"][0]["function"]["strict"] is strict
    arguments = bound(Joke, method="json_schema", strict=strict)
    assert arguments["response_format"]["json_schema"]["strict"] is strict
    assert arguments["ls_structured_output_format"]["kwargs"] == {"method": "json_schema", "strict": strict}


@pytest.mark.parametrize("method", ["json_schema", "json_mode"])
def test_structured_output_with_tools_gives_none_for_their_call_with_raw(method):
    options = {"method": method, "tools": [search], "tool_choice": "auto", "include_raw": True}
    server = Server(calls=[("search", '{"query": "q"}')])
    result = chain(server, Joke, **options).invoke("x")
    assert (result["parsed"], result["parsing_error"]) == (None, None)
    assert result["raw"].tool_calls[0]["name"] == "search"
    assert server.requests[0]["tools"][0]["function"]["name"] == "search"
    assert server.requests[0]["tool_choice"] == "auto"
    assert chain(Server(text=TEXT), Joke, **options).invoke("x")["parsed"] == Joke(**PARSED)


def test_structured_output_with_tools_raises_for_their_call_without_raw():
    with pytest.raises(OutputParserException, match="called 'search' instead of JSON"):
        chain(Server(calls=[("search", "{}")]), Joke, method="json_schema", tools=[search]).invoke("x")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("schema", SCHEMAS, ids=["pydantic", "v1", "typeddict", "schema"])
def test_structured_output_shows_its_schema_in_traces(method, schema):
    server, options = answering(method), Options()
    chain(server, schema, method=method).invoke("x", config={"callbacks": [options]})
    traced = options.seen[0]["ls_structured_output_format"]
    assert traced == {"kwargs": {"method": method, "strict": None}, "schema": convert_to_json_schema(schema)}
    expected_keys = {"tools", "tool_choice"} if method == "function_calling" else {"response_format"}
    assert server.requests[0].keys() == {"model", "messages", *expected_keys}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            {"schema": Joke, "method": "tool_calling"},
            "`method` must be one of 'function_calling', 'json_schema', 'json_mode', not 'tool_calling'",
        ),
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
        bound(**arguments)
