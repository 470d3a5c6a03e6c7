"""What a copy, a pickle and a serialised form of a model or a prompt keep.

Fields go along; what was derived from them, and the hold on connections, do not. A key of the environment stays there.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping
from functools import cache
from traceback import walk_stack
from typing import TYPE_CHECKING, Any, Self, cast

from langchain_core.load.serializable import SerializedConstructor, SerializedNotImplemented
from typing_extensions import override

from langchain_promptrun._config.call_options import ALIASES, CONNECTION_SETTINGS
from langchain_promptrun._config.connection_fields import ConnectionFields, known_names
from langchain_promptrun._config.defaults import chosen, environment_key
from langchain_promptrun._config.validators import unknown_keyword

if TYPE_CHECKING:
    from collections.abc import Callable


_SHARED = (
    *("api_key", "http_client", "http_async_client", "rate_limiter", "cache", "callbacks", "custom_get_token_ids"),
    "on_change",
)
"""Fields that may hold functions, locks and connections: copies share them, and not every pickler can write them."""

_HOLDS = frozenset({"_transport", "_lease"})
"""What is held on to while it is used: connections, and what was fetched over them."""

_WRITERS_OF_FUNCTIONS = frozenset({"cloudpickle", "_dill"})
_CANNOT = (TypeError, AttributeError, ValueError, RuntimeError, pickle.PicklingError)


class CopiedFields(ConnectionFields):
    """The fields, and what becomes of them in copies, pickles and LangChain's JSON."""

    @override
    def __setattr__(self, name: str, value: Any) -> None:
        """Set a field, checked as at construction; what was derived from it, and the hold on connections, end."""
        kind, name = type(self), ALIASES.get(name, name)
        if name not in _own_names(kind):
            super().__setattr__(name, value)
            return
        if value is None and name in self.none_is_default:
            self.__dict__[name] = kind.model_fields[name].get_default(call_default_factory=True)
        _assign(self, {name: value})
        _forget_derived(self)
        ended = _HOLDS if name in CONNECTION_SETTINGS else _HOLDS - {"_transport"}
        self.__pydantic_private__ = _private(self.__pydantic_private__, ended)

    def __copy__(self) -> Self:
        """Copy the fields; what was derived from them, and the hold on connections, start anew."""
        copied = super().__copy__()
        _forget_derived(copied)
        copied.__pydantic_private__ = _private(copied.__pydantic_private__)
        return copied

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """Copy the fields deeply, but share clients, key functions and rate limiters, which cannot be copied."""
        memo = {} if memo is None else memo
        for value in self._shared().values():
            memo[id(value)] = value
        return super(CopiedFields, copy.copy(self)).__deepcopy__(memo)

    @override
    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Copy the fields.

        Args:
            update: Fields to change, checked as at construction. A model's profile that was looked up is looked up
                again for another `model`.
            deep: Whether the values are copied, too.

        Raises:
            ValidationError: A name that is no field, or a value that a field does not take.
        """
        copied = super().model_copy(deep=deep)
        _assign(copied, {ALIASES.get(name, name): value for name, value in (update or {}).items()})
        return copied

    def _shared(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _SHARED if name in type(self).model_fields}

    @override
    def to_json(self) -> SerializedConstructor | SerializedNotImplemented:
        """Serialise the fields for LangChain's `dumps`, without what nobody chose."""
        serialised = super().to_json()
        if serialised["type"] == "constructor":
            secrets = self.lc_secrets
            kept = {
                name: value
                for name, value in serialised["kwargs"].items()
                if name in secrets or chosen(getattr(self, name, value))
            }
            serialised["kwargs"] = kept
        return serialised

    def __getstate__(self) -> dict[Any, Any]:
        """Keep the fields; a key from the environment stays there, an explicit one is part of the pickle."""
        for name, value in self._shared().items():
            check_picklable(type(self).__name__, name, value)
        state = super().__getstate__()
        fields = {name: value for name, value in state["__dict__"].items() if name in type(self).model_fields}
        if not chosen(self.api_key):
            fields["api_key"] = None
        private = _private(state["__pydantic_private__"])
        return {**state, "__dict__": fields, "__pydantic_private__": private}

    def __setstate__(self, state: dict[Any, Any]) -> None:
        """Read a key that came from the environment again."""
        super().__setstate__(state)
        if self.api_key is None:
            self.__dict__["api_key"] = environment_key()


@cache
def _own_names(kind: type[CopiedFields]) -> frozenset[str]:
    """The fields that LangChain's own classes do not have."""
    bases = [base for base in kind.__mro__ if base.__module__.startswith("langchain_core")]
    return frozenset(kind.model_fields).difference(*(getattr(base, "model_fields", ()) for base in bases))


def _forget_derived(fields: CopiedFields) -> None:
    for name in fields.__dict__.keys() - type(fields).model_fields.keys():
        del fields.__dict__[name]


def _private(attributes: dict[str, Any] | None, ended: frozenset[str] = _HOLDS) -> dict[str, Any]:
    kept = {name: value for name, value in (attributes or {}).items() if name not in ended}
    return {"_transport": None, **kept}


def _assign(fields: CopiedFields, values: Mapping[str, Any]) -> None:
    """Set fields, checked as at construction."""
    known = known_names(type(fields))
    # What is taken out goes first: of two limits one may take the other's place.
    for name, value in sorted(values.items(), key=lambda item: item[1] is not None):
        if name not in known:
            raise unknown_keyword(type(fields).__name__, name, known, fields.keyword_advice)
        if value is not None or name not in fields.none_is_default:
            fields.__pydantic_validator__.validate_assignment(fields, name, value)


def check_picklable(owner: str, name: str, value: object) -> None:
    """Say which field keeps its owner from being pickled."""
    try:
        _dumps()(value)
    except _CANNOT as error:
        kind = type(value).__name__
        raise TypeError(f"A {owner} whose `{name}` cannot be pickled cannot be pickled: {kind}.") from error


def _dumps() -> Callable[[object], bytes]:
    """Find out what is pickling: cloudpickle and dill write functions too, and stand in the way from the caller."""
    for frame, _ in walk_stack(None):
        if str(frame.f_globals.get("__name__")).rpartition(".")[2] in _WRITERS_OF_FUNCTIONS:
            return cast("Callable[[object], bytes]", frame.f_globals["dumps"])
    return pickle.dumps
