"""The examples of spending and pace do what they say."""

import importlib
from pathlib import Path

import pytest

from langchain_promptrun import Budget, ChatPromptrun

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def example(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module


def test_budget_example_stops_in_time(example, promptrun_server, capsys):
    budget = example("budget")
    model = ChatPromptrun(model="anthropic/claude-haiku-4.5", max_tokens=100, max_retries=0)
    limit = Budget(usd=0.003, reserve=True)
    answered = budget.within(limit, model, calls=1_000)
    assert answered == len(promptrun_server.requests) == limit.calls < 1_000
    assert 0 < limit.total <= 0.003
    budget.main()
    assert "estimate" in (out := capsys.readouterr().out)
    assert "stopped:" in out


def test_prompt_caching_example_reads_the_history_from_the_cache(example, promptrun_server):
    caching = example("prompt_caching")
    caching.rehearse(promptrun_server)
    (_, first), *others = caching.read_from_cache()
    assert first == 0
    assert len(others) == caching.TURNS
    assert all(cached > tokens / 2 for tokens, cached in others)


def test_deadline_example_keeps_what_came_and_begins_no_late_retry(example, promptrun_server, capsys):
    deadlines = example("deadlines")
    deadlines.SECONDS = 0.3
    deadlines.rehearse(promptrun_server)
    deadlines.main()
    out = capsys.readouterr().out
    assert "came in time: The sea was calm" in out
    assert "no retry after PromptrunAPIError" in out
    assert len(promptrun_server.requests) == 2
