"""A managed prompt's text: which variables it has, and the text with their values in it. Pure.

A variable is `{{name}}`: word characters between double braces, as Promptrun's Node SDK reads them. All other braces
are text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

# JavaScript's \w, the SDK's language, is ASCII
_VARIABLE = re.compile(r"\{\{(\w+)\}\}", re.ASCII)


def variables_of(text: str) -> tuple[str, ...]:
    """Names of the text's variables, in the order of their first appearance."""
    return tuple(dict.fromkeys(_VARIABLE.findall(text)))


def rendered(text: str, values: Mapping[str, Any]) -> str:
    """Put values in the place of variables; one without a value stays as it is.

    Args:
        text: The text.
        values: Values by name. They are not read as text with variables of its own.
    """

    def value(found: re.Match[str]) -> str:
        name = found[1]
        return str(values[name]) if name in values else found[0]

    return _VARIABLE.sub(value, text)


class PromptrunMissingVariableError(KeyError, ValueError):
    """Variables of a managed prompt have no value. A KeyError, as LangChain's own prompts raise.

    Attributes:
        variables: Names of the variables without a value.
    """

    def __init__(self, message: str = "", variables: tuple[str, ...] = ()) -> None:
        super().__init__(message, variables)
        self.variables = variables

    def __str__(self) -> str:
        """The message, without the quotes of a KeyError."""
        return str(self.args[0])


def check_values(text: str, values: Mapping[str, Any], *, prompt: str, version: int) -> None:
    """Check that each variable has a value.

    Args:
        text: The text.
        values: Values by name.
        prompt: What the prompt is called in an error.
        version: Its version, for an error.

    Raises:
        PromptrunMissingVariableError: A variable has none.
    """
    if missing := tuple(name for name in variables_of(text) if name not in values):
        names = ", ".join(f"`{name}`" for name in missing)
        given = ", ".join(f"`{name}`" for name in values) or "none"
        few = "variable" if len(missing) == 1 else "variables"
        raise PromptrunMissingVariableError(
            f"No value for the {few} {names} of {prompt}, version {version}. Values were given for: {given}. "
            'Set missing="keep" to leave variables without a value in the text.',
            missing,
        )
