"""JSON out and in: what a request may carry, and numbers and texts as they came.

Owns the conversion of Python values to JSON bytes and back, and the error for a value that JSON cannot
carry. It must not know of messages, models or transports. orjson does the work; where its answer would be
wrong (NaN becomes null, long integers become floats) or missing (lone surrogates, keys that are no strings),
the standard library does.
"""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Mapping
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import orjson
from pydantic import BaseModel
from pydantic_core import to_jsonable_python

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# The same table converts for both encoders, so what a value becomes does not depend on its neighbours.
_OPTIONS = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS
# The one place where a payload holds null on purpose: an assistant turn that only calls tools.
_INTENDED_NULL = b'"role":"assistant","content":null'
# Digits become "0", all else a space: a run of long integers' length is then found at memory speed.
_DIGITS_AS_ZERO = bytes(ord("0" if chr(byte) in "0123456789" else " ") for byte in range(256))
_LONG_RUN = b"0" * 19
# Python refuses to spell integers of more than 4,300 digits.
_MAX_INT_BITS = 14_000
# Every integer of so many digits is exact in 64 bits.
_EXACT_DIGITS = 18

_Path = tuple["_Path", "str | int"] | None


class UnsendableError(ValueError):
    """A value that cannot go on the wire.

    Args:
        path: Where it stands, as Python would spell it: `.tool_calls[0].args.x`; empty for the value itself.
        problem: What is wrong, as the rest of a sentence that begins with the path.
    """

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(path, problem)
        self.path = path
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.path.removeprefix('.') or 'the value'} {self.problem}"

    def within(self, prefix: str) -> UnsendableError:
        """The same error, seen from the value that holds this one under `prefix`."""
        return UnsendableError(prefix + self.path, self.problem)


def dumps(value: object) -> bytes:
    r"""Write compact UTF-8 JSON; text that is not ASCII stays readable.

    Beside the JSON types: pydantic models (as their own JSON mode says), dataclasses, enums (their value),
    dates and times (ISO 8601), UUIDs, `Decimal` (a number where that is exact, else a string), sets (in the
    order of their members' `repr`), tuples, mappings, and what else pydantic turns into JSON, such as URLs
    and paths. Keys that are no strings are spelled as JSON spells their value. Lone surrogates become `\udXXX` escapes.

    Args:
        value: What to write.

    Returns:
        The JSON text.

    Raises:
        UnsendableError: NaN, an infinity, bytes, an object of an unknown kind, two keys that JSON spells
            alike, or nesting beyond some 250 levels; the error names the place.
    """
    try:
        data = orjson.dumps(value, default=_simpler, option=_OPTIONS)
    except orjson.JSONEncodeError:
        return _dumps_slowly(value)
    if b"null" in data and data.count(b"null") != data.count(_INTENDED_NULL):
        _plain_whole(value)
    return data


def loads(data: bytes | str) -> Any:
    """Read JSON, with integers of any length exact.

    What gateways write beside the standard is read, too: NaN and infinities, numbers beyond a float's range,
    escapes of lone surrogates.

    Args:
        data: The JSON text.

    Returns:
        Dictionaries, lists, strings, numbers, booleans, None.

    Raises:
        ValueError: The text is not JSON; mostly its subclass `json.JSONDecodeError`.
    """
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    if _LONG_RUN in raw.translate(_DIGITS_AS_ZERO):
        return _loads_slowly(raw)
    return loads_fast(raw)


