"""Grammar of managed prompts' text: both grammars of Promptrun's Node SDK, paths, and what stays unfilled."""

import copy
import dataclasses
import pickle
import re
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, computed_field

from langchain_promptrun.prompts.record import (
    PromptRecord,
    PromptrunMissingVariableError,
    find_odd_names,
    refuse_unfilled,
    render,
)

TEXTS = [
    *("{name}", "{{}}", "{{ }}", "{{name}", "{name}}", "%(name)s $name"),
    *('{"a": {"b": {"c": 1}}}', '{{"a": 1}}', r"\frac{{a}+{b}}{2}"),
    *("{{#if name}}", "{{name | upper(1)}}", "{{a: 1}}", "{{'a', 'b'}}", "{{[1, 2]}}", "{{a\nb}}"),
]
ODD = {
    "{{first name!}}": "first name!",
    "{{na-me}}": "na-me",
    "{{ user. }}": "user.",
    "{{a..b}}": "a..b",
    "{{a,b}}": "a,b",
    "{{items[0].name}}": "items[0].name",
    "{{customer's name}}": "customer's name",
    "{{1st name}}": "1st name",
    "{{_a b}}": "_a b",
    "{{.email}}": ".email",
    "{{@user}}": "@user",
    "{{$user}}": "$user",
    "{{\u200bname}}": "\u200bname",
}
NAMES = st.text(alphabet="abXY019_", min_size=1, max_size=3)
VALUES_OF_ANY_KIND = st.text(alphabet="ab {}\\.$1é日\n\u2028\x00", max_size=8)


class User(BaseModel):
    model_config = ConfigDict(extra="allow")

    email: str
    _secret: str = "s"

    @computed_field
    @property
    def host(self) -> str:
        return self.email.partition("@")[2]

    def method(self):
        """Must not be reached."""


@dataclasses.dataclass
class Place:
    city: str
    call: object = print


VALUES = {
    "user": User(email="a@b.example", age=9),
    "place": Place("Tbilisi"),
    "order": {"id": 7, "lines": [1, 2], "ship to": "x", "_tag": "t", "to": {"user": User(email="c@d.example")}},
    "text": "abc",
    "space": SimpleNamespace(name="x"),
    "kind": Place,
}


def variables(text):
    return PromptRecord(prompt=text, version=1).variables


def test_prompt_variables_come_once_in_the_order_of_the_text():
    assert variables("{{b}} {{ a_1 }} {{b.c}} {{9}} {{ünder.x}}") == ("b", "a_1", "9", "ünder")


@pytest.mark.parametrize("text", [*TEXTS, *ODD])
def test_prompt_variables_are_not_made_of_other_braces(text):
    values = {"name": "X", "a": "X", "b": "X", "na": "X", "first": "X", "user": "X"}
    assert variables(text) == ()
    assert render(text, values)[0] == text
    assert find_odd_names(text) == render(text, values)[1] == ((ODD[text],) if text in ODD else ())


@pytest.mark.parametrize(
    ("path", "value"),
    [
        *(("user.email", "a@b.example"), ("user.age", "9"), ("user.host", "b.example"), ("place.city", "Tbilisi")),
        *(("order.id", "7"), ("order._tag", "t"), ("order.to.user.email", "c@d.example"), ("order.lines", "[1, 2]")),
    ],
)
def test_prompt_variable_path_walks_mappings_and_fields(path, value):
    assert render(f"<{{{{{path}}}}}>", VALUES) == (f"<{value}>", ())


@pytest.mark.parametrize(
    "path",
    [
        *("user.method", "user._secret", "user.__class__", "user.model_fields", "user.missing", "order.items"),
        *("place.call", "place.__dict__", "text.upper", "text.0", "order.lines.0", "space.name", "kind.city", "none"),
    ],
)
def test_prompt_variable_path_walks_nothing_else(path):
    text = f"<{{{{ {path} }}}}>"
    assert render(text, VALUES) == (text, (path,))


def test_prompt_values_are_never_expanded():
    values = {"a": "{{b}}", "b": r"\1 {{a}} \g<0>"}
    assert render("{{a}}-{{ b }}", values) == (r"{{b}}-\1 {{a}} \g<0>", ())
    assert render("{{{open}}}name}}", {"open": "{", "name": "X"}) == ("{{}name}}", ())
    assert render('{"n": {{{n}}}, "m": "{{m}}"}', {"n": 5, "m": "x"}) == ('{"n": {5}, "m": "x"}', ())


@given(st.lists(st.tuples(VALUES_OF_ANY_KIND, NAMES), max_size=5), st.dictionaries(NAMES, VALUES_OF_ANY_KIND))
def test_prompt_rendering_equals_the_rule_of_the_sdk_main(parts, values):
    r"""The published rule: `\w+` between double braces, and an unknown name stays as it stands."""
    text = "".join(f"{piece.replace('{', '').replace('}', '')}{{{{{name}}}}}" for piece, name in parts)
    expected = re.sub(r"\{\{(\w+)\}\}", lambda found: values.get(found[1], found[0]), text, flags=re.ASCII)
    assert render(text, values)[0] == expected


PARTS = st.lists(st.sampled_from(["a", "b1", "c_d", "x"]), min_size=1, max_size=3)
BLANKS = st.sampled_from(["", " ", "  ", "\t", "\n", "\ufeff"])


@given(
    st.lists(st.tuples(st.text(alphabet="xyz .,", max_size=5), BLANKS, PARTS, BLANKS), max_size=5),
    st.recursive(
        st.dictionaries(st.sampled_from(["a", "b1", "c_d", "x"]), st.text(max_size=5)),
        lambda inner: st.dictionaries(st.sampled_from(["a", "b1", "c_d", "x"]), inner | st.text(max_size=5)),
        max_leaves=6,
    ),
)
def test_prompt_rendering_equals_the_rule_of_the_sdk_beta(pieces, values):
    """The published rule: `[^}]+` between double braces, trimmed, and dots walk objects."""

    def look_up(found):
        value = values
        for name in found[1].strip().strip("\ufeff").split("."):
            value = value.get(name) if isinstance(value, dict) else None
        return found[0] if value is None else str(value)

    text = "".join(f"{text}{{{{{left}{'.'.join(path)}{right}}}}}" for text, left, path, right in pieces)
    assert render(text, values)[0] == re.sub(r"\{\{([^}]+)\}\}", look_up, text)


@given(st.text(alphabet="{}ab_. !", max_size=30))
def test_prompt_rendering_without_values_changes_nothing(text):
    assert render(text, {})[0] == text


def test_prompt_variables_of_a_long_text_take_linear_time():
    text = "{{" * 50_000 + " " * 50_000 + "{{a." * 20_000
    assert variables(text) == find_odd_names(text) == ()


def test_prompt_unfilled_error_names_prompt_version_and_advice():
    with pytest.raises(PromptrunMissingVariableError) as caught:
        refuse_unfilled(("x", "y!"), {"a": 1}, prompt="Promptrun prompt p (tag prod)", version="v7")
    error = caught.value
    assert error.variables == ("x", "y!")
    assert isinstance(error, KeyError)
    assert isinstance(error, ValueError)
    said = "No value for `x`, `y!` of Promptrun prompt p (tag prod), version v7"
    assert str(error).startswith(f"{said}. Values were given for: `a`. Names have letters")
    for duplicate in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert (str(duplicate), duplicate.variables) == (str(error), error.variables)
    with pytest.raises(PromptrunMissingVariableError, match=r"for `x` of.* for: none. Set `missing"):
        refuse_unfilled(("x",), {}, prompt="p", version=1)
