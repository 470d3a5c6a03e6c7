"""Fields of a connection, which models and prompts share. Each declares its role as its `json_schema_extra`."""

from __future__ import annotations

import copy
import pickle
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache
from threading import RLock
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, cast, get_args

import httpx
from langchain_core.load.serializable import Serializable, SerializedConstructor, SerializedNotImplemented
from pydantic import AliasChoices, ConfigDict, Field, PrivateAttr, ValidationError, model_validator
from typing_extensions import override

from langchain_promptrun._config import defaults, validators
from langchain_promptrun._config.defaults import chosen, environment_key
from langchain_promptrun._http.pools import TransportSettings
from langchain_promptrun._http.transport import Transport

if TYPE_CHECKING:
    from inspect import Signature

    from pydantic import BaseModel
    from pydantic.functional_validators import ModelWrapValidatorHandler

_BUILDING = RLock()

# roles of fields; marks in `Annotated` would slow the import down
PARAMETER: dict[str, Any] = {"parameter": True}
"""Goes on the wire under its own name."""
SETTING: dict[str, Any] = {"setting": True}
"""Stays off the wire, and a call may set it."""
OF_THE_ANSWER = SETTING | {"in_cache_key": True}
"""Changes the answer."""
OF_THE_POOL = SETTING | {"pool": True}
"""Decides which connections a call uses."""
SHARED = SETTING | {"shared": True}
"""May hold functions, locks or connections, which copies share."""
UNTRACED = SETTING | {"untraced": True}
SECRET = UNTRACED | {"secret": True}
"""Errors, traces, cache keys and bindings hide its value."""
_CLIENT = UNTRACED | OF_THE_POOL | SHARED

_FOREIGN_SHARED = ("rate_limiter", "cache", "callbacks", "custom_get_token_ids")
"""LangChain's fields that may hold functions and locks."""

_HOLDS = frozenset({"_transport", "_hold"})
"""Private attributes that hold connections, and what was fetched over them."""


class Roles:
    def __init__(self, cls: type[BaseModel]) -> None:
        marked = defaultdict[str, list[str]](list)
        self.aliases: dict[str, str] = {}
        self.foreign: set[str] = set()
        self.none_is_default = set()
        for base in cls.__mro__:
            if base.__module__.startswith("langchain_core"):
                self.foreign.update(getattr(base, "model_fields", ()))
        for name, field in cls.model_fields.items():
            for mark in field.json_schema_extra if isinstance(field.json_schema_extra, dict) else ():
                marked[mark].append(name)
            if isinstance(field.validation_alias, AliasChoices):
                self.aliases |= {str(alias): name for alias in field.validation_alias.choices if alias != name}
            # None stands for the default where the default is made, and where the annotation excludes None
            is_made = field.default_factory or type(None) not in get_args(field.annotation)
            if is_made and not field.is_required() and name not in self.foreign:
                self.none_is_default.add(name)
        self.known = frozenset(cls.model_fields.keys() | self.aliases.keys())
        self.parameters = marked["parameter"]
        self.settings = frozenset(marked["setting"])
        self.secret = frozenset(marked["secret"])
        self.untraced = frozenset(marked["untraced"])
        self.in_cache_key = frozenset(marked["in_cache_key"])
        self.pool = frozenset(marked["pool"])
        self.shared = {*marked["shared"], *(name for name in _FOREIGN_SHARED if name in cls.model_fields)}


