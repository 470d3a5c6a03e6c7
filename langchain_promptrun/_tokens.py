"""Estimate tokens without a tokenizer, a download or the network: four UTF-8 bytes are a token.

A gateway's models have many tokenizers. langchain-core's `count_tokens_approximately` counts characters (a quarter of
what Chinese or Japanese text costs), and the base64 of files and audio as if it were text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import ceil
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage, convert_to_messages

from langchain_promptrun._messages.content import CALL_TYPES, MEDIA_BLOCKS
from langchain_promptrun._tools.tools import wire_tools

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.messages import MessageLikeRepresentation

BYTES_PER_TOKEN = 4
"""English text averages four characters a token in OpenAI's tokenizers (their guide on tokens)."""

MEDIA_TOKENS = 765
"""One image, audio, video or file: what OpenAI counts for an image of 1024 x 1024 (guide "Images and vision")."""

# OpenAI's cookbook "How to count tokens with tiktoken": three tokens frame a message, its role is one, a name one more.
_MESSAGE_TOKENS = 4
_NAME_TOKENS = 1

# What names or signs a block; the model does not read it.
_LABELS = frozenset({"type", "id", "index", "signature"})


def count_text(text: str) -> int:
    """Estimate the tokens of a text, also of one with lone surrogates; a longer text never has fewer."""
    return ceil(_bytes(text) / BYTES_PER_TOKEN)


def count_messages(messages: Sequence[MessageLikeRepresentation], tools: Sequence[Any] | None = None) -> int:
    """Estimate the tokens of a conversation and of the tools sent along; counts of its parts add up."""
    said = sum(_message_tokens(message) for message in convert_to_messages(messages))
    return said + sum(count_text(_json_text(tool)) for tool in wire_tools(tools or []))


def _message_tokens(message: BaseMessage) -> int:
    size = _bytes(message.content)
    if isinstance(message, AIMessage):
        size += _bytes(message.additional_kwargs.get("reasoning_content") or "")
        for call in (*message.tool_calls, *message.invalid_tool_calls):
            args = call["args"]
            size += _bytes([call["id"] or "", call["name"] or "", args if isinstance(args, str) else _json_text(args)])
    if isinstance(message, ToolMessage):
        size += _bytes(message.tool_call_id)
    name = count_text(message.name) + _NAME_TOKENS if message.name else 0
    return _MESSAGE_TOKENS + name + ceil(size / BYTES_PER_TOKEN)


def _bytes(value: object) -> int:
    """Return the size of the text in a value: UTF-8 bytes of its strings, a constant for a medium."""
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogatepass"))
    if isinstance(value, list | tuple):
        return sum(map(_bytes, value))
    if not isinstance(value, Mapping):
        return len(str(value))
    kind = str(value.get("type"))
    if kind in MEDIA_BLOCKS:
        return MEDIA_TOKENS * BYTES_PER_TOKEN
    if kind in CALL_TYPES:  # it stands in `tool_calls`, too, where it is counted
        return 0
    return sum(_bytes(part) for key, part in value.items() if key not in _LABELS)


def _json_text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str, separators=(",", ":"))
