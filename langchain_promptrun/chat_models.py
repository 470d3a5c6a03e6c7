"""`ChatPromptrun`: its fields, and LangChain's hooks, each a few statements."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, cast

from langchain_core.language_models.base import LangSmithParams
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.runnables import Runnable
from pydantic import AliasChoices, Field, SerializeAsAny
from typing_extensions import override

from langchain_promptrun import _guards as guards
from langchain_promptrun._config import defaults, validators
from langchain_promptrun._config import request as calls
from langchain_promptrun._config.bindings import ModelRunnable
from langchain_promptrun._config.fields import (
    OF_THE_ANSWER,
    PARAMETER,
    SETTING,
    ConnectionFields,
    new_transport,
    roles_of,
)
from langchain_promptrun._messages.cache_control import PromptCaching, expects_cache_read
from langchain_promptrun._profiles import profile_for, warn_if_retired
from langchain_promptrun._responses import content_blocks, outputs
from langchain_promptrun._responses.choice import PROVIDER
from langchain_promptrun._responses.events import EventParser
from langchain_promptrun._tokens import count_messages, count_text
from langchain_promptrun._tools.tools import own_names, wire_tools
from langchain_promptrun._tracing import PromptedModel
from langchain_promptrun._version import __version__

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
    from langchain_core.language_models.model_profile import ModelProfile
    from langchain_core.outputs import ChatGenerationChunk, ChatResult
    from langchain_protocol.protocol import MessagesData

    from langchain_promptrun._guards import CallTransport
    from langchain_promptrun._http.request import Request
    from langchain_promptrun._responses.parser import ResponseParser

    Run = CallbackManagerForLLMRun | None
    AsyncRun = AsyncCallbackManagerForLLMRun | None

T = TypeVar("T")
Hook = TypeVar("Hook", bound=Callable[..., Any])

_PROMPTS = "langchain_promptrun.prompts.prompt"  # the room above, which imports this module

content_blocks.register()


def _with_signature(hook: Hook) -> Hook:
    """Keep the signature of a hook: langchain-core asks for it at each call, and Python makes it anew each time."""
    cast("Any", hook).__signature__ = inspect.signature(hook)
    return hook


class ChatPromptrun(ModelRunnable, ConnectionFields, PromptedModel, BaseChatModel):
    """Chat model for Promptrun, the gateway to the models of many vendors.

    Setup:
        Install `langchain-promptrun` and set the environment variable `PROMPTRUN_API_KEY`.

    Every field is documented below its name, in `help(ChatPromptrun)`'s order: how to reach the gateway (`api_key`,
    `base_url`, `timeout`, `max_retries`, `http_client`, ...), then what to ask (`model`, `temperature`, `max_tokens`,
    `stop`, `reasoning_effort`, `model_kwargs`, `extra_body`, ...).

    Instantiate, invoke, stream:
        ```python
        from langchain_promptrun import ChatPromptrun

        model = ChatPromptrun(model="anthropic/claude-haiku-4.5", temperature=0)
        messages = [("system", "Answer in one sentence."), ("human", "Tell me a fun fact about space.")]
        print(model.invoke(messages).text)

        full = None
        for chunk in model.stream(messages):
            print(chunk.text, end="", flush=True)
            full = chunk if full is None else full + chunk
        print(full.usage_metadata, full.response_metadata)
        ```

    Async code has `ainvoke`, `astream` and `abatch`.

    Tools and structured output:
        ```python
        from pydantic import BaseModel


        class GetWeather(BaseModel):
            '''Get the weather in a city.'''

            city: str


        print(model.bind_tools([GetWeather]).invoke("Get the weather in Tbilisi and Batumi.").tool_calls)
        print(model.with_structured_output(GetWeather).invoke("The weather in Kutaisi?").city)
        ```

    Parameters of a call win over fields; the order of precedence is: fields, `model_kwargs`, `extra_body`, keywords of
    the call, the call's `extra_body`. A None takes a parameter out.

    Keywords of a call (also for `bind`) are all fields, `stop`, `tools`, `tool_choice`, `response_format`,
    `extra_headers`, `extra_query`, `extra_body` and `use_cached_prompt`. Any other keyword goes on the wire.
    """

    model_config = ConnectionFields.model_config

    # Type checkers know one name a field: to them an alias is a field of its own.
    if TYPE_CHECKING:
        model: str = ""
        model_name: str = ""
        stop: str | list[str] | None = None
        stop_sequences: str | list[str] | None = None
    else:
        model: str = Field(
            min_length=1, validation_alias=AliasChoices("model", "model_name"), json_schema_extra=PARAMETER
        )
        """Id of the model, `vendor/name`, such as `anthropic/claude-haiku-4.5`. Alias: `model_name`."""

        stop: str | list[str] | None = Field(
            default=None, validation_alias=AliasChoices("stop", "stop_sequences"), json_schema_extra=PARAMETER
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

    temperature: float | None = Field(default=None, ge=0, le=2, json_schema_extra=PARAMETER)
    """Randomness, 0 to 2. None: the model's default."""

    top_p: float | None = Field(default=None, ge=0, le=1, json_schema_extra=PARAMETER)
    """Share of the probability mass to sample from, 0 to 1."""

    max_tokens: int | None = Field(default=None, ge=1, json_schema_extra=PARAMETER)
    """Most tokens of the answer. Goes out under this name; exclusive with `max_completion_tokens`."""

    max_completion_tokens: int | None = Field(default=None, ge=1, json_schema_extra=PARAMETER)
    """Most tokens of answer and reasoning together. Goes out under this name; exclusive with `max_tokens`."""

    seed: int | None = Field(default=None, json_schema_extra=PARAMETER)
    """Asks for the same answer to the same request, as far as the model can."""

    n: int | None = Field(default=None, ge=1, le=128, json_schema_extra=PARAMETER)
    """Number of answers, 1 to 128. More than one cannot be streamed."""

    frequency_penalty: float | None = Field(default=None, ge=-2, le=2, json_schema_extra=PARAMETER)
    """Penalty on tokens by how often they came, -2 to 2."""

    presence_penalty: float | None = Field(default=None, ge=-2, le=2, json_schema_extra=PARAMETER)
    """Penalty on tokens that came at all, -2 to 2."""

    logit_bias: validators.LogitBias | None = Field(default=None, json_schema_extra=PARAMETER)
    """Bias by token id, -100 to 100."""

    logprobs: bool | None = Field(default=None, json_schema_extra=PARAMETER)
    """Whether the answer comes with log probabilities (`response_metadata["logprobs"]`)."""

    top_logprobs: int | None = Field(default=None, ge=0, le=20, json_schema_extra=PARAMETER)
    """Number of alternatives with log probabilities a token, 0 to 20."""

    reasoning_effort: str | None = Field(default=None, json_schema_extra=PARAMETER)
    """How much a reasoning model thinks: `low`, `medium`, `high` or what the model knows."""

    reasoning: dict[str, Any] | None = Field(default=None, json_schema_extra=PARAMETER)
    """Reasoning options of gateways that know the parameter `reasoning`; goes out as it is."""

    parallel_tool_calls: bool | None = Field(default=None, json_schema_extra=PARAMETER)
    """Whether the model may call several tools at once. Goes out only together with tools."""

    user: str | None = Field(default=None, json_schema_extra=PARAMETER)
    """Id of your end user."""

    model_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Further parameters of the request that are not fields."""

    extra_body: dict[str, Any] = Field(default_factory=dict)
    """Parameters merged over all others in the request; for what a gateway adds to the format."""

    stream_chunk_timeout: SerializeAsAny[float | None] = Field(  # in a union pydantic 2.14 warns of subclasses of float
        default=defaults.DefaultSeconds(120.0), gt=0, allow_inf_nan=False, json_schema_extra=SETTING
    )
    """Seconds that a stream may go on without content; keep-alives do not count. None: no limit. Default 120.

    Before the first content the read time-out counts, unless this field was set.
    """

    streaming: bool | None = Field(default=None, json_schema_extra=SETTING)
    """Whether `invoke` streams under the hood. None: when a callback wants tokens."""

    stream_usage: bool = Field(default=True, json_schema_extra=SETTING)
    """Whether a stream asks for token usage (`stream_options`)."""

    include_response_headers: bool = Field(default=False, json_schema_extra=OF_THE_ANSWER)
    """Whether `response_metadata["headers"]` holds the answer's headers, without cookies and credentials."""

    prompt_cache_id: validators.PromptId | None = Field(default=None, json_schema_extra=SETTING)
    """Id under which Promptrun stores the conversation's prompt (header `HTTP-Prompt-Id`).

    A call with `use_cached_prompt=True` and no messages uses the stored one.
    """

    deadline: float | None = Field(default=None, gt=0, allow_inf_nan=False, json_schema_extra=SETTING)
    """Seconds for a whole call: connecting, all attempts and their waits, the whole stream. None: no limit.

    A retry that cannot end in time is not begun. What had come is in `error.partial`.
    """

    prompt_caching: Literal["auto"] | PromptCaching | None = Field(default=None, json_schema_extra=SETTING)
    """Which parts of a prompt are marked for the vendor's cache, where its models need marks.

    `auto` marks the end of the system prompt, the last tool and the ends of the last two requests. A dict chooses:
    `{"ttl": "5m" or "1h", "system": bool, "tools": bool, "messages": 0 to 4}`. At most four parts are marked. Models
    that cache by themselves are sent nothing. None: nothing is marked.
    """

    structured_output_method: validators.Method = Field(default="function_calling", json_schema_extra=SETTING)
    """Default method of `with_structured_output`."""

    send_reasoning: bool | Literal["always"] = Field(default=True, json_schema_extra=OF_THE_ANSWER)
    """Whether the reasoning of earlier answers is sent back as it came; some models demand it in a tool loop.

    True: to the model that wrote it, or one of its vendor and family. "always": to whichever model is asked.
    """

    think_tags: bool = Field(default=False, json_schema_extra=OF_THE_ANSWER)
    """Whether text between `<think>` and `</think>` is read as reasoning."""

    send_names: bool = Field(default=True, json_schema_extra=OF_THE_ANSWER)
    """Whether the names of messages are sent, where they are legal names."""

    @override
    def _check_together(self) -> Self:
        super()._check_together()
        if self.max_tokens is not None and self.max_completion_tokens is not None:
            raise ValueError("`max_tokens` and `max_completion_tokens` are both set; set the one your model accepts.")
        calls.check_model_kwargs(type(self), self.model_kwargs)
        self._add_version("langchain-promptrun", __version__)
        if isinstance(self.profile, defaults.DefaultProfile) and self.profile.model != self.model:
            self.__dict__["profile"] = self._resolve_model_profile()
        return self

    @override
    def _resolve_model_profile(self) -> ModelProfile | None:
        if (found := profile_for(self.model)) is None:
            return None
        warn_if_retired(self.model)
        profile = defaults.DefaultProfile(found)
        profile.model = self.model
        return cast("ModelProfile", profile)

    @property
    @override
    def _llm_type(self) -> str:
        return "promptrun"

    @classmethod
    def from_prompt(cls, prompt: Runnable[Any, Any] | str | None = None, **arguments: Any) -> Self:
        """Make the model that a managed prompt names, with its temperature.

        Args:
            prompt: The `PromptrunPrompt`, or the id of its project (also as `project_id`).
            arguments: Fields of the model, which win; for an id, fields of `PromptrunPrompt`, too, such as `tag`.

        Raises:
            ValueError: The prompt names no model.
            PromptrunError: The prompt cannot be had.
        """
        prompts: Any = import_module(_PROMPTS)
        return cast("Self", prompts.following(cls, prompt, arguments).model())

    @classmethod
    async def afrom_prompt(cls, prompt: Runnable[Any, Any] | str | None = None, **arguments: Any) -> Self:
        """Async version of `from_prompt`."""
        prompts: Any = import_module(_PROMPTS)
        return cast("Self", await prompts.following(cls, prompt, arguments).amodel())

    @override
    @_with_signature
    def _generate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Run = None, **kwargs: Any
    ) -> ChatResult:
        transport, request, reader = self._prepare(outputs.ResultParser, messages, stop, kwargs)
        (result,) = transport.exchange(request, reader)
        return result

    @override
    @_with_signature
    async def _agenerate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: AsyncRun = None, **kwargs: Any
    ) -> ChatResult:
        transport, request, reader = self._prepare(outputs.ResultParser, messages, stop, kwargs)
        (result,) = [result async for result in transport.aexchange(request, reader)]
        return result

    @override
    def _combine_llm_outputs(self, llm_outputs: list[dict[str, Any] | None]) -> dict[str, Any]:
        return outputs.combined_llm_output(self.model, llm_outputs)

    @override
    def _stream(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Run = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        transport, request, reader = self._prepare(outputs.ChunkParser, messages, stop, kwargs, stream=True)
        chunks = transport.exchange(request, reader)
        named = partial(guards.named, guards.message_id(run_manager))
        return chunks if run_manager is None else guards.report(chunks, run_manager, named)

    @override
    def _astream(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: AsyncRun = None, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        transport, request, reader = self._prepare(outputs.ChunkParser, messages, stop, kwargs, stream=True)
        chunks = transport.aexchange(request, reader)
        named = partial(guards.named, guards.message_id(run_manager))
        return chunks if run_manager is None else guards.areport(chunks, run_manager, named)

    def _stream_chat_model_events(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Run = None, **kwargs: Any
    ) -> Iterator[MessagesData]:
        """Stream langchain-core's protocol events; its `stream_events(version="v3")` asks for them."""
        is_told = guards.wants_tokens(run_manager)
        reader_type = partial(EventParser, message_id=guards.message_id(run_manager), tokens=is_told)
        transport, request, reader = self._prepare(reader_type, messages, stop, kwargs, stream=True)
        if run_manager is None or not run_manager.handlers:
            return transport.exchange(request, reader)
        events = guards.LeavingReport(transport, run_manager).exchange(request, reader)
        if not is_told:
            return events
        return guards.report(events, run_manager, partial(outputs.event_chunk, guards.message_id(run_manager)))

    def _astream_chat_model_events(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: AsyncRun = None, **kwargs: Any
    ) -> AsyncIterator[MessagesData]:
        """Stream langchain-core's protocol events; its `astream_events(version="v3")` asks for them."""
        is_told = guards.wants_tokens(run_manager)
        reader_type = partial(EventParser, message_id=guards.message_id(run_manager), tokens=is_told)
        transport, request, reader = self._prepare(reader_type, messages, stop, kwargs, stream=True)
        events = transport.aexchange(request, reader)
        if run_manager is None or not is_told:
            return events
        return guards.areport(events, run_manager, partial(outputs.event_chunk, guards.message_id(run_manager)))

    def _prepare(
        self,
        reader_type: Callable[..., ResponseParser[T]],
        messages: list[BaseMessage],
        stop: list[str] | None,
        kwargs: Mapping[str, Any],
        *,
        stream: bool = False,
    ) -> tuple[CallTransport, Request, Callable[[int, Mapping[str, str]], ResponseParser[T]]]:
        """Turn a call into a transport, what it sends, and the factory of parsers for answers."""
        call = calls.options_of_call(self, stop, kwargs, last=True)
        tools = call.parameters.get("tools")
        fields = self.model_copy(update=call.settings) if call.settings else self
        request = calls.build_request(fields, messages, call, stream=stream)
        reader = partial(
            reader_type,
            model=request.model,
            max_event_bytes=fields.max_event_bytes,
            include_headers=fields.include_response_headers,
            think_tags=fields.think_tags,
            tool_names=own_names(tools) if tools else {},
            n=call.parameters.get("n") or 1,
        )
        own_pool = not roles_of(type(self)).pool.isdisjoint(call.settings)
        transport: CallTransport = new_transport(fields) if own_pool else self._transport or self._held()
        if fields.prompt_caching is not None and expects_cache_read(messages, str(request.model), request.body or b""):
            transport = guards.CacheLossReport(transport)
        for guard in dict.fromkeys(guards.CALL_GUARDS.get()):
            transport = guard(transport, messages)
        return transport, request, reader

    @override
    def _should_stream(self, *, async_api: bool, run_manager: Any = None, **kwargs: Any) -> bool:
        """Answer several choices unstreamed where only a callback asks for tokens."""
        kwargs = _with_stream(kwargs)
        if (kwargs.get("n", self.n) or 1) > 1 and not (kwargs.get("stream") or self.streaming):
            return False
        return super()._should_stream(async_api=async_api, run_manager=run_manager, **kwargs)

    @override
    def _should_use_protocol_streaming(self, *, async_api: bool, run_manager: Any = None, **kwargs: Any) -> bool:
        """Answer several choices unstreamed where only a callback asks for events."""
        if (kwargs.get("n", self.n) or 1) > 1:
            return False
        kwargs = _with_stream(kwargs)
        return super()._should_use_protocol_streaming(async_api=async_api, run_manager=run_manager, **kwargs)

    # LangChain's cache knows messages, and not the ones that the server has stored.

    @override
    def _generate_with_cache(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        return outputs.with_llm_output(
            super(ChatPromptrun, self._cached_for(kwargs))._generate_with_cache(messages, *args, **kwargs)
        )

    @override
    async def _agenerate_with_cache(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        return outputs.with_llm_output(
            await super(ChatPromptrun, self._cached_for(kwargs))._agenerate_with_cache(messages, *args, **kwargs)
        )

    def _cached_for(self, kwargs: Mapping[str, Any]) -> Self:
        """Return the model, or where its cache must not answer, one without that uses the same connections."""
        if not kwargs.get("use_cached_prompt"):
            return self
        self._held()
        uncached = self.model_copy(update={"cache": False})
        uncached.__pydantic_private__ = self.__pydantic_private__
        return uncached

    @override
    def _get_llm_string(self, stop: list[str] | None = None, **kwargs: Any) -> str:
        call = calls.options_of_call(self, stop, kwargs)
        names = roles_of(type(self)).in_cache_key
        settings = {name: call.settings.get(name, getattr(self, name)) for name in names}
        facts = {"class": self.lc_id(), "output_version": self.output_version, "settings": settings}
        return json.dumps(facts | {"parameters": call.parameters}, default=repr, sort_keys=True)

    @property
    @override
    def _identifying_params(self) -> dict[str, Any]:
        return {**calls.CallOptions(self, None, {}).parameters, "base_url": self.base_url}

    @override
    def _get_invocation_params(self, stop: list[str] | None = None, **kwargs: Any) -> dict[str, Any]:
        call = calls.options_of_call(self, stop, kwargs, first=True)
        untraced = roles_of(type(self)).untraced
        facts = {"base_url": self.base_url, "_type": self._llm_type}
        facts |= {name: value for name, value in call.settings.items() if name not in untraced}
        return facts | call.parameters | {"stop": _texts(call.parameters.get("stop"))}

    @override
    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        parameters = calls.options_of_call(self, stop, kwargs).parameters
        traced = LangSmithParams(ls_provider=PROVIDER, ls_model_type="chat", ls_model_name=str(parameters["model"]))
        if isinstance(temperature := parameters.get("temperature"), int | float):
            traced["ls_temperature"] = temperature
        limit = parameters.get("max_tokens", parameters.get("max_completion_tokens"))
        if isinstance(limit, int):
            traced["ls_max_tokens"] = limit
        if stop := _texts(parameters.get("stop")):
            traced["ls_stop"] = stop
        return traced

    @override
    def get_token_ids(self, text: str) -> list[int]:
        """Return the ids of a text's tokens by your `custom_get_token_ids`; NotImplementedError where it is unset."""
        if self.custom_get_token_ids is None:
            raise NotImplementedError("Token ids need custom_get_token_ids; get_num_tokens estimates counts without.")
        return self.custom_get_token_ids(text)

    @override
    def get_num_tokens(self, text: str) -> int:
        """Estimate the tokens of a text, offline."""
        return count_text(text) if self.custom_get_token_ids is None else super().get_num_tokens(text)

    @override
    def get_num_tokens_from_messages(self, messages: list[BaseMessage], tools: Sequence[Any] | None = None) -> int:
        """Estimate the tokens of messages and tools, offline; your `custom_get_token_ids` counts texts exactly."""
        if self.custom_get_token_ids is None:
            return count_messages(messages, tools)
        described = [json.dumps(tool, ensure_ascii=False) for tool in wire_tools(tools or [])]
        return super().get_num_tokens_from_messages(messages) + sum(map(self.get_num_tokens, described))


ChatPromptrun.model_config["defer_build"] = False  # subclasses are built as they are defined


def _texts(stop: str | list[str] | None) -> list[str] | None:
    return [stop] if isinstance(stop, str) else stop


def _with_stream(keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Let a call's `streaming` do what langchain-core's `stream` does."""
    streaming = keywords.get("streaming")
    return dict(keywords) if streaming is None else {**keywords, "stream": streaming}
