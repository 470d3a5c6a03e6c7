"""Convert results of tools, and find out which result answers which call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_promptrun._messages.content import (
    BLOCK_TYPES,
    block_parts,
    block_type,
    indexed,
    json_parts,
    mark,
    markers_of,
    text_parts,
)
from langchain_promptrun._messages.tool_calls import name_of
from langchain_promptrun._wire.names import wire_name
from langchain_promptrun.errors import PromptrunInvalidMessageError

if TYPE_CHECKING:
    from langchain_promptrun._messages.assistant import AssistantTurn
    from langchain_promptrun._messages.content import Block
    from langchain_promptrun._messages.media import Part
    from langchain_promptrun._messages.tool_calls import WireCall

_Call = tuple["WireCall", "AssistantTurn", int, int]
"""A tool call that waits for its result, its turn, the position of its message, and its own in there."""

_FETCHABLE = ("http://", "https://", "data:")
_SHOWN_IDS = 10
_MADE_ID = "lc_"


def result_parts(content: object) -> list[Part]:
    """Convert what a tool returned: content blocks as such, all other data as the text of its JSON."""
    if content is not None and not isinstance(content, (str, list)):
        return _data_parts(content, ".content")
    parts: list[Part] = []
    for index, block in indexed(content):
        if isinstance(block, str):
            parts += text_parts(block)
        elif (read := _read(block)) is None:
            parts += _data_parts(_without_made_id(block), f".content[{index}]")
        else:
            parts += read
            mark(parts, markers_of(block))
    return parts


def _without_made_id(data: object) -> object:
    """Leave out the id that langchain-core makes for a block."""
    if not isinstance(data, dict) or not str(data.get("id")).startswith(_MADE_ID):
        return data
    return {key: value for key, value in data.items() if key != "id"}


def _data_parts(data: object, place: str) -> list[Part]:
    try:
        return json_parts(data)
    except PromptrunInvalidMessageError as error:
        raise error.within(place) from error.__cause__


def _read(block: Any) -> list[Part] | None:
    """Return the parts of a content block; None for data that only has a `type`, and for links to elsewhere."""
    try:
        parts = block_parts(block)
    except PromptrunInvalidMessageError:
        return None
    known = BLOCK_TYPES[block_type(block)]
    if known.needs and not _holds_any(block, known.needs):
        return None
    if known.is_media and isinstance(url := block.get("url"), str) and not url.startswith(_FETCHABLE):
        return None
    # Empty text is a block that says nothing; a content of which nothing was readable is data.
    return parts if parts or not any(block.get(key) for key in known.needs) else None


def _holds_any(block: Block, keys: frozenset[str]) -> bool:
    """Whether a block has a key that its type needs; `source` and `file` must hold more than a name."""
    found = {key for key in keys & block.keys() if key not in {"source", "file"} or isinstance(block[key], dict)}
    return bool(found) or isinstance(block.get("data"), bytes)


class ToolCallLedger:
    """The tool calls of a conversation, and which of them have a result."""

    __slots__ = ("_any", "_known", "_nameless", "_overdue", "_waiting")

    def __init__(self) -> None:
        # Calls of the last assistant turn, and of those before, without a result so far.
        self._waiting: dict[str, _Call] = {}
        self._overdue: dict[str, _Call] = {}
        self._nameless: list[WireCall] = []
        self._known: dict[str, None] = {}
        self._any = False

    def open(self, turn: AssistantTurn, position: int) -> None:
        """Note the calls of an assistant turn, and give an id to those without."""
        self._any = self._any or "function_call" in turn.message
        calls: list[WireCall] = turn.message.get("tool_calls") or []
        for index, call in enumerate(calls):
            call_id = call["id"]
            if not call_id:
                call_id = call["id"] = f"call_{position}_{index}"
                self._nameless.append(call)
            if call_id in self._overdue and _leave_out(self._overdue[call_id]):
                del self._overdue[call_id]
            self._known[call_id] = None
            if not any(call is other for other in turn.unlisted):
                self._waiting[call_id] = (call, turn, position, index)

    def answer(self, call_id: str, name: str | None) -> str:
        """Note a result, and return the id that the result goes out under."""
        if call_id not in self._waiting and call_id not in self._overdue:
            call_id = self._match_nameless(name) or call_id
        if not call_id and (self._known or self._any):
            raise PromptrunInvalidMessageError("is a tool's result without a tool_call_id, and each tool call has one")
        if call_id not in self._known and not self._any:
            raise PromptrunInvalidMessageError(f"is the result of tool call {call_id!r}, but {self._calls_so_far()}")
        self._waiting.pop(call_id, None)
        self._overdue.pop(call_id, None)
        return call_id

    def close_turn(self) -> None:
        """Note that the run of results is over."""
        if self._waiting:
            self._overdue |= self._waiting
            self._waiting = {}

    def end(self) -> None:
        """Leave out invalid calls without a result; refuse a conversation that goes on after a valid one."""
        for call in self._waiting.values():
            _leave_out(call)
        for call in self._overdue.values():
            if _leave_out(call):
                continue
            wire, _, position, index = call
            problem = (
                f"calls tool {name_of(wire)!r} with id {wire['id']!r}, and no later message has the result of that id"
            )
            place = f"messages[{position}].tool_calls[{index}]"
            raise PromptrunInvalidMessageError(f"{problem}: add its ToolMessage, or leave out the call", path=place)

    def _calls_so_far(self) -> str:
        if not self._known:
            return "no assistant message before it calls a tool"
        ids = [*self._known][-_SHOWN_IDS:]
        return f"the assistant messages before it call tools with the ids {', '.join(map(repr, ids))}"

    def _match_nameless(self, name: str | None) -> str:
        if not self._nameless:
            return ""
        names = {name, wire_name(name)} if name else set()
        call = next((call for call in self._nameless if name_of(call) in names), self._nameless[0])
        self._nameless.remove(call)
        return str(call["id"])


def _leave_out(waiting: _Call) -> bool:
    """Take an invalid call out of its turn; what else the turn says stays."""
    call, turn, *_ = waiting
    if not any(call is broken for broken in turn.invalid):
        return False
    wire = turn.message
    wire["tool_calls"] = [known for known in wire["tool_calls"] if known is not call]
    if not wire["tool_calls"]:
        del wire["tool_calls"]
        if "refusal" not in wire:
            wire["content"] = wire["content"] or ""
    return True
