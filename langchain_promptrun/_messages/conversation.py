"""Convert a conversation of LangChain messages to the `messages` of a request.

OpenAI's format admits media in user messages only: those of a tool's result, and of an answer, go out in a user message
of their own after the run of tool messages.
"""

from __future__ import annotations

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

from langchain_promptrun._messages.assistant import ATTACHED, Policy, assistant_turn, plain_turn
from langchain_promptrun._messages.content import (
    content_parts,
    indexed,
    json_parts,
    mark,
    markers_of,
    stays_here,
    string,
    text_parts,
)
from langchain_promptrun._messages.media import MEDIA_PARTS
from langchain_promptrun._messages.tool_results import ToolCallLedger, result_parts
from langchain_promptrun._wire.names import is_legal, wire_name
from langchain_promptrun.errors import PromptrunInvalidMessageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from langchain_promptrun._messages.content import Block
    from langchain_promptrun._messages.media import Part

# DeepSeek and Mistral, Moonshot and DashScope: the answer goes on where this message ends.
_PREFILL_KEYS = ("prefix", "partial")
_EXTRA_FIELDS = "extra_fields"


def wire_messages(
    messages: Sequence[BaseMessage], *, model: str = "", send_reasoning: bool | str = True, send_names: bool = True
) -> list[dict[str, Any]]:
    """Convert a conversation; histories written by other providers become valid requests.

    A tool call must be answered: when messages other than results follow it and none of them has its id, the
    conversation is refused. A call at the end may stay open, and results may come late and in any order. An invalid
    call goes out only where it has a result. Calls without an id get one from their place; their results, which cannot
    name it, are matched by tool name, then by order.
    """
    conversation = _Conversation(Policy(model, send_reasoning), send_names=send_names)
    wire = conversation.wire
    for position, message in enumerate(messages):
        role = _PLAIN_ROLES.get(type(message))
        # In a long plain conversation the attributes of pydantic models would cost more than all the rest.
        if role is not None and _is_plain(fields := vars(message)):
            if conversation.unsettled:
                conversation.settle()
            wire.append({"role": role, "content": fields["content"]})
            continue
        conversation.position = position
        try:
            (_CONVERTERS.get(type(message)) or _inherited(message))(conversation, message)
        except PromptrunInvalidMessageError as error:
            raise error.within(f"messages[{position}]") from error.__cause__
    return conversation.end()


