"""What strict mode makes of schemas, for tools and for response formats alike.

OpenAI's guide "Structured Outputs", section "Supported schemas", says what strict mode takes.
"""

from __future__ import annotations

import copy
import enum
import json
from datetime import datetime
from typing import Annotated, Literal, Optional

import pytest
from jsonschema import Draft202012Validator
from langchain_core.tools import tool
from pydantic import BaseModel, ConfigDict, Field, RootModel

from langchain_promptrun import ChatPromptrun
from tests.integration.messages.sending import each

MODEL = ChatPromptrun(model="a/b", api_key="key")
LEG = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
CLOSED_LEG = {**LEG, "additionalProperties": False}
NODE = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node", "description": "the next"}}}
UNKNOWN = {"allOf", "oneOf", "not", "if", "discriminator", "default", "minLength", "uniqueItems", "examples"}


def as_tool(schema, **options):
    source = schema if isinstance(schema, type) else {"name": "f", "description": "d", "parameters": schema}
    bound = MODEL.bind_tools([source], strict=True, **options)
    function = bound.kwargs["tools"][0]["function"]
    assert function["strict"] is True
    return function["parameters"]


def as_format(schema):
    source = schema if isinstance(schema, type) else {"name": "f", "schema": schema}
    bound = MODEL.bind_tools([], response_format=source, strict=True)
    spec = bound.kwargs["response_format"]["json_schema"]
    assert spec["strict"] is True
    return spec["schema"]


both = pytest.mark.parametrize("strictly", [as_tool, as_format])


def holding(schema, **definitions):
    return {"type": "object", "properties": {"a": schema}, "$defs": definitions}


def schemas_in(value):
    yield value
    named = [inner for key in ("properties", "$defs") for inner in value.get(key, {}).values()]
    for inner in [*named, *value.get("anyOf", []), *([value["items"]] if "items" in value else [])]:
        yield from schemas_in(inner)


def check(schema):
    """What OpenAI refuses stands nowhere."""
    Draft202012Validator.check_schema(schema)
    assert schema["type"] == "object"
    for inner in schemas_in(schema):
        assert UNKNOWN.isdisjoint(inner)
        assert "$ref" not in inner or inner.keys() == {"$ref"}
        if inner.get("type") == "object":
            assert inner["additionalProperties"] is False
            assert inner["required"] == list(inner["properties"])


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    name: Annotated[str, Field(min_length=1)] = "Rex"


class Colour(enum.Enum):
    RED = "red"


class Leg(BaseModel):
    """A leg of a trip."""

    city: str
    night: str | None = None


class Everything(BaseModel):
    """What strict mode can be asked for."""

    pet: Annotated[Cat | Dog, Field(discriminator="kind")] = Field(description="The pet.")
    pets: list[Annotated[Cat | Dog, Field(discriminator="kind")]] = []
    either: int | str = 3
    colour: Colour = Colour.RED
    when: datetime
    link: Annotated[str, Field(json_schema_extra={"format": "uri"})] = "x"
    tags: set[str] = set()
    first: Leg = Field(description="The first leg.")
    last: Leg | None = None
    count: Annotated[int, Field(ge=1, le=9)] = 1


class Node(BaseModel):
    """A tree."""

    value: int
    children: list["Node"] = []


class Left(BaseModel):
    right: Optional["Right"] = None


class Right(BaseModel):
    left: Left | None = None


@both
@pytest.mark.parametrize("schema", [Cat, Dog, Leg, Everything, Node, Left])
def test_strict_schema_of_a_class_is_what_strict_mode_takes(strictly, schema):
    check(strictly(schema))
    check(strictly(schema.model_json_schema()))


@both
def test_strict_schema_keeps_what_strict_mode_knows(strictly):
    properties = strictly(Everything)["properties"]
    assert len(properties["pet"]["anyOf"]) == 2
    assert properties["pet"]["description"] == "The pet."
    assert properties["first"]["description"] == "The first leg."
    assert (properties["count"]["minimum"], properties["count"]["maximum"]) == (1, 9)
    assert properties["when"]["format"] == "date-time"
    assert properties["link"]["description"] == "(format: uri)"
    assert properties["tags"]["description"] == "(uniqueItems: True)"


