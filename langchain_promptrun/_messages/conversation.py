"""Convert a conversation of LangChain messages to the `messages` of a request.

OpenAI's format admits media in user messages only: those of a tool's result, and of an answer, go out in a user message
of their own after the run of tool messages.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from langchain_promptrun._messages.assistant import ATTACHED, assistant_turn, name_of
from langchain_promptrun._messages.content import (
    content_parts,
    json_parts,
    mark,
    read_blocks,
    result_parts,
    stays_here,
    string,
    text_parts,
    without_media,
)
from langchain_promptrun._wire.names import is_legal, wire_name
from langchain_promptrun.errors import PromptrunInvalidMessageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_promptrun._messages.assistant import WireCall
    from langchain_promptrun._messages.content import Block, Part

    # A call without a result so far, whether it is invalid, its turn, the position of its message, its own in there.
    _Open = tuple[WireCall, bool, dict[str, Any], int, int]

_PLAIN_ROLES: dict[type, str] = {SystemMessage: "system", HumanMessage: "user", AIMessage: "assistant"}
_ACCEPTED = "AIMessage, ChatMessage, FunctionMessage, HumanMessage, SystemMessage, ToolMessage"


def wire_messages(
    messages: Sequence[BaseMessage], *, model: str = "", send_reasoning: bool | str = True, send_names: bool = True
) -> list[dict[str, Any]]:
    """Convert a conversation; histories written by other providers become valid requests.

    A tool call that other messages follow must have a result, be it late; an invalid one goes out only with a result.
    Calls without an id get one from their place; their results are matched by tool name, then by order.
    """
    conversation = _Conversation(model, send_reasoning, send_names)
    for position, message in enumerate(messages):
        role = _PLAIN_ROLES.get(type(message))
        calls = type(message) is AIMessage and (message.tool_calls or message.invalid_tool_calls)
        content = message.content
        if role and not calls and type(content) is str and not (message.additional_kwargs or message.name):
            conversation.append({"role": role, "content": content}, position)
            continue
        try:
            conversation.add(message, position)
        except PromptrunInvalidMessageError as error:
            raise error.within(f"messages[{position}]") from error.__cause__
    return conversation.end()


class _Conversation:
    """The wire messages so far, the tool calls in them, and the media that wait for a user message."""

    def __init__(self, model: str, send_reasoning: bool | str, send_names: bool) -> None:
        self._model = model
        self._send_reasoning = send_reasoning
        self._send_names = send_names
        self._wire: list[dict[str, Any]] = []
        self._attachments: list[Part] = []
        self._said = 0  # the position of the last message that was no result: the calls before it are overdue
        self._open: dict[str, list[_Open]] = {}
        self._known: dict[str, None] = {}
        self._nameless: list[WireCall] = []
        self._calls_by_name = False

    def append(self, wire: dict[str, Any], position: int) -> None:
        """Add a wire message that is no result, behind what is attached to those before it."""
        if self._attachments:
            self._attach()
        self._said = position
        self._wire.append(wire)

    def add(self, message: BaseMessage, position: int) -> None:
        kwargs = message.additional_kwargs
        if isinstance(message, AIMessage):
            self._add_turn(message, position)
        elif isinstance(message, ToolMessage):
            # LangChain's MCP adapters keep the structured content there.
            artifact = message.artifact
            structured = artifact.get("structured_content") if isinstance(artifact, dict) else None
            self._add_result(message.tool_call_id, message.content, kwargs, message.name, structured)
        elif isinstance(message, HumanMessage):
            # Anthropic's histories carry tool results in user messages.
            content = message.content
            results = 0 if isinstance(content, str) else sum(map(_is_result, content))
            if results:
                read_blocks(content, self._read_result)
            if not results or results < len(content):
                self._say("user", message, position)
        elif isinstance(message, SystemMessage):
            # LangChain's mark of OpenAI's developer messages
            is_developer = kwargs.get("__openai_role__") == "developer"
            self._say("developer" if is_developer else "system", message, position)
        elif isinstance(message, FunctionMessage):  # the result of OpenAI's deprecated kind of call
            self._say("function", message, position)["name"] = wire_name(message.name)
        elif not isinstance(message, ChatMessage):
            kind = type(message).__name__
            raise PromptrunInvalidMessageError(f"is a {kind}, which cannot be sent; accepted types: {_ACCEPTED}")
        elif message.role == "tool":
            self._add_result(string(kwargs, "tool_call_id"), message.content, kwargs, message.name)
        else:
            self._say(message.role, message, position)

    def end(self) -> list[dict[str, Any]]:
        """Leave out invalid calls without a result; refuse a conversation that goes on after a valid one."""
        self._attach()
        for opened in chain.from_iterable(self._open.values()):
            call, _, _, position, index = opened
            if not _leave_out(opened) and position < self._said:
                raise PromptrunInvalidMessageError(
                    f"calls tool {name_of(call)!r} with id {call['id']!r}, and no later message has the result of that "
                    "id: add its ToolMessage, or leave out the call",
                    path=f"messages[{position}].tool_calls[{index}]",
                )
        return self._wire

    def _attach(self) -> None:
        if self._attachments:
            self._wire.append({"role": "user", "content": self._attachments})
            self._attachments = []

    def _say(self, role: str, message: BaseMessage, position: int) -> dict[str, Any]:
        # What one agent said may be handed to another: its reasoning and its calls stay here.
        parts = content_parts(message.content, skip=lambda block: _is_result(block) or stays_here(block))
        mark(parts, message.additional_kwargs)
        wire = {"role": role, "content": _content(parts)}
        self._add_fields(wire, message)
        self.append(wire, position)
        return wire

    def _add_fields(self, wire: dict[str, Any], message: BaseMessage) -> None:
        kwargs = message.additional_kwargs
        name = message.name or kwargs.get("name")
        if self._send_names and isinstance(name, str) and is_legal(name):
            wire["name"] = name
        _add_extra_fields(wire, kwargs)

    def _add_turn(self, message: AIMessage, position: int) -> None:
        """Add an assistant turn, note its calls, and give an id to those without."""
        wire, media, calls = assistant_turn(message, self._model, self._send_reasoning)
        self._add_fields(wire, message)
        self.append(wire, position)
        self._calls_by_name = self._calls_by_name or "function_call" in wire
        for index, (call, kind) in enumerate(calls):
            if not call["id"]:
                call["id"] = f"call_{position}_{index}"
                self._nameless.append(call)
            self._known[call["id"]] = None
            if overdue := self._open.pop(call["id"], None):
                self._open[call["id"]] = [old for old in overdue if old[3] == position or not _leave_out(old)]
            if kind != "server's":
                opened = (call, kind == "invalid", wire, position, index)
                self._open.setdefault(call["id"], []).append(opened)
        if media:
            self._attachments += [*text_parts("Attached to the assistant's message:"), *media]

    def _read_result(self, block: Block) -> None:
        if _is_result(block):
            self._add_result(string(block, "tool_use_id"), block.get("content"), block)

    def _add_result(
        self, call_id: str, content: object, facts: dict[str, Any], name: str | None = None, structured: object = None
    ) -> None:
        """Add the result of a tool; its `facts` may hold cache markers and further keys."""
        if type(content) is str and content and not facts:
            self._wire.append({"role": "tool", "tool_call_id": self._answer(call_id, name), "content": content})
            return
        parts = result_parts(content) or (json_parts(structured) if structured else [])
        call_id = self._answer(call_id, name)
        mark(parts, facts)
        said, media = without_media(parts)
        if media:
            self._attachments += [*text_parts(f"Attached to the result of tool call {call_id}:"), *media]
        wire = {"role": "tool", "tool_call_id": call_id, "content": _content(said) or (ATTACHED if media else "")}
        _add_extra_fields(wire, facts)
        self._wire.append(wire)

    def _answer(self, call_id: str, name: str | None) -> str:
        """Note a result, and return the id that the result goes out under."""
        if self._nameless and call_id not in self._open:
            names = {name, wire_name(name)} if name else set()
            call = next((call for call in self._nameless if name_of(call) in names), self._nameless[0])
            self._nameless.remove(call)
            call_id = str(call["id"])
        if not call_id and (self._known or self._calls_by_name):
            raise PromptrunInvalidMessageError("is a tool's result without a tool_call_id, and each tool call has one")
        if call_id not in self._known and not self._calls_by_name:
            ids = ", ".join(map(repr, [*self._known][-10:]))
            known = f"the assistant messages before it call tools with the ids {ids}"
            known = known if ids else "no assistant message before it calls a tool"
            raise PromptrunInvalidMessageError(f"is the result of tool call {call_id!r}, but {known}")
        self._open.pop(call_id, None)
        return call_id


def _leave_out(opened: _Open) -> bool:
    """Take an invalid call out of its turn; what else the turn says stays."""
    call, is_invalid, turn, *_ = opened
    if is_invalid:
        turn["tool_calls"] = [known for known in turn["tool_calls"] if known is not call]
        if not turn["tool_calls"]:
            del turn["tool_calls"]
            if "refusal" not in turn:
                turn["content"] = turn["content"] or ""
    return is_invalid


def _is_result(block: object) -> bool:
    return isinstance(block, dict) and block.get("type") == "tool_result"


def _add_extra_fields(wire: dict[str, Any], kwargs: Mapping[str, Any]) -> None:
    # DeepSeek and Mistral, Moonshot and DashScope: the answer goes on where this message ends.
    wire |= {key: kwargs[key] for key in ("prefix", "partial") if isinstance(kwargs.get(key), bool)}
    if isinstance(extra := kwargs.get("extra_fields"), dict):
        wire |= extra


def _content(parts: list[Part]) -> str | list[Part]:
    if len(parts) == 1 and parts[0].keys() == {"type", "text"}:
        return str(parts[0]["text"])
    return parts or ""
