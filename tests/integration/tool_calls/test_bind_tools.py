from __future__ import annotations

import re
from typing import Annotated, Any, Generic, TypeVar

import pytest
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import StructuredTool, Tool, tool
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from langchain_promptrun import ChatPromptrun

MODEL = ChatPromptrun(model="vendor/name", api_key="key")
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"type": "function", "function": {"name": "weather", "description": "d", "parameters": PARAMETERS}}
CLOCK = {"type": "function", "function": {"name": "clock"}}
SERVER_TOOL = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}
BUILTIN_TOOL = {"type": "builtin_function", "function": {"name": "$web_search"}}
UNNAMED_TOOL = {"type": "code_interpreter", "container": {"type": "auto"}}
CUSTOM_TOOL = {"type": "custom", "custom": {"name": "shell", "format": {"type": "text"}}}
MCP = {"type": "mcp", "server_label": "a"}
CACHED = {"cache_control": {"type": "ephemeral"}}
CHOOSE_WEATHER = {"type": "function", "function": {"name": "weather"}}
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


class Node(BaseModel):
    """A tree."""

    value: int
    children: list[Node] = []


class Leg(BaseModel):
    """A leg of a trip."""

    city: str
    night: str | None = None


class Trip(BaseModel):
    """A trip."""

    first: Leg = Field(description="The first leg.")
    others: list[Leg]
    last: Leg | None = None


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


def only(tools: list[dict[str, Any]]) -> dict[str, Any]:
    assert len(tools) == 1
    return tools[0]


@pytest.mark.parametrize("source", [weather, Weather, WeatherDict, tool(weather, parse_docstring=True)])
def test_bind_tools_converts_functions_classes_and_langchain_tools(source):
    wire = only(wire_tools([source]))
    assert wire["type"] == "function"
    assert wire["function"]["name"].lower().startswith("weather")
    assert wire["function"]["description"].startswith("Say what the weather is.")
    assert wire["function"]["parameters"]["properties"]["city"] == {"type": "string", "description": "where"}
    assert "strict" not in wire["function"]


def test_bind_tools_converts_a_json_schema_with_a_title():
    wire = only(wire_tools([{"title": "weather", "description": "d", **PARAMETERS}]))
    assert wire == WEATHER


@pytest.mark.parametrize("source", [PARAMETERS, {"type": "object"}])
def test_bind_tools_refuses_a_json_schema_without_a_title(source):
    with pytest.raises(ValueError, match="title"):
        wire_tools([source])
    with pytest.raises(ValueError, match="title"):
        wire_response_format(source)


def test_bind_tools_converts_a_runnable():
    def shout(asked: dict[str, str]) -> str:
        return asked["text"].upper()

    wire = only(wire_tools([RunnableLambda(shout).with_types(input_type=Asked)]))
    assert wire["function"]["name"] == "shout"
    assert wire["function"]["parameters"]["properties"] == {"text": {"type": "string"}}


@pytest.mark.parametrize(
    "source",
    [
        {"name": "weather", "description": "d", "parameters": PARAMETERS},
        {"type": "function", "name": "weather", "description": "d", "parameters": PARAMETERS},
        {"name": "weather", "description": "d", "input_schema": PARAMETERS},
        {"type": "custom", "name": "weather", "description": "d", "input_schema": PARAMETERS},
        {"toolSpec": {"name": "weather", "description": "d", "inputSchema": {"json": PARAMETERS}}},
    ],
    ids=["function", "responses", "anthropic", "anthropic custom", "bedrock"],
)
def test_bind_tools_converts_dicts_in_other_notations_and_keeps_cache_control(source):
    assert wire_tools([source]) == [WEATHER]
    assert wire_tools([source | CACHED]) == [WEATHER | CACHED]


def test_bind_tools_keeps_unknown_keys_of_a_wire_tool():
    source = {**WEATHER, **CACHED, "x": 1, "function": {**WEATHER["function"], "y": 2}}
    assert wire_tools([source]) == [source]


@pytest.mark.parametrize("source", [SERVER_TOOL, UNNAMED_TOOL, CUSTOM_TOOL, BUILTIN_TOOL])
def test_bind_tools_passes_a_tool_of_another_type_unchanged(source):
    assert wire_tools([source]) == [source]
    assert wire_tools([source], strict=True) == [source]


