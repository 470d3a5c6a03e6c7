"""Make langchain-core's protocol events of the parts of an answer, without message chunks in between.

The order is core's: `message-start`, per block `content-block-start`, its deltas and `content-block-finish`, then
`message-finish`. A text or a reasoning is finished when something else begins; tool calls, which may be interleaved, at
the end, and so is a text before them, as its citations come late.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, cast

from langchain_promptrun._responses.choice import (
    LOGPROBS,
    PROVIDER,
    REASONING,
    REFUSAL,
    TEXT,
    TOOL,
    Part,
    joined_logprobs,
)
from langchain_promptrun._responses.content_blocks import HAS_REFUSAL_BLOCKS, Block, audio, citations, images, withheld
from langchain_promptrun._responses.parser import ResponseParser

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_protocol.protocol import MessagesData

    from langchain_promptrun._responses.partial_call import ToolPiece, WholeCall

_KEYS = {TEXT: "text", REASONING: "reasoning"}
_HEAVY = frozenset({"base64", "refusal"})
_FINISH_KEYS = ("finish_reason", "normalized_finish_reason")


class EventParser(ResponseParser["MessagesData"]):
    """Parses an answer into protocol events."""

    def __init__(self, *args: Any, message_id: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._message_id = message_id
        self._next_index = 0
        self._open: int | None = None
        self._open_index = 0
        self._text = bytearray()
        self._reasoning: list[str] = []
        self._refusal: list[str] = []
        self._calls: dict[int, int] = {}
        self._logprobs: list[dict[str, Any]] = []
        self._started = False

    def _emit(self, parts: list[Part], items: list[MessagesData], index: int) -> None:
        del index
        for kind, payload in parts:
            self._handlers[kind](self, payload, items)

    def _emit_text(self, text: str, items: list[MessagesData]) -> None:
        if self._open != TEXT or self._open_index + 1 != self._next_index:
            self._begin_open(TEXT, items)
        self._text += text.encode()
        items.append(
            {"event": "content-block-delta", "index": self._open_index, "delta": {"type": "text-delta", "text": text}}
        )

    def _emit_ending(self, items: list[MessagesData]) -> None:
        self._start_message(items)
        choice = self._choices[0]
        final = choice.end()
        self._emit(final.parts, items, 0)
        extras = final.additional_kwargs
        self._finish_texts(items, citations(extras, final.response_metadata))
        for call in choice.tool_calls.whole():
            self._finish(self._calls[call.slot], _finished_call(call), items)
        refusals = self._refusal_blocks() or withheld(choice.finish_reason)
        for block in (*images(extras.get("images")), *audio(extras.get("audio")), *refusals):
            self._finish(self._begin({k: v for k, v in block.items() if k not in _HEAVY}, items), block, items)
        if self._reasoning:
            extras = {"reasoning_content": "".join(self._reasoning)} | extras
        metadata = final.response_metadata
        if logprobs := joined_logprobs(self._logprobs):
            metadata["logprobs"] = logprobs
        finish: dict[str, Any] = {"event": "message-finish", "metadata": metadata}
        if "normalized_finish_reason" in metadata:
            finish |= {key: metadata[key] for key in _FINISH_KEYS}
        if final.usage_metadata is not None:
            finish["usage"] = final.usage_metadata
        if extras:
            finish["additional_kwargs"] = extras
        items.append(cast("MessagesData", finish))

    def _refusal_blocks(self) -> list[Block]:
        return [{"type": "refusal", "refusal": "".join(self._refusal)}] if self._refusal else []

    def _take_refusal(self, text: str, items: list[MessagesData]) -> None:
        """Take a refusal: core has no delta for it, and below 1.7.5 no block."""
        if HAS_REFUSAL_BLOCKS:
            self._refusal.append(text)
        else:
            self._emit_text(text, items)

    def _take_reasoning(self, text: str, items: list[MessagesData]) -> None:
        if self._open != REASONING:
            self._begin_open(REASONING, items)
        self._text += text.encode()
        items.append(
            {
                "event": "content-block-delta",
                "index": self._open_index,
                "delta": {"type": "reasoning-delta", "reasoning": text},
            }
        )

    def _take_tool_piece(self, piece: ToolPiece, items: list[MessagesData]) -> None:
        index = self._calls.get(piece.slot)
        if index is None:
            if self._open == REASONING:
                self._finish_open(items)
            call = {"type": "tool_call_chunk", "id": piece.id, "name": piece.name, "args": "", "index": piece.slot}
            index = self._calls[piece.slot] = self._begin(call, items)
        if piece.args:
            items.append(
                {
                    "event": "content-block-delta",
                    "index": index,
                    "delta": {"type": "tool-call-delta", "args": piece.args},
                }
            )

    def _take_logprobs(self, logprobs: dict[str, Any], items: list[MessagesData]) -> None:
        del items
        self._limit.add_value(logprobs)
        self._logprobs.append(logprobs)

    def _start_message(self, items: list[MessagesData]) -> None:
        if self._started:
            return
        self._started = True
        metadata = {"provider": PROVIDER, "model": self._metadata.model}
        start = {"event": "message-start", "role": "ai", "id": self._message_id, "metadata": metadata}
        items.append(cast("MessagesData", start))

    def _begin(self, block: Block, items: list[MessagesData]) -> int:
        self._start_message(items)
        index = self._next_index
        self._next_index += 1
        items.append(cast("MessagesData", {"event": "content-block-start", "index": index, "content": block}))
        return index

    def _finish(self, index: int, block: Block, items: list[MessagesData]) -> None:
        items.append(cast("MessagesData", {"event": "content-block-finish", "index": index, "content": block}))

    def _begin_open(self, kind: int, items: list[MessagesData]) -> None:
        self._finish_open(items)
        self._open = kind
        self._open_index = self._begin({"type": _KEYS[kind], _KEYS[kind]: ""}, items)

    def _finish_open(self, items: list[MessagesData], **facts: Any) -> None:
        if self._open is None:
            return
        key, text = _KEYS[self._open], self._text.decode()
        if self._open == REASONING:
            self._reasoning.append(text)
        self._finish(self._open_index, {"type": key, key: text, **facts}, items)
        self._open = None
        self._text = bytearray()

    def _finish_texts(self, items: list[MessagesData], annotations: list[Block]) -> None:
        """Finish what is open; citations come late and hang on the last text."""
        if not annotations:
            self._finish_open(items)
            return
        if self._open != TEXT:
            self._begin_open(TEXT, items)
        self._finish_open(items, annotations=annotations)

    _handlers: ClassVar[dict[int, Callable[[EventParser, Any, list[MessagesData]], None]]] = {
        REASONING: _take_reasoning,
        TEXT: _emit_text,
        REFUSAL: _take_refusal,
        TOOL: _take_tool_piece,
        LOGPROBS: _take_logprobs,
    }


def _finished_call(call: WholeCall) -> Block:
    if call.args is None:
        return {"type": "invalid_tool_call", "id": call.id, "name": call.name, "args": call.text, "error": None}
    return {"type": "tool_call", "id": call.id, "name": call.name, "args": call.args}
