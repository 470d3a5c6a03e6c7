"""Put one tool call together; `tool_calls` tells which pieces are its own, and states the rule."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_promptrun._responses.arguments import (
    BYTE_ORDER_MARK,
    COMPLETE,
    ILLEGAL,
    INCOMPLETE,
    PLACEHOLDERS,
    JsonScanner,
    can_be_written,
    decoded_once_more,
    grows,
    guard,
    may_be_placeholder,
    meaning,
    parse_arguments,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_promptrun._responses.metadata import Facts

FUNCTION = "function"
# langchain-core's name for the one argument of a tool that takes a text.
_CUSTOM_START, _CUSTOM_END = '{"__arg1": "', '"}'
_MAY_BEGIN_ANEW = frozenset("{ \t\r\n")

NO_NAME = "The call has no name."
NOT_AN_OBJECT = "The arguments are not a JSON object."
CUT_OFF = "The answer was cut off before the call was complete."
TWO_CALLS = "The arguments may be those of two calls."


class ToolPiece(NamedTuple):
    """What one delta adds to one tool call; `id` and `name` come with a call's first piece."""

    slot: int
    id: str | None
    name: str | None
    args: str


class WholeCall(NamedTuple):
    """A tool call at the end of its message; `args` is None where it must not be executed."""

    slot: int
    id: str
    name: str | None
    text: str
    args: dict[str, Any] | None


