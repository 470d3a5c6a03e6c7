from __future__ import annotations

import json
import re
from typing import Annotated, Any, Generic, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import Tool, tool
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from langchain_promptrun._tools.tools import (
    bind_arguments,
    legal_name,
    wire_response_format,
    wire_tool_choice,
    wire_tools,
)

PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"type": "function", "function": {"name": "weather", "description": "d", "parameters": PARAMETERS}}
CLOCK = {"type": "function", "function": {"name": "clock"}}
SERVER_TOOL = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}
UNNAMED_TOOL = {"type": "code_interpreter", "container": {"type": "auto"}}
CUSTOM_TOOL = {"type": "custom", "custom": {"name": "shell", "format": {"type": "text"}}}
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


def only(tools: list[dict[str, Any]]) -> dict[str, Any]:
    assert len(tools) == 1
    return tools[0]


@pytest.mark.parametrize("source", [weather, Weather, WeatherDict, tool(weather, parse_docstring=True)])
def test_functions_classes_and_langchain_tools_become_functions_with_parameters(source):
    wire = only(wire_tools([source]))
    assert wire["type"] == "function"
    assert wire["function"]["name"].lower().startswith("weather")
    assert wire["function"]["description"].startswith("Say what the weather is.")
    assert wire["function"]["parameters"]["properties"]["city"] == {"type": "string", "description": "where"}
    assert "strict" not in wire["function"]


def test_a_json_schema_with_a_title_becomes_a_function():
    wire = only(wire_tools([{"title": "weather", "description": "d", **PARAMETERS}]))
    assert wire == WEATHER


@pytest.mark.parametrize("source", [PARAMETERS, {"type": "object"}])
def test_a_json_schema_without_a_title_is_an_error_that_says_so(source):
    with pytest.raises(ValueError, match="title"):
        wire_tools([source])
    with pytest.raises(ValueError, match="title"):
        wire_response_format(source)


def test_a_runnable_becomes_a_function_of_its_input():
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
def test_dicts_in_other_notations_become_functions_and_keep_cache_control(source):
    assert wire_tools([source]) == [WEATHER]
    assert wire_tools([source | CACHED]) == [WEATHER | CACHED]


def test_a_dict_in_the_wires_notation_keeps_keys_that_we_do_not_know():
    source = {**WEATHER, **CACHED, "x": 1, "function": {**WEATHER["function"], "y": 2}}
    assert wire_tools([source]) == [source]


@pytest.mark.parametrize("source", [SERVER_TOOL, UNNAMED_TOOL, CUSTOM_TOOL])
def test_a_dict_whose_type_is_no_function_passes_unchanged_also_with_strict(source):
    assert wire_tools([source]) == [source]
    assert wire_tools([source], strict=True) == [source]


def test_cache_control_in_the_extras_of_a_langchain_tool_is_copied_and_other_extras_are_not():
    cached = tool(extras={**CACHED, "defer_loading": True})(weather)
    wire = only(wire_tools([cached]))
    assert wire.pop("cache_control") == CACHED["cache_control"]
    assert wire.keys() == {"type", "function"}


@pytest.mark.parametrize("source", [weather, Weather, WeatherDict, tool(weather), WEATHER, WEATHER["function"]])
def test_strict_is_written_into_every_kind_of_function_and_closes_its_parameters(source):
    function = only(wire_tools([source], strict=True))["function"]
    assert function["strict"] is True
    assert function["parameters"]["additionalProperties"] is False
    assert function["parameters"]["required"] == list(function["parameters"]["properties"])
    lax = only(wire_tools([source], strict=False))["function"]
    assert lax["strict"] is False
    assert "additionalProperties" not in lax["parameters"]


def test_a_langchain_tool_that_takes_free_text_becomes_a_custom_tool():
    shell = Tool("shell", str.upper, "Run it.", metadata={"type": "custom_tool"})
    assert wire_tools([shell], strict=True) == [
        {"type": "custom", "custom": {"name": "shell", "description": "Run it."}}
    ]


def test_strict_leaves_the_callers_dict_alone():
    source = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    wire_tools([source], strict=True)
    assert source["function"] == {"name": "f", "parameters": {"type": "object", "properties": {}}}


