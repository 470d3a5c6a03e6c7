"""Make names that the wire accepts for functions, schemas and messages, and tell which finish reasons mean a refusal.

OpenAI's reference: letters, digits, underscores and dashes, at most 64 of them.
"""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import sha256

_LONGEST = 64
_DIGEST = 8


def is_legal(name: str) -> bool:
    return name != "" and legal_name(name) == name


def legal_name(name: str) -> str:
    """Return a name in legal characters; different names may become the same one."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)[:_LONGEST]


@lru_cache(maxsize=1024)
def wire_name(name: str) -> str:
    """Return a legal name itself; for another one always the same legal name, which no other name gets."""
    if is_legal(name):
        return name
    digest = sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST]
    return f"{legal_name(name)[: _LONGEST - _DIGEST - 1]}_{digest}"


def is_withheld(finish_reason: object) -> bool:
    return str(finish_reason).lower() in {"content_filter", "refusal", "safety"}
