"""Read reasoning in every spelling that vendors use, and write each back as it came.

| spelling, also the value of `reasoning_field` | vendors | where it stands |
| --- | --- | --- |
| `reasoning_content`, `reasoning`, `reasoning_text`, `cot_summary` | DeepSeek, OpenRouter and Groq, Copilot | message |
| `message.thinking` | gateways | `thinking` of the message: a text, or an object with its signature |
| `reasoning_details` | OpenRouter, MiniMax | message: a list of signed, summarised or encrypted entries |
| `thinking_blocks` | LiteLLM | message: a list of Anthropic's blocks |
| `thinking`, `reasoning_parts` | Mistral, Anthropic, Databricks | parts of the content |
| `thought` | Gemini | texts that `extra_content.google.thought` marks |
| `think_tags` | models without a parser on their server | text between `<think>` and `</think>` |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

THOUGHT = "thought"
THINK_TAGS = "think_tags"
_PARTS = "reasoning_parts"
_OPAQUE = "reasoning_opaque"  # Copilot's signature of `reasoning_text`
# The spellings by their keys: `thinking` alone means Mistral's content parts.
_TEXTS = {
    **{key: key for key in ("reasoning_content", "reasoning", "reasoning_text", "cot_summary")},
    "thinking": "message.thinking",
}
_LISTS = ("reasoning_details", "thinking_blocks")
_IN_DELTAS = _TEXTS | {key: key for key in _LISTS}
# A text, or an object or a list that holds one.
_OBJECTS = ("reasoning", "thinking")
# How the text of a message is written: under a key, or as a part of the content.
_KEYS = {name: key for key, name in _TEXTS.items()}
_IS_THOUGHT = {"google": {"thought": True}}
_AS_PART: dict[str, Callable[[str], dict[str, Any]]] = {
    "thinking": lambda text: {"type": "thinking", "thinking": [{"type": "text", "text": text}]},
    THOUGHT: lambda text: {"type": "text", "text": f"<thought>{text}</thought>", "extra_content": _IS_THOUGHT},
    THINK_TAGS: lambda text: {"type": "text", "text": f"<think>{text}</think>"},
}

# The keys of a delta and the types of content parts that are read here, and the spellings that stand in the content.
FIELDS = frozenset({*_IN_DELTAS, _OPAQUE})
PART_TYPES = frozenset({"thinking", "redacted_thinking", "reasoning", "reasoning_text", "reasoning_content"})
IN_CONTENT = frozenset({_PARTS, *_AS_PART})
# Entries, and signatures beside the text: Copilot's, xAI's, gateways', LiteLLM's.
_SIGNATURES = (_OPAQUE, "encrypted_content", "reasoning_signature", "thought_signature", "reasoning_items")
_KEPT = (*_LISTS, *list(_TEXTS)[1:], *_SIGNATURES)  # the first is where LangChain has the text that is shown
# Where an entry has its text, in one piece or in nested entries; fragments of it are joined.
_TEXT_KEYS = ("text", "summary", "thinking", "content", "reasoning", "reasoning_text", "reasoning_content")
_LABELS = frozenset({"type", "index", *_TEXT_KEYS})


class Reasoning:
    """The reasoning of one message; `reads_text` says whether its text has to pass through `split`."""

    def __init__(self, *, think_tags: bool = False) -> None:
        self.reads_text = think_tags
        self._tags = ("<think>", "</think>") if think_tags else ("<thought>", "</thought>")
        self._tags_name = THINK_TAGS if think_tags else THOUGHT
        self._inside = False
        self._held = ""
        self._fields: dict[str, None] = {}
        self._kept: dict[str, _Entries] = {}
        # Second texts in pieces, each with what was shown of its delta.
        self._beside: dict[str, list[tuple[str, str]]] = {}
        self._plain = self.is_blank = False

    def take(self, delta: Mapping[str, Any], *, whole: bool = False) -> str:
        """Take a delta, or a whole message; return the text that it adds, once."""
        text = derived = ""
        for key, name in _IN_DELTAS.items():
            value = delta.get(key)
            if not value:
                continue
            if key in _LISTS:
                derived = self._keep(key, value, whole=whole, beside=text) or derived
            elif key in _OBJECTS and _holds_entries(value):
                self._fields[name] = None
                derived = self._keep(key, value, whole=whole) or derived
            elif piece := _text_in(value):
                self._fields[name] = None
                self._plain = True
                if text or key in self._beside:  # shown together, pieces of two texts would mix
                    self._beside.setdefault(key, []).append((text, piece))
                text = text or piece
        if delta.get("reasoning_content") == "":
            self.is_blank = True
        if isinstance(opaque := delta.get(_OPAQUE), str):
            self._beside.setdefault(_OPAQUE, []).append(("", opaque))
        return text if self._plain else derived

    def take_part(self, part: Mapping[str, Any], *, whole: bool = False) -> str:
        text = self._keep(_PARTS, [part], whole=whole)
        if text and part.get("type") == "thinking":
            self._fields["thinking"] = None
        return "" if self._plain else text

    def split(self, text: str, *, marked: bool = False, at_end: bool = False) -> list[tuple[bool, str]]:
        """Tell reasoning (True) from text; of a piece that Gemini marks only what follows a closing tag is text."""
        self.reads_text = self.reads_text or marked
        if not self.reads_text:
            return [(False, text)]
        text, self._held = self._held + text, ""
        parts: list[tuple[bool, str]] = []
        while text:
            tag = self._tags[self._inside]
            before, found, after = text.partition(tag)
            if not (found or at_end):
                sizes = range(min(len(tag) - 1, len(text)), 0, -1)
                before = text[: len(text) - next((size for size in sizes if text.endswith(tag[:size])), 0)]
                self._held = text[len(before) :]
            if before:
                parts.append((self._inside or marked, before))
                self._fields |= {self._tags_name: None} if self._inside or marked else {}
            if found:
                marked = marked and not self._inside
                self._inside = not self._inside
            text = after
        return parts

    @property
    def fields(self) -> list[str]:
        """The spellings that came, as the wire names them."""
        return list(self._fields) or list(self._entries())

    def extras(self) -> dict[str, Any]:
        beside = {key: map("".join, zip(*pairs, strict=True)) for key, pairs in self._beside.items()}
        return {key: text for key, (shown, text) in beside.items() if text != shown} | self._entries()

    def _keep(self, key: str, value: Any, *, whole: bool, beside: str = "") -> str:
        entries = self._kept.get(key)
        if entries is None:
            entries = self._kept[key] = _Entries(may_grow=key == "reasoning_details")
        return entries.take(value, whole=whole, beside=beside)

    def _entries(self) -> dict[str, Any]:
        kept = {key: entries.whole() for key, entries in self._kept.items()}
        if _PARTS in kept:
            parts = kept[_PARTS]
            kept[_PARTS] = [part for part in parts if any(map(part.get, part.keys() - _LABELS)) or _text_in(part)]
        return {key: whole for key, whole in kept.items() if whole}


class _Entries:
    """A list of entries, or one alone, fragments of one entry put together."""

    def __init__(self, *, may_grow: bool = False) -> None:
        self._may_grow = may_grow
        self._is_list = True
        self._entries: list[_Entry] = []
        # By index and type, and the latest of an index, and of all.
        self._open: dict[tuple[int | None, str | None], _Entry] = {}

    def take(self, value: Any, *, whole: bool, beside: str = "") -> str:
        """Take entries, or fragments of entries, and the same text as it stands beside; return what they add."""
        self._is_list = not isinstance(value, dict)
        items = [item for item in (value if isinstance(value, list) else [value]) if isinstance(item, dict)]
        return "".join(
            [self._entry(item, whole=whole).take(item, whole, beside, may_grow=self._may_grow) for item in items]
        )

    def add_text(self, text: str) -> str:
        piece = {"text": text}
        return self._entry(piece, whole=False).take(piece, False, "", may_grow=False) if text else ""

    def whole(self) -> Any:
        whole = [entry.whole() for entry in self._entries]
        return whole if self._is_list or len(whole) != 1 else whole[0]

    def _entry(self, detail: dict[str, Any], *, whole: bool) -> _Entry:
        """Find the entry that a fragment continues, or open one; what is encrypted is never a fragment."""
        index, kind = detail.get("index"), detail.get("type")
        place = (index, kind if isinstance(kind, str) else None) if isinstance(index, int) else (None, None)
        is_fragment = not whole and "data" not in detail
        known = self._open.get(place) if is_fragment and index in (None, place[0]) else None
        if known is not None and known.goes_on_with(detail):
            return known
        entry = self._open[None, None] = _Entry()
        self._entries.append(entry)
        if is_fragment:
            self._open[place] = self._open[place[0], None] = entry
        return entry


class _Entry(dict[str, Any]):
    """One entry: facts, of which the last value that says something counts, and texts in pieces."""

    def take(self, detail: dict[str, Any], whole: bool, beside: str, *, may_grow: bool) -> str:
        """Take a fragment; a text is a piece where it stands beside, too, and may repeat all so far elsewhere."""
        added = ""
        vendor = str(detail.get("format") or self.get("format") or "").partition("-")[0].lower()
        for key, value in detail.items():
            if key not in _TEXT_KEYS or not (isinstance(value, str) or _holds_entries(value)):
                if value or key not in self:
                    self[key] = value
                continue
            self[key] = known = _holder(self.get(key), value)
            if isinstance(known, _Entries):
                # several in one fragment are whole
                is_whole = whole or (isinstance(value, list) and len(value) > 1)
                added += known.add_text(value) if isinstance(value, str) else known.take(value, whole=is_whole)
            else:
                # entries of these formats may hold all so far
                may_repeat = vendor in {"", "unknown", "minimax"} and not (beside and value in beside)
                added += known.take(value, may_repeat=may_repeat, may_grow=may_repeat and may_grow)
        return added

    def whole(self) -> dict[str, Any]:
        return {key: item.whole() if isinstance(item, _Text | _Entries) else item for key, item in self.items()}

    def goes_on_with(self, detail: dict[str, Any]) -> bool:
        """Whether a fragment may belong to this entry; one without an index must be alike, and a signature ends it."""
        if self.get("id") is not None and detail.get("id") not in (None, self["id"]):
            return False
        if detail.get("index") is not None:
            return True
        is_alike = "data" not in self and detail.get("type", self.get("type")) == self.get("type")
        is_piece = not detail.keys().isdisjoint({"signature", *_TEXT_KEYS})
        return is_alike and is_piece and self.get("signature") in (None, "", detail.get("signature"))


class _Text:
    """A text in pieces that may repeat all so far, as MiniMax's do; what proves to be no repetition is put back."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._size = 0
        # Whether each piece holds all so far: the second piece hints, the third tells.
        self._grows: bool | None = None
        self._repetition = ""

    def take(self, piece: str, *, may_repeat: bool, may_grow: bool) -> str:
        pieces, size = self._pieces, self._size
        may_grow = may_grow and bool(pieces) and self._grows is not False
        if not piece:
            return ""
        if may_grow and len(piece) >= size + (not self._grows) and piece.startswith(self.whole()):
            if self._grows:
                pieces.clear()
            pieces.append(piece)
            self._grows, self._size = True, len(piece)
            return piece[size:]
        if may_repeat and len(pieces) > 1 and len(piece) == size and piece == self.whole():
            self._repetition = piece
            return ""
        if not (self._grows or self._repetition):
            self._grows, self._size = False if pieces else None, size + len(piece)
            pieces.append(piece)
            return piece
        shown = self.whole()
        pieces += [self._repetition, piece]
        self._grows, self._repetition = False, ""
        whole = self.whole()
        self._size = len(whole)
        return whole[size:] if whole.startswith(shown) else piece

    def whole(self) -> str:
        return self._pieces[-1] if self._grows else "".join(self._pieces)


