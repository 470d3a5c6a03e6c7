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

_TEXTS = ("reasoning_content", "reasoning", "reasoning_text", "cot_summary", "thinking")
_LISTS = ("reasoning_details", "thinking_blocks")
_IN_DELTAS = (*_TEXTS, *_LISTS)
# A text, or an object or a list that holds one.
_OBJECTS = ("reasoning", "thinking")
_OPAQUE = "reasoning_opaque"  # Copilot's signature of `reasoning_text`
_PARTS = "reasoning_parts"
_KEPT = frozenset({*_LISTS, *_OBJECTS, _OPAQUE})
FIELDS = frozenset({*_TEXTS, *_LISTS, _OPAQUE})
"""The keys of a delta that `Reasoning.take` reads."""

PART_TYPES = frozenset({"thinking", "redacted_thinking", "reasoning", "reasoning_text", "reasoning_content"})
"""The types of content parts that `Reasoning.take_part` reads."""

THOUGHT = "thought"
THINK_TAGS = "think_tags"
IN_CONTENT = frozenset({"thinking", _PARTS, THOUGHT, THINK_TAGS})
"""The spellings that stand in the content."""
# Signatures beside the text: xAI's, gateways', LiteLLM's.
_SIGNATURES = ("encrypted_content", "reasoning_signature", "thought_signature", "reasoning_items")
_LITELLM = "provider_specific_fields"
_LITELLM_SIGNATURES = ("thought_signatures", "thought_signature", "signature")
# `format` of entries that hold all so far, or may.
_GROWING = ("", "unknown", "minimax")
# Where an entry has its text, in one piece or in nested entries; fragments of it are joined.
_TEXT_KEYS = ("text", "summary", "thinking", "content", "reasoning", "reasoning_text", "reasoning_content")
_LABELS = frozenset({"type", "index", *_TEXT_KEYS})
_CONTINUING = frozenset({"signature", *_TEXT_KEYS})


def _uncounted(_size: int) -> None:
    pass


class Reasoning:
    """The reasoning of one message; `reads_text` says whether its text has to pass through `split`."""

    __slots__ = ("_count", "_fields", "_kept", "_opaque", "_plain", "_single", "_tagged", "_tags", "reads_text")

    def __init__(self, count: Callable[[int], None] = _uncounted, *, think_tags: bool = False) -> None:
        self._count = count
        self._tags = THINK_TAGS if think_tags else THOUGHT
        self._tagged = TaggedText("think" if think_tags else "thought")
        self.reads_text = think_tags
        self._fields: dict[str, None] = {}
        self._kept: dict[str, _Entries] = {}
        self._single: set[str] = set()
        self._opaque: list[str] = []
        self._plain = False

    def take(self, delta: Mapping[str, Any], *, whole: bool = False) -> str:
        """Take a delta, or a whole message; return the text that it adds, once."""
        text = derived = ""
        for key in _IN_DELTAS:
            value = delta.get(key)
            if not value:
                continue
            if key in _LISTS:
                derived = self._keep(key, value, whole=whole, beside=text) or derived
            elif key in _OBJECTS and _holds_entries(value):
                derived = self._take_object(key, value, whole=whole) or derived
            elif piece := _text_in(value):
                self._fields[_name(key)] = None
                self._plain = True
                text = text or piece
        if isinstance(opaque := delta.get(_OPAQUE), str):
            self._count(len(opaque))
            self._opaque.append(opaque)
        return text if self._plain else derived

    def take_part(self, part: Mapping[str, Any], *, whole: bool = False) -> str:
        """Take a content part of one of `PART_TYPES`; return the text that it adds."""
        text = self._keep(_PARTS, [part], whole=whole)
        if text and part.get("type") == "thinking":
            self._fields["thinking"] = None
        return "" if self._plain else text

    def split(self, text: str, *, marked: bool = False) -> list[tuple[bool, str]]:
        """Tell reasoning (True) from text in a piece of the content; Gemini marks thoughts."""
        if marked:
            self.reads_text = True
        if not self.reads_text:
            return [(False, text)]
        return self._noted(self._tagged.take(text, marked=marked))

    def end_of_text(self) -> list[tuple[bool, str]]:
        """Return what `split` held back."""
        return self._noted(self._tagged.end())

    def _noted(self, parts: list[tuple[bool, str]]) -> list[tuple[bool, str]]:
        if any(is_reasoning for is_reasoning, _ in parts):
            self._fields[self._tags] = None
        return parts

    @property
    def field(self) -> str | list[str] | None:
        """The wire's spelling; a list when several came; None when there was no reasoning."""
        names = list(self._fields) or [key for key in self._kept if self._whole(key)]
        if not names:
            return None
        return names[0] if len(names) == 1 else names

    def extras(self) -> dict[str, Any]:
        """Return what `additional_kwargs` keep beside the text: all that came in entries, and signatures."""
        extras: dict[str, Any] = {}
        for key in self._kept:
            if whole := self._whole(key):
                extras[key] = whole[0] if key in self._single and len(whole) == 1 else whole
        if opaque := "".join(self._opaque):
            extras[_OPAQUE] = opaque
        return extras

    def _take_object(self, key: str, value: object, *, whole: bool) -> str:
        if isinstance(value, dict):
            self._single.add(key)
        self._fields[_name(key)] = None
        return self._keep(key, value, whole=whole)

    def _keep(self, key: str, value: object, *, whole: bool, beside: str = "") -> str:
        entries = self._kept.get(key)
        if entries is None:
            entries = self._kept[key] = _Entries(self._count, may_grow=key == "reasoning_details")
        return entries.take(value if isinstance(value, list) else [value], whole=whole, beside=beside)

    def _whole(self, key: str) -> list[dict[str, Any]]:
        whole = self._kept[key].whole()
        return [entry for entry in whole if _says_something(entry)] if key == _PARTS else whole


