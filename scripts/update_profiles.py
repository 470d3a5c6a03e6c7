#!/usr/bin/env python3
"""Write ``_profiles.py`` and ``_prices.py`` of ``langchain_promptrun/data`` anew from files of model facts.

    python scripts/update_profiles.py FILE [FILE ...] [--output PATH]

A file is one of

- JSON as models.dev publishes it (https://models.dev/api.json), of which the gateways' sections are read,
  because their ids are the ``vendor/name`` that Promptrun takes; or one section, ``{"models": {id: facts}}``, in which
  ``retired`` may map ids to what is known of their end;
- a Python file that assigns LangChain's profile fields to ``_PROFILES``, as LangChain's packages carry them. With
  ``VENDOR=`` before it, its ids are names of that vendor (``anthropic=.../langchain_anthropic/data/_profiles.py``), and
  its augmentations count for all variants of these models.

What the first file says of a model counts; later files add models and facts that are missing. Models that
cannot chat (no text in or out, no context window, embeddings) are left out.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_promptrun._profiles import base_of
from langchain_promptrun.data._rows import AUGMENTATIONS, FLAGS, RETIRED, Row

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Profile = dict[str, Any]

GATEWAYS = ("openrouter", "vercel")
AUGMENTED = frozenset(AUGMENTATIONS.values()) | {"pdf_inputs", "reasoning_effort_levels", "reasoning_effort_default"}
"""Fields in which a vendor's package is believed over models.dev."""
OUTPUT = Path(__file__).parent.parent / "langchain_promptrun" / "data" / "_profiles.py"
LINE_LENGTH = 120

HEADER = '''"""Facts on models, by id. Written by scripts/update_profiles.py: do not edit.

Taken from the data of models.dev (https://models.dev, MIT licence); the newest model in it is of {newest}.
What goes beyond it comes from the profiles in LangChain's packages (MIT licence). A row is ``Row`` in
langchain_promptrun/data/_rows.py: name, release date, input and output tokens, letters, family, efforts, status.
"""

PROFILES: dict[str, tuple[str, str, int, int, str, str, str, str]] = {{
'''

PRICES_HEADER = '''"""Prices of models in USD per million tokens. Written by scripts/update_profiles.py: do not edit.

Taken from the data of models.dev (https://models.dev, MIT licence). A price list is a tuple: input, output, cache
read, cache write, reasoning; None where models.dev names no price. The key is the number of input tokens from which on
the list holds.
"""

Prices = tuple[float, float, float | None, float | None, float | None]

PRICES: dict[str, dict[int, Prices]] = {{
{rows}}}
'''

PRICED = ("input", "output", "cache_read", "cache_write", "reasoning")


def main(argv: Sequence[str] | None = None) -> int:
    """Read the files that the command line names, and write the data module."""
    parser = argparse.ArgumentParser(description="Write the model profiles anew from files of model facts.")
    parser.add_argument("files", nargs="+", metavar="FILE", help="facts, the most trusted first")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="the module to write (the package's)")
    arguments = parser.parse_args(argv)
    merged: dict[str, Profile] = {}
    for file in arguments.files:
        vendor, _, path = file.rpartition("=")
        found = read(Path(path))
        merged = augmented(merged, vendor, found) if vendor else merge([merged, found])
    complete = with_own_names(with_families(merged))
    profiles = {model: profile for model, profile in complete.items() if can_chat(model, profile)}
    arguments.output.write_text(render(profiles), encoding="utf-8")
    arguments.output.with_name("_prices.py").write_text(render_prices(profiles), encoding="utf-8")
    sys.stdout.write(f"{len(profiles)} models written to {arguments.output}\n")
    return 0


def read(path: Path) -> dict[str, Profile]:
    """Read one file into LangChain's profile fields by model id."""
    text = path.read_text(encoding="utf-8")
    return read_langchain(text) if path.suffix == ".py" else read_models_dev(json.loads(text))


