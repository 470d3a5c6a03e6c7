"""Sort the pieces of tool calls into calls, and tell which of them may be executed.

OpenAI's format (Chat Completions reference, "chat.completion.chunk"): `index` tells the calls apart, `id` and `name`
come once, `arguments` come in pieces. Gateways leave out, repeat and change each of these. The rule, in this order:

1. An entry of a server-side tool or of an unknown type is kept as it came and is never executable.
2. An entry belongs to the open call of its id at its index, else of its index, else of its id, else to the one opened
   last. The first id and the first name of a call win.
3. With a name it may open a call instead: under another name and a new id, or at a new index; under the same name and
   a new id, or under another name alone, where the open call is complete. Without a name it does so only under a new
   id at a new index beside a complete call.
4. A call that says the same as one that stands, under the same id and name, is that one.
5. A piece of arguments continues the JSON so far where it can. Else, where it begins an object anew, it repeats what
   came so far: only what is new counts, and a placeholder such as `{}` is replaced. Anything else is no JSON.
6. A call with a name whose arguments are a JSON object is executable. Any other is invalid: no name, no JSON, another
   name inside its arguments, or cut off by the length limit before its first argument.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_promptrun._responses.arguments import spellings
from langchain_promptrun._responses.body import SizeLimit
from langchain_promptrun._responses.metadata import Entries, Facts
from langchain_promptrun._responses.partial_call import FUNCTION, PartialCall, ToolPiece, WholeCall
from langchain_promptrun._wire.json import SurrogateJoiner, without_surrogates

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_KNOWN = frozenset({"index", "id", "type", "function", "custom"})
_KNOWN_INNER = frozenset({"name", "arguments", "input"})
_LONGEST_INDEX = 9
_CALL = 64
"""Bytes that an open call counts, beside its name and its arguments."""


class _Entry(NamedTuple):
    """One entry of a `tool_calls` list: `place` is its index, if any, `args` are spellings of its arguments."""

    place: int | None
    id: str
    name: str
    args: tuple[str, ...]
    kind: str
    is_custom: bool

    @property
    def has_args(self) -> bool:
        return bool(self.args[0].strip())


class ToolCalls:
    """The tool calls of one message."""

    def __init__(
        self, seed: str = "", limit: SizeLimit | None = None, tool_names: Mapping[str, str] | None = None
    ) -> None:
        self._seed = seed
        self._limit = limit or SizeLimit()
        self._tool_names = tool_names or {}
        self._calls: list[PartialCall] = []
        self._ids: set[str] = set()
        # By index, by id, and by both.
        self._newest: dict[object, PartialCall] = {}
        self._indexes: set[int | None] = set()
        self._announced: list[PartialCall] = []
        self._server_calls = Entries(self._limit, text_pieces=True)
        self._server_places: set[object] = set()
        self._surrogates = SurrogateJoiner()

    def feed(self, entries: list[Any]) -> list[ToolPiece]:
        """Take the `tool_calls` list of a delta or of a whole message; return the pieces that it adds."""
        several = len(entries) > 1
        pieces = []
        for position, entry in enumerate(entries):
            if isinstance(entry, dict):
                piece = None if several else self._feed_fast_path(entry)
                piece = piece or self._feed_entry(entry, position if several else None)
                if piece is not None:
                    pieces.append(piece)
        return pieces

    def end(self, *, cut_off: bool = False) -> list[ToolPiece]:
        """Take the end of the message; return what was held back, and what keeps invalid calls from being completed."""
        calls = [call for call in self._calls if not call.is_repetition()]
        pieces = []
        for call in calls:
            call.finish(self._surrogates.end(call.slot), cut_off=cut_off and call is calls[-1])
            if call.stands and (piece := self._piece(call, *call.release_all())) is not None:
                pieces.append(piece)
        return pieces

    def whole(self) -> Iterator[WholeCall]:
        """Yield each call at the end of the message, in the order in which they went out."""
        for call in self._announced:
            yield call.whole(self._own_name(call.name))

    def facts(self) -> dict[str, Any]:
        """Return what `additional_kwargs` keep of the calls beside their ids, names and arguments."""
        calls = self._announced
        facts = {
            "tool_call_extras": {call.id: extras for call in calls if (extras := call.kept_extras())},
            "tool_call_errors": {call.id: call.problem() for call in calls if call.error},
            "server_tool_calls": self._server_calls.whole(),
        }
        return {key: value for key, value in facts.items() if value}

    def _feed_fast_path(self, entry: dict[str, Any]) -> ToolPiece | None:
        """Take an entry that only brings more arguments of the newest call, as most entries of a stream do."""
        if not self._calls or not _KNOWN.issuperset(entry) or entry.get("id"):
            return None
        call = self._calls[-1]
        function = entry.get("function")
        if not call.is_flowing or entry.get("index") != call.index or type(function) is not dict or len(function) != 1:
            return None
        args = function.get("arguments")
        if type(args) is not str or not args or not self._surrogates.lets_pass(args) or not call.append(args):
            return None
        self._limit.add(len(args))
        return ToolPiece(call.slot, None, None, args)

    def _feed_entry(self, wire: dict[str, Any], position: int | None) -> ToolPiece | None:
        entry = _read_entry(wire, position)
        call = self._open_call(entry)
        if self._is_server_call(wire, entry, call):
            self._server_calls.add([wire])
            self._server_places.update(filter(_is_place, (entry.place, entry.id)))
            return None
        if call is None or self._opens(entry, call):
            call = self._open(entry, call)
        elif entry.name and call.name and entry.name != call.name and not call.is_blank:
            call.error = call.error or f'The name "{entry.name}" came before the arguments were complete.'
        self._note_id(call, entry)
        self._keep_extras(call, wire)
        return self._add(call, entry)

    def _add(self, call: PartialCall, entry: _Entry) -> ToolPiece | None:
        args = entry.args
        if not self._surrogates.lets_pass(args[0]):
            args = (self._surrogates.join(call.slot, args[0]),)
        self._limit.add(len(entry.name) + len(args[0]))
        out = call.add(entry.name, args)
        return None if out is None else self._piece(call, *out)

    def _piece(self, call: PartialCall, name: str, args: str) -> ToolPiece | None:
        if call.is_announced:
            return ToolPiece(call.slot, None, name or None, args) if name or args else None
        call.is_announced = True
        self._announced.append(call)
        return ToolPiece(call.slot, call.id, self._own_name(name) or None, args)

    def _own_name(self, name: str) -> str:
        return self._tool_names.get(name, name)

    def _is_server_call(self, wire: dict[str, Any], entry: _Entry, call: PartialCall | None) -> bool:
        """Decide by point 1 of the rule, and keep an entry that says nothing of a call where there is none."""
        if not entry.kind:
            return True
        if entry.name or entry.has_args:
            return False
        if not self._server_places.isdisjoint((entry.place, entry.id)):
            return True
        return call is None and not entry.id and not _KNOWN.issuperset(wire)

    def _open_call(self, entry: _Entry) -> PartialCall | None:
        """Find the call that an entry continues, should it open none."""
        keys: list[object] = [(entry.id, entry.place)] if entry.id else []
        keys += [] if entry.place is None else [entry.place]
        found = (self._newest.get(key) for key in (*keys, entry.id))
        return next((call for call in found if call is not None), self._calls[-1] if self._calls else None)

    def _opens(self, entry: _Entry, call: PartialCall) -> bool:
        """Decide by points 2 and 3 of the rule whether an entry opens a call beside the open one."""
        new_id = bool(entry.id) and entry.id not in self._newest
        new_index = entry.place is not None and entry.place not in self._indexes
        if entry.name and call.name:
            return _opens_by_name(entry, call, new_id=new_id, new_index=new_index)
        return new_id and new_index and (bool(entry.name) or call.is_complete)

    def _open(self, entry: _Entry, beside: PartialCall | None) -> PartialCall:
        self._limit.add(_CALL)
        call_id = entry.id if entry.id and entry.id not in self._ids else self._made_id()
        call = PartialCall(len(self._calls), call_id, entry.place, kind=entry.kind, is_custom=entry.is_custom)
        # A name in pieces is known as one of ours only when it is whole.
        call.holds_name = bool(self._tool_names)
        if beside is not None and beside.name == entry.name:
            if entry.id not in self._newest and entry.place in self._indexes:
                # A new id with the same name and nothing else may pad a call that is complete.
                call.may_be_padding = True
            if entry.id in self._newest or (not entry.id and entry.place in self._indexes):
                call.twin = self._newest.get(entry.id, beside)
        self._calls.append(call)
        self._ids.add(call_id)
        self._newest[entry.place] = call
        self._indexes.add(entry.place)
        return call

    def _note_id(self, call: PartialCall, entry: _Entry) -> None:
        """Let a call be found by the wire's id; a newer one with the same id stays before it."""
        if not entry.id:
            return
        if not call.wire_id:
            call.wire_id = entry.id
            if not call.is_announced and entry.id not in self._ids:
                call.id = entry.id
                self._ids.add(entry.id)
        for key in ((entry.id, call.index), entry.id):
            known = self._newest.get(key)
            if known is None or known.slot < call.slot:
                self._newest[key] = call

    def _made_id(self) -> str:
        if not self._seed:
            return f"call_{uuid.uuid4().hex}"
        return f"call_{uuid.uuid5(uuid.NAMESPACE_OID, f'{self._seed}:{len(self._calls)}').hex}"

    def _keep_extras(self, call: PartialCall, wire: dict[str, Any]) -> None:
        extras = {key: value for key, value in wire.items() if key not in _KNOWN and value is not None}
        inner = _inner(wire)
        if inner and (unknown := {k: v for k, v in inner.items() if k not in _KNOWN_INNER and v is not None}):
            extras["custom" if call.is_custom else FUNCTION] = unknown
        if extras:
            call.extras = call.extras or Facts(self._limit, text_pieces=True)
            call.extras.update(extras)


