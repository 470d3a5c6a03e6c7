"""Registration of `promptrun` among the providers of LangChain's `init_chat_model`."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_TABLE = "_BUILTIN_PROVIDERS"  # private; checked on langchain 1.5.2
_INSTEAD = 'Pass `ChatPromptrun(model="vendor/name")` instead of the string.'


def register_provider() -> None:
    """Make strings such as `promptrun:anthropic/claude-haiku-4.5` work in LangChain.

    After it `init_chat_model`, `create_agent` and others make a `ChatPromptrun` of such strings. A second call changes
    nothing.

    Raises:
        ImportError: langchain is not installed.
        RuntimeError: The installed langchain keeps its providers in another way.
    """
    try:
        table = getattr(import_module("langchain.chat_models.base"), _TABLE, None)
    except ImportError as error:
        raise ImportError(f"`register_provider` needs langchain, which cannot be imported: {error}") from error
    is_known = isinstance(table, dict) and isinstance(table.get("openai"), tuple)
    if table is None or not is_known:
        raise RuntimeError(f"The installed langchain has no table of providers that can be extended. {_INSTEAD}")
    table.setdefault("promptrun", ("langchain_promptrun", "ChatPromptrun", _make))


def _make(cls: Any, model: str, **fields: Any) -> Any:
    return cls(model=model, **fields)
