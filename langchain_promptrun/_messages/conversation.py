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

from langchain_promptrun._messages.assistant import ATTACHED, assistant_turn, listed_calls, name_of
from langchain_promptrun._messages.content import (
    content_parts,
    json_parts,
    mark,
    read_blocks,
    result_parts,
    stays_here,
    string,
    text_parts,
)
from langchain_promptrun._messages.media import MEDIA_PARTS
from langchain_promptrun._wire.names import is_legal, wire_name
from langchain_promptrun.errors import PromptrunInvalidMessageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from langchain_promptrun._messages.assistant import TurnCall, WireCall
    from langchain_promptrun._messages.content import Block
    from langchain_promptrun._messages.media import Part

    # A call without a result so far, whether it is invalid, its turn, the position of its message, its own in there.
    _Open = tuple[WireCall, bool, dict[str, Any], int, int]

_SHOWN_IDS = 10


def wire_messages(
    messages: Sequence[BaseMessage], *, model: str = "", send_reasoning: bool | str = True, send_names: bool = True
) -> list[dict[str, Any]]:
    """Convert a conversation; histories written by other providers become valid requests.

    A tool call that other messages follow must have a result, be it late; an invalid one goes out only with a result.
    Calls without an id get one from their place; their results are matched by tool name, then by order.
    """
    conversation = _Conversation(model, send_reasoning, send_names)
    wire = conversation.wire
    for position, message in enumerate(messages):
        role = _PLAIN_ROLES.get(type(message))
        fields = vars(message)
        # In a long plain conversation the attributes of pydantic models would cost more than all the rest.
        if (
            role is not None
            and type(fields["content"]) is str
            and not (fields["additional_kwargs"] or fields["name"])
            and not (fields.get("tool_calls") or fields.get("invalid_tool_calls"))
        ):
            if conversation.unsettled:
                conversation.settle(position)
            wire.append({"role": role, "content": fields["content"]})
            continue
        conversation.position = position
        try:
            (_CONVERTERS.get(type(message)) or _inherited(message))(conversation, message)
        except PromptrunInvalidMessageError as error:
            raise error.within(f"messages[{position}]") from error.__cause__
    return conversation.end()


class _Ledger:
    """The tool calls of a conversation, and which of them have a result."""

    def __init__(self) -> None:
        self._open: dict[str, list[_Open]] = {}
        self._known: dict[str, None] = {}
        self._nameless: list[WireCall] = []
        self._any = False
        self.settled = 0
        """The position of the last message that was no result: the calls before it are overdue."""

    def open(self, turn: dict[str, Any], calls: Sequence[TurnCall], position: int) -> None:
        """Note the calls of an assistant turn, and give an id to those without."""
        self._any = self._any or "function_call" in turn
        for index, (call, kind) in enumerate(calls):
            call_id = call["id"]
            if not call_id:
                call_id = call["id"] = f"call_{position}_{index}"
                self._nameless.append(call)
            self._known[call_id] = None
            if overdue := self._open.pop(call_id, None):
                self._open[call_id] = [old for old in overdue if old[3] == position or not _leave_out(old)]
            if kind != "server's":
                opened = (call, kind == "invalid", turn, position, index)
                self._open.setdefault(call_id, []).append(opened)

    def answer(self, call_id: str, name: str | None) -> str:
        """Note a result, and return the id that the result goes out under."""
        if self._nameless and call_id not in self._open:
            names = {name, wire_name(name)} if name else set()
            call = next((call for call in self._nameless if name_of(call) in names), self._nameless[0])
            self._nameless.remove(call)
            call_id = str(call["id"])
        if not call_id and (self._known or self._any):
            raise PromptrunInvalidMessageError("is a tool's result without a tool_call_id, and each tool call has one")
        if call_id not in self._known and not self._any:
            ids = ", ".join(map(repr, [*self._known][-_SHOWN_IDS:]))
            known = f"the assistant messages before it call tools with the ids {ids}"
            known = known if ids else "no assistant message before it calls a tool"
            raise PromptrunInvalidMessageError(f"is the result of tool call {call_id!r}, but {known}")
        self._open.pop(call_id, None)
        return call_id

    def end(self) -> None:
        """Leave out invalid calls without a result; refuse a conversation that goes on after a valid one."""
        for opened in chain.from_iterable(self._open.values()):
            call, _, _, position, index = opened
            if not _leave_out(opened) and position < self.settled:
                raise PromptrunInvalidMessageError(
                    f"calls tool {name_of(call)!r} with id {call['id']!r}, and no later message has the result of that "
                    "id: add its ToolMessage, or leave out the call",
                    path=f"messages[{position}].tool_calls[{index}]",
                )


