"""Tell which finish reasons say that an answer was withheld."""

from __future__ import annotations

_REFUSED = frozenset({"content_filter", "refusal", "safety"})


def is_withheld(finish_reason: object) -> bool:
    """Whether an answer that ended so was withheld."""
    return str(finish_reason).lower() in _REFUSED
