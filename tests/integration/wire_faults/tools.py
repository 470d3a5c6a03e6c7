"""Tool calls as vendors spell them: index, id, name and arguments missing, repeated, blank or of the wrong type."""

from __future__ import annotations

from typing import Any

from langchain_promptrun.testing import Fault
from wire_faults.fault import PLAIN, STREAMED, Answer, WireFault
from wire_faults.wire import chunk, events, tail, whole

_ABSENT = object()
_INDEXES = {"index-missing": _ABSENT, "index-null": None, "index-0": 0, "index-as-text": "0"}
_F, _G = ("f", {"x": 1, "y": "two"}), ("g", {"z": [3]})
_F_TEXT, _G_TEXT = '{"x": 1, "y": "two"}', '{"z": [3]}'
_END = (chunk(finish="tool_calls"), tail())


def _call(
    index: Any = _ABSENT, ident: Any = _ABSENT, name: Any = _ABSENT, arguments: Any = _ABSENT, **more: Any
) -> dict[str, Any]:
    """One entry of `tool_calls`; what is absent is left out."""
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not _ABSENT}
    known = {"index": index, "id": ident, "type": "function", "function": function}
    return {key: value for key, value in known.items() if value is not _ABSENT} | more


def _streamed(name: str, *deltas: Any, calls: Any = (_F,), **more: Any) -> WireFault:
    """Each delta is one entry, or a list of entries."""
    lists = [delta if isinstance(delta, list) else [delta] for delta in deltas]
    return WireFault(
        name=f"tools-{name}",
        items=[events(*(chunk({"tool_calls": entries}) for entries in lists), *_END)],
        styles=STREAMED,
        sees=Answer(text="", tool_calls=calls, finish="tool_calls", **more),
    )


def _whole(name: str, *entries: Any, calls: Any = (_F,), **more: Any) -> WireFault:
    return WireFault(
        name=f"tools-whole-{name}",
        items=[Fault(body=whole({"content": None, "tool_calls": list(entries)}, "tool_calls"))],
        styles=PLAIN,
        sees=Answer(text="", tool_calls=calls, finish="tool_calls", **more),
    )


def _matrix(label: str, index: Any) -> list[WireFault]:
    """One call in pieces, two at once, two one after the other, two interleaved by their ids."""
    both = [_F, _G]
    first, second = _call(index, "a", "f", _F_TEXT), _call(index, "b", "g", _G_TEXT)
    return [
        _streamed(
            f"{label}-one-in-pieces",
            _call(index, "a", "f", ""),
            _call(index, arguments=_F_TEXT[:9]),
            _call(index, arguments=_F_TEXT[9:]),
        ),
        _streamed(f"{label}-two-at-once", [first, second], calls=both),
        _streamed(f"{label}-two-in-a-row", first, second, calls=both),
        _streamed(
            f"{label}-two-interleaved",
            _call(index, "a", "f", _F_TEXT[:5]),
            _call(index, "b", "g", _G_TEXT[:5]),
            _call(index, "a", arguments=_F_TEXT[5:]),
            _call(index, "b", arguments=_G_TEXT[5:]),
            calls=both,
        ),
    ]


def _no_arguments(label: str, arguments: Any) -> list[WireFault]:
    return [
        _streamed(f"no-arguments-as-{label}", _call(0, "a", "f", arguments), calls=[("f", {})]),
        _whole(f"no-arguments-as-{label}", _call(_ABSENT, "a", "f", arguments), calls=[("f", {})]),
    ]


_EMPTY = {"null": None, "empty-text": "", "null-as-text": "null", "braces": "{}", "nothing": _ABSENT}
_HALVES = (_call(0, arguments=_F_TEXT[:9]), _call(0, arguments=_F_TEXT[9:]))