class _Entries:
    """A list of entries, fragments of one entry put together."""

    __slots__ = ("_count", "_entries", "_may_grow", "_open")

    def __init__(self, count: Callable[[int], None], *, may_grow: bool = False) -> None:
        self._count = count
        self._may_grow = may_grow
        self._entries: list[_Entry] = []
        self._open: dict[tuple[int, str | None], _Entry] = {}

    def take(self, details: list[Any], *, whole: bool, beside: str = "") -> str:
        """Take entries, or fragments of entries, and the same text as it stands beside; return what they add."""
        items = [item for item in details if isinstance(item, dict)]
        return "".join([self._entry(item, whole=whole).take(item, whole=whole, beside=beside) for item in items])

    def whole(self) -> list[dict[str, Any]]:
        return [entry.whole() for entry in self._entries]

    def _entry(self, detail: dict[str, Any], *, whole: bool) -> _Entry:
        """Find the entry that a fragment continues, or open one; what is encrypted is never a fragment."""
        if whole or "data" in detail:
            return self._new()
        index = detail.get("index")
        if isinstance(index, int):
            return self._indexed(index, detail)
        last = self._entries[-1] if self._entries else None
        return last if last is not None and index is None and last.may_continue(detail) else self._new()

    def _indexed(self, index: int, detail: dict[str, Any]) -> _Entry:
        kind = detail.get("type") if isinstance(detail.get("type"), str) else None
        entry = self._open.get((index, kind))
        if entry is None or not entry.may_have_id(detail.get("id")):
            entry = self._open[index, kind] = self._open[index, None] = self._new()
        return entry

    def _new(self) -> _Entry:
        self._count(len("{}"))
        entry = _Entry(self._count, may_grow=self._may_grow)
        self._entries.append(entry)
        return entry


class _Entry:
    """One entry: facts, of which the last value that says something counts, and texts in pieces."""

    __slots__ = ("_count", "_facts", "_may_grow", "_nested", "_texts")

    def __init__(self, count: Callable[[int], None], *, may_grow: bool) -> None:
        self._count = count
        self._may_grow = may_grow
        self._facts: dict[str, Any] = {}
        self._texts: dict[str, _Text] = {}
        self._nested: dict[str, _Entries] = {}

    def take(self, detail: dict[str, Any], *, whole: bool, beside: str) -> str:
        text = ""
        named = str(detail.get("format") or self._facts.get("format") or "").partition("-")[0].lower()
        may_repeat = named in _GROWING
        for key, value in detail.items():
            if key in _TEXT_KEYS and isinstance(value, str):
                self._count(len(value))
                self._facts[key] = ""
                # The text beside it is in pieces.
                may_repeat = may_repeat and not (beside and value in beside)
                known = self._texts.setdefault(key, _Text())
                text += known.take(value, may_repeat=may_repeat, may_grow=may_repeat and self._may_grow)
            elif key in _TEXT_KEYS and value and _holds_entries(value):
                self._facts[key] = type(value)()
                entries = self._nested.setdefault(key, _Entries(self._count))
                text += entries.take(value if isinstance(value, list) else [value], whole=whole)
            elif (value or key not in self._facts) and value != self._facts.get(key, ...):
                self._count(len(key) + len(value if isinstance(value, str) else repr(value)))
                self._facts[key] = value
        return text

    def whole(self) -> dict[str, Any]:
        whole = self._facts | {key: text.whole() for key, text in self._texts.items()}
        for key, entries in self._nested.items():
            nested = entries.whole()
            whole[key] = nested[0] if isinstance(self._facts[key], dict) else nested
        return whole

    def may_have_id(self, entry_id: object) -> bool:
        known = self._facts.get("id")
        return entry_id is None or known is None or known == entry_id

    def may_continue(self, detail: dict[str, Any]) -> bool:
        """Whether a fragment without an index may belong to this entry: a signature ends one."""
        facts = self._facts
        is_alike = "data" not in facts and detail.get("type", facts.get("type")) == facts.get("type")
        may_join = is_alike and not _CONTINUING.isdisjoint(detail) and self.may_have_id(detail.get("id"))
        return may_join and facts.get("signature") in (None, "", detail.get("signature"))