class _Conversation:
    """The wire messages so far, and whether a run of tool results is still to be settled."""

    def __init__(self, model: str, send_reasoning: bool | str, send_names: bool) -> None:
        self._model = model
        self._send_reasoning = send_reasoning
        self._send_names = send_names
        self._calls = _Ledger()
        self._attachments: list[Part] = []
        self.wire: list[dict[str, Any]] = []
        self.position = 0
        self.unsettled = False

    def system(self, message: SystemMessage) -> None:
        """Add a system message; `__openai_role__` is how LangChain marks OpenAI's developer messages."""
        role = message.additional_kwargs.get("__openai_role__")
        self._say("developer" if role == "developer" else "system", message)

    def human(self, message: HumanMessage) -> None:
        """Add a user message; Anthropic's histories carry tool results in them."""
        content = message.content
        results = [] if isinstance(content, str) else [block for block in content if _is_result(block)]
        if results:
            read_blocks(content, self._read_result)
        if not results or len(results) < len(content):
            self._say("user", message)

    def ai(self, message: AIMessage) -> None:
        fields = vars(message)
        if type(fields["content"]) is not str or fields["additional_kwargs"]:
            wire, media, calls = assistant_turn(message, self._model, self._send_reasoning)
        elif fields["tool_calls"] or fields["invalid_tool_calls"]:
            calls, media = listed_calls(message), []
            wire = {"role": "assistant", "content": message.content or None, "tool_calls": [call for call, _ in calls]}
        else:
            self._say("assistant", message)
            return
        if self.unsettled:
            self.settle(self.position)
        self._add(wire, fields)
        self._calls.open(wire, calls, self.position)
        if media:
            self._attachments += [*text_parts("Attached to the assistant's message:"), *media]
        self.unsettled = True

    def tool(self, message: ToolMessage) -> None:
        artifact = message.artifact
        # LangChain's MCP adapters keep the structured content there.
        structured = artifact.get("structured_content") if isinstance(artifact, dict) else None
        self._result(message.tool_call_id, message.content, message.additional_kwargs, message.name, structured)

    def function(self, message: FunctionMessage) -> None:
        """Add the result of OpenAI's deprecated kind of call, which names the function instead of an id."""
        self._say("function", message)
        self.wire[-1]["name"] = wire_name(message.name)

    def chat(self, message: ChatMessage) -> None:
        kwargs = message.additional_kwargs
        if message.role == "tool":
            self._result(string(kwargs, "tool_call_id"), message.content, kwargs, message.name)
        else:
            self._say(message.role, message)

    def end(self) -> list[dict[str, Any]]:
        self.settle(self._calls.settled)
        self._calls.end()
        return self.wire

    def _say(self, role: str, message: BaseMessage) -> None:
        if self.unsettled:
            self.settle(self.position)
        # What one agent said may be handed to another: its reasoning and its calls stay here.
        parts = content_parts(message.content, skip=lambda block: _is_result(block) or stays_here(block))
        mark(parts, message.additional_kwargs)
        self._add({"role": role, "content": _content(parts)}, vars(message))

    def _add(self, wire: dict[str, Any], fields: Mapping[str, Any]) -> None:
        kwargs = fields["additional_kwargs"]
        if fields["name"] or kwargs:
            name = fields["name"] or kwargs.get("name")
            if self._send_names and isinstance(name, str) and is_legal(name):
                wire["name"] = name
            _add_extra_fields(wire, kwargs)
        self.wire.append(wire)

    def _result(
        self, call_id: str, content: object, facts: dict[str, Any], name: str | None = None, structured: object = None
    ) -> None:
        """Add the result of a tool; its `facts` may hold cache markers and further keys."""
        if type(content) is str and content and not facts:
            call_id = self._calls.answer(call_id, name)
            self.wire.append({"role": "tool", "tool_call_id": call_id, "content": content})
            return
        parts = result_parts(content) or (json_parts(structured) if structured else [])
        call_id = self._calls.answer(call_id, name)
        mark(parts, facts)
        media = [part for part in parts if part.get("type") in MEDIA_PARTS]
        said = _content([part for part in parts if part.get("type") not in MEDIA_PARTS])
        if media:
            self._attachments += [*text_parts(f"Attached to the result of tool call {call_id}:"), *media]
            self.unsettled = True
        wire = {"role": "tool", "tool_call_id": call_id, "content": said or (ATTACHED if media else "")}
        _add_extra_fields(wire, facts)
        self.wire.append(wire)

    def _read_result(self, block: Block) -> None:
        if _is_result(block):
            self._result(string(block, "tool_use_id"), block.get("content"), block)

    def settle(self, position: int) -> None:
        """End the run of tool results at the message of this position."""
        if self._attachments:
            self.wire.append({"role": "user", "content": self._attachments})
            self._attachments = []
        self._calls.settled = position
        self.unsettled = False


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
    """Return one plain text as a string, the form that every gateway takes."""
    if len(parts) == 1 and parts[0].keys() == {"type", "text"}:
        return str(parts[0]["text"])
    return parts or ""


def _inherited(message: BaseMessage) -> Callable[[_Conversation, Any], None]:
    """Find the converter of the class that a message's class derives from: chunks, and users' own classes."""
    for base in type(message).__mro__:
        if base in _CONVERTERS:
            return _CONVERTERS[base]
    kinds = f"accepted types: {', '.join(sorted(kind.__name__ for kind in _CONVERTERS))}"
    raise PromptrunInvalidMessageError(f"is a {type(message).__name__}, which cannot be sent; {kinds}")


_PLAIN_ROLES: dict[type, str] = {SystemMessage: "system", HumanMessage: "user", AIMessage: "assistant"}
_CONVERTERS: dict[type, Callable[[_Conversation, Any], None]] = {
    SystemMessage: _Conversation.system,
    HumanMessage: _Conversation.human,
    AIMessage: _Conversation.ai,
    ToolMessage: _Conversation.tool,
    FunctionMessage: _Conversation.function,
    ChatMessage: _Conversation.chat,
}
