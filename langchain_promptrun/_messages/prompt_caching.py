"""Markers in a request's body up to which a prompt is cached."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from langchain_core.messages import AIMessage
from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict

from langchain_promptrun._profiles import known_id
from langchain_promptrun.data._prompt_caching import MARKED_VENDORS, MOST_MARKERS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from langchain_core.messages import BaseMessage

    Wire = dict[str, Any]

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
    """
    model = str(body["model"])
    if (known_id(model) or model).partition("/")[0] not in MARKED_VENDORS:
        return
    caching = PromptCaching() if wanted == "auto" else wanted
    left = MOST_MARKERS - sum(_MARKER in part for part in _all_parts(body))
    marker = {"type": "ephemeral"} | ({"ttl": "1h"} if caching.get("ttl") == "1h" else {})
    for place, index in _places(body, caching):
        if left <= 0:
            return
        entry = body[place][index]
        marked = _marked_tool(entry, marker) if place == "tools" else _marked_message(entry, marker)
        if marked is not None:
            body[place] = [*body[place][:index], marked, *body[place][index + 1 :]]
            left -= 1


def _places(body: Wire, caching: PromptCaching) -> Iterator[tuple[Literal["messages", "tools"], int]]:
    """Give what is to be marked: first the last message, up to which all before it is cached, too."""
    messages = body["messages"]
    ends = _request_ends(messages)[: caching.get("messages", 2)]
    yield from (("messages", index) for index in ends[:1])
    system = [index for index, message in enumerate(messages) if message.get("role") in _SYSTEM]
    if system and caching.get("system", True):
        yield "messages", system[-1]
    if body.get("tools") and caching.get("tools", True):
        yield "tools", len(body["tools"]) - 1
    yield from (("messages", index) for index in ends[1:])


def _request_ends(messages: Sequence[Wire]) -> list[int]:
    """Return where this request and the ones before it end, the latest first: their caches are found there."""
    last = len(messages) - 1
    ends = [last, *(index - 1 for index in range(last, 0, -1) if messages[index].get("role") == "assistant")]
    return [index for index in dict.fromkeys(ends) if index >= 0 and messages[index].get("role") not in _SYSTEM]


def _marked_tool(tool: Wire, marker: Wire) -> Wire | None:
    return None if _MARKER in tool else {**tool, _MARKER: marker}


def _marked_message(message: Wire, marker: Wire) -> Wire | None:
    """Mark the last part of a message; empty text cannot be marked, nor what the caller marked."""
    content = message.get("content")
    parts = [{"type": "text", "text": content}] if isinstance(content, str) and content else content
    if not isinstance(parts, list) or not parts or _MARKER in parts[-1]:
        return None
    return {**message, "content": [*parts[:-1], {**parts[-1], _MARKER: marker}]}


def _all_parts(body: Wire) -> Iterator[Wire]:
    yield from body.get("tools") or ()
    for message in body["messages"]:
        if isinstance(message.get("content"), list):
            yield from message["content"]


def read_from_cache(messages: Sequence[BaseMessage]) -> bool:
    """Return whether the latest answer of a conversation was read from the cache in part."""
    for message in reversed(messages):
        if isinstance(message, AIMessage) and message.usage_metadata:
            return bool(message.usage_metadata.get("input_token_details", {}).get("cache_read"))
    return False
