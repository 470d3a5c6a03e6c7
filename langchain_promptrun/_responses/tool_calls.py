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
   One that may be either, such as `{"a":1}` after `{"a":`, is decided by the next piece or by the end.
6. A call with a name whose arguments are a JSON object is executable. Any other is invalid: no name, broken JSON,
   another name inside its arguments, or, where the answer did not end by a stop or by its calls, the last call if it is
   one of a custom tool or has no arguments.
7. So is a call of two readings: arguments under an id that returns after another, or whose id and index say nothing
   where two calls have none yet; a custom call's name again with a new id at its index, or with all its text; whole
   arguments that may be the grown ones of the call before, with the same id and index (then both are invalid).
"""

from __future__ import annotations

import json
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_promptrun._responses.metadata import TEXTS, Entries, Facts
from langchain_promptrun._wire import json as _json
from langchain_promptrun._wire.json import (
    HALF,
    JsonScanner,
    SurrogateJoiner,
    cut_escape,
    without_halves,
    without_surrogates,
)
from langchain_promptrun.errors import PromptrunInvalidMessageError

if TYPE_CHECKING:
    from collections.abc import Mapping

_FUNCTION = "function"
# Keys of an entry in OpenAI's format, and of its function or custom tool.
_KNOWN_BODIES = frozenset({"custom", _FUNCTION})
_KNOWN_KEYS = _KNOWN_BODIES | {"index", "id", "type"}
_ARGUMENTS = ("arguments", "parameters", "input", "args")  # OpenAI's, Llama's, Anthropic's and custom tools', Google's
_KNOWN_INNER = frozenset({"name", *_ARGUMENTS})
_LONGEST_INDEX = 9
# Anthropic's ids of calls that its own servers run; gateways pass them on as functions.
_SERVER_ID = "srvtoolu_"
# langchain-core's name for the one argument of a tool that takes a text.
_CUSTOM_START, _CUSTOM_END = '{"__arg1": "', '"}'
# Arguments that stand for none.
_PLACEHOLDERS = frozenset({"", "{}", "{ }", "[]", "[ ]", "null", '""'})
_PLACEHOLDER_STARTS = frozenset(text[:size] for text in _PLACEHOLDERS for size in range(len(text) + 1))
_LONGEST_PLACEHOLDER = 64  # with blanks around it
_BYTE_ORDER_MARK = "\ufeff"
_decoder = json.JSONDecoder(strict=False)
_read = _decoder.decode
_MAY_BEGIN_ANEW = frozenset("{ \t\r\n")

_NO_NAME = "The call has no name."
_NOT_AN_OBJECT = "The arguments are not a JSON object."
_CUT_OFF = "The answer was cut off before the call was complete."
_TWO_CALLS = "The arguments may be those of two calls."


class ToolPiece(NamedTuple):
    """What one delta adds to one tool call; `id` and `name` come with a call's first piece."""

    slot: int
    id: str | None
    name: str | None
    args: str


class _Entry:
    """One entry: `place` is its index or position; arguments are whole where they came as an object."""

    def __init__(self, wire: dict[str, Any], position: int | None) -> None:
        wire = _nested(wire)
        self.is_custom = isinstance(wire.get("custom"), dict)
        inner_key = "custom" if self.is_custom else _FUNCTION
        found = wire.get(inner_key)
        inner: dict[str, Any] = found if isinstance(found, dict) else {}
        index = str(wire.get("index")).removesuffix(".0")
        is_index = len(index) <= _LONGEST_INDEX and index.removeprefix("-").isdecimal()
        self.index = int(index) if is_index else None
        self.place = (None, position) if self.index is None and position is not None else self.index
        self.id, self.name, said = map(_text, (wire.get("id"), inner.get("name"), wire.get("type")))
        # By these a call is found, in this order.
        keys = (self.id and (self.id, self.index), self.index, self.id, self.place)
        self.keys = [key for key in keys if key not in {None, ""}]
        self.args, self.is_whole = _args(next((inner[key] for key in _ARGUMENTS if inner.get(key) is not None), None))
        said = said or inner_key
        is_servers = self.id.startswith(_SERVER_ID) or "server" in said.lower()
        self.kind = said if (self.is_custom or _FUNCTION in said.lower()) and not is_servers else ""
        self.extras = _without(_KNOWN_KEYS, wire)
        if unknown := _without(_KNOWN_INNER, inner):
            self.extras[inner_key] = unknown


