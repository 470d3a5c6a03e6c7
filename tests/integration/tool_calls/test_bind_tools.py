"""Tools, the choice among them and response formats in every notation, and names that the wire forbids."""

from __future__ import annotations

import json
import re
from functools import partial
from typing import Annotated, Generic, NotRequired, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import StructuredTool, Tool, tool
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from langchain_promptrun import ChatPromptrun
from tests.integration.messages.sending import Conversation, each, each_style, request_of

MODEL = ChatPromptrun(model="vendor/name", api_key="key")
STRING = {"type": "string"}
PARAMETERS = {"type": "object", "properties": {"city": STRING}, "required": ["city"]}
WEATHER = {"type": "function", "function": {"name": "weather", "description": "d", "parameters": PARAMETERS}}
CLOCK = {"type": "function", "function": {"name": "clock"}}
SERVER_TOOL = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}
BUILTIN_TOOL = {"type": "builtin_function", "function": {"name": "$web_search"}}
UNNAMED_TOOL = {"type": "code_interpreter", "container": {"type": "auto"}}
CUSTOM_TOOL = {"type": "custom", "custom": {"name": "shell", "format": {"type": "text"}}}
MCP = {"type": "mcp", "server_label": "a"}
CACHED = {"cache_control": {"type": "ephemeral"}}
NOTHING = {"type": "object", "properties": {}}
T = TypeVar("T")


def weather(city: str) -> str:
    """Say what the weather is.

    Args:
        city: where
    """
    return city


class Weather(BaseModel):
    """Say what the weather is."""

    city: str = Field(description="where")
    unit: str | None = None


class WeatherDict(TypedDict):
    """Say what the weather is."""

    city: Annotated[str, ..., "where"]


class Box(BaseModel, Generic[T]):
    """A box."""

    content: T


class Asked(TypedDict):
    text: str


def bind_arguments(tools, **options):
    return MODEL.bind_tools(tools, **options).kwargs


def wire_tools(tools, **options):
    return bind_arguments(tools, **options)["tools"]


def wire_tool_choice(choice, tools):
    return bind_arguments(tools, tool_choice=choice).get("tool_choice")


def wire_response_format(source, strict=None):
    return bind_arguments([], response_format=source, strict=strict)["response_format"]


def with_parameters(parameters, name="f"):
    return {"type": "function", "function": {"name": name, "description": "d", "parameters": parameters}}


class Tree(TypedDict):
    children: list[Tree]


class Half(TypedDict):
    size: NotRequired[int]


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        *[(PARAMETERS, "title"), ({"type": "object"}, "title"), (42, "Unsupported")],
        *[(Tree, "'Tree'.*refers to itself"), (Half, "'Half'.*NotRequired.*: use a pydantic class")],
        (partial(weather, "here"), "functools.partial.*: use a pydantic class or a LangChain tool"),
    ],
)
def test_bind_tools_and_structured_output_refuse_what_they_cannot_convert(source, problem):
    for bind in (
        lambda: wire_tools([source]),
        lambda: wire_response_format(source),
        *(partial(MODEL.with_structured_output, source, method=way) for way in ("function_calling", "json_schema")),
    ):
        with pytest.raises(ValueError, match=problem):
            bind()


NAMED = {"name": "weather", "description": "d"}
FLAT = {**NAMED, "parameters": PARAMETERS}
ANTHROPIC = {**NAMED, "input_schema": PARAMETERS}
SHELL = Tool("shell", str.upper, "Run it.", metadata={"type": "custom_tool"})
UNKNOWN = {**WEATHER, **CACHED, "x": 1, "function": {**WEATHER["function"], "y": 2}}


NOTATIONS = [
    FLAT,
    {"type": "function", **FLAT},
    ANTHROPIC,
    {"type": "custom", **ANTHROPIC},
    {**NAMED, "title": "Weather", "inputSchema": PARAMETERS, "outputSchema": {}},
    {"toolSpec": {**NAMED, "inputSchema": {"json": PARAMETERS}}},
]
AS_THEY_ARE = [
    *(WEATHER, CLOCK, SERVER_TOOL, UNNAMED_TOOL, CUSTOM_TOOL, BUILTIN_TOOL, UNKNOWN),
    *map(with_parameters, ({"$ref": "https://a.example/"}, {"type": "array"})),
]
UNIONS = [{union: [PARAMETERS]} for union in ("anyOf", "oneOf")]
TOOLS = [
    (WEATHER, {"title": "weather", "description": "d", **PARAMETERS}, *NOTATIONS),
    (WEATHER | CACHED, *(notation | CACHED for notation in NOTATIONS)),
    (CLOCK, {**CLOCK, "function": {**CLOCK["function"], "description": None, "parameters": None}}),
    ({**CUSTOM_TOOL, **CACHED}, {"type": "custom", "name": "shell", "format": {"type": "text"}, **CACHED}),
    ({"type": "custom", "custom": {"name": "shell", "description": "Run it."}}, SHELL),
    *((tool, tool) for tool in AS_THEY_ARE),
    *((with_parameters(union), {"title": "f", "description": "d", **union}) for union in UNIONS),
]
"""What stands on the wire, and the notations of it."""


