# /// script
# requires-python = ">=3.11"
# dependencies = ["langchain-promptrun", "langchain-community"]
# [tool.uv.sources]
# langchain-promptrun = { path = "..", editable = true }
# ///
"""The same question asked twice costs once: LangChain's cache in memory, and in a SQLite file that stays."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from langchain_community.cache import SQLiteCache
from langchain_core.caches import InMemoryCache
from promptrun_or_offline import run

from langchain_promptrun import ChatPromptrun

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_core.caches import BaseCache
    from langchain_core.messages import AIMessage

QUESTION = "How far away is the moon?"


@contextmanager
def file_cache(path: Path) -> Iterator[SQLiteCache]:
    """Give a cache in a file, and close the file afterwards."""
    cache = SQLiteCache(str(path))
    try:
        yield cache
    finally:
        cache.engine.dispose()


def ask_twice(cache: BaseCache) -> tuple[AIMessage, AIMessage]:
    """Ask two equal models the same thing; the second answer comes out of the cache."""
    first, second = (
        ChatPromptrun(model="anthropic/claude-haiku-4.5", temperature=0, cache=cache).invoke(QUESTION) for _ in range(2)
    )
    return first, second


def ask_differently(cache: BaseCache) -> AIMessage:
    """Ask the same thing with another temperature, which is another question to the cache."""
    return ChatPromptrun(model="anthropic/claude-haiku-4.5", temperature=1, cache=cache).invoke(QUESTION)


def main() -> None:
    """Show both caches."""
    with tempfile.TemporaryDirectory() as folder, file_cache(Path(folder) / "answers.db") as in_a_file:
        for cache in (InMemoryCache(), in_a_file):
            asked, cached = ask_twice(cache)
            print(f"{type(cache).__name__}: {asked.text!r}, then {cached.text!r}")
            print("  with another temperature:", ask_differently(cache).text)


if __name__ == "__main__":
    run(main)
