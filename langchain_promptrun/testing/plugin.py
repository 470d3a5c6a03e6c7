"""The pytest fixture `promptrun_server`. Opt in with `pytest_plugins = ["langchain_promptrun.testing.plugin"]`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from langchain_promptrun.testing._server import PromptrunServer

if TYPE_CHECKING:
    from collections.abc import Iterator

API_KEY = "test-key"


@pytest.fixture
def promptrun_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[PromptrunServer]:
    """Run a stand-in server for one test.

    `PROMPTRUN_API_KEY` and `PROMPTRUN_BASE_URL` point to it, so that `ChatPromptrun(model="openai/gpt-4o")` finds it.
    """
    with PromptrunServer(api_key=API_KEY) as server:
        monkeypatch.setenv("PROMPTRUN_API_KEY", API_KEY)
        monkeypatch.setenv("PROMPTRUN_BASE_URL", server.base_url)
        yield server
