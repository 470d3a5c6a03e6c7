"""The conversation that follows a managed prompt's text: which shapes it may have. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.messages import BaseMessage, HumanMessage, convert_to_messages
from langchain_core.prompt_values import PromptValue

if TYPE_CHECKING:
    from collections.abc import Callable

_ACCEPTED = 'a list of messages, such as [("user", "Hello")]; one message; a text, which is the user\'s; a prompt value'

_SHAPES: dict[type, Callable[[Any], list[BaseMessage]]] = {
    type(None): lambda _: [],
    list: convert_to_messages,
    PromptValue: lambda value: value.to_messages(),
    BaseMessage: lambda message: [message],
    str: lambda text: [HumanMessage(text)],
}


def conversation_of(value: Any) -> list[BaseMessage]:
    """Read the conversation: a list as LangChain's `MessagesPlaceholder` reads it, and what can mean one thing only.

    Args:
        value: What came under `messages`.

    Raises:
        TypeError: It is something else. A tuple may be a message or several of them, so it is refused, too.
        ValueError: A message of a list cannot be read.
    """
    read = next((read for kind, read in _SHAPES.items() if isinstance(value, kind)), None)
    if read is None:
        raise TypeError(f"`messages` is of type {type(value).__name__}. It takes {_ACCEPTED}.")
    try:
        return read(value)
    except NotImplementedError as error:
        raise TypeError(f"`messages` holds what is no message. It takes {_ACCEPTED}. {error}") from error