roles_of = cache(Roles)


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

    keyword_advice: ClassVar[str] = validators.MORE_PARAMETERS
    """What an error about an unknown keyword advises."""

    api_key: validators.Key = Field(
        default_factory=environment_key, validate_default=True, json_schema_extra=SECRET | SHARED
    )
    """Key, or a function (sync or async) that returns one and is asked before each attempt.

    Default: the environment variable `PROMPTRUN_API_KEY`. Another server than Promptrun (`base_url`) may need none.
    """

    base_url: validators.BaseUrl = Field(
        default_factory=defaults.environment_url, validate_default=True, json_schema_extra=OF_THE_ANSWER
    )
    """Root of the API. Default: `PROMPTRUN_BASE_URL`, else `https://api.promptrun.ai/v1`."""

    default_headers: validators.Headers = Field(default=None, exclude=True, repr=False, json_schema_extra=SECRET)
    """Headers of each request. They may hold secrets: they are never printed, traced or serialised."""

    default_query: validators.Query = Field(default=None, exclude=True, repr=False, json_schema_extra=SECRET)
    """Query parameters of each request; treated like `default_headers`."""

    timeout: validators.Timeout = Field(default=(10.0, 600.0, 600.0, 600.0), json_schema_extra=UNTRACED)
    """Seconds for all phases, or an `httpx.Timeout`, kept as four numbers: connect, read, write, pool. None: no limit.

    Default: 10 to connect, 600 for the others, since models think before they speak.
    """

    max_retries: int = Field(default=2, ge=0, json_schema_extra=SETTING)
    """How often a failed request is sent again."""

    max_retry_after: float = Field(default=60.0, ge=0, json_schema_extra=SETTING)
    """Longest wait, in seconds, that a server may ask for; a longer one raises at once."""

    http_client: httpx.Client | None = Field(default=None, exclude=True, repr=False, json_schema_extra=_CLIENT)
    """Your own client for sync calls. It is used as it is and never closed."""

    http_async_client: httpx.AsyncClient | None = Field(
        default=None, exclude=True, repr=False, json_schema_extra=_CLIENT
    )
    """Your own client for async calls. It is used as it is and never closed."""

    max_connections: int | None = Field(default=None, ge=1, json_schema_extra=OF_THE_POOL)
    """Most connections at once of the shared pool. None: no limit."""

    async_transport: Literal["auto", "httpx", "aiohttp"] = Field(default="auto", json_schema_extra=OF_THE_POOL)
    """What carries async calls; `auto` is aiohttp where the extra `aiohttp` is installed, else httpx."""

    max_event_bytes: int = Field(default=64 * 1024 * 1024, ge=1, json_schema_extra=SETTING)
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

    def _check_together(self) -> Self:
        if self.api_key is None and defaults.needs_key(self.base_url):
            raise ValueError(defaults.NO_KEY)
        return self

    @model_validator(mode="after")
    def _checked(self) -> Self:
        return self._check_together()

    # the last validator is the outermost: the errors of all others pass through it
    @model_validator(mode="wrap")
    @classmethod
    def _take_chosen(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Drop defaults among the values, refuse unknown names, and keep secrets out of errors."""
        own = roles_of(cls)
        if isinstance(values, dict):
            refuse_unknown(cls, values)
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
        else:
            self.__pydantic_validator__.validate_assignment(self, name, value)
        _forget_derived(self, _HOLDS if name in own.pool else _HOLDS - {"_transport"})

    def __copy__(self) -> Self:
        copied = super().__copy__()
        _forget_derived(copied, _HOLDS)
        return copied

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """Copy the fields deeply; clients, functions and rate limiters are shared."""
        memo = {} if memo is None else memo
        memo |= {id(value): value for value in _shared(self).values()}
        return super(ConnectionFields, copy.copy(self)).__deepcopy__(memo)

    @override
    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Copy the fields; those in `update` are checked as at construction, and raise its ValidationError.

        A model's profile that was looked up is looked up again for another `model`.
        """
        copied = super().model_copy(deep=deep)
        changes = {} if update is None else update
        refuse_unknown(type(self), changes)
        own = roles_of(type(self))
        # removals first, so that one limit can replace the other
        for given, value in sorted(changes.items(), key=lambda item: item[1] is not None):
            name = own.aliases.get(given, given)
            if value is not None or name not in own.none_is_default:
                self.__pydantic_validator__.validate_assignment(copied, name, value)
        return copied

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
        for name, value in _shared(self).items():
            check_picklable(type(self).__name__, name, value)
        state = super(ConnectionFields, copy.copy(self)).__getstate__()
        if not chosen(self.api_key):
            state["__dict__"]["api_key"] = None
        return state

    def __setstate__(self, state: dict[Any, Any]) -> None:
        """Read a key that came from the environment again, and bring fields of other versions up to date."""
        super().__setstate__(state)
        _forget_derived(self, _HOLDS)
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


def check_picklable(owner: str, name: str, value: object) -> None:
    """Raise a TypeError that names a field whose value no loaded pickler can write."""
    picklers = [sys.modules[module] for module in ("pickle", "cloudpickle", "dill") if module in sys.modules]
    for pickler in picklers:
        with suppress(TypeError, AttributeError, ValueError, RuntimeError, pickle.PicklingError):
            pickler.dumps(value)
            return
    raise TypeError(f"A {owner} whose `{name}` cannot be pickled cannot be pickled: {type(value).__name__}.")


def refuse_unknown(kind: type[ConnectionFields], names: Iterable[str], more: frozenset[str] = frozenset()) -> None:
    known = roles_of(kind).known
    for name in names:
        if name not in known:
            raise validators.unknown_keyword(kind.__name__, name, known | more, kind.keyword_advice)


def _shared(fields: ConnectionFields) -> dict[str, Any]:
    return {name: getattr(fields, name) for name in roles_of(type(fields)).shared}


def _forget_derived(fields: ConnectionFields, holds: frozenset[str]) -> None:
    """Drop what was derived from the fields, and the holds on connections."""
    for name in fields.__dict__.keys() - type(fields).model_fields.keys():
        del fields.__dict__[name]
    kept = {name: value for name, value in (fields.__pydantic_private__ or {}).items() if name not in holds}
    fields.__pydantic_private__ = {"_transport": None, **kept}
