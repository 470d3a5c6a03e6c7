"""Claims of `_params`: what of fields and call keywords goes into a request, and which one wins."""

import json

import pytest
from langchain_core.load import dumps
from langchain_core.tools import tool
from pydantic import BaseModel, SecretStr
from typing_extensions import TypedDict

from langchain_promptrun._config.call_options import (
    ALIASES,
    SETTINGS,
    WIRE_FIELDS,
    bindable,
    merged_mapping,
    plain_values,
    sort_keywords,
    wire_parameters,
)

FOREIGN = frozenset({"cache", "metadata", "tags"})
NOTHING = dict.fromkeys(WIRE_FIELDS) | {"model": "vendor/name", "model_kwargs": {}, "extra_body": {}}
TOOL = {"type": "function", "function": {"name": "weather", "description": "d", "parameters": {}}}


def parameters(fields=None, /, stop=None, **keywords):
    return wire_parameters(NOTHING | (fields or {}), sort_keywords(keywords, FOREIGN), stop)


@tool
def clock(zone: str) -> str:
    """Say what time it is."""
    return zone


class Answer(BaseModel):
    text: str


class AnswerDict(TypedDict):
    text: str


def test_only_what_was_set_goes_out():
    assert parameters() == {"model": "vendor/name"}


def test_every_wire_field_goes_out_under_its_own_name():
    values = {name: f"value of {name}" for name in WIRE_FIELDS if name != "max_completion_tokens"}
    assert parameters(values | {"parallel_tool_calls": None}) == {
        name: value for name, value in values.items() if name != "parallel_tool_calls"
    }


@pytest.mark.parametrize("name", ["temperature", "seed", "logprobs", "n"])
@pytest.mark.parametrize("value", [0, False, 0.0])
def test_zero_and_false_are_values(name, value):
    assert parameters({name: value})[name] is value


LAYERS = [
    ({"temperature": 1}, {}),
    ({"model_kwargs": {"temperature": 2}}, {}),
    ({"extra_body": {"temperature": 3}}, {}),
    ({}, {"model_kwargs": {"temperature": 4}}),
    ({}, {"temperature": 5}),
    ({}, {"extra_body": {"temperature": 6}}),
]


@pytest.mark.parametrize("strongest", range(len(LAYERS)))
def test_the_order_of_precedence(strongest):
    """Fields, model_kwargs, extra_body, the call's model_kwargs, the call's keywords, the call's extra_body."""
    fields, keywords = {}, {}
    for field_layer, keyword_layer in LAYERS[: strongest + 1]:
        fields |= field_layer
        keywords |= keyword_layer
    assert parameters(fields, **keywords)["temperature"] == strongest + 1


@pytest.mark.parametrize(("fields", "keywords"), LAYERS[:-1])
def test_a_none_takes_out_what_a_weaker_source_set(fields, keywords):
    assert parameters(fields, **keywords, extra_body={"temperature": None}) == {"model": "vendor/name"}


def test_a_none_keyword_takes_out_a_field():
    assert parameters({"temperature": 1}, temperature=None) == {"model": "vendor/name"}


@pytest.mark.parametrize("source", ["model_kwargs", "extra_body"])
def test_a_none_instead_of_a_mapping_is_nothing(source):
    assert parameters(**{source: None}) == {"model": "vendor/name"}


@pytest.mark.parametrize("source", ["model_kwargs", "extra_body"])
def test_something_else_than_a_mapping_is_refused_by_its_name(source):
    with pytest.raises(TypeError, match=f"{source} must be a mapping of names to values, not str"):
        parameters(**{source: "temperature=1"})


def test_any_other_keyword_goes_on_the_wire():
    assert parameters(top_k=3, web_search_options={})["top_k"] == 3
    assert parameters(web_search_options={})["web_search_options"] == {}


@pytest.mark.parametrize(
    "name", ["stream", "run_manager", "structured_output_format", "ls_structured_output_format", "ls_x", "lc_x"]
)
def test_keywords_of_langchains_own_never_go_on_the_wire(name):
    assert parameters(**{name: "value"}) == {"model": "vendor/name"}


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_a_setting_never_goes_on_the_wire(name):
    keywords = sort_keywords({name: "value"}, FOREIGN)
    assert (keywords.settings, keywords.options, keywords.wire) == ({name: "value"}, {}, {})


@pytest.mark.parametrize("name", ["extra_headers", "extra_query", "use_cached_prompt"])
def test_an_option_of_a_call_never_goes_on_the_wire(name):
    assert parameters(**{name: {}}) == {"model": "vendor/name"}


@pytest.mark.parametrize("name", sorted(FOREIGN))
def test_a_field_of_langchains_own_is_no_keyword_of_a_call(name):
    with pytest.raises(ValueError, match=f"`{name}` is set on the model or in the config"):
        parameters(**{name: "value"})


@pytest.mark.parametrize(("alias", "name"), ALIASES.items())
def test_an_alias_is_a_keyword_of_a_call(alias, name):
    assert parameters(**{alias: "value"})[name] == "value"


def test_langchains_stop_wins_over_field_and_keyword():
    assert parameters({"stop": ["a"]}, stop=["b"])["stop"] == ["b"]
    assert wire_parameters(NOTHING, sort_keywords({"stop": ["a"]}, FOREIGN), ["b"])["stop"] == ["b"]
    assert parameters({"stop": ["a"]})["stop"] == ["a"]


def test_an_empty_stop_goes_not_out():
    assert parameters({"stop": ["a"]}, stop=[]) == {"model": "vendor/name"}


