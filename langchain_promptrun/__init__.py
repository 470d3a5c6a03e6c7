"""LangChain chat model for Promptrun, the gateway to the models of many vendors.

Names are imported when they are first used, so that the command line starts, and can be interrupted, at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from langchain_promptrun import _moved
from langchain_promptrun._version import __version__

if TYPE_CHECKING:
    from langchain_promptrun._provider import register_provider
    from langchain_promptrun._spend.budget import Budget
    from langchain_promptrun._spend.costs import CostCallbackHandler, Costs, track_costs
    from langchain_promptrun._spend.prices import Cost, message_cost
    from langchain_promptrun._spend.rate_limiter import AdaptiveRateLimiter
    from langchain_promptrun.chat_models import ChatPromptrun
    from langchain_promptrun.errors import (
        PromptrunAPIError,
        PromptrunAuthenticationError,
        PromptrunBudgetExceededError,
        PromptrunConnectionError,
        PromptrunContextOverflowError,
        PromptrunError,
        PromptrunInvalidMessageError,
        PromptrunInvalidRequestError,
        PromptrunNotFoundError,
        PromptrunPaymentRequiredError,
        PromptrunPermissionDeniedError,
        PromptrunRateLimitError,
        PromptrunRefusalError,
        PromptrunResponseError,
        PromptrunStreamStalledError,
        PromptrunStreamTruncatedError,
        PromptrunTimeoutError,
    )
    from langchain_promptrun.prompts import PromptChange, PromptRecord, PromptrunMissingVariableError, PromptrunPrompt

_MODULES = {
    **dict.fromkeys(("PromptChange", "PromptRecord", "PromptrunMissingVariableError", "PromptrunPrompt"), "prompts"),
    **dict.fromkeys(("Cost", "message_cost"), "_spend.prices"),
    **dict.fromkeys(("CostCallbackHandler", "Costs", "track_costs"), "_spend.costs"),
    "AdaptiveRateLimiter": "_spend.rate_limiter",
    "Budget": "_spend.budget",
    "register_provider": "_provider",
}

__all__ = [
    "AdaptiveRateLimiter",
    "Budget",
    "ChatPromptrun",
    "Cost",
    "CostCallbackHandler",
    "Costs",
    "PromptChange",
    "PromptRecord",
    "PromptrunAPIError",
    "PromptrunAuthenticationError",
    "PromptrunBudgetExceededError",
    "PromptrunConnectionError",
    "PromptrunContextOverflowError",
    "PromptrunError",
    "PromptrunInvalidMessageError",
    "PromptrunInvalidRequestError",
    "PromptrunMissingVariableError",
    "PromptrunNotFoundError",
    "PromptrunPaymentRequiredError",
    "PromptrunPermissionDeniedError",
    "PromptrunPrompt",
    "PromptrunRateLimitError",
    "PromptrunRefusalError",
    "PromptrunResponseError",
    "PromptrunStreamStalledError",
    "PromptrunStreamTruncatedError",
    "PromptrunTimeoutError",
    "__version__",
    "message_cost",
    "register_provider",
    "track_costs",
]

_moved.register()


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = _MODULES.get(name) or ("errors" if name.endswith("Error") else "chat_models")
    value = getattr(import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