class _Text:
    """A text in pieces; a piece may also repeat all so far, as MiniMax's do.

    What is left out as a repetition is put in again where a later piece shows that it was none.
    """

    __slots__ = ("_grows", "_left_out", "_pieces", "_size")

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._size = 0
        self._grows: bool | None = None
        self._left_out: tuple[int, str] | None = None

    def take(self, piece: str, *, may_repeat: bool, may_grow: bool) -> str:
        """Take a piece; return what is new in it."""
        if not piece:
            return ""
        if may_grow and self._grows is not False and self._pieces and self._begins(piece):
            # The second piece hints, the third tells.
            self._left_out = None if self._grows else (1, self._pieces[0])
            self._grows = True
            return self._append(piece[self._size :])
        if may_repeat and len(self._pieces) > 1 and len(piece) == self._size and piece == self.whole():
            self._left_out = self._left_out or (len(self._pieces), piece)
            return ""
        if self._pieces:
            self._grows = False
        return self._append(piece) if self._left_out is None else self._put_in_again(*self._left_out, piece)

    def whole(self) -> str:
        return "".join(self._pieces)

    def _begins(self, piece: str) -> bool:
        is_long_enough = len(piece) >= self._size if self._grows else len(piece) > self._size
        return is_long_enough and piece.startswith(self.whole())

    def _append(self, piece: str) -> str:
        self._pieces.append(piece)
        self._size += len(piece)
        return piece

    def _put_in_again(self, place: int, left_out: str, piece: str) -> str:
        shown = self.whole()
        self._pieces.insert(place, left_out)
        self._pieces.append(piece)
        self._left_out = None
        whole = self.whole()
        self._size = len(whole)
        return whole[len(shown) :] if whole.startswith(shown) else piece


class TaggedText:
    """Tells reasoning between tags from text, however the text is cut."""

    __slots__ = ("_closing", "_held", "_opening", "inside")

    def __init__(self, name: str) -> None:
        self._opening, self._closing = f"<{name}>", f"</{name}>"
        self._held = ""
        self.inside = False

    def take(self, text: str, *, marked: bool = False) -> list[tuple[bool, str]]:
        """Split a piece; of a piece that the vendor marks, only what follows a closing tag is text."""
        text, self._held = self._held + text, ""
        parts: list[tuple[bool, str]] = []
        while text:
            before, tag, after = text.partition(self._closing if self.inside else self._opening)
            if not tag:
                before, self._held = self._without_half_a_tag(text)
            if before:
                parts.append((self.inside or marked, before))
            if tag:
                marked = marked and not self.inside
                self.inside = not self.inside
            text = after
        return parts

    def end(self) -> list[tuple[bool, str]]:
        """Return what was held back as half a tag."""
        held, self._held = self._held, ""
        return [(self.inside, held)] if held else []

    def _without_half_a_tag(self, text: str) -> tuple[str, str]:
        tag = self._closing if self.inside else self._opening
        for size in range(min(len(tag) - 1, len(text)), 0, -1):
            if text.endswith(tag[:size]):
                return text[:-size], text[-size:]
        return text, ""


def is_thought(source: Mapping[str, Any]) -> bool:
    """Whether Gemini marks a delta, a message or a part of a content as thought."""
    extra = source.get("extra_content")
    google = extra.get("google") if isinstance(extra, dict) else None
    return isinstance(google, dict) and google.get("thought") is True


def without_thought(extra: Any) -> Any:
    """Return the extra content of a part without the mark that it is thought, which counts for that part alone."""
    if not isinstance(extra, dict) or not isinstance(google := extra.get("google"), dict):
        return extra
    google = {key: value for key, value in google.items() if key != "thought"}
    return {key: value for key, value in (extra | {"google": google}).items() if value}