def plant(root: Node) -> str:
    """Plant a tree."""
    return str(root)


class Garden:
    plant = staticmethod(plant)

    def sow(self, root: Node) -> str:
        """Sow a tree."""
        return str(root)


@pytest.mark.parametrize("strict", [None, False, True])
@pytest.mark.parametrize(
    ("source", "keys"),
    [
        *((node, {"value", "children"}) for node in (Node, Node.model_json_schema())),
        (Left, {"right"}),
        *((function, {"root"}) for function in (tool(plant), plant, Garden().plant, Garden().sow)),
    ],
)
def test_recursive_schema_of_a_class_or_a_function_is_kept_in_tools_and_formats(source, keys, strict):
    bound = MODEL.bind_tools([source], response_format=source, strict=strict).kwargs
    parameters = bound["tools"][0]["function"]["parameters"]
    for kept in (parameters, bound["response_format"]["json_schema"]["schema"]):
        assert (kept["type"], kept["properties"].keys()) == ("object", keys)
        assert '"$ref"' in json.dumps(kept["$defs"])


class OpenClass(BaseModel):
    model_config = ConfigDict(extra="allow")

    a: int = 1


class Scores(BaseModel):
    scores: dict[str, int]


class Deep(BaseModel):
    inner: list[Scores]


class Holder(BaseModel):
    anything: dict


LOST, ELSEWHERE = {"$ref": "#/$defs/Lost"}, {"$ref": "https://a.example/", "title": "A"}
ROOT = "an object at the root of a schema, not"
UNFIT = [
    ("scores", Scores, Deep),
    ("`inner[].scores`", Deep),
    ("anything", Holder),
    ("the schema", OpenClass),
    ("`a`", *map(holding, ({"type": "object"}, {"allOf": [LEG, LEG]}, {"type": "array", "prefixItems": [LEG]}))),
    ("`a`", *map(holding, ({"patternProperties": {"x": LEG}, "type": "object"}, {"not": LEG}, {"title": "A"}, True))),
    ("`a`", *map(holding, ({"type": "array"}, {"type": ["array", "null"]}))),
    ("`a[]`", *map(holding, ({"items": {"type": ["object", "null"]}}, {"type": "array", "items": {}}))),
    ("`a` refers to '#/$defs/Lost'", holding(LOST)),
    ("`a` refers to", holding(ELSEWHERE)),
    ("`a` has `oneOf` beside", holding({"oneOf": [LEG], "anyOf": [LEG]})),
    (ROOT, RootModel[list[int]], RootModel[Cat | Dog]),
    (f"{ROOT} 'a union'", {"anyOf": [LEG]}, {**LEG, "anyOf": [LEG]}),
    (f"{ROOT} 'array'", {"type": "array"}),
]


@both
@each("named, schema", UNFIT)
def test_strict_schema_that_strict_mode_cannot_take_raises_an_error_that_names_the_field(strictly, schema, named):
    with pytest.raises(ValueError, match="strict") as caught:
        strictly(schema)
    assert named in str(caught.value)


@both
@pytest.mark.parametrize("root", [{"$ref": "#/$defs/Leg"}, {"allOf": [{"$ref": "#/$defs/Leg"}]}])
def test_strict_schema_root_that_only_refers_becomes_its_definition(strictly, root):
    schema = {**root, "$defs": {"Leg": LEG}}
    before = copy.deepcopy(schema)
    assert strictly(schema) == {**CLOSED_LEG, "$defs": {"Leg": CLOSED_LEG}}
    assert schema == before


