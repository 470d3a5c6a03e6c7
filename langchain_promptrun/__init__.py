"""LangChain chat model for Promptrun, the gateway to the models of many vendors.

Names are imported when they are first used, so that the command line starts, and can be interrupted, at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from langchain_promptrun import _moved
from langchain_promptrun._version import __version__

if TYPE_CHECKING:
    from langchain_promptrun._spend.budget import Budget
    from langchain_promptrun._spend.costs import Cost, CostCallbackHandler, Costs, message_cost, track_costs
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
    **dict.fromkeys(("Cost", "CostCallbackHandler", "Costs", "message_cost", "track_costs"), "_spend.costs"),
    "AdaptiveRateLimiter": "_spend.rate_limiter",
    "Budget": "_spend.budget",
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


def register_provider() -> None:
    """Make strings such as `promptrun:anthropic/claude-haiku-4.5` work in LangChain.

    After it `init_chat_model`, `create_agent` and others make a `ChatPromptrun` of such strings. A second call changes
    nothing.

    Raises:
        ImportError: langchain is not installed.
        RuntimeError: The installed langchain keeps its providers in another way.
    """
    try:
        # private; checked on langchain 1.5.2
        table: Any = getattr(import_module("langchain.chat_models.base"), "_BUILTIN_PROVIDERS", None)
    except ImportError as error:
        raise ImportError(f"`register_provider` needs langchain, which cannot be imported: {error}") from error
    is_known = isinstance(table, dict) and isinstance(table.get("openai"), tuple)
    if not is_known:
        raise RuntimeError(
            "The installed langchain has no table of providers that can be extended. "
            'Pass `ChatPromptrun(model="vendor/name")` instead of the string.'
        )
    table.setdefault("promptrun", ("langchain_promptrun", "ChatPromptrun", lambda cls, **fields: cls(**fields)))


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = _MODULES.get(name) or ("errors" if name.endswith("Error") else "chat_models")
    value = getattr(import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
