import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_promptrun.testing._validation import UnanswerableError, canonical, is_type, resolve, valid

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-3, 3, width=16) | st.text("ab", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)
SCHEMAS = [
    True,
    False,
    {"type": "integer"},
    {"type": ["number", "null"]},
    {"type": "object", "required": ["a"], "properties": {"a": {"type": "boolean"}}},
    {"properties": {"a": {"minimum": 0}}, "additionalProperties": {"type": "string"}},
    {"additionalProperties": False},
    {"minProperties": 1, "maxProperties": 2},
    {"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 2},
    {"prefixItems": [{"type": "integer"}, {"type": "string"}], "items": False},
    {"uniqueItems": True},
    {"uniqueItems": False},
    {"minLength": 1, "maxLength": 2, "pattern": "^a"},
    {"minimum": 0, "maximum": 5, "multipleOf": 2},
    {"exclusiveMinimum": 0, "exclusiveMaximum": 1.5, "multipleOf": 0.5},
    {"enum": [1, "a", None, [1]]},
    {"const": 1},
    {"const": True},
    {"allOf": [{"minimum": 0}, {"maximum": 3}]},
    {"anyOf": [{"type": "string"}, {"minimum": 3}]},
    {"oneOf": [{"type": "integer"}, {"minimum": 3}]},
    {"not": {"type": "string"}},
    {"$defs": {"n": {"type": "integer"}}, "$ref": "#/$defs/n"},
]


@pytest.mark.parametrize("schema", SCHEMAS, ids=str)
@settings(max_examples=40)
@given(value=JSON)
def test_it_judges_as_jsonschema_does(schema, value):
    assert valid(schema, value, schema) == jsonschema.Draft202012Validator(schema).is_valid(value)


def test_items_may_be_a_list_as_in_older_drafts():
    schema = {"items": [{"type": "integer"}, {"type": "string"}]}
    assert valid(schema, [1, "a", None], schema)
    assert not valid(schema, ["a"], schema)
    assert valid(schema, "no list", schema)


@pytest.mark.parametrize("keyword", ["if", "contains", "patternProperties", "unevaluatedProperties"])
def test_a_keyword_that_it_does_not_know_is_said(keyword):
    with pytest.raises(UnanswerableError, match=keyword):
        valid({keyword: {}}, 1, {})


def test_a_broken_pattern_matches_nothing():
    assert not valid({"pattern": "("}, "(", {})


def test_a_multiple_must_be_one_in_decimal_and_in_binary():
    """0.3 / 0.1 is not whole in binary floats, so some validators would refuse it."""
    assert not valid({"multipleOf": 0.1}, 0.3, {})
    assert valid({"multipleOf": 0.1}, 0.5, {})


def test_a_reference_leads_through_escapes_and_lists():
    root = {"a/b": [{"c~d": 5}]}
    assert resolve("#/a~1b/0/c~0d", root) == 5
    assert resolve("#/a%7E1b", root) == [{"c~d": 5}]
    assert resolve("#", root) is root


@pytest.mark.parametrize("reference", ["https://example.com/s.json", "#anchor", "#/missing", "#/list/7", "#/list/x"])
def test_a_reference_to_nothing_is_said(reference):
    with pytest.raises(UnanswerableError, match="leads"):
        resolve(reference, {"list": [1]})


def test_equal_values_have_one_canonical_text():
    assert canonical({"a": [1.0], "b": 2}) == canonical({"b": 2, "a": [1]})
    assert canonical(1) != canonical(True)


def test_an_unknown_type_is_no_values_type():
    assert not is_type("text", "a")
