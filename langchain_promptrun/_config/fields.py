"""Fields of `ChatPromptrun`, and those of its connection, which prompts share. Each declares its role."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, cast

import httpx
from pydantic import AliasChoices, ConfigDict, Field, PrivateAttr, SerializeAsAny, ValidationError, model_validator
from typing_extensions import override

from langchain_promptrun._config import defaults, roles, validators
from langchain_promptrun._config.call_options import check_model_kwargs
from langchain_promptrun._config.copying import CopiedFields
from langchain_promptrun._config.defaults import chosen
from langchain_promptrun._http.clients import TransportSettings
from langchain_promptrun._http.transport import Transport
from langchain_promptrun._messages.cache_control import PromptCaching
from langchain_promptrun._profiles import profile_for, warn_if_retired
from langchain_promptrun._tracing import PromptedModel
from langchain_promptrun._version import __version__

if TYPE_CHECKING:
    from langchain_core.language_models.model_profile import ModelProfile
    from pydantic.functional_validators import ModelWrapValidatorHandler

M = TypeVar("M", bound="ConnectionFields")

_CLIENT = roles.UNTRACED | roles.OF_THE_POOL | roles.SHARED


class ConnectionFields(CopiedFields):
    """Fields of everything that talks to Promptrun, all by keyword."""

    # what pydantic builds takes time at import, and only classes with instances need it
    model_config = ConfigDict(
        arbitrary_types_allowed=True, defer_build=True, extra="forbid", populate_by_name=True, protected_namespaces=()
    )

    api_key: validators.Key = Field(
        default_factory=defaults.environment_key, validate_default=True, json_schema_extra=roles.SECRET | roles.SHARED
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
        """Return the hold on the shared connections, taken at the first call."""
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


def new_transport(fields: ConnectionFields) -> Transport:
    """Take hold of the connections that settings call for."""
    settings = TransportSettings(**{name: getattr(fields, name) for name in TransportSettings._fields})
    return Transport(settings, fields.http_client, fields.http_async_client)


def checked_fields(cls: type[M], values: Any, handler: ModelWrapValidatorHandler[M]) -> M:
    """Drop defaults among the values, refuse unknown names, and keep secrets out of errors.

    For the last validator of a class, which is the outermost: the errors of all others pass through it.
    """
    own = roles.roles_of(cls)
    if isinstance(values, dict):
        if unknown := [name for name in values if name not in own.known]:
            raise validators.unknown_keyword(cls.__name__, unknown[0], own.known, cls.keyword_advice)
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


class ModelFields(ConnectionFields, PromptedModel):
    """Fields of `ChatPromptrun`, all by keyword."""

    model_config = ConfigDict(
        arbitrary_types_allowed=True, extra="forbid", populate_by_name=True, protected_namespaces=()
    )

    # Type checkers know one name a field: to them an alias is a field of its own.
    if TYPE_CHECKING:
        model: str = ""
        model_name: str = ""
        stop: str | list[str] | None = None
        stop_sequences: str | list[str] | None = None
    else:
        model: str = Field(
            min_length=1, validation_alias=AliasChoices("model", "model_name"), json_schema_extra=roles.PARAMETER
        )
        """Id of the model, `vendor/name`, such as `anthropic/claude-haiku-4.5`. Alias: `model_name`."""

        stop: str | list[str] | None = Field(
            default=None, validation_alias=AliasChoices("stop", "stop_sequences"), json_schema_extra=roles.PARAMETER
        )
        """Texts at which the model stops. Alias: `stop_sequences`."""

        @property
        def model_name(self) -> str:
            """The model's id."""
            return self.model

        @property
        def stop_sequences(self) -> str | list[str] | None:
            """Texts at which the model stops."""
            return self.stop

    temperature: float | None = Field(default=None, ge=0, le=2, json_schema_extra=roles.PARAMETER)
    """Randomness, 0 to 2. None: the model's default."""

    top_p: float | None = Field(default=None, ge=0, le=1, json_schema_extra=roles.PARAMETER)
    """Share of the probability mass to sample from, 0 to 1."""

    max_tokens: int | None = Field(default=None, ge=1, json_schema_extra=roles.PARAMETER)
    """Most tokens of the answer. Goes out under this name; exclusive with `max_completion_tokens`."""

    max_completion_tokens: int | None = Field(default=None, ge=1, json_schema_extra=roles.PARAMETER)
    """Most tokens of answer and reasoning together. Goes out under this name; exclusive with `max_tokens`."""

    seed: int | None = Field(default=None, json_schema_extra=roles.PARAMETER)
    """Asks for the same answer to the same request, as far as the model can."""

    n: int | None = Field(default=None, ge=1, le=128, json_schema_extra=roles.PARAMETER)
    """Number of answers, 1 to 128. More than one cannot be streamed."""

    frequency_penalty: float | None = Field(default=None, ge=-2, le=2, json_schema_extra=roles.PARAMETER)
    """Penalty on tokens by how often they came, -2 to 2."""

    presence_penalty: float | None = Field(default=None, ge=-2, le=2, json_schema_extra=roles.PARAMETER)
    """Penalty on tokens that came at all, -2 to 2."""

    logit_bias: validators.LogitBias | None = Field(default=None, json_schema_extra=roles.PARAMETER)
    """Bias by token id, -100 to 100."""

    logprobs: bool | None = Field(default=None, json_schema_extra=roles.PARAMETER)
    """Whether the answer comes with log probabilities (`response_metadata["logprobs"]`)."""

    top_logprobs: int | None = Field(default=None, ge=0, le=20, json_schema_extra=roles.PARAMETER)
    """Number of alternatives with log probabilities a token, 0 to 20."""

    reasoning_effort: str | None = Field(default=None, json_schema_extra=roles.PARAMETER)
    """How much a reasoning model thinks: `low`, `medium`, `high` or what the model knows."""

    reasoning: dict[str, Any] | None = Field(default=None, json_schema_extra=roles.PARAMETER)
    """Reasoning options of gateways that know the parameter `reasoning`; goes out as it is."""

    parallel_tool_calls: bool | None = Field(default=None, json_schema_extra=roles.PARAMETER)
    """Whether the model may call several tools at once. Goes out only together with tools."""

    user: str | None = Field(default=None, json_schema_extra=roles.PARAMETER)
    """Id of your end user."""

    model_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Further parameters of the request that are not fields."""

    extra_body: dict[str, Any] = Field(default_factory=dict)
    """Parameters merged over all others in the request; for what a gateway adds to the format."""

    stream_chunk_timeout: SerializeAsAny[float | None] = Field(  # in a union pydantic dumps no subclass of float
        default=defaults.DefaultSeconds(120.0), gt=0, allow_inf_nan=False, json_schema_extra=roles.SETTING
    )
    """Seconds that a stream may go on without content; keep-alives do not count. None: no limit. Default 120.

    Before the first content the read time-out counts, unless this field was set.
    """

    streaming: bool | None = Field(default=None, json_schema_extra=roles.SETTING)
    """Whether `invoke` streams under the hood. None: when a callback wants tokens."""

    stream_usage: bool = Field(default=True, json_schema_extra=roles.SETTING)
    """Whether a stream asks for token usage (`stream_options`)."""

    include_response_headers: bool = Field(default=False, json_schema_extra=roles.OF_THE_ANSWER)
    """Whether `response_metadata["headers"]` holds the answer's headers, without cookies and credentials."""

    prompt_cache_id: validators.PromptId | None = Field(default=None, json_schema_extra=roles.SETTING)
    """Id under which Promptrun stores the conversation's prompt (header `HTTP-Prompt-Id`).

    A call with `use_cached_prompt=True` and no messages uses the stored one.
    """

    deadline: float | None = Field(default=None, gt=0, allow_inf_nan=False, json_schema_extra=roles.SETTING)
    """Seconds for a whole call: connecting, all attempts and their waits, the whole stream. None: no limit.

    A retry that cannot end in time is not begun. What had come is in `error.partial`.
    """

    prompt_caching: Literal["auto"] | PromptCaching | None = Field(default=None, json_schema_extra=roles.SETTING)
    """Which parts of a prompt are marked for the vendor's cache, where its models need marks.

    `auto` marks the end of the system prompt, the last tool and the ends of the last two requests. A dict chooses:
    `{"ttl": "5m" or "1h", "system": bool, "tools": bool, "messages": 0 to 4}`. At most four parts are marked. Models
    that cache by themselves are sent nothing. None: nothing is marked.
    """

    structured_output_method: validators.Method = Field(default="function_calling", json_schema_extra=roles.SETTING)
    """Default method of `with_structured_output`."""

    send_reasoning: bool | Literal["always"] = Field(default=True, json_schema_extra=roles.OF_THE_ANSWER)
    """Whether the reasoning of earlier answers is sent back as it came; some models demand it in a tool loop.

    True: to the model that wrote it, or one of its vendor and family. "always": to whichever model is asked.
    """

    think_tags: bool = Field(default=False, json_schema_extra=roles.OF_THE_ANSWER)
    """Whether text between `<think>` and `</think>` is read as reasoning."""

    send_names: bool = Field(default=True, json_schema_extra=roles.OF_THE_ANSWER)
    """Whether the names of messages are sent, where they are legal names."""

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        self._check_key()
        if self.max_tokens is not None and self.max_completion_tokens is not None:
            raise ValueError("`max_tokens` and `max_completion_tokens` are both set; set the one your model accepts.")
        check_model_kwargs(type(self), self.model_kwargs)
        self._add_version("langchain-promptrun", __version__)
        return self

    # the last validator is the outermost: the errors of all others pass through it
    @model_validator(mode="wrap")
    @classmethod
    def _take_chosen(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        return checked_fields(cls, values, handler)

    @override
    def __setattr__(self, name: str, value: Any) -> None:
        """Set a field, checked; a looked-up profile is looked up again for another model."""
        super().__setattr__(name, value)
        if name in {"model", "model_name"} and not chosen(self.profile):
            self.profile = looked_up(self.model)

    @override
    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        copied = super().model_copy(update=update, deep=deep)
        names = (update or {}).keys()
        if names & {"model", "model_name"} and "profile" not in names and not chosen(copied.profile):
            copied.profile = looked_up(copied.model)
        return copied

    @override
    def _resolve_model_profile(self) -> ModelProfile | None:
        return looked_up(self.model)


def looked_up(model: str) -> ModelProfile | None:
    """Look up a model's profile, marked as a default, and warn once of a retired model."""
    profile = profile_for(model)
    if profile is None:
        return None
    warn_if_retired(model)
    return cast("ModelProfile", defaults.DefaultProfile(profile))