def test_bind_tools_copies_cache_control_from_the_extras_of_a_langchain_tool():
    cached = tool(extras={**CACHED, "defer_loading": True})(weather)
    wire = only(wire_tools([cached]))
    assert wire.pop("cache_control") == CACHED["cache_control"]
    assert wire.keys() == {"type", "function"}


@pytest.mark.parametrize("source", [weather, Weather, WeatherDict, tool(weather), WEATHER, WEATHER["function"]])
def test_bind_tools_writes_strict_into_every_kind_of_function(source):
    function = only(wire_tools([source], strict=True))["function"]
    assert function["strict"] is True
    assert function["parameters"]["additionalProperties"] is False
    assert function["parameters"]["required"] == list(function["parameters"]["properties"])
    lax = only(wire_tools([source], strict=False))["function"]
    assert lax["strict"] is False
    assert "additionalProperties" not in lax["parameters"]


def test_bind_tools_converts_a_tool_of_free_text_to_a_custom_tool():
    shell = Tool("shell", str.upper, "Run it.", metadata={"type": "custom_tool"})
    assert wire_tools([shell], strict=True) == [
        {"type": "custom", "custom": {"name": "shell", "description": "Run it."}}
    ]


def test_bind_tools_leaves_the_callers_dict_alone():
    source = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    wire_tools([source], strict=True)
    assert source["function"] == {"name": "f", "parameters": {"type": "object", "properties": {}}}


def test_bind_tools_gives_a_strict_function_without_parameters_a_closed_object():
    function = only(wire_tools([CLOCK], strict=True))["function"]
    assert function["parameters"] == {"type": "object", "properties": {}, "required": [], "additionalProperties": False}


def test_bind_tools_refuses_what_is_no_tool():
    with pytest.raises(ValueError, match="Unsupported function"):
        wire_tools([42])


@pytest.mark.parametrize(
    ("choice", "wire"),
    [
        (None, None),
        (False, None),
        (True, "required"),
        ("auto", "auto"),
        ("none", "none"),
        ("required", "required"),
        ("any", "required"),
        ("weather", CHOOSE_WEATHER),
        ("shell", {"type": "custom", "custom": {"name": "shell"}}),
        ("web_search", {"type": "function", "function": {"name": "web_search"}}),
        ("code_interpreter", {"type": "code_interpreter"}),
        (CHOOSE_WEATHER, CHOOSE_WEATHER),
        ({"type": "function", "name": "weather"}, CHOOSE_WEATHER),
        ({"type": "tool", "name": "weather"}, CHOOSE_WEATHER),
        ({"type": "any"}, "required"),
        ({"type": "any", "disable_parallel_tool_use": False}, "required"),
        ({"type": "tool", "name": "weather", "disable_parallel_tool_use": True}, CHOOSE_WEATHER),
        ({"any": {}}, "required"),
        ({"auto": {}}, "auto"),
        ({"tool": {"name": "weather"}}, CHOOSE_WEATHER),
        ({"type": "custom", "name": "shell"}, {"type": "custom", "custom": {"name": "shell"}}),
        ({"type": "auto"}, "auto"),
        ({"type": "web_search_preview"}, {"type": "web_search_preview"}),
        (
            {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "weather"}]},
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [CHOOSE_WEATHER]}},
        ),
        (
            {"type": "allowed_tools", "mode": "required", "tools": [MCP]},
            {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [MCP]}},
        ),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [CHOOSE_WEATHER]}},
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [CHOOSE_WEATHER]}},
        ),
    ],
)
def test_tool_choice_of_each_notation_becomes_the_wires(choice, wire):
    tools = [WEATHER, CLOCK, CUSTOM_TOOL, SERVER_TOOL, UNNAMED_TOOL]
    assert wire_tool_choice(choice, tools) == wire


@pytest.mark.parametrize(
    ("tools", "wire"),
    [([WEATHER], CHOOSE_WEATHER), ([WEATHER, CLOCK], "required"), ([UNNAMED_TOOL], {"type": "code_interpreter"})],
)
def test_tool_choice_true_is_the_only_tool_or_some_tool(tools, wire):
    assert wire_tool_choice(True, tools) == wire


