"""Sort the pieces of tool calls into calls, and tell which of them may be executed.

OpenAI's format (Chat Completions reference, "chat.completion.chunk"): `index` tells the calls apart, `id` and `name`
come once, `arguments` come in pieces. Gateways leave out, repeat and change each of these. The rule, in this order:

1. An entry of a server-side tool or of an unknown type is kept as it came and is never executable. So is what has its
   id, what has its index under no other name, and what has no id, index and name right after it.
2. An entry belongs to the open call of its id at its index, else of its index, else of its id, else of its position in
   a list of several without indexes, else to the one opened last. The first id and the first name of a call win.
3. With a name it may open a call instead: under another name and a new id, or at a new index or position; under the
   same name and a new id, or under another name alone, where the open call is complete; under the same name alone,
   where the open call is complete and an object begins. Nothing tells that a custom call is complete, so its name
   opens another only under a new id without an index, or at a new index. Without a name an entry opens a call only
   under a new id at a new index beside a complete call.
4. A call that says the same as one that stands, in any spelling, under the same id and name, is that one.
5. A piece of arguments continues the JSON so far where it can. Else, where it begins an object anew, it repeats what
   came so far: only what is new counts, and a placeholder such as `{}` is replaced. Anything else breaks the JSON.
6. A call with a name whose arguments are a JSON object is executable. Any other is invalid: no name, broken JSON,
   another name inside its arguments, or, where the answer did not end by a stop or by its calls, the last call if it is
   one of a custom tool or has no arguments.
7. So is a call of two readings: arguments under an id that returns after another, or whose id and index say nothing
   where two calls have none yet; a custom call's name again with a new id at its index, or with all its text; whole
   arguments that may be the grown ones of the call before, with the same id and index (then both are invalid).
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_promptrun._responses.metadata import TEXTS, Entries, Facts
from langchain_promptrun._responses.partial_call import KNOWN_KEYS, TWO_CALLS, Entry, PartialCall
from langchain_promptrun._wire.json import HALF, SurrogateJoiner

if TYPE_CHECKING:
    from collections.abc import Mapping


class ToolPiece(NamedTuple):
    """What one delta adds to one tool call; `id` and `name` come with a call's first piece."""

    slot: int
    id: str | None
    name: str | None
    args: str


