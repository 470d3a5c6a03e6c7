"""The tool calls of a conversation, and which result answers which.

Owns the ids of calls without one, the refusal of a conversation that goes on after an unanswered call, and the
leaving out of invalid calls that nothing answered. It must not know of LangChain's messages, only of the wire's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_promptrun.errors import PromptrunInvalidMessageError

if TYPE_CHECKING:
    from langchain_promptrun._messages.assistant import AssistantTurn
    from langchain_promptrun._messages.assistant_calls import WireCall


_Call = tuple["WireCall", "AssistantTurn", int, int]
"""A tool call that waits for its result, its turn, the position of its message, and its own in there."""


class ToolCalls:
    """The tool calls of a conversation and what became of them."""

    __slots__ = ("_any", "_nameless", "_overdue", "_waiting")

    def __init__(self) -> None:
        # Calls of the last assistant turn, and of those before, without a result so far.
        self._waiting: dict[str, _Call] = {}
        self._overdue: dict[str, _Call] = {}
        self._nameless: list[WireCall] = []
        self._any = False

    def open(self, turn: AssistantTurn, position: int) -> None:
        """Note the calls of an assistant turn, and give an id to those without."""
        calls: list[WireCall] | None = turn.message.get("tool_calls")
        self._any = self._any or calls is not None or "function_call" in turn.message
        for index, call in enumerate(calls or ()):
            call_id = call["id"]
            if not call_id:
                call_id = call["id"] = f"call_{position}_{index}"
                self._nameless.append(call)
            if call_id in self._overdue and _left_out(self._overdue[call_id]):
                del self._overdue[call_id]
            self._waiting[call_id] = (call, turn, position, index)

    def answer(self, call_id: str, name: str | None) -> str:
        """Note a result, and return the id that it goes out under."""
        if not self._any:
            problem = f"is the result of tool call {call_id!r}, but no assistant message before it calls a tool"
            raise PromptrunInvalidMessageError(problem)
        if call_id not in self._waiting and call_id not in self._overdue:
            call_id = self._match_nameless(name) or call_id
        if not call_id:
            raise PromptrunInvalidMessageError(
                "is a tool's result without a tool_call_id, and each tool call has an id"
            )
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
            wire, _, position, index = call
            name, call_id = wire["function"]["name"], wire["id"]
            problem = f"calls tool {name!r} with id {call_id!r}, and no later message has the result of that id"
            place = f"messages[{position}].tool_calls[{index}]"
            raise PromptrunInvalidMessageError(f"{problem}: add its ToolMessage, or leave out the call", path=place)

    def _match_nameless(self, name: str | None) -> str:
        if not self._nameless:
            return ""
        call = next((call for call in self._nameless if call["function"]["name"] == name), self._nameless[0])
        self._nameless.remove(call)
        return str(call["id"])


def _left_out(waiting: _Call) -> bool:
    """Take an invalid call out of its turn; what else the turn says stays."""
    call, turn, *_ = waiting
    if not any(call is broken for broken in turn.invalid):
        return False
    wire = turn.message
    wire["tool_calls"] = [known for known in wire["tool_calls"] if known is not call]
    if not wire["tool_calls"]:
        del wire["tool_calls"]
        wire["content"] = wire["content"] or ""
    return True
