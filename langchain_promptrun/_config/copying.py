"""Copies, pickles and LangChain's JSON of models and prompts, and their hold on connections."""

from __future__ import annotations

import copy
import pickle
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, ClassVar, Self

from langchain_core.load.serializable import Serializable, SerializedConstructor, SerializedNotImplemented
from typing_extensions import override

from langchain_promptrun._config.defaults import chosen, environment_key
from langchain_promptrun._config.hints import MORE_PARAMETERS
from langchain_promptrun._config.roles import roles_of
from langchain_promptrun._config.validators import unknown_keyword

_HOLDS = frozenset({"_transport", "_hold"})
"""Private attributes that hold connections, and what was fetched over them."""


class CopiedFields(Serializable):
    """Fields whose copies drop derived values and connections."""

    keyword_advice: ClassVar[str] = MORE_PARAMETERS
    """What an error about an unknown keyword advises."""

    @override
    def __setattr__(self, name: str, value: Any) -> None:
        """Set a field, checked as at construction; derived values and the hold on connections are dropped."""
        roles = roles_of(type(self))
        name = roles.aliases.get(name, name)
        if name not in type(self).model_fields or name in roles.foreign:
            super().__setattr__(name, value)
            return
        if value is None and name in roles.none_is_default:
            self.__dict__[name] = type(self).model_fields[name].get_default(call_default_factory=True)
        _assign(self, {name: value})
        _forget_derived(self)
        ended = _HOLDS if name in roles.pool else _HOLDS - {"_transport"}
        self.__pydantic_private__ = _private(self.__pydantic_private__, ended)

    def __copy__(self) -> Self:
        copied = super().__copy__()
        _forget_derived(copied)
        copied.__pydantic_private__ = _private(copied.__pydantic_private__)
        return copied

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """Copy the fields deeply; clients, functions and rate limiters are shared."""
        memo = {} if memo is None else memo
        memo |= {id(value): value for value in self._shared().values()}
        return super(CopiedFields, copy.copy(self)).__deepcopy__(memo)

    @override
    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Copy the fields.

        Args:
            update: Fields to change, checked as at construction. A model's profile that was looked up is looked up
                again for another `model`.
            deep: Whether the values are copied, too.

        Raises:
            ValidationError: An unknown name, or a value that a field does not take.
        """
        copied = super().model_copy(deep=deep)
        aliases = roles_of(type(self)).aliases
        _assign(copied, {aliases.get(name, name): value for name, value in (update or {}).items()})
        return copied

    def _shared(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in roles_of(type(self)).shared}

    @override
    def to_json(self) -> SerializedConstructor | SerializedNotImplemented:
        """Serialise the chosen fields for LangChain's `dumps`."""
        serialised = super().to_json()
        if serialised["type"] == "constructor":
            kwargs, secrets = serialised["kwargs"], self.lc_secrets
            defaulted = [name for name in kwargs if name not in secrets and not chosen(getattr(self, name, None))]
            serialised["kwargs"] = {name: value for name, value in kwargs.items() if name not in defaulted}
        return serialised

    def __getstate__(self) -> dict[Any, Any]:
        """Keep the fields; a key from the environment stays there, an explicit one is part of the pickle."""
        for name, value in self._shared().items():
            check_picklable(type(self).__name__, name, value)
        state = super().__getstate__()
        fields = {name: value for name, value in state["__dict__"].items() if name in type(self).model_fields}
        if not chosen(fields["api_key"]):
            fields["api_key"] = None
        return {**state, "__dict__": fields, "__pydantic_private__": _private(state["__pydantic_private__"])}

    def __setstate__(self, state: dict[Any, Any]) -> None:
        """Read a key that came from the environment again, and give fields of later versions their defaults."""
        super().__setstate__(state)
        for name, field in type(self).model_fields.items():
            if name not in self.__dict__ and not field.is_required():
                self.__dict__[name] = field.get_default(call_default_factory=True)
        if self.__dict__["api_key"] is None:
            self.__dict__["api_key"] = environment_key()


def check_picklable(owner: str, name: str, value: object) -> None:
    """Raise a TypeError that names a field whose value no loaded pickler can write."""
    picklers = [sys.modules[module] for module in ("pickle", "cloudpickle", "dill") if module in sys.modules]
    for pickler in picklers:
        with suppress(TypeError, AttributeError, ValueError, RuntimeError, pickle.PicklingError):
            pickler.dumps(value)
            return
    raise TypeError(f"A {owner} whose `{name}` cannot be pickled cannot be pickled: {type(value).__name__}.")


def _forget_derived(fields: CopiedFields) -> None:
    for name in fields.__dict__.keys() - type(fields).model_fields.keys():
        del fields.__dict__[name]


def _private(attributes: dict[str, Any] | None, ended: frozenset[str] = _HOLDS) -> dict[str, Any]:
    kept = {name: value for name, value in (attributes or {}).items() if name not in ended}
    return {"_transport": None, **kept}


def _assign(fields: CopiedFields, values: Mapping[str, Any]) -> None:
    """Set fields, checked as at construction; removals first, so that one limit can replace the other."""
    kind = type(fields)
    roles = roles_of(kind)
    for name, value in sorted(values.items(), key=lambda item: item[1] is not None):
        if name not in roles.known:
            raise unknown_keyword(kind.__name__, name, roles.known, kind.keyword_advice)
        if value is not None or name not in roles.none_is_default:
            fields.__pydantic_validator__.validate_assignment(fields, name, value)
