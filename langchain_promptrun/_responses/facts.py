"""Collect the keys of an answer that this package does not know: one rule for all of them.

- A string of a delta joins what came before, unless it repeats or continues all of it; any other string, number or
  boolean replaces it.
- Dictionaries merge.
- Lists join. A dictionary in a list merges with the one of its `index`; it and a string are kept once; numbers of a
  choice or a delta are pieces (vLLM's `token_ids`).
- null, "", [] and {} erase nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langchain_promptrun._responses.body import SizeLimit

# Strings that name something: a further one replaces them, also in a delta.
_LABELS = frozenset({"channel", "format", "id", "mime_type", "model", "name", "object", "role", "status", "type"})
_NUMBERS = (int, float)


def says_nothing(value: Any) -> bool:
    """Return whether a value is null or empty; 0 and false say something."""
    return not value and not isinstance(value, _NUMBERS)


class Facts:
    """Keys and their values, as far as they have come.

    Args:
        limit: Counts what is kept.
        text_pieces: Whether strings are pieces, as in a delta.
        number_pieces: Whether lists of numbers are pieces, as in a delta or a choice.
    """

    __slots__ = ("_limit", "_pieces", "_values")

    def __init__(self, limit: SizeLimit, *, text_pieces: bool = False, number_pieces: bool = False) -> None:
        self._limit = limit
        self._pieces = {"text_pieces": text_pieces, "number_pieces": number_pieces or text_pieces}
        self._values: dict[str, Any] = {}

    def __bool__(self) -> bool:
        return bool(self._values)

    def add(self, key: str, value: Any) -> None:
        """Take a key's value."""
        known = self._values.get(key)
        if key not in self._values:
            self._limit.add_value(key)
        elif says_nothing(value) or (known == value and type(known) is type(value)):
            return
        self._values[key] = self._merged(key, known, value)

    def update(self, values: dict[str, Any]) -> None:
        """Take several keys."""
        for key, value in values.items():
            self.add(key, value)

    def get(self, key: str) -> Any:
        """Return the value of a key, None where it has none."""
        return _whole(self._values.get(key))

    def whole(self) -> dict[str, Any]:
        """Return all values as JSON values, which share nothing with this object."""
        return {key: _whole(value) for key, value in self._values.items()}

    def is_continued_by(self, values: dict[str, Any]) -> bool:
        """Return whether a dictionary is a further piece of this one: the same names, and no text once more.

        Groq sends its `executed_tools` before and after they ran, which are two entries of the same index.
        """
        shared = {key: (values[key], self.get(key)) for key in values.keys() & self._values.keys()}
        return all((new == known) == (key in _LABELS) for key, (new, known) in shared.items() if isinstance(new, str))

    def _merged(self, key: str, known: Any, value: Any) -> Any:
        if isinstance(value, dict):
            facts = known if isinstance(known, Facts) else Facts(self._limit, **self._pieces)
            facts.update(value)
            return facts
        if isinstance(value, list):
            entries = known if isinstance(known, Entries) else Entries(self._limit, **self._pieces)
            entries.add(value)
            return entries
        if isinstance(value, str) and self._pieces["text_pieces"] and key not in _LABELS:
            text = known if isinstance(known, TextPieces) else TextPieces()
            text.add(value)
            self._limit.add_value(value)
            return text
        self._limit.add_value(value, instead_of=known)
        return value


class Entries:
    """A list in pieces.

    Args:
        limit: Counts what is kept.
        merge: Whether dictionaries of the same `index` are pieces of one.
        pieces: As those of `Facts`.
    """

    __slots__ = ("_by_index", "_items", "_limit", "_merge", "_pieces", "_seen")

    def __init__(self, limit: SizeLimit, *, merge: bool = True, **pieces: bool) -> None:
        self._limit = limit
        self._merge = merge
        self._pieces = pieces
        self._items: list[Any] = []
        self._by_index: dict[int, Facts] = {}
        self._seen: set[int] = set()

    def add(self, entries: list[Any]) -> None:
        """Take a further list; what stands in one list twice is kept twice."""
        seen: set[int] = set()
        opened: dict[int, Facts] = {}
        for entry in self._fresh(entries):
            mark = hash(repr(entry))
            if not isinstance(entry, _NUMBERS):
                if mark in self._seen:
                    continue
                seen.add(mark)
            if not isinstance(entry, dict) or not self._merge:
                self._limit.add_value(entry)
                self._items.append(entry)
            elif (facts := self._same_index(entry)) is not None:
                facts.update(entry)
            else:
                self._open(entry, opened)
        self._seen |= seen
        self._by_index |= opened

    def whole(self) -> list[Any]:
        """Return the list."""
        return [_whole(item) for item in self._items]

    def _fresh(self, entries: list[Any]) -> list[Any]:
        """Leave out a list of numbers that says again what is known, but where numbers are pieces."""
        return [] if not self._pieces.get("number_pieces") and entries == self._items else entries

    def _same_index(self, entry: dict[str, Any]) -> Facts | None:
        index = entry.get("index")
        facts = self._by_index.get(index) if isinstance(index, int) else None
        return facts if facts is not None and facts.is_continued_by(entry) else None

    def _open(self, entry: dict[str, Any], opened: dict[int, Facts]) -> None:
        facts = Facts(self._limit, **self._pieces)
        facts.update(entry)
        self._items.append(facts)
        if isinstance(index := entry.get("index"), int):
            opened.setdefault(index, facts)


class TextPieces:
    """A string in pieces, joined in linear time."""

    __slots__ = ("_pieces", "_size")

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._size = 0

    def add(self, piece: str) -> None:
        """Take a piece; one that holds all before it replaces them."""
        if len(piece) >= self._size and piece.startswith(self.whole()):
            self._pieces.clear()
            self._size = 0
        self._pieces.append(piece)
        self._size += len(piece)

    def whole(self) -> str:
        """Return the string."""
        if len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
        return self._pieces[0] if self._pieces else ""


def _whole(value: Any) -> Any:
    return value.whole() if isinstance(value, Facts | Entries | TextPieces) else value