@each("wire, source", TOOLS)
def test_bind_tools_converts_each_notation_and_accepts_what_it_sends(source, wire):
    assert wire_tools([source]) == wire_tools([wire]) == [wire]
    assert "function" in wire or wire_tools([source], strict=True) == [wire]


def test_bind_tools_copies_cache_control_from_the_extras_of_a_langchain_tool():
    cached = tool(extras={**CACHED, "defer_loading": True})(weather)
    [wire] = wire_tools([cached])
    assert wire.pop("cache_control") == CACHED["cache_control"]
    assert wire.keys() == {"type", "function"}


OF_PYTHON = [weather, Weather, WeatherDict, tool(weather, parse_docstring=True)]


@pytest.mark.parametrize("source", [*OF_PYTHON, WEATHER, WEATHER["function"], CLOCK, with_parameters(NOTHING)])
@pytest.mark.parametrize("strict", [None, False, True])
def test_bind_tools_converts_every_kind_of_function_and_writes_strict_into_it(source, strict):
    [wire] = wire_tools([source], strict=strict)
    function = wire["function"]
    parameters = function.get("parameters", NOTHING)
    assert (wire["type"], function.get("strict")) == ("function", strict)
    assert parameters.get("additionalProperties") is (False if strict else None)
    assert not strict or parameters["required"] == list(parameters["properties"])
    if source in OF_PYTHON:
        assert function["name"].lower().startswith("weather")
        assert function["description"].startswith("Say what the weather is.")
        assert parameters["properties"]["city"] == {"type": "string", "description": "where"}


def test_bind_tools_converts_a_runnable():
    shout = RunnableLambda(lambda asked: asked["text"].upper(), name="shout").with_types(input_type=Asked)
    [wire] = wire_tools([shout])
    assert (wire["function"]["name"], wire["function"]["parameters"]["properties"]) == ("shout", {"text": STRING})


def allowed(mode, *tools):
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": list(tools)}}


def allowed_flat(mode, *tools):
    return {"type": "allowed_tools", "mode": mode, "tools": list(tools)}


def named(name, kind="function"):
    return {"type": kind, kind: {"name": name}}


ALONE = {"disable_parallel_tool_use": True}
SHELL_CHOICE, INTERPRETER = named("shell", "custom"), {"type": "code_interpreter"}
TOOL_SHELL, FLAT_WEATHER = {"type": "tool", "name": "shell"}, {"type": "function", "name": "weather"}
CHOICES = [
    (None, None, False),
    ("auto", "auto", {"type": "auto"}, {"auto": {}}),
    ("none", "none"),
    ("required", True, "required", "any", {"type": "any"}, {"any": {}}, {"type": "any", **ALONE}),
    (named("weather"), "weather", named("weather"), FLAT_WEATHER, {"tool": {"name": "weather"}}),
    (named("weather"), {"type": "tool", "name": "weather"}, {"type": "tool", "name": "weather", **ALONE}),
    (SHELL_CHOICE, "shell", {"type": "custom", "name": "shell"}),
    (named("web_search"), "web_search"),
    (INTERPRETER, "code_interpreter"),
    ({"type": "web_search_preview"}, {"type": "web_search_preview"}),
    (allowed("auto", named("weather")), allowed_flat("auto", FLAT_WEATHER), allowed("auto", named("weather"))),
    (allowed("auto", named("weather"), SHELL_CHOICE), allowed("auto", "weather", TOOL_SHELL)),
    (allowed("required", MCP), allowed_flat("required", MCP)),
]
"""What stands on the wire, and the notations of it."""


@each("wire, choice", CHOICES)
def test_tool_choice_of_each_notation_becomes_the_wires(choice, wire):
    assert wire_tool_choice(choice, [WEATHER, CLOCK, CUSTOM_TOOL, SERVER_TOOL, UNNAMED_TOOL]) == wire


def test_tool_choice_true_is_the_only_tool():
    assert wire_tool_choice(True, [WEATHER]) == named("weather")
    assert wire_tool_choice(True, [UNNAMED_TOOL]) == INTERPRETER


