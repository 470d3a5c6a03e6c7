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

_MARKER = "cache_control"
_SYSTEM_ROLES = ("system", "developer")
# The order in which the server reads the parts of a prompt.
_TOOLS, _SYSTEM, _OTHERS = range(3)


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
    given = list(_given_marks(body))
    # Markers for an hour must come first (Anthropic's docs, "Mixing different TTLs").
    last_long = max((position for position, is_long in given if is_long), default=())
    first_short = min((position for position, is_long in given if not is_long), default=(inf,))
    left = MOST_MARKERS - len(given)
    for position in _ends(body, caching):
        rank, index = position
        place = "tools" if rank == _TOOLS else "messages"
        entry = dict(body[place][index])
        end = entry if rank == _TOOLS else _last_part(entry)
        if left > 0 and end is not None and _MARKER not in end:
            is_long = position < last_long or (caching.get("ttl") == "1h" and position < first_short)
            end[_MARKER] = {"type": "ephemeral"} | ({"ttl": "1h"} if is_long else {})
            body[place] = [*body[place][:index], entry, *body[place][index + 1 :]]
            left -= 1


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


def _ends(body: Wire, caching: PromptCaching) -> list[tuple[int, int]]:
    """Return the ends of this request, and of those before it, whose caches are found there; the last message first."""
    messages, tools = body["messages"], body.get("tools")
    system = [index for index, message in enumerate(messages) if message.get("role") in _SYSTEM_ROLES]
    last = len(messages) - 1
    turns = [index - 1 for index in range(last, 0, -1) if messages[index].get("role") == "assistant"]
    ends = [index for index in dict.fromkeys([last, *turns]) if index >= 0 and index not in system]
    marked = [(_OTHERS, index) for index in ends[: caching.get("messages", 2)]]
    parts = [(_SYSTEM, system[-1])] if system and caching.get("system", True) else []
    if tools and caching.get("tools", True):
        parts.append((_TOOLS, len(tools) - 1))
    return [*marked[:1], *parts, *marked[1:]]


def _given_marks(body: Wire) -> Iterator[tuple[tuple[int, ...], bool]]:
    parts = [((_TOOLS, index), tool) for index, tool in enumerate(body.get("tools") or ())]
    for index, message in enumerate(body["messages"]):
        if isinstance(message.get("content"), list):
            rank = _SYSTEM if message.get("role") in _SYSTEM_ROLES else _OTHERS
            parts += [((rank, index), part) for part in message["content"]]
    for position, part in parts:
        if _MARKER in part:
            yield position, (part[_MARKER] or {}).get("ttl") == "1h"


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
