"""What the small model reads out of a text: words, numbers, quotations, names, and its own idea of a token.

Pure. Knows nothing of messages, schemas or HTTP.
"""

from __future__ import annotations

import re

_CJK = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_PIECE = re.compile(rf"\s*(?:[{_CJK}]|[^\s{_CJK}]+)|\s+")
_WORD = re.compile(r"[A-Z]?[^\W\d_A-Z]+|[A-Z]+(?![^\W\d_A-Z])|\d+")
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w%]*[A-Za-z_])")
_QUOTED = r"(?<!\w)'(?P<single>[^'\n]+)'(?!\w)|\"(?P<double>[^\"\n]+)\"|“(?P<curly>[^”\n]+)”|`(?P<tick>[^`\n]+)`"
_NAME = r"(?<=[a-z,] )(?P<name>(?:[A-Z][\w-]*)(?:,? [A-Z][\w-]*)*)"
_FRAGMENT = re.compile(f"{_QUOTED}|{_NAME}")
_DULL_WORDS = """
    a an and are as at be by call can do does for from function get give have how i in input into is it its made make me
    my of on or output please set some tell that the this times to tool use using value was what when where which who
    will with you your
"""
_DULL = frozenset(_DULL_WORDS.split())
_SHORTEST_STEM = 3
_STEM = 5


def pieces(text: str) -> list[str]:
    """The tokens of a text: words with the white space before them. Joined they give the text again."""
    return _PIECE.findall(text)


def words(text: str) -> set[str]:
    """The telling words of a text or an identifier, in lower case; articles and the like are left out."""
    return {word.lower() for word in _WORD.findall(text)} - _DULL


def shared(some: set[str], others: set[str]) -> int:
    """How many of `some` words have a kin in `others`: equal, or with a common beginning."""
    return sum(any(_kin(word, other) for other in others) for word in some)


def _kin(one: str, other: str) -> bool:
    stem = min(len(one), len(other), _STEM)
    return one == other or (stem >= _SHORTEST_STEM and one[:stem] == other[:stem])


def numbers(text: str) -> list[int | float]:
    """The numbers of a text in order; a minus sign counts where no word or number stands before it."""
    return [float(found) if "." in found else int(found) for found in _NUMBER.findall(text)]


def fragments(text: str) -> list[str]:
    """What a text quotes and the names in it, in order: what somebody would hand to a tool."""
    return [next(filter(None, match.groups())) for match in _FRAGMENT.finditer(text)]


def quoted(text: str) -> list[str]:
    """What a text quotes, in order."""
    return [next(filter(None, match.groups())) for match in re.finditer(_QUOTED, text)]
