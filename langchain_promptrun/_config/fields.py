"""The fields of `ChatPromptrun`: what can be set, and which values go together.

No call is made from here, and no wire detail is known but the ranges that OpenAI documents (Chat Completions reference,
"Request body").
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, cast

from pydantic import AfterValidator, AliasChoices, BeforeValidator, ConfigDict, Field, model_validator
from typing_extensions import override

from langchain_promptrun._config.call_options import ALIASES, SETTINGS, WIRE_FIELDS
from langchain_promptrun._config.connected import ConnectedFields
from langchain_promptrun._config.connection_fields import checked_fields
from langchain_promptrun._config.defaults import DefaultProfile, DefaultSeconds, chosen
from langchain_promptrun._config.validators import checked_header_value, text_keys
from langchain_promptrun._profiles import profile_for
from langchain_promptrun._tracing import PromptedModel
from langchain_promptrun._version import __version__

if TYPE_CHECKING:
    from langchain_core.language_models.model_profile import ModelProfile
    from pydantic.functional_validators import ModelWrapValidatorHandler

_FIELDS = frozenset(WIRE_FIELDS) | SETTINGS | frozenset(ALIASES)


class PromptrunFields(ConnectedFields, PromptedModel):
    """Fields of `ChatPromptrun`, all by keyword."""

    model_config = ConfigDict(
        arbitrary_types_allowed=True, extra="forbid", populate_by_name=True, protected_namespaces=()
    )

    none_is_default: ClassVar[frozenset[str]] = ConnectedFields.none_is_default | {
        *("model_kwargs", "extra_body", "stream_usage", "include_response_headers", "structured_output_method"),
        *("send_reasoning", "send_names"),
    }

    model: str = Field(min_length=1, validation_alias=AliasChoices("model", "model_name"))
    """Id of the model, `vendor/name`, such as `anthropic/claude-3.5-haiku`. Alias: `model_name`."""

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

    stream_chunk_timeout: float | None = Field(default=DefaultSeconds(120.0), gt=0, allow_inf_nan=False)
    """Seconds that a stream may go on without content; keep-alives do not count. None: no limit. Default 120.

    Before the first content the read time-out counts, unless this field was set.
    """

    streaming: bool | None = None
    """Whether `invoke` streams under the hood. None: when a callback wants tokens."""

    stream_usage: bool = True
    """Whether a stream asks for token usage (`stream_options`)."""

    include_response_headers: bool = False
    """Whether `response_metadata["headers"]` holds the answer's headers, without cookies and credentials."""

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

    @property
    def model_name(self) -> str:
        """The model's id."""
        return self.model

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        self._check_key()
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
        return checked_fields(cls, values, handler)

    @override
    def __setattr__(self, name: str, value: Any) -> None:
        """Set a field, checked; a profile that nobody chose is looked up again for another model."""
        super().__setattr__(name, value)
        if ALIASES.get(name, name) == "model" and not chosen(self.profile):
            self.profile = looked_up(self.model)

    @override
    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        copied = super().model_copy(update=update, deep=deep)
        named = {ALIASES.get(name, name) for name in update or ()}
        if "model" in named and "profile" not in named and not chosen(copied.profile):
            copied.profile = looked_up(copied.model)
        return copied

    @override
    def _resolve_model_profile(self) -> ModelProfile | None:
        return looked_up(self.model)


def looked_up(model: str) -> ModelProfile | None:
    """Look up a model's profile, and mark it as one that nobody chose."""
    profile = profile_for(model)
    return None if profile is None else cast("ModelProfile", DefaultProfile(profile))
