import contextlib
import inspect
import runpy
import sys
from enum import Enum
from typing import Literal

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from langchain_promptrun.testing._answers import UnanswerableError, answer

TEXTS = st.sampled_from(["", "Add 3 and -4.5 in Paris for 'Ann Lee'.", "no numbers here", "1 2 3 4 5 6 7 8 9"])
CHECKER = jsonschema.Draft202012Validator
FORMATS = [*("date", "date-time", "time", "duration", "email", "hostname", "ipv4", "ipv6", "uri", "uuid", "password")]


def made(schema, text="", *, optional=False):
    value = answer(schema, text, optional=optional)
    jsonschema.validate(value, schema, CHECKER, format_checker=CHECKER.FORMAT_CHECKER)
    return value


def schemas(kind, needed=None, **optional):
    """Schemas of a type with keywords, of which some may be missing."""
    return st.fixed_dictionaries({"type": st.just(kind), **(needed or {})}, optional=optional)


def numeric(kind, value):
    below, above = st.integers(1, 50).map(lambda by: value - by), st.integers(1, 50).map(lambda by: value + by)
    bounds = {"minimum": st.just(value) | below, "exclusiveMinimum": below}
    bounds |= {"maximum": st.just(value) | above, "exclusiveMaximum": above}
    steps = schemas(kind, {"multipleOf": st.sampled_from([1, 2, 5])}, minimum=st.just(value))
    return schemas(kind, **bounds) | steps


def objects(inner):
    def having(properties):
        required = st.lists(st.sampled_from(sorted(properties)), unique=True) if properties else st.just([])
        needed = {"properties": st.just(properties), "required": required}
        return schemas("object", needed, additionalProperties=st.just(False) | inner)

    return st.dictionaries(NAMES, inner, max_size=4).flatmap(having)


def composed(inner):
    some = st.lists(inner, min_size=1, max_size=3)
    arrays = schemas(
        "array", {"items": inner, "minItems": st.integers(0, 3)}, maxItems=st.integers(3, 5), prefixItems=some
    )
    both = inner.map(lambda schema: {"allOf": [schema, {"title": "x"}]})
    return arrays | objects(inner) | both | some.map(lambda branches: {"anyOf": branches})


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
LEAVES = (
    st.integers(-1000, 1000).flatmap(lambda value: numeric("integer", value))
    | st.floats(-1e6, 1e6).flatmap(lambda value: numeric("number", value))
    | schemas("string", minLength=st.integers(0, 40), maxLength=st.integers(40, 80))
    | schemas("string", {"format": st.sampled_from(FORMATS)})
    | schemas("string", {"maxLength": st.integers(0, 40)})
    | st.sampled_from([{"type": "boolean"}, {"type": "null"}, {}, True, {"type": ["null", "string"]}])
    | VALUES.map(lambda value: {"const": value})
    | st.lists(VALUES, min_size=1, max_size=4).map(lambda values: {"enum": values})
)
NAMES = st.sampled_from(["name", "size", "tags", "child", "a b", "größe"])
SATISFIABLE = st.recursive(LEAVES, composed, max_leaves=8)


@settings(max_examples=60)
@given(SATISFIABLE, TEXTS, st.booleans())
def test_schema_that_can_be_satisfied_is(schema, text, optional):
    made(schema, text, optional=optional)


@settings(max_examples=60)
@given(SATISFIABLE, st.lists(SATISFIABLE, max_size=3), st.sampled_from(["oneOf", "allOf", "not"]), st.booleans())
def test_answer_is_right_or_refused(schema, others, keyword, unique):
    """Schemas that perhaps nothing satisfies: never a wrong answer."""
    argument = others[0] if keyword == "not" and others else [schema, *others]
    mixed = {keyword: argument} if keyword != "not" or others else {"not": schema}
    with contextlib.suppress(UnanswerableError):
        made({"type": "array", "items": mixed, "minItems": 2, "uniqueItems": unique})


