"""The fields that say how to reach Promptrun: key, address, time-outs, retries, clients. Models and prompts share them.

No call is made from here.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeVar, cast

import httpx
from langchain_core.load.serializable import Serializable
from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    WrapValidator,
)
from typing_extensions import override

from langchain_promptrun._config.call_options import ALIASES, plain_values
from langchain_promptrun._config.defaults import NO_KEY, chosen, environment_key, environment_url
from langchain_promptrun._config.validators import (
    MORE_PARAMETERS,
    FourTimeouts,
    KeySource,
    checked_headers,
    checked_key,
    checked_url,
    four_timeouts,
    unknown_keyword,
    without_secrets,
)
from langchain_promptrun._http.transport import Transport

if TYPE_CHECKING:
    from pydantic.functional_validators import ModelWrapValidatorHandler

M = TypeVar("M", bound="ConnectionFields")

_TIMEOUTS: FourTimeouts = (10.0, 600.0, 600.0, 600.0)


class ConnectionFields(Serializable):
    """Fields of everything that talks to Promptrun, all by keyword."""

    # What pydantic builds takes time at import, and is needed for the classes alone of which there are objects.
    model_config = ConfigDict(
        arbitrary_types_allowed=True,
        defer_build=True,
        extra="forbid",
        populate_by_name=True,
        protected_namespaces=(),
    )

    none_is_default: ClassVar[frozenset[str]] = frozenset(
        {"api_key", "base_url", "max_retries", "max_retry_after", "async_transport", "max_event_bytes"}
    )
    """Fields for which None says nothing of its own: as if it were left out."""
    keyword_advice: ClassVar[str] = MORE_PARAMETERS
    """What to do about a keyword that is no field."""

    api_key: Annotated[SecretStr | str | KeySource | None, BeforeValidator(checked_key)] = Field(
        default_factory=environment_key
    )
    """Key, or a function (sync or async) that returns one and is asked before each attempt.

    Default: the environment variable `PROMPTRUN_API_KEY`.
    """

    base_url: Annotated[str, WrapValidator(checked_url)] = Field(default_factory=environment_url, validate_default=True)
    """Root of the API. Default: `PROMPTRUN_BASE_URL`, else `https://api.promptrun.ai/v1`."""

    default_headers: Annotated[
        dict[str, str] | None, BeforeValidator(plain_values), AfterValidator(checked_headers)
    ] = Field(default=None, exclude=True, repr=False)
    """Headers of each request. They may hold secrets, so they are never printed, traced or serialised."""

    default_query: Annotated[dict[str, str | int | float | bool] | None, BeforeValidator(plain_values)] = Field(
        default=None, exclude=True, repr=False
    )
    """Query parameters of each request; treated like `default_headers`."""

    timeout: Annotated[FourTimeouts | float | httpx.Timeout | None, BeforeValidator(four_timeouts)] = _TIMEOUTS
    """Seconds for all phases, or an `httpx.Timeout`; None for no limit.

    Kept as four numbers: connect, read, write, pool. Default: 10 to connect, 600 for the others, since models think
    before they speak.
    """

    max_retries: int = Field(default=2, ge=0)
    """How often a failed request is sent again."""

    max_retry_after: float = Field(default=60.0, ge=0)
    """Longest wait, in seconds, that a server may ask for; a longer one raises at once."""

    http_client: httpx.Client | None = Field(default=None, exclude=True, repr=False)
    """Your own client for sync calls. It is used as it is and never closed."""

    http_async_client: httpx.AsyncClient | None = Field(default=None, exclude=True, repr=False)
    """Your own client for async calls. It is used as it is and never closed."""

    max_connections: int | None = Field(default=None, ge=1)
    """Most connections at once of the shared pool. None: no limit."""

    async_transport: Literal["auto", "httpx", "aiohttp"] = "auto"
    """What carries async calls; `auto` is aiohttp where the extra `aiohttp` is installed, else httpx."""

    max_event_bytes: int = Field(default=64 * 1024 * 1024, ge=1)
    """Largest event, line or body, in bytes after decompression, that is read of an answer. Default 64 MiB."""

    _transport: Transport | None = PrivateAttr(default=None)

    @override
    def model_post_init(self, context: Any, /) -> None:
        # what pydantic makes for the private attribute would not call LangChain's
        super().model_post_init(context)

    @property
    def timeouts(self) -> FourTimeouts:
        """The time-outs in seconds: connect, read, write, pool."""
        return cast("FourTimeouts", self.timeout)

    def _check_key(self) -> None:
        if self.api_key is None:
            raise ValueError(NO_KEY)


@cache
def known_names(cls: type[ConnectionFields]) -> frozenset[str]:
    """Return the names under which fields can be set."""
    fields = cls.model_fields
    return frozenset(fields) | {alias for alias, name in ALIASES.items() if name in fields}


def checked_fields(cls: type[M], values: Any, handler: ModelWrapValidatorHandler[M]) -> M:
    """Leave out values that nobody chose, refuse unknown names, and keep secrets out of errors.

    For the last validator of a class, which is the outermost: the errors of all others pass through it.
    """
    try:
        return handler(_given(values, cls) if isinstance(values, dict) else values)
    except ValidationError as error:
        problem = error
    raise without_secrets(problem)


def _given(values: dict[str, Any], cls: type[ConnectionFields]) -> dict[str, Any]:
    known = known_names(cls)
    if not values.keys() <= known:
        unknown = next(name for name in values if name not in known)
        raise unknown_keyword(cls.__name__, unknown, known, cls.keyword_advice)
    return {
        name: value
        for name, value in values.items()
        if chosen(value) and (value is not None or name not in cls.none_is_default)
    }
