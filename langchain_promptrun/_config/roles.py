"""Roles of fields, declared by each as its `json_schema_extra`; marks in `Annotated` would slow the import down."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, get_args

from pydantic import AliasChoices

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo


class Setting:
    """Marks a field that stays off the wire, and that a call may set.

    Attributes:
        secret: Errors, traces, cache keys and bindings hide its value.
        traced: Its value may reach traces.
        in_cache_key: Its value changes the answer.
        pool: It decides which connections a call uses.
        shared: It may hold functions, locks or connections, which copies share.
    """

    def __init__(
        self,
        *,
        secret: bool = False,
        traced: bool = True,
        in_cache_key: bool = False,
        pool: bool = False,
        shared: bool = False,
    ) -> None:
        self.secret = secret
        self.traced = traced
        self.in_cache_key = in_cache_key
        self.pool = pool
        self.shared = shared

    def __call__(self, schema: dict[str, Any]) -> None:
        """Leave the field's JSON schema as it is."""


def _parameter(schema: dict[str, Any]) -> None:
    """Mark a field that goes on the wire under its own name."""


PARAMETER = _parameter
SETTING = Setting()

_FOREIGN_SHARED = frozenset({"rate_limiter", "cache", "callbacks", "custom_get_token_ids"})
"""LangChain's fields that may hold functions and locks."""


class Roles:
    """The fields of a class by their roles."""

    def __init__(self, cls: type[BaseModel]) -> None:
        fields = cls.model_fields
        bases = [base for base in cls.__mro__ if base.__module__.startswith("langchain_core")]
        self.foreign = frozenset[str]().union(*(getattr(base, "model_fields", ()) for base in bases))
        self.aliases = {alias: name for name, field in fields.items() for alias in _aliases(field) if alias != name}
        self.known = frozenset(fields) | frozenset(self.aliases)
        self.parameters = tuple(name for name, field in fields.items() if field.json_schema_extra is PARAMETER)
        roles = ((name, field.json_schema_extra) for name, field in fields.items())
        settings = {name: role for name, role in roles if isinstance(role, Setting)}
        self.settings = frozenset(settings)
        self.secret = _that(settings, "secret")
        self.untraced = self.secret | (self.settings - _that(settings, "traced"))
        self.in_cache_key = _that(settings, "in_cache_key")
        self.pool = _that(settings, "pool")
        self.shared = _that(settings, "shared") | (_FOREIGN_SHARED & fields.keys())
        self.none_is_default = frozenset(filter(lambda name: _none_is_default(fields[name]), fields)) - self.foreign


roles_of = cache(Roles)


def _that(settings: dict[str, Setting], attribute: str) -> frozenset[str]:
    return frozenset(name for name, role in settings.items() if getattr(role, attribute))


def _aliases(field: FieldInfo) -> list[str]:
    choices = field.validation_alias
    return [alias for alias in choices.choices if isinstance(alias, str)] if isinstance(choices, AliasChoices) else []


def _none_is_default(field: FieldInfo) -> bool:
    """Whether None stands for the default: the default is made, or the annotation excludes None."""
    return not field.is_required() and (
        field.default_factory is not None or type(None) not in get_args(field.annotation)
    )
