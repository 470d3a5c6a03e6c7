"""JSON: what goes out comes back equal, or the error names its place; halves of characters; open ends."""

import dataclasses
import datetime as dt
import enum
import json
import math
import pickle
import uuid
from collections import UserDict
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, HttpUrl

from langchain_promptrun._wire.json import HALF, JsonScanner, SurrogateJoiner, cleaned, dumps, loads, without_surrogates
from langchain_promptrun.errors import PromptrunInvalidMessageError

BIG = 2**70

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
any_text = st.text(st.characters(codec=None, exclude_categories=()))
json_values = st.recursive(
    scalars | any_text, lambda inner: st.lists(inner) | st.dictionaries(any_text, inner), max_leaves=12
)


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Name(str):
    __slots__ = ()


class Share(float):
    pass


class Order(BaseModel):
    when: dt.date
    price: Decimal = Decimal("1.50")


@dataclasses.dataclass
class Point:
    x: float
    tags: frozenset[str] = frozenset()


CONVERTED = {
    "datetime": (dt.datetime.fromisoformat("2024-02-29T12:30:00"), "2024-02-29T12:30:00"),
    "aware datetime": (dt.datetime(2024, 2, 29, tzinfo=dt.UTC), "2024-02-29T00:00:00Z"),
    "date": (dt.date(2024, 2, 29), "2024-02-29"),
    "time": (dt.time(1, 2, 3), "01:02:03"),
    "duration": (dt.timedelta(days=1, hours=2), "P1DT2H"),
    "uuid": (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
    "enum": (Colour.RED, "red"),
    "int enum": (Level.HIGH, 3),
    "str subclass": (Name("Ann"), "Ann"),
    "float subclass": (Share(0.5), 0.5),
    "model": (Order(when=dt.date(2024, 1, 2)), {"when": "2024-01-02", "price": "1.50"}),
    "dataclass": (Point(1.5, frozenset({"a"})), {"x": 1.5, "tags": ["a"]}),
    "tuple": ((1, "b"), [1, "b"]),
    "set": ({4, 30, 100}, [100, 30, 4]),
    "frozenset of texts": (frozenset({"b", "a"}), ["a", "b"]),
    "mapping": (UserDict(a=1), {"a": 1}),
    "url": (HttpUrl("https://promptrun.ai/x"), "https://promptrun.ai/x"),
    "path": (Path("/a/b"), "/a/b"),
    "decimal": (Decimal("1.10"), "1.10"),
    "number keys": ({1: "a", 2.5: "b", None: "c", False: "d"}, {"1": "a", "2.5": "b", "null": "c", "false": "d"}),
    "other keys": ({Colour.RED: 1, dt.date(2024, 1, 2): 2}, {"red": 1, "2024-01-02": 2}),
}
UNSENDABLE = {
    "NaN": (math.nan, "is NaN"),
    "infinity": (math.inf, "is an infinity"),
    "negative infinity": (-math.inf, "is an infinity"),
    "NaN in a dataclass": (Point(math.nan), ".x is NaN"),
    "bytes": (b"abc", "is of type bytes"),
    "bytearray": (bytearray(b"abc"), "is of type bytearray"),
    "object": (object(), "is of type object"),
    "class": (Point, "is of type type"),
    "endless integer": (10**5000, "is an integer of more than 4,000 digits"),
    "keys spelled alike": ({1: "a", "1": "b"}, "has two keys that JSON spells '1'"),
    "tuple as key": ({(1, 2): 3}, "has a key of type tuple"),
}


@pytest.mark.parametrize("beside", [0, BIG], ids=["orjson", "standard library"])
@pytest.mark.parametrize(("value", "expected"), CONVERTED.values(), ids=CONVERTED)
def test_python_values_become_json_alike_in_both_encoders(value, expected, beside):
    assert json.loads(dumps([value, beside])) == [expected, beside]


@pytest.mark.parametrize("beside", [0, BIG], ids=["orjson", "standard library"])
@pytest.mark.parametrize(("value", "problem"), UNSENDABLE.values(), ids=UNSENDABLE)
def test_what_json_cannot_carry_is_an_error_that_names_its_place(value, problem, beside):
    with pytest.raises(PromptrunInvalidMessageError) as caught:
        dumps({"beside": beside, "list": [0, {"odd key": value}]})
    assert str(caught.value).startswith(f"list[1]['odd key']{'' if problem.startswith('.') else ' '}{problem}")


ENDLESS: list[object] = []
ENDLESS.append(ENDLESS)
NULL = {"role": "assistant", "content": None}


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (math.nan, r"^The value is NaN, which JSON cannot carry$"),
        ({"messages": [NULL, {"role": "user", "content": math.nan}]}, r"^messages\[1\]\.content is NaN"),
        (ENDLESS, "nested too deeply"),
    ],
)
def test_what_json_cannot_carry_is_found_wherever_it_stands(value, problem):
    with pytest.raises(PromptrunInvalidMessageError, match=problem):
        dumps(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"stop": None, "messages": [NULL]}, '{"stop":null,"messages":[{"role":"assistant","content":null}]}'),
        ({"a": ["é", "日本", "😀"], "b": True}, '{"a":["é","日本","😀"],"b":true}'),
        ({"a": ["é", BIG]}, f'{{"a":["é",{BIG}]}}'),
        ({"t": "é\ud800\n"}, '{"t":"é\\ud800\\n"}'),
    ],
)
def test_output_is_compact_and_readable(value, text):
    assert dumps(value) == text.encode()


