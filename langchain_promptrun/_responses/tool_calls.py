"""Tool calls as they arrive: one call a slot, whatever the vendor does with index, id, name and arguments.

OpenAI's rule (Chat Completions reference, "chat.completion.chunk") is: `index` tells the calls apart, `id` and
`name` come once, `arguments` come in pieces. Vendors behind gateways leave out the index, send it as a string or as
0 for every call, leave out or repeat ids and names, and write "no arguments" in five ways. This module makes pieces
that langchain-core merges into the right calls. Pure.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_promptrun._responses.arguments import arguments_text, mismatch, parse_arguments
from langchain_promptrun._wire.size_limit import Room
from langchain_promptrun._wire.text import Surrogates, without_surrogates

if TYPE_CHECKING:
    from collections.abc import Iterator

_KNOWN = frozenset({"index", "id", "type", "function"})
_KNOWN_FUNCTION = frozenset({"name", "arguments"})
_LONGEST_INDEX = 9
_LONGEST_NULL = 64  # with blanks around it
_CALL = 64
"""Bytes that an open call counts, before anything of it goes out."""


class ToolPiece(NamedTuple):
    """What one delta adds to one tool call; `id` and `name` come with a call's first piece."""

    slot: int
    id: str | None
    name: str | None
    args: str


class WholeCall(NamedTuple):
    """A tool call at the end of its message; `args` is None when the text is not a JSON object."""

    slot: int
    id: str
    name: str
    text: str
    args: dict[str, Any] | None


class _Slot:
    """One call as far as it is known; `held` may still turn out to spell "null", which means no arguments."""

    __slots__ = ("announced", "args", "extras", "held", "id", "index", "last", "name", "wire_id", "wire_index")

    def __init__(self, index: int, call_id: str, wire_index: int | None, wire_id: str) -> None:
        self.index = index
        self.id = call_id
        self.wire_index = wire_index
        self.wire_id = wire_id
        self.name = ""
        self.args = bytearray()
        self.held = ""
        self.last = ""
        self.announced = False
        self.extras: dict[str, Any] = {}

    def add_name(self, name: str) -> str:
        """Take a name that may be blank, repeated, cumulative or a further part; return what it adds."""
        if not name or name == self.name or (self.name and self.args):
            return ""
        added = name.removeprefix(self.name)
        self.name += added
        return added

    def add_args(self, args: str) -> str:
        """Take a piece of arguments; return what may go out now."""
        if not self.args:
            args = self.held + args
            if len(args) <= _LONGEST_NULL and "null".startswith(args.strip()):
                self.held = args
                return ""
            self.held = ""
        self.write(args)
        return args

    def write(self, args: str) -> None:
        """Keep a piece; a text in one piece takes less room than its pieces."""
        if args:
            self.last = args
            self.args += args.encode()

    @property
    def text(self) -> str:
        return self.args.decode()

    def release(self) -> str:
        """Return what was held back, unless it says that there are no arguments."""
        rest, self.held = self.held, ""
        return "" if rest.strip() in {"", "null"} else rest

    def starts_anew(self, name: str, args: str) -> bool:
        """Whether an entry that looks like this call is the next one: this one is whole, and it has a name again."""
        if not name or not (args or name != self.name) or not self.last.rstrip().endswith("}"):
            return False
        return parse_arguments(self.text) is not None

    def is_repeated(self, wire_id: str, name: str, args: str) -> bool:
        """Whether an entry with the same id says all of this call once more, as some servers do at the end."""
        return bool(wire_id) and wire_id == self.wire_id and name == self.name and args == self.text

    def says_something(self) -> bool:
        return bool(self.announced or self.name or self.args or self.extras)


