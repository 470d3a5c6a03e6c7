"""Read one entry of a `tool_calls` list, of a delta or of a whole message."""

from __future__ import annotations

from typing import Any, NamedTuple

from langchain_promptrun._responses.arguments import spellings
from langchain_promptrun._responses.partial_call import FUNCTION
from langchain_promptrun._wire.json import without_surrogates

KNOWN = frozenset({"index", "id", "type", "function", "custom"})
"""Keys of an entry in OpenAI's format."""
_LONGEST_INDEX = 9
# Anthropic's ids of calls that its own servers run; gateways pass them on as functions.
_SERVER_ID = "srvtoolu_"


class Entry(NamedTuple):
    """One entry: `place` is its index or position, `args` are spellings of its arguments; a server's has no `kind`."""

    wire_index: int | None
    place: int | tuple[None, int] | None
    id: str
    name: str
    args: tuple[str, ...]
    kind: str
    is_custom: bool

    @property
    def has_args(self) -> bool:
        return bool(self.args[0].strip())

    @property
    def begins_object(self) -> bool:
        return self.args[0].lstrip().startswith(("{", '"'))


def read_entry(wire: dict[str, Any], position: int | None) -> Entry:
    """Read an entry whose index may be missing or a string."""
    inner, call_id = inner_of(wire), _text(wire.get("id"))
    is_custom = isinstance(wire.get("custom"), dict)
    args = inner["input"] if is_custom and "input" in inner else inner.get("arguments")
    index = _wire_index(wire.get("index"))
    return Entry(
        index,
        (None, position) if index is None and position is not None else index,
        call_id,
        _text(inner.get("name")),
        spellings(args),
        "" if call_id.startswith(_SERVER_ID) else _kind(_text(wire.get("type")), is_custom=is_custom),
        is_custom,
    )


def _kind(said: str, *, is_custom: bool) -> str:
    """Return the type of a call that a client runs, an empty string for a server's own or an unknown one."""
    words = said.lower()
    if "server" in words:
        return ""
    if is_custom or not said:
        return said or ("custom" if is_custom else FUNCTION)
    return said if FUNCTION in words else ""


def inner_of(wire: dict[str, Any]) -> dict[str, Any]:
    """Return what an entry says of its function or custom tool."""
    inner = next((value for key in ("custom", FUNCTION) if isinstance(value := wire.get(key), dict)), None)
    return inner or {}


def _text(value: object) -> str:
    return without_surrogates(value) if isinstance(value, str) else ""


def _wire_index(value: object) -> int | None:
    if isinstance(value, int):
        return value
    if isinstance(value, str) and value.isdecimal() and len(value) <= _LONGEST_INDEX:
        return int(value)
    return int(value) if isinstance(value, float) and value.is_integer() else None
