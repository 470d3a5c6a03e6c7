"""Fields of a connection, which models and prompts share. Each declares its role."""

from __future__ import annotations

import copy
import pickle
import sys
from collections.abc import Mapping
from contextlib import suppress
from threading import RLock
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeVar, cast

import httpx
from langchain_core.load.serializable import Serializable, SerializedConstructor, SerializedNotImplemented
from pydantic import ConfigDict, Field, PrivateAttr, ValidationError
from typing_extensions import override

from langchain_promptrun._config import defaults, roles, validators
from langchain_promptrun._config.defaults import chosen, environment_key
from langchain_promptrun._config.roles import roles_of
from langchain_promptrun._config.validators import MORE_PARAMETERS, unknown_keyword
from langchain_promptrun._http.pools import TransportSettings
from langchain_promptrun._http.transport import Transport

if TYPE_CHECKING:
    from inspect import Signature

    from pydantic import BaseModel
    from pydantic.functional_validators import ModelWrapValidatorHandler

M = TypeVar("M", bound="ConnectionFields")

_BUILDING = RLock()

_HOLDS = frozenset({"_transport", "_hold"})
"""Private attributes that hold connections, and what was fetched over them."""

_CLIENT = roles.UNTRACED | roles.OF_THE_POOL | roles.SHARED


class _Signature:
    """Has a class built where its signature is asked for; until then it would have that of its base."""

    def __get__(self, instance: object, owner: type[BaseModel]) -> Signature:
        _build(owner)
        return owner.__signature__


class ConnectionFields(Serializable):
    """Fields of everything that talks to Promptrun, all by keyword."""

    # what pydantic builds takes time at import, and only classes with instances need it
    model_config = ConfigDict(
        arbitrary_types_allowed=True, defer_build=True, extra="forbid", populate_by_name=True, protected_namespaces=()
    )

    __signature__ = _Signature()

    keyword_advice: ClassVar[str] = MORE_PARAMETERS
    """What an error about an unknown keyword advises."""

    api_key: validators.Key = Field(
        default_factory=environment_key, validate_default=True, json_schema_extra=roles.SECRET | roles.SHARED
    )
    """Key, or a function (sync or async) that returns one and is asked before each attempt.

    Default: the environment variable `PROMPTRUN_API_KEY`. Another server than Promptrun (`base_url`) may need none.
    """

    base_url: validators.BaseUrl = Field(
        default_factory=defaults.environment_url, validate_default=True, json_schema_extra=roles.OF_THE_ANSWER
    )
    """Root of the API. Default: `PROMPTRUN_BASE_URL`, else `https://api.promptrun.ai/v1`."""

    default_headers: validators.Headers = Field(default=None, exclude=True, repr=False, json_schema_extra=roles.SECRET)
    """Headers of each request. They may hold secrets: they are never printed, traced or serialised."""

    default_query: validators.Query = Field(default=None, exclude=True, repr=False, json_schema_extra=roles.SECRET)
    """Query parameters of each request; treated like `default_headers`."""

    timeout: validators.Timeout = Field(default=(10.0, 600.0, 600.0, 600.0), json_schema_extra=roles.UNTRACED)
    """Seconds for all phases, or an `httpx.Timeout`; None for no limit.

    Kept as four numbers: connect, read, write, pool. Default: 10 to connect, 600 for the others, since models think
    before they speak.
    """

    max_retries: int = Field(default=2, ge=0, json_schema_extra=roles.SETTING)
    """How often a failed request is sent again."""

    max_retry_after: float = Field(default=60.0, ge=0, json_schema_extra=roles.SETTING)
    """Longest wait, in seconds, that a server may ask for; a longer one raises at once."""

    http_client: httpx.Client | None = Field(default=None, exclude=True, repr=False, json_schema_extra=_CLIENT)
    """Your own client for sync calls. It is used as it is and never closed."""

    http_async_client: httpx.AsyncClient | None = Field(
        default=None, exclude=True, repr=False, json_schema_extra=_CLIENT
    )
    """Your own client for async calls. It is used as it is and never closed."""

    max_connections: int | None = Field(default=None, ge=1, json_schema_extra=roles.OF_THE_POOL)
    """Most connections at once of the shared pool. None: no limit."""

    async_transport: Literal["auto", "httpx", "aiohttp"] = Field(default="auto", json_schema_extra=roles.OF_THE_POOL)
    """What carries async calls; `auto` is aiohttp where the extra `aiohttp` is installed, else httpx."""

    max_event_bytes: int = Field(default=64 * 1024 * 1024, ge=1, json_schema_extra=roles.SETTING)
    """Largest event, line or body, in bytes after decompression, that is read of an answer. Default 64 MiB."""

    _transport: Transport | None = PrivateAttr(default=None)

    def __new__(cls, *_: Any, **__: Any) -> Self:
        if not cls.__pydantic_complete__:
            _build(cls)
        return super().__new__(cls)

    @override
    def model_post_init(self, context: Any, /) -> None:
        # what pydantic makes for the private attribute would not call LangChain's
        super().model_post_init(context)

    @property
    def timeouts(self) -> validators.FourTimeouts:
        """The time-outs in seconds: connect, read, write, pool."""
        return cast("validators.FourTimeouts", self.timeout)

    def _check_key(self) -> None:
        if self.api_key is None and defaults.needs_key(self.base_url):
            raise ValueError(defaults.NO_KEY)

    def _held(self) -> Transport:
        if (transport := self._transport) is None:
            transport = self._transport = new_transport(self)
        return transport

    def close(self) -> None:
        """Release the shared connections until the next call; clients of the caller's stay open."""
        if self._transport is not None:
            self._transport.close()

    async def aclose(self) -> None:
        """Async version of `close`."""
        if self._transport is not None:
            await self._transport.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    # Copies, pickles and JSON.

    @property
    @override
    def lc_secrets(self) -> dict[str, str]:
        return {"api_key": defaults.API_KEY_VARIABLE}

    @classmethod
    @override
    def is_lc_serializable(cls) -> bool:
        return True

    @override
    def __setattr__(self, name: str, value: Any) -> None:
        """Set a field, checked as at construction; derived values and the hold on connections are dropped."""
        own = roles_of(type(self))
        name = own.aliases.get(name, name)
        if name not in type(self).model_fields or name in own.foreign:
            super().__setattr__(name, value)
            return
        if value is None and name in own.none_is_default:
            self.__dict__[name] = type(self).model_fields[name].get_default(call_default_factory=True)
        _assign(self, {name: value})
        _forget_derived(self)
        ended = _HOLDS if name in own.pool else _HOLDS - {"_transport"}
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
        return super(ConnectionFields, copy.copy(self)).__deepcopy__(memo)

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
            serialised["kwargs"] = {
                name: value for name, value in kwargs.items() if name in secrets or chosen(getattr(self, name, None))
            }
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


