"""Put one tool call together; `tool_calls` tells which entries are its own, and states the rule."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from langchain_promptrun._wire import json as _json
from langchain_promptrun._wire.json import COMPLETE, ILLEGAL, INCOMPLETE, JsonScanner, without_surrogates

if TYPE_CHECKING:
    from langchain_promptrun._responses.metadata import Facts

FUNCTION = "function"
# Keys of an entry in OpenAI's format, and of its function or custom tool.
KNOWN_KEYS = frozenset({"index", "id", "type", "custom", FUNCTION})
_KNOWN_INNER = frozenset({"name", "arguments", "input"})
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
_read = json.JSONDecoder(strict=False).decode
_MAY_BEGIN_ANEW = frozenset("{ \t\r\n")

NO_NAME = "The call has no name."
NOT_AN_OBJECT = "The arguments are not a JSON object."
CUT_OFF = "The answer was cut off before the call was complete."
TWO_CALLS = "The arguments may be those of two calls."


class Entry:
    """One entry: `place` is its index or position; arguments are whole where they came as an object."""

    def __init__(self, wire: dict[str, Any], position: int | None) -> None:
        self.is_custom = isinstance(wire.get("custom"), dict)
        inner_key = "custom" if self.is_custom else FUNCTION
        found = wire.get(inner_key)
        inner: dict[str, Any] = found if isinstance(found, dict) else {}
        self.wire_index = _wire_index(wire.get("index"))
        self.place = (None, position) if self.wire_index is None and position is not None else self.wire_index
        self.id, self.name = _text(wire.get("id")), _text(inner.get("name"))
        args = inner.get("arguments")
        self.args, self.is_whole = _args(inner.get("input", args) if self.is_custom else args)
        said = _text(wire.get("type")) or inner_key
        is_servers = self.id.startswith(_SERVER_ID) or "server" in said.lower()
        self.kind = said if (self.is_custom or FUNCTION in said.lower()) and not is_servers else ""
        self.extras = {key: value for key, value in wire.items() if key not in KNOWN_KEYS and value is not None}
        if unknown := {key: value for key, value in inner.items() if key not in _KNOWN_INNER and value is not None}:
            self.extras[inner_key] = unknown


class PartialCall:
    """One call as far as it has come; `args` are known at the end, and None where it must not be executed."""

    def __init__(self, slot: int, call_id: str, entry: Entry, extras: Facts) -> None:
        self.slot = slot
        self.id = call_id
        self.index = entry.wire_index
        self.kind = entry.kind
        self.is_custom = entry.is_custom
        self.wire_id = self.name = self.error = self.guard = ""
        # The id under which the newest arguments came, and those before it.
        self.speaker = ""
        self._earlier_speakers: set[str] = set()
        self.extras = extras
        # An earlier call with the same id and name, as long as this one says nothing else.
        self.twin: PartialCall | None = None
        self.holds_name = self.may_be_grown = self.may_be_padding = self.is_announced = self.is_flowing = False
        self.bytes = bytearray()
        self._sent = self._name_sent = self._scanned = 0
        self._scanner = JsonScanner()
        # How much of the arguments has come again, while they are repeated.
        self._repeated: int | None = None
        self._meaning: str | None = None
        self.args: dict[str, Any] | None = None

    @property
    def text(self) -> str:
        return self.bytes.decode()

    @property
    def is_blank(self) -> bool:
        return not self.bytes or self.bytes.isspace()

    @property
    def is_placeholder(self) -> bool:
        """Whether the arguments so far stand for none."""
        return len(self.bytes) <= _LONGEST_PLACEHOLDER and self.text.strip() in _PLACEHOLDERS

    @property
    def is_complete(self) -> bool:
        """Whether the arguments so far are whole; nothing tells it of a text."""
        return self.is_custom or self._scan() == COMPLETE

    def fail(self, problem: str) -> None:
        """Make the call invalid; the first problem counts."""
        self.error = self.error or problem

    def append(self, args: str) -> bool:
        """Add a piece of arguments that flow; return False, and add nothing, where it may begin an object anew."""
        if args[0] in _MAY_BEGIN_ANEW or self._repeated is not None:
            return False
        self.bytes += args.encode()
        self._sent = len(self.bytes)
        return True

    def ends_before(self, entry: Entry, *, has_new_id: bool) -> bool:
        if self.is_custom:
            return has_new_id and entry.wire_index is None
        begins_object = entry.args.lstrip().startswith(("{", '"'))
        return self.is_complete and (has_new_id or (begins_object and not self.is_placeholder))

    def note_name(self, entry: Entry) -> None:
        if self.is_blank:
            return
        if entry.name != self.name:
            self.fail(f'The name "{entry.name}" came before the arguments were complete.')
        elif self.is_custom and entry.args.strip():
            data, start = _escaped(entry.args).encode(), len(_CUSTOM_START)
            repeats_text = start < len(self.bytes) <= len(data) + start and data.startswith(self.bytes[start:])
            if repeats_text or entry.id not in {"", self.wire_id}:
                self.fail(TWO_CALLS)

    def add(self, entry: Entry, args: str) -> tuple[str, str] | None:
        """Take an entry's name, and its arguments as far as they are whole characters; return what may go out now."""
        size = len(self.bytes)
        if self.is_blank or not self.name:
            # A name may be repeated, cumulative or a further part.
            self.name += entry.name.removeprefix(self.name)
        if entry.is_whole and args == entry.args and self.bytes and not self.is_placeholder:
            self._complete(args)
        elif args:
            self._add_args(args)
        if len(self.bytes) != size and entry.id not in {"", self.speaker}:
            if entry.id in self._earlier_speakers:
                self.fail(TWO_CALLS)
            self._earlier_speakers.add(self.speaker)
            self.speaker = entry.id
        is_held = self.twin is not None or (self.is_blank and (self.may_be_padding or self.holds_name))
        return self._release() if self.name and not is_held else None

    def finish(self, rest: str, *, cut_off: bool) -> tuple[str, str] | None:
        """Judge the call by point 6 of the rule; return what is left of it, None for no call."""
        self.bytes += rest.encode()
        if not (self.name or self.bytes or self.extras.whole()) or (self.may_be_padding and self.is_blank):
            return None
        if not self.is_flowing and not self.is_custom:
            text = self.text.strip()
            if text.startswith('"'):
                text = _decoded_once_more(text).strip()
                self.bytes = bytearray(text.encode())
            if text in _PLACEHOLDERS:
                self.bytes.clear()
        self._judge(is_cut_off=cut_off and (self.is_custom or self.is_blank))
        self.is_flowing = True
        return self._release()

    def _judge(self, *, is_cut_off: bool) -> None:
        text = (self.text or _CUSTOM_START) + _CUSTOM_END if self.is_custom else self.text
        self.args = parse_arguments(text)
        if not self.name or is_cut_off:
            self.error = CUT_OFF if self.name else NO_NAME
        elif self.args is None:
            self.fail(NOT_AN_OBJECT)
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
            call |= {"type": "invalid_tool_call", "name": self.name or None, "args": self.text, "error": None}
        return call

    def kept_extras(self) -> dict[str, Any]:
        """Return the call's keys that OpenAI's format does not know, and what its arguments do not tell."""
        extras = self.extras.whole()
        if self.kind != FUNCTION:
            extras["type"] = self.kind
        try:
            _json.dumps(self.args)
        except ValueError:  # NaN and infinities
            extras["arguments"] = self.text
        return extras

    def _add_args(self, piece: str) -> None:
        if self.is_custom:
            piece = ("" if self.bytes else _CUSTOM_START) + _escaped(piece)
        else:
            piece = self._new_part(piece) if self.bytes else piece.removeprefix(_BYTE_ORDER_MARK)
        data, twin = piece.encode(), self.twin
        self.bytes += data
        if twin is None or not data or data.isspace():
            return
        if self.is_custom:
            differs = not twin.bytes.startswith(data, len(self.bytes) - len(data))
        else:
            differs = self._scan() != INCOMPLETE and not self.says_the_same(twin)
        if differs:
            if self.may_be_grown and _grows(twin.text, self.text):
                self.error = twin.error = TWO_CALLS
            self.twin = None

    def says_the_same(self, other: PartialCall) -> bool:
        if self.bytes == other.bytes:
            return True
        mine = self._own_meaning()
        return mine is not None and mine == other._own_meaning()

    def _own_meaning(self) -> str | None:
        """Return what complete arguments mean; only blanks can follow them, so it is read once."""
        if self.is_custom or not (self._scan() == COMPLETE or self.is_placeholder):
            return None
        self._meaning = self._meaning or _meaning(self.text)
        return self._meaning

    def _complete(self, args: str) -> None:
        """Take arguments that came as an object, so as a whole, after a text: its rest, in either usual spelling."""
        begun = self.text
        spellings = (args, json.dumps(_json.loads(args), ensure_ascii=False))
        rest = next((text.removeprefix(begun) for text in spellings if text.startswith(begun)), None)
        if rest is None and (own := _meaning(begun)) and own == _meaning(args):
            return
        if rest is None:
            rest = args
            self.fail(NOT_AN_OBJECT)
        self.bytes += rest.encode()

    def _new_part(self, piece: str) -> str:
        """Return what a piece adds to the arguments so far, by point 5 of the rule."""
        begins_anew = piece.lstrip().startswith("{")
        if self._repeated is None and (not begins_anew or self._continues(piece)):
            return piece
        data = piece.encode()
        start = 0 if begins_anew else self._repeated or 0
        known = self.bytes[start : start + len(data)]
        if data.startswith(known):
            end = start + len(known)
            self._repeated = None if end == len(self.bytes) else end
            return data[len(known) :].decode()
        self._repeated = None
        if self.is_placeholder:
            self.bytes.clear()
            self._scanner, self._scanned, self._meaning = JsonScanner(), 0, None
        elif begins_anew and (own := self._own_meaning()) is not None and own == _meaning(piece):
            return ""
        return piece

    def _continues(self, piece: str) -> bool:
        if self._scan() == ILLEGAL:
            return False
        self._scanned += len(piece.encode())
        if self._scanner.feed(piece) == ILLEGAL:
            self._scanner, self._scanned = JsonScanner(), 0  # the whole text is read again
            return False
        return True

    def _scan(self) -> int:
        """Return the verdict on the arguments so far; each byte is looked at once."""
        if self._scanned < len(self.bytes):
            self._scanner.feed(self.bytes[self._scanned :].decode())
            self._scanned = len(self.bytes)
        return self._scanner.verdict

    def _release(self) -> tuple[str, str]:
        name, self._name_sent = self.name[self._name_sent :], len(self.name)
        if not self.is_flowing and not self.is_custom:
            text = self.bytes[: _LONGEST_PLACEHOLDER + 1].decode("utf-8", "ignore")
            may_be_placeholder = len(text) <= _LONGEST_PLACEHOLDER and text.strip() in _PLACEHOLDER_STARTS
            if may_be_placeholder or text.lstrip().startswith('"'):
                return name, ""
        self.is_flowing = True
        args, self._sent = self.bytes[self._sent :].decode(), len(self.bytes)
        return name, args