class ToolCalls:
    """The tool calls of one message.

    Args:
        seed: What tells this message from all others. Missing call ids are made from it, so that the same bytes give
            the same ids whoever reads them; when it is empty they are random.
        room: Where what is kept, and does not go out, is counted; by default without a limit.
    """

    __slots__ = ("_announced", "_ids", "_newest", "_room", "_seed", "_slots", "_surrogates")

    def __init__(self, seed: str = "", room: Room | None = None) -> None:
        self._seed = seed
        self._room = room or Room()
        self._slots: list[_Slot] = []
        self._ids: set[str] = set()
        # By index; by id and index; by id and `...`, which stands for any index.
        self._newest: dict[object, _Slot] = {}
        self._announced: list[_Slot] = []
        self._surrogates = Surrogates()

    def take(self, entries: list[Any]) -> list[ToolPiece]:
        """Take the `tool_calls` list of a delta or of a whole message.

        Args:
            entries: The list as it came.

        Returns:
            The pieces that it adds.
        """
        several = len(entries) > 1
        pieces = []
        for position, entry in enumerate(entries):
            if isinstance(entry, dict):
                piece = None if several else self._continued(entry)
                piece = piece or self._take_entry(entry, position if several else None)
                if piece is not None:
                    pieces.append(piece)
        return pieces

    def extras(self) -> dict[str, dict[str, Any]]:
        """Return the keys of each call that OpenAI's format does not know (signatures), by call id."""
        return {slot.id: slot.extras for slot in self._slots if slot.extras}

    def end(self) -> list[ToolPiece]:
        """Take the end of the message.

        Returns:
            What was held back, and the calls of which nothing went out yet.
        """
        pieces = []
        for slot in filter(_Slot.says_something, self._slots):
            rest = slot.release() + self._surrogates.end(slot.index)
            slot.write(rest)
            if rest or not slot.announced:
                pieces.append(self._piece(slot, slot.name, rest))
        return pieces

    def guards(self) -> list[ToolPiece]:
        """Return a last piece for each call whose arguments are not a JSON object.

        langchain-core completes cut-off JSON when it sums chunks. A character or two that cannot be completed keep
        such a call among the invalid ones: half a call must never look like one that may be executed.
        """
        guards = [(slot, mismatch(slot.text)) for slot in self._announced]
        return [self._piece(slot, "", guard) for slot, guard in guards if guard]

    def whole(self) -> Iterator[WholeCall]:
        """Yield each call as it stands at the end of the message, in the order in which they went out."""
        for slot in self._announced:
            yield WholeCall(slot.index, slot.id, slot.name, slot.text, parse_arguments(slot.text))

    def _continued(self, entry: dict[str, Any]) -> ToolPiece | None:
        """Take an entry that only brings more arguments of the newest call, as most entries of a stream do."""
        if not self._slots or not _KNOWN.issuperset(entry) or entry.get("id"):
            return None
        slot = self._slots[-1]
        function = entry.get("function")
        if not slot.args or entry.get("index") != slot.wire_index or type(function) is not dict or len(function) != 1:
            return None
        args = function.get("arguments")
        if type(args) is not str or not args or not self._surrogates.lets_pass(args):
            return None
        slot.write(args)
        return ToolPiece(slot.index, None, None, args)

    def _take_entry(self, entry: dict[str, Any], position: int | None) -> ToolPiece | None:
        function = entry.get("function")
        function = function if isinstance(function, dict) else {}
        name = _text(function.get("name"))
        args = arguments_text(function.get("arguments"))
        slot = self._slot(entry, position, name, args)
        if slot is None:
            return None
        self._keep_extras(slot, entry, function)
        added = slot.add_name(name)
        args = slot.add_args(self._surrogates.join(slot.index, args))
        return self._piece(slot, added, args) if args or added else None

    def _piece(self, slot: _Slot, name: str, args: str) -> ToolPiece:
        call_id = None if slot.announced else slot.id
        if not slot.announced:
            slot.announced = True
            self._announced.append(slot)
        return ToolPiece(slot.index, call_id, name or None, args)

    def _slot(self, entry: dict[str, Any], position: int | None, name: str, args: str) -> _Slot | None:
        """Find the call that an entry belongs to, or open one; None when the entry only repeats a call."""
        index = _wire_index(entry.get("index"), position)
        wire_id = _text(entry.get("id"))
        known = self._by_id(wire_id, index) if wire_id else self._by_index(index)
        if known is None:
            return self._open(index, wire_id)
        if not known.starts_anew(name, args):
            if wire_id and not known.wire_id:
                known.wire_id = wire_id
                self._note_id(known)
            return known
        return None if known.is_repeated(wire_id, name, args) else self._open(index, wire_id)

    def _open(self, index: int | None, wire_id: str) -> _Slot:
        self._room.take(_CALL)
        call_id = wire_id if wire_id and wire_id not in self._ids else self._made_id()
        slot = _Slot(len(self._slots), call_id, index, wire_id)
        self._slots.append(slot)
        self._ids.add(call_id)
        self._newest[index] = slot
        if wire_id:
            self._note_id(slot)
        return slot

    def _note_id(self, slot: _Slot) -> None:
        """Let a call be found by the wire's id; a newer one with the same id stays before it."""
        for key in ((slot.wire_id, slot.wire_index), (slot.wire_id, ...)):
            known = self._newest.get(key)
            if known is None or known.index < slot.index:
                self._newest[key] = slot

    def _made_id(self) -> str:
        if not self._seed:
            return f"call_{uuid.uuid4().hex}"
        return f"call_{uuid.uuid5(uuid.NAMESPACE_OID, f'{self._seed}:{len(self._slots)}').hex}"

    def _by_id(self, wire_id: str, index: int | None) -> _Slot | None:
        """Newest call with this id at this index; else the one at this index that has no id yet."""
        places = (...,) if index is None else (index, None)
        found = [slot for place in places if (slot := self._newest.get((wire_id, place))) is not None]
        if found:
            return max(found, key=_place)
        nameless = self._by_index(index)
        return nameless if nameless is not None and not nameless.wire_id else None

    def _by_index(self, index: int | None) -> _Slot | None:
        """Newest call at this index; without an index, the newest call."""
        if index is None:
            return self._slots[-1] if self._slots else None
        return self._newest.get(index)

    def _keep_extras(self, slot: _Slot, entry: dict[str, Any], function: dict[str, Any]) -> None:
        for key, value in entry.items():
            if key not in _KNOWN and value is not None:
                self._room.keep(slot.extras, key, value)
        for key, value in function.items():
            if key not in _KNOWN_FUNCTION and value is not None:
                self._room.keep(slot.extras.setdefault("function", {}), key, value)


def _place(slot: _Slot) -> int:
    return slot.index


def _text(value: object) -> str:
    return without_surrogates(value) if isinstance(value, str) else ""


def _wire_index(value: object, position: int | None) -> int | None:
    """Read an index that may be missing or a string; the place in a list of several calls stands in for it."""
    if isinstance(value, int):
        return value
    if isinstance(value, str) and value.isdecimal() and len(value) <= _LONGEST_INDEX:
        return int(value)
    return position
