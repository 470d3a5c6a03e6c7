"""Put one tool call together; `tool_calls` tells which entries are its own, and states the rule."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from langchain_promptrun._wire import json as _json
from langchain_promptrun._wire.json import open_ends

if TYPE_CHECKING:
    from langchain_promptrun._responses.metadata import Facts

FUNCTION = "function"
# langchain-core's name for the one argument of a tool that takes a text.
_CUSTOM_START, _CUSTOM_END = '{"__arg1": "', '"}'

# Arguments that stand for none.
_PLACEHOLDERS = frozenset({"", "{}", "{ }", "[]", "[ ]", "null", '""'})
_PLACEHOLDER_STARTS = frozenset(text[:size] for text in _PLACEHOLDERS for size in range(len(text) + 1))
_LONGEST_PLACEHOLDER = 64  # with blanks around it
_BYTE_ORDER_MARK = "\ufeff"
_MAY_BEGIN_ANEW = frozenset("{ \t\r\n")

NO_NAME = "The call has no name."
NOT_AN_OBJECT = "The arguments are not a JSON object."
CUT_OFF = "The answer was cut off before the call was complete."
TWO_CALLS = "The arguments may be those of two calls."

INCOMPLETE, COMPLETE, ILLEGAL = range(3)
"""What a `JsonScanner` says of a text."""
# A string as far as it goes and its closing quote, or a backslash whose character is still to come; a mark; a word.
_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+("|\\|)|[{}\[\]:,]|[^\s{}\[\]:,"]+', re.DOTALL)
_CLOSING = {"{": "}", "[": "]"}
# The tokens that may follow a token; "#" stands for a word. A comma in a list counts as a colon: a value must follow.
_VALUE = '{["#'
_FOLLOWING = {
    "": _VALUE,
    ":": _VALUE,
    "[": _VALUE + "]",
    "{": '"}',
    ",": '"',
    '"': ":,}]",
    "#": "#,}]",
    "}": ",}]",
    "]": ",}]",
}


class Entry(NamedTuple):
    """One entry: `place` is its index or position, `args` are spellings of its arguments; a server's has no `kind`."""

    wire_index: int | None
    place: int | tuple[None, int] | None
    id: str
    name: str
    args: tuple[str, ...]
    kind: str
    is_custom: bool
    extras: dict[str, Any]


class PartialCall:
    """One call as far as it has come."""

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
        self._repeated: int | None = None
        # What is known at the end; None where the call must not be executed.
        self.args: dict[str, Any] | None = None
        self._meaning: bytes | None = None

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

    def append(self, args: str) -> bool:
        """Add a piece of arguments that flow; return False, and add nothing, where it may begin an object anew."""
        if args[0] in _MAY_BEGIN_ANEW or self._repeated is not None:
            return False
        self.bytes += args.encode()
        self._sent = len(self.bytes)
        return True

    def ends_before(self, entry: Entry, *, has_new_id: bool) -> bool:
        """Return whether an entry with the same name, at no new place, is another call's."""
        if self.is_custom:
            return has_new_id and entry.wire_index is None
        begins_object = entry.args[0].lstrip().startswith(("{", '"'))
        return self.is_complete and (has_new_id or (begins_object and not self.is_placeholder))

    def note_name(self, entry: Entry) -> None:
        """Take a further entry with a name: it may tell of another call."""
        problem = ""
        if entry.name != self.name and not self.is_blank:
            problem = f'The name "{entry.name}" came before the arguments were complete.'
        elif self.is_custom and entry.args[0].strip() and not self.is_blank:
            data, start = _escaped(entry.args[0]).encode(), len(_CUSTOM_START)
            repeats_text = start < len(self.bytes) <= len(data) + start and data.startswith(self.bytes[start:])
            if repeats_text or entry.id not in {"", self.wire_id}:
                problem = TWO_CALLS
        self.error = self.error or problem

    def add(self, entry: Entry, args: tuple[str, ...]) -> tuple[str, str] | None:
        """Take an entry's name and its arguments, in one or more spellings; return what may go out now."""
        size = len(self.bytes)
        if self.is_blank or not self.name:
            # A name may be repeated, cumulative or a further part.
            self.name += entry.name.removeprefix(self.name)
        if len(args) > 1 and self.bytes and not self.is_placeholder:
            self._complete(args)
        elif args[0]:
            self._add_args(args[0])
        if len(self.bytes) != size:
            self._note_speaker(entry.id)
        if not self.name or self.twin is not None or (self.is_blank and (self.may_be_padding or self.holds_name)):
            return None
        return self._release()

    def _note_speaker(self, wire_id: str) -> None:
        """Take the id under which arguments came: one that returns after another tells of two calls."""
        if wire_id in {"", self.speaker}:
            return
        if wire_id in self._earlier_speakers:
            self.error = self.error or TWO_CALLS
        self._earlier_speakers.add(self.speaker)
        self.speaker = wire_id

    def is_repetition(self) -> bool:
        """Return whether the call says only what an earlier one says, under the same id and name."""
        return self.twin is not None and (self.is_blank or self._says_the_same(self.twin))

    def finish(self, rest: str, *, cut_off: bool) -> tuple[str, str] | None:
        """Take the end of the message, and half a character that was left; judge the call by point 6 of the rule.

        Return what was held back, and after it what keeps an invalid call from being completed; None for no call.
        """
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
        if not self.name:
            self.error = NO_NAME
        elif is_cut_off:
            self.error = CUT_OFF
        elif self.args is None:
            self.error = self.error or NOT_AN_OBJECT
        if self.error:
            self.args = None
            self.guard = _guard(self.text)
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
            differs = self._scan() != INCOMPLETE and not self._says_the_same(twin)
        if differs:
            if self.may_be_grown and _grows(twin.text, self.text):
                self.error = twin.error = TWO_CALLS
            self.twin = None

    def _says_the_same(self, other: PartialCall) -> bool:
        if self.bytes == other.bytes:
            return True
        mine = self._own_meaning()
        return mine is not None and mine == other._own_meaning()

    def _own_meaning(self) -> bytes | None:
        """Return what complete arguments mean; only blanks can follow them, so it is read once."""
        if self.is_custom or not (self._scan() == COMPLETE or self.is_placeholder):
            return None
        self._meaning = self._meaning or _meaning(self.text)
        return self._meaning

    def _complete(self, spellings: tuple[str, ...]) -> None:
        """Take arguments that came as an object, so as a whole, after a text."""
        begun = self.text
        rest = next((text.removeprefix(begun) for text in spellings if text.startswith(begun)), None)
        if rest is None:
            rest = "" if (own := _meaning(begun)) and own == _meaning(spellings[0]) else spellings[0]
            self.error = self.error or (rest and NOT_AN_OBJECT)
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
        """Return whether the arguments so far can go on with a piece."""
        self._scan()
        scanner = self._scanner.copy()
        if scanner.feed(piece) == ILLEGAL:
            return False
        self._scanner = scanner
        self._scanned += len(piece.encode())
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


