"""What was found, as a table to read and as JSON to keep."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from measures import Bound, Cost, Row

_COLUMNS = ("core", "wire", "promptrun", "mistralai", "openai", "openrouter")
_PACKAGES = (
    "langchain-core",
    "langchain-promptrun",
    "httpx",
    "aiohttp",
    "httpx-aiohttp",
    "orjson",
    "langchain-mistralai",
    "langchain-openai",
    "langchain-openrouter",
)
_NOT_MEASURED = "not measured"


def as_text(rows: list[Row]) -> str:
    """The table, and how many bounds are met."""
    lines = [("work", "unit", *_COLUMNS, "bounds of promptrun")]
    lines += [(row.work, row.unit, *map(_shown, map(row.costs.get, _COLUMNS)), _verdicts(row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = "\n".join(_line(line, widths) for line in lines)
    judged = [verdict for row in rows for verdict in _judged(row)]
    met = sum(verdict["met"] is True for verdict in judged)
    return f"{text}\n\n{met} of {len(judged)} bounds are met.\n"


def as_json(rows: list[Row]) -> dict[str, Any]:
    """Everything, with the versions it was measured with."""
    found = [
        {"section": row.section, "work": row.work, "unit": row.unit, "costs": row.costs, "bounds": list(_judged(row))}
        for row in rows
    ]
    return {"python": platform.python_version(), "platform": sys.platform, "packages": dict(_versions()), "rows": found}


def _judged(row: Row) -> Iterator[dict[str, Any]]:
    cost = row.costs["promptrun"]
    for bound in row.bounds:
        reference = row.reference(bound)
        if reference is None or isinstance(cost, str):
            yield {"of": bound.of, "at_most": bound.at_most, "is": None, "met": None}
        else:
            found = cost / reference
            yield {"of": bound.of, "at_most": bound.at_most, "is": round(found, 3), "met": found <= bound.at_most}


def _verdicts(row: Row) -> str:
    return "; ".join(_verdict(bound, found) for bound, found in zip(row.bounds, _judged(row), strict=True))


def _verdict(bound: Bound, found: dict[str, Any]) -> str:
    if found["met"] is None:
        return f"{bound.of}: {_NOT_MEASURED}"
    unit = f" x {bound.of}" if bound.of else ""
    return f"{found['is']:.3g}{unit}, at most {bound.at_most:g}: {'met' if found['met'] else 'NOT MET'}"


def _shown(cost: Cost | None) -> str:
    if cost is None:
        return ""
    if isinstance(cost, str):
        return cost
    return f"{cost:,.2f}" if abs(cost) < 10 else f"{cost:,.1f}" if abs(cost) < 1000 else f"{cost:,.0f}"


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    work, unit, *numbers, bounds = cells
    padded = [work.ljust(widths[0]), unit.ljust(widths[1])]
    padded += [number.rjust(width) for number, width in zip(numbers, widths[2:-1], strict=True)]
    return "  ".join([*padded, bounds]).rstrip()


def _versions() -> Iterator[tuple[str, str]]:
    for package in _PACKAGES:
        try:
            yield package, version(package)
        except PackageNotFoundError:
            continue
