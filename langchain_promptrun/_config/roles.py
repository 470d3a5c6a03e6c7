"""Roles of fields, declared by each as its `json_schema_extra`; marks in `Annotated` would slow the import down."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, get_args

from pydantic import AliasChoices

if TYPE_CHECKING:
    from pydantic import BaseModel

PARAMETER: dict[str, Any] = {"parameter": True}
"""Goes on the wire under its own name."""
SETTING: dict[str, Any] = {"setting": True}
"""Stays off the wire, and a call may set it."""
SECRET = SETTING | {"secret": True}
"""Errors, traces, cache keys and bindings hide its value."""
OF_THE_ANSWER = SETTING | {"in_cache_key": True}
"""Changes the answer."""
OF_THE_POOL = SETTING | {"pool": True}
"""Decides which connections a call uses."""
SHARED = SETTING | {"shared": True}
"""May hold functions, locks or connections, which copies share."""
UNTRACED = SETTING | {"untraced": True}

_FOREIGN_SHARED = frozenset({"rate_limiter", "cache", "callbacks", "custom_get_token_ids"})
"""LangChain's fields that may hold functions and locks."""


class Roles:
    """The fields of a class by their roles."""

    def __init__(self, cls: type[BaseModel]) -> None:
        fields = cls.model_fields
        marks: dict[str, Any] = {name: field.json_schema_extra or {} for name, field in fields.items()}

        def marked(mark: str) -> frozenset[str]:
            return frozenset(name for name in marks if mark in marks[name])

        bases = [base for base in cls.__mro__ if base.__module__.startswith("langchain_core")]
        self.foreign = frozenset[str]().union(*(getattr(base, "model_fields", ()) for base in bases))
        self.aliases: dict[str, str] = {}
        for name, field in fields.items():
            if isinstance(field.validation_alias, AliasChoices):
                self.aliases |= {str(alias): name for alias in field.validation_alias.choices if alias != name}
        self.known = frozenset(fields.keys() | self.aliases.keys())
        self.parameters = tuple(name for name in fields if "parameter" in marks[name])
        self.settings = marked("setting")
        self.secret = marked("secret")
        self.untraced = self.secret | marked("untraced")
        self.in_cache_key = marked("in_cache_key")
        self.pool = marked("pool")
        self.shared = marked("shared") | (_FOREIGN_SHARED & fields.keys())
        # None stands for the default where the default is made, and where the annotation excludes None
        self.none_is_default = {
            name
            for name, field in fields.items()
            if not field.is_required() and (field.default_factory or type(None) not in get_args(field.annotation))
        } - self.foreign


roles_of = cache(Roles)
