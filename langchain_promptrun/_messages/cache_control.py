"""Markers in a request's body up to which a prompt is cached."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Annotated, Any, Literal

from langchain_core.messages import AIMessage
from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict

from langchain_promptrun._profiles import known_id
from langchain_promptrun.data._cache_control import MARKED_VENDORS, MOST_MARKERS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from langchain_core.messages import BaseMessage

    Wire = dict[str, Any]
    _Position = tuple[int, int, float]

_MARKER = "cache_control"
_SYSTEM = ("system", "developer")


@with_config(ConfigDict(extra="forbid"))
class PromptCaching(TypedDict, total=False):
    """What of a prompt is marked; `ttl` is how long the server keeps it, `messages` the number of marked messages."""

    ttl: Literal["5m", "1h"]
    system: bool
    tools: bool
    messages: Annotated[int, Field(ge=0, le=4)]


def mark_prompt(body: Wire, wanted: PromptCaching | Literal["auto"]) -> None:
    """Mark the ends of the parts of a prompt that are to be cached, where its model needs markers.

    At most four parts are marked, those of the caller included; the most useful come first. What is marked is copied.
    Nothing is marked beside a marker of the whole request, with which the server marks.
    """
    if _MARKER in body or not _needs_markers(str(body["model"])):
        return
    caching = PromptCaching() if wanted == "auto" else wanted
    marks = list(_given_marks(body))
    for place, index in _places(body, caching):
        if len(marks) >= MOST_MARKERS:
            return
        entry = dict(body[place][index])
        end = entry if place == "tools" else _last_part(entry)
        if end is None or _MARKER in end:
            continue
        # Markers for an hour must come first (Anthropic's docs, "Mixing different TTLs").
        position = _position(place, index, entry)
        is_long = caching.get("ttl") == "1h" and not any(not long and other < position for other, long in marks)
        is_long = is_long or any(long and other > position for other, long in marks)
        marks.append((position, is_long))
        end[_MARKER] = {"type": "ephemeral"} | ({"ttl": "1h"} if is_long else {})
        body[place] = [*body[place][:index], entry, *body[place][index + 1 :]]


def _needs_markers(model: str) -> bool:
    vendors = (known_id(model) or model).lower().lstrip("~").split("/")[:-1]
    return not MARKED_VENDORS.isdisjoint(vendors)


def _last_part(message: Wire) -> Wire | None:
    """Copy the last part of a message in its place; empty text has none, since it cannot be marked."""
    content = message.get("content")
    parts = [{"type": "text", "text": content}] if isinstance(content, str) and content else list(content or ())
    if not parts:
        return None
    message["content"] = [*parts[:-1], end := dict(parts[-1])]
    return end


def _position(place: str, index: int, entry: Wire, part: float = inf) -> _Position:
    return (0 if place == "tools" else 1 if entry.get("role") in _SYSTEM else 2), index, part


def _places(body: Wire, caching: PromptCaching) -> list[tuple[str, int]]:
    """Return the ends of this request, and of those before it, whose caches are found there; the last message first."""
    system = [index for index, message in enumerate(body["messages"]) if message.get("role") in _SYSTEM]
    last = len(body["messages"]) - 1
    turns = [index - 1 for index in range(last, 0, -1) if body["messages"][index].get("role") == "assistant"]
    ends = [index for index in dict.fromkeys([last, *turns]) if index >= 0 and index not in system]
    marked = [("messages", index) for index in ends[: caching.get("messages", 2)]]
    parts = [("messages", system[-1])] if system and caching.get("system", True) else []
    if body.get("tools") and caching.get("tools", True):
        parts.append(("tools", len(body["tools"]) - 1))
    return [*marked[:1], *parts, *marked[1:]]


def _given_marks(body: Wire) -> Iterator[tuple[_Position, bool]]:
    parts = [("tools", index, tool, 0, tool) for index, tool in enumerate(body.get("tools") or ())]
    for index, message in enumerate(body["messages"]):
        if isinstance(message.get("content"), list):
            parts += [("messages", index, message, number, part) for number, part in enumerate(message["content"])]
    for place, index, entry, number, part in parts:
        if _MARKER in part:
            yield _position(place, index, entry, number), (part[_MARKER] or {}).get("ttl") == "1h"


def expects_cache_read(messages: Sequence[BaseMessage], model: str, body: bytes) -> bool:
    """Return whether the same model read the latest answer's prompt from its cache, and may do so again."""
    if _needs_markers(model) and _MARKER.encode() not in body:
        return False
    for message in reversed(messages):
        if isinstance(message, AIMessage) and message.usage_metadata:
            facts = message.response_metadata
            asked = facts.get("requested_model") or facts.get("model_name") or model
            return asked == model and bool(message.usage_metadata.get("input_token_details", {}).get("cache_read"))
    return False
