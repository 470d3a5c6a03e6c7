"""Read one choice of an answer: deltas or a whole message in, parts of a message and facts out.

Both are read by the same code, so both give the same text, reasoning, tool calls and facts. Every key of the wire
either has a meaning here or is kept under its own name.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from langchain_promptrun._responses.metadata import (
    NUMBERS,
    PIECES,
    PIECES_OF_AUDIO,
    TEXTS,
    Facts,
    ResponseMetadata,
    says_nothing,
    usage_metadata,
)
from langchain_promptrun._responses.tool_calls import ToolCalls
from langchain_promptrun._wire.json import HALF, SurrogateJoiner, cleaned
from langchain_promptrun._wire.reasoning import FIELDS as REASONING_FIELDS
from langchain_promptrun._wire.reasoning import IN_CONTENT, Reasoning, is_thought, without_thought
from langchain_promptrun._wire.reasoning import PART_TYPES as REASONING_PARTS

if TYPE_CHECKING:
    from collections.abc import Mapping

PROVIDER = "promptrun"
MAX_PARTIAL = 64 * 1024
_REASON_KEYS = ("type", "reason", "name", "value")
_STOPS = (
    *("stop", "stopsequence", "stoptoken", "endturn", "pauseturn", "eos", "eostoken", "endoftext"),
    *("complete", "completed", "done", "finish", "finished", "success"),
)
# langchain-core's words for finish reasons without case and marks; the answer was cut off by all but the first two.
_NORMALIZED = {
    **dict.fromkeys(_STOPS, "stop"),
    **dict.fromkeys(("toolcalls", "toolcall", "tooluse", "functioncall", "functioncalls"), "tool_call"),
    **dict.fromkeys(("length", "maxtokens", "maxoutputtokens", "modellength", "maxlength"), "length"),
    **dict.fromkeys(("contentfilter", "refusal", "safety"), "refusal"),
}
KNOWS_FINISH_REASONS = find_spec("langchain_core.language_models._finish_reason") is not None
"""langchain-core reads `normalized_finish_reason` from 1.8.4 on."""

_CUMULATIVE = frozenset({"content", "refusal", *REASONING_FIELDS})
# Keys of a delta that are read elsewhere, are padding, or are names of this package.
_SKIPPED = frozenset(
    {*REASONING_FIELDS, "role", "obfuscation", "tool_call_extras", "tool_call_errors", "server_tool_calls"}
)
_KNOWN_OF_A_TEXT = frozenset({"type", "text", "annotations", "index", "id"})

Part = tuple[str, Any]
"""A kind and its payload: three are texts, a tool has a `ToolPiece`, logprobs have a dictionary."""
_KINDS = ("reasoning", "text", "refusal", "tool", "logprobs")


class Choice:
    """One choice of an answer, repaired and collected."""

    def __init__(self, metadata: ResponseMetadata, tool_names: Mapping[str, str] | None, *, think_tags: bool) -> None:
        self.finish_reason: str | None = None
        self._metadata = metadata
        self._extras, self._facts = Facts(TEXTS), Facts(NUMBERS)
        self.tool_calls = ToolCalls(metadata.id_seed, tool_names)
        self._surrogates = SurrogateJoiner()
        self.reasoning = Reasoning(think_tags=think_tags)
        self._refusal: list[str] = []
        self._message_texts: dict[str, str] = {}
        # What a result is made of, and the end of protocol events.
        self.parts: list[Part] = []
        # The text so far, at least its first 64 KiB: what an error in the middle tells.
        self.begun = bytearray()
        self._streamed = False
        self._said: frozenset[str] | None = None
        self._is_thought = False

    @property
    def size(self) -> int:
        kept = (self._extras.whole(), self._facts.whole(), self.reasoning.extras(), self._refusal, self.parts)
        return len(repr((*kept, self._message_texts))) + self.tool_calls.size

    def feed(self, choice: dict[str, Any]) -> list[Part]:
        """Take one choice of a document: a delta, a message without what deltas said already, or else a text."""
        parts: list[Part] = []
        delta, message = choice.get("delta"), choice.get("message")
        delta = delta if isinstance(delta, dict) else None
        if delta:
            self._streamed = True
            parts = self.feed_delta(delta)
        if isinstance(message, dict) and not any(value for key, value in (delta or {}).items() if key != "role"):
            parts += self.feed_delta(self._unsaid(message), whole=True)
        elif delta is None and isinstance(text := choice.get("text"), str):
            self._add_text(parts, text)
        self._take_facts(choice, parts)
        return parts

    def feed_delta(self, delta: dict[str, Any], *, whole: bool = False) -> list[Part]:
        """Take a delta, or a whole message; return the parts that it adds, in the order of their kinds."""
        parts: list[Part] = []
        if not REASONING_FIELDS.isdisjoint(delta) and (text := self.reasoning.take(delta, whole=whole)):
            self._add(parts, "reasoning", text)
        self._is_thought = "extra_content" in delta and is_thought(delta)
        for key, value in delta.items():
            # Nothing is said by null, "", [] and {}, but something by 0 and false.
            if key in _SKIPPED or not (value or value == 0):
                continue
            if key == "content":
                self._take_content(value, parts)
            elif key == "tool_calls":
                parts += [("tool", piece) for piece in self.tool_calls.feed(value)]
            elif key == "function_call":
                # OpenAI's deprecated form; some servers send it beside the other one.
                if not delta.get("tool_calls"):
                    parts += [("tool", piece) for piece in self.tool_calls.feed({"function": value})]
            elif key == "refusal":
                self._take_refusal(value, parts)
            else:
                self._take_fact(key, value)
        if len(parts) > 1:
            parts.sort(key=lambda part: _KINDS.index(part[0]))
        return parts

    def end(self, *, with_usage: bool = True) -> tuple[list[Part], dict[str, Any]]:
        """Take the end of the answer; return the last parts, and the further fields of the whole message."""
        parts: list[Part] = []
        spelled = re.sub("[^a-z]+", "", (self.finish_reason or "").lower()).removeprefix("finishreason")
        reason = _NORMALIZED.get(spelled, "other")
        is_cut_off = self._streamed if self.finish_reason is None else reason not in {"stop", "tool_call"}
        if self.reasoning.reads_text:
            for is_reasoning, piece in self.reasoning.split("", at_end=True):
                self._add(parts, "reasoning" if is_reasoning else "text", piece)
        kept = self.reasoning.extras()
        spellings = self.reasoning.fields or ["reasoning_content"] * self.reasoning.is_blank
        pieces = self.tool_calls.end(cut_off=is_cut_off)
        kept |= self.tool_calls.facts()
        parts += [(kind, HALF) for kind in _KINDS if kind in self._surrogates.held]
        parts += [("tool", piece) for piece in pieces]
        facts, extras = self._facts.whole(), self._extras.whole()
        if isinstance(data := extras.get("audio", {}).get("data"), str):
            extras["audio"]["data"] = _joined_base64(data)
        if self._refusal:
            extras["refusal"] = "".join(self._refusal)
        extras |= kept
        metadata = self._metadata.whole(facts, extras, with_usage=with_usage)
        usage = usage_metadata(metadata.get("token_usage", {}))
        metadata["model_provider"] = PROVIDER
        if self.finish_reason is not None:
            metadata["finish_reason"] = self.finish_reason
            if KNOWS_FINISH_REASONS:
                metadata["normalized_finish_reason"] = self._normalized(reason)
        if spellings:
            metadata["reasoning_field"] = spellings if len(spellings) > 1 else spellings[0]
        name = name if isinstance(name := extras.get("name"), str) else None
        fields = {"name": name, "usage_metadata": usage, "additional_kwargs": extras, "response_metadata": metadata}
        return parts, cleaned(fields)

    def collected(self, *kinds: str) -> str:
        return "".join(payload for kind, payload in self.parts if kind in kinds)

    def add_collected(self, fields: dict[str, Any]) -> None:
        """Add the reasoning and the logprobs among the parts to the fields of the whole message."""
        if reasoning := self.collected("reasoning"):
            fields["additional_kwargs"] = {"reasoning_content": reasoning} | fields["additional_kwargs"]
        logprobs: dict[str, list[Any]] = {}
        for payload in [payload for kind, payload in self.parts if kind == "logprobs"]:
            for key, entries in payload.items():
                logprobs.setdefault(key, []).extend(entries or ())
        if logprobs:
            fields["response_metadata"]["logprobs"] = {key: entries or None for key, entries in logprobs.items()}

    def _normalized(self, reason: str) -> str:
        """Return a finish reason in langchain-core's words; what the answer holds counts before what it says."""
        has_calls = any(call.args is not None for call in self.tool_calls.announced)
        return "refusal" if self._refusal else "tool_call" if has_calls and reason == "stop" else reason

    def _unsaid(self, message: dict[str, Any]) -> dict[str, Any]:
        """Return a message without what deltas said, and without the texts that an earlier message began with."""
        if self._streamed and self._said is None:
            spellings = self.reasoning.fields
            tests = {
                "content": self.begun or not IN_CONTENT.isdisjoint(spellings),
                "refusal": self._refusal,
                "audio": not PIECES_OF_AUDIO.isdisjoint(self._extras.get("audio") or ()),
                **dict.fromkeys(REASONING_FIELDS, spellings),
                **dict.fromkeys(("tool_calls", "function_call"), self.tool_calls.latest),
                **{key: self._extras.get(key) for key in PIECES},
            }
            self._said = frozenset(key for key, said in tests.items() if said)
        said = self._said or frozenset()
        self._streamed = self._streamed and bool(said)
        unsaid = {key: value for key, value in message.items() if key not in said}
        for key in _CUMULATIVE & unsaid.keys():
            if isinstance(text := unsaid[key], str):
                known = self._message_texts.get(key, "")
                unsaid[key] = text.removeprefix(known)
                self._message_texts[key] = text if text.startswith(known) else known + text
        return unsaid

    def _add(self, parts: list[Part], kind: str, text: str) -> None:
        if self._surrogates.held or not text.isascii():
            text = self._surrogates.join(kind, text)
        if text:
            parts.append((kind, text))
            if kind in {"text", "refusal"} and len(self.begun) < MAX_PARTIAL:
                self.begun += text[:MAX_PARTIAL].encode()

    def _add_text(self, parts: list[Part], text: str, *, marked: bool = False) -> None:
        """Add a piece of the content, of which vendors and tags may say that it is reasoning."""
        for is_reasoning, piece in self.reasoning.split(text, marked=marked or self._is_thought):
            self._add(parts, "reasoning" if is_reasoning else "text", piece)

    def _take_content(self, value: Any, parts: list[Part]) -> None:
        if isinstance(value, str):
            self._add_text(parts, value)
            return
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, dict):
                self._take_content_part(part, parts)
            elif part is not None:
                self._add_text(parts, str(part))

    def _take_content_part(self, part: dict[str, Any], parts: list[Part]) -> None:
        """Read a part; one of an unknown type is kept, and its text, as of Mistral's references, is the answer's."""
        kind, text = str(part.get("type", "text")), part.get("text")
        if kind in REASONING_PARTS:
            if thought := self.reasoning.take_part(part, whole=not self._streamed):
                self._add(parts, "reasoning", thought)
            return
        if kind == "refusal":
            self._take_refusal(part.get(kind), parts)
            return
        if isinstance(text, str) and kind != "image_url":
            self._add_text(parts, text, marked="extra_content" in part and is_thought(part))
        if not isinstance(text, str) or kind not in {"text", "output_text"}:
            self._extras.add("images" if kind == "image_url" else "content_parts", [part])
            return
        if annotations := part.get("annotations"):
            self._take_fact("annotations", annotations)
        for key, value in part.items():
            fact = without_thought(value) if key == "extra_content" else value
            if key not in _KNOWN_OF_A_TEXT and not says_nothing(fact):
                self._extras.add(key, fact)

    def _take_refusal(self, value: Any, parts: list[Part]) -> None:
        if value:
            refusal = str(value)
            self._refusal.append(refusal)
            self._add(parts, "refusal", refusal)

    def _take_fact(self, key: str, value: Any) -> None:
        """Keep what no part is made of; some servers send all entries of a list again at the end."""
        if key == "usage":
            self._metadata.add_usage(value)
        elif key == "audio":
            if isinstance(value, dict) and (facts := {name: fact for name, fact in value.items() if fact is not None}):
                self._extras.add(key, facts)
        else:
            is_entry = key in {"annotations", "images"} and not isinstance(value, list)
            self._extras.add(key, [value] if is_entry else value)

    def _take_facts(self, choice: dict[str, Any], parts: list[Part]) -> None:
        for key, value in choice.items():
            if key in {"index", "delta", "message", "text"} or says_nothing(value):
                continue
            if key == "finish_reason":
                self.finish_reason = _reason(value) or self.finish_reason
            elif key == "usage":
                self._metadata.add_usage(value)
            elif key != "logprobs":
                self._facts.add(key, value)
            elif isinstance(value, dict):
                # langchain-core can join lists, mostly of one entry a token.
                lists = {name: item or None for name, item in value.items() if isinstance(item, list) or item is None}
                parts += [("logprobs", lists)] if any(lists.values()) else []


def _reason(value: Any) -> str | None:
    """Return a finish reason as a text; some servers send a list, or an object with its type."""
    if isinstance(value, dict):
        value = next((text for key in _REASON_KEYS if isinstance(text := value.get(key), str)), value)
    elif isinstance(value, list):
        value = value[0]
    return str(value) if value else None


def _joined_base64(text: str) -> str:
    """Join base64 that came in pieces, each with its own padding."""
    if "=" not in text.rstrip("="):
        return text
    try:
        return b64encode(b"".join(map(b64decode, re.findall("[^=]+=*", text)))).decode()
    except ValueError:
        return text
