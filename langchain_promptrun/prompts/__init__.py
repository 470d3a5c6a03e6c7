"""Managed prompts: `PromptrunPrompt` and what it hands out."""

from langchain_promptrun.prompts.prompt import ManagedPromptValue as ManagedPromptValue
from langchain_promptrun.prompts.prompt import PromptrunPrompt
from langchain_promptrun.prompts.record import (
    PromptChange,
    PromptModel,
    PromptProject,
    PromptRecord,
    PromptrunMissingVariableError,
)

__all__ = [
    "PromptChange",
    "PromptModel",
    "PromptProject",
    "PromptRecord",
    "PromptrunMissingVariableError",
    "PromptrunPrompt",
]
