# /// script
# requires-python = ">=3.11"
# dependencies = ["langchain-promptrun", "langchain"]
# [tool.uv.sources]
# langchain-promptrun = { path = "..", editable = true }
# ///
"""What a model can do, by its profile: for known models, their variants and one's own, and what agents make of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain.agents import create_agent
from langchain.agents.middleware import SummarizationMiddleware
from langchain_core.messages import AIMessage, HumanMessage
from promptrun_or_offline import run
from pydantic import BaseModel

from langchain_promptrun import ChatPromptrun

if TYPE_CHECKING:
    from langchain_core.language_models import ModelProfile

BASE = "anthropic/claude-haiku-4.5"
VARIANT = f"{BASE}:beta"
UNKNOWN = "example/otter-1"
BY_HAND: ModelProfile = {"max_input_tokens": 1_000, "tool_calling": True, "structured_output": True}


class Report(BaseModel):
    """A report on the weather."""

    city: str
    degrees: int


def described(model: ChatPromptrun) -> str:
    """Say in a line what is known of a model; a key that is missing is unknown, neither true nor false."""
    if model.profile is None:
        return "unknown"
    facts = {"images": "image_inputs", "reasons": "reasoning_output", "answers by schema": "structured_output"}
    able = [f"{fact}: {model.profile.get(key)}" for fact, key in facts.items()]
    return ", ".join([f"{model.profile.get('max_input_tokens')} tokens", *able])


def own_model() -> ChatPromptrun:
    """Describe a model by hand that the package does not know, or knows differently."""
    return ChatPromptrun(model=UNKNOWN, profile=BY_HAND)


def report(model: ChatPromptrun) -> tuple[str, Report]:
    """Have an agent answer with an object: by `response_format` where the profile allows it, else by a tool call."""
    state = create_agent(model, response_format=Report).invoke({"messages": [("user", "It is 24 in 'Tbilisi'.")]})
    calls = any(message.type == "tool" for message in state["messages"])
    return "a tool call" if calls else "a schema", state["structured_response"]


def summarized(model: ChatPromptrun) -> dict[str, Any]:
    """Have an agent summarise a conversation at half of the window that the profile tells.

    Raises:
        ValueError: The model's window is unknown.
    """
    summarize = SummarizationMiddleware(model, trigger=("fraction", 0.5), keep=("messages", 1))
    notes = [HumanMessage("The otter swims. " * 200), AIMessage("Noted."), HumanMessage("What does the otter do?")]
    return create_agent(model, middleware=[summarize]).invoke({"messages": notes})


def main() -> None:
    """Show all of it."""
    print("known:", described(ChatPromptrun(model=BASE)))
    print("a variant has its base's:", described(ChatPromptrun(model=VARIANT)))
    print("nobody knows it:", described(ChatPromptrun(model=UNKNOWN)))
    print("by hand:", described(own_model()))
    for model in (ChatPromptrun(model=BASE), ChatPromptrun(model=UNKNOWN)):
        print(f"an agent asks {model.model} for an object by", *report(model))
    try:
        summarized(ChatPromptrun(model=UNKNOWN))
    except ValueError as error:
        print("no share of an unknown window:", str(error).partition(".")[0])
    print("messages after the summary:", len(summarized(own_model())["messages"]))


if __name__ == "__main__":
    run(main)
