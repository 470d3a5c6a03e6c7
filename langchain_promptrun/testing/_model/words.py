"""Words, numbers, quotations and names in a text, and the stand-in's tokens."""

from __future__ import annotations

import re

_CJK = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_TOKEN = re.compile(rf"\s*(?:[{_CJK}]|[^\s{_CJK}]+)|\s+")
_WORD = re.compile(r"[A-Z]?[^\W\d_A-Z]+|[A-Z]+(?![^\W\d_A-Z])|\d+")
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w%]*[A-Za-z_])")
_QUOTED = r"(?<!\w)'(?P<single>[^'\n]+)'(?!\w)|\"(?P<double>[^\"\n]+)\"|“(?P<curly>[^”\n]+)”|`(?P<tick>[^`\n]+)`"
_NAME = r"(?<=[a-z,] )(?P<name>(?:[A-Z][\w-]*)(?:,? [A-Z][\w-]*)*)"
_PHRASE = re.compile(f"{_QUOTED}|{_NAME}")
_COMMON = """
    a an and are as at be by call can do does for from function get give have how i in input into is it its made make me
    my of on or output please set some tell that the this times to tool use using value was what when where which who
    will with you your
"""
_STOP_WORDS = frozenset(_COMMON.split())
_SHORTEST_STEM = 3
_STEM = 5


def tokens(text: str) -> list[str]:
    """Split a text into words with the white space before them."""
    return _TOKEN.findall(text)


def words(text: str) -> set[str]:
    """Return the words of a text or an identifier in lower case, without stop words."""
    return {word.lower() for word in _WORD.findall(text)} - _STOP_WORDS


def shared(some: set[str], others: set[str]) -> int:
    """Count the words of `some` that equal one of `others` or begin like it."""
    return sum(any(_alike(word, other) for other in others) for word in some)


def _alike(one: str, other: str) -> bool:
    stem = min(len(one), len(other), _STEM)
    return one == other or (stem >= _SHORTEST_STEM and one[:stem] == other[:stem])


def numbers(text: str) -> list[int | float]:
    """Return the numbers in a text; a minus sign counts where no word or number stands before it."""
    return [float(found) if "." in found else int(found) for found in _NUMBER.findall(text)]


def phrases(text: str) -> list[str]:
    return [next(filter(None, match.groups())) for match in _PHRASE.finditer(text)]


def quoted(text: str) -> list[str]:
    return [next(filter(None, match.groups())) for match in re.finditer(_QUOTED, text)]
