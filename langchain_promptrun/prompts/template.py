"""Text of managed prompts: find variables, insert values, append the conversation.

The public source of Promptrun's Node SDK: a variable is `{{name}}` on its main branch; on its branch beta blanks may
stand around the name, and dots walk into objects, `{{ user.email }}`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from langchain_core.messages import BaseMessage, convert_to_messages
from langchain_core.prompt_values import PromptValue
from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Iterable

# JavaScript's trim() takes the byte order mark for a blank
_PATH = re.compile(r"\{\{[\s\ufeff]*(\w+(?:\.\w+)*)[\s\ufeff]*\}\}")
# what an author may have meant as a name: none of the marks of JSON, calls or another template language
_NAME_LIKE = re.compile(r"\{\{[\s\ufeff]*([\w.@$\u200b][^{}\":;=<>()\n]*)\}\}")
_MISSING = object()
_ACCEPTED = 'a list of messages, such as [("user", "Hello")]; one message; a text, which is the user\'s; a prompt value'


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
    """Return the names of the text's variables, in the order of their first appearance; of a path, its root."""
    return tuple(dict.fromkeys(path.partition(".")[0] for path in _PATH.findall(text)))


def find_odd_names(text: str) -> tuple[str, ...]:
    """Return what stands between double braces like a name that cannot be one."""
    found = dict.fromkeys(name.strip() for name in _NAME_LIKE.findall(text))
    return tuple(name for name in found if not _PATH.fullmatch(f"{{{{{name}}}}}"))


def render(text: str, values: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Insert values, which are never expanded; return the text, and what stayed between double braces."""
    unfilled: dict[str, None] = {}

    def insert(found: re.Match[str]) -> str:
        value = _look_up(values, found[1])
        if value is _MISSING:
            unfilled[found[1]] = None
            return found[0]
        return str(value)

    rendered = _PATH.sub(insert, text)
    return rendered, (*unfilled, *find_odd_names(text))


def _look_up(values: Mapping[str, Any], path: str) -> Any:
    """Walk mappings, and public fields of pydantic models and dataclasses."""
    value: Any = values
    for name in path.split("."):
        if isinstance(value, Mapping):
            value = value.get(name, _MISSING)
            continue
        fields: Iterable[str] = ()
        if isinstance(value, BaseModel):
            kind = type(value)
            fields = (*kind.model_fields, *kind.model_computed_fields, *(value.model_extra or ()))
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = (field.name for field in dataclasses.fields(value))
        value = getattr(value, name, _MISSING) if name in fields and not name.startswith("_") else _MISSING
        if callable(value):
            return _MISSING
    return value


def refuse_unfilled(unfilled: tuple[str, ...], given: Iterable[str], *, prompt: str, version: int | str) -> NoReturn:
    """Raise PromptrunMissingVariableError for variables without a value, and for odd names."""
    missing, values = (", ".join(f"`{name}`" for name in names) for names in (unfilled, given))
    is_odd = any(not _PATH.fullmatch(f"{{{{{name}}}}}") for name in unfilled)
    advice = (
        "Names have letters, digits and `_`, with dots between them: rename them in the dashboard. " if is_odd else ""
    )
    raise PromptrunMissingVariableError(
        f"No value for {missing} of {prompt}, version {version}. Values were given for: {values or 'none'}. {advice}"
        'Set `missing="keep"` to leave variables without a value in the text.',
        unfilled,
    )


def read_conversation(value: Any) -> list[BaseMessage]:
    """Convert the value of `messages`: a list as LangChain reads it, or another shape with one meaning only.

    A tuple may be one message or several of them, so it is refused, too.
    """
    if value is None:
        return []
    if isinstance(value, BaseMessage | str):
        value = [value]
    if not isinstance(value, list | PromptValue):
        raise TypeError(f"`messages` is of type {type(value).__name__}. It takes {_ACCEPTED}.")
    try:
        return convert_to_messages(value)
    except NotImplementedError as error:
        raise TypeError(f"`messages` holds something else than messages. It takes {_ACCEPTED}. {error}") from error