class ToolCalls:
    """The tool calls of one message; `announced` has them in the order in which they went out."""

    def __init__(self, seed: str = "", tool_names: Mapping[str, str] | None = None) -> None:
        self._seed = seed
        self._tool_names = tool_names or {}
        self._calls: list[PartialCall] = []
        self._without_args: list[PartialCall] = []
        self._ids: set[str] = set()
        # By index, by id, by both, and by position.
        self._newest: dict[object, PartialCall] = {}
        self._positions = 0
        self._flowing: PartialCall | None = None
        self.announced: list[PartialCall] = []
        self._server_calls = Entries(TEXTS)
        # Names by index, id and position.
        self._server_names: dict[object, str] = {}
        self._server_call_is_newest = False
        self._surrogates = SurrogateJoiner()

    @property
    def size(self) -> int:
        kept = [(call.id, call.name, call.text, call.extras.whole()) for call in self._calls]
        return len(repr((kept, self._server_calls.whole())))

    def feed(self, entries: list[Any]) -> list[ToolPiece]:
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
        # A call that says only what an earlier one says, under the same id and name, is that one.
        calls = [call for call in self._calls if not (call.twin and (call.is_blank or call.says_the_same(call.twin)))]
        pieces = []
        for call in calls:
            half = HALF if call.slot in self._surrogates.held else ""
            rest = call.finish(half, cut_off=cut_off and call is calls[-1])
            if rest is not None and (piece := self._piece(call, *rest)) is not None:
                pieces.append(piece)
            call.name = self._tool_names.get(call.name, call.name)
        return pieces

    def facts(self) -> dict[str, Any]:
        calls = self.announced
        facts = {
            "tool_call_extras": {call.id: extras for call in calls if (extras := call.kept_extras())},
            "tool_call_errors": {call.id: {"error": call.error, "guard": call.guard} for call in calls if call.error},
            "server_tool_calls": self._server_calls.whole(),
        }
        return {key: value for key, value in facts.items() if value}

    def _feed_fast_path(self, entry: dict[str, Any]) -> ToolPiece | None:
        """Take an entry that only brings more arguments of the newest call, as most entries of a stream do."""
        call = self._flowing
        if call is None or not KNOWN_KEYS.issuperset(entry) or entry.get("id"):
            return None
        function = entry.get("function")
        if not call.is_flowing or entry.get("index") != call.index or type(function) is not dict or len(function) != 1:
            return None
        args = function.get("arguments")
        if type(args) is not str or not args or not self._surrogates.lets_pass(args) or not call.append(args):
            return None
        return ToolPiece(call.slot, None, None, args)

    def _feed_entry(self, wire: dict[str, Any], position: int | None) -> ToolPiece | None:
        entry = Entry(wire, position)
        keys = ((entry.id, entry.wire_index), entry.wire_index, entry.id, entry.place)
        found = (self._newest.get(key) for key in keys if key is not None)
        # The open call that the entry continues, should it open none.
        call = next((call for call in found if call is not None), self._calls[-1] if self._calls else None)
        if self._is_server_call(wire, entry, call):
            self._keep_server_call(wire, entry)
            return None
        args = entry.args
        if call is None or self._opens(entry, call):
            call = self._open(entry, call)
        elif entry.name and call.name:
            call.note_name(entry)
        elif args.strip() and call.is_blank:
            self._judge_owner(entry)
        self._note_keys(call, entry)
        call.extras.update(entry.extras)
        new = call.add(entry, self._surrogates.join(call.slot, args))
        return None if new is None else self._piece(call, *new)

    def _judge_owner(self, entry: Entry) -> None:
        """Tell of arguments that may be those of more than one call: their index and id are unknown."""
        keys = {entry.wire_index, entry.id} - {None, ""}
        if not keys or not keys.isdisjoint(self._newest):
            return
        self._without_args = [call for call in self._without_args if call.is_blank]
        if len(self._without_args) > 1:
            for call in self._without_args:
                call.fail(TWO_CALLS)
            self._without_args.clear()

    def _piece(self, call: PartialCall, name: str, args: str) -> ToolPiece | None:
        if call.is_announced:
            return ToolPiece(call.slot, None, name or None, args) if name or args else None
        call.is_announced = True
        self.announced.append(call)
        return ToolPiece(call.slot, call.id, self._tool_names.get(name, name) or None, args)

    def _is_server_call(self, wire: dict[str, Any], entry: Entry, call: PartialCall | None) -> bool:
        """Decide by point 1 of the rule, and keep an entry that says nothing of a call before the first call."""
        if not entry.kind:
            return True
        if entry.id and (entry.id in self._server_names or entry.id in self._newest):
            return entry.id in self._server_names
        if (name := self._server_names.get(entry.place)) is not None:
            return entry.name in {"", name}
        if entry.id or entry.name:
            return False
        if self._server_call_is_newest and entry.place is None:
            return True
        return call is None and not entry.args.strip() and not KNOWN_KEYS.issuperset(wire)

    def _keep_server_call(self, wire: dict[str, Any], entry: Entry) -> None:
        self._server_calls.add([wire])
        for key in (entry.place, entry.id):
            if key is not None and key != "":
                self._server_names[key] = entry.name or self._server_names.get(key, "")
        if not entry.kind:
            self._flowing, self._server_call_is_newest = None, True
            if (call := self._newest.get(entry.id)) is not None:
                call.fail("The call is one of the server's own tools.")

    def _opens(self, entry: Entry, call: PartialCall) -> bool:
        """Decide by points 2 and 3 of the rule whether an entry opens a call beside the open one."""
        has_new_id = entry.id != "" and entry.id not in self._newest
        has_new_place = entry.place is not None and entry.place not in self._newest
        if not (entry.name and call.name):
            return has_new_id and has_new_place and (entry.name != "" or call.is_complete)
        if entry.name != call.name:
            return has_new_id or has_new_place or call.is_complete
        if has_new_place:
            return has_new_id or not call.is_blank
        return call.ends_before(entry, has_new_id=has_new_id)

    def _open(self, entry: Entry, beside: PartialCall | None) -> PartialCall:
        call_id = entry.id
        if not call_id or call_id in self._ids:
            seed = f"{self._seed}:{len(self._calls)}"
            call_id = f"call_{(uuid.uuid5(uuid.NAMESPACE_OID, seed) if self._seed else uuid.uuid4()).hex}"
        self._ids.add(call_id)
        call = PartialCall(len(self._calls), call_id, entry, Facts(TEXTS))
        self._calls.append(call)
        self._without_args.append(call)
        # A name in pieces is known as one of ours only when it is whole.
        call.holds_name = bool(self._tool_names)
        if beside is not None and beside.name == entry.name:
            has_known_id, has_known_place = entry.id in self._newest, entry.place in self._newest
            # A new id with the same name and nothing else may pad a call that is complete.
            call.may_be_padding = has_known_place and not has_known_id
            if has_known_id or (has_known_place and not entry.id):
                call.twin = self._newest.get(entry.id, beside)
                call.may_be_grown = self._newest.get((entry.id, entry.wire_index)) is call.twin
        self._flowing, self._server_call_is_newest = None if call.is_custom else call, False
        self._server_names.pop(entry.place, None)
        position = entry.place[1] if isinstance(entry.place, tuple) else None
        if position is None:
            self._newest[entry.wire_index] = call
        else:
            # Later entries may have indexes.
            self._newest.setdefault(position, call)
        if call.twin is None:
            self._newest[None, self._positions if position is None else position] = call
            self._positions += 1
        return call

    def _note_keys(self, call: PartialCall, entry: Entry) -> None:
        """Let a call be found by an entry's index and id; a newer one with the same id stays before it."""
        if entry.wire_index is not None:
            self._newest.setdefault(entry.wire_index, call)
        if not entry.id:
            return
        if not call.wire_id:
            call.wire_id = call.speaker = entry.id
            if not call.is_announced and entry.id not in self._ids:
                call.id = entry.id
                self._ids.add(entry.id)
        for key in ((entry.id, call.index), entry.id):
            known = self._newest.get(key)
            if known is None or known.slot < call.slot:
                self._newest[key] = call
