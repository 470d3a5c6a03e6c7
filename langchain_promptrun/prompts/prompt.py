"""`PromptrunPrompt`: a managed prompt as a LangChain prompt. How it stays current is `_prompt_follower`'s matter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Self, overload

from langchain_core.language_models.base import LanguageModelInput
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.prompt_values import ChatPromptValue, PromptValue
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.utils.pydantic import create_model_v2
from pydantic import BaseModel, ConfigDict
from typing_extensions import override

from langchain_promptrun._config.defaults import API_KEY_VARIABLE
from langchain_promptrun._config.fields import ConnectionFields
from langchain_promptrun._tracing import PROJECT, TAG, VERSION, name_ancestors, traced
from langchain_promptrun.chat_models import ChatPromptrun
from langchain_promptrun.prompts.conversation import conversation_of
from langchain_promptrun.prompts.current import CurrentPrompt
from langchain_promptrun.prompts.flight import Caught
from langchain_promptrun.prompts.following import FollowingModel
from langchain_promptrun.prompts.model import M, check_overrides, model_of
from langchain_promptrun.prompts.record import PromptChange, PromptModel, PromptProject, PromptRecord
from langchain_promptrun.prompts.template import PromptrunMissingVariableError, check_values, rendered
from langchain_promptrun.prompts.value import ManagedPromptValue, Origin

if TYPE_CHECKING:
    from langchain_core.callbacks import AsyncCallbackManagerForChainRun, CallbackManagerForChainRun


__all__ = [
    "PromptChange",
    "PromptModel",
    "PromptProject",
    "PromptRecord",
    "PromptrunMissingVariableError",
    "PromptrunPrompt",
]

CONVERSATION = "messages"
"""The optional variable that takes the conversation."""


class PromptrunPrompt(CurrentPrompt):
    """A prompt that is kept at Promptrun: versioned, tagged, edited in its dashboard, and always current here.

    The managed text becomes the system message (or, with `role="user"`, a human message); the conversation under
    `messages`, which may be left out, follows it. Nothing is fetched before the first call.

    Setup:
        Install `langchain-promptrun` and set the environment variable `PROMPTRUN_API_KEY`. The project's id is in
        Promptrun's dashboard.

    Instantiate:
        ```python
        from langchain_promptrun import ChatPromptrun, PromptrunPrompt

        prompt = PromptrunPrompt(project_id="d0d52c6e-85ba-4025-a84c-3c99834fe2ac", tag="prod")
        ```

    Use it as any prompt:
        ```python
        chain = prompt | ChatPromptrun(model="openai/gpt-4o")
        chain.invoke({"word_count": 200, "messages": [("user", "Start with Queen Tamar.")]})
        ```

    Use the model that it was written for:
        ```python
        chain = prompt | prompt.chat_model()
        chain = prompt | prompt.chat_model(follow_model=True)
        ```

    Variables are `{{name}}`: word characters between double braces. All other braces are text, and so is what a value
    holds.

    For `refresh` seconds after it was fetched the text is served without a request. After that it is still served at
    once, while one request, for all threads and event loops together, fetches a new one. While Promptrun cannot be
    reached the last good text is served, with one warning a minute; where there is none, that of `cache_dir`, and
    where there is none either, `fallback`. A wrong key, project or tag is an error at the first fetch all the same;
    later it is a warning, and the last good text is served. Copies, also those that `partial` and
    `configurable_fields` make, share what was fetched, where they ask for the same in the same way.

    What runs behind a call ends with the prompt and its copies, or with `close`; only a thread that asks over an
    `http_client` of yours ends when its answer or its time-out comes. It is a thread; with an `http_async_client` or an
    async key function, which may belong to an event loop, it is a task on the loop of the call, and if that loop ends
    first, the next async call waits for the text, a second at most.

    Every field is documented below its name. Fields of the connection are those of `ChatPromptrun`.
    """

    model_config = ConfigDict(defer_build=False)

    @classmethod
    @override
    def is_lc_serializable(cls) -> bool:
        return True

    @classmethod
    @override
    def get_lc_namespace(cls) -> list[str]:
        return ["langchain_promptrun", "prompts"]

    @property
    @override
    def lc_secrets(self) -> dict[str, str]:
        return {"api_key": API_KEY_VARIABLE}

    # What is known of it.

    @property
    def input_variables(self) -> list[str]:
        """Variables of the text that was fetched last, without those in `partial_variables`. Asks nobody."""
        names = () if self.known_record is None else self.known_record.variables
        return [name for name in names if name not in self.partial_variables]

    @property
    def optional_variables(self) -> list[str]:
        """Variables that may be left out."""
        return [] if CONVERSATION in self.input_variables else [CONVERSATION]

    @override
    def get_input_schema(self, config: RunnableConfig | None = None) -> type[BaseModel]:
        """Return a schema of the input, of the text that was fetched last. Asks nobody."""
        default = None if self.missing == "keep" else ...
        fields: dict[str, Any] = dict.fromkeys(self.input_variables, (Any, default))
        conversation: dict[str, Any] = {name: (list[AnyMessage], []) for name in self.optional_variables}
        return create_model_v2("PromptInput", field_definitions=fields | conversation)

    @property
    @override
    def InputType(self) -> Any:
        return dict[str, Any]

    @property
    @override
    def OutputType(self) -> Any:
        return ChatPromptValue

    # Messages.

    def format_messages(self, /, **values: Any) -> list[BaseMessage]:
        """Return the messages, with values in the place of variables. It is no run, so no trace shows it.

        Args:
            values: Values of the variables, and `messages`.

        Raises:
            PromptrunMissingVariableError: A variable has no value.
            PromptrunError: The prompt cannot be had.
            TypeError: What came under `messages` is no conversation.
        """
        return self._messages(self.pull(), values)

    async def aformat_messages(self, /, **values: Any) -> list[BaseMessage]:
        """Do what `format_messages` does, in async code."""
        return self._messages(await self.apull(), values)

    def format_prompt(self, /, **values: Any) -> PromptValue:
        """Return what `invoke` returns, without a run."""
        return self._value(self.pull(), values)

    async def aformat_prompt(self, /, **values: Any) -> PromptValue:
        """Do what `format_prompt` does, in async code."""
        return self._value(await self.apull(), values)

    def partial(self, /, **values: Any) -> Self:
        """Return a prompt that has these values already; it shares what was fetched.

        Args:
            values: Values of variables; a function is called each time.
        """
        return self.model_copy(update={"partial_variables": {**self.partial_variables, **values}})

    @override
    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> PromptValue:
        """Return the messages.

        Args:
            input: Values of the variables, and `messages`; a bare value where there is one variable.
            config: Config of the run. Its metadata get the prompt's project, tag and version.
            kwargs: Not used.

        Raises:
            PromptrunMissingVariableError: A variable has no value.
            PromptrunError: The prompt cannot be had.
            TypeError: What came under `messages` is no conversation.
        """
        pulled = _Pulled()
        with pulled.caught:
            pulled.record = self.pull()
        facts = self._facts(pulled.record)

        def render(value: Any, run_manager: CallbackManagerForChainRun) -> PromptValue:
            name_ancestors(run_manager, facts)
            return self._value(pulled.get(), value)

        return self._call_with_config(render, input, traced(config, facts), run_type="prompt")

    @override
    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> PromptValue:
        """Do what `invoke` does, in async code."""
        pulled = _Pulled()
        with pulled.caught:
            pulled.record = await self.apull()
        facts = self._facts(pulled.record)

        async def render(value: Any, run_manager: AsyncCallbackManagerForChainRun) -> PromptValue:
            name_ancestors(run_manager, facts)
            return self._value(pulled.get(), value)

        return await self._acall_with_config(render, input, traced(config, facts), run_type="prompt")

    def _value(self, record: PromptRecord, given: Any) -> PromptValue:
        values = given if isinstance(given, Mapping) else self._named(record, given)
        messages, origin = self._messages(record, values), Origin(self.address, record)
        return ManagedPromptValue(messages=messages, promptrun_trace=self._facts(record), promptrun_origin=origin)

    def _named(self, record: PromptRecord, value: Any) -> dict[str, Any]:
        """Find the name for a value that came without one: that of the only variable, or the conversation."""
        names = [name for name in record.variables if name not in self.partial_variables] or [CONVERSATION]
        if len(names) == 1:
            return {names[0]: value}
        raise TypeError(f"{self.label} has the variables {', '.join(names)}: pass a dict, not {type(value).__name__}.")

    def _messages(self, record: PromptRecord, given: Mapping[str, Any]) -> list[BaseMessage]:
        partials = {name: value() if callable(value) else value for name, value in self.partial_variables.items()}
        values = {**partials, **given}
        conversation = None if CONVERSATION in record.variables else values.pop(CONVERSATION, None)
        if self.missing == "error":
            check_values(record.prompt, values, prompt=self.label, version=record.version)
        managed = _MESSAGES[self.role](rendered(record.prompt, values))
        return [managed, *conversation_of(conversation)]

    def _facts(self, record: PromptRecord | None) -> dict[str, Any]:
        """Metadata of a run."""
        tag = self.tag if record is None else record.tag or self.tag
        version = self.version if record is None else record.version
        facts = {PROJECT: self.project_id, TAG: None if tag is None else str(tag), VERSION: version}
        return {name: fact for name, fact in facts.items() if fact is not None}

    # The model that it was written for.

    @overload
    def chat_model(self, *, follow_model: Literal[False] = False, **overrides: Any) -> ChatPromptrun: ...
    @overload
    def chat_model(
        self, *, follow_model: Literal[True], **overrides: Any
    ) -> Runnable[LanguageModelInput, AIMessage]: ...
    def chat_model(
        self, *, follow_model: bool = False, **overrides: Any
    ) -> ChatPromptrun | Runnable[LanguageModelInput, AIMessage]:
        """Return the model that the record names, with its temperature, reached as the prompt is.

        Args:
            follow_model: Whether to return a Runnable instead, which asks at each call whatever model the current
                version names then: for messages that this prompt made, the version that they were made of.
            overrides: Fields of the model that win over the record and over the prompt's connection.

        Raises:
            ValueError: The record names no model.
            PromptrunError: The prompt cannot be had.
        """
        check_overrides(ChatPromptrun, overrides)
        if follow_model:
            return FollowingModel(self, overrides)
        return model_of(ChatPromptrun, self, self.pull(), overrides)

    @overload
    async def achat_model(self, *, follow_model: Literal[False] = False, **overrides: Any) -> ChatPromptrun: ...
    @overload
    async def achat_model(
        self, *, follow_model: Literal[True], **overrides: Any
    ) -> Runnable[LanguageModelInput, AIMessage]: ...
    async def achat_model(
        self, *, follow_model: bool = False, **overrides: Any
    ) -> ChatPromptrun | Runnable[LanguageModelInput, AIMessage]:
        """Do what `chat_model` does, in async code."""
        check_overrides(ChatPromptrun, overrides)
        if follow_model:
            return FollowingModel(self, overrides)
        return model_of(ChatPromptrun, self, await self.apull(), overrides)


class _Pulled:
    """A record, or the error that came instead: it is raised within the run, so that the run shows it."""

    def __init__(self) -> None:
        self.caught = Caught()
        self.record: PromptRecord | None = None

    def get(self) -> PromptRecord:
        if self.record is None:
            raise self.caught.error or RuntimeError("nothing was pulled")
        return self.record


_MESSAGES = {"system": SystemMessage, "user": HumanMessage}


def model_from_prompt(kind: type[M], prompt: Runnable[Any, Any] | str | None, arguments: Mapping[str, Any]) -> M:
    """Make the model of a class that a prompt names; `ChatPromptrun.from_prompt` describes the arguments."""
    named, overrides = _named_prompt(kind, prompt, arguments)
    return model_of(kind, named, named.pull(), overrides)


async def amodel_from_prompt(kind: type[M], prompt: Runnable[Any, Any] | str | None, arguments: Mapping[str, Any]) -> M:
    """Async version of `model_from_prompt`."""
    named, overrides = _named_prompt(kind, prompt, arguments)
    return model_of(kind, named, await named.apull(), overrides)


def _named_prompt(
    model: type[ChatPromptrun], prompt: Runnable[Any, Any] | str | None, arguments: Mapping[str, Any]
) -> tuple[PromptrunPrompt, dict[str, Any]]:
    """Sort the arguments of `ChatPromptrun.from_prompt`.

    Args:
        model: The class of the model.
        prompt: A prompt, the id of its project, or None where `project_id` is among the arguments.
        arguments: Fields of the prompt, where none was given, and of the model; both share those of the connection.

    Returns:
        The prompt, and the fields of the model.

    Raises:
        ValidationError: An argument is a field of neither.
    """
    kind = PromptrunPrompt
    if isinstance(prompt, kind):
        check_overrides(model, arguments)
        return prompt, dict(arguments)
    connection = ConnectionFields.model_fields.keys()
    own = kind.model_fields.keys() - connection - {"name"}
    given = {} if prompt is None else {"project_id": prompt}
    named = {name: value for name, value in arguments.items() if name in own or name in connection}
    overrides = {name: value for name, value in arguments.items() if name not in own}
    check_overrides(model, overrides, frozenset(own))
    return kind(**given | named), overrides
