# /// script
# requires-python = ">=3.11"
# dependencies = ["langchain-promptrun"]
# [tool.uv.sources]
# langchain-promptrun = { path = "..", editable = true }
# ///
"""One chain, set up anew at each call: fields and whole models chosen by the configuration, keywords bound."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_core.runnables import ConfigurableField
from promptrun_or_offline import run

from langchain_promptrun import ChatPromptrun

if TYPE_CHECKING:
    from langchain_core.language_models import LanguageModelInput
    from langchain_core.messages import AIMessage
    from langchain_core.runnables import Runnable

    Model = Runnable[LanguageModelInput, AIMessage]


def with_fields() -> Model:
    """Build a model whose name and temperature a call can choose."""
    return ChatPromptrun(model="anthropic/claude-haiku-4.5", temperature=0).configurable_fields(
        model=ConfigurableField(id="model", name="Model", description="vendor/name"),
        temperature=ConfigurableField(id="temperature", name="Temperature"),
    )


def with_alternatives() -> Model:
    """Build a choice of two models, each with its own settings."""
    quick = ChatPromptrun(model="anthropic/claude-haiku-4.5", max_tokens=200)
    thorough = ChatPromptrun(model="anthropic/claude-sonnet-5", reasoning_effort="high")
    return quick.configurable_alternatives(ConfigurableField(id="care"), default_key="quick", thorough=thorough)


def with_bound_keywords() -> Model:
    """Build a model that stops at the first full stop."""
    return ChatPromptrun(model="anthropic/claude-haiku-4.5").bind(stop=["."])


def main() -> None:
    """Show all of it."""
    question = "Name a star. Say why you like it."
    fields, alternatives = with_fields(), with_alternatives()
    chosen = fields.with_config(configurable={"model": "openai/gpt-4o", "temperature": 1.0})
    print("as built:", fields.invoke(question).response_metadata["model_name"])
    print("chosen:", chosen.invoke(question).response_metadata["model_name"])
    print("quick:", alternatives.invoke(question).response_metadata["model_name"])
    careful = alternatives.with_config(configurable={"care": "thorough"})
    print("thorough:", careful.invoke(question).response_metadata["model_name"])
    print("stopped early:", with_bound_keywords().invoke(question).text)


if __name__ == "__main__":
    run(main)