UNKNOWN_NAME, NO_NOTATION = "'wether' names neither a bound tool ('weather', 'clock')", "no known notation"
UNKNOWN_CHOICES = [
    (UNKNOWN_NAME, "wether", {"type": "tool", "name": "wether"}, {"type": "function", "name": "wether"}),
    (UNKNOWN_NAME, named("wether"), named("wether", "custom"), {"tool": {"name": "wether"}}),
    (UNKNOWN_NAME, allowed("auto", "wether"), *(allow("auto", named("wether")) for allow in (allowed, allowed_flat))),
    ("None names neither a bound tool", {"type": "function", "function": "weather"}),
    ("['weather'] names neither a bound tool", {"type": "tool", "name": ["weather"]}),
    ("3 names neither a bound tool", allowed("auto", 3)),
    ("`tool_choice` {} is in no known notation", {}),
    (NO_NOTATION, {"auto": {}, "any": {}}, {"function_calling_config": {"mode": "ANY"}}, {"type": "auto", "odd": 1}),
    (NO_NOTATION, {"type": "tool", "tool": {"name": "weather"}}, {"type": "tool"}, {"tool": "weather"}),
    (NO_NOTATION, {"type": "allowed_tools", "mode": "auto"}, allowed("auto", {"name": "weather"})),
    ("must be a string, a bool or a dict, not int", 3),
]


@each("text, choice", UNKNOWN_CHOICES)
def test_tool_choice_that_names_nothing_raises_an_error_that_says_what_is_known(text, choice):
    with pytest.raises(TypeError if choice == 3 else ValueError, match=re.escape(text)):
        wire_tool_choice(choice, [WEATHER, CLOCK])