DESCRIBED = {"$ref": "#/$defs/Leg", "description": "d"}
INLINED = {**CLOSED_LEG, "description": "d"}
NUMBERS = {"type": "array", "items": {"type": "integer"}}
OBJECT = {"type": "object", "required": ["$ref", "default"], "additionalProperties": False}
AS_IT_IS = [
    {"$ref": "#/$defs/Leg"},
    {"$ref": "#"},
    {"anyOf": [{"$ref": "#"}], "description": "d"},
    {"const": {"$ref": "#/$defs/Leg", "default": None, "x": 1}},
    {"enum": [{"$ref": "x", "y": 2}]},
    {"anyOf": True},
]


@both
@pytest.mark.parametrize(
    ("part", "strict"),
    [
        *[(part, part) for part in AS_IT_IS],
        *[
            ({**kind, "nullable": True}, {"anyOf": [kind, {"type": "null"}]})
            for kind in ({"type": "string"}, {"$ref": "#/$defs/Leg"}, {"type": "string", "enum": ["x"]})
        ],
        (DESCRIBED, INLINED),
        ({"allOf": [{"$ref": "#/$defs/Leg"}], "description": "d"}, INLINED),
        ({"type": "array", "items": DESCRIBED}, {"type": "array", "items": INLINED}),
        ({"anyOf": [{"type": "null"}, DESCRIBED]}, {"anyOf": [{"type": "null"}, INLINED]}),
        (
            {**OBJECT, "properties": {"$ref": DESCRIBED, "default": DESCRIBED}},
            {**OBJECT, "properties": {"$ref": INLINED, "default": INLINED}},
        ),
        (
            {**NUMBERS, "contains": {"const": 3}, "minContains": 1},
            {**NUMBERS, "description": "(contains: {'const': 3}, minContains: 1)"},
        ),
        ({"$ref": "#", "description": "d"}, {"anyOf": [{"$ref": "#"}], "description": "d"}),
        ({"$ref": "#/$defs/a~1b~0c", "title": "t"}, {**CLOSED_LEG, "title": "t"}),
        *[
            ({"type": "string", "pattern": look}, {"type": "string", "description": f"(pattern: {look})"})
            for look in ("^(?!-).*$", "^(?=.*x)", "(?<=a)b", "(?<!a)b")
        ],
        ({"type": "string", "pattern": "^(?:a|b)$"}, {"type": "string", "pattern": "^(?:a|b)$"}),
    ],
)
def test_strict_schema_of_a_part_says_the_same_in_words_that_strict_mode_knows(strictly, part, strict):
    schema = holding(part, **dict.fromkeys(("Leg", "a/b~c"), LEG))
    before = copy.deepcopy(schema)
    closed = {**holding(strict, **dict.fromkeys(("Leg", "a/b~c"), CLOSED_LEG)), "required": ["a"]}
    assert strictly(schema) == {**closed, "additionalProperties": False}
    assert schema == before


@both
def test_strict_schema_described_reference_to_its_own_definition_ends_and_means_the_same(strictly):
    schema = holding({"$ref": "#/$defs/Node", "description": "first"}, Node=NODE)
    reworked = strictly(schema)
    alone = {"anyOf": [{"$ref": "#/$defs/Node"}], "description": "the next"}
    assert reworked["$defs"]["Node"]["properties"]["next"] == alone
    assert reworked["properties"]["a"]["properties"] == {"next": alone}
    assert Draft202012Validator(reworked).is_valid({"a": {"next": {"next": 5}}}) is False


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("said", [True, False, None])
@pytest.mark.parametrize(
    "notation",
    [
        lambda function: function,
        lambda function: {"type": "function", "function": function},
        lambda function: {"type": "function", **function},
        lambda function: {"name": "f", "input_schema": function["parameters"], "strict": function["strict"]},
    ],
)
def test_strict_of_a_raw_tool_wins_over_the_argument(own, said, notation):
    source = notation({"name": "f", "parameters": LEG, "strict": own})
    before = copy.deepcopy(source)
    bound = MODEL.bind_tools([source, Leg], strict=said)
    first, second = [wire["function"] for wire in bound.kwargs["tools"]]
    assert first == {"name": "f", "parameters": CLOSED_LEG if own else LEG, "strict": own}
    assert second.get("strict") is said
    assert source == before
