"""Claims of `_prompt_text`: what a variable is, and what becomes of its value."""

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_promptrun.prompts.template import PromptrunMissingVariableError, check_values, find_variables, render

LOOKALIKES = [
    "{name}",
    "{{ name }}",
    "{{na-me}}",
    "{{na.me}}",
    "{{}}",
    "{{naïve}}",
    '{"a": {"b": {"c": 1}}}',
    r"\frac{{a}+{b}}{2}",
    "{{name}",
    "{name}}",
    "{{#if name}}",
    "%(name)s $name",
]
NAMES = st.from_regex(r"[A-Za-z0-9_]{1,8}", fullmatch=True)


def test_variables_come_once_in_the_order_of_the_text():
    assert find_variables("{{b}} {{a_1}} {{b}} {{9}}") == ("b", "a_1", "9")


@pytest.mark.parametrize("text", LOOKALIKES)
def test_other_braces_are_text(text):
    values = {"name": "X", "a": "X", "b": "X", "na": "X"}
    assert find_variables(text) == ()
    assert render(text, values) == text


def test_a_variable_among_braces_keeps_them():
    assert render('{"n": {{{n}}}, "m": "{{m}}"}', {"n": 5, "m": "x"}) == '{"n": {5}, "m": "x"}'


def test_values_are_never_expanded():
    values = {"a": "{{b}}", "b": r"\1 {{a}} \g<0>"}
    assert render("{{a}}-{{b}}", values) == r"{{b}}-\1 {{a}} \g<0>"


def test_braces_that_values_put_together_are_text():
    assert render("{{{open}}}name}}", {"open": "{", "name": "X"}) == "{{}name}}"


def test_a_variable_without_a_value_stays():
    assert render("{{a}} {{b}}", {"b": 1}) == "{{a}} 1"


@given(st.lists(st.tuples(st.text(), NAMES), max_size=5), st.dictionaries(NAMES, st.text()))
def test_each_value_stands_where_its_variable_stood(parts, values):
    pieces = [(text.replace("{", "").replace("}", ""), name) for text, name in parts]
    text = "".join(f"{piece}{{{{{name}}}}}" for piece, name in pieces)
    expected = "".join(piece + values.get(name, f"{{{{{name}}}}}") for piece, name in pieces)
    assert render(text, values) == expected


@given(st.text(alphabet="{}ab_ ", max_size=30))
def test_rendering_with_all_variables_as_themselves_changes_nothing(text):
    assert render(text, {name: f"{{{{{name}}}}}" for name in find_variables(text)}) == text


def test_a_missing_variable_is_named_with_prompt_and_version():
    with pytest.raises(PromptrunMissingVariableError) as caught:
        check_values("{{a}} {{b}} {{c}}", {"b": 1, "z": 2}, prompt="Promptrun prompt P (tag prod)", version=7)
    error = caught.value
    assert str(error).startswith(
        "No value for the variables `a`, `c` of Promptrun prompt P (tag prod), version 7. "
        "Values were given for: `b`, `z`."
    )
    assert error.variables == ("a", "c")
    assert isinstance(error, KeyError)
    assert isinstance(error, ValueError)


def test_one_missing_variable_is_one():
    with pytest.raises(PromptrunMissingVariableError, match=r"the variable `a` of P, version 1\. .* for: none\."):
        check_values("{{a}}", {}, prompt="P", version=1)


def test_nothing_missing_is_no_error():
    check_values("{{a}} {b}", {"a": None}, prompt="P", version=1)


@pytest.mark.parametrize("duplicate", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
def test_the_error_survives_copies(duplicate):
    error = duplicate(PromptrunMissingVariableError("No value.", ("a",)))
    assert (str(error), error.variables) == ("No value.", ("a",))
