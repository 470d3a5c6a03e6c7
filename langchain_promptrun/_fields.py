"""The fields of `ChatPromptrun`: what can be set, and which values go together.

No call is made from here, and no wire detail is known but the ranges that OpenAI documents (Chat Completions reference,
"Request body").
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, cast

import httpx
from langchain_core.language_models.chat_models import BaseChatModel
from pydantic import (
    AfterValidator,
    AliasChoices,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    WrapValidator,
    model_validator,
)
from typing_extensions import override

from langchain_promptrun._defaults import (
    NO_KEY,
    DefaultProfile,
    DefaultSeconds,
    chosen,
    environment_key,
    environment_url,
)
from langchain_promptrun._field_checks import (
    FourTimeouts,
    KeySource,
    checked_header_value,
    checked_headers,
    checked_key,
    checked_url,
    four_timeouts,
    text_keys,
    unknown_keyword,
    without_secrets,
)
from langchain_promptrun._params import ALIASES, SETTINGS, WIRE_FIELDS, plain_values
from langchain_promptrun._profiles import profile_for
from langchain_promptrun._transport import Transport
from langchain_promptrun._version import __version__

if TYPE_CHECKING:
    from langchain_core.language_models.model_profile import ModelProfile
    from pydantic.functional_validators import ModelWrapValidatorHandler

_TIMEOUTS: FourTimeouts = (10.0, 600.0, 600.0, 600.0)
NONE_IS_DEFAULT = frozenset(
    {"api_key", "base_url", "model_kwargs", "extra_body", "max_retries", "max_retry_after", "stream_usage"}
    | {"include_response_headers", "async_transport", "max_event_bytes", "structured_output_method"}
    | {"send_reasoning", "send_names"}
)
"""Fields for which None says nothing of its own: as if it were left out."""
_FIELDS = frozenset(WIRE_FIELDS) | SETTINGS | frozenset(ALIASES)


class PromptrunFields(BaseChatModel):
    """Fields of `ChatPromptrun`, all by keyword."""

    model_config = ConfigDict(
        arbitrary_types_allowed=True, extra="forbid", populate_by_name=True, protected_namespaces=()
    )

    model: str = Field(min_length=1, validation_alias=AliasChoices("model", "model_name"))
    """Id of the model, `vendor/name`, such as `anthropic/claude-3.5-haiku`. Alias: `model_name`."""

    api_key: Annotated[SecretStr | str | KeySource | None, BeforeValidator(checked_key)] = Field(
        default_factory=environment_key
    )
    """Key, or a function (sync or async) that returns one and is asked before each attempt.

    Default: the environment variable `PROMPTRUN_API_KEY`.
    """

    base_url: Annotated[str, WrapValidator(checked_url)] = Field(default_factory=environment_url, validate_default=True)
    """Root of the API. Default: `PROMPTRUN_BASE_URL`, else `https://api.promptrun.ai/v1`."""

    temperature: float | None = Field(default=None, ge=0, le=2)
    """Randomness, 0 to 2. None: the model's default."""

    top_p: float | None = Field(default=None, ge=0, le=1)
    """Share of the probability mass to sample from, 0 to 1."""

    max_tokens: int | None = Field(default=None, ge=1)
    """Most tokens of the answer. Goes out under this name; exclusive with `max_completion_tokens`."""

    max_completion_tokens: int | None = Field(default=None, ge=1)
    """Most tokens of answer and reasoning together. Goes out under this name; exclusive with `max_tokens`."""

    stop: str | list[str] | None = Field(default=None, validation_alias=AliasChoices("stop", "stop_sequences"))
    """Texts at which the model stops. Alias: `stop_sequences`."""

    seed: int | None = None
    """Asks for the same answer to the same request, as far as the model can."""

    n: int | None = Field(default=None, ge=1, le=128)
    """Number of answers, 1 to 128. More than one cannot be streamed."""

    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    """Penalty on tokens by how often they came, -2 to 2."""

    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    """Penalty on tokens that came at all, -2 to 2."""

    logit_bias: Annotated[dict[str, Annotated[float, Field(ge=-100, le=100)]] | None, BeforeValidator(text_keys)] = None
    """Bias by token id, -100 to 100."""

    logprobs: bool | None = None
    """Whether the answer comes with log probabilities (`response_metadata["logprobs"]`)."""

    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    """Number of alternatives with log probabilities a token, 0 to 20."""

    reasoning_effort: str | None = None
    """How much a reasoning model thinks: `low`, `medium`, `high` or what the model knows."""

    reasoning: dict[str, Any] | None = None
    """Reasoning options of gateways that know the parameter `reasoning`; goes out as it is."""

    parallel_tool_calls: bool | None = None
    """Whether the model may call several tools at once. Goes out only together with tools."""

    user: str | None = None
    """Id of your end user."""

    model_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Further parameters of the request that are not fields."""

    extra_body: dict[str, Any] = Field(default_factory=dict)
    """Parameters merged over all others in the request; for what a gateway adds to the format."""

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

    stream_chunk_timeout: float | None = Field(default=DefaultSeconds(120.0), gt=0, allow_inf_nan=False)
    """Seconds that a stream may go on without content; keep-alives do not count. None: no limit. Default 120.

    Before the first content the read time-out counts, unless this field was set.
    """

    max_retries: int = Field(default=2, ge=0)
    """How often a failed request is sent again."""

    max_retry_after: float = Field(default=60.0, ge=0)
    """Longest wait, in seconds, that a server may ask for; a longer one raises at once."""

    streaming: bool | None = None
    """Whether `invoke` streams under the hood. None: when a callback wants tokens."""

    stream_usage: bool = True
    """Whether a stream asks for token usage (`stream_options`)."""

    include_response_headers: bool = False
    """Whether `response_metadata["headers"]` holds the answer's headers, without cookies and credentials."""

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

    prompt_cache_id: Annotated[str, Field(min_length=1), AfterValidator(checked_header_value)] | None = None
    """Id under which Promptrun stores the conversation's prompt (header `HTTP-Prompt-Id`).

    A call with `use_cached_prompt=True` and no messages uses the stored one.
    """

    structured_output_method: Literal["function_calling", "json_schema", "json_mode"] = "function_calling"
    """Default method of `with_structured_output`."""

    send_reasoning: bool = True
    """Whether the reasoning of earlier answers is sent back as it came; some models demand it in a tool loop."""

    send_names: bool = True
    """Whether the names of messages are sent, where they are legal names."""

    _transport: Transport | None = PrivateAttr(default=None)

    @property
    def model_name(self) -> str:
        """The model's id."""
        return self.model

    @property
    def timeouts(self) -> FourTimeouts:
        """The time-outs in seconds: connect, read, write, pool."""
        return cast("FourTimeouts", self.timeout)

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.api_key is None:
            raise ValueError(NO_KEY)
        if self.max_tokens is not None and self.max_completion_tokens is not None:
            raise ValueError("max_tokens and max_completion_tokens are both set; set the one that your model accepts.")
        for name in self.model_kwargs:
            if name in _FIELDS:
                raise ValueError(f"model_kwargs holds `{name}`, which is a field: set the field.")
        return self

    @model_validator(mode="after")
    def _set_promptrun_version(self) -> Self:
        self._add_version("langchain-promptrun", __version__)
        return self

    # The last validator is the outermost: the errors of all others pass through it.
    @model_validator(mode="wrap")
    @classmethod
    def _take_chosen(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Leave out values that nobody chose, refuse unknown names, and keep secrets out of errors."""
        try:
            return handler(_given(values, cls) if isinstance(values, dict) else values)
        except ValidationError as error:
            problem = error
        raise without_secrets(problem)

    @override
    def _resolve_model_profile(self) -> ModelProfile | None:
        return looked_up(self.model)


def looked_up(model: str) -> ModelProfile | None:
    """Look up a model's profile, and mark it as one that nobody chose."""
    profile = profile_for(model)
    return None if profile is None else cast("ModelProfile", DefaultProfile(profile))


@cache
def known_names(cls: type[PromptrunFields]) -> frozenset[str]:
    """Return the names under which fields can be set."""
    return frozenset(cls.model_fields) | frozenset(ALIASES)


def _given(values: dict[str, Any], cls: type[PromptrunFields]) -> dict[str, Any]:
    known = known_names(cls)
    if not values.keys() <= known:
        unknown = next(name for name in values if name not in known)
        raise unknown_keyword(cls.__name__, unknown, known)
    return {
        name: value
        for name, value in values.items()
        if chosen(value) and (value is not None or name not in NONE_IS_DEFAULT)
    }
