"""The messages of a managed prompt, as a value that LangChain hands to a model."""

from __future__ import annotations

from typing import Any, NamedTuple

from langchain_core.prompt_values import ChatPromptValue
from pydantic import Field
from typing_extensions import override

from langchain_promptrun.prompts.record import PromptRecord

ORIGIN = "promptrun_origin"
"""Attribute of a prompt's value with its `Origin`."""


class Origin(NamedTuple):
    """What the messages were made of."""

    address: dict[str, Any]
    """Which prompt it is, and where."""
    record: PromptRecord
    """Its version."""


class ManagedPromptValue(ChatPromptValue):
    """The messages of a managed prompt, and the prompt's name for traces. In all else a `ChatPromptValue`."""

    promptrun_trace: dict[str, Any] = Field(default_factory=dict, exclude=True, repr=False)
    """Metadata for the run that these messages go into."""

    promptrun_origin: Any = Field(default=None, exclude=True, repr=False)
    """An `Origin`, for a model that follows the prompt."""

    def __getstate__(self) -> dict[Any, Any]:
        """Leave the origin out of a pickle, which is to hold public names only."""
        state = super().__getstate__()
        return {**state, "__dict__": {**state["__dict__"], ORIGIN: None}}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ChatPromptValue) and list(self.messages) == list(other.messages)

    def __hash__(self) -> int:
        raise TypeError(f"unhashable type: {type(self).__name__!r}")

    @classmethod
    @override
    def lc_id(cls) -> list[str]:
        return ChatPromptValue.lc_id()


# it gets into checkpoints and pickles, which are to be read when this module is called something else
ManagedPromptValue.__module__ = "langchain_promptrun.prompts"