def test_strict_gives_a_function_without_parameters_an_empty_closed_object():
    function = only(wire_tools([CLOCK], strict=True))["function"]
    assert function["parameters"] == {"type": "object", "properties": {}, "additionalProperties": False}


def test_a_strict_that_contradicts_the_tools_own_is_an_error():
    source = {"name": "f", "parameters": PARAMETERS, "strict": True}
    with pytest.raises(ValueError, match="strict"):
        wire_tools([source], strict=False)


def test_something_that_is_no_tool_is_an_error():
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
        ({"type": "auto"}, "auto"),
        ({"type": "web_search_preview"}, {"type": "web_search_preview"}),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [CHOOSE_WEATHER]}},
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [CHOOSE_WEATHER]}},
        ),
    ],
)
def test_each_notation_of_a_choice_maps_to_the_wires(choice, wire):
    tools = [WEATHER, CLOCK, CUSTOM_TOOL, SERVER_TOOL, UNNAMED_TOOL]
    assert wire_tool_choice(choice, tools) == wire


@pytest.mark.parametrize(
    ("tools", "wire"),
    [([WEATHER], CHOOSE_WEATHER), ([WEATHER, CLOCK], "required"), ([UNNAMED_TOOL], {"type": "code_interpreter"})],
)
def test_true_is_the_only_tool_or_some_tool(tools, wire):
    assert wire_tool_choice(True, tools) == wire


@pytest.mark.parametrize(
    "choice",
    [
        "wether",
        {"type": "tool", "name": "wether"},
        {"type": "function", "name": "wether"},
        {"type": "function", "function": {"name": "wether"}},
    ],
)
def test_an_unknown_name_is_an_error_that_names_the_choice_and_the_bound_tools(choice):
    with pytest.raises(ValueError, match=re.escape("'wether' is none of the bound tools ('weather', 'clock')")):
        wire_tool_choice(choice, [WEATHER, CLOCK])


def test_a_function_choice_without_a_name_is_an_error():
    with pytest.raises(ValueError, match="None is none of the bound tools"):
        wire_tool_choice({"type": "function", "function": "weather"}, [WEATHER])


def test_a_choice_of_another_type_is_an_error():
    with pytest.raises(TypeError, match="must be a string, a bool or a dict, not int"):
        wire_tool_choice(3, [WEATHER])


@pytest.mark.parametrize("choice", [None, True, "auto", "any", "none", "weather", CHOOSE_WEATHER])
def test_without_tools_nothing_of_tools_is_bound_and_every_other_keyword_is(choice):
    bound = bind_arguments([], tool_choice=choice, parallel_tool_calls=False, temperature=0, stop=None)
    assert bound == {"temperature": 0, "stop": None}


def test_without_tools_a_response_format_is_still_bound():
    """As an agent's provider strategy without tools does."""
    given_format = {"type": "json_schema", "json_schema": {"name": "n", "schema": PARAMETERS}}
    assert bind_arguments([], response_format=given_format) == {"response_format": given_format}


def test_parallel_tool_calls_is_bound_only_when_said_also_when_it_is_false():
    assert bind_arguments([WEATHER]) == {"tools": [WEATHER]}
    bound = bind_arguments([WEATHER], parallel_tool_calls=False)
    assert bound == {"tools": [WEATHER], "parallel_tool_calls": False}


def test_tools_choice_strict_format_and_other_keywords_are_bound_together():
    bound = bind_arguments([weather], tool_choice="any", strict=True, response_format=Weather, seed=1)
    assert bound["tools"][0]["function"]["strict"] is True
    assert bound["response_format"]["json_schema"]["strict"] is True
    assert (bound["tool_choice"], bound["seed"]) == ("required", 1)
    assert "strict" not in bound


@pytest.mark.parametrize(
    ("source", "name"), [(Weather, "Weather"), (WeatherDict, "WeatherDict"), (WEATHER, "weather"), (weather, "weather")]
)
def test_every_kind_of_schema_becomes_a_response_format(source, name):
    wire = wire_response_format(source)
    assert wire["type"] == "json_schema"
    assert wire["json_schema"]["name"] == name
    assert wire["json_schema"]["schema"]["properties"]["city"]["type"] == "string"
    assert "parameters" not in wire["json_schema"]
    assert "strict" not in wire["json_schema"]


