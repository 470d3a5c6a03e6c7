"""_schema_refs: what becomes of references in JSON Schemas."""

import copy
import json

import pytest
from jsonschema import Draft202012Validator

from langchain_promptrun._tools.strict_schemas import standing_alone, with_root

LEG = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
NODE = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node", "description": "the next"}}}


def holding(schema, **definitions):
    return {"type": "object", "properties": {"a": schema}, "$defs": definitions}


@pytest.mark.parametrize("root", [{"$ref": "#/$defs/Node"}, {"allOf": [{"$ref": "#/$defs/Node"}]}])
def test_a_root_that_only_refers_becomes_its_definition_and_keeps_the_others(root):
    schema = {**root, "$defs": {"Node": NODE, "Leg": LEG}}
    before = copy.deepcopy(schema)
    assert with_root(schema) == {**NODE, "$defs": {"Node": NODE, "Leg": LEG}}
    assert schema == before


@pytest.mark.parametrize(
    "schema",
    [
        holding({"$ref": "#/$defs/Leg"}, Leg=LEG),
        {"allOf": [LEG]},
        {"$ref": "https://a.example/leg.json"},
        {"$ref": "#/$defs/Lost"},
        {"$ref": "#/title/Lost", "title": "t"},
        {},
    ],
)
def test_another_root_stays(schema):
    assert with_root(schema) == schema


def test_a_reference_with_neighbours_becomes_a_copy_of_its_definition():
    described = {"$ref": "#/$defs/Leg", "description": "the first"}
    schema = holding(described, Leg=LEG)
    before = copy.deepcopy(schema)
    assert standing_alone(schema) == holding({**LEG, "description": "the first"}, Leg=LEG)
    assert schema == before


@pytest.mark.parametrize(
    "place",
    [
        lambda leg: {"items": leg},
        lambda leg: {"anyOf": [{"type": "null"}, leg]},
        lambda leg: {"prefixItems": [leg]},
        lambda leg: {"additionalProperties": leg},
        lambda leg: {"properties": {"x": {"properties": {"$ref": leg, "default": leg}}}},
        lambda leg: {"definitions": {"L": leg}},
    ],
)
def test_references_are_found_wherever_schemas_stand(place):
    described = {"$ref": "#/$defs/Leg", "description": "d"}
    assert standing_alone(holding(place(described), Leg=LEG)) == holding(place({**LEG, "description": "d"}), Leg=LEG)


@pytest.mark.parametrize("value", [{"$ref": "#/$defs/Leg", "default": None, "x": 1}, [{"$ref": "x", "y": 2}]])
@pytest.mark.parametrize("keyword", ["const", "default", "examples", "enum"])
def test_data_in_a_schema_is_no_schema(keyword, value):
    schema = holding({keyword: value}, Leg=LEG)
    assert standing_alone(schema) == schema


@pytest.mark.parametrize(
    "part",
    [
        True,
        {"$ref": "#/$defs/Leg"},
        {"$ref": "#/$defs/Lost", "description": "d"},
        {"$ref": "https://a.example/", "description": "d"},
        {"type": "object", "additionalProperties": False},
        {"allOf": [LEG, {"$ref": "#/$defs/Leg"}]},
        {"allOf": True},
        {"properties": 5},
    ],
)
def test_all_else_stays(part):
    schema = holding(part, Leg=LEG)
    assert standing_alone(schema) == schema


def test_a_default_of_null_goes_and_others_stay():
    properties = {"a": {"type": "string", "default": None}, "b": {"default": 0}, "c": {"$ref": "#/x", "default": None}}
    kept = {"a": {"type": "string"}, "b": {"default": 0}, "c": {"$ref": "#/x"}}
    assert standing_alone({"properties": properties}) == {"properties": kept}


def test_a_wrapped_reference_with_neighbours_is_one_too():
    """As pydantic before 2.9 writes it."""
    schema = holding({"allOf": [{"$ref": "#/$defs/Leg"}], "description": "d"}, Leg=LEG)
    assert standing_alone(schema) == holding({**LEG, "description": "d"}, Leg=LEG)


def test_escaped_names_are_found():
    schema = holding({"$ref": "#/$defs/a~1b~0c", "title": "t"}, **{"a/b~c": LEG})
    assert standing_alone(schema)["properties"]["a"] == {**LEG, "title": "t"}


def test_a_described_reference_to_its_own_definition_ends_and_means_the_same():
    schema = holding({"$ref": "#/$defs/Node", "description": "first"}, Node=NODE)
    reworked = standing_alone(schema)
    alone = {"anyOf": [{"$ref": "#/$defs/Node"}], "description": "the next"}
    assert reworked["$defs"]["Node"]["properties"]["next"] == alone
    assert reworked["properties"]["a"] == {"type": "object", "description": "first", "properties": {"next": alone}}
    for document, valid in [({"a": {"next": {"next": {}}}}, True), ({"a": {"next": {"next": 5}}}, False)]:
        assert [Draft202012Validator(each).is_valid(document) for each in (schema, reworked)] == [valid, valid]
    assert json.loads(json.dumps(reworked)) == reworked