def read_langchain(text: str) -> dict[str, Profile]:
    """Take the literal assigned to ``_PROFILES`` out of a module, without running it."""
    for statement in ast.parse(text).body:
        match statement:
            case (
                ast.AnnAssign(target=ast.Name(id="_PROFILES"), value=ast.Dict() as value)
                | ast.Assign(targets=[ast.Name(id="_PROFILES")], value=ast.Dict() as value)
            ):
                # LangChain's generator leaves this one field out where it is false.
                return {model: {"pdf_inputs": False} | p for model, p in ast.literal_eval(value).items()}
    raise SystemExit("The Python file assigns no dict to _PROFILES.")


def read_models_dev(document: Mapping[str, Any]) -> dict[str, Profile]:
    """Translate models.dev's facts, of one section or of the whole."""
    whole = "models" not in document
    sections = [document[name] for name in GATEWAYS if name in document] if whole else [document]
    profiles = merge(
        {model: from_models_dev(facts) for model, facts in section["models"].items()} for section in sections
    )
    ended = {base_of(model) for model in document.get("retired", ())}
    return {
        model: profile | {"status": RETIRED} if base_of(model) in ended else profile
        for model, profile in profiles.items()
    }


def from_models_dev(facts: Mapping[str, Any]) -> Profile:
    """Translate models.dev's facts on one model into LangChain's profile fields."""
    limit, modalities = facts["limit"], facts["modalities"]
    abilities = {
        "reasoning_output": "reasoning",
        "tool_calling": "tool_call",
        "structured_output": "structured_output",
        "attachment": "attachment",
        "temperature": "temperature",
        "open_weights": "open_weights",
    }
    kinds = ("text", "image", "audio", "video")
    return {
        "name": facts["name"],
        "release_date": facts["release_date"],
        # Where input has a limit of its own, a prompt that fills the whole window is refused.
        "max_input_tokens": limit.get("input") or limit["context"],
        "max_output_tokens": limit["output"],
        **{f"{kind}_inputs": kind in modalities["input"] for kind in (*kinds, "pdf")},
        **{f"{kind}_outputs": kind in modalities["output"] for kind in kinds},
        **{field: facts[key] for field, key in abilities.items() if key in facts},
        **{key: facts[key] for key in ("cost", "family", "status") if key in facts},
    }


def augmented(profiles: Mapping[str, Profile], vendor: str, found: Mapping[str, Profile]) -> dict[str, Profile]:
    """Add what a vendor's package says of its models, which it spells differently, to all variants of each."""
    named = {f"{vendor}/{name}": found[name] for name in sorted(found, key=len)}
    by_base = merge({base_of(model): profile} for model, profile in named.items())
    known = {base_of(model) for model in profiles}
    new = {model: profile for model, profile in named.items() if base_of(model) not in known}
    return new | {
        model: profile | {key: fact for key, fact in by_base.get(base_of(model), {}).items() if key in AUGMENTED}
        for model, profile in profiles.items()
    }


def with_families(profiles: Mapping[str, Profile]) -> dict[str, Profile]:
    """Put a model without a family into the family of its vendor whose words its name has, the longest first."""
    families: dict[str, set[str]] = {}
    for model, profile in profiles.items():
        if family := profile.get("family"):
            families.setdefault(model.partition("/")[0], set()).add(family)
    found = {}
    for model, profile in profiles.items():
        vendor, _, name = base_of(model).partition("/")
        fitting = [family for family in families.get(vendor, ()) if set(family.split("-")) <= set(name.split("-"))]
        found[model] = {"family": max(sorted(fitting), key=len)} | profile if fitting else profile
    return found


def with_own_names(profiles: Mapping[str, Profile]) -> dict[str, Profile]:
    """Give a model that bears the name of another version the shortest name, and the date, that its variants have."""
    own: dict[str, list[Profile]] = {}
    for model, profile in profiles.items():
        if has_own_name(model, profile):
            own.setdefault(base_of(model), []).append(profile)
    found = {}
    for model, profile in profiles.items():
        named = [profile] if has_own_name(model, profile) else own.get(base_of(model), [profile])
        best = min(named, key=lambda variant: len(variant.get("name", "")))
        found[model] = profile | {key: best[key] for key in ("name", "release_date") if key in best}
    return found


