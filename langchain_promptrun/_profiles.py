"""What is known of a model by its id: context window, output limit, modalities, abilities.

Owns the lookup, from the id a caller wrote to one of the ids in the data, and the meaning of a data row. The
rows are written by ``scripts/update_profiles.py`` and imported at the first lookup. Does no other I/O and
never fails: an id it cannot place has no profile.
"""

from __future__ import annotations

import importlib
import re
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias, cast

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_core.language_models import ModelProfile

Row: TypeAlias = tuple[str, str, int, int, str]
"""Name, release date, input tokens, output tokens (0 is unknown), and the letters of ``FLAGS`` that hold.

Letters after a ``?`` are unknown: neither true nor false.
"""

FLAGS = {
    "t": "text_inputs",
    "i": "image_inputs",
    "p": "pdf_inputs",
    "a": "audio_inputs",
    "v": "video_inputs",
    "T": "text_outputs",
    "I": "image_outputs",
    "A": "audio_outputs",
    "V": "video_outputs",
    "r": "reasoning_output",
    "c": "tool_calling",
    "s": "structured_output",
    "f": "attachment",
    "h": "temperature",
    "o": "open_weights",
}

# How gateways and vendors decorate one model's id; each is taken off in turn, from the right.
_DECORATIONS = tuple(
    re.compile(pattern + r"\Z")
    for pattern in (
        r"@.*",  # a place or a version: anthropic/claude-sonnet-4@20250514
        r":.*",  # a way of serving it: :free, :thinking, :nitro
        r"-latest",
        r"-20\d\d-?\d\d-?\d\d",  # -20241022, -2024-10-22
        r"-\d\d-(?:20)?\d\d",  # -08-2024, -05-06
        r"-(?:\d{4}|0\d\d)",  # -0324, -2411, -001
    )
)


def profile_for(model: str) -> ModelProfile | None:
    """Look up what is known of a model.

    A variant of a known id has its base's profile: a dated one, one with ``:free``, ``:thinking`` or another
    suffix after a colon or an ``@``, ``-latest``, a leading ``~``, another case, ``3-5`` for ``3.5``. A
    variant that has facts of its own keeps them.

    Args:
        model: The id as it goes on the wire, ``vendor/name``.

    Returns:
        A new dict that the caller may change, or None for an unknown id.
    """
    profile = _resolve(model)
    return None if profile is None else profile.copy()


def known_id(model: str) -> str | None:
    """Return the id in the data that a model's id stands for."""
    rows = _rows()
    known = next((name for name in _spellings(model) if name in rows), None)
    return _bases().get(_base(model)) if known is None else known


@lru_cache(maxsize=1024)
def _resolve(model: str) -> ModelProfile | None:
    """Give the shared profile of a model; the callers of this module only ever see copies."""
    known = known_id(model)
    return None if known is None else _unpack(_rows()[known])


def _spellings(model: str) -> Iterator[str]:
    """Give the id as it stands, then with less and less decoration."""
    yield model
    name = model.strip().lower()
    yield name
    name = name.removeprefix("~")
    yield name
    for decoration in _DECORATIONS:
        name = decoration.sub("", name)
        yield name


def _base(model: str) -> str:
    """Reduce an id to what all variants of its model share; ``3.5`` and ``3-5`` are one version."""
    *_, name = _spellings(model)
    return re.sub(r"(?<=\d)\.(?=\d)", "-", name)


@cache
def _bases() -> dict[str, str]:
    """Map each base to the known id that stands for it: the shortest, and of equally short ones the newest."""
    last_is_best = sorted(sorted(_rows()), key=len, reverse=True)
    return {_base(name): name for name in last_is_best}


def _rows() -> dict[str, Row]:
    return cast("dict[str, Row]", importlib.import_module("langchain_promptrun.data._profiles").PROFILES)


def _unpack(row: Row) -> ModelProfile:
    """Write a row out in LangChain's own fields; what is unknown has no key."""
    name, released, input_tokens, output_tokens, letters = row
    known, _, unknown = letters.partition("?")
    profile: dict[str, Any] = {"name": name, "release_date": released}
    limits = {"max_input_tokens": input_tokens, "max_output_tokens": output_tokens}
    profile |= {key: limit for key, limit in limits.items() if limit}
    profile |= {key: letter in known for letter, key in FLAGS.items() if letter not in unknown}
    return cast("ModelProfile", profile)
