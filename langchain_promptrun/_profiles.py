"""Facts on models by id: context window, limits, modalities, abilities, family, retirement."""

from __future__ import annotations

import importlib
import logging
import re
from functools import cache, lru_cache
from operator import methodcaller
from typing import TYPE_CHECKING, Any, cast

from langchain_promptrun.data._rows import AUGMENTATIONS, FLAGS, RETIRED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from langchain_core.language_models import ModelProfile

    from langchain_promptrun.data._rows import Row

logger = logging.getLogger("langchain_promptrun")

# How gateways and vendors decorate one model's id; each is taken off in turn, from the right.
_DECORATIONS = tuple(
    re.compile(pattern + r"\Z")
    for pattern in (
        r"@.*",  # a place or a version: anthropic/claude-sonnet-5@20260630
        r":.*",  # a way of serving it: :free, :thinking, :nitro
        r"-latest",
        r"-20\d\d-?\d\d-?\d\d",  # -20241022, -2024-10-22
        r"-\d\d-(?:20)?\d\d",  # -08-2024, -05-06
        r"-(?:\d{4}|0\d\d)",  # -0324, -2411, -001
    )
)


# One vendor under the names that gateways give it.
_VENDORS = {
    "alibaba": "qwen",
    "deepseek-ai": "deepseek",
    "meta": "meta-llama",
    "mistral": "mistralai",
    "moonshot": "moonshotai",
    "xai": "x-ai",
    "zai": "z-ai",
}

# Amazon Bedrock: a region, the vendor, the name, a version (us.anthropic.claude-3-5-haiku-20241022-v1:0)
_BEDROCK = re.compile(
    r"(?:(?:us|eu|apac|au|jp|global|us-gov)\.)?(?P<vendor>[a-z0-9]+)\.(?P<name>[a-z].*?)(?:-v\d+(?::\d+)?|-\d+:\d+)?"
)


@lru_cache(maxsize=256)
def warn_if_retired(model: str) -> None:
    if (profile_for(model) or {}).get("status") == RETIRED:
        logger.warning("The model %r was retired by its vendor: calls may fail. Choose a current one.", model)


def profile_for(model: str) -> ModelProfile | None:
    """Return what is known of a model in a new dict, or None for an unknown id.

    A variant of a known id has its base's profile: a dated one, one with `:free`, `:thinking` or another suffix after
    a colon or an `@`, `-latest`, a leading `~`, another case, `3-5` for `3.5`. A variant that has facts of its own
    keeps them. A name without a vendor, or behind a gateway's own prefix, is found where one vendor alone has it.
    """
    known = known_id(model)
    return None if known is None else _unpack(known).copy()


def family_of(model: str) -> tuple[str, str] | None:
    """Return the vendor and the family of a model, such as `("anthropic", "claude-sonnet")`; None if unknown."""
    known = known_id(model)
    family = "" if known is None else _rows()[known][5]
    return (_vendor(known), family) if known and family else None


@lru_cache(maxsize=1024)
def known_id(model: str) -> str | None:
    *prefix, name = model.strip().lower().split("/")
    vendor = "".join(prefix[-1:])
    for whole in (model, f"{vendor}/{name}"):
        if known := _find(whole, _ids()):
            return known
    # a bare name or another gateway's spelling, where one vendor alone fits
    vendors = _names_of_vendors()
    names = [name]
    if vendor not in vendors and (match := _BEDROCK.fullmatch(name)) and match["vendor"] in vendors:
        vendor, name = match.groups()
        names = [name, f"{vendor}-{name}", re.sub(r"\A[a-z]+(?=\d)", r"\g<0>-", name)]
    for known in (_find(name, _bare()) for name in names):
        if known and (vendor not in vendors or _vendor(known) == _VENDORS.get(vendor, vendor)):
            return known
    return None


def _spellings(model: str) -> Iterator[str]:
    yield model
    name = model.strip().lower()
    yield name
    name = name.removeprefix("~")
    yield name
    for decoration in _DECORATIONS:
        name = decoration.sub("", name)
        yield name
    yield re.sub(r"(?<=\d)\.(?=\d)", "-", name)  # 3.5 and 3-5 are one version


def _find(model: str, known: Mapping[str, str]) -> str | None:
    return next((known[name] for name in _spellings(model) if name in known), None)


def base_of(model: str) -> str:
    """Reduce an id to what all variants of its model share."""
    *_, base = _spellings(model)
    return base


def _vendor(model: str) -> str:
    vendor = model.partition("/")[0].removeprefix("~")
    return _VENDORS.get(vendor, vendor)


@cache
def _ids() -> dict[str, str]:
    """Map each known id to itself, and each base to the id that stands for it: the shortest, then the newest."""
    last_is_best = sorted(sorted(_rows()), key=len, reverse=True)
    return {base_of(name): name for name in last_is_best} | {name: name for name in last_is_best}


@cache
def _bare() -> dict[str, str]:
    """Map ids and bases without a vendor to the known ids, where one vendor alone has them; ids come first."""
    found: dict[str, list[str]] = {}
    own: dict[str, list[str]] = {}
    for name, known in _ids().items():
        (own if name == known else found).setdefault(name.partition("/")[2], []).append(known)
    plain_first = methodcaller("startswith", "~")
    return {name: min(ids, key=plain_first) for name, ids in (found | own).items() if len(set(map(_vendor, ids))) == 1}


@cache
def _names_of_vendors() -> frozenset[str]:
    return frozenset(name.partition("/")[0] for name in _rows()) | _VENDORS.keys()


def _rows() -> dict[str, Row]:
    return cast("dict[str, Row]", importlib.import_module("langchain_promptrun.data._profiles").PROFILES)


@cache
def _unpack(known: str) -> ModelProfile:
    """Return a row in LangChain's own fields, as far as the installed langchain-core has them; it warns of others."""
    name, released, input_tokens, output_tokens, letters, _, efforts, status = _rows()[known]
    letters, _, refuted = letters.partition("!")
    known, _, unknown = letters.partition("?")
    levels, _, default = efforts.partition("=")
    facts: dict[str, Any] = {
        "name": name,
        "release_date": released,
        "max_input_tokens": input_tokens,
        "max_output_tokens": output_tokens,
        "reasoning_effort_levels": levels.split(),
        "reasoning_effort_default": default,
        "status": status,
    }
    facts = {key: fact for key, fact in facts.items() if fact}
    facts |= {key: letter in known for letter, key in FLAGS.items() if letter not in unknown}
    facts |= {key: letter in known for letter, key in AUGMENTATIONS.items() if letter in known + refuted}
    declared = importlib.import_module("langchain_core.language_models.model_profile").ModelProfile.__annotations__
    return cast("ModelProfile", {key: fact for key, fact in facts.items() if key in declared})