class PartialCall:
    """One call as far as it has come, without a kind where it is a server's; `args` are None where it must not run."""

    def __init__(self, slot: int, call_id: str, entry: _Entry) -> None:
        self.slot, self.id, self.index = slot, call_id, entry.index
        self.kind, self.is_custom = entry.kind, entry.is_custom
        self.wire_id = self.name = self.error = self.guard = ""
        # The id under which the newest arguments came, and those before it.
        self.speaker = ""
        self._earlier_speakers: set[str] = set()
        self.extras = Facts(TEXTS)
        # An earlier call with the same id and name, as long as this one says nothing else.
        self.twin: PartialCall | None = None
        self.holds_name = self.may_be_grown = self.may_be_padding = self.is_announced = self.is_flowing = False
        self._restart()
        self.sent = self._name_sent = 0
        # How much of the arguments has come again, while they are repeated.
        self.repeated: int | None = None
        # A piece that holds all so far or is the value that comes next, until the next piece or the end tells.
        self.unsure = b""
        self._grows = False
        self.args: dict[str, Any] | None = None

    @property
    def text(self) -> str:
        return self.bytes.decode()

    @property
    def is_blank(self) -> bool:
        return not self.bytes or self.bytes.isspace()

    @property
    def is_placeholder(self) -> bool:
        return len(self.bytes) <= _LONGEST_PLACEHOLDER and self.text.strip() in _PLACEHOLDERS

    @property
    def is_complete(self) -> bool:
        """Whether the arguments so far are whole; nothing tells it of a text."""
        return self.is_custom or self._scan().is_complete

    def fail(self, problem: str) -> None:
        """Make the call invalid; the first problem counts."""
        self.error = self.error or problem

    def ends_before(self, entry: _Entry, *, has_new_id: bool) -> bool:
        if self.is_custom:
            return has_new_id and entry.index is None
        begins_object = entry.args.lstrip().startswith(("{", '"'))
        return self.is_complete and (has_new_id or (begins_object and not self.is_placeholder))

    def note_name(self, entry: _Entry) -> None:
        if self.is_blank:
            return
        if entry.name != self.name:
            self.fail(f'The name "{entry.name}" came before the arguments were complete.')
        elif self.is_custom and entry.args.strip():
            data, start = _escaped(entry.args).encode(), len(_CUSTOM_START)
            repeats_text = start < len(self.bytes) <= len(data) + start and data.startswith(self.bytes[start:])
            if repeats_text or entry.id not in {"", self.wire_id}:
                self.fail(_TWO_CALLS)

    def add(self, entry: _Entry, args: str) -> tuple[str, str] | None:
        """Take an entry's name, and its arguments as far as they are whole characters; return what may go out now."""
        size = len(self.bytes)
        if self.is_blank or not self.name:
            # A name may be repeated, cumulative or a further part.
            self.name += entry.name.removeprefix(self.name)
        if args:
            self._add_args(entry, args)
        if len(self.bytes) != size and entry.id not in {"", self.speaker}:
            if entry.id in self._earlier_speakers:
                self.fail(_TWO_CALLS)
            self._earlier_speakers.add(self.speaker)
            self.speaker = entry.id
        is_held = self.twin is not None or (self.is_blank and (self.may_be_padding or self.holds_name))
        return self._release() if self.name and not is_held else None

    def _add_args(self, entry: _Entry, piece: str) -> None:
        if self.is_custom:
            piece = ("" if self.bytes else _CUSTOM_START) + _escaped(piece)
        elif self.bytes:
            piece = self._new_part(entry, piece)
        else:
            piece = piece.removeprefix(_BYTE_ORDER_MARK)
            piece = _once(piece) if "}{" in piece else piece
        data, twin = piece.encode(), self.twin
        self.bytes += data
        if twin is None or not data or data.isspace():
            return
        if self.is_custom:
            differs = not twin.bytes.startswith(data, len(self.bytes) - len(data))
        else:
            differs = (self.is_complete or not self._scan().is_legal) and not self.says_the_same(twin)
        if differs:
            if self.may_be_grown and _grows(twin.text, self.text):
                self.error = twin.error = _TWO_CALLS
            self.twin = None

    def _new_part(self, entry: _Entry, piece: str) -> str:
        """Return what a piece adds to the arguments so far, by point 5 of the rule."""
        if self.unsure:
            self._decide(holds_all=piece.encode().startswith(self.unsure) and JsonScanner(piece).is_legal)
        begins_anew = piece.lstrip().startswith("{")
        holds_all = begins_anew and piece.encode().startswith(self.bytes)
        is_whole = entry.is_whole and not self.is_placeholder
        if is_whole:
            # An object may end the text that began it, in the other usual spelling.
            spellings = piece, json.dumps(_json.loads(entry.args), ensure_ascii=False)
            piece = next((spelled for spelled in spellings if spelled.startswith(self.text)), piece)
        elif self.repeated is None and not (holds_all and self._grows) and (not begins_anew or self._continues(piece)):
            self.unsure = piece.encode() if holds_all else b""
            return "" if holds_all else piece
        self._grows = self._grows or (holds_all and len(piece.encode()) > len(self.bytes))
        return self._unsaid(piece, begins_anew=begins_anew, is_whole=is_whole)

    def _unsaid(self, piece: str, *, begins_anew: bool, is_whole: bool) -> str:
        """Return what is new in a piece that repeats the arguments so far, all of one that breaks them."""
        data = piece.encode()
        start = 0 if begins_anew else self.repeated or 0
        known = self.bytes[start : start + len(data)]
        if data.startswith(known):
            end = start + len(known)
            self.repeated = None if end == len(self.bytes) else end
            return data[len(known) :].decode()
        piece = self.bytes[:start].decode() + piece  # what looked like a repetition counts, too
        self.repeated = None
        if self.is_placeholder:
            self._restart()
        elif begins_anew and (own := self._meaning()) is not None and own == _meaning(piece):
            return ""
        elif is_whole:
            self.fail(_NOT_AN_OBJECT)
        return piece

    def _decide(self, *, holds_all: bool) -> None:
        if holds_all:
            self._grows = True
            self._restart()
        self.bytes += self.unsure
        self.unsure = b""

    def _continues(self, piece: str) -> bool:
        if not self._scan().is_legal:
            return False
        self._scanned += len(piece.encode())
        is_legal = self._scanner.feed(piece)
        if not is_legal:
            self._restart(self.bytes)
        return is_legal

    def _restart(self, data: bytes | bytearray = b"") -> None:
        """Begin with other arguments, or read the same from their beginning again."""
        self.bytes, self._scanner, self._scanned = bytearray(data), JsonScanner(), 0

    def _scan(self) -> JsonScanner:
        """Return what has read the arguments so far; each byte is looked at once."""
        self._scanner.feed(self.bytes[self._scanned :].decode())
        self._scanned = max(self._scanned, len(self.bytes))  # a piece may be read, and unsure
        return self._scanner

    def says_the_same(self, other: PartialCall) -> bool:
        if self.bytes == other.bytes:
            return True
        mine = self._meaning()
        return mine is not None and mine == other._meaning()

    def _meaning(self) -> str | None:
        is_whole = not self.is_custom and (self.is_complete or self.is_placeholder)
        return _meaning(self.text) if is_whole else None

    def _release(self, *, is_last: bool = False) -> tuple[str, str]:
        name, self._name_sent = self.name[self._name_sent :], len(self.name)
        if not self.is_flowing and not self.is_custom:
            text = self.bytes[: _LONGEST_PLACEHOLDER + 1].decode("utf-8", "ignore")
            may_be_placeholder = len(text) <= _LONGEST_PLACEHOLDER and text.strip() in _PLACEHOLDER_STARTS
            if may_be_placeholder or text.lstrip().startswith('"'):
                return name, ""
        args = self.bytes[self.sent :].decode()
        cut = "" if is_last or "\\" not in args else cut_escape(args)
        self.sent = len(self.bytes) - len(cut)
        self.is_flowing = not cut
        return name, without_halves(args.removesuffix(cut))

    def finish(self, rest: str, *, cut_off: bool) -> tuple[str, str] | None:
        """Judge the call by point 6 of the rule; return what is left of it, None for no call."""
        if self.unsure:
            self._decide(holds_all=not cut_off and JsonScanner(self.unsure.decode()).is_complete)
        self.bytes += rest.encode()
        if not (self.name or self.bytes or self.extras.whole()) or (self.may_be_padding and self.is_blank):
            return None
        text = without_halves(self.text)
        if self.is_custom:
            text = (text or _CUSTOM_START) + _CUSTOM_END
        elif not self.is_flowing:
            if text.lstrip().startswith('"'):
                # The arguments may stand in a JSON string.
                text = text.strip()
                with suppress(ValueError, RecursionError):
                    inner = without_halves(str(_read(text)).removeprefix(_BYTE_ORDER_MARK))
                    text = text if parse_arguments(inner) is None else inner.strip()
            self.bytes = bytearray() if text.strip() in _PLACEHOLDERS else bytearray(text.encode())
        self._judge(text, is_cut_off=cut_off and (self.is_custom or self.is_blank))
        self.is_flowing = True
        return self._release(is_last=True)

    def _judge(self, text: str, *, is_cut_off: bool) -> None:
        self.args = parse_arguments(text)
        if not self.name:
            self.error = _NO_NAME
        elif is_cut_off:
            self.error = _CUT_OFF
        elif self.args is None:
            self.fail(_NOT_AN_OBJECT)
        if self.error:
            self.args = None
            # langchain-core closes cut-off JSON when it sums chunks, drops what it cannot read at the end, and gives up
            # only where a bracket closes what is not open.
            ends = JsonScanner(self.text).ends if self.text.lstrip().startswith("{") or not self.bytes else None
            if ends is not None:
                string, brackets = ends
                self.guard = string + ("}" if brackets.endswith("]") else "]")
                self.bytes += self.guard.encode()
        elif self.is_custom or self.is_blank:
            self.bytes = bytearray(text.encode() if self.is_custom else b"{}")

    def finished(self) -> Any:
        """Return langchain-core's `ToolCall` or `InvalidToolCall`; summed chunks cannot have an error, so none has."""
        call: dict[str, Any] = {"type": "tool_call", "id": self.id, "name": self.name, "args": self.args}
        if self.args is None:
            call |= {"type": "invalid_tool_call", "name": self.name or None, "error": None}
            call["args"] = without_halves(self.text)
        return call

    def kept_extras(self) -> dict[str, Any]:
        extras = self.extras.whole()
        if self.kind != _FUNCTION:
            extras["type"] = self.kind
        try:
            _json.dumps(self.args)
        except ValueError:  # NaN and infinities
            extras["arguments"] = self.text
        return extras


