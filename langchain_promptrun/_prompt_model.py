"""The chat model that a managed prompt's record names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from langchain_core.runnables import RunnableLambda

import langchain_promptrun
from langchain_promptrun._connection_fields import ConnectionFields

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_core.language_models.base import LanguageModelInput
    from langchain_core.messages import AIMessage
    from langchain_core.runnables import Runnable

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


def following_model(prompt: PromptrunPrompt, overrides: Mapping[str, Any]) -> Runnable[LanguageModelInput, AIMessage]:
    """Make a Runnable that asks, at each call, the model that the prompt names then."""

    def current(_: LanguageModelInput) -> Any:
        return prompt.chat_model(**overrides)

    async def acurrent(_: LanguageModelInput) -> Any:
        return await prompt.achat_model(**overrides)

    return RunnableLambda(current, acurrent, name="PromptrunModel")


def named_prompt(
    prompt: PromptrunPrompt | str | None, arguments: Mapping[str, Any]
) -> tuple[PromptrunPrompt, dict[str, Any]]:
    """Sort the arguments of `ChatPromptrun.from_prompt`.

    Args:
        prompt: A prompt, the id of its project, or None where `project_id` is among the arguments.
        arguments: Fields of the prompt, where none was given, and of the model; both share those of the connection.

    Returns:
        The prompt, and the fields of the model.
    """
    kind = langchain_promptrun.PromptrunPrompt
    if isinstance(prompt, kind):
        return prompt, dict(arguments)
    connection = ConnectionFields.model_fields.keys()
    own = kind.model_fields.keys() - connection - {"name"}
    given = {} if prompt is None else {"project_id": prompt}
    named = {name: value for name, value in arguments.items() if name in own or name in connection}
    return kind(**given | named), {name: arguments[name] for name in arguments.keys() - own}