@pytest.mark.parametrize(
    "items",
    [
        *({"type": "string", "format": name} for name in FORMATS),
        *({"type": kind} for kind in ("string", "integer", "number")),
        {"type": "array", "items": {"type": "integer"}, "minItems": 1},
        {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
    ],
    ids=str,
)
def test_members_of_a_set_differ(items):
    made({"type": "array", "items": items, "minItems": 40, "uniqueItems": True})


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Node(BaseModel):
    name: str
    colour: Colour
    weight: float = Field(gt=0, le=1)
    kind: Literal["leaf", "branch"]
    tags: set[str] = Field(min_length=2)
    pair: tuple[int, str]
    counts: dict[str, int]
    children: list["Node"]
    parent: "Node | None" = None


@pytest.mark.parametrize("optional", [False, True])
@pytest.mark.parametrize("validates", [False, True])
def test_recursive_pydantic_class_is_filled_in_also_without_jsonschema(monkeypatch, validates, optional):
    if not validates:
        monkeypatch.setitem(sys.modules, "jsonschema", None)
    module = runpy.run_path(inspect.getfile(answer))
    value = module["answer"](Node.model_json_schema(), "A blue leaf called 'Root', 7.", optional=optional)
    Node.model_validate(value)
    jsonschema.validate(value, Node.model_json_schema(), CHECKER)
    assert (value["name"], value["colour"], value["kind"]) == ("Root", "blue", "leaf")
    assert module["answer"]({"type": "number", "exclusiveMinimum": 0, "maximum": 0.5}, "") == 0.25


STRING, INTEGER, NULL = {"type": "string"}, {"type": "integer"}, {"type": "null"}
PATTERN = STRING | {"pattern": "^x$"}
WRITE = "Write to ann@example.org by 2024-05-17 about https://example.org/a/b."


def several(items, count=1):
    return {"type": "array", "items": items, "minItems": count}


def needs(**properties):
    return {"properties": properties, "required": list(properties)}


CLOSED = needs(a=NULL) | {"additionalProperties": NULL}


@pytest.mark.parametrize(
    ("schema", "text", "expected"),
    [
        (needs(a=INTEGER | {"maximum": 5}, b={"type": "number"}, c=INTEGER), "7, 3 and 4.5", {"a": 3, "b": 7, "c": 0}),
        ({"type": "array", "items": {"type": "number"}}, "Add 1, 2 and 3.5.", [1, 2, 3.5]),
        ({"type": "array", "items": STRING, "maxItems": 2}, "from Rome to Paris via Nice", ["Rome", "Paris"]),
        (STRING | {"format": "date"}, WRITE, "2024-05-17"),
        (STRING | {"format": "email"}, WRITE, "ann@example.org"),
        (STRING | {"format": "uri"}, WRITE, "https://example.org/a/b"),
        ({"anyOf": [PATTERN, {"type": "integer"}]}, "5", 5),
        (PATTERN | {"enum": ["a", "x"]}, "", "x"),
        (PATTERN | {"const": "x"}, "", "x"),
        ({"type": ["null", "array"], "items": {"$ref": "#"}, "minItems": 1}, "", [[[None]]]),
        (needs(city=STRING, to=STRING), " go on ", {"city": "go on", "to": "to of: go on"}),
        (needs(city=STRING, to=STRING), "", {"city": "city", "to": "to"}),
        (STRING | {"maxLength": 4}, "Some text", "Some"),
        (STRING | {"minLength": 6}, "abc", "abc..."),
        ({"type": "integer"}, "It is 4.0.", 4),
    ],
    ids=str,
)
def test_schema_answer_is_taken_from_the_conversation(schema, text, expected):
    assert repr(made(schema, text)) == repr(expected)


@pytest.mark.parametrize(
    ("schema", "without", "expected"),
    [
        (needs(a=NULL) | {"properties": {"a": NULL, "b": NULL}}, {"a": None}, {"a": None, "b": None}),
        ({"properties": {"a": PATTERN, "b": NULL}}, {}, {"b": None}),
        ({"allOf": [CLOSED, {"properties": {"b": INTEGER}}]}, {"a": None}, {"a": None}),
    ],
    ids=str,
)
def test_optional_properties_are_given_when_asked_where_they_fit(schema, without, expected):
    assert (made(schema), made(schema, optional=True)) == (without, expected)


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        (PATTERN, r"^\$: .*`pattern`"),
        (several(several(PATTERN)), r"^\$\[0\]\[0\]: .*`pattern`"),
        ({"anyOf": [PATTERN, PATTERN | {"minLength": 1}]}, "`pattern`"),
        (several(several(NULL, 1000), 40), "nested without an end"),
        ({"type": "array", "contains": {}, "maxItems": 0}, "no value"),
        (False, "no value"),
        ({"enum": []}, "no value"),
        ({"type": "string", "format": "email", "maxLength": 3}, "no value"),
        ({"type": "integer", "minimum": 3, "maximum": 2}, "no value"),
        ({"type": "text"}, "not a JSON schema: .*'text'"),
        ({"$ref": "#/$defs/gone"}, "not a JSON schema"),
        ({"$ref": "#anchor"}, "leads out"),
        ({"$ref": "#"}, "circle"),
        ({"type": "object", "properties": {"x": {"$ref": "#"}}, "required": ["x"]}, "nested without an end"),
        ({"oneOf": [{"type": "string"}, {"$ref": "#"}]}, "circle"),
        ({"properties": 3}, "no JSON schema|not a JSON schema"),
        ({"type": "number", "multipleOf": 0}, "not a JSON schema"),
        ({"type": "array", "items": {"type": "boolean"}, "minItems": 3, "uniqueItems": True}, "no value"),
    ],
    ids=str,
)
def test_what_cannot_be_answered_is_said(schema, reason):
    with pytest.raises(UnanswerableError, match=reason):
        answer(schema, "")
