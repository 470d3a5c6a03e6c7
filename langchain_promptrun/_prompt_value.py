"""The messages of a managed prompt, as a value that LangChain hands to a model."""

from __future__ import annotations

from typing import Any

from langchain_core.prompt_values import ChatPromptValue
from pydantic import Field
from typing_extensions import override


class ManagedPromptValue(ChatPromptValue):
    """The messages of a managed prompt, and the prompt's name for traces. In all else a `ChatPromptValue`."""

    promptrun_trace: dict[str, Any] = Field(default_factory=dict, exclude=True, repr=False)
    """Metadata for the run that these messages go into."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ChatPromptValue) and list(self.messages) == list(other.messages)

    def __hash__(self) -> int:
        raise TypeError(f"unhashable type: {type(self).__name__!r}")

    @classmethod
    @override
    def lc_id(cls) -> list[str]:
        return ChatPromptValue.lc_id()
