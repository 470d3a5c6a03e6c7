"""`PromptrunPrompt`: a managed prompt as a LangChain prompt."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from inspect import iscoroutinefunction
from pathlib import PurePath
from typing import Annotated, Any, ClassVar, Literal, Self, cast, overload

from langchain_core.callbacks.manager import BaseRunManager
from langchain_core.language_models.base import LanguageModelInput
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.prompt_values import ChatPromptValue
from langchain_core.runnables import Runnable, RunnableConfig, RunnableSerializable
from langchain_core.utils.pydantic import create_model_v2
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr
from typing_extensions import override

from langchain_promptrun._config.defaults import DefaultText, chosen, environment_project, plain_values
from langchain_promptrun._config.fields import SHARED, ConnectionFields, check_picklable, new_transport, refuse_unknown
from langchain_promptrun._config.request import BASE_HEADERS, caller_headers, key_of
from langchain_promptrun._config.validators import Timeout
from langchain_promptrun._http.pools import TransportSettings
from langchain_promptrun._http.request import Request, Timeouts
from langchain_promptrun._http.transport import Transport
from langchain_promptrun._tracing import PROJECT, TAG, VERSION, name_ancestors, traced
from langchain_promptrun.chat_models import ChatPromptrun
from langchain_promptrun.prompts import record as records
from langchain_promptrun.prompts import refresh as refreshing
from langchain_promptrun.prompts.record import FALLBACK_VERSION, PromptChange, PromptRecord
from langchain_promptrun.prompts.refresh import SHORTEST_POLL, Hold, IdentityKey, OnChange, PromptCache, Refresher

AnyModel = Runnable[LanguageModelInput, AIMessage]
_CONVERSATION = "messages"
_LATEST = DefaultText("latest")
_MESSAGES = {"system": SystemMessage, "user": HumanMessage}
_OF_ONE_COPY = frozenset({"name", "role", "missing", "partial_variables", "prompt_cache"})  # no matter for requests


def _path_text(value: Any) -> Any:
    if (isinstance(value, PurePath) and not value.parts) or (isinstance(value, str | bytes) and not value.strip()):
        raise ValueError("must name a folder; leave it out to keep nothing on disk")
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _plain(value: Any) -> Any:
    function = value.func if isinstance(value, partial) else value
    if callable(function) and (iscoroutinefunction(function) or iscoroutinefunction(type(function).__call__)):
        raise ValueError("must be a plain function, for it is called where nothing can be awaited")
    return value


def _version(value: Any) -> Any:
    if type(value) is bool or value == "" or (isinstance(value, int | float) and value < 1):
        raise ValueError("must be a version: a number from 1 on, or text such as `v2`")
    return value


def _project(value: Any) -> Any:
    if value is None:
        raise ValueError("is missing: pass `project_id`, or set the environment variable PROMPTRUN_PROJECT_ID")
    return value


class ManagedPromptValue(ChatPromptValue):
    """Messages of a managed prompt, with metadata for traces. In all else a `ChatPromptValue`."""

    promptrun_trace: dict[str, Any] = Field(default_factory=dict, exclude=True, repr=False)
    promptrun_origin: Any = Field(default=None, exclude=True, repr=False)  # the prompt's address, and the record

    def __getstate__(self) -> dict[Any, Any]:
        """Leave the origin out of a pickle, which is to hold public names only."""
        state = super().__getstate__()
        return {**state, "__dict__": {**state["__dict__"], "promptrun_origin": None}}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ChatPromptValue) and list(self.messages) == list(other.messages)

    def __hash__(self) -> int:
        raise TypeError(f"unhashable type: {type(self).__name__!r}")

    @classmethod
    @override
    def lc_id(cls) -> list[str]:
        return ChatPromptValue.lc_id()


# checkpoints and pickles hold the name, so it is the public one
ManagedPromptValue.__module__ = "langchain_promptrun.prompts"


class PromptrunPrompt(ConnectionFields, RunnableSerializable[dict[str, Any], ChatPromptValue]):
    """A prompt kept at Promptrun: versioned, tagged, edited in its dashboard, and always current here.

    The text becomes the system message, or the human one with `role="user"`; the conversation under `messages` follows.
    Variables are `{{name}}` and paths such as `{{user.email}}`; all other braces are text.

        ```python
        prompt = PromptrunPrompt(project_id="d0d52c6e-85ba-4025-a84c-3c99834fe2ac", tag="prod")
        chain = prompt | ChatPromptrun(model="openai/gpt-4o")
        chain.invoke({"word_count": 200, "messages": [("user", "Start with Queen Tamar.")]})

        chain = prompt | prompt.chat_model(follow_model=True)  # the model that each version names
        ```

    Nothing is fetched before the first call. A fetched text is served for `refresh` seconds without a request, and then
    still at once, while one request fetches the next on a background thread, and while Promptrun cannot be reached.
    Copies share what was fetched. What runs in the background ends with the prompt and its copies, a request when it is
    answered, or all of it at once with `close`.

    All fields are keywords; those of the connection are those of `ChatPromptrun`. An async function for `api_key` is
    awaited on the background thread's event loop, an `http_client` is used on a worker thread, and an
    `http_async_client` on that event loop, so nothing else may use it.
    """

    model_config = ConfigDict(defer_build=False)

    keyword_advice: ClassVar[str] = "Values of the text's variables go into invoke, or into partial_variables."

    project_id: Annotated[str, BeforeValidator(_project)] = Field(
        default_factory=environment_project, min_length=1, validate_default=True
    )
    """UUID of the project in Promptrun's dashboard. Default: the environment variable `PROMPTRUN_PROJECT_ID`."""

    tag: Annotated[str, Field(min_length=1)] | None = None
    """Tag to follow, such as `prod`. Exclusive with `version`; with neither of the two it is `latest`."""

    version: Annotated[int | str | None, BeforeValidator(_version)] = None
    """A version, number or text. It never changes, so it is fetched once. Exclusive with `tag`."""

    role: Literal["system", "user"] = "system"
    """Whose message the text becomes: the system's, or the user's."""

    missing: Literal["error", "keep"] = "error"
    """What becomes of a variable without a value: an error, or text as it stands, as in Promptrun's Node SDK."""

    partial_variables: dict[str, Annotated[Any, AfterValidator(_plain)]] = Field(default_factory=dict)
    """Values of variables that calls need not give; a function is called each time."""

    refresh: float = Field(default=60.0, ge=0, allow_inf_nan=False)
    """Seconds for which a fetched text counts as current. After them it is still served, while a new one is fetched."""

    cache_dir: Annotated[str | None, BeforeValidator(_path_text)] = None
    """Folder for the last good texts, for processes that start while Promptrun is down, hangs or fails (429, 5xx)."""

    updates: Literal["poll", "push", "auto"] = "poll"
    """How changes come: `poll` asks again after `refresh` seconds, `push` keeps an event stream open.

    `auto` is `push`, and `poll` where the server has no such stream or an `http_client` is set.
    """

    fallback: str | None = None
    """Text of last resort, where nothing was ever fetched, for the same cases as `cache_dir`; its version is 0."""

    on_change: Annotated[OnChange, AfterValidator(_plain)] | None = Field(
        default=None, exclude=True, repr=False, json_schema_extra=SHARED
    )
    """Called as `on_change(old, new)` in a background thread, for one change after the other. Errors are logged."""

    timeout: Timeout = (10.0,) * 4
    """Seconds for all phases, or an `httpx.Timeout`; None for no limit. Default: 10 in each phase."""

    prompt_cache: PromptCache = Field(default_factory=PromptCache, exclude=True, repr=False)
    """What was fetched, handed on to copies of this prompt. Not for you to set."""

    _hold: Hold = PrivateAttr()
    _unfilled: tuple[str, ...] = PrivateAttr()

    @classmethod
    @override
    def get_lc_namespace(cls) -> list[str]:
        return ["langchain_promptrun", "prompts"]

    @override
    def _check_together(self) -> Self:
        super()._check_together()
        if self.updates == "push" and self.http_client is not None:
            raise ValueError('`updates="push"` needs async connections; leave `http_client` out.')
        if "project_id" not in self.model_fields_set:
            self.__dict__["project_id"] = DefaultText(self.project_id)
        if self.version is not None and self.tag is not None and chosen(self.tag):
            raise ValueError("`tag` and `version` are both set; set one of them.")
        self.__dict__["tag"] = (self.tag or _LATEST) if self.version is None else None
        return self

    @property
    def label(self) -> str:
        """Name of the prompt in errors and logs."""
        which = f"tag {self.tag}" if self.version is None else f"version {self.version}"
        return f"Promptrun prompt {self.project_id} ({which})"

    @property
    def address(self) -> dict[str, Any]:
        """Address of the API, and `selector`."""
        return {"base_url": self.base_url, **self.selector}

    @property
    def selector(self) -> dict[str, str | int]:
        """Query of GET /prompt."""
        which = {"tag": self.tag or _LATEST} if self.version is None else {"version": self.version}
        return {"projectId": self.project_id, **which}

    @property
    def known_record(self) -> PromptRecord | None:
        """The record that was fetched last. Sends no request."""
        hold = getattr(self, "_hold", None)
        refresher = self.prompt_cache.get(self._identity()) if hold is None else hold.refresher
        return None if refresher is None else refresher.freshness.record

    @property
    def input_variables(self) -> list[str]:
        """Variables of the text that was fetched last, without those in `partial_variables`. Sends no request."""
        names = () if self.known_record is None else self.known_record.variables
        return [name for name in names if name not in self.partial_variables]

    @property
    def unfilled(self) -> list[str]:
        """What the last formatted text still has between double braces: variables without a value, and odd names.

        Before the first formatting, the odd names of the text that was fetched last. Sends no request.
        """
        if (unfilled := getattr(self, "_unfilled", None)) is not None:
            return list(unfilled)
        return [] if self.known_record is None else list(records.find_odd_names(self.known_record.prompt))

    @property
    def optional_variables(self) -> list[str]:
        """Variables that may be left out."""
        return [] if _CONVERSATION in self.input_variables else [_CONVERSATION]

    @override
    def get_input_schema(self, config: RunnableConfig | None = None) -> type[BaseModel]:
        """Return a schema of the input, by the text that was fetched last. Sends no request."""
        default = None if self.missing == "keep" else ...
        fields: dict[str, Any] = dict.fromkeys(self.input_variables, (Any, default))
        conversation: dict[str, Any] = {name: (list[AnyMessage], []) for name in self.optional_variables}
        return create_model_v2("PromptInput", field_definitions=fields | conversation)

    def pull(self) -> PromptRecord:
        """Return the current record, fetched once in `refresh` seconds; raises PromptrunError if that fails."""
        refresher = self._held_refresher().refresher
        return refresher.serve() or refresher.next()

    async def apull(self) -> PromptRecord:
        """Async version of `pull`."""
        refresher = self._held_refresher().refresher
        return refresher.serve() or await refresher.anext()

    def watch(self, interval: float | None = None, *, since: PromptRecord | None = None) -> Iterator[PromptChange]:
        """Iterate over changes, as `(old, new)`, until `close` is called. A pinned version has no changes.

        Args:
            interval: Seconds between two requests, in place of `refresh`: 5, the default, or more.
            since: A record that is known already: the first change is one from it. Default: the current one.

        Raises:
            PromptrunError: The first fetch failed. Later failures are logged, and the prompt is fetched again.
        """
        hold, seconds, seen = self._held_refresher(), _interval(interval), since
        while not hold.is_over and (record := hold.refresher.next(seen, seconds, hold)):
            if seen is not None:
                yield PromptChange(seen, record)
            seen = record

    async def awatch(
        self, interval: float | None = None, *, since: PromptRecord | None = None
    ) -> AsyncIterator[PromptChange]:
        """Async version of `watch`."""
        hold, seconds, seen = self._held_refresher(), _interval(interval), since
        while not hold.is_over and (record := await hold.refresher.anext(seen, seconds, hold)):
            if seen is not None:
                yield PromptChange(seen, record)
            seen = record

    def format_messages(self, /, **values: Any) -> list[BaseMessage]:
        """Return the messages for values of the variables, and of `messages`. Traces do not show it."""
        return self._messages(self.pull(), values)

    async def aformat_messages(self, /, **values: Any) -> list[BaseMessage]:
        """Async version of `format_messages`."""
        return self._messages(await self.apull(), values)

    def format_prompt(self, /, **values: Any) -> ChatPromptValue:
        """Return what `invoke` returns. Traces do not show it."""
        return self._value(self.pull(), values)

    async def aformat_prompt(self, /, **values: Any) -> ChatPromptValue:
        """Async version of `format_prompt`."""
        return self._value(await self.apull(), values)

    def partial(self, /, **values: Any) -> Self:
        """Return a copy that has these values already; a function among them is called each time."""
        return self.model_copy(update={"partial_variables": {**self.partial_variables, **values}})

    @override
    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> ChatPromptValue:
        """Return the messages for values of the variables, and of `messages`; a bare value is the only variable's.

        Raises:
            PromptrunMissingVariableError: A variable has no value.
            PromptrunError: The prompt cannot be fetched.
        """
        with (caught := refreshing.Caught(Exception)):  # raised again within the run, so that the run shows it
            caught.outcome = self.pull()
        value = partial(self._value, caught.outcome)
        return self._call_with_config(value, input, traced(config, self._facts(caught.outcome)), run_type="prompt")

    @override
    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> ChatPromptValue:
        with (caught := refreshing.Caught(Exception)):
            caught.outcome = await self.apull()

        async def value(given: Any, run_manager: BaseRunManager) -> ChatPromptValue:
            return self._value(caught.outcome, given, run_manager)

        config = traced(config, self._facts(caught.outcome))
        return await self._acall_with_config(value, input, config, run_type="prompt")

    def _value(
        self, outcome: PromptRecord | BaseException, given: Any, run_manager: BaseRunManager | None = None
    ) -> ChatPromptValue:
        facts = self._facts(outcome)
        if run_manager is not None:
            name_ancestors(run_manager, facts)
        if not isinstance(outcome, PromptRecord):
            raise outcome
        if not isinstance(given, Mapping):  # the value of the only variable, or the conversation
            names = [name for name in outcome.variables if name not in self.partial_variables] or [_CONVERSATION]
            if len(names) > 1:
                kind = type(given).__name__
                raise TypeError(f"{self.label} has the variables {', '.join(names)}: pass a dict, not {kind}.")
            given = {names[0]: given}
        messages = self._messages(outcome, given)
        return ManagedPromptValue(messages=messages, promptrun_trace=facts, promptrun_origin=(self.address, outcome))

    def _messages(self, record: PromptRecord, given: Mapping[str, Any]) -> list[BaseMessage]:
        partials = {name: value() if callable(value) else value for name, value in self.partial_variables.items()}
        values = {**partials, **given}
        conversation = None if _CONVERSATION in record.variables else values.pop(_CONVERSATION, None)
        text, self._unfilled = records.render(record.prompt, values)
        if self._unfilled and self.missing == "error":
            records.refuse_unfilled(self._unfilled, values, prompt=self.label, version=record.version)
        return [_MESSAGES[self.role](text), *records.read_conversation(conversation)]

    def _facts(self, outcome: PromptRecord | BaseException) -> dict[str, Any]:
        tag, version = self.tag, self.version
        if isinstance(outcome, PromptRecord):
            tag, version = outcome.tag or tag, outcome.version
        facts = {PROJECT: self.project_id, TAG: None if tag is None else str(tag), VERSION: version}
        return {name: fact for name, fact in facts.items() if fact is not None}

    @overload
    def chat_model(self, *, follow_model: Literal[False] = False, **overrides: Any) -> ChatPromptrun: ...
    @overload
    def chat_model(self, *, follow_model: Literal[True], **overrides: Any) -> AnyModel: ...
    def chat_model(self, *, follow_model: bool = False, **overrides: Any) -> AnyModel:
        """Return the model that the record names, with its temperature, reached as the prompt is.

        Args:
            follow_model: Whether to return a Runnable instead, which calls the model that the version names at the time
                of each call: for messages that this prompt made, the version that they were made of.
            overrides: Fields of the model that win over the record and over the prompt's connection.
        """
        model = FollowingModel(self, overrides, ChatPromptrun)
        return model if follow_model else model.model()

    @overload
    async def achat_model(self, *, follow_model: Literal[False] = False, **overrides: Any) -> ChatPromptrun: ...
    @overload
    async def achat_model(self, *, follow_model: Literal[True], **overrides: Any) -> AnyModel: ...
    async def achat_model(self, *, follow_model: bool = False, **overrides: Any) -> AnyModel:
        """Async version of `chat_model`."""
        model = FollowingModel(self, overrides, ChatPromptrun)
        return model if follow_model else await model.amodel()

    @override
    def close(self) -> None:
        """Release the shared connections, and end all watching and refreshing. The next call starts again."""
        if (hold := (self.__pydantic_private__ or {}).pop("_hold", None)) is not None:
            hold.is_over = True
            hold.refresher.close()

    @override
    async def aclose(self) -> None:
        self.close()

    def __setattr__(self, name: str, value: Any) -> None:
        """Set a field; watching what was fetched with the old value ends."""
        hold = getattr(self, "_hold", None)
        super().__setattr__(name, value)
        if hold is not None and name in type(self).model_fields:
            self._hold = hold  # which the line above drops, unless it refuses the value
            self.close()

    def __getstate__(self) -> dict[Any, Any]:
        """Keep the fields, and say which of them cannot be kept."""
        for name, value in self.partial_variables.items():
            check_picklable(type(self).__name__, f"partial_variables[{name!r}]", value)
        state = super().__getstate__()
        del state["__dict__"]["prompt_cache"]
        return state

    def _identity(self, without: frozenset[str] = _OF_ONE_COPY) -> IdentityKey:
        return IdentityKey(getattr(self, name) for name in type(self).model_fields if name not in without)

    def _held_refresher(self) -> Hold:
        """Return the hold on what keeps the record current, taken at the first call."""
        if (hold := getattr(self, "_hold", None)) is None:
            hold = Hold(self.prompt_cache.find_or_make(self._identity(), self._new_refresher))
        # of threads that come first together one wins
        return cast("Hold", (self.__pydantic_private__ or {}).setdefault("_hold", hold))

    def _new_refresher(self) -> Refresher:
        headers = {"user-agent": BASE_HEADERS["user-agent"], "accept": "application/json"} | caller_headers(self)
        if self.http_async_client is not None:
            headers.setdefault("connection", "close")  # the client may be used on another event loop afterwards
        request = Request(
            method="GET",
            url=f"{self.base_url}/prompt",
            api_key=key_of(self, headers),
            body=None,
            headers=headers,
            query={**(plain_values(self.default_query) or {}), **self.selector},
            timeouts=Timeouts(*self.timeouts),
            max_retries=self.max_retries,
            max_retry_after=self.max_retry_after,
        )
        client = "sync" if self.http_client else "async" if self.http_async_client else None
        source = refreshing.Source(self.label, request, new_transport(self), client, self.max_event_bytes)
        stream = fallback = None
        if self.updates != "poll" and self.version is None and self.http_client is None:
            key = self._identity(_OF_ONE_COPY | {"refresh", "cache_dir", "fallback", "on_change"})
            # without a limit of connections, of which the stream would take one for ever
            transport = Transport(TransportSettings(async_transport=self.async_transport), None, self.http_async_client)
            # nor with a function for the key, which may lead to the prompt
            request = replace(request, api_key=None)
            stream = (key, replace(source, transport=transport, request=request), self.updates == "auto")
        if self.fallback is not None:
            project = records.PromptProject(id=self.project_id)
            fallback = PromptRecord(prompt=self.fallback, version=FALLBACK_VERSION, tag=self.tag, project=project)
        return Refresher(
            source,
            self.refresh if self.version is None else None,
            on_change=self.on_change,
            path=None if self.cache_dir is None else records.record_path(self.cache_dir, self.base_url, self.selector),
            fallback=fallback,
            stream=stream,
        )