class _Conversation:
    """The wire messages so far, and whether a run of tool results is still to be settled."""

    __slots__ = ("_attachments", "_calls", "_policy", "_send_names", "position", "unsettled", "wire")

    def __init__(self, policy: Policy, *, send_names: bool) -> None:
        self.position = 0
        self._policy = policy
        self._send_names = send_names
        self.wire: list[dict[str, Any]] = []
        self._calls = ToolCallLedger()
        self._attachments: list[Part] = []
        self.unsettled = False

    def system(self, message: SystemMessage) -> None:
        """Add a system message; `__openai_role__` is how LangChain marks OpenAI's developer messages."""
        role = message.additional_kwargs.get("__openai_role__")
        self._say("developer" if role == "developer" else "system", message)

    def human(self, message: HumanMessage) -> None:
        """Add a user message; Anthropic's histories carry tool results in them."""
        content = message.content
        results = [] if isinstance(content, str) else [block for block in content if _is_result(block)]
        if not results:
            self._say("user", message)
            return
        for index, block in indexed(content):
            if _is_result(block):
                self._result_block(index, block)
        if len(results) < len(content):
            self._say("user", message)

    def ai(self, message: AIMessage) -> None:
        """Add an assistant turn."""
        fields = vars(message)
        if type(fields["content"]) is not str or fields["additional_kwargs"]:
            turn = assistant_turn(message, self._policy)
        elif fields["tool_calls"] or fields["invalid_tool_calls"]:
            turn = plain_turn(message)
        else:
            self._say("assistant", message)
            return
        if self.unsettled:
            self.settle()
        self._add(turn.message, fields)
        self._calls.open(turn, self.position)
        if turn.attachments:
            self._attach("Attached to the assistant's message:", turn.attachments)
        self.unsettled = True

    def tool(self, message: ToolMessage) -> None:
        """Add a tool's result; its artifact stays here, and its content says whether it failed."""
        self._result(message.tool_call_id, message, message.name)

    def function(self, message: FunctionMessage) -> None:
        """Add the result of OpenAI's deprecated kind of call, which names the function instead of an id."""
        self._say("function", message)
        self.wire[-1]["name"] = wire_name(message.name)

    def chat(self, message: ChatMessage) -> None:
        """Add a message of any role."""
        if message.role == "tool":
            self._result(string(message.additional_kwargs, "tool_call_id") or "", message, message.name)
        else:
            self._say(message.role, message)

    def end(self) -> list[dict[str, Any]]:
        """Return the whole conversation."""
        if self._attachments:
            self._flush()
        self._calls.end()
        return self.wire

    def _say(self, role: str, message: BaseMessage) -> None:
        """Add a message that answers no tool call."""
        if self.unsettled:
            self.settle()
        fields = vars(message)
        content, kwargs = fields["content"], fields["additional_kwargs"]
        if type(content) is str and not kwargs and not fields["name"]:
            self.wire.append({"role": role, "content": content})
            return
        # What one agent said may be handed to another: its reasoning and its calls stay here.
        said = [(index, block) for index, block in indexed(content) if not (_is_result(block) or stays_here(block))]
        parts = content_parts(said)
        mark(parts, markers_of(kwargs))
        self._add({"role": role, "content": _content(parts)}, fields)

    def _add(self, wire: dict[str, Any], fields: Mapping[str, Any]) -> None:
        kwargs = fields["additional_kwargs"]
        if fields["name"] or kwargs:
            name = fields["name"] or kwargs.get("name")
            if self._send_names and isinstance(name, str) and is_legal(name):
                wire["name"] = name
            _add_extra_fields(wire, kwargs)
        self.wire.append(wire)

    def _result(self, call_id: str, message: BaseMessage, name: str | None) -> None:
        content, kwargs = message.content, message.additional_kwargs
        if type(content) is str and content and not kwargs:
            call_id = self._calls.answer(call_id, name)
            self.wire.append({"role": "tool", "tool_call_id": call_id, "content": content})
            return
        self._add_result(call_id, name, result_parts(content) or _structured_parts(message), kwargs)

    def _result_block(self, index: int, block: Block) -> None:
        try:
            parts = result_parts(block.get("content"))
            self._add_result(string(block, "tool_use_id") or "", None, parts, block)
        except PromptrunInvalidMessageError as error:
            raise error.within(f".content[{index}]") from error.__cause__

    def _add_result(self, call_id: str, name: str | None, parts: list[Part], facts: Mapping[str, Any]) -> None:
        call_id = self._calls.answer(call_id, name)
        mark(parts, markers_of(dict(facts)))
        media = [part for part in parts if part.get("type") in MEDIA_PARTS]
        content = _content([part for part in parts if part.get("type") not in MEDIA_PARTS])
        if media:
            content = content or ATTACHED
            self._attach(f"Attached to the result of tool call {call_id}:", media)
        wire = {"role": "tool", "tool_call_id": call_id, "content": content}
        _add_extra_fields(wire, facts)
        self.wire.append(wire)

    def _attach(self, label: str, media: list[Part]) -> None:
        self._attachments += [*text_parts(label), *media]
        self.unsettled = True

    def settle(self) -> None:
        """End the run of tool results."""
        if self._attachments:
            self._flush()
        self._calls.close_turn()
        self.unsettled = False

    def _flush(self) -> None:
        self.wire.append({"role": "user", "content": self._attachments})
        self._attachments = []


def _is_plain(fields: Mapping[str, Any]) -> bool:
    return type(fields["content"]) is str and not (
        fields["additional_kwargs"] or fields["name"] or fields.get("tool_calls") or fields.get("invalid_tool_calls")
    )


def _is_result(block: object) -> bool:
    return isinstance(block, dict) and block.get("type") == "tool_result"


def _structured_parts(message: BaseMessage) -> list[Part]:
    """Return the structured content of an MCP tool that gave no other, as LangChain's adapters keep it."""
    artifact = getattr(message, "artifact", None)
    structured = artifact.get("structured_content") if isinstance(artifact, dict) else None
    return json_parts(structured) if structured else []


def _add_extra_fields(wire: dict[str, Any], kwargs: Mapping[str, Any]) -> None:
    wire |= {key: kwargs[key] for key in _PREFILL_KEYS if isinstance(kwargs.get(key), bool)}
    if isinstance(extra := kwargs.get(_EXTRA_FIELDS), dict):
        wire |= extra


def _content(parts: list[Part]) -> str | list[Part]:
    """Return one plain text as a string, the form that every gateway takes."""
    if not parts:
        return ""
    if len(parts) == 1 and parts[0].keys() == {"type", "text"}:
        return str(parts[0]["text"])
    return parts


def _inherited(message: BaseMessage) -> Callable[[_Conversation, Any], None]:
    """Find the converter of the class that a message's class derives from: chunks, and users' own classes."""
    for base in type(message).__mro__:
        if base in _CONVERTERS:
            return _CONVERTERS[base]
    accepted = ", ".join(sorted(kind.__name__ for kind in _CONVERTERS))
    raise PromptrunInvalidMessageError(
        f"is a {type(message).__name__}, which cannot be sent; accepted types: {accepted}"
    )


_PLAIN_ROLES: dict[type, str] = {SystemMessage: "system", HumanMessage: "user", AIMessage: "assistant"}
_CONVERTERS: dict[type, Callable[[_Conversation, Any], None]] = {
    SystemMessage: _Conversation.system,
    HumanMessage: _Conversation.human,
    AIMessage: _Conversation.ai,
    ToolMessage: _Conversation.tool,
    FunctionMessage: _Conversation.function,
    ChatMessage: _Conversation.chat,
}