FAULTS = [
    *(fault for label, index in _INDEXES.items() for fault in _matrix(label, index)),
    *(fault for label, arguments in _EMPTY.items() for fault in _no_arguments(label, arguments)),
    _streamed("id-missing", _call(0, name="f", arguments=_F_TEXT)),
    _streamed("id-null", _call(0, None, "f", _F_TEXT)),
    _streamed("id-empty", _call(0, "", "f", _F_TEXT)),
    _streamed("id-same-for-two", _call(0, "a", "f", _F_TEXT), _call(1, "a", "g", _G_TEXT), calls=[_F, _G]),
    _streamed(
        "id-in-each-delta",
        *(
            _call(0, "a", arguments=text) | {"function": {"name": "f", "arguments": text}}
            for text in (_F_TEXT[:9], _F_TEXT[9:])
        ),
    ),
    _streamed("id-empty-in-later-deltas", _call(0, "a", "f", _F_TEXT[:9]), _call(0, "", arguments=_F_TEXT[9:])),
    _streamed(
        "name-in-each-delta",
        _call(0, "a", "f", ""),
        *(call | {"function": call["function"] | {"name": "f"}} for call in _HALVES),
    ),
    _streamed(
        "name-blank-in-later-deltas",
        _call(0, "a", "f", ""),
        *(call | {"function": call["function"] | {"name": ""}} for call in _HALVES),
    ),
    _streamed("name-blank-at-first", _call(0, "a", "", ""), _call(0, name="f"), *_HALVES),
    _streamed(
        "name-null-in-later-deltas",
        _call(0, "a", "f", ""),
        *(call | {"function": call["function"] | {"name": None}} for call in _HALVES),
    ),
    _streamed(
        "name-in-two-pieces",
        _call(0, "a", "get_", ""),
        _call(0, name="weather"),
        *_HALVES,
        calls=[("get_weather", _F[1])],
    ),
    _streamed("type-missing", {"index": 0, "id": "a", "function": {"name": "f", "arguments": _F_TEXT}}),
    _streamed("unknown-keys", _call(0, "a", "f", _F_TEXT, extra_content={"google": {"thought_signature": "c2ln"}})),
    _streamed("arguments-as-object", _call(0, "a", "f", _F[1])),
    _streamed(
        "arguments-letter-by-letter", _call(0, "a", "f", ""), *(_call(0, arguments=letter) for letter in _F_TEXT)
    ),
    _streamed("arguments-broken", _call(0, "a", "f", "{x: 1}"), calls=(), invalid=[("f", "{x: 1}")]),
    _streamed("all-again-at-the-end", _call(0, "a", "f", _F_TEXT), _call(0, "a", "f", _F_TEXT)),
    _streamed("index-does-not-begin-at-0", _call(7, "a", "f", _F_TEXT), _call(9, "b", "g", _G_TEXT), calls=[_F, _G]),
    _streamed("finish-told-twice", _call(0, "a", "f", _F_TEXT), calls=[_F]),
    WireFault(
        name="tools-with-text-before",
        items=[events(chunk({"content": "Wait."}), chunk({"tool_calls": [_call(0, "a", "f", _F_TEXT)]}), *_END)],
        styles=STREAMED,
        sees=Answer(text="Wait.", tool_calls=[_F], finish="tool_calls"),
    ),
    WireFault(
        name="tools-on-the-finish",
        items=[events(chunk({"tool_calls": [_call(0, "a", "f", _F_TEXT)]}, finish="tool_calls"), tail())],
        styles=STREAMED,
        sees=Answer(text="", tool_calls=[_F], finish="tool_calls"),
    ),
    _whole("arguments-as-object", _call(_ABSENT, "a", "f", _F[1])),
    _whole("id-null", _call(_ABSENT, None, "f", _F_TEXT)),
    _whole("id-same-for-two", _call(_ABSENT, "a", "f", _F_TEXT), _call(_ABSENT, "a", "g", _G_TEXT), calls=[_F, _G]),
    _whole("arguments-broken", _call(_ABSENT, "a", "f", '{"x": '), calls=(), invalid=[("f", '{"x": ')]),
]
