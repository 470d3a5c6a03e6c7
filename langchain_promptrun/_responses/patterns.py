"""Models of langchain-core, restored from patterns instead of validated one by one. Pure.

Most of what a message costs is pydantic's validation of fields that this package has just made. So one model of each
kind is validated, as a pattern, and all others are restored from its state, as unpickling does it (`__getstate__`,
`__setstate__`). A restored model equals the one that its constructor makes of the same fields.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from pydantic import BaseModel

T = TypeVar("T", bound=BaseModel)

_new = object.__new__


class Pattern(Generic[T]):
    """What all models of a kind have in common.

    Args:
        model: One of them, whose fields with defaults of their own have them.
        names: The fields that are set on each; as far as pydantic tells set fields from others.
    """

    __slots__ = ("_containers", "_extra", "_fields", "_fields_set", "_private", "_type")

    def __init__(self, model: T, *names: str) -> None:
        state = model.__getstate__()
        self._type = type(model)
        self._fields: dict[str, Any] = state["__dict__"]
        self._containers = [(name, type(value)) for name, value in self._fields.items() if type(value) in {dict, list}]
        self._extra: dict[str, Any] | None = state["__pydantic_extra__"]
        self._private: dict[str, Any] | None = state["__pydantic_private__"]
        self._fields_set: set[str] = state["__pydantic_fields_set__"] | set(names)

    def restore(self, **fields: Any) -> T:
        """Make a model with these fields; it shares nothing that can be changed with any other."""
        values = self._fields.copy()
        for name, container in self._containers:
            values[name] = container()
        values.update(fields)
        model = _new(self._type)
        model.__setstate__(
            {
                "__dict__": values,
                "__pydantic_extra__": None if self._extra is None else self._extra.copy(),
                "__pydantic_private__": None if self._private is None else self._private.copy(),
                "__pydantic_fields_set__": self._fields_set.copy(),
            }
        )
        return model
