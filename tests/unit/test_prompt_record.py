"""Records of managed prompts: what is read, what counts as a change, the file on disk, the text in both grammars."""

import copy
import dataclasses
import json
import os
import pickle
import re
import stat
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, computed_field
from pydantic.alias_generators import to_camel

from langchain_promptrun import PromptrunAuthenticationError, PromptrunMissingVariableError, PromptrunResponseError
from langchain_promptrun.errors import PromptrunStreamTruncatedError
from langchain_promptrun.prompts import record as records
from langchain_promptrun.prompts.record import PromptRecord, RecordReader, find_odd_names, read_record, render

URL, QUERY = "https://h.example/v1", {"projectId": "p", "tag": "prod"}
ONE = PromptRecord(prompt="One.", version=1)
TWO = PromptRecord(prompt="Two.", version=2)
DOCUMENTED = {
    "updatedAt": "2025-07-21T04:17:39.294Z",
    "prompt": "Generate {{word_count}} words essay about Georgian History.",
    "version": 27,
    "versionMessage": "I have updated the prompt",
    "tag": "latest",
    "project": {"id": "d0d52c6e-85ba-4025-a84c-3c99834fe2ac", "name": "Georgian History Essay Generator"},
}
KNOWN_TO_THE_SDK = {
    "id": "p1",
    "createdAt": "2025-07-20T00:00:00.000Z",
    "temperature": 0.5,
    "user": {"id": "u1", "clerkId": "c1"},
    "model": {"name": "GPT-4o", "provider": "openai", "model": "openai/gpt-4o", "icon": "openai"},
    "inputs": [{"name": "word_count", "value": "200"}],
}


def read(document):
    return read_record(json.dumps(document).encode())


def test_prompt_record_has_the_documented_fields_and_those_of_the_sdk():
    record = read(DOCUMENTED)
    assert (record.version, record.version_message, record.tag) == (27, "I have updated the prompt", "latest")
    assert (record.prompt, record.variables, record.is_fallback) == (DOCUMENTED["prompt"], ("word_count",), False)
    assert record.updated_at.isoformat() == "2025-07-21T04:17:39.294000+00:00"
    assert (record.project.id, record.project.name) == tuple(DOCUMENTED["project"].values())
    assert (record.model, record.temperature, record.id, record.user, record.created_at, record.inputs) == (None,) * 6
    record = read(DOCUMENTED | KNOWN_TO_THE_SDK)
    assert record.model.model_dump() == KNOWN_TO_THE_SDK["model"]
    assert (record.temperature, record.id, record.created_at.day) == (0.5, "p1", 20)
    assert (record.user, record.inputs) == (KNOWN_TO_THE_SDK["user"], KNOWN_TO_THE_SDK["inputs"])
    assert read(DOCUMENTED | {"model": "openai/gpt-4o"}).model.model == "openai/gpt-4o"


def test_prompt_record_needs_only_text_and_version():
    nulls = dict.fromkeys(["updatedAt", "versionMessage", "project", "tag", "temperature", "model", "user", "inputs"])
    assert read({"prompt": "", "version": 1}) == PromptRecord(prompt="", version=1)
    assert read({"prompt": "x", "version": 1} | nulls).project is None


def test_prompt_record_goes_out_as_it_came_with_unknown_fields():
    document = DOCUMENTED | KNOWN_TO_THE_SDK | {"labels": ["a"], "model": {"model": "v/m", "size": 5}}
    record = read(document)
    assert (record.model_extra, record.model.model_extra) == ({"labels": ["a"]}, {"size": 5})
    assert read_record(record.to_wire()) == record
    assert json.loads(record.to_wire()).keys() == document.keys()


@pytest.mark.parametrize(
    ("change", "matters"),
    [
        *(({name: value}, True) for name, value in (("version", 28), ("prompt", "x"), ("tag", "prod"))),
        *(
            ({"temperature": 0.6}, True),
            ({"model": {"model": "v/m"}}, True),
            ({"updatedAt": "2025-07-22T04:17Z"}, True),
        ),
        ({"versionMessage": "other", "user": {}, "labels": ["b"], "project": {"id": "x"}}, False),
    ],
)
def test_prompt_record_change_of_what_matters_is_a_change(change, matters):
    record = DOCUMENTED | KNOWN_TO_THE_SDK
    assert read(record).differs(read(record | change)) is matters


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("temperature", "hot"), ("updatedAt", "yesterday"), ("createdAt", {}), ("id", 7), ("tag", ["prod"])),
        *(("versionMessage", 5), ("project", {"id": 5}), ("project", "Essays"), ("model", ["v/m", "v/n"])),
    ],
)
def test_prompt_record_odd_field_is_none_and_kept_among_the_unknown(name, value):
    document = DOCUMENTED | {name: value, "labels": []}
    record = read(document)
    assert (record.version, record.prompt) == (27, DOCUMENTED["prompt"])
    field = {to_camel(field): field for field in PromptRecord.model_fields}[name]
    assert getattr(record, field) is None
    assert record.model_extra == {"labels": [], name: value}
    assert json.loads(record.to_wire())[name] == value
    assert read_record(record.to_wire()) == record
    other = read(document | {name: [value]})
    assert record.differs(other) is (name in {"temperature", "updatedAt", "tag", "model"})
    assert not record.differs(read(document))