def has_own_name(model: str, profile: Profile) -> bool:
    """Tell whether a name has the version of its id, as `Claude Opus 4.1` has that of `claude-opus-4-1`."""
    version = re.search(r"\d+-\d+", base_of(model))
    return version is None or version[0] in profile.get("name", "").replace(".", "-")


def merge(sources: Iterable[Mapping[str, Profile]]) -> dict[str, Profile]:
    """Join the sources fact by fact; the first that knows a fact is believed."""
    merged: dict[str, Profile] = {}
    for source in sources:
        for model, profile in source.items():
            merged[model] = profile | merged.get(model, {})
    return merged


def can_chat(model: str, profile: Profile) -> bool:
    """Tell chat models from the makers of embeddings and pictures that the same lists carry."""
    if "embed" in model or model.startswith("voyage/"):
        return False
    return all(profile.get(fact) for fact in ("name", "text_inputs", "text_outputs", "max_input_tokens"))


def render(profiles: Mapping[str, Mapping[str, Any]]) -> str:
    """Write the module's text, formatted as ``ruff format`` leaves it."""
    newest = max(profile["release_date"] for profile in profiles.values())
    rows = (entry(model, pack(profiles[model])) for model in sorted(profiles))
    return HEADER.format(newest=newest) + "".join(rows) + "}\n"


def render_prices(profiles: Mapping[str, Mapping[str, Any]]) -> str:
    """Write the text of the module of prices, formatted as ``ruff format`` leaves it."""
    costs = {model: profiles[model]["cost"] for model in sorted(profiles) if "cost" in profiles[model]}
    rows = "".join(f"    {literal(model)}: {price_lists(cost)!r},\n" for model, cost in costs.items())
    return PRICES_HEADER.format(rows=rows)


def price_lists(cost: Mapping[str, Any]) -> dict[int, tuple[float | None, ...]]:
    """Make the price lists of a model, by the number of input tokens from which on each holds."""
    tiers = [(tier["tier"]["size"], tier) for tier in cost.get("tiers", ()) if tier["tier"]["type"] == "context"]
    return {size: tuple(prices.get(name) for name in PRICED) for size, prices in [(0, cost), *tiers]}


def pack(profile: Mapping[str, Any]) -> Row:
    """Make the row of a profile; the inverse of the package's reading of it."""
    letters = "".join(letter for letter, field in (FLAGS | AUGMENTATIONS).items() if profile.get(field))
    if unknown := "".join(letter for letter, field in FLAGS.items() if profile.get(field) is None):
        letters += f"?{unknown}"
    if refuted := "".join(letter for letter, field in AUGMENTATIONS.items() if profile.get(field) is False):
        letters += f"!{refuted}"
    efforts = " ".join(profile.get("reasoning_effort_levels", ()))
    if default := profile.get("reasoning_effort_default"):
        efforts += f"={default}"
    limits = (profile.get("max_input_tokens", 0), profile.get("max_output_tokens", 0))
    more = (profile.get("family", ""), efforts, profile.get("status", ""))
    return (profile["name"], profile["release_date"], *limits, letters, *more)


def entry(model: str, row: Row) -> str:
    """Write one entry of the dict, on one line where it fits."""
    key, values = literal(model), [literal(value) for value in row]
    line = f"    {key}: ({', '.join(values)}),"
    if len(line) <= LINE_LENGTH:
        return line + "\n"
    return f"    {key}: (\n" + "".join(f"        {value},\n" for value in values) + "    ),\n"


def literal(value: str | int) -> str:
    """Write a value in Python; a double quote inside a text becomes a single one, which needs no escape."""
    return json.dumps(value.replace('"', "'") if isinstance(value, str) else value)


if __name__ == "__main__":
    sys.exit(main())