@pytest.mark.parametrize(
    "choice",
    [
        "wether",
        {"type": "tool", "name": "wether"},
        {"type": "function", "name": "wether"},
        {"type": "function", "function": {"name": "wether"}},
        {"tool": {"name": "wether"}},
        {"type": "custom", "custom": {"name": "wether"}},
    ],
)
def test_tool_choice_of_an_unknown_name_raises_an_error_that_names_both(choice):
    with pytest.raises(ValueError, match=re.escape("'wether' names neither a bound tool ('weather', 'clock')")):
        wire_tool_choice(choice, [WEATHER, CLOCK])


def test_tool_choice_of_a_function_without_a_name_raises():
    with pytest.raises(ValueError, match="None names neither a bound tool"):
        wire_tool_choice({"type": "function", "function": "weather"}, [WEATHER])


def test_tool_choice_of_another_type_raises():
    with pytest.raises(TypeError, match="must be a string, a bool or a dict, not int"):
        wire_tool_choice(3, [WEATHER])


@pytest.mark.parametrize("choice", [None, True, "auto", "any", "none", "weather", CHOOSE_WEATHER])
def test_bind_tools_without_tools_binds_only_other_keywords(choice):
    bound = bind_arguments([], tool_choice=choice, parallel_tool_calls=False, temperature=0, stop=None)
    assert bound == {"temperature": 0, "stop": None}


def test_bind_tools_without_tools_binds_a_response_format():
    """As an agent's provider strategy without tools does."""
    given_format = {"type": "json_schema", "json_schema": {"name": "n", "schema": PARAMETERS}}
    assert bind_arguments([], response_format=given_format) == {"response_format": given_format}


def test_bind_tools_binds_parallel_tool_calls_only_when_said():
    assert bind_arguments([WEATHER]) == {"tools": [WEATHER]}
    bound = bind_arguments([WEATHER], parallel_tool_calls=False)
    assert bound == {"tools": [WEATHER], "parallel_tool_calls": False}


def test_bind_tools_binds_tools_choice_strict_format_and_keywords_together():
    bound = bind_arguments([weather], tool_choice="any", strict=True, response_format=Weather, seed=1)
    assert bound["tools"][0]["function"]["strict"] is True
    assert bound["response_format"]["json_schema"]["strict"] is True
    assert (bound["tool_choice"], bound["seed"]) == ("required", 1)
    assert "strict" not in bound


@pytest.mark.parametrize(
    ("source", "name"), [(Weather, "Weather"), (WeatherDict, "WeatherDict"), (WEATHER, "weather"), (weather, "weather")]
)
def test_response_format_is_made_of_every_kind_of_schema(source, name):
    wire = wire_response_format(source)
    assert wire["type"] == "json_schema"
    assert wire["json_schema"]["name"] == name
    assert wire["json_schema"]["schema"]["properties"]["city"]["type"] == "string"
    assert "parameters" not in wire["json_schema"]
    assert "strict" not in wire["json_schema"]


def test_response_format_holds_a_json_schema_whole():
    schema = {"title": "Cat joke", "$defs": {"J": PARAMETERS}, "type": "array", "items": {"$ref": "#/$defs/J"}}
    wire = wire_response_format(schema)
    assert wire == {"type": "json_schema", "json_schema": {"name": "Cat_joke", "schema": schema}}


def test_response_format_of_a_function_without_parameters_is_an_empty_object():
    wire = wire_response_format(CLOCK)
    assert wire["json_schema"] == {"name": "clock", "schema": {"type": "object", "properties": {}}}


@pytest.mark.parametrize(
    "source",
    [
        {"name": "weather", "description": "d", "schema": PARAMETERS},
        {"type": "json_schema", "name": "weather", "description": "d", "schema": PARAMETERS},
        {"type": "json_schema", "json_schema": {"name": "weather", "description": "d", "schema": PARAMETERS}},
        WEATHER,
    ],
    ids=["inner", "responses", "wire", "function"],
)
def test_response_format_in_another_notation_becomes_the_wires(source):
    spec = {"name": "weather", "description": "d", "schema": PARAMETERS}
    assert wire_response_format(source) == {"type": "json_schema", "json_schema": spec}


@pytest.mark.parametrize("source", [{"type": "json_object"}, {"type": "text"}, {"type": "grammar", "grammar": "g"}])
def test_response_format_of_another_type_passes_unchanged(source):
    assert wire_response_format(source, strict=True) == source


def test_response_format_keeps_unknown_keys():
    source = {"type": "json_schema", "json_schema": {"name": "n", "schema": PARAMETERS, "x": 1}, "y": 2}
    assert wire_response_format(source) == source


