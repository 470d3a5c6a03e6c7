"""LangChain chat model for Promptrun, the gateway to the models of many vendors."""

from langchain_promptrun._version import __version__
from langchain_promptrun.chat_models import ChatPromptrun
from langchain_promptrun.errors import (
    PromptrunAPIError,
    PromptrunAuthenticationError,
    PromptrunConnectionError,
    PromptrunContextOverflowError,
    PromptrunError,
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

__all__ = [
    "ChatPromptrun",
    "PromptrunAPIError",
    "PromptrunAuthenticationError",
    "PromptrunConnectionError",
    "PromptrunContextOverflowError",
    "PromptrunError",
    "PromptrunInvalidRequestError",
    "PromptrunNotFoundError",
    "PromptrunPaymentRequiredError",
    "PromptrunPermissionDeniedError",
    "PromptrunRateLimitError",
    "PromptrunRefusalError",
    "PromptrunResponseError",
    "PromptrunStreamStalledError",
    "PromptrunStreamTruncatedError",
    "PromptrunTimeoutError",
    "__version__",
]