class ToolCalls:
    """The tool calls of one message: the `latest` one to open, and those `announced`, in the order of their pieces."""

    def __init__(self, seed: str = "", tool_names: Mapping[str, str] | None = None) -> None:
        self._seed = seed
        self._tool_names = tool_names or {}
        self._calls: list[PartialCall] = []
        self._ids: set[str] = set()
        # By index, by id, by both, and by position; server-side calls are among them.
        self._newest: dict[object, PartialCall] = {}
        self._positions = 0
        self.latest: PartialCall | None = None
        self.announced: list[PartialCall] = []
        self._server_calls = Entries(TEXTS)
        self._surrogates = SurrogateJoiner()

    @property
    def size(self) -> int:
        kept = [(call.id, call.name, call.text, call.extras.whole()) for call in self._calls]
        return len(repr((kept, self._server_calls.whole())))

    def feed(self, value: Any) -> list[ToolPiece]:
        entries = value if isinstance(value, list) else [value]
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
        call, function = self.latest, entry.get("function")
        if call is None or not call.is_flowing or call.is_custom or entry.get("index") != call.index:
            return None
        if entry.get("id") or not _KNOWN_KEYS.issuperset(entry) or type(function) is not dict or len(function) != 1:
            return None
        args = function.get("arguments")
        if type(args) is not str or not args or not self._surrogates.lets_pass(args):
            return None
        # an escape, whole or cut, may be half of a surrogate pair
        if args[0] in _MAY_BEGIN_ANEW or call.repeated is not None or call.unsure or "\\u" in f"{args}u":
            return None
        call.bytes += args.encode()
        call.sent = len(call.bytes)
        return ToolPiece(call.slot, None, None, args)

    def _feed_entry(self, wire: dict[str, Any], position: int | None) -> ToolPiece | None:
        entry = _Entry(wire, position)
        found = [self._newest[key] for key in entry.keys if key in self._newest]
        # The open call that the entry continues, should it open none.
        call = self._calls[-1] if self._calls else None
        if found or not (entry.name or entry.keys):
            call = found[0] if found else self.latest
        if self._is_server_call(wire, entry, call):
            self._keep_server_call(wire, entry, call)
            return None
        if call is None or self._opens(entry, call):
            call = self._open(entry, call)
        elif entry.name and call.name:
            call.note_name(entry)
        elif call.is_blank and not found:
            self._judge_owner(entry)
        self._note_keys(call, entry)
        call.extras.update(entry.extras)
        new = call.add(entry, self._surrogates.join(call.slot, entry.args))
        return None if new is None else self._piece(call, *new)

    def _judge_owner(self, entry: _Entry) -> None:
        blank = [call for call in self._calls if call.is_blank]
        if entry.keys and entry.args.strip() and len(blank) > 1:
            for call in blank:
                call.fail(_TWO_CALLS)

    def _piece(self, call: PartialCall, name: str, args: str) -> ToolPiece | None:
        if call.is_announced:
            return ToolPiece(call.slot, None, name or None, args) if name or args else None
        call.is_announced = True
        self.announced.append(call)
        return ToolPiece(call.slot, call.id, self._tool_names.get(name, name) or None, args)

    def _is_server_call(self, wire: dict[str, Any], entry: _Entry, call: PartialCall | None) -> bool:
        """Decide by point 1 of the rule, and keep an entry that says nothing of a call before the first call."""
        if call is None:
            says_nothing = not (entry.id or entry.name or entry.args.strip() or _KNOWN_KEYS.issuperset(wire))
            return says_nothing or not entry.kind
        return not entry.kind or not (call.kind or self._opens(entry, call))

    def _keep_server_call(self, wire: dict[str, Any], entry: _Entry, call: PartialCall | None) -> None:
        self._server_calls.add([wire])
        if not entry.kind:
            known = self._newest.get(entry.id)
            if known is not None and known.kind:
                known.fail("The call is one of the server's own tools.")
            if call is None or call.kind:
                call = PartialCall(-1, entry.id, entry)
            self.latest = call
        if call is not None:
            call.name = entry.name or call.name
            self._newest |= dict.fromkeys(entry.keys, call)

    def _opens(self, entry: _Entry, call: PartialCall) -> bool:
        """Decide by points 1 to 3 of the rule whether an entry opens a call beside the open one."""
        has_new_id = entry.id != "" and entry.id not in self._newest
        has_new_place = entry.place is not None and entry.place not in self._newest
        if not call.kind:
            return entry.name not in {"", call.name} and self._newest.get(entry.id) is not call
        if not (entry.name and call.name):
            return has_new_id and has_new_place and (entry.name != "" or call.is_complete)
        if entry.name != call.name:
            return has_new_id or has_new_place or call.is_complete
        if has_new_place:
            return has_new_id or not call.is_blank
        return call.ends_before(entry, has_new_id=has_new_id)

    def _open(self, entry: _Entry, beside: PartialCall | None) -> PartialCall:
        call_id = entry.id
        if not call_id or call_id in self._ids:
            seed = f"{self._seed}:{len(self._calls)}"
            call_id = f"call_{(uuid.uuid5(uuid.NAMESPACE_OID, seed) if self._seed else uuid.uuid4()).hex}"
        self._ids.add(call_id)
        call = self.latest = PartialCall(len(self._calls), call_id, entry)
        self._calls.append(call)
        # A name in pieces is known as one of ours only when it is whole.
        call.holds_name = bool(self._tool_names)
        if beside is not None and beside.name == entry.name:
            has_known_id, has_known_place = entry.id in self._newest, entry.place in self._newest
            # A new id with the same name and nothing else may pad a call that is complete.
            call.may_be_padding = has_known_place and not has_known_id
            if has_known_id or (has_known_place and not entry.id):
                call.twin = self._newest.get(entry.id, beside)
                call.may_be_grown = self._newest.get((entry.id, entry.index)) is call.twin
        position = entry.place[1] if isinstance(entry.place, tuple) else None
        if position is None:
            self._newest[entry.index] = call
        else:
            # Later entries may have indexes.
            self._newest.setdefault(position, call)
        if call.twin is None:
            self._newest[None, self._positions if position is None else position] = call
            self._positions += 1
        return call

    def _note_keys(self, call: PartialCall, entry: _Entry) -> None:
        """Let a call be found by an entry's index and id; a newer one with the same id stays before it."""
        if entry.index is not None:
            self._newest.setdefault(entry.index, call)
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