@pytest.mark.parametrize("layer", [lambda limit: limit, lambda limit: {"extra_body": limit}])
@pytest.mark.parametrize(
    ("field", "given"), [("max_tokens", "max_completion_tokens"), ("max_completion_tokens", "max_tokens")]
)
def test_a_limit_of_the_call_takes_the_place_of_the_other(field, given, layer):
    sent = parameters({field: 10}, **layer({given: 20}))
    assert sent == {"model": "vendor/name", given: 20}


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_limit_goes_out_under_the_name_it_was_given(name):
    assert parameters({name: 10}) == {"model": "vendor/name", name: 10}


def test_a_none_limit_does_not_take_the_other_out():
    assert parameters({"max_tokens": 10}, max_completion_tokens=None)["max_tokens"] == 10


def test_both_limits_in_one_call_are_refused():
    with pytest.raises(ValueError, match="max_tokens and max_completion_tokens are both given"):
        parameters(max_tokens=1, max_completion_tokens=2)


def test_the_model_of_the_call_wins():
    assert parameters(model="other/name") == {"model": "other/name"}


def test_a_call_without_a_model_is_refused():
    with pytest.raises(ValueError, match="model is None"):
        parameters(model=None)


@pytest.mark.parametrize("tools", [None, [], ()])
def test_without_tools_nothing_of_tools_goes_out(tools):
    """Servers such as vLLM answer 400 to an empty list, and to a choice among nothing."""
    assert parameters(tools=tools, tool_choice="auto", parallel_tool_calls=False) == {"model": "vendor/name"}


@pytest.mark.parametrize("value", [True, False])
def test_parallel_tool_calls_goes_out_with_tools_when_it_was_set(value):
    sent = parameters({"parallel_tool_calls": value}, tools=[TOOL])
    assert sent["parallel_tool_calls"] is value
    assert "parallel_tool_calls" not in parameters(tools=[TOOL])


def test_tools_that_are_objects_are_converted():
    (wire,) = parameters(tools=[clock])["tools"]
    assert wire["function"]["name"] == "clock"
    assert parameters(tools=[TOOL, clock])["tools"][0] == TOOL


@pytest.mark.parametrize("tool", [TOOL, {"name": "weather", "input_schema": {}}, {"type": "web_search"}])
def test_tools_that_are_dicts_are_sent_as_they_are(tool):
    assert parameters(tools=[tool])["tools"] == [tool]


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("any", "required"),
        ("required", "required"),
        ("auto", "auto"),
        ("none", "none"),
        ("weather", {"type": "function", "function": {"name": "weather"}}),
        (True, {"type": "function", "function": {"name": "weather"}}),
        ({"type": "allowed_tools"}, {"type": "allowed_tools"}),
        ({"type": "function", "function": {"name": "x"}}, {"type": "function", "function": {"name": "x"}}),
    ],
)
def test_a_tool_choice_of_the_call_is_brought_into_the_wires_form(choice, sent):
    assert parameters(tools=[TOOL], tool_choice=choice)["tool_choice"] == sent


def test_a_tool_choice_that_says_nothing_goes_not_out():
    assert "tool_choice" not in parameters(tools=[TOOL], tool_choice=False)


def test_a_choice_that_no_tool_has_is_refused_here():
    with pytest.raises(ValueError, match="'wheather'"):
        parameters(tools=[TOOL], tool_choice="wheather")


@pytest.mark.parametrize("schema", [Answer, AnswerDict])
def test_a_class_as_response_format_becomes_a_schema(schema):
    sent = parameters(response_format=schema)["response_format"]
    assert sent["type"] == "json_schema"
    assert "text" in sent["json_schema"]["schema"]["properties"]


def test_a_dict_as_response_format_is_sent_as_it_is():
    assert parameters(response_format={"type": "json_object"})["response_format"] == {"type": "json_object"}


def test_mappings_are_merged_and_the_call_wins():
    assert merged_mapping("extra_headers", {"a": "1", "b": "2"}, {"b": "3"}) == {"a": "1", "b": "3"}
    assert merged_mapping("extra_headers", None, None) == {}


def test_a_mapping_of_the_call_that_is_none_is_refused_by_its_name():
    with pytest.raises(TypeError, match="extra_headers must be a mapping of names to values, not list"):
        merged_mapping("extra_headers", None, [("a", "1")])


def test_secrets_among_the_values_are_unwrapped_when_they_are_sent():
    assert merged_mapping("extra_headers", None, {"a": SecretStr("s3cret"), "b": "2"}) == {"a": "s3cret", "b": "2"}
    assert plain_values({"a": SecretStr("s3cret")}) == {"a": "s3cret"}
    assert plain_values("no mapping") == "no mapping"


@pytest.mark.parametrize("name", ["default_headers", "default_query", "extra_headers", "extra_query"])
def test_bound_headers_and_queries_do_not_show_their_values(name):
    bound = bindable({name: {"x-tenant": "s3cret", "number": 5}, "temperature": 0})
    assert plain_values(bound[name]) == {"x-tenant": "s3cret", "number": 5}
    assert bound["temperature"] == 0
    assert "s3cret" not in repr(bound) + dumps(bound)


def test_a_bound_key_does_not_show_itself():
    assert "s3cret" not in repr(bindable({"api_key": "s3cret"}))
    assert bindable({"api_key": len}) == {"api_key": len}


def test_bound_values_that_are_no_mappings_stay_for_the_call_to_refuse():
    assert bindable({"extra_headers": None}) == {"extra_headers": None}


def test_nothing_that_is_merged_is_changed():
    fields = NOTHING | {"model_kwargs": {"a": 1}, "extra_body": {"b": 2}, "temperature": 0}
    before = json.dumps(fields)
    wire_parameters(fields, sort_keywords({"tools": [TOOL], "tool_choice": "any", "a": 3}, FOREIGN), ["x"])
    assert json.dumps(fields) == before