class PartialCall:
    """One call as far as it has come."""

    def __init__(self, slot: int, call_id: str, index: int | None, *, kind: str, is_custom: bool) -> None:
        self.slot = slot
        self.id = call_id
        self.index = index
        self.kind = kind
        self.is_custom = is_custom
        self.wire_id = self.name = self.error = self._guard = ""
        # The id under which the newest arguments came, and those before it.
        self._speaker = ""
        self._earlier: set[str] = set()
        self.extras: Facts | None = None
        # An earlier call with the same id and name, as long as this one says nothing else.
        self.twin: PartialCall | None = None
        self.holds_name = self.may_be_grown = self.may_be_padding = self.is_announced = self.is_flowing = False
        self.stands = True
        self.bytes = bytearray()
        self._sent = self._name_sent = self._scanned = 0
        self._scanner = JsonScanner()
        self._repeated: int | None = None
        self._parsed: dict[str, Any] | None = None
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
        return len(self.bytes) < len(_CUSTOM_START) and self.text.strip() in PLACEHOLDERS

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

    def add(self, name: str, args: Sequence[str]) -> tuple[str, str] | None:
        """Take a piece of the name and one of the arguments, in one or more spellings; return what may go out now."""
        if name and name != self.name and (self.is_blank or not self.name):
            # A name may be repeated, cumulative or a further part.
            self.name += name.removeprefix(self.name)
        if len(args) > 1 and self.bytes and not self.is_placeholder:
            self._complete(args)
        else:
            self._add_args(args[0])
        return None if self._is_held() else self._release()

    def note_speaker(self, wire_id: str) -> None:
        """Take the id under which arguments came: one that returns after another tells of two calls."""
        if wire_id in self._earlier:
            self.error = self.error or TWO_CALLS
        if wire_id != (speaker := self._speaker or self.wire_id):
            self._earlier.add(speaker)
        self._speaker = wire_id

    def repeats_text(self, text: str) -> bool:
        """Return whether a text begins with all of this custom call's, so may repeat it."""
        data, start = _escaped(text).encode(), len(_CUSTOM_START)
        return start < len(self.bytes) <= len(data) + start and data.startswith(self.bytes[start:])

    def is_repetition(self) -> bool:
        """Return whether the call says only what an earlier one says, under the same id and name."""
        return self.twin is not None and (self.is_blank or self._says_the_same(self.twin))

    def finish(self, rest: str, *, cut_off: bool) -> None:
        """Take the end of the message, and half a character that was left of the arguments."""
        self.bytes += rest.encode()
        says_something = self.name or self.bytes or self.extras
        self.stands = bool(says_something) and not (self.may_be_padding and self.is_blank)
        if not self.is_flowing and not self.is_custom:
            text = self.text.strip()
            if text.startswith('"'):
                text = decoded_once_more(text).strip()
                self.bytes = bytearray(text.encode())
            if text in PLACEHOLDERS:
                self.bytes.clear()
        self._judge(is_cut_off=cut_off and (self.is_custom or self.is_blank))

    def release_all(self) -> tuple[str, str]:
        """Return what is left, and after it what keeps an invalid call from being completed."""
        self.is_flowing = True
        name, args = self._release()
        return name, args + self._guard

    def whole(self, name: str) -> WholeCall:
        """Return the call at the end of the message, under the tool's own name."""
        return WholeCall(self.slot, self.id, name or None, self.text + self._guard, self._parsed)

    def kept_extras(self) -> dict[str, Any]:
        """Return the call's keys that OpenAI's format does not know, and what its arguments do not tell."""
        extras = self.extras.whole() if self.extras else {}
        if self.kind != FUNCTION:
            extras["type"] = self.kind
        if self._parsed is not None and not can_be_written(self.text, self._parsed):
            extras["arguments"] = self.text
        return extras

    def problem(self) -> dict[str, str]:
        """Return why the call is invalid, and what was added to its arguments to keep it so."""
        return {"error": self.error, "guard": self._guard}

    def _add_args(self, piece: str) -> None:
        if not piece:
            return
        if self.is_custom:
            piece = ("" if self.bytes else _CUSTOM_START) + _escaped(piece)
        else:
            piece = self._new_part(piece) if self.bytes else piece.removeprefix(BYTE_ORDER_MARK)
        data = piece.encode()
        self.bytes += data
        if self.twin is not None and data and not data.isspace() and self._differs(self.twin, data):
            if self.may_be_grown and grows(self.twin.text, self.text):
                self.error = self.twin.error = TWO_CALLS
            self.twin = None

    def _differs(self, twin: PartialCall, data: bytes) -> bool:
        """Return whether the arguments, of which `data` came last, can no longer become those of an earlier call."""
        if self.is_custom:
            return not twin.bytes.startswith(data, len(self.bytes) - len(data))
        return self._scan() != INCOMPLETE and not self._says_the_same(twin)

    def _says_the_same(self, other: PartialCall) -> bool:
        if self.bytes == other.bytes:
            return True
        mine = self._own_meaning()
        return mine is not None and mine == other._own_meaning()

    def _own_meaning(self) -> bytes | None:
        """Return what complete arguments mean; only blanks can follow them, so it is read once."""
        if self.is_custom or not (self._scan() == COMPLETE or self.is_placeholder):
            return None
        self._meaning = self._meaning or meaning(self.text)
        return self._meaning

    def _complete(self, spellings: Sequence[str]) -> None:
        """Take arguments that came as an object, so as a whole, after a text."""
        begun = self.bytes.decode()
        rest = next((text.removeprefix(begun) for text in spellings if text.startswith(begun)), None)
        if rest is None:
            rest = "" if (own := meaning(begun)) and own == meaning(spellings[0]) else spellings[0]
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
        elif begins_anew and (own := self._own_meaning()) is not None and own == meaning(piece):
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

    def _is_held(self) -> bool:
        """Return whether it is open if this is a call of its own."""
        if not self.name or self.twin is not None:
            return True
        return self.is_blank and (self.may_be_padding or self.holds_name)

    def _release(self) -> tuple[str, str]:
        name, self._name_sent = self.name[self._name_sent :], len(self.name)
        if not self.is_flowing and not self.is_custom:
            text = self.bytes[: len(_CUSTOM_START) * 8].decode("utf-8", "ignore")
            if may_be_placeholder(text) or text.lstrip().startswith('"'):
                return name, ""
        self.is_flowing = True
        args, self._sent = self.bytes[self._sent :].decode(), len(self.bytes)
        return name, args

    def _judge(self, *, is_cut_off: bool) -> None:
        """Tell whether the call may be executed, by point 6 of the rule."""
        text = self.text
        if self.is_custom:
            text = (text or _CUSTOM_START) + _CUSTOM_END
        self._parsed = parse_arguments(text)
        if not self.name:
            self.error = NO_NAME
        elif is_cut_off:
            self.error = CUT_OFF
        elif self._parsed is None:
            self.error = self.error or NOT_AN_OBJECT
        if self.error:
            self._parsed = None
            self._guard = guard(self.text)
        elif self.is_custom or self.is_blank:
            self.bytes = bytearray(text.encode() if self.is_custom else b"{}")


def _escaped(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]