@pytest.mark.parametrize(
    "source", [Weather, Node, WeatherDict, {"title": "t", **PARAMETERS}, {"name": "n", "schema": PARAMETERS}]
)
def test_response_format_strict_closes_its_schema(source):
    spec = wire_response_format(source, strict=True)["json_schema"]
    assert spec["strict"] is True
    assert '"additionalProperties": False' in str(spec["schema"]).replace("'", '"')
    assert wire_response_format(source, strict=False)["json_schema"]["strict"] is False
    assert "additionalProperties" not in PARAMETERS


def test_response_format_that_says_itself_that_it_is_strict_is_closed_too():
    """As `ProviderStrategy(..., strict=True)` of LangChain's agents writes it."""
    source = {"type": "json_schema", "json_schema": {"name": "weather", "strict": True, "schema": PARAMETERS}}
    spec = wire_response_format(source)["json_schema"]
    assert (spec["strict"], spec["schema"]["additionalProperties"]) == (True, False)
    assert spec["schema"]["required"] == list(PARAMETERS["properties"])
    assert "additionalProperties" not in PARAMETERS


def test_response_format_strict_that_contradicts_its_own_raises():
    with pytest.raises(ValueError, match="strict"):
        wire_response_format({"name": "n", "schema": PARAMETERS, "strict": False}, strict=True)


def test_response_format_name_of_a_generic_class_becomes_legal():
    assert wire_response_format(Box[int])["json_schema"]["name"] == "Box_int_"


@pytest.mark.parametrize(
    "choice",
    [
        {},
        {"auto": {}, "any": {}},
        {"function_calling_config": {"mode": "ANY"}},
        {"type": "auto", "odd": 1},
        {"type": "allowed_tools", "mode": "auto"},
        {"type": "tool"},
        {"tool": "weather"},
    ],
)
def test_tool_choice_in_no_known_notation_raises_and_says_what_is_known(choice):
    with pytest.raises(ValueError, match="tool_choice"):
        wire_tool_choice(choice, [WEATHER])


@pytest.mark.parametrize(("said", "bound"), [(None, False), (True, True)])
def test_tool_choice_of_anthropic_says_whether_tools_are_called_in_parallel(said, bound):
    choice = {"type": "auto", "disable_parallel_tool_use": True}
    assert bind_arguments([WEATHER], tool_choice=choice, parallel_tool_calls=said)["parallel_tool_calls"] is bound
    assert "parallel_tool_calls" not in bind_arguments([WEATHER], tool_choice={"type": "auto"})


@pytest.mark.parametrize("union", ["anyOf", "oneOf"])
def test_bind_tools_keeps_a_json_schema_that_is_a_union(union):
    schema = {"title": "f", "description": "d", union: [PARAMETERS]}
    assert only(wire_tools([schema]))["function"] == {
        "name": "f",
        "description": "d",
        "parameters": {union: [PARAMETERS]},
    }


@pytest.mark.parametrize("schema", [{"type": "object"}, {}, {"type": "object", "additionalProperties": False}])
@pytest.mark.parametrize("made", ["tool", "dict", "anthropic"])
def test_bind_tools_gives_parameters_without_properties_empty_ones(schema, made):
    """As MCP servers describe tools without arguments."""
    source: Any = {"type": "function", "function": {"name": "now", "description": "d", "parameters": schema}}
    if made == "tool":
        source = StructuredTool(name="now", description="d", args_schema=schema, func=dict)
    if made == "anthropic":
        source = {"name": "now", "description": "d", "input_schema": schema}
    assert only(wire_tools([source]))["function"]["parameters"] == {"type": "object", "properties": {}, **schema}


def test_bind_tools_nests_a_custom_tool_that_is_written_flat():
    """As OpenAI's Responses API writes it."""
    flat = {"type": "custom", "name": "shell", "format": {"type": "text"}, **CACHED}
    assert wire_tools([flat]) == [{**CUSTOM_TOOL, **CACHED}]


@pytest.mark.parametrize("source", [WEATHER, CUSTOM_TOOL, BUILTIN_TOOL, SERVER_TOOL, UNNAMED_TOOL, CLOCK])
def test_bind_tools_accepts_what_it_sends(source):
    assert wire_tools(wire_tools([source])) == [source]