def _opens_by_name(entry: _Entry, call: PartialCall, *, new_id: bool, new_index: bool) -> bool:
    if entry.name != call.name:
        return new_id or new_index or call.is_complete
    if new_index:
        return new_id or not call.is_blank
    return call.is_complete and (new_id or (entry.has_args and not call.is_placeholder))


def _read_entry(wire: dict[str, Any], position: int | None) -> _Entry:
    """Read an entry whose index may be missing or a string; its place in a list of several stands in for it."""
    inner, kind = _inner(wire), _text(wire.get("type"))
    is_custom = isinstance(wire.get("custom"), dict)
    is_function = FUNCTION in kind.lower() or (not kind and not is_custom)
    if is_custom:
        kind = kind or "custom"
    elif is_function:
        kind = kind or FUNCTION
    else:
        kind = ""
    args = inner.get("input") if is_custom else inner.get("arguments")
    return _Entry(
        _wire_index(wire.get("index"), position),
        _text(wire.get("id")),
        _text(inner.get("name")),
        spellings(args),
        kind,
        is_custom,
    )


def _inner(wire: dict[str, Any]) -> dict[str, Any]:
    inner = next((value for key in ("custom", FUNCTION) if isinstance(value := wire.get(key), dict)), None)
    return inner or {}


def _is_place(value: object) -> bool:
    return value is not None and value != ""


def _text(value: object) -> str:
    return without_surrogates(value) if isinstance(value, str) else ""


def _wire_index(value: object, position: int | None) -> int | None:
    if isinstance(value, int):
        return value
    if isinstance(value, str) and value.isdecimal() and len(value) <= _LONGEST_INDEX:
        return int(value)
    return position