@pytest.mark.parametrize("choice", [None, True, "auto", "any", "none", "weather", named("weather")])
def test_bind_tools_without_tools_binds_only_other_keywords(choice):
    """As an agent's provider strategy without tools does."""
    kwargs = {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": PARAMETERS}}}
    kwargs |= {"temperature": 0, "stop": None}
    assert bind_arguments([], tool_choice=choice, parallel_tool_calls=False, **kwargs) == kwargs


def test_bind_tools_binds_tools_choice_strict_format_and_keywords_together():
    bound = bind_arguments([weather], tool_choice="any", strict=True, response_format=Weather, seed=1)
    assert bound["tools"][0]["function"]["strict"] is True
    assert bound["response_format"]["json_schema"]["strict"] is True
    assert (bound["tool_choice"], bound["seed"]) == ("required", 1)
    assert "strict" not in bound


ARRAY = {"title": "Cat joke", "$defs": {"J": PARAMETERS}, "type": "array", "items": {"$ref": "#/$defs/J"}}
SPEC = {"name": "weather", "description": "d", "schema": PARAMETERS}
WIRE_SPEC = {"type": "json_schema", "json_schema": SPEC}
UNKNOWN_KEYS = {"type": "json_schema", "json_schema": {"name": "n", "schema": PARAMETERS, "x": 1}, "y": 2}


FORMATS = [
    ({"type": "json_schema", "json_schema": {"name": "Cat_joke", "schema": ARRAY}}, ARRAY),
    ({"type": "json_schema", "json_schema": {"name": "clock", "schema": NOTHING}}, CLOCK),
    (WIRE_SPEC, SPEC, {"type": "json_schema", **SPEC}, WIRE_SPEC, WEATHER),
    *((kept, kept) for kept in (UNKNOWN_KEYS, {"type": "json_object"}, {"type": "text"}, {"type": "grammar", "g": ""})),
]


@each("wire, source", FORMATS)
def test_response_format_in_any_notation_becomes_the_wires_and_another_type_passes(source, wire):
    assert wire_response_format(source) == wire
    assert "json_schema" in wire or wire_response_format(source, strict=True) == wire


@pytest.mark.parametrize(
    ("source", "name"),
    [
        *((kind, kind.__name__) for kind in (Weather, WeatherDict)),
        *((Box[int], "Box_int_"), (weather, "weather"), ({"title": "t", **PARAMETERS}, "t")),
    ],
)
def test_response_format_is_made_of_every_kind_of_schema(source, name):
    spec = wire_response_format(source)["json_schema"]
    assert spec.keys() <= {"name", "description", "schema"}
    assert (spec["name"], spec["schema"]["type"]) == (name, "object")


def test_response_format_strict_that_contradicts_its_own_raises():
    with pytest.raises(ValueError, match="strict"):
        wire_response_format({"name": "n", "schema": PARAMETERS, "strict": False}, strict=True)


@pytest.mark.parametrize(
    "choice", [None, {"type": "auto"}, {"type": "any", **dict.fromkeys(ALONE, False)}, {"type": "auto", **ALONE}]
)
@pytest.mark.parametrize("said", [None, False, True])
def test_bind_tools_binds_parallel_tool_calls_only_when_said(choice, said):
    kwargs = bind_arguments([WEATHER], tool_choice=choice, parallel_tool_calls=said)
    assert kwargs.get("parallel_tool_calls") is (
        False if choice == {"type": "auto", **ALONE} and said is None else said
    )


ITEMS = {"items": {}}
ARRAY, LIST = {"type": ["array", "null"], "default": [{"type": "array"}]}, {"type": "array", **ITEMS}


@pytest.mark.parametrize(
    ("schema", "properties"),
    [
        *((schema, {}) for schema in ({"type": "object"}, {}, {"type": "object", "additionalProperties": False})),
        *(({"$schema": "x"}, {}), ({"type": "object", "properties": None}, {}), ({"properties": {"a": {}}}, {"a": {}})),
        ({"properties": {"a": {"anyOf": [ARRAY, {"type": "array"}]}}}, {"a": {"anyOf": [ARRAY | ITEMS, LIST]}}),
        ({"properties": {"a": LIST, "enum": {"items": ARRAY}}}, {"a": LIST, "enum": {"items": ARRAY | ITEMS}}),
    ],
)
@pytest.mark.parametrize(
    "made",
    [
        with_parameters,
        lambda schema: StructuredTool(name="now", description="d", args_schema=schema, func=dict),
        lambda schema: {"name": "now", "description": "d", "input_schema": schema},
    ],
)
def test_bind_tools_gives_parameters_without_type_properties_or_items_empty_ones(schema, properties, made):
    """As MCP servers describe tools without arguments, and arrays of anything."""
    [wire] = wire_tools([made(schema)])
    assert wire["function"]["parameters"] == {**NOTHING, **schema, "properties": properties}


def test_bind_tools_gives_a_tuple_of_a_class_items():
    def pair(pair: tuple[int, str]):
        """Take two."""

    assert wire_tools([pair])[0]["function"]["parameters"]["properties"]["pair"]["items"] == {}


LEGAL = re.compile(r"[A-Za-z0-9_-]{1,64}")
ILLEGAL = ["server.tool/v1", "y" + "x" * 64, "ünïcode", "with space", "a.b", "a/b"]


def names_sent(*names, **bound):
    body = request_of(HumanMessage("x"), bound={"tools": [with_parameters(NOTHING, name) for name in names], **bound})
    return [tool["function"]["name"] for tool in body["tools"]], body.get("tool_choice")


@each_style
@pytest.mark.parametrize("name", ILLEGAL)
def test_tool_name_that_is_illegal_is_legal_on_the_wire_and_itself_in_the_answer(style, name):
    [wire_name], _ = names_sent(name)
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": wire_name, "arguments": "{}"}}
    first, rest = wire_name[:3], wire_name[3:]
    pieces = [
        {"tool_calls": [{**call, "function": {"name": first, "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"name": rest, "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]},
    ]
    for deltas in (None, pieces):
        conversation = Conversation({"content": None, "tool_calls": [call]}, deltas, finish_reason="tool_calls")
        answer = conversation.ask(style, tools=[with_parameters(NOTHING, name), with_parameters(NOTHING, "other")])
        assert [(made["name"], made["id"]) for made in answer.tool_calls] == [(name, "c")]
        assert [block["name"] for block in answer.content_blocks if block["type"] == "tool_call"] == [name]
        turn = conversation.turn(answer, ToolMessage("!", tool_call_id="c", name=name))
        assert turn["tool_calls"][0]["function"]["name"] == wire_name
    assert LEGAL.fullmatch(wire_name)
    assert conversation.requests[0]["tools"][1]["function"]["name"] == "other"


@settings(max_examples=25)
@given(st.lists(st.text(min_size=1), min_size=1, max_size=5, unique=True))
def test_tool_names_on_the_wire_are_legal_stable_and_different(names):
    wire, _ = names_sent(*names)
    assert all(LEGAL.fullmatch(name) for name in wire)
    assert len(set(wire)) == len(names)
    assert [names_sent(name)[0][0] for name in names] == wire
    assert [ours for ours, name in zip(wire, names, strict=True) if LEGAL.fullmatch(name)] == [
        name for name in names if LEGAL.fullmatch(name)
    ]


@pytest.mark.parametrize(
    "choice",
    [
        "a.b",
        named("a.b"),
        {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [with_parameters(NOTHING, "a.b")]}},
        {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "a.b"}]},
    ],
)
def test_tool_choice_of_an_illegal_name_names_the_same_tool(choice):
    [name], sent_choice = names_sent("a.b", tool_choice=choice)
    assert name in json.dumps(sent_choice)
    assert '"a.b"' not in json.dumps(sent_choice)


def test_tool_name_that_another_tool_has_on_the_wire_is_refused():
    [taken], _ = names_sent("a.b")
    with pytest.raises(ValueError, match=f"'a.b' and '{taken}' would both be sent as '{taken}'"):
        names_sent("a.b", taken)


def test_tool_name_of_a_builtin_function_stays():
    tool = {"type": "builtin_function", "function": {"name": "$web_search"}}
    assert request_of(HumanMessage("x"), bound={"tools": [tool]})["tools"] == [tool]
