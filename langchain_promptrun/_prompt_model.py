"""The chat model that a managed prompt's record names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import langchain_promptrun
from langchain_promptrun._connection_fields import ConnectionFields, known_names
from langchain_promptrun._field_checks import unknown_keyword

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from langchain_promptrun._prompt_record import PromptRecord
    from langchain_promptrun.chat_models import ChatPromptrun
    from langchain_promptrun.prompts import PromptrunPrompt

M = TypeVar("M", bound="ChatPromptrun")

_MODEL_NAMES = frozenset({"model", "model_name"})


def model_of(kind: type[M], prompt: PromptrunPrompt, record: PromptRecord, overrides: Mapping[str, Any]) -> M:
    """Make the model that a record names, reached as the prompt is.

    Args:
        kind: The class of the model.
        prompt: The prompt.
        record: Its record.
        overrides: Fields of the model that win over both.

    Raises:
        ValueError: The record names no model, and neither do the overrides.
    """
    connection = ConnectionFields.model_fields.keys() & prompt.model_fields_set
    fields: dict[str, Any] = {name: getattr(prompt, name) for name in connection}
    if record.temperature is not None:
        fields["temperature"] = record.temperature
    if not _MODEL_NAMES & overrides.keys():
        fields["model"] = _named_model(prompt, record)
    return kind(**fields | dict(overrides))


def _named_model(prompt: PromptrunPrompt, record: PromptRecord) -> str:
    if record.model is None or not record.model.model:
        raise ValueError(
            f"{prompt.label} names no model in version {record.version}: choose one in Promptrun's dashboard, or pass "
            "model=..."
        )
    return record.model.model


def check_overrides(kind: type[ChatPromptrun], names: Iterable[str], more: frozenset[str] = frozenset()) -> None:
    """Refuse a name that is no field, before any request.

    Args:
        kind: The class of the model.
        names: What came.
        more: Names that would have been right, too.

    Raises:
        ValidationError: A name is no field.
    """
    known = known_names(kind)
    for name in names:
        if name not in known:
            raise unknown_keyword(kind.__name__, name, known | more, kind.keyword_advice)


def named_prompt(
    model: type[ChatPromptrun], prompt: PromptrunPrompt | str | None, arguments: Mapping[str, Any]
) -> tuple[PromptrunPrompt, dict[str, Any]]:
    """Sort the arguments of `ChatPromptrun.from_prompt`.

    Args:
        model: The class of the model.
        prompt: A prompt, the id of its project, or None where `project_id` is among the arguments.
        arguments: Fields of the prompt, where none was given, and of the model; both share those of the connection.

    Returns:
        The prompt, and the fields of the model.

    Raises:
        ValidationError: An argument is a field of neither.
    """
    kind = langchain_promptrun.PromptrunPrompt
    if isinstance(prompt, kind):
        check_overrides(model, arguments)
        return prompt, dict(arguments)
    connection = ConnectionFields.model_fields.keys()
    own = kind.model_fields.keys() - connection - {"name"}
    given = {} if prompt is None else {"project_id": prompt}
    named = {name: value for name, value in arguments.items() if name in own or name in connection}
    overrides = {name: value for name, value in arguments.items() if name not in own}
    check_overrides(model, overrides, frozenset(own))
    return kind(**given | named), overrides