def parse_arguments(text: str) -> dict[str, Any] | None:
    """Read arguments that are complete, raw line breaks in strings too, as langchain-core does; None for no object."""
    if text.strip() in _PLACEHOLDERS:
        return {}
    try:
        arguments = _read(text)
    except (ValueError, RecursionError):
        return None
    return arguments if isinstance(arguments, dict) else None


def _meaning(text: str) -> str | None:
    arguments = parse_arguments(text)
    return None if arguments is None else json.dumps(arguments, sort_keys=True)


def _grows(text: str, later: str) -> bool:
    """Tell whether arguments may be later, longer ones of the same call."""
    first, second = parse_arguments(text), parse_arguments(later)
    if first is None or second is None or not first.keys() <= second.keys():
        return False
    pairs = [(value, second[key]) for key, value in first.items()]
    return all(
        type(value) is type(new) if isinstance(value, dict | list) else str(new).startswith(str(value))
        for value, new in pairs
    )


def _escaped(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _nested(wire: dict[str, Any]) -> dict[str, Any]:
    """Put name and arguments under `function`; Cloudflare's Workers AI writes them beside the id."""
    if not _KNOWN_BODIES.isdisjoint(wire) or wire.get("type") not in (None, _FUNCTION):
        return wire
    beside = {key: value for key, value in wire.items() if key in _KNOWN_INNER}
    return _without(_KNOWN_INNER, wire) | {_FUNCTION: beside} if beside else wire


def _text(value: object) -> str:
    return without_surrogates(value) if isinstance(value, str) else ""


def _args(value: object) -> tuple[str, bool]:
    """Write arguments that came as a JSON value as a text; return it, and whether they came as an object."""
    if isinstance(value, str):
        return value, False
    try:
        return "" if value is None or value == [] else _json.dumps(value).decode(), isinstance(value, dict)
    except PromptrunInvalidMessageError as error:
        # NaN has a place in it; what is nested too deeply has none, and makes the call invalid.
        return (json.dumps(value), isinstance(value, dict)) if error.path else ("[", False)


def _once(text: str) -> str:
    """Take out what is repeated or a placeholder, where a gateway joined the arguments of several deltas."""
    with suppress(ValueError, RecursionError):
        end = _decoder.raw_decode(text)[1]
        if text[:end] * (len(text) // end) == text:
            return text[:end]
        if text[:end] in _PLACEHOLDERS:
            return text[end:]
    return text


def _without(known: frozenset[str], values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in known and value is not None}