@pytest.mark.parametrize("document", [[], "x", {"prompt": {"secret": 1}, "version": 1}, {"prompt": "x"}])
def test_prompt_record_of_another_shape_is_an_error_that_names_the_field(document):
    with pytest.raises(PromptrunResponseError, match=r"not a prompt: (prompt|version|Input)") as caught:
        read(document)
    assert "secret" not in str(caught.value)


def test_prompt_record_error_in_a_200_body_is_raised_as_what_it_is():
    with pytest.raises(PromptrunAuthenticationError, match="bad key"):
        read({"error": {"message": "bad key", "code": 401}})


def test_prompt_record_body_that_is_empty_or_a_stream_is_an_error():
    with pytest.raises(PromptrunStreamTruncatedError):
        RecordReader(200, {}, limit=1000).close()
    events = RecordReader(200, {"content-type": "text/event-stream"}, limit=1000)
    events.feed(b"data: {}\n\n")
    with pytest.raises(PromptrunResponseError, match="stream of events"):
        events.close()


@pytest.fixture
def path(tmp_path):
    return records.record_path(str(tmp_path), URL, QUERY)


def test_prompt_file_comes_back_private_and_in_promptruns_spelling(path):
    record = PromptRecord(prompt="One.", version="v1", versionMessage="first", labels=["a"])
    records.write_record(path, record)
    assert records.stored_record(path) == record
    assert b'"versionMessage":"first"' in path.read_bytes()
    if os.name != "nt":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_prompt_file_of_version_0_1_0_has_the_same_name(tmp_path):
    assert records.record_path(str(tmp_path), URL, dict(reversed(QUERY.items()))).name == (
        "prompt-fffa0c7ac5d346805dfdbb54eea9c8c38d868f53.json"
    )
    others = [{}, {"projectId": "q"}, {"tag": "dev"}]
    paths = {
        records.record_path(str(tmp_path), url, QUERY | more) for url in (URL, "https://o.example") for more in others
    }
    assert len(paths) == 2 * len(others)


def test_prompt_file_is_written_again_only_where_it_must_and_whole_or_not_at_all(path, monkeypatch):
    records.write_record(path, ONE)
    before = path.stat().st_mtime_ns
    records.write_record(path, ONE)
    assert path.stat().st_mtime_ns == before
    path.unlink()
    records.write_record(path, ONE)
    monkeypatch.setattr(os, "fsync", Mock(side_effect=OSError("full")))
    with pytest.raises(OSError, match="full"):
        records.write_record(path, TWO)
    assert (records.stored_record(path), len(list(path.parent.iterdir()))) == (ONE, 1)


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b'{"prompt": "x"}'])
def test_prompt_file_that_is_missing_or_holds_something_else_is_none(path, content):
    if content is not None:
        path.write_bytes(content)
    assert records.stored_record(path) is None


def test_prompt_file_folder_may_begin_with_the_users_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert records.record_path("~/prompts", URL, QUERY).parent == tmp_path / "prompts"
    assert "no-such-user" in records.record_path("~no-such-user/prompts", URL, QUERY).parent.parent.name


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
        records.refuse_unfilled(("x", "y!"), {"a": 1}, prompt="Promptrun prompt p (tag prod)", version="v7")
    error = caught.value
    assert error.variables == ("x", "y!")
    assert isinstance(error, KeyError)
    assert isinstance(error, ValueError)
    said = "No value for `x`, `y!` of Promptrun prompt p (tag prod), version v7"
    assert str(error).startswith(f"{said}. Values were given for: `a`. Names have letters")
    for duplicate in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert (str(duplicate), duplicate.variables) == (str(error), error.variables)
    with pytest.raises(PromptrunMissingVariableError, match=r"for `x` of.* for: none. Set `missing"):
        records.refuse_unfilled(("x",), {}, prompt="p", version=1)
