"""A conversation of LangChain messages -> the `messages` of a request.

Owns the table of message types, names, and the place of media that OpenAI's format admits in user messages only:
those of a tool's result, and of an answer, go out in a user message of their own after the run of tool messages. What
a block or an assistant's turn becomes, and which call a result answers, is decided elsewhere. It must not know of
models, parameters or transports.
"""

from __future__ import annotations

import re
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

from langchain_promptrun._messages.assistant import ATTACHED, assistant_turn, plain_turn
from langchain_promptrun._messages.content import content_parts, indexed, mark, markers_of, string, text_parts
from langchain_promptrun._messages.media import MEDIA_PARTS
from langchain_promptrun._messages.pairing import ToolCalls
from langchain_promptrun._messages.tool_data import data_parts
from langchain_promptrun.errors import PromptrunInvalidMessageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from langchain_promptrun._messages.content import Block
    from langchain_promptrun._messages.media import Part

_LEGAL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def wire_messages(
    messages: Sequence[BaseMessage], *, send_reasoning: bool = True, send_names: bool = True
) -> list[dict[str, Any]]:
    """Convert a conversation.

    Every message of LangChain's and every content block of the common dialects has its place; nothing is dropped in
    silence. Histories written by other providers become valid requests. A content that is one text goes out as a
    string, else as parts; without any text it is empty, or null in an assistant turn that calls tools.

    A tool call must be answered: when messages other than results follow it and none of them has its id, the
    conversation is refused. A call at the end may stay open, results may come late and in any order, and a result
    whose id no call has is sent, as long as some assistant turn before it calls a tool. An invalid call, whose
    arguments broke off, goes out only where it has a result: nothing runs it. Calls without an id get one from their
    place; their results, which cannot name it, are matched by tool name, then by order.

    Args:
        messages: The conversation.
        send_reasoning: Whether the reasoning of this package's own answers is sent back.
        send_names: Whether the names of messages are sent, where they match `[A-Za-z0-9_-]{1,64}`.

    Returns:
        The wire messages. They may share parts with the given messages: do not change them.

    Raises:
        PromptrunInvalidMessageError: What cannot be sent, and where: a message or a content block of an unknown type,
            tool arguments that JSON cannot carry, a tool call without a result.
    """
    conversation = _Conversation(send_reasoning=send_reasoning, send_names=send_names)
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
    """The wire messages so far, and what is still to be settled.

    Attributes:
        position: Index of the message that is being converted.
        wire: The wire messages so far.
        unsettled: Whether a run of tool results may go on.
    """

    __slots__ = ("_attachments", "_calls", "_send_names", "_send_reasoning", "position", "unsettled", "wire")

    def __init__(self, *, send_reasoning: bool, send_names: bool) -> None:
        self.position = 0
        self._send_reasoning = send_reasoning
        self._send_names = send_names
        self.wire: list[dict[str, Any]] = []
        self._calls = ToolCalls()
        self._attachments: list[Part] = []
        self.unsettled = False

    def system(self, message: SystemMessage) -> None:
        """Add a system message; `__openai_role__` is how LangChain marks OpenAI's developer messages."""
        role = message.additional_kwargs.get("__openai_role__")
        self._say("developer" if role == "developer" else "system", message)

    def human(self, message: HumanMessage) -> None:
        """Add a user message; Anthropic's histories carry tool results in them."""
        content = message.content
        if isinstance(content, str):
            self._say("user", message)
            return
        blocks: list[tuple[int, str | Block]] = []
        for index, block in enumerate(content):
            if isinstance(block, dict) and block.get("type") == "tool_result":
                self._result_block(index, block)
            else:
                blocks.append((index, block))
        if blocks or not content:
            self._say("user", message, blocks)

    def ai(self, message: AIMessage) -> None:
        """Add an assistant turn."""
        fields = vars(message)
        if type(fields["content"]) is not str or fields["additional_kwargs"]:
            turn = assistant_turn(message, send_reasoning=self._send_reasoning)
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
        """Add a tool's result; its artifact is not for the model, and its content says whether it failed."""
        self._result(message.tool_call_id, message, message.name)

    def function(self, message: FunctionMessage) -> None:
        """Add the result of OpenAI's deprecated kind of call, which names the function instead of an id."""
        self._say("function", message)
        self.wire[-1]["name"] = message.name

    def chat(self, message: ChatMessage) -> None:
        """Add a message of any role."""
        if message.role == "tool":
            self._result(string(message.additional_kwargs, "tool_call_id") or "", message, message.name)
        else:
            self._say(message.role, message)

    def end(self) -> list[dict[str, Any]]:
        """The whole conversation."""
        if self._attachments:
            self._flush()
        self._calls.end()
        return self.wire

    def _say(self, role: str, message: BaseMessage, blocks: list[tuple[int, str | Block]] | None = None) -> None:
        """Add a message that answers no tool call; `blocks` stands for its content where that is not the whole."""
        if self.unsettled:
            self.settle()
        fields = vars(message)
        content, kwargs = fields["content"], fields["additional_kwargs"]
        if type(content) is str and not kwargs and not fields["name"]:
            self.wire.append({"role": role, "content": content})
            return
        parts = content_parts(blocks or indexed(content))
        mark(parts, markers_of(kwargs))
        self._add({"role": role, "content": _content(parts)}, fields)

    def _add(self, wire: dict[str, Any], fields: Mapping[str, Any]) -> None:
        if fields["name"] or fields["additional_kwargs"]:
            name = fields["name"] or fields["additional_kwargs"].get("name")
            if self._send_names and isinstance(name, str) and _LEGAL_NAME.fullmatch(name):
                wire["name"] = name
        self.wire.append(wire)

    def _result(self, call_id: str, message: BaseMessage, name: str | None) -> None:
        content = message.content
        if type(content) is str and not message.additional_kwargs:
            call_id = self._calls.answer(call_id, name)
            self.wire.append({"role": "tool", "tool_call_id": call_id, "content": content})
            return
        parts = data_parts(content)
        self._add_result(call_id, name, parts, markers_of(message.additional_kwargs))

    def _result_block(self, index: int, block: Block) -> None:
        """Add Anthropic's `tool_result`, which stands in the content of a user message."""
        try:
            parts = data_parts(block.get("content"))
            self._add_result(string(block, "tool_use_id") or "", None, parts, markers_of(block))
        except PromptrunInvalidMessageError as error:
            raise error.within(f".content[{index}]") from error.__cause__

    def _add_result(self, call_id: str, name: str | None, parts: list[Part], markers: dict[str, Any]) -> None:
        call_id = self._calls.answer(call_id, name)
        mark(parts, markers)
        media = [part for part in parts if part.get("type") in MEDIA_PARTS]
        content = _content([part for part in parts if part.get("type") not in MEDIA_PARTS])
        if media:
            content = content or ATTACHED
            self._attach(f"Attached to the result of tool call {call_id}:", media)
        self.wire.append({"role": "tool", "tool_call_id": call_id, "content": content})

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
    """Whether a message is a text and nothing else."""
    return type(fields["content"]) is str and not (
        fields["additional_kwargs"] or fields["name"] or fields.get("tool_calls") or fields.get("invalid_tool_calls")
    )


def _content(parts: list[Part]) -> str | list[Part]:
    """The shortest spelling of a content: one plain text is a string, the form that every gateway takes."""
    if not parts:
        return ""
    if len(parts) == 1 and parts[0].keys() == {"type", "text"}:
        return str(parts[0]["text"])
    return parts


def _inherited(message: BaseMessage) -> Callable[[_Conversation, Any], None]:
    """The converter of the class that a message's class derives from: chunks, and users' own classes."""
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
