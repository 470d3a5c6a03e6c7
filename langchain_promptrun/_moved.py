"""Module names of version 0.1.0, which its pickles hold."""

import sys
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any

_MODULES = {
    "_defaults": "_config.defaults",
    "_object_parsers": "_tools.structured_output",
    "_prompt_family": "prompts.refresh",
    "_prompt_following": "prompts.prompt",
    "_prompt_record": "prompts.record",
    "_prompt_text": "prompts.record",
    "_spend.prices": "_spend.costs",
    "_structured": "_tools.structured_output",
}

_RENAMED = {"Family": "PromptCache"}


def register() -> None:
    """Put modules under the old names; each imports the new one when one of its names is asked for."""
    for old, new in _MODULES.items():
        module = ModuleType(f"{__package__}.{old}")
        vars(module)["__getattr__"] = partial(_attribute, f"{__package__}.{new}")
        sys.modules.setdefault(module.__name__, module)


def _attribute(module: str, name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    return getattr(import_module(module), _RENAMED.get(name, name))
