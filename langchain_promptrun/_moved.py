"""Module names of version 0.1.0, which its pickles hold."""

import sys
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


class _MovedModule(ModuleType):
    """Stands under an old name for a module that is imported when one of its names is asked for."""

    def __init__(self, old: str, new: str) -> None:
        super().__init__(f"{__package__}.{old}")
        self._new = f"{__package__}.{new}"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(import_module(self._new), _RENAMED.get(name, name))


def register() -> None:
    for old, new in _MODULES.items():
        module = _MovedModule(old, new)
        sys.modules.setdefault(module.__name__, module)