def test_a_json_schema_goes_into_the_response_format_whole():
    schema = {"title": "Cat joke", "$defs": {"J": PARAMETERS}, "type": "array", "items": {"$ref": "#/$defs/J"}}
    wire = wire_response_format(schema)
    assert wire == {"type": "json_schema", "json_schema": {"name": "Cat_joke", "schema": schema}}


@pytest.mark.parametrize("strict", [None, False, True])
@pytest.mark.parametrize(
    "source", [Node, Node.model_json_schema(), {"name": "Node", "schema": Node.model_json_schema()}]
)
def test_a_recursive_schema_is_an_object_at_its_root_and_keeps_its_references(source, strict):
    spec = wire_response_format(source, strict=strict)["json_schema"]
    schema = spec["schema"]
    assert (spec["name"], schema["type"], "$ref" in schema) == ("Node", "object", False)
    assert schema["properties"] == schema["$defs"]["Node"]["properties"]
    assert '"$ref": "#/$defs/Node"' in json.dumps(schema["properties"])


def test_a_function_without_parameters_gives_an_empty_object():
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
def test_formats_in_other_notations_become_the_wires(source):
    spec = {"name": "weather", "description": "d", "schema": PARAMETERS}
    assert wire_response_format(source) == {"type": "json_schema", "json_schema": spec}


@pytest.mark.parametrize("source", [{"type": "json_object"}, {"type": "text"}, {"type": "grammar", "grammar": "g"}])
def test_a_format_of_another_type_passes_unchanged(source):
    assert wire_response_format(source, strict=True) == source


def test_a_format_keeps_keys_that_we_do_not_know():
    source = {"type": "json_schema", "json_schema": {"name": "n", "schema": PARAMETERS, "x": 1}, "y": 2}
    assert wire_response_format(source) == source


@pytest.mark.parametrize(
    "source", [Weather, Node, WeatherDict, {"title": "t", **PARAMETERS}, {"name": "n", "schema": PARAMETERS}]
)
def test_strict_is_written_into_a_format_and_closes_its_schema(source):
    spec = wire_response_format(source, strict=True)["json_schema"]
    assert spec["strict"] is True
    assert '"additionalProperties": False' in str(spec["schema"]).replace("'", '"')
    assert wire_response_format(source, strict=False)["json_schema"]["strict"] is False
    assert "additionalProperties" not in PARAMETERS


def test_a_format_that_says_itself_that_it_is_strict_is_closed_too():
    """As `ProviderStrategy(..., strict=True)` of LangChain's agents writes it."""
    source = {"type": "json_schema", "json_schema": {"name": "weather", "strict": True, "schema": PARAMETERS}}
    spec = wire_response_format(source)["json_schema"]
    assert (spec["strict"], spec["schema"]["additionalProperties"]) == (True, False)
    assert spec["schema"]["required"] == list(PARAMETERS["properties"])
    assert "additionalProperties" not in PARAMETERS


@pytest.mark.parametrize(
    "convert", [wire_response_format, lambda source, strict: only(wire_tools([source], strict=strict))]
)
def test_strict_leaves_no_reference_with_neighbours_and_no_null_default(convert):
    text = json.dumps(convert(Trip, strict=True))
    assert '"default": null' not in text
    assert not re.search(r'"\$ref": "[^"]*", "|, "\$ref"', text)
    assert '"description": "The first leg."' in text
    lax = wire_response_format(Trip)["json_schema"]["schema"]
    assert lax == Trip.model_json_schema()


def test_a_strict_that_contradicts_the_formats_own_is_an_error():
    with pytest.raises(ValueError, match="strict"):
        wire_response_format({"name": "n", "schema": PARAMETERS, "strict": False}, strict=True)


def test_the_name_of_a_generic_class_becomes_legal():
    assert wire_response_format(Box[int])["json_schema"]["name"] == "Box_int_"


@given(st.text())
def test_a_legal_name_is_what_the_wire_accepts_and_a_legal_one_stays(name):
    legal = legal_name(name)
    assert re.fullmatch(r"[A-Za-z0-9_-]{0,64}", legal)
    assert legal_name(legal) == legal
