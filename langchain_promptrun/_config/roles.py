"""Roles of fields, which each field declares itself: on the wire or a setting, secret, traced, in cache keys."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, get_args

from pydantic import AliasChoices

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pydantic import BaseModel
    from pydantic.fields import FieldInfo


@dataclass(frozen=True, slots=True)
class Parameter:
    """Marks a field that goes on the wire under its own name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Marks a field that stays off the wire, and that a call may set.

    Attributes:
        secret: Errors, traces, cache keys and bindings hide its value.
        traced: Its value may reach traces.
        in_cache_key: Its value changes the answer.
        pool: It decides which connections a call uses.
        shared: It may hold functions, locks or connections, which copies share.
    """

    secret: bool = False
    traced: bool = True
    in_cache_key: bool = False
    pool: bool = False
    shared: bool = False


PARAMETER = Parameter()
SETTING = Setting()

_FOREIGN_SHARED = ("rate_limiter", "cache", "callbacks", "custom_get_token_ids")
"""LangChain's fields that may hold functions and locks."""


@dataclass(frozen=True, slots=True)
class Roles:
    """The fields of a class by their roles.

    Attributes:
        known: All names and aliases under which fields can be set.
        aliases: Field names by alias.
        parameters: Fields on the wire, in order.
        settings: Fields off the wire that a call may set.
        secret: Settings whose values are hidden.
        untraced: Settings that do not reach traces.
        in_cache_key: Settings that are part of cache keys.
        pool: Settings that decide on connections.
        shared: Fields that copies share.
        none_is_default: Fields for which None means the default.
        foreign: LangChain's own fields, which a call cannot set.
    """

    known: frozenset[str]
    aliases: dict[str, str]
    parameters: tuple[str, ...]
    settings: frozenset[str]
    secret: frozenset[str]
    untraced: frozenset[str]
    in_cache_key: tuple[str, ...]
    pool: frozenset[str]
    shared: tuple[str, ...]
    none_is_default: frozenset[str]
    foreign: frozenset[str]


@cache
def roles_of(cls: type[BaseModel]) -> Roles:
    """Sort the fields of a class by the roles that they declare."""
    fields = cls.model_fields
    aliases = {alias: name for name, field in fields.items() for alias in _aliases(field) if alias != name}
    settings = {name: role for name, field in fields.items() for role in field.metadata if isinstance(role, Setting)}
    foreign = _foreign(cls)

    def that(holds: Callable[[Setting], bool]) -> Iterable[str]:
        return (name for name, role in settings.items() if holds(role))

    return Roles(
        known=frozenset(fields) | frozenset(aliases),
        aliases=aliases,
        parameters=tuple(name for name, field in fields.items() if PARAMETER in field.metadata),
        settings=frozenset(settings),
        secret=frozenset(that(lambda role: role.secret)),
        untraced=frozenset(that(lambda role: role.secret or not role.traced)),
        in_cache_key=tuple(sorted(that(lambda role: role.in_cache_key))),
        pool=frozenset(that(lambda role: role.pool)),
        shared=(*that(lambda role: role.shared), *(name for name in _FOREIGN_SHARED if name in fields)),
        none_is_default=frozenset(name for name, field in fields.items() if _none_is_default(name, field, foreign)),
        foreign=foreign,
    )


def _foreign(cls: type[BaseModel]) -> frozenset[str]:
    bases = [base for base in cls.__mro__ if base.__module__.startswith("langchain_core")]
    return frozenset().union(*(getattr(base, "model_fields", ()) for base in bases))


def _aliases(field: FieldInfo) -> Iterable[str]:
    choices = field.validation_alias
    return (alias for alias in choices.choices if isinstance(alias, str)) if isinstance(choices, AliasChoices) else ()


def _none_is_default(name: str, field: FieldInfo, foreign: frozenset[str]) -> bool:
    """Whether None says nothing of its own: there is a default, and it or the annotation excludes None."""
    if name in foreign or field.is_required():
        return False
    return field.default_factory is not None or type(None) not in get_args(field.annotation)