def _holder(known: object, value: str | dict[str, Any] | list[Any]) -> _Text | _Entries:
    if isinstance(known, _Entries) or (isinstance(known, _Text) and isinstance(value, str)):
        return known
    if isinstance(value, str):
        return _Text()
    entries = _Entries()
    if isinstance(known, _Text) and (said := known.whole()):
        entries.take([{"type": "text", "text": said}], whole=False)
    return entries


def is_thought(source: Mapping[str, Any]) -> bool:
    return _dict_at("google", _dict_at("extra_content", source)).get("thought") is True


def without_thought(extra: Any) -> Any:
    """Return the extra content of a part without the mark that it is thought, which counts for that part alone."""
    if not isinstance(extra, dict) or not isinstance(google := extra.get("google"), dict):
        return extra
    google = {key: value for key, value in google.items() if key != "thought"}
    return {key: value for key, value in (extra | {"google": google}).items() if value}


def _dict_at(key: str, source: Mapping[str, Any]) -> dict[str, Any]:
    value = source.get(key)
    return value if isinstance(value, dict) else {}


def write_reasoning(
    wire: dict[str, Any], parts: list[dict[str, Any]], kwargs: Mapping[str, Any], field: object, text: object
) -> None:
    """Write reasoning to a message and its parts, as `reasoning_field` and `Reasoning.extras` tell that it came."""
    names = [name for name in (field if isinstance(field, list) else [field]) if isinstance(name, str)]
    for key in _KEPT:
        if kwargs.get(key) and (key not in _TEXTS or _TEXTS[key] in names):
            wire[key] = _without_stored_ids(kwargs[key])
    if signature := _dict_at("google", _dict_at("extra_content", kwargs)).get("thought_signature"):
        wire["extra_content"] = {"google": {"thought_signature": signature}}
    litellms = _dict_at("provider_specific_fields", kwargs)
    signatures = ("thought_signatures", "thought_signature", "signature")
    if kept := {key: litellms[key] for key in signatures if litellms.get(key)}:
        wire["provider_specific_fields"] = kept
    if isinstance(own_parts := kwargs.get(_PARTS), list):
        parts[:0] = _without_stored_ids(own_parts)
        names = [name for name in names if name != "thinking"] or [_PARTS]
    _write_text(wire, parts, names, text if isinstance(text, str) else "")


