import pytest

from langchain_promptrun.testing._schema import CHOICES, flat, merge
from langchain_promptrun.testing._validation import UnanswerableError


def flatten(schema):
    found = flat(schema, schema)
    return {key: value for key, value in found.items() if value != [] or key != CHOICES}


def test_references_and_all_of_are_merged_in():
    schema = {
        "$defs": {"small": {"maximum": 9}},
        "allOf": [{"minimum": 1}, {"$ref": "#/$defs/small", "type": "number"}],
        "type": "integer",
        "minimum": 3,
    }
    found = flatten(schema)
    assert (found["type"], found["minimum"], found["maximum"]) == (["integer"], 3, 9)


def test_alternatives_are_set_aside_group_by_group():
    schema = {"anyOf": [1, 2], "oneOf": [3], "allOf": [{"anyOf": [4]}]}
    assert flatten(schema) == {CHOICES: [[1, 2], [3], [4]]}


def test_true_demands_nothing_and_false_allows_no_type():
    assert flatten(True) == {}
    assert flatten(False) == {"type": []}


def test_a_list_of_items_becomes_a_prefix():
    assert flatten({"items": [{"type": "null"}]}) == {"prefixItems": [{"type": "null"}]}


def test_a_circle_of_references_ends():
    with pytest.raises(UnanswerableError, match="circle"):
        flatten({"$ref": "#"})


def test_an_unknown_keyword_is_said():
    with pytest.raises(UnanswerableError, match="`contains`"):
        flatten({"contains": {}, "type": "array"})


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ({"type": "number"}, {"type": "integer"}, {"type": ["integer"]}),
        ({"type": ["string", "null"]}, {"type": ["null", "array"]}, {"type": ["null"]}),
        ({"type": "string"}, {"type": "object"}, {"type": []}),
        ({"enum": [1, 2, "a"]}, {"enum": ["a", 1.0]}, {"enum": [1, "a"]}),
        ({"required": ["a", "b"]}, {"required": ["b", "c"]}, {"required": ["a", "b", "c"]}),
        ({"maxLength": 5, "minLength": 2}, {"maxLength": 7, "minLength": 3}, {"maxLength": 5, "minLength": 3}),
        ({"multipleOf": 4}, {"multipleOf": 6}, {"multipleOf": 12}),
        ({"multipleOf": 0.5}, {"multipleOf": 2}, {"multipleOf": 2}),
        ({"uniqueItems": False}, {"uniqueItems": True}, {"uniqueItems": True}),
        ({"items": {"a": 1}}, {"items": {"b": 2}}, {"items": {"allOf": [{"a": 1}, {"b": 2}]}}),
        (
            {"properties": {"a": 1, "b": 2}},
            {"properties": {"b": 3, "c": 4}},
            {"properties": {"a": 1, "b": {"allOf": [2, 3]}, "c": 4}},
        ),
        ({"prefixItems": [1]}, {"prefixItems": [2, 3]}, {"prefixItems": [{"allOf": [1, 2]}, {"allOf": [True, 3]}]}),
        ({"const": 1, "title": "A"}, {"const": 2, "format": "date"}, {"const": 1, "title": "A", "format": "date"}),
    ],
    ids=str,
)
def test_two_schemas_become_what_both_allow(one, other, both):
    assert merge(one, other) == both