def _interval(seconds: float | None) -> float:
    if seconds is None or seconds >= SHORTEST_POLL:  # false for nan, too
        return seconds or SHORTEST_POLL
    raise ValueError(f"`interval` must be {SHORTEST_POLL:g} s at least, or Promptrun limits the rate; not {seconds!r}.")


def following(
    kind: type[ChatPromptrun], prompt: Runnable[Any, Any] | str | None, arguments: Mapping[str, Any]
) -> FollowingModel:
    """Sort arguments into those of the prompt and those of the model; both share those of the connection."""
    if isinstance(prompt, PromptrunPrompt):
        return FollowingModel(prompt, arguments, kind)
    connection = ConnectionFields.model_fields.keys()
    own = PromptrunPrompt.model_fields.keys() - connection - {"name"}
    given = {} if prompt is None else {"project_id": prompt}
    named = {name: value for name, value in arguments.items() if name in own or name in connection}
    overrides = {name: value for name, value in arguments.items() if name not in own}
    refuse_unknown(kind, overrides, frozenset(own))
    return FollowingModel(PromptrunPrompt(**given | named), overrides, kind)


class FollowingModel(Runnable[LanguageModelInput, AIMessage]):
    """Calls the model that the prompt names at the time of each call."""

    _kind: type[ChatPromptrun] = ChatPromptrun  # which pickles of version 0.1.0 leave out

    def __init__(self, prompt: PromptrunPrompt, overrides: Mapping[str, Any], kind: type[ChatPromptrun]) -> None:
        refuse_unknown(kind, overrides)  # before any request
        self.name = "PromptrunModel"
        self._prompt, self._overrides, self._kind = prompt, dict(overrides), kind

    def model(self, messages: object = None) -> ChatPromptrun:
        """Return the model of the version that the messages were made of, else of the current one."""
        return self._of(self._known(messages) or self._prompt.pull())

    async def amodel(self, messages: object = None) -> ChatPromptrun:
        """Async version of `model`."""
        return self._of(self._known(messages) or await self._prompt.apull())

    def _known(self, messages: object) -> PromptRecord | None:
        address, record = getattr(messages, "promptrun_origin", None) or (None, None)
        return record if address == self._prompt.address else None

    def _of(self, record: PromptRecord) -> ChatPromptrun:
        """Return the model that a record names, reached as the prompt is; overrides win over both."""
        connection = ConnectionFields.model_fields.keys() & self._prompt.model_fields_set
        fields: dict[str, Any] = {name: getattr(self._prompt, name) for name in connection}
        if record.temperature is not None:
            fields["temperature"] = record.temperature
        if not {"model", "model_name"} & self._overrides.keys():
            if record.model is None or not record.model.model:
                raise ValueError(
                    f"{self._prompt.label} names no model in version {record.version}: choose one in Promptrun's "
                    "dashboard, or pass `model`."
                )
            fields["model"] = record.model.model
        return self._kind(**fields | self._overrides)

    @override
    def invoke(self, input: LanguageModelInput, *args: Any, **kwargs: Any) -> AIMessage:
        return self.model(input).invoke(input, *args, **kwargs)

    @override
    async def ainvoke(self, input: LanguageModelInput, *args: Any, **kwargs: Any) -> AIMessage:
        return await (await self.amodel(input)).ainvoke(input, *args, **kwargs)

    @override
    def stream(self, input: LanguageModelInput, *args: Any, **kwargs: Any) -> Iterator[AIMessage]:
        yield from self.model(input).stream(input, *args, **kwargs)

    @override
    async def astream(self, input: LanguageModelInput, *args: Any, **kwargs: Any) -> AsyncIterator[AIMessage]:
        answer = (await self.amodel(input)).astream(input, *args, **kwargs)
        async with aclosing(cast("AsyncGenerator[AIMessage]", answer)) as chunks:
            async for chunk in chunks:
                yield chunk
