"""Reasoning as vendors send it: three spellings in, one text and the signed details out.

`reasoning_content` (DeepSeek's spelling), `reasoning` (OpenRouter's and Groq's) and `reasoning_details`
(OpenRouter's list of signed, summarised or encrypted entries) may come alone or together; Mistral sends it as
`thinking` parts of the content. The text goes out once; the details are kept so that they can be sent back as they
came, signatures intact. Pure.
"""

from __future__ import annotations

from typing import Any

from langchain_promptrun._wire.size_limit import Room

_JOINED = ("text", "summary")
_ENTRY = 2  # {}
DETAILS = "reasoning_details"
THINKING = "thinking"
_TEXTS = ("reasoning_content", "reasoning")
FIELDS = frozenset({*_TEXTS, DETAILS})
"""The keys of a delta that this module reads."""


class Reasoning:
    """The reasoning of one message.

    Args:
        room: Where the details that are kept are counted; by default without a limit.
    """

    __slots__ = ("_entries", "_fields", "_open", "_plain", "_room")

    def __init__(self, room: Room | None = None) -> None:
        self._room = room or Room()
        self._fields: dict[str, None] = {}
        self._entries: list[_Entry] = []
        self._open: dict[tuple[int, str | None], _Entry] = {}
        self._plain = False

    def take(self, delta: dict[str, Any], *, whole: bool = False) -> str:
        """Take what a delta or a whole message says.

        Args:
            delta: The wire's object, with any of the three fields.
            whole: It is a whole message: its details are entries, not fragments of entries.

        Returns:
            The text that it adds, once.
        """
        text = ""
        for field in _TEXTS:
            value = delta.get(field)
            if value and isinstance(value, str):
                self._fields[field] = None
                self._plain = True
                text = text or value
        if details := delta.get(DETAILS):
            entries = details if isinstance(details, list) else [details]
            derived = "".join([self._take_detail(entry, whole=whole) for entry in entries if isinstance(entry, dict)])
            text = text if self._plain else derived
        return text

    def take_thinking(self, text: str) -> str:
        """Take the text of a `thinking` content part, and return it."""
        self._fields[THINKING] = None
        return text

    @property
    def field(self) -> str | list[str] | None:
        """The wire's spelling; a list when several came; None when there was no reasoning."""
        names = list(self._fields) or ([DETAILS] if self._entries else [])
        if not names:
            return None
        return names[0] if len(names) == 1 else names

    @property
    def details(self) -> list[dict[str, Any]]:
        """The details, fragments of one entry put together."""
        return [entry.whole() for entry in self._entries]

    def _take_detail(self, detail: dict[str, Any], *, whole: bool) -> str:
        index, kind = detail.get("index"), detail.get("type")
        # An entry with data (encrypted) is never a fragment.
        if whole or not isinstance(index, int) or "data" in detail:
            entry = self._new_entry()
        else:
            entry = self._fragmented(index, kind if isinstance(kind, str) else None, detail.get("id"))
        return entry.take(detail)

    def _fragmented(self, index: int, kind: str | None, entry_id: object) -> _Entry:
        """Find the entry that a fragment belongs to, by index, type and id, or open one."""
        entry = self._open.get((index, kind))
        if entry is None or not entry.may_have_id(entry_id):
            entry = self._open[index, kind] = self._open[index, None] = self._new_entry()
        return entry

    def _new_entry(self) -> _Entry:
        entry = _Entry(self._room)
        self._entries.append(entry)
        return entry


class _Entry:
    """One entry of `reasoning_details`, text in pieces."""

    __slots__ = ("_facts", "_room", "_texts")

    def __init__(self, room: Room) -> None:
        room.take(_ENTRY)
        self._room = room
        self._facts: dict[str, Any] = {}
        self._texts: dict[str, list[str]] = {}

    def take(self, detail: dict[str, Any]) -> str:
        """Take an entry or a fragment of one; return its text."""
        text = ""
        for key, value in detail.items():
            if key in _JOINED and isinstance(value, str):
                self._room.take(len(value))
                self._texts.setdefault(key, []).append(value)
                self._facts[key] = ""
                text += value
            elif value or key not in self._facts:
                self._room.keep(self._facts, key, value)
        return text

    def whole(self) -> dict[str, Any]:
        return self._facts | {key: "".join(pieces) for key, pieces in self._texts.items()}

    def may_have_id(self, entry_id: object) -> bool:
        known = self._facts.get("id")
        return entry_id is None or known is None or known == entry_id
