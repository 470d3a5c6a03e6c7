"""What costs before the first call: to construct a model, to import the package."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any

import answers
import clients
from langchain_core.language_models.chat_models import BaseChatModel
from measures import Bench, Bound, Row, medians

if TYPE_CHECKING:
    from collections.abc import Callable

    from measures import Cost

_MODELS = 500
_SLOW_MODELS = 10
_IMPORTS = 11
_SLOW_IMPORTS = 1
_NOWHERE = "http://localhost"
_CLASSES = {
    "promptrun": "ChatPromptrun",
    "mistralai": "ChatMistralAI",
    "openai": "ChatOpenAI",
    "openrouter": "ChatOpenRouter",
}
_IMPORT = (
    "import time, langchain_core.language_models.chat_models, httpx\n"
    "start = time.process_time()\n"
    "from {} import {}\n"
    "print(time.process_time() - start)"
)


class Bare(BaseChatModel):
    """A model that does nothing but hold the same profile."""

    model: str

    @property
    def _llm_type(self) -> str:
        return "bare"

    def _generate(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError

    def _resolve_model_profile(self) -> Any:
        return _profile


_profile = dict(clients.promptrun(_NOWHERE).profile or {})


def construct(bench: Bench) -> list[Row]:
    """To construct a model, above one that holds the same profile and nothing else."""
    number = bench.scaled(_MODELS)
    makers: dict[str, Callable[[], Any]] = {
        "core": partial(Bare, model=answers.MODEL),
        "promptrun": partial(clients.promptrun, _NOWHERE),
    }
    costs = medians({name: partial(_repeat, make, number) for name, make in makers.items()}, bench.rounds(11), number)
    above = costs["promptrun"] - costs["core"]
    slow = {name: partial(_repeat, partial(make, _NOWHERE), _SLOW_MODELS) for name, make in bench.peers.items()}
    costs |= medians(slow, bench.rounds(7), _SLOW_MODELS)
    return [
        Row("construct", "construct a model", "us", costs),
        Row("construct", "above a bare model", "us", {"promptrun": above}, (Bound("", 15.0),)),
    ]


def imports(bench: Bench) -> list[Row]:
    """To import the package, when langchain-core's chat models and httpx are there."""
    samples: dict[str, list[float]] = {name: [] for name in ("promptrun", *bench.peers)}
    for number in range(bench.rounds(_IMPORTS)):
        for name, times in samples.items():
            if number == 0:
                _import_seconds(name)  # compiles what was not yet
            if name == "promptrun" or number < _SLOW_IMPORTS:
                times.append(_import_seconds(name) * 1000)
    costs: dict[str, Cost] = {name: median(times) for name, times in samples.items()}
    return [Row("import", "import", "ms", costs, (Bound("", 30.0),))]


def _repeat(make: Callable[[], object], times: int) -> int:
    for _ in range(times):
        make()
    return times


def _environment() -> dict[str, str]:
    """An installed package is compiled once."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def _import_seconds(name: str) -> float:
    command = [sys.executable, "-c", _IMPORT.format(f"langchain_{name}", _CLASSES[name])]
    return float(subprocess.run(command, check=True, capture_output=True, text=True, env=_environment()).stdout)
