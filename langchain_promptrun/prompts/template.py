"""Text of managed prompts: find variables, insert values, append the conversation.

A variable is `{{name}}`: word characters between double braces, as Promptrun's Node SDK reads them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from langchain_core.messages import BaseMessage, HumanMessage, convert_to_messages
from langchain_core.prompt_values import PromptValue

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# JavaScript's \w, the SDK's language, is ASCII
_VARIABLE = re.compile(r"\{\{(\w+)\}\}", re.ASCII)
_ACCEPTED = 'a list of messages, such as [("user", "Hello")]; one message; a text, which is the user\'s; a prompt value'

_SHAPES: dict[type, Callable[[Any], list[BaseMessage]]] = {
    type(None): lambda _: [],
    list: convert_to_messages,
    PromptValue: lambda value: value.to_messages(),
    BaseMessage: lambda message: [message],
    str: lambda text: [HumanMessage(text)],
}


class PromptrunMissingVariableError(KeyError, ValueError):
    """Reports variables of a managed prompt that have no value. A KeyError, as LangChain's own prompts raise.

    Attributes:
        variables: Names of the variables without a value.
    """

    def __init__(self, message: str = "", variables: tuple[str, ...] = ()) -> None:
        super().__init__(message, variables)
        self.variables = variables

    def __str__(self) -> str:
        """Return the message without the quotes of a KeyError."""
        return str(self.args[0])


def find_variables(text: str) -> tuple[str, ...]:
    """Return the names of the text's variables, in the order of their first appearance."""
    return tuple(dict.fromkeys(_VARIABLE.findall(text)))


def render(text: str, values: Mapping[str, Any]) -> str:
    """Insert values; a variable without a value stays, and values are never expanded."""

    def insert(found: re.Match[str]) -> str:
        name = found[1]
        return str(values[name]) if name in values else found[0]

    return _VARIABLE.sub(insert, text)


def check_values(text: str, values: Mapping[str, Any], *, prompt: str, version: int | str) -> None:
    """Raise PromptrunMissingVariableError where a variable has no value."""
    if missing := tuple(name for name in find_variables(text) if name not in values):
        names = ", ".join(f"`{name}`" for name in missing)
        given = ", ".join(f"`{name}`" for name in values) or "none"
        few = "variable" if len(missing) == 1 else "variables"
        raise PromptrunMissingVariableError(
            f"No value for the {few} {names} of {prompt}, version {version}. Values were given for: {given}. "
            'Set `missing="keep"` to leave variables without a value in the text.',
            missing,
        )


def read_conversation(value: Any) -> list[BaseMessage]:
    """Convert the value of `messages`: a list as LangChain reads it, or another shape with one meaning only.

    A tuple may be one message or several of them, so it is refused, too.
    """
    read = next((read for kind, read in _SHAPES.items() if isinstance(value, kind)), None)
    if read is None:
        raise TypeError(f"`messages` is of type {type(value).__name__}. It takes {_ACCEPTED}.")
    try:
        return read(value)
    except NotImplementedError as error:
        raise TypeError(f"`messages` holds something else than messages. It takes {_ACCEPTED}. {error}") from error
