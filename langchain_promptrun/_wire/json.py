"""Write and read JSON, with integers, NaN and texts exact.

orjson turns NaN into null and long integers into floats, and refuses lone surrogates and keys that are no strings: the
standard library does these.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson
from pydantic_core import to_jsonable_python

from langchain_promptrun.errors import PromptrunInvalidMessageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# pydantic converts for both encoders, so what a value becomes does not depend on its neighbours.
_OPTIONS = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS
# The one place where a payload holds null on purpose: an assistant turn that only calls tools.
_INTENDED_NULL = b'"role":"assistant","content":null'
# Digits become "0", all else a space: a run of long integers' length is then found at memory speed.
_DIGITS_AS_ZERO = bytes(ord("0" if chr(byte) in "0123456789" else " ") for byte in range(256))
_LONG_RUN = b"0" * 19
# Python refuses to spell integers of more than 4,300 digits.
_MAX_INT_BITS = 14_000

_Path = tuple["_Path", "str | int"] | None


def dumps(value: object) -> bytes:
    r"""Write compact UTF-8 JSON; lone surrogates become `\udXXX` escapes.

    Other than JSON's types, it takes mappings, sets (in the order of their members' `repr`) and whatever pydantic
    turns into JSON: models, dataclasses, enums, dates, UUIDs, URLs, paths. Bytes, NaN and two keys that JSON spells
    alike are errors that name their place.
    """
    try:
        data = orjson.dumps(value, default=_simpler, option=_OPTIONS)
    except orjson.JSONEncodeError:
        return _dumps_slowly(value)
    if b"null" in data and data.count(b"null") != data.count(_INTENDED_NULL):
        _plain_whole(value)
    return data


def loads(data: bytes | str) -> Any:
    """Read JSON with integers of any length exact; NaN, 1e999 and lone surrogates are read, too.

    Broken JSON raises a ValueError, mostly its subclass `json.JSONDecodeError`.
    """
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    if _LONG_RUN in raw.translate(_DIGITS_AS_ZERO):
        return _loads_slowly(raw)
    return loads_fast(raw)


def loads_fast(data: bytes) -> Any:
    """Read JSON as `loads` does, but integers beyond 64 bits may come out as floats."""
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
    """Return the value in the types the standard library writes; raise at what JSON cannot carry."""
    try:
        return _plain(value, None)
    except RecursionError:
        raise PromptrunInvalidMessageError("is nested too deeply for JSON, or holds itself") from None


def _plain(value: object, path: _Path) -> object:
    for base in type(value).__mro__:
        if base in _PLAIN:
            return _PLAIN[base](value, path)
    try:
        simpler = _simpler(value)
    except PromptrunInvalidMessageError as error:
        raise error.within(_spelled(path)) from error.__cause__
    return _plain(simpler, path)


def _plain_same(value: object, _path: _Path) -> object:
    return value


def _plain_int(value: int, path: _Path) -> int:
    if value.bit_length() > _MAX_INT_BITS:
        raise PromptrunInvalidMessageError("is an integer of more than 4,000 digits", path=_spelled(path))
    return value


def _plain_float(value: float, path: _Path) -> float:
    if math.isfinite(value):
        return value
    name = "NaN" if math.isnan(value) else "an infinity"
    raise PromptrunInvalidMessageError(f"is {name}, which JSON cannot carry", path=_spelled(path))


def _plain_list(value: Sequence[object], path: _Path) -> list[object]:
    return [_plain(item, (path, index)) for index, item in enumerate(value)]


def _plain_dict(value: Mapping[object, object], path: _Path) -> dict[str, object]:
    plain: dict[str, object] = {}
    for key, item in value.items():
        name = _key(key, path)
        if name in plain:
            raise PromptrunInvalidMessageError(f"has two keys that JSON spells {name!r}", path=_spelled(path))
        plain[name] = _plain(item, (path, name))
    return plain


def _key(key: object, path: _Path) -> str:
    if isinstance(key, str):
        return key
    plain = _plain(key, (path, repr(key)))
    if isinstance(plain, (dict, list)):
        problem = f"has a key of type {type(key).__name__}, which JSON cannot carry"
        raise PromptrunInvalidMessageError(problem, path=_spelled(path))
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
    """Return the value in types nearer to JSON's."""
    if isinstance(value, bytes | bytearray | memoryview):
        raise PromptrunInvalidMessageError(f"is of type {type(value).__name__}; JSON carries text: send base64")
    if isinstance(value, set | frozenset):
        return sorted(value, key=repr)
    if isinstance(value, Mapping):
        return dict(value)
    try:
        return to_jsonable_python(value, by_alias=False)
    except ValueError as error:
        problem = f"is of type {type(value).__name__}, which JSON cannot carry"
        raise PromptrunInvalidMessageError(problem) from error


_PLAIN: dict[type, Callable[[Any, _Path], object]] = {
    type(None): _plain_same,
    str: _plain_same,
    int: _plain_int,
    float: _plain_float,
    list: _plain_list,
    dict: _plain_dict,
}
