# /// script
# requires-python = ">=3.11"
# dependencies = ["langchain-promptrun"]
# [tool.uv.sources]
# langchain-promptrun = { path = "..", editable = true }
# ///
"""The same question asked twice costs once: LangChain's cache in memory, and in a SQLite file that stays."""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_core.caches import BaseCache, InMemoryCache
from langchain_core.load import dumps, loads
from promptrun_or_offline import run

from langchain_promptrun import ChatPromptrun

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from langchain_core.messages import AIMessage
    from langchain_core.outputs import Generation

QUESTION = "How far away is the moon?"


class FileCache(BaseCache):
    """Answers in a SQLite file; what is in it must be trusted."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Make the table."""
        self.connection = connection
        connection.execute("CREATE TABLE IF NOT EXISTS answers (prompt, model, answer, PRIMARY KEY (prompt, model))")

    def lookup(self, prompt: str, llm_string: str) -> list[Generation] | None:
        """Return the answers of an equal question to an equal model."""
        query = "SELECT answer FROM answers WHERE prompt = ? AND model = ?"
        row = self.connection.execute(query, (prompt, llm_string)).fetchone()
        return None if row is None else loads(row[0], allowed_objects="core")

    def update(self, prompt: str, llm_string: str, return_val: Sequence[Generation]) -> None:
        """Keep the answers."""
        row = (prompt, llm_string, dumps(list(return_val)))
        self.connection.execute("REPLACE INTO answers VALUES (?, ?, ?)", row)
        self.connection.commit()

    def clear(self, **_: Any) -> None:
        """Forget all answers."""
        self.connection.execute("DELETE FROM answers")


@contextmanager
def file_cache(path: Path) -> Iterator[FileCache]:
    """Give a cache in a file, and close the file afterwards."""
    with closing(sqlite3.connect(path)) as connection:
        yield FileCache(connection)


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
