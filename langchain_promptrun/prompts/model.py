"""The chat model that a managed prompt's record names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from langchain_promptrun._config.fields import ConnectionFields
from langchain_promptrun._config.roles import roles_of
from langchain_promptrun._config.validators import unknown_keyword

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from langchain_promptrun.chat_models import ChatPromptrun
    from langchain_promptrun.prompts.current import CurrentPrompt
    from langchain_promptrun.prompts.record import PromptRecord

M = TypeVar("M", bound="ChatPromptrun")

_MODEL_NAMES = frozenset({"model", "model_name"})


def model_of(kind: type[M], prompt: CurrentPrompt, record: PromptRecord, overrides: Mapping[str, Any]) -> M:
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


def _named_model(prompt: CurrentPrompt, record: PromptRecord) -> str:
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
    known = roles_of(kind).known
    for name in names:
        if name not in known:
            raise unknown_keyword(kind.__name__, name, known | more, kind.keyword_advice)
