"""Draw benchmarks/results.json: what a chunk and a call cost, by client. Needs the dependency group `bench`.

python benchmarks/plot.py            writes docs/benchmarks.png
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt

_HERE = Path(__file__).parent
_RESULTS = _HERE / "results.json"
_PICTURE = _HERE.parent / "docs" / "benchmarks.png"

_PANELS = {
    "CPU time of a streamed chunk": {
        "stream, text": "stream",
        "astream over aiohttp, text": "astream",
        "stream_events v3, text": "stream_events v3",
    },
    "CPU time of a call": {
        "invoke": "invoke",
        "ainvoke over aiohttp, 10 at once": "ainvoke, 10 at once",
        "ainvoke over aiohttp, 200 at once": "ainvoke, 200 at once",
        "ainvoke over aiohttp, 1,000 at once": "ainvoke, 1,000 at once",
    },
}
_CLIENTS = {
    "promptrun": ("ChatPromptrun", "#1f6feb"),
    "mistralai": ("ChatMistralAI", "#f0883e"),
    "openai": ("ChatOpenAI", "#57606a"),
    "openrouter": ("ChatOpenRouter", "#a371f7"),
}
_LIMIT = ("langchain-core and the wire alone", "#d0d7de")
_GROUP = 0.85
_INCHES = (12, 4.8)
_DOTS_PER_INCH = 130


def main() -> None:
    """Draw the picture."""
    parser = argparse.ArgumentParser(description="Draw what a chunk and a call cost, by client.")
    parser.add_argument("--json", type=Path, default=_RESULTS, help="the figures (default: results.json)")
    parser.add_argument("--output", type=Path, default=_PICTURE, help="the picture (default: docs/benchmarks.png)")
    arguments = parser.parse_args()
    rows = {row["work"]: row["costs"] for row in json.loads(arguments.json.read_text())["rows"]}
    mpl.use("Agg")
    figure, panels = plt.subplots(1, len(_PANELS), figsize=_INCHES, layout="constrained")
    for axes, (title, works) in zip(panels, _PANELS.items(), strict=True):
        _draw(axes, title, {name: rows[work] for work, name in works.items() if work in rows})
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(arguments.output, dpi=_DOTS_PER_INCH)


def _draw(axes: Any, title: str, works: dict[str, dict[str, Any]]) -> None:
    """Draw groups of bars, one for each client that did the work."""
    bars = [("limit", *_LIMIT), *((key, *shown) for key, shown in _CLIENTS.items())]
    width = _GROUP / len(bars)
    for place, (client, label, color) in enumerate(bars):
        heights = [_cost(costs, client) for costs in works.values()]
        left = [group + (place - (len(bars) - 1) / 2) * width for group in range(len(works))]
        drawn = axes.bar(left, heights, width, label=label, color=color)
        axes.bar_label(drawn, [f"{height:,.0f}" if height else "" for height in heights], fontsize=7, padding=2)
    axes.set_title(title)
    axes.set_ylabel("microseconds")
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.set_xticks(range(len(works)), [name.replace(", ", "\n") for name in works], fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)


def _cost(costs: dict[str, Any], client: str) -> float:
    """A client's cost; nothing where it failed or was not measured."""
    if client == "limit":
        return costs["core"] + costs["wire"]
    cost = costs.get(client, 0.0)
    return cost if isinstance(cost, float) else 0.0


if __name__ == "__main__":
    main()