def _write_text(wire: dict[str, Any], parts: list[dict[str, Any]], names: list[str], text: str) -> None:
    if not text:
        # DeepSeek and Moonshot refuse turns without the field that they sent empty.
        wire |= {"reasoning_content": ""} if names == ["reasoning_content"] else {}
        return
    # Unless it was only derived from entries, a text goes back in the usual spelling.
    usual = ["reasoning_content"] if {*_LISTS, _PARTS}.isdisjoint(names) else []
    for name in [name for name in names if name in _KEYS or name in _AS_PART] or usual:
        if name in _KEYS:
            wire.setdefault(_KEYS[name], text)
        else:
            parts.insert(0, _AS_PART[name](text))


def _text_in(value: object) -> str:
    if isinstance(value, list):
        return "".join(map(_text_in, value))
    if isinstance(value, dict):
        return next((text for key in _TEXT_KEYS if (text := _text_in(value.get(key)))), "")
    return value if isinstance(value, str) else ""


def _holds_entries(value: object) -> bool:
    items = value if isinstance(value, list) else [value]
    return bool(items) and all(isinstance(item, dict) for item in items)


def _without_stored_ids(value: Any) -> Any:
    """Leave out ids that only name an entry in OpenAI's own storage: other servers answer 404 to them."""
    if isinstance(value, list):
        return [_without_stored_ids(entry) for entry in value]
    if isinstance(value, dict) and str(value.get("id")).startswith("rs_"):
        return {key: item for key, item in value.items() if key != "id"}
    return value