def loads_fast(data: bytes) -> Any:
    """Read JSON as `loads` does, but integers beyond 64 bits may come out as floats.

    Args:
        data: The JSON text.

    Returns:
        Dictionaries, lists, strings, numbers, booleans, None.

    Raises:
        ValueError: The text is not JSON; mostly its subclass `json.JSONDecodeError`.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return _loads_slowly(data)


def _loads_slowly(data: bytes) -> Any:
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("the JSON text is nested too deeply") from None


def _dumps_slowly(value: object) -> bytes:
    text = json.dumps(_plain_whole(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    # Only lone surrogates cannot be encoded. They stand in strings, and Python's escape for them is JSON's.
    return text.encode("utf-8", "backslashreplace")


def _plain_whole(value: object) -> object:
    """The value in the types the standard library writes; raises at what JSON cannot carry."""
    try:
        return _plain(value, None)
    except RecursionError:
        raise UnsendableError("", "is nested too deeply for JSON, or holds itself") from None


def _plain(value: object, path: _Path) -> object:
    for base in type(value).__mro__:
        if base in _PLAIN:
            return _PLAIN[base](value, path)
    try:
        simpler = _simpler(value)
    except UnsendableError as error:
        raise error.within(_spelled(path)) from error.__cause__
    return _plain(simpler, path)


def _plain_same(value: object, _path: _Path) -> object:
    return value


def _plain_int(value: int, path: _Path) -> int:
    if value.bit_length() > _MAX_INT_BITS:
        raise UnsendableError(_spelled(path), "is an integer of more than 4,000 digits")
    return value


def _plain_float(value: float, path: _Path) -> float:
    if math.isfinite(value):
        return value
    name = "NaN" if math.isnan(value) else "an infinity"
    raise UnsendableError(_spelled(path), f"is {name}, which JSON cannot carry")


def _plain_list(value: Sequence[object], path: _Path) -> list[object]:
    return [_plain(item, (path, index)) for index, item in enumerate(value)]


def _plain_dict(value: Mapping[object, object], path: _Path) -> dict[str, object]:
    plain: dict[str, object] = {}
    for key, item in value.items():
        name = _key(key, path)
        if name in plain:
            raise UnsendableError(_spelled(path), f"has two keys that JSON spells {name!r}")
        plain[name] = _plain(item, (path, name))
    return plain


def _key(key: object, path: _Path) -> str:
    if isinstance(key, str):
        return key
    plain = _plain(key, (path, repr(key)))
    if isinstance(plain, (dict, list)):
        problem = f"has a key of type {type(key).__name__}, which JSON cannot carry"
        raise UnsendableError(_spelled(path), problem)
    return plain if isinstance(plain, str) else json.dumps(plain)


def _spelled(path: _Path) -> str:
    steps: list[str] = []
    while path is not None:
        path, step = path
        if isinstance(step, str):
            steps.append(f".{step}" if step.isidentifier() else f"[{step!r}]")
        else:
            steps.append(f"[{step}]")
    return "".join(reversed(steps))


def _simpler(value: object) -> object:
    """One step from any object towards the types of JSON."""
    for base in type(value).__mro__:
        if base in _SIMPLER:
            return _SIMPLER[base](value)
    try:
        return to_jsonable_python(value)
    except ValueError as error:
        raise UnsendableError("", f"is of type {type(value).__name__}, which JSON cannot carry") from error


def _from_decimal(value: Decimal) -> object:
    if not value.is_finite():
        return math.nan if value.is_nan() else math.inf
    if value.adjusted() < _EXACT_DIGITS and value == value.to_integral_value():
        return int(value)
    number = float(value)
    return number if Decimal(repr(number)) == value else str(value)


def _refuse_bytes(value: bytes) -> object:
    raise UnsendableError("", f"is of type {type(value).__name__}; JSON carries text: send base64")


_PLAIN: dict[type, Callable[[Any, _Path], object]] = {
    type(None): _plain_same,
    str: _plain_same,
    int: _plain_int,
    float: _plain_float,
    list: _plain_list,
    dict: _plain_dict,
}
_SIMPLER: dict[type, Callable[[Any], object]] = {
    tuple: list,
    deque: list,
    Mapping: dict,
    set: lambda value: sorted(value, key=repr),
    frozenset: lambda value: sorted(value, key=repr),
    Enum: lambda value: value.value,
    BaseModel: lambda value: value.model_dump(mode="json"),
    Decimal: _from_decimal,
    PurePath: str,
    bytes: _refuse_bytes,
    bytearray: _refuse_bytes,
    memoryview: _refuse_bytes,
}