def test_nesting_beyond_orjsons_limit_is_written():
    value: object = 1
    for _ in range(270):
        value = [value]
    assert json.loads(dumps(value)) == value


def test_the_error_survives_pickling():
    error = PromptrunInvalidMessageError("is NaN", path=".a[0]").within("messages[1]")
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.path) == ("messages[1].a[0] is NaN", "messages[1].a[0]")
    assert isinstance(copy, ValueError)
    assert not copy.is_retryable


@pytest.mark.parametrize("digits", [18, 19, 20, 30])
@pytest.mark.parametrize("kind", [str, str.encode], ids=["str", "bytes"])
def test_integers_of_any_length_are_read_exactly(digits, kind):
    number = int("9" * digits)
    assert loads(kind(f'{{"n":[{number},-{number}]}}')) == {"n": [number, -number]}


def test_what_gateways_write_beside_the_standard_is_read():
    document = loads(b'{"a":NaN,"b":-Infinity,"c":1e999,"d":"\\ud800x","e":"x\ty"}')
    assert math.isnan(document.pop("a"))
    assert document == {"b": -math.inf, "c": math.inf, "d": "\ud800x", "e": "x\ty"}
    assert loads('["\ud800"]') == ["\ud800"]
    document = {"id": "chatcmpl-12345678901234567890", "n": 1.5, "t": "😀"}
    assert loads(json.dumps(document)) == document


ROCKET = "\ud83d\ude80"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"a{ROCKET}b", "a🚀b"),
        ("\ude80\ud83d", "\ufffd\ufffd"),
        *(
            (f"{before}{half}{after}", f"{before}\ufffd{after}")
            for half in (ROCKET[0], ROCKET[1])
            for before in ("", "é", "🚀")
            for after in ("", "é", "🚀", "a")
        ),
    ],
)
def test_surrogate_pairs_are_joined_and_lone_halves_replaced(text, expected):
    assert without_surrogates(text) == expected


def test_surrogates_of_all_texts_of_a_value_are_cleaned():
    value = {"\ud83d": [ROCKET, 1, None, 0.5, True, {"a": "\ude80"}]}
    assert cleaned(value) == {"\ufffd": ["🚀", 1, None, 0.5, True, {"a": "\ufffd"}]}


@given(any_text, st.lists(st.integers(0, 20), max_size=5))
def test_surrogates_in_pieces_say_the_same_as_the_whole_text(text, cuts):
    bounds = [0, *sorted(cuts), len(text)]
    joiner = SurrogateJoiner()
    pieces = [joiner.join(1, text[start:end]) for start, end in pairwise(bounds)]
    whole = "".join([*pieces, HALF * len(joiner.held)])
    assert whole.encode().decode() == without_surrogates(text)


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("", ("", "")),
        ('{"a": 1}', ("", "")),
        ('{"a": "}]\\"{", "b": [', ("", "}]")),
        ('{"a": [{', ("", "}]}")),
        ('{"a": "x', ('"', "}")),
        ('{"a": "x\\', ('\\"', "}")),
        ('{"a": "x\\\\', ('"', "}")),
        ('{"a": "x\\"', ('"', "}")),
        ('{"a": "x\\\n', ('"', "}")),
        ("{}{", ("", "}")),
        *((text, None) for text in ("}", "{]", "[}", "{}]", '{"a": 1}}')),
    ],
)
def test_open_ends_are_found_unless_a_bracket_closes_nothing(text, ends):
    assert JsonScanner(text).ends == ends


@settings(max_examples=50)
@given(json_values, st.data())
def test_only_cut_off_json_has_open_ends(value, data):
    text = json.dumps(value, ensure_ascii=data.draw(st.booleans()))
    assert JsonScanner(text).ends == ("", "")
    if text[0] in "{[":
        cut = data.draw(st.integers(1, len(text) - 1))
        assert any(JsonScanner(text[:cut]).ends)
