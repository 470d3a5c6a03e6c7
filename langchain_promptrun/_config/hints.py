"""Hints for keywords that are unknown here: names of other integrations, and parameters of gateways."""

from __future__ import annotations

from difflib import get_close_matches
from functools import lru_cache
from typing import TYPE_CHECKING

from langchain_promptrun.data._keywords import FOREIGN, GATEWAY_PARAMETERS

if TYPE_CHECKING:
    from collections.abc import Iterable

MORE_PARAMETERS = "Parameters of the request that are not fields go into `model_kwargs` or `extra_body`."
"""Advice on a keyword that is unknown to a model."""


def _squeezed(name: str) -> str:
    """Reduce a name to what all styles of writing share: `maxTokens` and `max_tokens` are one."""
    return name.replace("_", "").lower()


_INSTEAD = {_squeezed(name): place for place, names in FOREIGN.items() for name in names.split()}

_NEAR, _NEAR_A_FIELD = 0.7, 0.85  # `temprature` is at 0.95


def advice_for(name: str, known: Iterable[str], advice: str) -> str:
    if advice == MORE_PARAMETERS and (place := _INSTEAD.get(_squeezed(name))):
        return place if place.endswith(".") else f"Use {place}."
    if advice == MORE_PARAMETERS and name in GATEWAY_PARAMETERS:
        return f"Use `model_kwargs={{{name!r}: ...}}`, or pass it to the call."
    near = _nearest(name, known, _NEAR)
    return f"Did you mean `{near}`? {advice}" if near else advice


@lru_cache(maxsize=1024)
def misspelt(name: str, known: frozenset[str]) -> str | None:
    return None if name in GATEWAY_PARAMETERS else _nearest(name, known, _NEAR_A_FIELD)


def _nearest(name: str, known: Iterable[str], cutoff: float) -> str | None:
    """Return the known name that is most like a name; letters in another order count as alike."""
    squeezed = {_squeezed(other): other for other in sorted(known)}
    written = _squeezed(name)
    alike = [other for other in squeezed if sorted(other) == sorted(written)]
    return next((squeezed[other] for other in alike or get_close_matches(written, squeezed, n=1, cutoff=cutoff)), None)
