"""The code of a user, as mypy and pyright see it: `make types` checks it, nothing runs it."""

from collections.abc import AsyncIterator, Iterator
from typing import Any, assert_type

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompt_values import ChatPromptValue
from langchain_core.runnables import Runnable
from langchain_core.runnables.fallbacks import RunnableWithFallbacks
from pydantic import BaseModel

from langchain_promptrun import ChatPromptrun, PromptrunError, PromptrunPrompt, PromptrunRateLimitError
from langchain_promptrun.testing import Fault, PromptrunServer, Reply


class Joke(BaseModel):
    """A joke."""

    setup: str


def get_weather(city: str) -> str:
    """Tell the weather in a city."""
    return city


model = ChatPromptrun(model="openai/gpt-4o", temperature=0, max_tokens=10, timeout=5)

assert_type(model.invoke("Hello"), AIMessage)
assert_type(model.stream("Hello"), Iterator[AIMessageChunk])
assert_type(model.astream("Hello"), AsyncIterator[AIMessageChunk])
assert_type(model.bind_tools([get_weather]), Runnable[LanguageModelInput, AIMessage])
assert_type(model.with_structured_output(Joke), Runnable[LanguageModelInput, Joke])
assert_type(model.with_structured_output(Joke, include_raw=True), Runnable[LanguageModelInput, dict[str, Any]])
for raw in (True, False):
    assert_type(
        model.with_structured_output(Joke, include_raw=bool(raw)), Runnable[LanguageModelInput, dict[str, Any] | Joke]
    )
model.with_structured_output(Joke, method="wrong")  # type: ignore[call-overload]
assert_type(model.with_fallbacks([model]), RunnableWithFallbacks[LanguageModelInput, AIMessage])
assert_type(model.with_structured_output({"title": "Joke"}), Runnable[LanguageModelInput, dict[str, Any]])
assert_type(model.bind(temperature=0).with_structured_output(Joke, method="json_schema").invoke("Hello"), Joke)
ChatPromptrun(model_name="openai/gpt-4o", stop_sequences=["a"])
assert_type(model.model_name, str)
assert_type((model | StrOutputParser()).invoke("Hello"), str)
assert_type(model.model, str)


async def call() -> AIMessage:
    """Call a model in async code."""
    async with model:
        return await model.ainvoke("Hello")


prompt = PromptrunPrompt(project_id="d0d52c6e-85ba-4025-a84c-3c99834fe2ac", tag="prod")
assert_type(prompt.invoke({"word_count": 200}), ChatPromptValue)
assert_type((prompt | model).invoke({}), AIMessage)
assert_type(ChatPromptrun.from_prompt(prompt), ChatPromptrun)

try:
    model.invoke("Hello")
except PromptrunRateLimitError as error:
    assert_type(error.retry_after, float | None)
except PromptrunError as error:
    assert_type(error.status_code, int | None)
    assert_type(error.is_retryable, bool)

with PromptrunServer() as server:
    server.queue(Fault(status=503), Reply("Hello."), "Hello again.")
    assert_type(server.base_url, str)