def _build(kind: type[BaseModel]) -> None:
    """Build what pydantic deferred; its own way is not safe among threads."""
    with _BUILDING:
        kind.model_rebuild()


def new_transport(fields: ConnectionFields) -> Transport:
    settings = TransportSettings(**{name: getattr(fields, name) for name in TransportSettings._fields})
    return Transport(settings, fields.http_client, fields.http_async_client)


def checked_fields(cls: type[M], values: Any, handler: ModelWrapValidatorHandler[M]) -> M:
    """Drop defaults among the values, refuse unknown names, and keep secrets out of errors.

    For the last validator of a class, which is the outermost: the errors of all others pass through it.
    """
    own = roles_of(cls)
    if isinstance(values, dict):
        if unknown := [name for name in values if name not in own.known]:
            raise unknown_keyword(cls.__name__, unknown[0], own.known, cls.keyword_advice)
        values = {
            name: value
            for name, value in values.items()
            if chosen(value) and (value is not None or name not in own.none_is_default)
        }
    try:
        return handler(values)
    except ValidationError as error:
        problem = error
    raise validators.without_secrets(problem, own.secret)


def check_picklable(owner: str, name: str, value: object) -> None:
    """Raise a TypeError that names a field whose value no loaded pickler can write."""
    picklers = [sys.modules[module] for module in ("pickle", "cloudpickle", "dill") if module in sys.modules]
    for pickler in picklers:
        with suppress(TypeError, AttributeError, ValueError, RuntimeError, pickle.PicklingError):
            pickler.dumps(value)
            return
    raise TypeError(f"A {owner} whose `{name}` cannot be pickled cannot be pickled: {type(value).__name__}.")


def _forget_derived(fields: ConnectionFields) -> None:
    for name in fields.__dict__.keys() - type(fields).model_fields.keys():
        del fields.__dict__[name]


def _private(attributes: dict[str, Any] | None, ended: frozenset[str] = _HOLDS) -> dict[str, Any]:
    kept = {name: value for name, value in (attributes or {}).items() if name not in ended}
    return {"_transport": None, **kept}


def _assign(fields: ConnectionFields, values: Mapping[str, Any]) -> None:
    """Set fields, checked as at construction; removals first, so that one limit can replace the other."""
    kind = type(fields)
    own = roles_of(kind)
    for name, value in sorted(values.items(), key=lambda item: item[1] is not None):
        if name not in own.known:
            raise unknown_keyword(kind.__name__, name, own.known, kind.keyword_advice)
        if value is not None or name not in own.none_is_default:
            fields.__pydantic_validator__.validate_assignment(fields, name, value)