def _write_signatures(wire: dict[str, Any], kwargs: Mapping[str, Any]) -> None:
    """Write signatures that stand beside the text where they stood."""
    for key in _SIGNATURES:
        if value := kwargs.get(key):
            wire[key] = _without_stored_ids(value)
    extra = kwargs.get("extra_content")
    google = extra.get("google") if isinstance(extra, dict) else None
    if isinstance(google, dict) and (signature := google.get("thought_signature")):
        wire["extra_content"] = {"google": {"thought_signature": signature}}
    fields = kwargs.get(_LITELLM)
    if isinstance(fields, dict) and (kept := {key: fields[key] for key in _LITELLM_SIGNATURES if fields.get(key)}):
        wire[_LITELLM] = kept


def write_reasoning(
    wire: dict[str, Any], parts: list[dict[str, Any]], kwargs: Mapping[str, Any], field: object, text: str
) -> None:
    """Write reasoning to a message and its parts, as `reasoning_field` and `Reasoning.extras` tell that it came."""
    names = [field] if isinstance(field, str) else field if isinstance(field, list) else []
    for key in _KEPT.intersection(kwargs):
        if kwargs[key] and (key not in _OBJECTS or _name(key) in names):
            wire[key] = _without_stored_ids(kwargs[key])
    _write_signatures(wire, kwargs)
    own_parts = kwargs.get(_PARTS)
    if isinstance(own_parts, list):
        parts[:0] = _without_stored_ids(own_parts)
        names = [name for name in names if name != "thinking"] or [_PARTS]
    if text:
        for name in _spellings(names):
            _SPELL[name](wire, parts, text)


def _spellings(names: list[Any]) -> list[str]:
    """Return the spellings of the text itself; none where it was only derived from entries."""
    known = [name for name in names if isinstance(name, str) and name in _SPELL]
    if known or any(name in names for name in (*_LISTS, _PARTS)):
        return known
    return [_TEXTS[0]]


def _spell_key(key: str) -> Callable[[dict[str, Any], list[dict[str, Any]], str], None]:
    def spell(wire: dict[str, Any], _parts: list[dict[str, Any]], text: str) -> None:
        wire.setdefault(key, text)

    return spell


def _spell_thinking(_wire: dict[str, Any], parts: list[dict[str, Any]], text: str) -> None:
    parts.insert(0, {"type": "thinking", "thinking": [{"type": "text", "text": text}]})


def _spell_thought(_wire: dict[str, Any], parts: list[dict[str, Any]], text: str) -> None:
    mark = {"extra_content": {"google": {"thought": True}}}
    parts.insert(0, {"type": "text", "text": f"<thought>{text}</thought>", **mark})


def _spell_think_tags(_wire: dict[str, Any], parts: list[dict[str, Any]], text: str) -> None:
    parts.insert(0, {"type": "text", "text": f"<think>{text}</think>"})


def _name(key: str) -> str:
    """Return the spelling of a key; `thinking` alone means Mistral's content parts."""
    return "message.thinking" if key == "thinking" else key


def _text_in(value: object) -> str:
    """Return the text of a field: itself, or what an object or a list holds in its place."""
    if isinstance(value, list):
        return "".join(map(_text_in, value))
    if isinstance(value, dict):
        return next((text for key in _TEXT_KEYS if (text := _text_in(value.get(key)))), "")
    return value if isinstance(value, str) else ""


def _holds_entries(value: object) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and all(isinstance(item, dict) for item in value))


def _says_something(part: dict[str, Any]) -> bool:
    return any(value for key, value in part.items() if key not in _LABELS) or bool(
        _Entries(_uncounted).take([part], whole=True)
    )


def _without_stored_ids(value: Any) -> Any:
    """Leave out ids that only name an entry in OpenAI's own storage: other servers answer 404 to them."""
    entries = value if isinstance(value, list) else [value]
    if not any(_has_stored_id(entry) for entry in entries):
        return value
    cleaned = [
        {key: item for key, item in entry.items() if key != "id"} if _has_stored_id(entry) else entry
        for entry in entries
    ]
    return cleaned if isinstance(value, list) else cleaned[0]


def _has_stored_id(entry: object) -> bool:
    return isinstance(entry, dict) and str(entry.get("id")).startswith("rs_")


_SPELL: dict[str, Callable[[dict[str, Any], list[dict[str, Any]], str], None]] = {
    **{_name(key): _spell_key(key) for key in _TEXTS},
    "thinking": _spell_thinking,
    THOUGHT: _spell_thought,
    THINK_TAGS: _spell_think_tags,
}
