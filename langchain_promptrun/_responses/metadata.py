"""What the documents of an answer say beside its choices: id, model, usage, cost, and whatever a gateway adds.

A fact has one value for the whole answer, however many documents repeat it. What the choices say is `_answer`'s. Pure.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

from langchain_promptrun._responses.usage import cost, usage_metadata
from langchain_promptrun._wire.size_limit import Room, weight

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_core.messages.ai import UsageMetadata

OWN_NAMES = frozenset(
    {
        "cost",
        "finish_reason",
        "headers",
        "lc_gateway_metadata",
        "logprobs",
        "model_name",
        "model_provider",
        "output_version",
        "reasoning_field",
        "token_usage",
    }
)
"""Names in `response_metadata` under which LangChain or this package keep facts of their own."""

_SKIPPED = frozenset({"choices", "object", "usage", "obfuscation", "error"})
# A document without any of them is not about the answer: some servers keep a stream alive with `{"type": "ping"}`.
_ABOUT_THE_ANSWER = frozenset({"choices", "usage", "id"})
_NEEDED = frozenset({"id", "model"})
_PRIVATE_HEADERS = frozenset(
    {"authorization", "cookie", "proxy-authorization", "set-cookie", "set-cookie2", "x-api-key"}
)


class Envelope:
    """The facts of one answer.

    Args:
        headers: The answer's headers, names in lower case.
        room: Where what is kept is counted; by default without a limit.
        include_headers: Whether they belong into the metadata (without cookies and credentials).

    Attributes:
        usage: The last value of each count that came.
    """

    __slots__ = ("_facts", "_headers", "_include_headers", "_room", "_seen", "usage")

    def __init__(self, headers: Mapping[str, str], room: Room | None = None, *, include_headers: bool = False) -> None:
        self._headers = headers
        self._room = room or Room()
        self._include_headers = include_headers
        self._facts: dict[str, Any] = {}
        self._seen: set[str] = set()
        self.usage: dict[str, Any] | None = None

    def take(self, document: dict[str, Any]) -> None:
        """Keep the facts of a document; the last value that says something counts."""
        if _ABOUT_THE_ANSWER.isdisjoint(document):
            return
        for key, value in document.items():
            if key not in _SKIPPED and value is not None and value != "":
                self._room.keep(self._facts, key, value)
        self._room.take(sum(map(weight, document.keys() - self._seen - _NEEDED)))
        self._seen.update(document)
        # Azure's first document has them empty.
        self._seen.difference_update(name for name in _NEEDED if name not in self._facts)
        if (usage := _usage_of(document)) is not None:
            self.usage = self.usage or {}
            for name, count in usage.items():
                self._room.keep(self.usage, name, count)

    def knows(self, document: dict[str, Any]) -> bool:
        """Whether a document of a stream can be left out: no key is new, no usage, no error."""
        return self._seen.issuperset(document) and not (document.get("usage") or document.get("error"))

    @property
    def seed(self) -> str:
        """What tells this answer from others, or an empty string: some servers give all answers one id."""
        ident = self._facts.get("id", "")
        return f"{ident}:{self._facts.get('created', '')}" if ident else ""

    @property
    def model(self) -> str:
        """The model that answers, as far as it is known."""
        return str(self._facts.get("model", ""))

    def usage_metadata(self) -> UsageMetadata | None:
        """Return the token counts of the whole answer."""
        return usage_metadata(self.usage)

    def metadata(self, *, with_usage: bool) -> dict[str, Any]:
        """Return LangChain's `response_metadata`, as far as the whole answer goes."""
        # the messages of several choices share nothing that can be changed
        facts = self._facts if with_usage else deepcopy(self._facts)
        metadata = {key: value for key, value in facts.items() if key != "model" and key not in OWN_NAMES}
        if self.model:
            metadata["model_name"] = self.model
        if with_usage and self.usage:
            metadata["token_usage"] = self.usage
        if with_usage and (price := cost(self.usage, self._headers)) is not None:
            metadata["cost"] = price
        if self._include_headers:
            metadata["headers"] = {k: v for k, v in self._headers.items() if k not in _PRIVATE_HEADERS}
        return metadata


def _usage_of(document: dict[str, Any]) -> dict[str, Any] | None:
    """Find the usage: beside the choices, in Groq's `x_groq`, or in the choice (Moonshot)."""
    choices = document.get("choices")
    places = [document, document.get("x_groq"), *(choices if isinstance(choices, list) else ())]
    for place in places:
        if isinstance(place, dict) and isinstance(usage := place.get("usage"), dict) and usage:
            return usage
    return None