def parse_arguments(text: str) -> dict[str, Any] | None:
    """Read arguments that are complete, raw line breaks in strings too, as langchain-core does; None for no object."""
    if text.strip() in _PLACEHOLDERS:
        return {}
    try:
        arguments = _read(text)
    except (ValueError, RecursionError):
        return None
    return arguments if isinstance(arguments, dict) else None


def _decoded_once_more(text: str) -> str:
    """Return the arguments inside a JSON string that holds them; any other string as it is."""
    try:
        inner = str(_read(text)).removeprefix(_BYTE_ORDER_MARK)
    except (ValueError, RecursionError):
        return text
    return text if parse_arguments(inner) is None else inner


def _meaning(text: str) -> str | None:
    """Return what two spellings of the same arguments share; None where a text holds none."""
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


def _wire_index(value: object) -> int | None:
    if isinstance(value, str):
        return int(value) if value.isdecimal() and len(value) <= _LONGEST_INDEX else None
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return value if isinstance(value, int) else None


def _text(value: object) -> str:
    return without_surrogates(value) if isinstance(value, str) else ""


def _args(value: object) -> tuple[str, bool]:
    """Write arguments that came as a JSON value as a text; return it, and whether they came as an object."""
    if isinstance(value, str):
        return value, False
    try:
        return "" if value is None or value == [] else _json.dumps(value).decode(), isinstance(value, dict)
    except ValueError:
        return "[", False  # makes the call invalid
