"""The tool calls of a conversation, and which result answers which.

Owns the ids of calls without one, the refusal of a conversation that goes on after an unanswered call, and the
leaving out of invalid calls that nothing answered. It must not know of LangChain's messages, only of the wire's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_promptrun._json import UnsendableError

if TYPE_CHECKING:
    from langchain_promptrun._assistant import AssistantTurn
    from langchain_promptrun._assistant_calls import WireCall


class _Call(NamedTuple):
    """A tool call that waits for its result, and where it stands; `turn` is the wire message of an invalid one."""

    id: str
    name: str
    message: int
    place: int
    wire: WireCall
    turn: dict[str, Any] | None


class ToolCalls:
    """The tool calls of a conversation and what became of them."""

    __slots__ = ("_any", "_nameless", "_overdue", "_waiting")

    def __init__(self) -> None:
        # Calls of the last assistant turn, and of those before, without a result so far.
        self._waiting: dict[str, _Call] = {}
        self._overdue: dict[str, _Call] = {}
        self._nameless: list[_Call] = []
        self._any = False

    def open(self, turn: AssistantTurn, position: int) -> None:
        """Note the calls of an assistant turn, and give an id to those without."""
        wire = turn.message
        self._any = self._any or "tool_calls" in wire or "function_call" in wire
        calls: list[WireCall] = wire.get("tool_calls", [])
        for index, wire_call in enumerate(calls):
            call_id = wire_call["id"] or f"call_{position}_{index}"
            if call_id in self._overdue and _left_out(self._overdue[call_id]):
                del self._overdue[call_id]
            invalid = wire if turn.invalid and any(wire_call is broken for broken in turn.invalid) else None
            call = _Call(call_id, wire_call["function"]["name"], position, index, wire_call, invalid)
            self._waiting[call_id] = call
            if not wire_call["id"]:
                wire_call["id"] = call_id
                self._nameless.append(call)

    def answer(self, call_id: str, name: str | None) -> str:
        """Note a result, and return the id that it goes out under."""
        if not self._any:
            problem = f"is the result of tool call {call_id!r}, but no assistant message before it calls a tool"
            raise UnsendableError("", problem)
        if call_id not in self._waiting and call_id not in self._overdue:
            call_id = self._match_nameless(name) or call_id
        if not call_id:
            raise UnsendableError("", "is a tool's result without a tool_call_id, and each tool call has an id")
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
            _left_out(call)
        for call in self._overdue.values():
            if _left_out(call):
                continue
            problem = f"calls tool {call.name!r} with id {call.id!r}, and no later message has the result of that id"
            place = f"messages[{call.message}].tool_calls[{call.place}]"
            raise UnsendableError(place, f"{problem}: add its ToolMessage, or leave out the call")

    def _match_nameless(self, name: str | None) -> str:
        if not self._nameless:
            return ""
        call = next((call for call in self._nameless if call.name == name), self._nameless[0])
        self._nameless.remove(call)
        return call.id


def _left_out(call: _Call) -> bool:
    """Take an invalid call out of its turn; what else the turn says stays."""
    turn = call.turn
    if turn is None:
        return False
    turn["tool_calls"] = [known for known in turn["tool_calls"] if known is not call.wire]
    if not turn["tool_calls"]:
        del turn["tool_calls"]
        turn["content"] = turn["content"] or ""
    return True
