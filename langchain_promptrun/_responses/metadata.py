"""Collect what an answer says beside its choices: id, model, usage, cost, and what a gateway adds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_promptrun._responses.body import SizeLimit
from langchain_promptrun._responses.facts import Facts
from langchain_promptrun._responses.usage import find_cost, has_counts, usage_metadata
from langchain_promptrun._wire.text import without_surrogates

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

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
        "requested_model",
        "token_usage",
    }
)
"""Names in `response_metadata` under which LangChain or this package keep facts of their own."""

_SKIPPED = frozenset({"choices", "object", "usage", "obfuscation", "error"})
_CHANGING = frozenset({"choices", "obfuscation"})
# A document without any of them is not about the answer: some servers keep a stream alive with `{"type": "ping"}`.
_ABOUT_THE_ANSWER = frozenset({"choices", "usage", "id"})
_PRIVATE_HEADERS = frozenset(
    {"authorization", "cookie", "proxy-authorization", "set-cookie", "set-cookie2", "x-api-key"}
)


class ResponseMetadata:
    """The facts of one answer; a fact has one value, however many documents repeat it.

    Args:
        headers: The answer's headers, names in lower case.
        model: The model asked for, which counts until the answer names one.
        limit: Counts what is kept.
        include_headers: Whether the headers belong into the metadata (without cookies and credentials).
    """

    __slots__ = ("_asked_model", "_facts", "_headers", "_include_headers", "_last", "_usage")

    def __init__(
        self,
        headers: Mapping[str, str],
        model: str = "",
        limit: SizeLimit | None = None,
        *,
        include_headers: bool = False,
    ) -> None:
        limit = limit or SizeLimit()
        self._headers = headers
        self._asked_model = model
        self._include_headers = include_headers
        self._facts = Facts(limit)
        self._usage = Facts(limit)
        self._last: dict[str, Any] = {}

    def feed(self, document: dict[str, Any]) -> None:
        """Keep the facts of a document."""
        if _ABOUT_THE_ANSWER.isdisjoint(document):
            return
        self._last = {key: value for key, value in document.items() if key not in _CHANGING}
        for key, value in document.items():
            if key not in _SKIPPED and value is not None and value != "":
                self._facts.add(key, value)
        self.add_usage(document.get("usage"))
        groq = document.get("x_groq")
        self.add_usage(groq.get("usage") if isinstance(groq, dict) else None)

    def add_usage(self, usage: Any) -> None:
        """Keep a usage object; one of zeros only says nothing after one with counts."""
        if isinstance(usage, dict) and usage and (has_counts(usage) or not has_counts(self._usage.whole())):
            self._usage.update(usage)

    def is_repeated(self, document: dict[str, Any]) -> bool:
        """Return whether a document, without its choices, says nothing new."""
        return document == self._last and not (document.get("usage") or document.get("error"))

    @property
    def id_seed(self) -> str:
        """What tells this answer from others, or an empty string; some servers give all answers one id."""
        ident = self._facts.get("id")
        return without_surrogates(f"{ident}:{self._facts.get('created') or ''}") if ident else ""

    @property
    def model(self) -> str:
        """The model that answers, as far as it is known."""
        return str(self._facts.get("model") or self._asked_model)

    def mark(self) -> dict[str, str]:
        """Name the model that was asked for, where the answer names another: reasoning goes back to that one."""
        asked = self._asked_model
        return {"requested_model": asked} if asked and asked != self.model else {}

    def usage_metadata(self) -> UsageMetadata | None:
        """Return the token counts of the whole answer."""
        return usage_metadata(self._usage.whole())

    def whole(self, *, with_usage: bool, places_of_cost: Iterable[dict[str, Any]] = ()) -> dict[str, Any]:
        """Return LangChain's `response_metadata`, as far as the whole answer goes.

        Args:
            with_usage: Whether usage and cost belong into it.
            places_of_cost: Further dictionaries that may hold the cost.
        """
        facts = self._facts.whole()
        metadata = {key: value for key, value in facts.items() if key != "model" and key not in OWN_NAMES}
        metadata["model_name"] = self.model
        if with_usage:
            usage = self._usage.whole()
            if usage:
                metadata["token_usage"] = usage
            if (price := find_cost(usage, (facts, *places_of_cost), self._headers)) is not None:
                metadata["cost"] = price
        if self._include_headers:
            metadata["headers"] = {k: v for k, v in self._headers.items() if k not in _PRIVATE_HEADERS}
        return metadata