class JsonScanner:
    """Tells, piece by piece and in linear time, whether a text can still become JSON.

    Numbers and words are not looked into.
    """

    def __init__(self) -> None:
        self._last = ""  # the last token
        self._brackets: list[str] = []
        self._open_string = ""

    def copy(self) -> JsonScanner:
        """Return a scanner that stands where this one does."""
        other = JsonScanner()
        other._last, other._brackets, other._open_string = self._last, self._brackets.copy(), self._open_string
        return other

    @property
    def verdict(self) -> int:
        """INCOMPLETE, COMPLETE or ILLEGAL."""
        if self._last not in _FOLLOWING:
            return ILLEGAL
        is_open = self._brackets or self._open_string or self._last in {"", "#"}
        return INCOMPLETE if is_open else COMPLETE

    def feed(self, text: str) -> int:
        """Take a piece; return the verdict on all pieces."""
        is_known = bool(self._open_string)
        for token in _TOKEN.finditer(self._open_string + text):
            end = token[1]
            self._open_string = "" if end in {None, '"'} else f'"{end}'
            if not is_known:
                self._last = self._stepped(token[0] if end is None else '"')
            is_known = False
        return self.verdict

    def _stepped(self, text: str) -> str:
        kind = text if text in ':,"{}[]' else "#"
        is_after_all = self._last and not self._brackets and kind != "#"
        if is_after_all or kind not in _FOLLOWING.get(self._last, ""):
            return "illegal"
        if kind in _CLOSING:
            self._brackets.append(_CLOSING[kind])
        elif kind in "}]" and self._brackets.pop() != kind:
            return "illegal"
        elif kind == "," and self._brackets[-1] == "]":
            return ":"
        return kind


def parse_arguments(text: str) -> dict[str, Any] | None:
    """Read arguments that are complete; return None where they are not a JSON object.

    Raw line breaks inside strings are let through, as langchain-core does.
    """
    if text.strip() in _PLACEHOLDERS:
        return {}
    if text.startswith(_BYTE_ORDER_MARK):
        return None
    try:
        arguments = _json.loads(text)
    except (ValueError, RecursionError):
        try:
            arguments = json.loads(text, strict=False)
        except (ValueError, RecursionError):
            return None
    return arguments if isinstance(arguments, dict) else None


def _decoded_once_more(text: str) -> str:
    """Return the arguments inside a JSON string that holds them; any other string as it is."""
    try:
        inner = str(_json.loads(text)).removeprefix(_BYTE_ORDER_MARK)
    except (ValueError, RecursionError):
        return text
    return text if parse_arguments(inner) is None else inner


def _meaning(text: str) -> bytes | None:
    """Return what two spellings of the same arguments share; None where a text holds none, or orjson cannot tell."""
    arguments = parse_arguments(text)
    try:
        return None if arguments is None else orjson.dumps(arguments, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        return None


def _grows(text: str, later: str) -> bool:
    """Return whether arguments may be later, longer ones of the same call."""
    first, second = parse_arguments(text), parse_arguments(later)
    if first is None or second is None:
        return False
    return all(key in second and _may_become(value, second[key]) for key, value in first.items())


def _may_become(value: object, later: object) -> bool:
    if isinstance(value, dict | list):
        return type(value) is type(later)
    return str(later).startswith(str(value))


def _guard(text: str) -> str:
    """Return what must follow arguments so that langchain-core never completes them to an object.

    langchain-core closes cut-off JSON when it sums chunks, drops what it cannot read at the end, and gives up only
    where a bracket closes what is not open.
    """
    ends = open_ends(text) if not text or text.lstrip().startswith("{") else None
    if ends is None:
        return ""
    string, brackets = ends
    return string + ("}" if brackets.endswith("]") else "]")


def _escaped(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]
