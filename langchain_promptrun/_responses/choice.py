"""One answer as it arrives: wire documents in, parts of a message and the facts about it out.

A streamed delta and a whole message are read by the same code, so both give the same text, reasoning, tool calls and
facts. Every key of the wire either means something here or is kept under its own name: nothing is dropped. What
the parts become (chunks, protocol events, one message) is not decided here. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from langchain_promptrun._responses.metadata import OWN_NAMES
from langchain_promptrun._responses.tool_calls import ToolCalls
from langchain_promptrun._wire.reasoning import FIELDS as REASONING_FIELDS
from langchain_promptrun._wire.reasoning import PART_TYPES as REASONING_PARTS
from langchain_promptrun._wire.reasoning import Reasoning, is_thought
from langchain_promptrun._wire.size_limit import Room, weight
from langchain_promptrun._wire.text import Surrogates, cleaned

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_core.messages.ai import UsageMetadata

    from langchain_promptrun._responses.metadata import Envelope

PROVIDER = "promptrun"
_MAX_PARTIAL = 64 * 1024
_PIECES_OF_AUDIO = frozenset({"data", "transcript"})

REASONING, TEXT, TOOL, LOGPROBS = range(4)
"""Kinds of parts, in the order in which the parts of one document go out."""

Part = tuple[int, Any]
"""A kind and its payload: str, str, ToolPiece, dict."""


class Ending(NamedTuple):
    """What is known only once the answer is whole."""

    parts: list[Part]
    additional_kwargs: dict[str, Any]
    response_metadata: dict[str, Any]
    usage_metadata: UsageMetadata | None


class Choice:
    """One choice of an answer, repaired and collected.

    Args:
        seed: What tells the answer from all others; missing call ids are made from it.
        room: Where what is kept is counted; by default without a limit.

    Attributes:
        finish_reason: The wire's reason, once it came.
    """

    __slots__ = (
        "_audio",
        "_extras",
        "_facts",
        "_is_thought",
        "_listed",
        "_partial",
        "_reasoning",
        "_refusal",
        "_room",
        "_streamed",
        "_surrogates",
        "finish_reason",
        "tool_calls",
    )

    def __init__(self, seed: str = "", room: Room | None = None, *, think_tags: bool = False) -> None:
        room = room or Room()
        self.finish_reason: str | None = None
        self.tool_calls = ToolCalls(seed, room)
        self._room = room
        self._reasoning = Reasoning(room.take, think_tags=think_tags)
        self._refusal: list[str] = []
        self._extras: dict[str, Any] = {}
        self._audio: dict[str, list[str]] = {}
        self._listed: set[int] = set()
        self._facts: dict[str, Any] = {}
        self._partial = bytearray()
        self._streamed = False
        self._is_thought = False
        self._surrogates = Surrogates()

    @property
    def partial(self) -> str:
        """The text so far, its first 64 KiB at most: what an error in the middle tells."""
        return self._partial.decode("utf-8", "ignore")

    def note_text(self, text: str) -> None:
        """Remember text that went out."""
        partial = self._partial
        if len(partial) < _MAX_PARTIAL:
            partial += text.encode()
            if len(partial) > _MAX_PARTIAL:
                del partial[_MAX_PARTIAL:]

    def take(self, choice: dict[str, Any]) -> list[Part]:
        """Take one choice of a document.

        Args:
            choice: The wire's object, with a `delta` or a `message`. A message after deltas only repeats them.

        Returns:
            The parts that it adds: reasoning before text, text before tool calls.
        """
        parts: list[Part] = []
        if isinstance(delta := choice.get("delta"), dict) and delta:
            self._streamed = True
            parts = self.take_delta(delta)
        elif not self._streamed and isinstance(message := choice.get("message"), dict):
            parts = self.take_delta(message, whole=True)
        for key, value in choice.items():
            if value is not None and value != "":
                self._choice_keys.get(key, Choice._take_fact)(self, key, value, parts)
        return parts

    def take_delta(self, delta: dict[str, Any], *, whole: bool = False) -> list[Part]:
        """Take a delta, or a whole message; return the parts that it adds, in the order of their kinds."""
        parts: list[Part] = []
        if not REASONING_FIELDS.isdisjoint(delta) and (text := self._reasoning.take(delta, whole=whole)):
            self._add(parts, REASONING, text)
        self._is_thought = "extra_content" in delta and is_thought(delta)
        for key, value in delta.items():
            # Nothing is said by null, "", [] and {}, but something by 0 and false.
            if value or value == 0:
                self._delta_keys.get(key, Choice._take_extra)(self, key, value, parts)
        if len(parts) > 1:
            parts.sort(key=_kind)
        return parts

    def end(self, envelope: Envelope, *, with_usage: bool = True) -> Ending:
        """Take the end of the answer.

        Args:
            envelope: The facts beside the choice.
            with_usage: False for the further ones of several choices: the counts are for all of them together.

        Returns:
            The last parts, and the facts of the whole message.
        """
        parts: list[Part] = []
        for is_reasoning, piece in self._reasoning.end_of_text():
            self._add(parts, REASONING if is_reasoning else TEXT, piece)
        for kind in (REASONING, TEXT):
            self._add(parts, kind, self._surrogates.end(kind))
        parts += [(TOOL, piece) for piece in self.tool_calls.end()]
        metadata = envelope.metadata(with_usage=with_usage)
        facts = {key: value for key, value in self._facts.items() if key not in OWN_NAMES}
        metadata = facts | metadata | {"model_provider": PROVIDER}
        if self.finish_reason is not None:
            metadata["finish_reason"] = self.finish_reason
        if (field := self._reasoning.field) is not None:
            metadata["reasoning_field"] = field
        usage = envelope.usage_metadata() if with_usage else None
        return Ending(parts, cleaned(self._whole_extras()), cleaned(metadata), usage)

    def _whole_extras(self) -> dict[str, Any]:
        extras = dict(self._extras)
        if self._audio:
            extras["audio"] = extras.get("audio", {}) | {key: "".join(texts) for key, texts in self._audio.items()}
        if self._refusal:
            extras["refusal"] = "".join(self._refusal)
        extras |= self._reasoning.extras()
        if calls := self.tool_calls.extras():
            extras["tool_call_extras"] = calls
        return extras

    def _add(self, parts: list[Part], kind: int, text: str) -> None:
        text = self._surrogates.join(kind, text)
        if text:
            parts.append((kind, text))
            if kind == TEXT:
                self.note_text(text)

    def _add_text(self, parts: list[Part], text: str, *, marked: bool = False) -> None:
        """Add a piece of the content, of which vendors and tags may say that it is reasoning."""
        for is_reasoning, piece in self._reasoning.split(text, marked=marked or self._is_thought):
            self._add(parts, REASONING if is_reasoning else TEXT, piece)

    @property
    def reads_text(self) -> bool:
        """Whether each piece of text has to be looked at."""
        return self._reasoning.reads_text

    def _take_content(self, _key: str, value: Any, parts: list[Part]) -> None:
        if isinstance(value, str):
            self._add_text(parts, value)
            return
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, dict):
                kind = part.get("type", "text")
                self._content_parts.get(str(kind), Choice._take_unknown_part)(self, part, parts)
            elif part is not None:
                self._add_text(parts, str(part))

    def _take_text_part(self, part: dict[str, Any], parts: list[Part]) -> None:
        text = part.get("text")
        if not isinstance(text, str):
            self._take_unknown_part(part, parts)
            return
        self._add_text(parts, text, marked="extra_content" in part and is_thought(part))
        if annotations := part.get("annotations"):
            self._take_list("annotations", annotations, parts)

    def _take_reasoning_part(self, part: dict[str, Any], parts: list[Part]) -> None:
        if text := self._reasoning.take_part(part, whole=not self._streamed):
            self._add(parts, REASONING, text)

    def _take_image_part(self, part: dict[str, Any], parts: list[Part]) -> None:
        self._take_list("images", [part], parts)

    def _take_unknown_part(self, part: dict[str, Any], parts: list[Part]) -> None:
        self._take_extra("content_parts", [part], parts)

    def _take_tool_calls(self, _key: str, value: Any, parts: list[Part]) -> None:
        entries = value if isinstance(value, list) else [value]
        parts += [(TOOL, piece) for piece in self.tool_calls.take(entries)]

    def _take_function_call(self, _key: str, value: Any, parts: list[Part]) -> None:
        """Read OpenAI's deprecated `function_call`; some servers send an empty one with every message."""
        if isinstance(value, dict) and any(value.values()):
            self._take_tool_calls("tool_calls", [{"function": value}], parts)

    def _take_refusal(self, _key: str, value: Any, parts: list[Part]) -> None:
        """A refusal is text that the user is to see, and a fact that code can ask for."""
        refusal = str(value)
        self._room.take(len(refusal))
        self._refusal.append(refusal)
        self._add(parts, TEXT, refusal)

    def _take_list(self, key: str, value: Any, _parts: list[Part]) -> None:
        """Collect entries, each once: some servers send all of them again at the end."""
        known = self._extras.setdefault(key, [])
        for entry in value if isinstance(value, list) else [value]:
            mark = hash((key, repr(entry)))
            if mark not in self._listed:
                self._room.take(weight(entry))
                self._listed.add(mark)
                known.append(entry)

    def _take_audio(self, key: str, value: Any, _parts: list[Part]) -> None:
        """Put audio together: `data` and `transcript` come in pieces."""
        if not isinstance(value, dict) or not any(value.values()):
            return
        facts = self._extras.setdefault(key, {})
        for name, piece in value.items():
            if name in _PIECES_OF_AUDIO and isinstance(piece, str):
                self._room.take(len(piece))
                self._audio.setdefault(name, []).append(piece)
            elif piece is not None:
                self._room.keep(facts, name, piece)

    def _take_extra(self, key: str, value: Any, _parts: list[Part]) -> None:
        known = self._extras.get(key)
        if isinstance(known, list) and isinstance(value, list):
            self._room.take(sum(map(weight, value)))
            known.extend(value)
        elif isinstance(known, dict) and isinstance(value, dict):
            for name, fact in value.items():
                self._room.keep(known, name, fact)
        else:
            self._room.keep(self._extras, key, value)

    def _take_fact(self, key: str, value: Any, _parts: list[Part]) -> None:
        self._room.keep(self._facts, key, value)

    def _take_finish_reason(self, _key: str, value: Any, _parts: list[Part]) -> None:
        if value:
            self.finish_reason = str(value)

    def _take_logprobs(self, _key: str, value: Any, parts: list[Part]) -> None:
        """Read what langchain-core can join: lists, mostly of one entry a token."""
        if isinstance(value, dict):
            lists = {key: entry or None for key, entry in value.items() if isinstance(entry, list) or entry is None}
            if any(lists.values()):
                parts.append((LOGPROBS, lists))

    def _skip(self, _key: str, _value: Any, _parts: list[Part]) -> None:
        """Leave out what is read elsewhere, or is padding."""

    _delta_keys: ClassVar[dict[str, Callable[[Choice, str, Any, list[Part]], None]]] = {
        "role": _skip,
        **dict.fromkeys(REASONING_FIELDS, _skip),
        "obfuscation": _skip,
        "tool_call_extras": _skip,
        "content": _take_content,
        "refusal": _take_refusal,
        "tool_calls": _take_tool_calls,
        "function_call": _take_function_call,
        "annotations": _take_list,
        "images": _take_list,
        "audio": _take_audio,
    }
    _content_parts: ClassVar[dict[str, Callable[[Choice, dict[str, Any], list[Part]], None]]] = {
        "text": _take_text_part,
        "output_text": _take_text_part,
        **dict.fromkeys(REASONING_PARTS, _take_reasoning_part),
        "image_url": _take_image_part,
    }
    _choice_keys: ClassVar[dict[str, Callable[[Choice, str, Any, list[Part]], None]]] = {
        "index": _skip,
        "delta": _skip,
        "message": _skip,
        "usage": _skip,
        "finish_reason": _take_finish_reason,
        "logprobs": _take_logprobs,
    }


def _kind(part: Part) -> int:
    return part[0]
