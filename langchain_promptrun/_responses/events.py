"""Make langchain-core's protocol events of the parts of an answer, without message chunks in between.

The order is core's: `message-start`, per block `content-block-start`, its deltas and `content-block-finish`, then
`message-finish`. A text or a reasoning is finished when something else begins; tool calls, which may be interleaved, at
the end, and so is a text before them, as its citations come late.
"""

from __future__ import annotations

from typing import Any

from langchain_promptrun._responses.choice import PROVIDER, Choice, Part
from langchain_promptrun._responses.content_blocks import HAS_REFUSAL_BLOCKS, Block, citations, media, refusals
from langchain_promptrun._responses.parser import ResponseParser


class EventParser(ResponseParser[Any]):
    """Parses an answer into protocol events.

    For `tokens`, there is a None where a document brings something and no event comes of it yet.
    """

    def __init__(self, *args: Any, message_id: str = "", tokens: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._message_id = message_id
        self._tokens = tokens
        self._next_index = 0
        # The kind of text that is open, reasoning or text, where it stands and what came of it.
        self._open: str | None = None
        self._open_index = 0
        self._text = bytearray()
        self._calls: dict[int, int] = {}

    def _emit(self, parts: list[Part], choice: Choice) -> None:
        if self._tokens and not parts:
            self._items.append(None)
        for kind, payload in parts:
            if kind in {"text", "reasoning"}:
                self._take_text(kind, payload)
            elif kind == "tool":
                index = self._calls.get(payload.slot)
                if index is None:
                    if self._open == "reasoning":
                        self._finish_text()
                    start = {"type": "tool_call_chunk", "id": payload.id, "name": payload.name, "args": ""}
                    index = self._calls[payload.slot] = self._begin(start | {"index": payload.slot})
                if payload.args:
                    delta = {"type": "tool-call-delta", "args": payload.args}
                    self._items.append({"event": "content-block-delta", "index": index, "delta": delta})
            elif kind == "logprobs":
                choice.parts.append((kind, payload))
            elif not HAS_REFUSAL_BLOCKS:
                # Core has no delta for a refusal: its block comes at the end.
                self._take_text("text", payload)

    def _take_text(self, kind: str, text: str) -> None:
        if self._open != kind or self._open_index + 1 != self._next_index:
            self._begin_text(kind)
        self._text += text.encode()
        delta = (
            {"type": "text-delta", "text": text} if kind == "text" else {"type": "reasoning-delta", "reasoning": text}
        )
        self._items.append({"event": "content-block-delta", "index": self._open_index, "delta": delta})

    def _emit_ending(self) -> None:
        choice = self._choices[0]
        parts, fields = choice.end()
        if parts:
            self._emit(parts, choice)
        self._finish_text(citations(fields["additional_kwargs"], fields["response_metadata"]))
        choice.add_collected(fields)
        extras, metadata = fields["additional_kwargs"], fields["response_metadata"]
        for call in choice.tool_calls.announced:
            self._finish(self._calls[call.slot], call.finished())
        for block in (*media(extras), *refusals(extras, metadata)):
            self._finish(self._begin({k: v for k, v in block.items() if k not in {"base64", "refusal"}}), block)
        finish: dict[str, Any] = {"event": "message-finish", "metadata": metadata}
        if "normalized_finish_reason" in metadata:
            finish |= {key: metadata[key] for key in ("finish_reason", "normalized_finish_reason")}
        if fields["usage_metadata"] is not None:
            finish["usage"] = fields["usage_metadata"]
        if extras:
            finish["additional_kwargs"] = extras
        self._start_message()
        self._items.append(finish)

    def _start_message(self) -> None:
        if self._next_index == 0:
            metadata = {"provider": PROVIDER, "model": self._metadata.model}
            self._items.append({"event": "message-start", "role": "ai", "id": self._message_id, "metadata": metadata})

    def _begin(self, block: Block) -> int:
        self._start_message()
        index = self._next_index
        self._next_index += 1
        self._items.append({"event": "content-block-start", "index": index, "content": block})
        return index

    def _finish(self, index: int, block: Block) -> None:
        self._items.append({"event": "content-block-finish", "index": index, "content": block})

    def _begin_text(self, kind: str) -> None:
        self._finish_text()
        self._open = kind
        self._open_index = self._begin({"type": kind, kind: ""})

    def _finish_text(self, annotations: list[Block] | None = None) -> None:
        if annotations and self._open != "text":
            self._begin_text("text")
        if self._open is None:
            return
        key, text = self._open, self._text.decode()
        if key == "reasoning":
            self._choices[0].parts.append((key, text))
        block: Block = {"type": key, key: text}
        if annotations:
            block["annotations"] = annotations
        self._finish(self._open_index, block)
        self._open, self._text = None, bytearray()
